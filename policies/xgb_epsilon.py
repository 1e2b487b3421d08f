"""Best predicted interest, but for a share of chance that keeps every kind possible."""

from typing import TYPE_CHECKING, Self

from engagex_sim.columns import FloatArray
from engagex_sim.kinds import rounded
from engagex_sim.policy import Context
from policies.epsilon import EpsilonGreedy

if TYPE_CHECKING:
    from engagex_sim.training import Training


class XgbEpsilon:
    """`xgb_greedy` with a share `epsilon` of chance, at the current strategy's number of contacts (Watkins 1989).

    Its own log can be used to judge any other strategy, which that of `xgb_greedy` cannot.

    Learned: `reward_model_`, and `rule_` with threshold and probabilities.
    """

    name = "xgb_epsilon"

    def __init__(self, epsilon: float = 0.1) -> None:
        self.epsilon = epsilon

    def fit(self, training: "Training") -> Self:
        """Take over the reward model and find the threshold."""
        context = training.timeline.free_context()
        self.reward_model_ = training.reward_model
        self.rule_ = EpsilonGreedy.at_volume(self.reward_model_.predict(context), context.mask, training, self.epsilon)
        return self

    def action_probabilities(self, context: Context) -> FloatArray:
        """(n, K + 1): mostly on the best kind above the threshold, the rest by chance."""
        return self.rule_.probabilities(self.reward_model_.predict(context), context.mask)

    def action_scores(self, context: Context) -> FloatArray:
        """(n, K): the predicted interest, which tells who comes first where not all can be contacted."""
        return rounded(self.reward_model_.predict(context))

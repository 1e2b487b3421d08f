"""LinUCB: the best kind and moment, if everything turns out as well as it still may."""

from typing import TYPE_CHECKING, Self

from engagex_sim.columns import FloatArray
from engagex_sim.kinds import rounded
from engagex_sim.policy import Context
from policies.epsilon import EpsilonGreedy
from policies.linear import LinearModels

if TYPE_CHECKING:
    from engagex_sim.training import Training


class LinUcb:
    """LinUCB with disjoint linear models (Li, Chu, Langford and Schapire 2010), learned from the log and then kept.

    Contacts with the kind of the highest upper bound, expected interest plus `width` standard deviations, where that
    exceeds the threshold that makes the current strategy's number of contacts. (The paper's α is `width` × σ.) That is
    deterministic, so a share `epsilon` of chance is mixed in as a floor.

    Learned: `models_`, and `rule_` with threshold and probabilities.
    """

    name = "lin_ucb"

    def __init__(self, width: float = 1.0, epsilon: float = 0.1) -> None:
        self.width = width
        self.epsilon = epsilon

    def fit(self, training: "Training") -> Self:
        """Learn the linear models and find the threshold."""
        context = training.timeline.free_context()
        self.models_ = LinearModels.fit(training)
        self.rule_ = EpsilonGreedy.at_volume(self._upper_bounds(context), context.mask, training, self.epsilon)
        return self

    def action_probabilities(self, context: Context) -> FloatArray:
        """(n, K + 1): mostly on the kind of the highest bound above the threshold, the rest by chance."""
        return self.rule_.probabilities(self._upper_bounds(context), context.mask)

    def action_scores(self, context: Context) -> FloatArray:
        """(n, K): the upper bounds, which tell who comes first where not all can be contacted."""
        return rounded(self._upper_bounds(context))

    def _upper_bounds(self, context: Context) -> FloatArray:
        """(n, K)"""
        mean, deviation = self.models_.predict(context)
        return mean + self.width * deviation

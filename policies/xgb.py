"""Strategies that act on the reward model's prediction."""

from typing import TYPE_CHECKING, Self

import numpy as np

from engagex_sim.columns import FloatArray
from engagex_sim.kinds import best_kind, rounded, spread
from engagex_sim.policy import Context
from engagex_sim.volume import contact_probability

if TYPE_CHECKING:
    from engagex_sim.training import Training


class XgbGreedy:
    """As many contacts as the current strategy, better chosen: the best kind, above a threshold of predicted interest.

    Learned: `reward_model_`, `threshold_`, and `tie_probability_` of a contact exactly at the threshold, so that the
    expected number of contacts per user equals the current strategy's even where many predictions are equal.
    """

    name = "xgb_greedy"

    def fit(self, training: "Training") -> Self:
        """Take over the reward model and find the threshold."""
        context = training.timeline.free_context()
        self.reward_model_ = training.reward_model
        scores, _ = best_kind(self.reward_model_.predict(context), context.mask)
        self.threshold_, self.tie_probability_ = training.threshold_at_volume(scores, context.mask[:, 0])
        return self

    def action_probabilities(self, context: Context) -> FloatArray:
        """(n, K + 1): all on the best kind above the threshold; kinds with equal predictions are equally likely."""
        scores, kinds = best_kind(self.reward_model_.predict(context), context.mask)
        return spread(contact_probability(scores, self.threshold_, self.tie_probability_), kinds, context.mask)

    def action_scores(self, context: Context) -> FloatArray:
        """(n, K): the predicted interest, which tells who comes first where not all can be contacted."""
        return rounded(self.reward_model_.predict(context))


class XgbProfit:
    """Contacts with the best kind wherever the predicted interest is worth more than the contact costs.

    Learned: `reward_model_`, `value_`, `cost_`.
    """

    name = "xgb_profit"

    def fit(self, training: "Training") -> Self:
        """Take over the reward model, the value of an interest and the cost of a contact."""
        self.reward_model_ = training.reward_model
        self.value_ = training.value
        self.cost_ = training.cost
        return self

    def action_probabilities(self, context: Context) -> FloatArray:
        """(n, K + 1): all on the best kind where value × prediction > cost."""
        scores, kinds = best_kind(self.reward_model_.predict(context), context.mask)
        worthwhile = np.isfinite(scores)
        worthwhile[worthwhile] = self.value_ * scores[worthwhile] > self.cost_
        return spread(worthwhile.astype(np.float64), kinds, context.mask)

    def action_scores(self, context: Context) -> FloatArray:
        """(n, K): the predicted interest, which tells who comes first where not all can be contacted."""
        return rounded(self.reward_model_.predict(context))

"""Chance at the current strategy's volume: what any cleverness must beat."""

from typing import TYPE_CHECKING, Self

import numpy as np

from engagex_sim.columns import FloatArray
from engagex_sim.kinds import spread
from engagex_sim.policy import Context
from engagex_sim.volume import matching_probability

if TYPE_CHECKING:
    from engagex_sim.training import Training


class RandomMatched:
    """Contacts at random with one constant probability, as many contacts and of the same kinds as the current strategy.

    Learned: `contact_probability_` given that the user is free, `kind_shares_` (K,).
    """

    name = "random_matched"

    def fit(self, training: "Training") -> Self:
        """Find the probability that makes the current strategy's number of contacts per user."""
        timeline = training.timeline
        n_kinds = len(timeline.kinds)
        self.kind_shares_ = np.bincount(timeline.action, minlength=n_kinds + 1)[1:].astype(np.float64)
        choice = timeline.free_context().mask[:, 0]
        self.contact_probability_ = matching_probability(
            lambda p: training.contacts_of(np.where(choice, p, 1.0)),
            training.current_contacts_per_user,
        )
        return self

    def action_probabilities(self, context: Context) -> FloatArray:
        """(n, K + 1), the same in every row that has the same mask."""
        return spread(np.full(len(context), self.contact_probability_), self.kind_shares_, context.mask)

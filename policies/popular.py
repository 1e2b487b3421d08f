"""The kind that interested most so far, at random moments: what any choice of kinds by user must beat."""

from typing import TYPE_CHECKING, Self

import numpy as np

from engagex_sim.columns import FloatArray
from engagex_sim.kinds import best_kind, spread
from engagex_sim.policy import Context
from policies.random_matched import RandomMatched

if TYPE_CHECKING:
    from engagex_sim.training import Training

PRIOR_INTERESTS = 5.0  # how many interests of the average kind each kind's rate is mixed with


class MostPopularKind:
    """As many contacts as the current strategy, at random moments, with the kind of the highest logged interest rate.

    The rate of kind k is shrunk to the rate r of all: (interests_k + m) / (contacts_k + m / r), m = `PRIOR_INTERESTS`,
    so that two lucky contacts do not make a kind the best. It is the rate among those whom the current strategy chose
    for the kind: nothing is adjusted for. Where the best kind is masked, the best of the allowed is taken.

    Learned: `rates_` (K,), and `contact_probability_` given that the user is free.
    """

    name = "most_popular_kind"

    def fit(self, training: "Training") -> Self:
        """Count contacts and interests by kind, and find the probability of a contact."""
        timeline = training.timeline
        n_kinds = len(timeline.kinds)
        contacts = np.bincount(timeline.action, minlength=n_kinds + 1)[1:]
        interests = np.bincount(timeline.action, timeline.reward, minlength=n_kinds + 1)[1:]
        mean = (interests.sum() + 0.5) / (contacts.sum() + 1.0)
        self.rates_ = (interests + PRIOR_INTERESTS) / (contacts + PRIOR_INTERESTS / mean)
        self.contact_probability_ = RandomMatched().fit(training).contact_probability_
        return self

    def action_probabilities(self, context: Context) -> FloatArray:
        """(n, K + 1), the same in every row that has the same mask; kinds of equal rates are equally likely."""
        _, best = best_kind(np.broadcast_to(self.rates_, (len(context), len(self.rates_))), context.mask)
        return spread(np.full(len(context), self.contact_probability_), best, context.mask)

"""The highest score at the current strategy's volume, with a share of chance mixed in."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from engagex_sim.columns import BoolArray, FloatArray
from engagex_sim.kinds import best_kind, spread
from engagex_sim.volume import contact_probability, matching_threshold
from policies.random_matched import RandomMatched

if TYPE_CHECKING:
    from engagex_sim.training import Training


@dataclass(frozen=True)
class EpsilonGreedy:
    """With probability 1 − ε greedy: the kind of the highest score, where that exceeds a threshold. With ε by chance.

    By chance is with the constant probability that alone makes the current strategy's number of contacts, all kinds
    equally likely. The threshold is such that both together make that number (ε-greedy: Watkins 1989).
    """

    epsilon: float
    chance: float  # probability of a contact by chance
    threshold: float
    tie: float  # probability of a greedy contact exactly at the threshold

    @classmethod
    def at_volume(cls, scores: FloatArray, mask: BoolArray, training: "Training", epsilon: float) -> Self:
        """Find the threshold from `scores` (n, K) and `mask` (n, K + 1) of the training users' decision points."""
        best, _ = best_kind(scores, mask)
        choice = mask[:, 0]
        chance = RandomMatched().fit(training).contact_probability_
        threshold, tie = matching_threshold(
            best,
            lambda greedy: training.contacts_of(np.where(choice, (1 - epsilon) * greedy + epsilon * chance, 1.0)),
            training.current_contacts_per_user,
        )
        return cls(epsilon, chance, threshold, tie)

    def probabilities(self, scores: FloatArray, mask: BoolArray) -> FloatArray:
        """Action probabilities (n, K + 1) from `scores` (n, K) and `mask` (n, K + 1)."""
        best, kinds = best_kind(scores, mask)
        greedy = spread(contact_probability(best, self.threshold, self.tie), kinds, mask)
        by_chance = spread(np.full(len(mask), self.chance), np.ones(mask.shape[1] - 1), mask)
        return (1 - self.epsilon) * greedy + self.epsilon * by_chance

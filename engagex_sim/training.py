"""What a policy that learns is given: the other folds' users only."""

from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np

from engagex_sim.cap import Cap
from engagex_sim.columns import FloatArray
from engagex_sim.models.reward import RewardModel
from engagex_sim.occupancy import contact_probabilities
from engagex_sim.policy import Policy, checked_probabilities
from engagex_sim.timeline import Timeline


@dataclass(frozen=True)
class Training:
    """The training users' evaluation timeline and the models fitted on it."""

    timeline: Timeline
    reward_model: RewardModel
    logging: Policy
    cap: Cap
    value: float
    cost: float
    ends: int  # seconds: what is earned later does not count
    rng: np.random.Generator

    @property
    def current_contacts_per_user(self) -> float:
        """Contacts per user that the current strategy made on these users."""
        made = int((self.timeline.action > 0).sum()) + len(self.timeline.other_time)
        return made / self.timeline.n_users

    def contacts_per_user(self, policy: Policy) -> float:
        """Expected contacts per user of a policy that reads exogenous features only, through the recursion."""
        return self.contacts_of(checked_probabilities(policy, self.timeline.free_context())[:, 1:].sum(axis=1))

    def contacts_of(self, contact: FloatArray) -> float:
        """Likewise from the probability (n,) of a contact of any kind at every decision point, as if free there."""
        return float(self.contact_probability(contact).sum()) / self.timeline.n_users

    def contact_probability(self, when_free: FloatArray) -> FloatArray:
        """q_t, shape (n,): the probability that each decision point is a contact, from that of one if free there."""
        return contact_probabilities(self.timeline, when_free[:, None, None])[:, 0, 0]


class Learner(Policy, Protocol):
    """A policy that is trained; it is copied for each fold before `fit`."""

    def fit(self, training: Training) -> Self:
        """Learn from the training users and return self."""
        ...

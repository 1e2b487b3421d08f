"""What a policy that learns is given: the other folds' users only."""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, Self

import numpy as np

from engagex_sim.cap import Cap, action_mask
from engagex_sim.columns import BoolArray, FloatArray
from engagex_sim.histories import Histories
from engagex_sim.kinds import spread
from engagex_sim.models.reward import RewardModel
from engagex_sim.occupancy import contact_probabilities
from engagex_sim.policy import Policy, checked_probabilities
from engagex_sim.rules import NO_RULES
from engagex_sim.states import NO_STATE, States
from engagex_sim.timeline import Timeline
from engagex_sim.volume import matching_threshold

HISTORIES = 8  # simulated per user where rules by kind ask for them: sums over users need few


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
        """Likewise from the probability (n,) of a contact of any kind at every decision point, as if free there.

        Where rules beside the cap tell kinds apart, contacts are of the kinds of the current strategy, as far as open.
        """
        return float(self.contact_probability(contact).sum()) / self.timeline.n_users

    def threshold_at_volume(self, scores: FloatArray, choice: BoolArray) -> tuple[float, float]:
        """The threshold of `scores` (n,), and the probability of a contact exactly at it, at the current volume.

        A contact is made in any case where contacting is no `choice` (n,).
        """
        return matching_threshold(
            scores,
            lambda contact: self.contacts_of(np.where(choice, contact, 1.0)),
            self.current_contacts_per_user,
        )

    def contact_probability(self, when_free: FloatArray) -> FloatArray:
        """q_t, shape (n,): the probability that each decision point is a contact, from that of one if free there."""
        t = self.timeline
        if t.rules == NO_RULES:
            return contact_probabilities(t, when_free[:, None, None])[:, 0, 0]
        masks = np.array(t.rules.masks or [(True,) * len(t.kinds)])
        wanted = np.where(t.rules.awake(t.time), when_free, 0.0)
        shares = np.bincount(t.action, minlength=len(t.kinds) + 1)[1:].astype(np.float64)
        by_mask = np.stack(
            [spread(wanted, shares, action_mask(np.tile(mask, (len(t), 1)), len(mask), True))[:, 1:] for mask in masks]
        )
        if t.rules.by_kind:
            histories = Histories(NO_STATE, NO_STATE, self._interest if t.rules.stop else None, HISTORIES)
            q = histories.run(t, by_mask[:, :, None])
        elif t.rules.stop:
            until_interest = np.stack([by_mask[0], np.zeros_like(by_mask[0])], axis=1)
            q = contact_probabilities(t, until_interest, States(interests=True), interest=self._interest)
        else:
            q = contact_probabilities(t, by_mask[0][:, None])
        return np.asarray(q.sum(axis=(1, 2)))

    @cached_property
    def _interest(self) -> FloatArray:
        """q̂ (n, 1, K): who stops being contacted."""
        return self.reward_model.predict(self.timeline.free_context())[:, None]


class Learner(Policy, Protocol):
    """A policy that is trained; it is copied for each fold before `fit`."""

    def fit(self, training: Training) -> Self:
        """Learn from the training users and return self."""
        ...

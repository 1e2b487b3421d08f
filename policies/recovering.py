"""Recovering difference softmax: how much better a kind is than the others, and how rested a user.

Yancey and Settles (KDD 2020) choose among reminders, one of which is sent every day. Here sending none is possible too,
and the log tells one recency only: that of the last contact of whatever kind.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Self

import numpy as np
from scipy.special import expit

from engagex_sim.cap import DAY
from engagex_sim.columns import BoolArray, FloatArray
from engagex_sim.kinds import soft_choice, spread
from engagex_sim.occupancy import contact_probabilities
from engagex_sim.policy import Context
from engagex_sim.policy_states import days_since_contact
from engagex_sim.rules import NO_RULES
from engagex_sim.timeline import Timeline
from engagex_sim.volume import CERTAIN, matching_offset

if TYPE_CHECKING:
    from engagex_sim.training import Training

LEAST = 1e-6  # a modelled propensity is never taken for less
PRIOR_CONTACTS = 105.0  # contacts at the kind's common rate that each mean is mixed with; the paper's
USERS_AT_ONCE = 2_000  # users whose states of recency are laid out at a time


class RecoveringSoftmax:
    """Kind k in proportion to exp((s_k − γ 2^(−d / h)) / τ), no contact to exp(c); d days since the last contact.

    s_k = (μ⁺ − μ⁻) / μ⁻ compares the interest rate of contacts with kind k to that of contacts with another kind.
    Both are means weighted by the inverse propensity of that choice given a contact, and mixed with
    `PRIOR_CONTACTS` at the common rate, according to their effective sample size (Kish 1965). With one kind s = 0. As d
    is the same for all kinds, the penalty does not move their shares, only how probable a contact is. c is found with
    the recursion over days since the last contact, so that the expected number of contacts is the current strategy's.

    Learned: `scores_` (K,) and `offset_` (−c).
    """

    name = "recovering_softmax"

    def __init__(self, gamma: float = 0.017, half_life: float = 15.0, temperature: float = 0.0025) -> None:
        self.gamma = gamma
        self.half_life = half_life  # days
        self.temperature = temperature

    def fit(self, training: "Training") -> Self:
        """Compare the kinds, and find c."""
        timeline = training.timeline
        self.scores_ = relative_differences(training)
        context = timeline.free_context()
        odds, _ = self._softmax(context)
        self.offset_ = matching_offset(
            lambda offset: self._contacts_per_user(timeline, odds + offset, context.mask[:, 0]),
            odds,
            training.current_contacts_per_user,
            reach=CERTAIN + abs(self.gamma) / self.temperature,  # of the penalty, whichever its sign
        )
        return self

    def action_probabilities(self, context: Context) -> FloatArray:
        """(n, K + 1), all allowed actions possible; reads `days_since_contact`."""
        odds, shares = self._softmax(context)
        return spread(expit(odds - self._penalty(context["days_since_contact"]) + self.offset_), shares, context.mask)

    def _softmax(self, context: Context) -> tuple[FloatArray, FloatArray]:
        """Log odds of a contact (n,) but for recency and c, and the kinds' shares (n, K)."""
        scores = np.broadcast_to(self.scores_ / self.temperature, (len(context), len(self.scores_)))
        return soft_choice(scores, context.mask)

    def _penalty(self, days: FloatArray) -> FloatArray:
        """What the log odds lack `days` after a contact, same shape."""
        return np.asarray(self.gamma / self.temperature * np.exp2(-days / self.half_life))

    def _contacts_per_user(self, timeline: Timeline, odds: FloatArray, choice: BoolArray) -> float:
        """Expected contacts per user where the log odds of one are `odds` (n,) less the penalty."""
        states, bare = days_since_contact(timeline), replace(timeline, columns={})  # the recursion needs no features
        by_state = self._penalty(np.array([states.days(state) for state in range(states.size)]))
        contacts = 0.0
        for users in np.array_split(np.arange(timeline.n_users), -(-timeline.n_users // USERS_AT_ONCE)):
            part, rows = bare.drawn(users), slice(timeline.user_start[users[0]], timeline.user_start[users[-1] + 1])
            penalty = np.tile(by_state, (len(part), 1))
            since = (
                part.time - part.initial.last_contact[part.user_of_row]
            )  # a contact before the evaluation is known exactly
            own = np.searchsorted(np.array(states.edges), since, side="right")
            penalty[np.arange(len(part)), own] = self._penalty(since / DAY)
            contact = np.where(choice[rows, None], expit(odds[rows, None] - penalty), 1.0)
            contact[~part.rules.awake(part.time)] = 0.0
            contacts += float(contact_probabilities(part, contact[:, :, None], states).sum())
        return contacts / timeline.n_users


def relative_differences(training: "Training") -> FloatArray:
    """s (K,): how much higher the interest rate of each kind is than that of the others."""
    contacts = training.timeline.under(NO_RULES).contacts()  # the current strategy's, which kept to its own rules
    context, reward = contacts.free_context(), contacts.reward
    propensity = training.logging.action_probabilities(context)[:, 1:]
    propensity = propensity / propensity.sum(axis=1, keepdims=True)  # given a contact
    scores, rate = np.zeros(len(contacts.kinds)), float(reward.sum()) / max(len(reward), 1)
    for k in range(len(scores)):
        chosen = contacts.action == k + 1
        own = _mean(reward, chosen / np.maximum(propensity[:, k], LEAST), rate)
        other = _mean(reward, ~chosen / np.maximum(1.0 - propensity[:, k], LEAST), rate)
        scores[k] = own / other - 1.0 if other > 0 else 0.0
    return scores


def _mean(reward: FloatArray, weight: FloatArray, rate: float) -> float:
    """The weighted mean, mixed with `PRIOR_CONTACTS` at `rate` in proportion to its effective sample size."""
    if not weight.any():
        return rate
    mean = float(weight @ reward / weight.sum())
    effective = float(weight.sum() ** 2 / (weight**2).sum())
    return (mean * effective + rate * PRIOR_CONTACTS) / (effective + PRIOR_CONTACTS)

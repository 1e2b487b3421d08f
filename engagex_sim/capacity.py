"""A daily capacity: no more contacts a day than somebody can make, given to those whom the policy ranks highest.

A limit on a day's contacts ties users together, which no decision about one user can obey. Its price can be: contact
only where the policy's score reaches the price of that day, the multiplier of the constraint (Altman 1999 on
constrained Markov decision processes). Prices are found on training users, so the capacity is met in expectation by the
others; `recommend` meets it exactly.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from engagex_sim.columns import FloatArray, IntArray, sums_by
from engagex_sim.errors import InputError
from engagex_sim.policy import Context, Policy, action_scores, checked_probabilities, policy_name

if TYPE_CHECKING:
    from engagex_sim.training import Training

SETTLED = 1e-4  # change of a day's expected contacts, as a share of the capacity, at which prices are found
MORE_SWEEPS = 20  # than there are days
FAINT = 1e-6  # of a contact's probability: what is asked about where none is admitted, to know who would be free


@dataclass(frozen=True)
class Rationed:
    """A policy that contacts only where its score exceeds the price of the day, and with a probability where it is it.

    Day `first_day + i`, counted from the log's start, has price `price[i]`, and probability `at_price[i]` for scores
    that are equal to it; days before and after have those of the nearest one.
    """

    policy: Policy
    first_day: int
    price: FloatArray  # (d,)
    at_price: FloatArray  # (d,)

    @property
    def name(self) -> str:
        return policy_name(self.policy)

    def action_probabilities(self, context: Context) -> FloatArray:
        """(n, K + 1): the policy's own, where the price allows; the rest is no contact."""
        answer = checked_probabilities(self.policy, context).copy()
        day = np.clip(_day(context) - self.first_day, 0, len(self.price) - 1)[:, None]
        scores = action_scores(self.policy, context, answer)
        kept = answer[:, 1:] * _admitted(scores, self.price[day], self.at_price[day])
        answer[:, 0] += (answer[:, 1:] - kept).sum(axis=1)
        answer[:, 1:] = kept
        return answer


def rationed(policy: Policy, training: "Training", per_user: float) -> Rationed:
    """The policy with the prices at which it makes at most `per_user` contacts a day and training user.

    Raises `InputError` for a policy that reads its own past: how often it contacts depends on more than the cap.
    """
    t = training.timeline
    context = t.free_context()
    answer = checked_probabilities(policy, context)
    scores = action_scores(policy, context, answer)
    if context.history_read:
        raise InputError(
            f"A daily capacity needs policies that do not read their own past, and {policy_name(policy)} reads"
            f" {sorted(context.history_read)[0]}; leave it out of --policies, or leave out --capacity."
        )
    rows, kinds = np.nonzero(answer[:, 1:])
    wanted, score, day = answer[rows, kinds + 1], scores[rows, kinds], _day(context)
    first_day = int(day[0]) if len(day) else 0
    first_day, last_day = int(day.min(initial=first_day)), int(day.max(initial=first_day))
    count = last_day - first_day + 1
    queue = _Queue.of(day[rows] - first_day, score, count)
    most = per_user * t.n_users
    admitted, before = np.ones(len(rows)), np.full(count, np.inf)
    # A price changes who is free on later days alone, so each sweep settles one more day for good.
    for _ in range(count + MORE_SWEEPS):
        when_free = sums_by(rows, wanted * np.maximum(admitted, FAINT), len(t))
        made = training.contact_probability(when_free)
        free = np.divide(made, when_free, out=np.zeros(len(t)), where=when_free > 0)
        price, at_price = queue.prices(free[rows] * wanted, most)
        admitted = _admitted(score, price[queue.day], at_price[queue.day])
        contacts = sums_by(day - first_day, made, count)
        if np.abs(contacts - before).max(initial=0.0) <= SETTLED * most:
            break
        before = contacts
    return Rationed(policy, first_day, price, at_price)


@dataclass(frozen=True)
class _Queue:
    """Wishes for a contact (m,), ordered by day and falling score; equal scores of a day are one place."""

    day: IntArray  # (m,) of each wish, from 0
    order: IntArray  # (m,)
    starts: IntArray  # (p,) where each place begins in that order
    place_day: IntArray  # (p,)
    place_score: FloatArray  # (p,)
    count: int  # days

    @classmethod
    def of(cls, day: IntArray, score: FloatArray, count: int) -> "_Queue":
        order = np.lexsort((-score, day))
        d, s = day[order], score[order]
        starts = np.flatnonzero(np.r_[True, (d[1:] != d[:-1]) | (s[1:] != s[:-1])][: len(d)])
        return cls(day, order, starts, d[starts], s[starts], count)

    def prices(self, load: FloatArray, most: float) -> tuple[FloatArray, FloatArray]:
        """(count,) each: the price of each day and the probability at it, where wish i makes `load[i]` contacts."""
        price, at_price = np.full(self.count, -np.inf), np.ones(self.count)
        if len(self.starts) == 0:
            return price, at_price
        own = np.add.reduceat(load[self.order], self.starts)
        total = np.cumsum(own)
        begins = np.searchsorted(self.place_day, np.arange(self.count))  # the first place of each day
        earlier = np.concatenate([[0.0], total])[begins][self.place_day]
        left = most - (total - own - earlier)  # when it is this place's turn
        day, first = np.unique(self.place_day[left < own], return_index=True)  # the first that is not wholly served
        marginal = np.flatnonzero(left < own)[first]
        price[day], at_price[day] = self.place_score[marginal], left[marginal] / own[marginal]
        return price, at_price


def _admitted(score: FloatArray, price: FloatArray, at_price: FloatArray) -> FloatArray:
    """1 above the price, `at_price` exactly at it, 0 below."""
    return np.where(score > price, 1.0, np.where(score == price, at_price, 0.0))


def _day(context: Context) -> IntArray:
    return np.asarray(context["day"], dtype=np.int64)

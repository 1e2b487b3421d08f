"""A daily capacity: no more contacts a day than somebody can make, given to those whom the policy ranks highest.

A limit on a day's contacts ties users together, which no decision about one user can obey. Its price can be: contact
only where the policy's score reaches the price of that day, the multiplier of the constraint (Altman 1999 on
constrained Markov decision processes). Prices are found on training users, so the capacity is met in expectation by the
others; `recommend` meets it exactly.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import brentq

from engagex_sim.columns import FloatArray, IntArray, sums_by
from engagex_sim.errors import InputError
from engagex_sim.policy import Context, Policy, action_scores, checked_probabilities, policy_name

if TYPE_CHECKING:
    from engagex_sim.training import Training

SETTLED = 1e-4  # of the capacity: a day's expected contacts that differ by less are as they should be
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

    def contacts(served: FloatArray) -> tuple[FloatArray, FloatArray]:
        """What each wish would make (m,), were it granted, and what is made on each day (count,)."""
        when_free = sums_by(rows, wanted * np.maximum(queue.admitted(served), FAINT), len(t))
        made = training.contact_probability(when_free)
        free = np.divide(made, when_free, out=np.zeros(len(t)), where=when_free > 0)
        return free[rows] * wanted, sums_by(day - first_day, made, count)

    served = _settled(lambda own: contacts(own)[1], _swept(contacts, queue, most), queue, most)
    return Rationed(policy, first_day, *queue.prices(served))


def _swept(contacts: Callable[[FloatArray], tuple[FloatArray, FloatArray]], queue: "_Queue", most: float) -> FloatArray:
    """Places served (count,) on each day, by sweeps over all days at once.

    A price changes who is free on later days alone, so each sweep settles one more day for good.
    """
    load, made = contacts(queue.places)
    for _ in range(len(queue.places)):
        before = made
        served = queue.served(load, most)
        load, made = contacts(served)
        if np.abs(made - before).max(initial=0.0) <= SETTLED * most:
            break
    return queue.served(load, most)


def _settled(made: Callable[[FloatArray], FloatArray], served: FloatArray, queue: "_Queue", most: float) -> FloatArray:
    """Likewise, exactly: where users come several times on a day, whom to admit changes who is free on that very day.

    `made` gives the contacts of each day (count,), which never fall on a day as more of its places are served.
    """
    served = served.copy()
    now = made(served)
    for d in range(len(served)):
        enough = now[d] >= (1 - SETTLED) * most or served[d] >= queue.places[d]
        if enough and now[d] <= (1 + SETTLED) * most:
            continue

        def excess(position: float, d: int = d) -> float:
            return float(made(np.where(np.arange(len(served)) == d, position, served))[d]) - most

        everybody = float(queue.places[d])
        served[d] = brentq(excess, 0.0, everybody, xtol=1e-9) if excess(everybody) > 0 else everybody
        now = made(served)
    return served


@dataclass(frozen=True)
class _Queue:
    """Wishes for a contact (m,), ordered by day and falling score; equal scores of a day are one place."""

    day: IntArray  # (m,) of each wish, from 0
    score: FloatArray  # (m,)
    order: IntArray  # (m,)
    starts: IntArray  # (p,) where each place begins in that order
    begins: IntArray  # (count + 1,) the first place of each day

    @classmethod
    def of(cls, day: IntArray, score: FloatArray, count: int) -> "_Queue":
        order = np.lexsort((-score, day))
        d, s = day[order], score[order]
        starts = np.flatnonzero(np.r_[True, (d[1:] != d[:-1]) | (s[1:] != s[:-1])][: len(d)])
        return cls(day, score, order, starts, np.searchsorted(d[starts], np.arange(count + 1)))

    @property
    def places(self) -> FloatArray:
        """(count,) of each day."""
        return np.diff(self.begins).astype(np.float64)

    def served(self, load: FloatArray, most: float) -> FloatArray:
        """(count,) how many places of each day come first, the last one in part, where wish i makes `load[i]`."""
        own = np.add.reduceat(load[self.order], self.starts) if len(self.starts) else np.zeros(0)
        found = self.places
        for d, (begin, end) in enumerate(pairwise(self.begins)):
            total = np.cumsum(own[begin:end])
            full = int(np.searchsorted(total, most, side="right"))
            if full < end - begin:
                left = most - (total[full - 1] if full else 0.0)
                found[d] = full + left / own[begin + full]
        return found

    def prices(self, served: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(count,) each: the price of each day, and the probability of those whose score is equal to it."""
        full = np.floor(served).astype(np.int64)
        price, at_price = np.full(len(served), -np.inf), np.ones(len(served))
        priced = np.flatnonzero(full < self.places)
        price[priced] = self.score[self.order[self.starts[self.begins[priced] + full[priced]]]]
        at_price[priced] = served[priced] - full[priced]
        return price, at_price

    def admitted(self, served: FloatArray) -> FloatArray:
        """(m,) the probability that each wish is granted."""
        price, at_price = self.prices(served)
        return _admitted(self.score, price[self.day], at_price[self.day])


def _admitted(score: FloatArray, price: FloatArray, at_price: FloatArray) -> FloatArray:
    """1 above the price, `at_price` exactly at it, 0 below."""
    return np.where(score > price, 1.0, np.where(score == price, at_price, 0.0))


def _day(context: Context) -> IntArray:
    return np.asarray(context["day"], dtype=np.int64)

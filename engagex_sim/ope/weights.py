"""Importance weights of logged actions, and what they say about overlap."""

from typing import NamedTuple

import numba
import numpy as np

from engagex_sim.columns import FloatArray, IntArray, sums_by
from engagex_sim.ope.moments import NOBODY, Others, mean_and_deviation


def ratio(target: FloatArray, logging: FloatArray) -> FloatArray:
    """w = target / logging, element by element: 0 where the target never does it, inf where only the target does.

    With one-step probabilities these are the one-step weights; with contact probabilities under the cap,
    w_t = q^π_t(a_t) / q^b_t(a_t), they are the cap-marginal weights (compare Xie, Ma and Wang 2019 on marginalised
    importance sampling).
    """
    weight = np.full(len(target), np.inf)
    np.divide(target, logging, out=weight, where=logging > 0)
    weight[target == 0] = 0.0
    return weight


@numba.njit(cache=True, nogil=True)
def cumulative(user_start: IntArray, one_step: FloatArray) -> FloatArray:
    """ρ_t = Π_{s ≤ t} w_s over a user's decisions so far, shape (n,): per-decision importance sampling (Precup 2000).

    `one_step` (n,) are the ratios at the logged states, rows without contact included.
    """
    out = np.empty(len(one_step))
    for user in range(len(user_start) - 1):
        product = 1.0
        for row in range(user_start[user], user_start[user + 1]):
            product *= one_step[row]
            out[row] = product
    return out


class Overlap(NamedTuple):
    """How far a log speaks about a target policy; all over logged contacts."""

    ess: float  # effective sample size (Σw)² / Σw² (Kish 1965)
    max_weight_share: float  # the largest weight as a share of all
    expected_positives: float  # interests among as many contacts as `ess`, at the log's share: no matter who was lucky
    effective_positives: float  # (Σwr)² / Σ(wr)²: how many interests carry the estimate
    expected_contacts: float  # Σ_t Σ_k q^π_t(k): the contacts that the target makes
    imbalance: float  # Σw / Σq^π − 1: 0 in expectation where the propensities are right
    balance_z: float  # the same in standard errors over users


def overlap(
    weight: FloatArray, reward: FloatArray, user: IntArray, expected: FloatArray, others: Others = NOBODY
) -> Overlap:
    """Overlap from weights and rewards (c,) of logged contacts, their users (c,), and Σ q^π per user (n,).

    `others` hold the sums of Σ q^π over the users without logged contact. Were the propensities right, Σw per user
    would have mean Σ q^π. `balance_z` measures the miss by the sampling of users alone: in a small log estimated
    propensities, whose inverse is convex, make Σw too large by more. NaN where undefined.
    """
    total, largest = weight.sum(), weight.max(initial=0.0)
    gain = weight * reward
    difference = sums_by(user, weight, len(expected)) - expected
    n, contacts = len(expected) + others.users, expected.sum() + others.total
    mean, deviation = mean_and_deviation(difference, others._replace(total=-others.total))
    error = deviation / np.sqrt(n) if n > 1 else 0.0
    with np.errstate(invalid="ignore", divide="ignore"):
        ess = float(total**2 / (weight**2).sum()) if total > 0 else float("nan")
        return Overlap(
            ess=ess,
            max_weight_share=float(largest / total) if total > 0 else float("nan"),
            expected_positives=ess * float(reward.mean()) if total > 0 else float("nan"),
            effective_positives=float(gain.sum() ** 2 / (gain**2).sum()) if gain.any() else 0.0,
            expected_contacts=float(contacts),
            imbalance=float(total / contacts - 1) if contacts > 0 else float("nan"),
            balance_z=float(mean / error) if error > 0 else 0.0,
        )


@numba.njit(cache=True, nogil=True)
def at_least_one(weight: FloatArray, first: IntArray, second: IntArray, pair_weight: FloatArray) -> FloatArray:
    """F (c,) over interests, whose sum over a user's interests estimates the chance of at least one interest.

    Inclusion–exclusion to every order: with w_S = w(t_1) · w(t_2 | t_1) · … along a set S of interests,
    F_j = w_j − Σ_{i < j} F_i · w(t_j | t_i) adds up (−1)^{|S|+1} w_S over the sets that end at j. `pair_weight` (p,) is
    w(second | contact at first); pairs are ordered by `first`.
    """
    alternating = weight.copy()
    for pair in range(len(first)):
        alternating[second[pair]] -= alternating[first[pair]] * pair_weight[pair]
    return alternating

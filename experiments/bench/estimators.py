"""Seven estimators and their bootstrap in two ways: sums per user once, or gathered rows for each replicate."""

from typing import NamedTuple

import numpy as np

from engagex_sim.columns import FloatArray, IntArray, KeyArray
from engagex_sim.ope.resampling import means
from engagex_sim.ope.terms import ESTIMATORS, Terms, per_user, value

NAMES = ("ips", "clipped_ips", "snips", "dm", "dr", "sndr", "switch_dr")
SHRINKAGE = 5.0  # λ, where weights are shrunk


class Points(NamedTuple):
    """Decision points (n,) in the order of their users, as the estimators take them."""

    weight: FloatArray
    reward: FloatArray
    predicted: FloatArray
    model: FloatArray
    expected: FloatArray


def made_up(n_users: int, decisions: int, seed: int) -> tuple[Points, IntArray, KeyArray]:
    """Decision points of `n_users` with `decisions` each, the user of each, and the users' keys."""
    rng = np.random.default_rng(seed)
    n = n_users * decisions
    points = Points(
        weight=rng.lognormal(-0.5, 1.0, n),
        reward=(rng.random(n) < 0.03).astype(np.float64),
        predicted=rng.uniform(0.0, 0.06, n),
        model=rng.uniform(0.0, 0.06, n),
        expected=np.ones(n),
    )
    return points, np.repeat(np.arange(n_users), decisions), rng.integers(0, 2**63, n_users).astype(np.uint64)


def point_estimates(points: Points, n_users: int) -> FloatArray:
    """The seven values (7,) per user, without sums per user."""
    return np.array([_value(_terms(name, points), n_users) for name in NAMES])


def per_user_columns(points: Points, user: IntArray, n_users: int) -> FloatArray:
    """A column of ones, and the columns B, Q, N, D of every estimator, (n_users, 29)."""
    own = [column for name in NAMES for column in per_user(_terms(name, points), user, n_users)]
    return np.column_stack([np.ones(n_users), *own])


def replicates(sums: FloatArray) -> FloatArray:
    """The seven values in each replicate, (n_boot, 7), from sums of the columns."""
    found = means(sums[:, 1:], sums[:, 0])
    return np.column_stack([value(*found[:, 4 * i : 4 * i + 4].T) for i in range(len(NAMES))])


def gathered_replicates(points: Points, n_users: int, decisions: int, n_boot: int, seed: int) -> FloatArray:
    """The same by drawing users, gathering their decision points and estimating anew, for each replicate."""
    rng = np.random.default_rng(seed)
    out = np.empty((n_boot, len(NAMES)))
    for b in range(n_boot):
        drawn = rng.integers(0, n_users, n_users)
        rows = (drawn[:, None] * decisions + np.arange(decisions)).ravel()
        out[b] = point_estimates(Points(*(column[rows] for column in points)), n_users)
    return out


def _terms(name: str, points: Points) -> Terms:
    return ESTIMATORS[name](*points, SHRINKAGE)


def _value(terms: Terms, n_users: int) -> float:
    return float(value(*(np.array(column.sum() / n_users) for column in terms)))

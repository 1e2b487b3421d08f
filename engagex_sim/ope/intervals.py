"""Intervals from one bootstrap over users, and one routine that reads an interval off its replicates."""

import numpy as np

from engagex_sim.columns import FloatArray, KeyArray
from engagex_sim.hashing import bootstrap_counts

LEVEL = 0.95
REPLICATES_AT_ONCE = 100


def bootstrap_means(columns: FloatArray, user_key: KeyArray, seed: int, n_boot: int) -> FloatArray:
    """Means over users of every column in each replicate, shape (n_boot, m), from sums per user (n_users, m).

    One set of weights over users serves all columns, so differences between policies are paired. A user's counts depend
    on (seed, key) alone, not on the order of users.
    """
    out = np.empty((n_boot, columns.shape[1]))
    for first in range(0, n_boot, REPLICATES_AT_ONCE):
        counts = bootstrap_counts(user_key, seed, first, min(first + REPLICATES_AT_ONCE, n_boot))
        total = counts.sum(axis=1, keepdims=True)
        out[first : first + len(counts)] = np.divide(
            counts @ columns, total, out=np.full((len(counts), columns.shape[1]), np.nan), where=total > 0
        )
    return out


def interval(estimate: FloatArray, replicates: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Lower and upper ends (j,) that hold jointly with probability 0.95, from replicates (n_boot, j).

    Symmetric around the estimate, of width proportional to each entry's bootstrap standard error, with the factor that
    covers the largest studentised deviation (max-t; Romano and Wolf 2005). One column gives the ordinary interval.
    NaN where the estimate or more than 1 % of its replicates are undefined.
    """
    defined = np.isfinite(estimate) & (np.isfinite(replicates).mean(axis=0) >= 0.99)
    low, high = np.full(len(estimate), np.nan), np.full(len(estimate), np.nan)
    if not defined.any():
        return low, high
    inside = replicates[:, defined]
    inside = inside[np.isfinite(inside).all(axis=1)]
    centre = estimate[defined]
    error = inside.std(axis=0, ddof=1)
    error[error < 1e-10 * np.maximum(1.0, np.abs(centre))] = 0.0  # rounding, not spread
    deviation = np.divide(np.abs(inside - centre), error, out=np.zeros_like(inside), where=error > 0)
    width = np.quantile(deviation.max(axis=1), LEVEL) * error
    low[defined], high[defined] = centre - width, centre + width
    return low, high


def smallest_lift(interests: FloatArray) -> float:
    """The relative half-width of the current strategy's own interval, from interests per user (n_users,).

    A policy that makes other contacts cannot be told apart from the current strategy by less. NaN without interests.
    """
    mean = interests.mean() if len(interests) else 0.0
    if mean == 0 or len(interests) < 2:
        return float("nan")
    return float(1.96 * interests.std(ddof=1) / np.sqrt(len(interests)) / mean)

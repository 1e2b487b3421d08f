"""Sums over users in every resample of them, which add up over blocks of users."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.sparse import csr_array
from threadpoolctl import threadpool_limits

from engagex_sim.columns import FloatArray, KeyArray
from engagex_sim.hashing import bootstrap_counts, fold_of

GROUPS, GROUPING = 500, 1  # of users in the jackknife, and the seed by which they fall into them
USERS_AT_ONCE, REPLICATES_AT_ONCE = 2048, 128  # so that the counts stay in the processor's cache


@dataclass(frozen=True)
class Resampling:
    """How users are resampled, r = 1 + n_boot + groups times: everybody once; drawn by the Poisson bootstrap; and
    everybody but one group (jackknife).

    How often a user is drawn, and in which group, depends on the seed and the user's key alone: neither the order of
    users nor the blocks that they come in matter. One resampling serves all columns, so differences between policies
    are paired.
    """

    seed: int
    n_boot: int
    groups: int

    @classmethod
    def of(cls, n_users: int, seed: int, n_boot: int) -> Self:
        """For an evaluation of `n_users` in all: `GROUPS` groups, or as many as users."""
        return cls(seed, n_boot, min(GROUPS, n_users))

    def split(self, rows: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """What belongs to everybody (…), to the replicates (n_boot, …) and to the groups left out (g, …), of (r, …)."""
        return rows[0], rows[1 : 1 + self.n_boot], rows[1 + self.n_boot :]


def resampled_sums(columns: FloatArray, user_key: KeyArray, resampling: Resampling) -> FloatArray:
    """Sums over users of every column (n_users, m) in every resample, shape (r, m).

    A column of ones gives the number of users.
    """
    everybody = columns.sum(axis=0, keepdims=True)
    group = fold_of(user_key, GROUPING, resampling.groups)
    member = csr_array((np.ones(len(group)), (group, np.arange(len(group)))), (resampling.groups, len(group)))
    drawn = bootstrap_sums(columns, user_key, resampling.seed, resampling.n_boot)
    return np.concatenate([everybody, drawn, everybody - member @ columns])


def bootstrap_sums(columns: FloatArray, user_key: KeyArray, seed: int, n_boot: int) -> FloatArray:
    """Sums over the users drawn in each replicate of every column (n_users, m), shape (n_boot, m)."""
    total = np.zeros((n_boot, columns.shape[1]))
    with threadpool_limits(1, user_api="blas"):  # threads that meet after every small product wait more than they work
        for start in range(0, len(user_key), USERS_AT_ONCE):
            users = slice(start, start + USERS_AT_ONCE)
            own = np.ascontiguousarray(columns[users])
            for first in range(0, n_boot, REPLICATES_AT_ONCE):
                last = min(first + REPLICATES_AT_ONCE, n_boot)
                total[first:last] += bootstrap_counts(user_key[users], seed, first, last) @ own
    return total


def means(sums: FloatArray, users: FloatArray) -> FloatArray:
    """Means over users (r, m) from sums (r, m) and numbers of users (r,); NaN for nobody."""
    some = users[:, None] > 0
    found: FloatArray = np.divide(sums, users[:, None], out=np.full(sums.shape, np.nan), where=some)
    return found

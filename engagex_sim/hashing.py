"""Random numbers that belong to a user, not to an order: functions of (seed, user key)."""

import hashlib

import numba
import numpy as np
from scipy.stats import poisson

from engagex_sim.columns import FloatArray, IntArray, KeyArray


@numba.njit(cache=True, nogil=True)
def _mix(key: np.uint64) -> np.uint64:
    """The finaliser of SplitMix64 (Steele, Lea and Flood 2014): every input bit moves every output bit."""
    key = (key ^ (key >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    key = (key ^ (key >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return key ^ (key >> np.uint64(31))


@numba.njit(cache=True, nogil=True)
def _hashes(key: KeyArray, seed: np.uint64, first: int, last: int) -> KeyArray:
    """(last − first, n) well-mixed 64-bit numbers: one stream per user, entries `first` to `last - 1` of it."""
    out = np.empty((last - first, len(key)), dtype=np.uint64)
    golden = np.uint64(0x9E3779B97F4A7C15)
    for draw in range(first, last):
        salt = _mix(seed + golden * np.uint64(draw + 1))
        for i in range(len(key)):
            out[draw - first, i] = _mix(_mix(key[i] + golden) ^ salt)
    return out


def uniforms(key: KeyArray, seed: int, first: int = 0, last: int = 1) -> FloatArray:
    """Uniform numbers in [0, 1), shape (last − first, n)."""
    return np.asarray((_hashes(key, np.uint64(seed), first, last) >> np.uint64(11)) * 2.0**-53)


def seed_of(purpose: str) -> int:
    """A seed for one purpose: its draws have nothing to do with those of another, nor with those of a user's seed."""
    return int.from_bytes(hashlib.sha256(purpose.encode()).digest()[:8], "big") >> 1


def fold_of(key: KeyArray, seed: int, folds: int) -> IntArray:
    """The fold of each user, shape (n,), 0 to folds − 1."""
    return np.asarray(uniforms(key, seed)[0] * folds, dtype=np.int64)


def bootstrap_counts(key: KeyArray, seed: int, first: int, last: int) -> FloatArray:
    """How often each user is drawn in bootstrap replicates `first` to `last - 1`, shape (last − first, n).

    Poisson(1) counts, independent across users: the Poisson bootstrap (Hanley and MacGibbon 2006; Chamandy et al.
    2012), which needs neither the number of users nor their order. They are where `uniforms` fall among the cumulative
    probabilities.
    """
    return np.asarray(_poisson_counts(key, np.uint64(seed), first + 1, last + 1, _STEPS, _COUNT_OF_CELL))


# Counts are told from whole numbers, not from uniforms: a uniform is m · 2⁻⁵³, and m · 2⁻⁵³ ≥ p where m ≥ ⌈p · 2⁵³⌉.
_STEPS = np.ceil(poisson.cdf(np.arange(20), 1.0) * 2.0**53).astype(np.uint64)
# The upper 12 of the 53 bits name a cell, which nearly always tells the count; −1 where a step lies inside.
_CELLS = np.arange(2**12, dtype=np.uint64) << np.uint64(41)
_AT_START, _AT_END = (np.searchsorted(_STEPS, _CELLS + np.uint64(inside), side="right") for inside in (0, 2**41 - 1))
_COUNT_OF_CELL = np.where(_AT_START == _AT_END, _AT_START, -1)


@numba.njit(cache=True, nogil=True)
def _poisson_counts(
    key: KeyArray, seed: np.uint64, first: int, last: int, steps: KeyArray, count_of_cell: IntArray
) -> FloatArray:
    """`uniforms` and their place among the steps, in one pass."""
    out = np.empty((last - first, len(key)))
    golden = np.uint64(0x9E3779B97F4A7C15)
    own = np.empty_like(key)
    for i in range(len(key)):
        own[i] = _mix(key[i] + golden)
    for draw in range(first, last):
        salt = _mix(seed + golden * np.uint64(draw + 1))
        for i in range(len(key)):
            number = _mix(own[i] ^ salt) >> np.uint64(11)
            count = count_of_cell[number >> np.uint64(41)]
            if count < 0:
                count = 0
                while count < len(steps) and number >= steps[count]:
                    count += 1
            out[draw - first, i] = count
    return out

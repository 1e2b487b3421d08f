"""Recalibration of the logging policy's contact probabilities: they must add up to the contacts made."""

import numba
import numpy as np

from engagex_sim.columns import FloatArray, IntArray, sums_by

MIN_CONTACTS = 100  # levels of a margin are pooled with their neighbours until they hold this many
TOLERANCE = 1e-9


def raking_factors(levels: IntArray, expected: FloatArray, rounds: int = 200) -> FloatArray:
    """Factors (c,) by which q^b of c logged contacts is to be multiplied.

    `levels` (c, f) says in which level of each of f margins a contact lies (a day, a class of activity, a kind);
    `expected` (f, levels) sums q^b over all decision points by level. Were q^b right, the contacts in a level would
    number what is expected there. The contacts are therefore weighted until every margin agrees, by iterative
    proportional fitting (raking: Deming and Stephan 1940; Deville and Särndal 1992), and q^b is divided by that weight.
    """
    margins = [_pooled(column, totals) for column, totals in zip(levels.T, expected, strict=True)]
    group = np.array([own for own, _ in margins], dtype=np.int64).reshape(len(margins), len(levels))
    total = np.ones((len(margins), max((len(own) for _, own in margins), default=1)))
    for m, (_, own) in enumerate(margins):
        total[m, : len(own)] = own
    weight: FloatArray = _fitted(group, total, rounds)
    return np.divide(1.0, weight, out=np.ones_like(weight), where=weight > 0)


@numba.njit(cache=True, nogil=True)
def _fitted(group: IntArray, total: FloatArray, rounds: int) -> FloatArray:
    """Weights (c,) whose sums by the groups (f, c) of each margin come to `total` (f, g), as nearly as they can."""
    margins, n = group.shape
    weight = np.ones(n)
    step = np.empty(total.shape[1])
    for _ in range(rounds):
        largest = 0.0
        for m in range(margins):
            step[:] = 0.0
            for i in range(n):
                step[group[m, i]] += weight[i]
            for g in range(len(step)):
                if step[g] > 0.0:
                    step[g] = total[m, g] / step[g]
                    largest = max(largest, abs(step[g] - 1.0))
                else:
                    step[g] = 1.0
            for i in range(n):
                weight[i] *= step[group[m, i]]
        if largest < TOLERANCE:
            break
    return weight


def _pooled(level: IntArray, expected: FloatArray) -> tuple[IntArray, FloatArray]:
    """The group (c,) of each contact and what is expected in each group; neighbours share one until it is large."""
    made = np.bincount(level, minlength=len(expected))
    after = made[::-1].cumsum()[::-1]  # contacts in this level and all later ones
    group = np.zeros(len(expected), dtype=np.int64)
    current, inside = 0, 0
    for i, count in enumerate(made):
        if inside >= MIN_CONTACTS and after[i] >= MIN_CONTACTS:
            current, inside = current + 1, 0
        group[i] = current
        inside += count
    return group[level], sums_by(group, expected, current + 1)

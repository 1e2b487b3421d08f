"""Recalibration of the logging policy's contact probabilities: they must add up to the contacts made."""

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
    weight = np.ones(len(levels))
    margins = [_pooled(column, totals) for column, totals in zip(levels.T, expected, strict=True)]
    for _ in range(rounds):
        largest = 0.0
        for group, total in margins:
            made = sums_by(group, weight, len(total))
            step = np.divide(total, made, out=np.ones_like(total), where=made > 0)
            weight *= step[group]
            largest = max(largest, float(np.abs(step - 1).max(initial=0.0)))
        if largest < TOLERANCE:
            break
    return np.divide(1.0, weight, out=np.ones_like(weight), where=weight > 0)


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

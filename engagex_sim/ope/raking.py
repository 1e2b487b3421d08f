"""Recalibration of the logging policy's contact probabilities: their sums must equal the contacts made."""

from collections.abc import Sequence

import numpy as np

from engagex_sim.columns import FloatArray, IntArray

MIN_CONTACTS = 100  # a group of cells is as large as needed to hold this many contacts


def raking_factors(contacts: FloatArray, expected: FloatArray, rounds: int = 50) -> FloatArray:
    """Factors, same shape as the tables, by which probabilities must be multiplied so that every margin agrees.

    `contacts` and `expected` count logged contacts and sum q^b over all decision points, by cells of any number of
    dimensions (day × activity × kind). Iterative proportional fitting on the margins (Deming and Stephan 1940), after
    neighbouring levels of each dimension were pooled until they hold `MIN_CONTACTS` contacts.
    """
    groups = [_pooled(_margin(contacts, axis)) for axis in range(contacts.ndim)]
    factors = np.ones_like(expected)
    for _ in range(rounds):
        largest = 0.0
        for axis, group in enumerate(groups):
            made = np.bincount(group, _margin(contacts, axis))
            modelled = np.bincount(group, _margin(expected * factors, axis))
            step = np.divide(made, modelled, out=np.ones_like(made), where=modelled > 0)
            factors *= step[group].reshape([-1 if a == axis else 1 for a in range(contacts.ndim)])
            largest = max(largest, float(np.abs(step - 1).max(initial=0.0)))
        if largest < 1e-10:
            break
    return factors


def _margin(table: FloatArray, axis: int) -> FloatArray:
    others = tuple(a for a in range(table.ndim) if a != axis)
    return np.asarray(table.sum(axis=others), dtype=np.float64)


def _pooled(made: FloatArray) -> IntArray:
    """The group (levels,) of each level: neighbours share one until it holds enough contacts."""
    group = np.zeros(len(made), dtype=np.int64)
    current, inside = 0, 0.0
    for level, count in enumerate(made):
        if inside >= MIN_CONTACTS and made[level:].sum() >= MIN_CONTACTS:
            current, inside = current + 1, 0.0
        group[level] = current
        inside += count
    return group


def bins(values: FloatArray, edges: Sequence[float]) -> IntArray:
    """The bin of each value, shape (n,): the number of `edges` at or below it."""
    return np.searchsorted(np.asarray(edges), values, side="right").astype(np.int64)

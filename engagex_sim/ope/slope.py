"""SLOPE: how strongly to shrink weights, read off the data (Su, Srinath and Krishnamurthy 2020)."""

from collections.abc import Iterable

import numpy as np

from engagex_sim.columns import FloatArray
from engagex_sim.ope.moments import NOBODY, Others, mean_and_deviation

CONFIDENCE = 1.96  # half-widths of the intervals in standard errors


def slope(sums: Iterable[FloatArray], others: Others = NOBODY) -> int:
    """The position of the estimate to use among several, from sums per user (n,) of each, at least one.

    `others` are users without contact: their sums are the same in every estimate. The estimates are ordered from the
    least bias to the most. By Lepski's principle each one's bias is small against its error as long as its interval,
    twice the half-width, meets those of all before it: the last such one is chosen, and none after it is asked for.
    """
    low, high, position = -np.inf, np.inf, -1
    for position, own in enumerate(sums):
        n = len(own) + others.users
        mean, deviation = mean_and_deviation(own, others)
        reach = 2 * CONFIDENCE * deviation / np.sqrt(n) if n > 1 else np.inf
        low, high = max(low, mean - reach), min(high, mean + reach)
        if low > high:
            return position - 1
    return position

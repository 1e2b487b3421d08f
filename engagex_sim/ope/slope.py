"""SLOPE: how strongly to shrink weights, read off the data (Su, Srinath and Krishnamurthy 2020)."""

from collections.abc import Iterable

import numpy as np

from engagex_sim.columns import FloatArray

CONFIDENCE = 1.96  # half-widths of the intervals in standard errors


def slope(sums: Iterable[FloatArray]) -> int:
    """The position of the estimate to use among several, from sums per user (n_users,) of each, at least one.

    They are ordered from the least bias to the most. By Lepski's principle each one's bias is small against its error
    as long as its interval, twice the half-width, meets those of all before it: the last such one is chosen, and none
    after it is asked for.
    """
    low, high, position = -np.inf, np.inf, -1
    for position, own in enumerate(sums):
        reach = 2 * CONFIDENCE * own.std(ddof=1) / np.sqrt(len(own)) if len(own) > 1 else np.inf
        low, high = max(low, own.mean() - reach), min(high, own.mean() + reach)
        if low > high:
            return position - 1
    return position

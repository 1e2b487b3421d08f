"""How the study of imbalance writes its numbers."""

import math
from collections.abc import Sequence

from engagex_sim.report.formats import UNDEFINED, number


def thousand(value: float) -> str:
    """A number per user or contact as one per 1,000."""
    return number(1000 * value)


def from_to(values: Sequence[float]) -> str:
    """The least and the largest of the numbers that are known."""
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return UNDEFINED
    low, high = number(min(known), 2), number(max(known), 2)
    return low if low == high else f"{low} to {high}"


def signed(value: float, decimals: int) -> str:
    """A change: +0.3, −0.3; what is rounded to nothing is +0.0."""
    return UNDEFINED if math.isnan(value) else f"{round(value, decimals) + 0.0:+.{decimals}f}".replace("-", "−")


def give_or_take(error: float, decimals: int) -> str:
    """A standard error behind a number, nothing where it is not known."""
    return "" if math.isnan(error) else f" ± {error:.{decimals}f}"

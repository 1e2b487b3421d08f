"""Mean and standard deviation over users of whom most are known by their sums alone."""

from typing import NamedTuple

import numpy as np

from engagex_sim.columns import FloatArray


class Others(NamedTuple):
    """Users who are known by sums alone: how many, and the sum of a number and of its square over them."""

    users: int
    total: float = 0.0
    squares: float = 0.0


NOBODY = Others(0)


def mean_and_deviation(values: FloatArray, others: Others) -> tuple[float, float]:
    """Mean and standard deviation (ddof = 1) of a number over n users and `others`, from its values (n,).

    The mean is NaN for nobody, the deviation for fewer than two users.
    """
    n = len(values) + others.users
    if n == 0:
        return float("nan"), float("nan")
    mean = (values.sum() + others.total) / n
    if n == 1:
        return float(mean), float("nan")
    square = ((values - mean) ** 2).sum()
    if others.users:
        centre = others.total / others.users
        # What is left of a constant is rounding, and may be negative.
        square += np.maximum(others.squares - others.total * centre, 0.0) + others.users * (centre - mean) ** 2
    return float(mean), float(np.sqrt(square / (n - 1)))

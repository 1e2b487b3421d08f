"""The days of an evaluation period, as curves show them."""

from dataclasses import dataclass

import numpy as np

from engagex_sim.cap import DAY
from engagex_sim.columns import IntArray

MAX_BINS = 62  # points of a curve


@dataclass(frozen=True)
class Days:
    """How the evaluation period is divided for curves: bins of as many whole days as keep their number small."""

    first: int  # midnight at which the first bin begins, seconds
    total: int  # days of the evaluation

    @property
    def width(self) -> int:
        """Days per bin."""
        return -(-self.total // MAX_BINS)

    @property
    def count(self) -> int:
        return -(-self.total // self.width)

    @property
    def last_days(self) -> IntArray:
        """(count,) the last day of each bin, 1 = the first day of the evaluation."""
        return np.minimum((np.arange(self.count) + 1) * self.width, self.total)

    def of(self, time: IntArray) -> IntArray:
        """The bin of each time."""
        return (time - self.first) // (DAY * self.width)

"""`drift`: interest wanes over the log."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from engagex_sim.columns import Column, FloatArray
from engagex_sim.worlds.visits import Visits


@dataclass(frozen=True)
class Drift(Visits):
    """`visits`, but the log odds of interest change by `total` from the log's first day to its last, evenly.

    In the log's middle they are those of `visits`; before the log they stand at the level of its first day. Stresses:
    a period that is not all alike, so that its average says little about the weeks to come.
    """

    total: float = -2.0

    own_name: ClassVar[str] = "drift"
    summary: ClassVar[str] = "like visits, but interest falls over the log"

    def interest_odds(self, features: Mapping[str, Column]) -> FloatArray:
        day_of_log = features["day"].values - self.days_before  # laid out from before the log on
        return super().interest_odds(features) + self.total * (np.clip(day_of_log / (self.days - 1), 0, 1) - 0.5)

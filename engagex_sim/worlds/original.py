"""`original`: `visits` in the shape of the original task's log."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import log
from typing import ClassVar

import numpy as np

from engagex_sim.columns import Column, FloatArray
from engagex_sim.worlds.visits import Visits

SPREAD = 1.1  # standard deviation of the log of users' activity: a tenth of all visits is made by the busiest 1 %
LESS_INTEREST = -0.47  # log odds of interest: users who come this often would be interested too often


@dataclass(frozen=True)
class Original(Visits):
    """`visits`, but one month long, with busier users of very unequal activity and far fewer contacts.

    `users` make about `triggers` triggers, of which 0.878 % bring a contact; 2.945 % of the contacts interest. When
    free, a moment is contacted with 0.5 % to 3 %: moments differ, and the log shows every sort of them.
    """

    days: int = 31
    visit_rate: float = 0.38  # visits per day of the user in the middle
    contact_odds: float = -5.22

    own_name: ClassVar[str] = "original"
    summary: ClassVar[str] = "like the original log: a month, 0.9 % of the visits bring a contact, 3 % interested"
    triggers: ClassVar[int] = 43_074_627  # of the original log
    users: ClassVar[int] = 2_000_000  # who make about as many here

    def visits_per_day(self, n_users: int, rng: np.random.Generator) -> FloatArray:
        """(n_users,) each user's mean number of visits: log-normal, with a tail far heavier than that of `visits`."""
        return rng.lognormal(log(self.visit_rate), SPREAD, n_users)

    def interest_odds(self, features: Mapping[str, Column]) -> FloatArray:
        return super().interest_odds(features) + LESS_INTEREST

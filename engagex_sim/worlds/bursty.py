"""`bursty`: a few users with thousands of triggers."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from engagex_sim.columns import FloatArray
from engagex_sim.worlds.visits import Visits


@dataclass(frozen=True)
class Bursty(Visits):
    """`visits`, but a `share` of the users come 2,000 to 5,000 times during the log (test accounts, machines, fans).

    Stresses: users of very unequal length, on whom weights and bootstrap may hang, and recursions over long rows.
    """

    share: float = 0.002

    own_name: ClassVar[str] = "bursty"
    summary: ClassVar[str] = "like visits, but a few users have thousands of triggers"

    def visits_per_day(self, n_users: int, rng: np.random.Generator) -> FloatArray:
        usual = super().visits_per_day(n_users, rng)
        bursts = rng.uniform(2_000, 5_000, n_users) / self.days
        return np.where(rng.random(n_users) < self.share, bursts, usual)

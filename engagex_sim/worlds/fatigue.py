"""`fatigue`: interest falls with every contact."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.special import expit

from engagex_sim.columns import FloatArray
from engagex_sim.policy import Context
from engagex_sim.worlds.visits import ODDS, Visits
from engagex_sim.worlds.world import true_history

MOST = 3  # contacts that tire; later ones tire no further


@dataclass(frozen=True)
class Fatigue(Visits):
    """`visits`, but each contact a user ever had lowers the log odds of interest by `step`, up to the third.

    Stresses: rewards that depend on the count of contacts. A policy that contacts more often than the log did meets
    more tired users, and contacts made before the log began have tired some already.
    """

    step: float = 0.5

    own_name: ClassVar[str] = "fatigue"
    summary: ClassVar[str] = "like visits, but every contact lowers a user's later interest"

    def reward_probabilities(self, context: Context) -> FloatArray:
        """(n, 1) probability of interest after the contacts so far, unlogged ones included."""
        _, contacts = true_history(context)
        rested = context[ODDS] + 0.7  # about what one contact in the past takes away
        return np.asarray(expit(rested - self.step * np.minimum(contacts, MOST)), dtype=np.float64)[:, None]

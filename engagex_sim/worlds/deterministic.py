"""`deterministic`: a log without randomness."""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from engagex_sim.columns import FloatArray
from engagex_sim.policy import Context, Policy
from engagex_sim.worlds.visits import EVENING, Visits


@dataclass(frozen=True)
class Rule:
    """Contacts at every cart or search in the evening that the cap allows, and never otherwise."""

    name: ClassVar[str] = "logging"

    def action_probabilities(self, context: Context) -> FloatArray:
        """(n, 2), zeros and ones."""
        wanted = np.isin(context["type"], ("cart", "search")) & np.isin(context["hour"], EVENING)
        contact = (wanted & context.mask[:, 1]).astype(np.float64)
        return np.column_stack([1 - contact, contact])


@dataclass(frozen=True)
class Deterministic(Visits):
    """`visits`, but the company contacts by a fixed rule.

    Stresses: no support. What would have happened at any other moment is not in the log, so nothing but the current
    strategy, its equal and `never` can be judged. `contact_odds` plays no part.
    """

    own_name: ClassVar[str] = "deterministic"
    summary: ClassVar[str] = "like visits, but the company contacts by a fixed rule: no randomness to learn from"

    @cached_property
    def logging(self) -> Policy:
        return Rule()

"""`capless`: a log that breaks the cap."""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from engagex_sim.cap import Cap
from engagex_sim.columns import FloatArray
from engagex_sim.policy import Context, Policy
from engagex_sim.worlds.visits import Visits, VisitsLogging


@dataclass(frozen=True)
class HalfHearted(VisitsLogging):
    """`VisitsLogging` that rests users a little: lower log odds in the week after a contact, no cap."""

    rest: float = 1.0

    def log_odds(self, context: Context) -> FloatArray:
        return super().log_odds(context) - self.rest * (context["days_since_contact"] < 7)


@dataclass(frozen=True)
class Capless(Visits):
    """`visits`, but the company kept to no cap: it only contacts less often, by `rest` log odds, within 7 days.

    Stresses: a log that breaks the cap which every target policy obeys. Interest does not depend on past contacts.
    """

    contact_odds: float = -2.8
    rest: float = 1.0

    own_name: ClassVar[str] = "capless"
    summary: ClassVar[str] = "like visits, but the log breaks the cap: the company only rests users half-heartedly"

    @property
    def logging_cap(self) -> Cap:
        return Cap(0)

    @cached_property
    def logging(self) -> Policy:
        return HalfHearted(self.contact_odds, rest=self.rest)

"""What the triggers are and what a decision point is, where that is not told."""

from dataclasses import dataclass
from typing import Literal

from engagex_sim.log.data import ReadAs
from engagex_sim.log.overlap import Overlap
from engagex_sim.settings import LogSettings

CONTACTS_SHARE = 0.95  # of trigger rows with an actions row at the same instant: from here on triggers are contacts


@dataclass(frozen=True)
class Reading(ReadAs):
    """How the log is read."""

    triggers_are: Literal["opportunities", "contacts"]
    decision_points: Literal["trigger", "day"]
    said: tuple[str, ...]  # the sentence that says why, where it was not told

    @property
    def by_day(self) -> bool:
        return self.decision_points == "day"


def reading_of(overlap: Overlap, settings: LogSettings) -> Reading:
    """The reading that the settings ask for, or that the overlap of the two files suggests."""
    triggers_are, said = _triggers_are(overlap, settings)
    decision_points = settings.decision_points
    if decision_points == "auto":
        decision_points = "day" if triggers_are == "contacts" else "trigger"
    return Reading(triggers_are, decision_points, said)


def may_be_grid(n_triggers: int, n_actions: int, settings: LogSettings) -> bool:
    """Whether the decision points may turn out to be a grid of days, from the numbers of good rows."""
    if settings.decision_points == "trigger" or settings.triggers_are == "opportunities":
        return False
    return settings.triggers_are == "contacts" or n_actions >= CONTACTS_SHARE * n_triggers


def _triggers_are(
    overlap: Overlap, settings: LogSettings
) -> tuple[Literal["opportunities", "contacts"], tuple[str, ...]]:
    if settings.triggers_are != "auto":
        return settings.triggers_are, ()
    share = overlap.share_at_one_instant
    seen = f"{100 * share:.1f} % of the trigger rows have an actions row at the same guid and date"
    if share >= CONTACTS_SHARE:
        return "contacts", (
            f"The triggers are taken as contacts, because {seen} (if they are visits: --triggers-are opportunities).",
        )
    return "opportunities", (
        f"The triggers are taken as opportunities to contact, because only {seen} (if they are contacts:"
        " --triggers-are contacts).",
    )

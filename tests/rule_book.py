"""Rules beside the cap for tests, drawn at random, and a referee that knows them in other words than the package."""

from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import strategies as st

from engagex_sim.cap import DAY
from engagex_sim.rules import Rules
from engagex_sim.settings import Settings

KINDS = ("email", "letter", "service")


@dataclass(frozen=True)
class Made:
    """One contact of a user."""

    time: int
    kind: str
    liked: bool
    under_trial: bool  # made by the strategy under trial, not before it


def faults(contacts: Sequence[Made], settings: Settings) -> list[str]:
    """What is wrong with the contacts under trial of one user, in order of time."""
    found = []
    for i, contact in enumerate(contacts):
        if not contact.under_trial:
            continue
        before = contacts[:i]
        if settings.quiet_hours is not None:
            hour = (settings.quiet_hours[0]) % 24
            while hour != settings.quiet_hours[1]:
                if contact.time % DAY // 3600 == hour:
                    found.append("quiet hours")
                hour = (hour + 1) % 24
        if settings.stop_after_interest and any(other.liked for other in before):
            found.append("after an interest")
        for other in before:
            days = (contact.time - other.time) / DAY
            if contact.kind not in settings.exempt and other.kind not in settings.exempt and days < settings.cap_days:
                found.append("cap")
            if contact.kind == other.kind and days < settings.kind_cap.get(contact.kind, 0.0):
                found.append("cap of the kind")
    return found


@st.composite
def rule_settings(draw: st.DrawFn) -> Settings:
    """Any combination of rules about three kinds."""
    cap = draw(st.sampled_from([0, 1, 7, 14]))
    exempt = draw(st.sets(st.sampled_from(KINDS)))
    capped = draw(st.sets(st.sampled_from(KINDS)))
    days = {kind: draw(st.sampled_from([0.5, 3, 10] if kind in exempt else [0.5, 1, 20])) for kind in sorted(capped)}
    return Settings(
        cap_days=cap,
        exempt=sorted(exempt),
        kind_cap={kind: n if kind in exempt else cap + n for kind, n in days.items()},
        quiet_hours=draw(st.sampled_from([None, (22, 8), (0, 12), (9, 10)])),
        stop_after_interest=draw(st.booleans()),
    )


def rules_of(**settings: object) -> Rules:
    """Rules about the three kinds."""
    return Rules.of(Settings(**settings), KINDS)  # type: ignore[arg-type]

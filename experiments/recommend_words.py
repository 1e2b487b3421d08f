"""What `recommend` says at the end: how many are contacted, who waits and why, and whether the log supports it."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from engagex_sim.ope.verdict import UNANSWERABLE
from engagex_sim.recommended import CONTACT, WAIT, Recommended
from engagex_sim.report.formats import counted, number, percent, percent_range


@dataclass
class Tally:
    """What the blocks that were written add up to."""

    users: int = 0
    why: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    interests: dict[str, float] = field(default_factory=dict)  # expected, by kind
    groups: Counter[tuple[str, str]] = field(default_factory=Counter)  # (group, decision)

    @property
    def expected_interests(self) -> float:
        return sum(self.interests.values())

    def add(self, block: Recommended) -> None:
        table = block.table
        self.users += len(table)
        self.why.update(block.why.tolist())
        self.kinds.update(table["kind"].dropna().tolist())
        for kind, interests in table.groupby("kind")["expected_interests"].sum().items():
            self.interests[str(kind)] = self.interests.get(str(kind), 0.0) + float(interests)
        if "group" in table:
            self.groups.update(zip(table["group"], table["decision"], strict=True))


def why_table(tally: Tally) -> Table:
    """Contacts by kind, then those who wait by why."""
    table = Table("decision", "", box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for header in ("users", "share", "expected\ninterests"):
        table.add_column(header, justify="right")
    rows = [(CONTACT, kind, n, number(tally.interests[kind])) for kind, n in sorted(tally.kinds.items())]
    rows += [(WAIT, why, n, "") for why, n in tally.why.most_common() if why != CONTACT]
    for decision, what, n, interests in rows:
        table.add_row(decision, what, f"{n:,}", percent(n / tally.users), interests)
    return table


def sentences(policy: str, at: int, tally: Tally, evaluation: Mapping[str, Any] | None) -> list[str]:
    made = tally.why[CONTACT]
    said = [
        f"At {shown(at)} {policy} recommends {counted(made, 'contact')} among {counted(tally.users, 'user')}, with"
        f" {number(tally.expected_interests)} expected interests."
    ]
    if tally.groups:
        groups = sorted({group for group, _ in tally.groups})
        sizes = [
            f"{sum(n for (g, _), n in tally.groups.items() if g == group):,} in {group}"
            f" ({tally.groups[group, CONTACT]:,} to contact)"
            for group in groups
        ]
        said.append(f"Groups: {', '.join(sizes)}.")
    if evaluation is None:
        return [*said, f"Whether the log supports {policy} was not asked (--no-evaluation)."]
    if evaluation["verdict"] == UNANSWERABLE:
        return [
            *said,
            f"WARNING: THIS LIST IS NOT SUPPORTED BY THE LOG. What {policy} is worth {UNANSWERABLE}:"
            f" {evaluation['reason']}",
        ]
    most = evaluation["contacts_a_day_at_most"]
    limited = "" if most is None else f" with {most:,} contacts a day at most"
    shares = [evaluation[name] for name in ("lift_percent", "lift_percent_low", "lift_percent_high")]
    middle, low, high = (math.nan if share is None else share / 100 for share in shares)
    ess = "" if evaluation["ess"] is None else f"; effective sample size {evaluation['ess']:,.0f} contacts"
    return [
        *said,
        f"Offline evaluation of {policy}{limited} on this log: {evaluation['verdict']}; interests"
        f" {percent(middle, signed=True)} ({percent_range(low, high)}) against the current strategy{ess}.",
    ]


def shown(at: int) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S}"

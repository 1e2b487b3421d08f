"""The headline rows of a result, one `Answer` per policy: what sentences, figures and the page all read."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from engagex_sim.ope.verdict import UNANSWERABLE
from engagex_sim.result import CURRENT, PRIMARY, Result

NEVER = "never"
CONTACTS = "contacts_per_user"
INTERESTED = "interested_users"
PER_CONTACT = "interests_per_contact"
PROFIT = "profit_per_user"

ALMOST_NO_CONTACTS = 0.02  # share of the current strategy's contacts below which a policy makes "almost none"


@dataclass(frozen=True)
class Estimate:
    """One row of the summary. Numbers are NaN and texts empty where undefined."""

    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    lift: float = math.nan
    lift_low: float = math.nan
    lift_high: float = math.nan
    current: float = math.nan  # the current strategy's value of the same metric
    truth: float = math.nan
    ess: float = math.nan
    max_weight_share: float = math.nan
    verdict: str = ""
    reason: str = ""

    @property
    def change(self) -> float:
        """The lift as a share of the current strategy's value."""
        return self.relative(self.lift)

    @property
    def change_low(self) -> float:
        return self.relative(self.lift_low)

    @property
    def change_high(self) -> float:
        return self.relative(self.lift_high)

    def relative(self, difference: float) -> float:
        """A difference as a share of the current strategy's value; NaN where that is 0 or undefined."""
        return difference / abs(self.current) if abs(self.current) > 0 else math.nan


@dataclass(frozen=True)
class Answer:
    """Everything the headline says about one policy."""

    policy: str
    estimates: Mapping[str, Estimate] = field(default_factory=dict)  # metric → estimate

    def __getitem__(self, metric: str) -> Estimate:
        return self.estimates.get(metric, Estimate())

    @property
    def primary(self) -> Estimate:
        return self[PRIMARY]

    @property
    def is_current(self) -> bool:
        return self.policy == CURRENT

    @property
    def is_reference(self) -> bool:
        """True for the policies whose values are exact and that nobody asks about."""
        return self.policy in (CURRENT, NEVER)

    @property
    def makes_no_contacts(self) -> bool:
        """True if its interests are exactly 0, which needs no estimate."""
        return self[CONTACTS].value == 0

    @property
    def refused(self) -> bool:
        return self.primary.verdict == UNANSWERABLE

    @property
    def makes_almost_no_contacts(self) -> bool:
        """True if it makes hardly any of the contacts that the current strategy makes (`never` is meant to)."""
        contacts = self[CONTACTS]
        return not self.is_reference and contacts.value < ALMOST_NO_CONTACTS * contacts.current


def answers(result: Result) -> list[Answer]:
    """One answer per policy, in the order of the summary, the current strategy first."""
    table = result.table
    ours = table[table["policy"] == CURRENT]
    current = {str(metric): float(value) for metric, value in zip(ours["metric"], ours["value"], strict=True)}
    found: dict[str, dict[str, Estimate]] = {CURRENT: {}} if current else {}
    for row in table.to_dict("records"):
        metric = str(row["metric"])
        estimate = estimate_of({str(name): value for name, value in row.items()}, current.get(metric, math.nan))
        found.setdefault(str(row["policy"]), {})[metric] = estimate
    return [Answer(policy, estimates) for policy, estimates in found.items()]


def estimate_of(row: Mapping[str, Any], current: float) -> Estimate:
    """An estimate from a row of the summary and the current strategy's value of the same metric."""
    return Estimate(
        value=_number(row, "value"),
        low=_number(row, "ci_low"),
        high=_number(row, "ci_high"),
        lift=_number(row, "lift"),
        lift_low=_number(row, "lift_low"),
        lift_high=_number(row, "lift_high"),
        current=current,
        truth=_number(row, "truth"),
        ess=_number(row, "ess"),
        max_weight_share=_number(row, "max_weight_share"),
        verdict=_text(row, "verdict"),
        reason=_text(row, "reason"),
    )


def _number(row: Mapping[str, Any], name: str) -> float:
    value = row.get(name)
    return math.nan if value is None or pd.isna(value) else float(value)


def _text(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    return "" if value is None or pd.isna(value) else str(value)

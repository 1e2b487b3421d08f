"""The headline rows of a result, one `Answer` per policy: what sentences, figures and the page all read."""

import math
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from engagex_sim.ope.verdict import UNANSWERABLE
from engagex_sim.result import CURRENT, ON_POLICY, PRIMARY, Result

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
    low: float = math.nan  # pointwise 95 %
    high: float = math.nan
    lift: float = math.nan
    lift_low: float = math.nan  # 95 % for all policies at once
    lift_high: float = math.nan
    change: float = math.nan  # the lift as a share of the current strategy's value
    change_low: float = math.nan
    change_high: float = math.nan
    truth: float = math.nan
    true_change: float = math.nan  # of the truth against the current strategy's truth
    ess: float = math.nan
    max_weight_share: float = math.nan
    verdict: str = ""
    reason: str = ""


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
    def is_estimated(self) -> bool:
        """True if its interests are an estimate: neither the log itself nor the exact 0 of making no contacts."""
        return not self.is_current and not self.makes_no_contacts

    @property
    def refused(self) -> bool:
        return self.primary.verdict == UNANSWERABLE

    @property
    def makes_almost_no_contacts(self) -> bool:
        """True if it makes hardly any of the contacts that the current strategy makes (`never` is meant to)."""
        contacts = self[CONTACTS]
        return not self.is_reference and contacts.value < ALMOST_NO_CONTACTS * (contacts.value - contacts.lift)


def answers(result: Result) -> list[Answer]:
    """One answer per policy, in the order of the summary, the current strategy first."""
    found: dict[str, dict[str, Estimate]] = {}
    for row, estimate in _estimates(result.table, result):
        found.setdefault(str(row["policy"]), {})[str(row["metric"])] = estimate
    ordered = sorted(found, key=lambda policy: policy != CURRENT)
    return [Answer(policy, found[policy]) for policy in ordered]


def by_estimator(result: Result) -> dict[str, dict[str, Estimate]]:
    """Policy → estimator → the estimate of interests per user; the log itself is left out."""
    rows = result.summary[(result.summary["metric"] == PRIMARY) & (result.summary["estimator"] != ON_POLICY)]
    found: dict[str, dict[str, Estimate]] = {}
    for row, estimate in _estimates(rows, result):
        found.setdefault(str(row["policy"]), {})[str(row["estimator"])] = estimate
    return found


def _estimates(rows: pd.DataFrame, result: Result) -> Iterator[tuple[Mapping[Hashable, Any], Estimate]]:
    """Each row of (a part of) the summary with its estimate."""
    ours = result.summary[result.summary["policy"] == CURRENT].to_dict("records")
    truths = {str(row["metric"]): _number(row, "truth") for row in ours}
    for row in rows.to_dict("records"):
        yield row, _estimate(row, truths.get(str(row["metric"]), math.nan))


def _estimate(row: Mapping[Hashable, Any], current_truth: float) -> Estimate:
    truth = _number(row, "truth")
    return Estimate(
        value=_number(row, "value"),
        low=_number(row, "ci_low"),
        high=_number(row, "ci_high"),
        lift=_number(row, "lift"),
        lift_low=_number(row, "lift_low"),
        lift_high=_number(row, "lift_high"),
        change=_number(row, "lift_percent") / 100,
        change_low=_number(row, "lift_percent_low") / 100,
        change_high=_number(row, "lift_percent_high") / 100,
        truth=truth,
        true_change=truth / current_truth - 1 if current_truth > 0 else math.nan,
        ess=_number(row, "ess"),
        max_weight_share=_number(row, "max_weight_share"),
        verdict=_text(row, "verdict"),
        reason=_text(row, "reason"),
    )


def _number(row: Mapping[Hashable, Any], name: str) -> float:
    value = row.get(name)
    return math.nan if value is None or pd.isna(value) else float(value)


def _text(row: Mapping[Hashable, Any], name: str) -> str:
    value = row.get(name)
    return "" if value is None or pd.isna(value) else str(value)

"""What is demanded of the headline, each demand beside the number seen."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from engagex_sim.ope.verdict import BETTER, UNANSWERABLE, WORSE
from engagex_sim.result import CURRENT, HEADLINE, PRIMARY
from experiments.registry import POLICIES
from experiments.study.cells import AT_VOLUME, EAGER, EQUAL, MILD
from experiments.study.replicate import Tables
from experiments.study.score import COVERS, accuracy, judged, pooled_coverage, records

BIAS = 3.0  # percent of the truth
SUPPORTED = 10.0  # percent of the runs answered, below which a policy is no cell of the coverage table
PROVEN = ("visits", "sends", "fatigue", "frailty", "bursty", "capless")  # worlds whose assumptions hold
UNFLAGGED = (*PROVEN, "null")
PER_CONTACT = "interests_per_contact"
RIVALS = ("dr_step", "dr_traj")


@dataclass(frozen=True)
class Demand:
    """One demand on one cell; `value` and `error` (Monte-Carlo, NaN where none is meant) in the unit of `wanted`.

    `runs` are the logs that it was judged on, None for all of the cell.
    """

    part: int
    cell: str
    claim: str
    wanted: str
    value: float
    error: float
    holds: bool
    runs: int | None = None


COLUMNS = ("part", "cell", "claim", "wanted", "value", "error", "runs", "holds")
TOLD_FROM = 100  # runs of a cell, below which nothing is said about a demand
FLAGS = {"reaction": "reactive", "drift": "drift"}  # flag → the world in which it must be raised


def claims(tables: Tables) -> pd.DataFrame:
    """One row per demand on the cells that were run, in the order of the parts.

    `holds` is "yes", "no", or "too few runs".
    """
    table = accuracy(tables.values, tables.runs)
    rows = judged(tables.values)
    present = set(tables.runs["cell"])
    found = [
        *_coverage(rows, table, tables.runs),
        *_no_false_alarm(tables, present),
        *_refusals(tables, present),
        *_sensitivity(tables),
        *_against_rivals(tables),
        *_flags(tables.runs),
    ]
    found.sort(key=lambda demand: demand.part)
    shown = pd.DataFrame([vars(demand) for demand in found], columns=list(COLUMNS))
    of_cell = shown["cell"].map(tables.runs["cell"].value_counts())
    shown["runs"] = shown["runs"].fillna(of_cell).astype(np.int64)
    told = np.where(shown["holds"].astype(bool), "yes", "no")
    shown["holds"] = np.where(shown["runs"] >= TOLD_FROM, told, "too few runs")
    return shown[list(COLUMNS)]


def _coverage(rows: pd.DataFrame, table: pd.DataFrame, runs: pd.DataFrame) -> Iterator[Demand]:
    head = rows[(rows["estimator"] == HEADLINE) & (rows["metric"] == PRIMARY) & rows["policy"].isin(POLICIES)]
    own = table[(table["estimator"] == HEADLINE) & (table["metric"] == PRIMARY) & table["policy"].isin(POLICIES)]
    for cell in [name for name in PROVEN if (own["cell"] == name).any()]:
        built_in = own[own["cell"] == cell]
        lines = built_in[built_in["answered"] >= SUPPORTED]
        here = head[(head["cell"] == cell) & (head["answered"] == 1) & head["policy"].isin(lines["policy"])]
        share, error = pooled_coverage(here)
        claim = "coverage, pooled over the built-in policies"
        yield Demand(1, cell, claim, "94 to 96.5 %", share, error, 94 <= share <= 96.5)
        for line in _first(lines, lines["coverage"]):
            share, error = line["coverage"], line["coverage_error"]
            claim = f"lowest coverage of a built-in policy ({line['policy']})"
            yield Demand(1, cell, claim, "at least 92.3 %", share, error, share >= 92.3)
        for line in _first(lines, 2 * lines["bias_error"] - lines["bias"].abs()):
            bias, error = abs(line["bias"]), line["bias_error"]
            claim = f"largest relative bias that can be told ({line['policy']})"
            yield Demand(1, cell, claim, "at most 3 %, give or take 2 s.e.", bias, error, bias - 2 * error <= BIAS)
        if cell == "visits":
            for line in _first(built_in, built_in["answered"]):
                share, error = line["answered"], _error(line["answered"], int((runs["cell"] == cell).sum()))
                claim = f"runs that answer the policy answered least ({line['policy']})"
                yield Demand(1, cell, claim, "at least 90 %", share, error, share >= 90)


def _first(table: pd.DataFrame, by: "pd.Series[float]") -> list[dict[str, Any]]:
    """The row where `by` is lowest, as a list that is empty where there is none."""
    return list(records(table.loc[by.dropna().nsmallest(1).index]))


def _no_false_alarm(tables: Tables, present: set[str]) -> Iterator[Demand]:
    values = tables.values
    if "null" in present:
        own = values[(values["cell"] == "null") & (values["estimator"] == HEADLINE)]
        runs = tables.runs[tables.runs["cell"] == "null"]["replication"].nunique()
        decided = own[own["verdict"].isin([BETTER, WORSE])]
        for claim, rows in (
            (
                "runs that call any policy at the current volume better or worse",
                decided[(decided["metric"] == PRIMARY) & decided["policy"].isin(AT_VOLUME)],
            ),
            ("runs that call any policy better or worse per contact", decided[decided["metric"] == PER_CONTACT]),
        ):
            share = 100 * rows["replication"].nunique() / runs
            yield Demand(2, "null", claim, "at most 7.3 %", share, _error(share, runs), share <= 7.3)
    equal = tables.intervals
    equal = equal[(equal["policy"] == EQUAL) & (equal["method"] == "bootstrap") & equal["cell"].isin(UNFLAGGED)]
    for cell, own in equal.groupby("cell", sort=False):
        share = 100 * float(((own["lift_low"] <= 0) & (own["lift_high"] >= 0)).mean())
        claim = "lift 0 inside the interval of the policy equal to the logging policy"
        error = _error(share, len(own))
        yield Demand(2, str(cell), claim, "93.5 to 96.5 %", share, error, 93.5 <= share <= 96.5)


def _refusals(tables: Tables, present: set[str]) -> Iterator[Demand]:
    if "deterministic" not in present:
        return
    values = tables.values
    own = values[
        (values["cell"] == "deterministic") & (values["estimator"] == HEADLINE) & (values["metric"] == PRIMARY)
    ]
    facts = tables.policies[["cell", "replication", "policy", "expected_contacts"]]
    own = own.merge(facts, on=["cell", "replication", "policy"])
    known = own["policy"].eq(EQUAL) | own["expected_contacts"].eq(0)
    for claim, rows, wish in (
        ("answers that are refused, of policies that the log cannot answer", own[~known], 100.0),
        ("answers that are refused, of `never` and of policies equal to the log's", own[known], 0.0),
    ):
        share = 100 * float((rows["verdict"] == UNANSWERABLE).mean())
        yield Demand(2, "deterministic", claim, f"{wish:.0f} %", share, _error(share, len(rows)), share == wish)


def _sensitivity(tables: Tables) -> Iterator[Demand]:
    policies = tables.policies
    if "bound_low" not in policies:
        return
    values = tables.values
    head = values[(values["estimator"] == HEADLINE) & (values["metric"] == PRIMARY)]
    keys = ["cell", "replication", "policy"]
    own = policies.merge(head[[*keys, "true_lift", "verdict"]], on=keys)
    own = own[own["cell"].str.startswith("confounded") & own["bound_low"].notna()]
    cells = list(own["cell"].unique())
    for cell in cells:
        here = own[own["cell"] == cell]
        inside = here["true_lift"].between(here["bound_low"], here["bound_high"])
        worst = 100 * float(inside.groupby(here["policy"]).mean().min())
        claim = "truth within the bounds at the world's Λ, policy covered least"
        yield Demand(2, cell, claim, "at least 95 %", worst, _error(worst, here["replication"].nunique()), worst >= 95)
    if "confounded_strong" in cells:
        meant = (own["expected_contacts"] > 0) & (own["verdict"] != UNANSWERABLE)
        here = own[(own["cell"] == "confounded_strong") & meant]
        outside = ~here["true_lift"].between(here["unbounded_low"], here["unbounded_high"])
        claim = "truth outside the bounds at Λ = 1"
        share, error = pooled_coverage(here.assign(covered=outside.astype(np.float64)))
        pooled = f"{claim}, pooled over answered policies that make contacts"
        yield Demand(2, "confounded_strong", pooled, "at least 50 %", share, error, share >= 50)
        by_policy = 100 * outside.groupby(here["policy"]).mean()
        for policy, least in by_policy.nsmallest(1).items():
            error = _error(least, int((here["policy"] == policy).sum()))
            alone = f"{claim}, for one policy alone, missed least ({policy})"
            yield Demand(2, "confounded_strong", alone, "at least 50 %", least, error, least >= 50)


def _of_whole_families(values: pd.DataFrame) -> pd.DataFrame:
    """The rows of logs that all estimators answered, so that errors are compared on the same logs."""
    keys = ["cell", "replication"]
    whole = values.loc[values["estimator"] == RIVALS[0], keys].drop_duplicates()
    return values.merge(whole, on=keys)


def _against_rivals(tables: Tables) -> Iterator[Demand]:
    values = _of_whole_families(tables.values)
    runs = values.loc[values["cell"] == "visits", "replication"].nunique()
    table = accuracy(values, tables.runs)
    own = table[(table["cell"] == "visits") & (table["metric"] == PRIMARY) & (table["policy"] != CURRENT)]
    rmse = {(row["policy"], row["estimator"]): float(row["rmse"]) for row in records(own) if row["rmse"] > 0}
    mine = {policy: error for (policy, estimator), error in rmse.items() if estimator == HEADLINE}
    for policies, limits in ((EAGER, dict(zip(RIVALS, (0.5, 0.6), strict=True))), (MILD, dict.fromkeys(RIVALS, 1.05))):
        for rival, limit in limits.items():
            ratios = {p: mine[p] / rmse[p, rival] for p in policies if p in mine and (p, rival) in rmse}
            if ratios:
                ratio, policy = max((ratio, policy) for policy, ratio in ratios.items())
                claim = f"RMSE of {HEADLINE} ÷ {rival}, largest ({policy})"
                yield Demand(3, "visits", claim, f"at most {limit:g}", ratio, float("nan"), ratio <= limit, runs)
    # An estimator is chosen before the truth is known: a rival is one whose intervals cover for every policy.
    lowest = own[own["estimator"] != HEADLINE].groupby("estimator")["coverage"].min()
    rivals = list(lowest.index[lowest >= COVERS])
    alone = own[(own["estimator"] != HEADLINE) & (own["coverage"] >= COVERS)]
    covering = set(zip(alone["policy"], alone["estimator"], strict=True))
    for whom, chosen in (
        ("for every policy", {key for key in rmse if key[1] in rivals}),
        ("for one policy alone", covering & rmse.keys()),
    ):
        found = [(rmse[p, e] / mine[p], e, p) for p, e in chosen if p in mine]
        if found:
            ratio, rival, policy = min(found)
            claim = f"RMSE of rivals that cover ≥ {COVERS:g} % {whom} ÷ {HEADLINE}, smallest ({rival}, {policy})"
            yield Demand(3, "visits", claim, "at least 0.9", ratio, float("nan"), ratio >= 0.9, runs)


def _flags(runs: pd.DataFrame) -> Iterator[Demand]:
    for flag, world in FLAGS.items():
        if f"flag_{flag}" not in runs:
            continue
        claim, most = f"runs with the flag {flag}", "at most 2 %"
        elsewhere = []
        for cell, own in runs.groupby("cell", sort=False):
            tested = own[f"flag_{flag}"].dropna()
            share = 100 * float(tested.mean())
            error, runs_tested = _error(share, len(tested)), len(tested)
            if cell == world:
                yield Demand(4, str(cell), claim, "at least 90 %", share, error, share >= 90, runs_tested)
            elif cell in UNFLAGGED:
                yield Demand(4, str(cell), claim, most, share, error, share <= 2, runs_tested)
            elif not np.isnan(share):
                of_all = f"{claim}, most of all other cells"
                elsewhere.append(Demand(4, str(cell), of_all, most, share, error, share <= 2, runs_tested))
        yield from sorted(elsewhere, key=lambda demand: -demand.value)[:1]


def _error(percent: float, n: float = np.nan) -> float:
    """Binomial standard error of a share of n runs, in points."""
    return float(np.sqrt(max(percent * (100 - percent), 0.0) / n)) if n else float("nan")

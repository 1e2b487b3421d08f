"""Where the verdict's limits belong: chosen on half of the cells, and tried on the other half.

A limit keeps out estimates that rest on too little. It is the loosest one that lets no policy of any cell through whose
95 % interval can be seen to cover too seldom: what holds on average only is no protection. Where none is seen, the
limit stays as it is. Limits are chosen one after the other, each among the estimates that the limits before it let
through. Halves go by a hash of the cell's name.
"""

import zlib
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from engagex_sim.columns import BoolArray
from engagex_sim.ope.verdict import (
    MAX_BALANCE_Z,
    MAX_IMBALANCE,
    MAX_WEIGHT_SHARE,
    MIN_ESS,
    MIN_EXPECTED_POSITIVES,
    MIN_POSITIVES,
)
from engagex_sim.result import CURRENT, HEADLINE, PRIMARY
from experiments.study.cells import cells_of
from experiments.study.replicate import Tables
from experiments.study.score import judged, pooled_coverage

MISSES = 7.7  # percent that the interval of one policy in one cell may miss
SURE = 2.0  # standard errors by which it must miss more for the limit to exclude it
ENOUGH = 100  # estimates of one policy in one cell, below which they say nothing


@dataclass(frozen=True)
class Rule:
    """One fact about overlap; `edges` from strict to loose, neighbours bound a bin."""

    fact: str
    edges: tuple[float, ...]
    at_least: bool  # the fact must be at least the limit; else at most
    now: float  # the limit that the verdict uses

    def passes(self, rows: pd.DataFrame, limit: float) -> BoolArray:
        """Which estimates this limit lets through; facts that are undefined pass no limit."""
        own = rows[self.fact].to_numpy(dtype=np.float64)
        return np.asarray(own >= limit if self.at_least else own <= limit)


POSITIVES = (400, 200, 100, 60, 40, 30, 20, 15, 10, 7, 5, 3, 2)
ESS = (5_000, 2_000, 1_000, 500, 300, 200, 150, 100, 75, 50, 35, 20, 10)
SHARES = (0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5)
IMBALANCES = (0.0, 0.02, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2, 0.3, 0.5)
RULES = (
    Rule("expected_positives", POSITIVES, True, MIN_EXPECTED_POSITIVES),
    Rule("effective_positives", POSITIVES, True, MIN_POSITIVES),
    Rule("ess", ESS, True, MIN_ESS),
    Rule("max_weight_share", SHARES, False, MAX_WEIGHT_SHARE),
    Rule("told_imbalance", IMBALANCES, False, MAX_IMBALANCE),
)


@dataclass(frozen=True)
class Fitted:
    """The limits chosen, and the table that shows why and how they do on the other half."""

    limits: dict[str, float]
    table: pd.DataFrame


def fit_rules(tables: Tables) -> Fitted:
    """Choose the limits on one half, report both halves: misses in each bin and over everything that passes."""
    rows = rows_to_judge(tables)
    fitting = np.array([is_fitted_on(cell) for cell in rows["cell"]], dtype=np.bool_)
    limits: dict[str, float] = {}
    lines = []
    inside = np.ones(len(rows), dtype=np.bool_)
    for rule in RULES:
        found = None
        for strict, loose in pairwise(rule.edges):
            passing = inside & rule.passes(rows, loose)
            within = passing & ~rule.passes(rows, strict)
            fit, other = _misses(rows[within & fitting]), _misses(rows[within & ~fitting])
            lines.append(_line(rule.fact, _between(strict, loose), fit, other, None))
            if found is None and fit.n and _seen_to_miss(rows[passing & fitting]):
                found = strict
        limits[rule.fact] = rule.now if found is None else found
        inside &= rule.passes(rows, limits[rule.fact])
    for name, passing in (
        ("chosen limits", inside),
        ("limits in use", np.logical_and.reduce([rule.passes(rows, rule.now) for rule in RULES])),
        ("no limits", np.ones(len(rows), dtype=np.bool_)),
    ):
        fit, other = _misses(rows[passing & fitting]), _misses(rows[passing & ~fitting])
        share = 100 * float(passing[~fitting].mean()) if (~fitting).any() else np.nan
        lines.append(_line("together", name, fit, other, share))
    lines += [{"fact": rule.fact, "estimates": "limit chosen", "limit": limits[rule.fact]} for rule in RULES]
    counts = dict.fromkeys(["fit_n", "other_n"], "Int64")  # with room for "none"
    return Fitted(limits, pd.DataFrame(lines, columns=COLUMNS).astype(counts))


def _seen_to_miss(rows: pd.DataFrame) -> bool:
    """Whether some policy in some cell misses more often than it may, by more than chance."""
    groups = rows.groupby(["cell", "policy"])["covered"]
    missed, n = 1 - groups.mean(), groups.size()
    excess = missed - MISSES / 100
    return bool(((excess > SURE * np.sqrt(missed * (1 - missed) / n)) & (n >= ENOUGH)).any())


def rows_to_judge(tables: Tables) -> pd.DataFrame:
    """The headline's estimates for the primary metric, of policies that make contacts where the assumptions hold."""
    values = judged(tables.values)
    head = values[(values["estimator"] == HEADLINE) & (values["metric"] == PRIMARY) & (values["policy"] != CURRENT)]
    known = {name: cell for small in (False, True) for name, cell in cells_of(small).items()}
    holding = [name for name, cell in known.items() if cell.holds]
    facts = [rule.fact for rule in RULES if rule.fact in tables.policies] + ["balance_z", "imbalance"]
    own = head[head["cell"].isin(holding)].merge(
        tables.policies[["cell", "replication", "policy", *facts]], on=["cell", "replication", "policy"]
    )
    told = own["balance_z"].abs() > MAX_BALANCE_Z
    return own.assign(told_imbalance=np.where(told, own["imbalance"].abs(), 0.0)).dropna(subset="covered")


def is_fitted_on(cell: str) -> bool:
    """Whether the limits are chosen on this cell."""
    return zlib.crc32(cell.encode()) % 2 == 0


COLUMNS = (
    "fact", "estimates", "fit_n", "fit_misses", "fit_error", "other_n", "other_misses", "other_error",
    "other_answered", "limit",
)  # fmt: skip


@dataclass(frozen=True)
class _Misses:
    n: int
    misses: float  # percent
    error: float


def _misses(rows: pd.DataFrame) -> _Misses:
    share, error = pooled_coverage(rows.assign(replication=rows["cell"] + rows["replication"].astype(str)))
    return _Misses(len(rows), 100 - share, error)


def _line(fact: str, name: str, fit: _Misses, other: _Misses, answered: float | None) -> dict[str, object]:
    return {"fact": fact, "estimates": name, "other_answered": answered} | {
        f"{half}_{number}": getattr(own, number)
        for half, own in (("fit", fit), ("other", other))
        for number in ("n", "misses", "error")
    }


def _between(strict: float, loose: float) -> str:
    return f"{min(strict, loose):g} to {max(strict, loose):g}"

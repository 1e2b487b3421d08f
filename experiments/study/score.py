"""How right the estimates are: bias, error, coverage and its misses per side, width, and share answered."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from engagex_sim.ope.verdict import UNANSWERABLE
from engagex_sim.result import CURRENT, HEADLINE, PRIMARY

TINY = 1e-12  # rounding in a true lift of 0
GROUP = ["cell", "policy", "estimator", "metric"]
COVERS = 92.0  # percent of runs, from which on an interval counts as one that covers


def judged(values: pd.DataFrame) -> pd.DataFrame:
    """One row per estimate of something that is not 0 for certain, with its errors.

    `error` is relative to the truth; `truth_above`, `truth_below` and `covered` are 0, 1, or NaN without an interval;
    `answered` is 0 where the headline refuses this policy and metric on this log, whichever estimator the row is of.
    """
    own = values[(values["truth"] != 0) & values["truth"].notna()].copy()
    has = own["ci_low"].notna()
    own["error"] = own["value"] / own["truth"] - 1
    own["truth_above"] = np.where(has, own["ci_high"] < own["truth"], np.nan)
    own["truth_below"] = np.where(has, own["ci_low"] > own["truth"], np.nan)
    own["covered"] = 1 - own["truth_above"] - own["truth_below"]
    own["width"] = (own["ci_high"] - own["ci_low"]) / own["truth"].abs()
    keys = ["cell", "replication", "policy", "metric"]
    head = own.loc[own["estimator"] == HEADLINE, [*keys, "verdict"]]
    refused = head[head["verdict"] == UNANSWERABLE][keys].assign(answered=0.0)
    own = own.merge(refused, on=keys, how="left")
    own["answered"] = own["answered"].fillna(1.0)
    return own


def accuracy(values: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Per cell × policy × estimator × metric, in percent of the truth or of the runs; `*_error` are standard errors.

    `bias` to `width` are over runs with an answer, since a refused answer claims nothing; so that estimators are
    compared on the same logs, it is the headline that must answer. `answered` and `all_coverage` are over all runs, and
    a log that was refused as a whole (`refused` in `runs`) is one that neither answers nor covers.
    """
    own = judged(values)
    answered = own[own["answered"] == 1]
    groups = answered.groupby(GROUP, sort=False)
    table = groups.agg(
        runs=("error", "size"),
        bias=("error", "mean"),
        bias_error=("error", _mean_error),
        rmse=("error", lambda error: np.sqrt((error**2).mean())),
        coverage=("covered", "mean"),
        coverage_error=("covered", _share_error),
        truth_above=("truth_above", "mean"),
        truth_below=("truth_below", "mean"),
        width=("width", "mean"),
    )
    everything = own.groupby(GROUP, sort=False).agg(answered=("answered", "mean"), all_coverage=("covered", "mean"))
    seen = runs["refused"].isna().groupby(runs["cell"]).mean()  # share of logs that were not refused as a whole
    everything = everything.mul(seen.loc[everything.index.get_level_values("cell")].to_numpy(), axis=0)
    table = everything.join(table).reset_index()
    shares = [name for name in table.columns if name not in (*GROUP, "runs")]
    table[shares] *= 100
    table["runs"] = table["runs"].fillna(0).astype(int)
    return table[[*GROUP, "runs", *(name for name in table.columns if name not in (*GROUP, "runs"))]]


def headline(table: pd.DataFrame, metric: str = PRIMARY) -> pd.DataFrame:
    """The rows of `accuracy` that are the headline's, and the log's own mean."""
    own = (table["estimator"] == HEADLINE) | (table["policy"] == CURRENT)
    return table[own & (table["metric"] == metric)]


def records(table: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """The rows, by name of column."""
    for row in table.to_dict("records"):
        yield {str(name): value for name, value in row.items()}


def methods(intervals: pd.DataFrame) -> pd.DataFrame:
    """Coverage and median width of every way to an interval, for interests per user and for its lift, in percent.

    Per cell × policy × method, over all runs that give an interval; widths relative to the true value.
    """
    own = intervals[intervals["truth"] > 0]
    columns = {"cell": own["cell"], "policy": own["policy"], "estimator": own["estimator"], "method": own["method"]}
    for what, truth in (("value", own["truth"]), ("lift", own["true_lift"])):
        low, high = own[f"{what}_low"], own[f"{what}_high"]
        inside = (low <= truth + TINY) & (high >= truth - TINY)
        columns[f"{what}_coverage"] = 100 * inside.astype(float).where(low.notna())
        columns[f"{what}_width"] = 100 * (high - low) / own["truth"]
    table = pd.DataFrame(columns).dropna(subset="value_coverage")
    keys = ["cell", "policy", "estimator", "method"]
    groups = table.groupby(keys, sort=False)
    widths = {f"{what}_width": (f"{what}_width", "median") for what in ("value", "lift")}
    shares = {f"{what}_coverage": (f"{what}_coverage", "mean") for what in ("value", "lift")}
    return groups.agg(runs=("value_width", "size"), **shares, **widths).reset_index()


def pooled_coverage(own: pd.DataFrame) -> tuple[float, float]:
    """Percent of the rows of `judged` that are covered, and its standard error over logs, whose rows go together."""
    by_log = own.dropna(subset="covered").groupby("replication")["covered"].agg(["sum", "size"])
    if by_log.empty:
        return float("nan"), float("nan")
    share = float(by_log["sum"].sum() / by_log["size"].sum())
    residual = by_log["sum"] - share * by_log["size"]
    error = float(np.sqrt((residual**2).sum()) / by_log["size"].sum())
    return 100 * share, 100 * error


def _mean_error(sample: "pd.Series[float]") -> float:
    return float(sample.std() / np.sqrt(sample.notna().sum()))


def _share_error(sample: "pd.Series[float]") -> float:
    """Binomial, with two successes and failures added, so that 100 % of few runs is not certain (Agresti–Coull)."""
    n = int(sample.notna().sum())
    share = (float(sample.sum()) + 2) / (n + 4)
    return float(np.sqrt(share * (1 - share) / (n + 4))) if n else float("nan")

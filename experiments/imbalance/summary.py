"""The study's numbers over its repeats: means, differences to doing nothing on the same logs, and errors."""

import numpy as np
import pandas as pd

from engagex_sim.ope.verdict import UNANSWERABLE
from engagex_sim.result import HEADLINE
from engagex_sim.worlds import WORLDS
from experiments.imbalance.measure import LIFT, RECALIBRATED

KEYS = ["log", "strategy", "stage", "subject", "measure"]
NOTHING = "none"  # the strategy with which the others are compared
ERRORS = ["error", "difference_error", "bias_error"]


def summarised(rows: pd.DataFrame) -> pd.DataFrame:
    """One row per log, strategy, stage, subject and measure, over its repeats.

    `mean` of the `n` of the `repeats` that have a value, with its standard error `error`; `difference` to strategy
    none, recalibrated, on the same logs, with `difference_error`; of both the `least` and the `greatest`; of estimates
    `bias` and `rmse` in percent of the mean truth. Undefined with one repeat, and where the repeats are splits of one
    log: errors. A lift has a value where that very repeat answers.
    """
    rows = _without_refused(rows)
    base = rows[(rows["strategy"] == NOTHING) & (rows["stage"] == RECALIBRATED)]
    same = ["log", "repeat", "subject", "measure"]
    own = rows.merge(base[[*same, "value"]].rename(columns={"value": "base"}), on=same, how="left")
    own["difference"] = own["value"] - own["base"]
    groups = own.groupby(KEYS, sort=False, dropna=False)
    table = groups.agg(
        repeats=("repeat", "nunique"),
        n=("value", "count"),
        mean=("value", "mean"),
        error=("value", _mean_error),
        least=("value", "min"),
        greatest=("value", "max"),
        difference=("difference", "mean"),
        difference_error=("difference", _mean_error),
        difference_least=("difference", "min"),
        difference_greatest=("difference", "max"),
        low=("low", "mean"),
        high=("high", "mean"),
        truth=("truth", "mean"),
    )
    miss = (own["value"] - own["truth"]).groupby([own[key] for key in KEYS], sort=False, dropna=False)
    table["bias"] = 100 * miss.mean() / table["truth"]
    table["bias_error"] = 100 * miss.agg(_mean_error) / table["truth"]
    table["rmse"] = 100 * miss.agg(lambda misses: np.sqrt((misses**2).mean())) / table["truth"]
    verdicts = own.dropna(subset="verdict").groupby(KEYS, sort=False)["verdict"]
    table["verdict"] = verdicts.agg(lambda words: words.value_counts().index[0])
    table = table.reset_index()
    # Splits share their rows: their spread tells nothing of how another log would come out.
    table.loc[~table["log"].isin(list(WORLDS)), ERRORS] = np.nan
    return table


def _without_refused(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows, with no number for a lift whose verdict refuses the answer in that very repeat."""
    same = ["log", "repeat", "strategy", "stage", "subject"]
    refused = pd.MultiIndex.from_frame(rows.loc[rows["verdict"] == UNANSWERABLE, same])
    numbers = ["value", "low", "high"]
    is_refused = (rows["measure"] == LIFT) & pd.MultiIndex.from_frame(rows[same]).isin(refused)
    return rows.assign(**{name: rows[name].mask(is_refused) for name in numbers})


def _mean_error(values: "pd.Series[float]") -> float:
    known = values.dropna()
    return float(known.std(ddof=1) / np.sqrt(len(known))) if len(known) > 1 else float("nan")


class Found:
    """The summary, asked for by name."""

    def __init__(self, summary: pd.DataFrame) -> None:
        self.logs = [str(log) for log in summary["log"].unique()]
        self.worlds = [log for log in self.logs if log in WORLDS]  # each repeat is another log
        self.split_logs = [log for log in self.logs if log not in WORLDS]  # each repeat is another split
        self.strategies = [str(strategy) for strategy in summary["strategy"].unique()]
        keys = list(summary[KEYS].itertuples(index=False, name=None))
        self._numbers: dict[str, dict[tuple[str, ...], float]] = {
            str(name): dict(zip(keys, summary[name].to_numpy(dtype=np.float64), strict=True))
            for name in summary.columns
            if name not in (*KEYS, "verdict")
        }
        self._verdicts: dict[tuple[str, ...], str] = dict(zip(keys, summary["verdict"], strict=True))

    def __call__(self, log: str, strategy: str, stage: str, subject: str, measure: str, column: str = "mean") -> float:
        """One number, NaN where there is none."""
        key = (log, strategy, stage, subject, measure)
        return self._numbers[column].get(key, float("nan"))

    def verdict(self, log: str, strategy: str, stage: str, policy: str) -> str:
        """That of most repeats."""
        key = (log, strategy, stage, policy, HEADLINE)
        return self._verdicts.get(key, "")

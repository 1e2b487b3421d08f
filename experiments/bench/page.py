"""What was measured, as a page of tables in Markdown."""

from collections.abc import Mapping, Sequence

import pandas as pd

from engagex_sim.report.formats import count, number
from experiments.bench.compare import Demand
from experiments.bench.tables import CLUSTER_START, COLD, PARTS, WARM

_HEADS = {
    COLD: "The whole run, log not yet in the cache",
    WARM: "The whole run, log in the cache",
    PARTS: "Parts of these stages, each by itself",
}
_WORDS = {
    COLD: "`baseline_vs_xgb` from the two files to the written report, in a process of its own. Seconds are of the"
    " clock, CPU seconds of all cores together; growth is the time per row relative to the smallest log, so that 1 is"
    " linear; the peak of memory is that of the process during the stage.",
    WARM: "The same again: the files are known, and their blocks are loaded instead.",
    PARTS: "On the first blocks of each log, one after the other. Scoring (reward model and propensity model) and"
    " recursion are done once here, for every user; the run does the recursion once for the current strategy and once"
    " for each policy. One fold's learning is about the whole log, and includes its policies.",
}


def page(
    machine: str,
    command: str,
    stages: pd.DataFrame,
    volumes: pd.DataFrame,
    ratios: pd.DataFrame,
    demands: Sequence[Demand],
    workers: pd.DataFrame | None,
    paper: tuple[pd.DataFrame, Mapping[int, float]],
) -> str:
    """The page; `workers` is the curve, if it was measured."""
    parts = ["# What a run costs", f"    {command}", machine]
    parts += [f"## {_HEADS[run]}\n\n{_WORDS[run]}\n\n{_stages(stages[stages['run'] == run])}" for run in _HEADS]
    parts.append("## Bytes\n\n" + _table([_volume(row) for row in _records(volumes)], text=2))
    parts.append(
        "## Beside the naive way\n\nBoth on the same rows, in the same process. Where the naive way is slow it is"
        " measured on fewer.\n\n" + _table([_ratio(row) for row in _records(ratios)], text=4)
    )
    parts.append("## Estimators\n\n" + _table([_demand(own) for own in demands], text=1))
    if workers is not None:
        parts.append(_curve(workers))
    parts.append(_paper(*paper))
    return "\n\n".join(parts) + "\n"


def _stages(stages: pd.DataFrame) -> str:
    return _table(
        [
            {
                "rows": count(row["triggers"]),
                "stage": str(row["stage"]),
                "seconds": number(row["seconds"]),
                "CPU seconds": number(row["cpu_seconds"]),
                "rows/s": number(row["rows_per_second"]),
                "s per million rows": number(row["seconds_per_million"]),
                "growth": f"{row['growth']:.2f}",
                "peak, GiB": number(row["peak_gib"]),
            }
            for row in _records(stages)
        ],
        text=2,
    )


def _volume(row: Mapping[str, float]) -> dict[str, str]:
    return {
        "rows": count(row["rows"]),
        "what": str(row["what"]),
        "MB": number(row["bytes"] / 1e6),
        "bytes per trigger": number(row["bytes_per_trigger"]),
    }


def _ratio(row: Mapping[str, float]) -> dict[str, str]:
    return {
        "what": str(row["what"]),
        "naive way": str(row["naive_way"]),
        "note": str(row["note"]),
        "unit": str(row["unit"]),
        "ours, per second": number(row["ours"]),
        "on": count(row["ours_on"]),
        "naive, per second": number(row["naive"]),
        "on ": count(row["naive_on"]),
        "times as fast": number(row["ratio"], 2),
    }


def _demand(demand: Demand) -> dict[str, str]:
    wanted = "" if demand.wanted is None else f"{demand.wanted:g}"
    return {"what": demand.what, "seconds": number(demand.seconds), "at most": wanted}


def _curve(workers: pd.DataFrame) -> str:
    first = workers.iloc[0]
    rows = [
        {
            "stage": str(row["stage"]),
            "workers": count(row["workers"]),
            "to start, s": number(row["start"]),
            "seconds": number(row["seconds"]),
            "times as fast": number(row["speedup"], 2),
            "rows/s": number(row["triggers"] / row["seconds"]),
            "peak of a worker, GiB": number(row["peak_gib"]),
            "sent per block, kB": number(row["task"] / 1e3),
            "answered per block, kB": number(row["answers"] / row["blocks"] / 1e3),
        }
        for row in _records(workers)
    ]
    return (
        f"## More workers\n\nWorker processes on {first['triggers']:,} rows in {first['blocks']} blocks, two folds of"
        " light models. Seconds are of all blocks, once every worker is there and has done a block; to start is the"
        f" time until then.\n\n{_table(rows, text=1)}"
    )


def _paper(table: pd.DataFrame, break_even: Mapping[int, float]) -> str:
    rows = [
        {name: count(value) if name == "rows" else _span(value) for name, value in row.items()}
        for row in _records(table)
    ]
    even = "; ".join(f"{number(n / 1e6)} million rows with {workers} workers" for workers, n in break_even.items())
    return (
        "## Larger logs, on paper\n\nFrom the largest log above, not yet in the cache. Survey and observation are"
        " shared out evenly among workers that are as fast as one core of this machine. Reading grows with the log and"
        " is done by one machine. All else is taken as it is: learning is bounded by its sample, though the contacts,"
        f" which are all learned from, do grow. A cluster takes {CLUSTER_START:g} s to start: an assumption.\n\n"
        f"{_table(rows, text=0)}\n\nA cluster is faster from {even} on."
    )


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _records(table: pd.DataFrame) -> list[dict[str, float]]:
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def _table(rows: Sequence[Mapping[str, str]], text: int) -> str:
    """A table in Markdown, whose first `text` columns are words."""
    names = list(rows[0])
    lines = [[name.strip() for name in names], ["---" if i < text else "--:" for i in range(len(names))]]
    lines += [[row[name] for name in names] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)

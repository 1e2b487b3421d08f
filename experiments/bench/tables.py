"""What was measured, as tables."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import pandas as pd

from experiments.bench.compare import Comparison
from experiments.bench.curve import Pass
from experiments.bench.stages import BLOCKS, READING, STAGES, SURVEY, Spent

COLD, WARM, PARTS = RUNS = "cold", "warm", "parts"  # the whole job twice, and parts of its stages
WHOLE = "the whole run"
GIB = 2**30
CLUSTER_START = 60.0  # seconds until a cluster is there: an assumption
WORKERS, TIMES = (4, 16, 64), (1, 10, 100)


@dataclass(frozen=True)
class Size:
    """What one size of the log took."""

    rows: int  # as asked for
    file_bytes: int
    cache_bytes: int
    spent: Mapping[str, Sequence[Spent]]  # run → its stages


def stage_table(sizes: Sequence[Size]) -> pd.DataFrame:
    """One row per size × run × stage; `growth` is the time per row relative to the smallest size: 1 is linear."""
    rows = []
    for size in sizes:
        for run, stages in size.spent.items():
            own = [asdict(stage) for stage in stages]
            if run != PARTS:
                own.append(_whole(stages))
            rows += [{"rows": size.rows, "run": run, **stage} for stage in own]
    table = pd.DataFrame(rows)
    table["rows_per_second"] = table["triggers"] / table["seconds"]
    table["seconds_per_million"] = 1e6 * table["seconds"] / table["triggers"]
    first = table[table["rows"] == table["rows"].min()].set_index(["run", "stage"])["seconds_per_million"]
    keys = pd.MultiIndex.from_frame(table[["run", "stage"]])
    table["growth"] = table["seconds_per_million"] / first.reindex(keys).to_numpy()
    table["peak_gib"] = table.pop("peak") / GIB
    return table


def _whole(stages: Sequence[Spent]) -> dict[str, object]:
    return asdict(
        Spent(
            WHOLE,
            sum(own.seconds for own in stages),
            sum(own.cpu_seconds for own in stages),
            max(own.peak for own in stages),
            stages[0].triggers,
        )
    )


def byte_table(sizes: Sequence[Size]) -> pd.DataFrame:
    """Bytes of the files and of the cache, in all and per trigger row."""
    rows = []
    for size in sizes:
        triggers = size.spent[COLD][0].triggers
        for what, number in (("the files", size.file_bytes), ("the cache", size.cache_bytes)):
            rows.append({"rows": size.rows, "what": what, "bytes": number, "bytes_per_trigger": number / triggers})
    return pd.DataFrame(rows)


def ratio_table(found: Sequence[Comparison]) -> pd.DataFrame:
    """One row per comparison, in units per second; `ratio` is how many times as long the naive way takes."""
    return pd.DataFrame([asdict(own) | {"ratio": own.ratio} for own in found])


def worker_table(passes: Sequence[Pass]) -> pd.DataFrame:
    """One row per stage and number of workers; `speedup` is relative to the fewest."""
    table = pd.DataFrame([asdict(own) for own in passes])
    fewest = table[table["workers"] == table["workers"].min()].set_index("stage")["seconds"]
    table["speedup"] = table["stage"].map(fewest.to_dict()) / table["seconds"]
    table["peak_gib"] = table.pop("peak") / GIB
    return table


def paper_table(stages: pd.DataFrame, cores: int) -> tuple[pd.DataFrame, dict[int, float]]:
    """Seconds of larger logs, on this machine and on clusters, and from how many rows on each cluster is faster.

    From the largest size, not yet in the cache. What goes through the blocks is shared out evenly, a worker being as
    fast as one core of this machine; reading is not shared out, and grows with the log; all else is taken as it is.
    """
    own = stages[(stages["rows"] == stages["rows"].max()) & (stages["run"] == COLD)].set_index("stage")
    millions = float(own.loc[WHOLE, "triggers"]) / 1e6
    reading = float(own.loc[READING, "seconds"]) / millions
    shared_out = float(own.loc[[SURVEY, BLOCKS], "cpu_seconds"].sum()) / millions
    grows = own.index.isin([READING, SURVEY, BLOCKS, WHOLE])
    fixed = float(own.loc[~grows, "seconds"].sum())
    rows = []
    for times in TIMES:
        size = times * millions
        row: dict[str, float] = {"rows": 1e6 * size, "this machine": fixed + size * (reading + shared_out / cores)}
        row |= {f"{n} workers": fixed + CLUSTER_START + size * (reading + shared_out / n) for n in WORKERS}
        rows.append(row)
    gained = {n: shared_out / cores - shared_out / n for n in WORKERS if n > cores}  # seconds per million rows
    return pd.DataFrame(rows), {n: 1e6 * CLUSTER_START / gain for n, gain in gained.items()}


def shares(stages: pd.DataFrame) -> pd.DataFrame:
    """Seconds per million rows of each stage of the whole runs, (size, run) × stage."""
    runs = stages[(stages["run"] != PARTS) & (stages["stage"] != WHOLE)]
    wide = runs.pivot_table(index=["rows", "run"], columns="stage", values="seconds_per_million", sort=False)
    return wide[[stage for stage in STAGES if stage in wide]]

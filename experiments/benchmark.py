"""`bench`: what each stage of the main job costs at several sizes, beside the naive way."""

import time
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.table import Table

from engagex_sim.errors import InputError
from engagex_sim.report import style
from engagex_sim.report.formats import count, counted, listing, number
from engagex_sim.report.tables import csv_text, write_text
from engagex_sim.whole import written_whole
from experiments.bench.compare import compare
from experiments.bench.curve import curve
from experiments.bench.effort import SMALL, Effort, Files
from experiments.bench.figure import bench_figure
from experiments.bench.fresh import fresh
from experiments.bench.machine import described, versions
from experiments.bench.page import page
from experiments.bench.stages import parts, whole_run
from experiments.bench.tables import (
    COLD,
    PARTS,
    WARM,
    WHOLE,
    Size,
    byte_table,
    paper_table,
    ratio_table,
    stage_table,
    worker_table,
)
from experiments.inputs import cache_directory, output_directory
from experiments.make_world import write_world
from experiments.options import cores
from experiments.terminal import Progress, Terminal

WARM_UP = 20_000  # rows of the run that compiles what is not compiled yet


def run_bench(
    rows: str | None,
    counts: str | None,
    data: Path | None,
    out: Path | None,
    threads: int,
    small: bool,
    quiet: bool,
    command: str,
) -> None:
    """Measure, and write `bench.csv`, `ratios.csv`, `workers.csv` (with `counts`), `bench.md` and `bench.png`.

    Logs are made where `data` lacks them, and kept. Raises `InputError`.
    """
    effort = SMALL if small else Effort()
    sizes = effort.rows if rows is None else _numbers("--rows", rows)
    workers = () if counts is None else _numbers("--workers", counts)
    directory = output_directory(out, "bench")
    data = cache_directory() / "bench" if data is None else data
    terminal = Terminal(quiet)
    terminal.say(_plan(sizes, workers, data, effort))
    with written_whole(directory) as folder:
        logs = [_log(size, data, terminal) for size in sizes]
        if not small:
            _warm_up(data, threads, terminal)
        with terminal.progress() as progress:
            found = [_size(log, data, effort, threads, progress) for log in logs]
            told = _told(progress, f"{logs[0].rows:,} rows")
            ratios, demands = fresh(partial(compare, logs[0], effort, threads), told)
            passes = []
            if workers:
                log = max((own for own in logs if own.rows <= effort.curve_rows), key=_rows, default=logs[0])
                passes = fresh(partial(curve, log, effort, workers), _told(progress, f"{log.rows:,} rows"))
        stages, compared = stage_table(found), ratio_table(ratios)
        machine = f"{described()}; {counted(threads, 'thread')}"
        curves = worker_table(passes) if passes else None
        write_text(folder / "bench.csv", csv_text(stages))
        write_text(folder / "ratios.csv", csv_text(compared))
        if curves is not None:
            write_text(folder / "workers.csv", csv_text(curves))
        paper = paper_table(stages, cores())
        write_text(
            folder / "bench.md",
            page(f"{machine}. {versions()}.", command, stages, byte_table(found), compared, demands, curves, paper),
        )
        bench_figure(stages, compared, machine).savefig(folder / "bench.png", dpi=style.DPI)
    terminal.show(_shown(stages))
    for own in ratios:
        terminal.say(f"{own.what}: {number(own.ratio, 2)} times as fast as {own.naive_way}.")
    terminal.say(f"Written: {directory / 'bench.md'}", on_one_line=True)


def _plan(sizes: tuple[int, ...], workers: tuple[int, ...], data: Path, effort: Effort) -> str:
    also = ""
    if workers:
        numbers = listing([str(number) for number in workers])
        also = f", and what goes through the blocks with {numbers} worker processes"
    return (
        f"Measuring the main job ({effort.folds} folds, {effort.n_boot:,} bootstrap replicates) on logs of"
        f" {listing([f'{size:,}' for size in sizes])} rows: the whole run twice, without and with its log in the cache,"
        f" and its parts; beside it the naive way, on the smallest log{also}. Logs that are not in {data} yet are made."
        " Whatever else runs on this machine disturbs the times."
    )


def _numbers(option: str, text: str) -> tuple[int, ...]:
    """The whole numbers of a list, ascending. Raises `InputError` for anything else."""
    try:
        numbers = sorted({int(part) for part in text.split(",")})
    except ValueError:
        numbers = [0]
    if numbers[0] < 1:
        raise InputError(f"{option} is a list of whole numbers from 1 on, as in 1,2,4, not {text!r}.")
    return tuple(numbers)


def _rows(log: Files) -> int:
    return log.rows


def _log(rows: int, data: Path, terminal: Terminal) -> Files:
    """A log of the original's shape; made where it is not there."""
    folder = data / f"original-{rows}"
    if not folder.exists():
        with terminal.progress() as progress:
            fresh(partial(_make, rows, folder), progress)
    files = Files(rows, folder / "triggers.csv", folder / "actions.csv")
    for file in (files.triggers, files.actions):
        if not file.is_file():
            raise InputError(f"{folder} is there without {file.name}; remove it, and it is made anew.")
    return files


def _make(rows: int, folder: Path, progress: Progress) -> None:
    progress(f"making a log of {rows:,} rows")
    write_world("visits", None, rows, folder, 0, quiet=True)


def _warm_up(data: Path, threads: int, terminal: Terminal) -> None:
    """Run the job once in small, so that nothing is compiled while the clock runs."""
    log = _log(WARM_UP, data, terminal)
    with terminal.progress() as progress, TemporaryDirectory() as cache:
        progress("a small run first, which compiles what is not compiled yet")
        fresh(partial(whole_run, log, Path(cache), SMALL, threads, time.time()), lambda *_: None)


def _size(log: Files, data: Path, effort: Effort, threads: int, progress: Progress) -> Size:
    """Measure the job at one size, with a cache of its own."""
    with TemporaryDirectory(prefix=".cache-", dir=data) as folder:
        cache = Path(folder)
        spent = {}
        for run in (COLD, WARM):
            told = _told(progress, f"{log.rows:,} rows, {run}")
            spent[run] = fresh(partial(whole_run, log, cache, effort, threads, time.time()), told)
        spent[PARTS] = fresh(partial(parts, log, cache, effort, threads), _told(progress, f"{log.rows:,} rows"))
        return Size(
            rows=log.rows,
            file_bytes=sum(file.stat().st_size for file in (log.triggers, log.actions)),
            cache_bytes=sum(file.stat().st_size for file in cache.rglob("*") if file.is_file()),
            spent=spent,
        )


def _told(progress: Progress, about: str) -> Progress:
    """Progress that says what it is about."""

    def tell(step: str, done: int = 0, total: int | None = None, /) -> None:
        progress(f"{about}: {step}", done, total)

    return tell


def _shown(stages: pd.DataFrame) -> Table:
    table = Table(box=SIMPLE_HEAD)
    for name in ("rows", "run", "seconds", "rows/s", "peak, GiB", "growth"):
        table.add_column(name, justify="left" if name == "run" else "right")
    for row in stages[stages["stage"] == WHOLE].to_dict("records"):
        table.add_row(
            count(row["rows"]),
            row["run"],
            *(number(row[name]) for name in ("seconds", "rows_per_second", "peak_gib", "growth")),
        )
    return table

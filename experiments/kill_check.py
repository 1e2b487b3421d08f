"""`kill_check`: runs killed at random moments leave the finished output or none, and resumed give the same files."""

import functools
import os
import signal
import tempfile
import time
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.table import Table

from engagex_sim.errors import InputError
from engagex_sim.report.tables import csv_text, write_text
from engagex_sim.whole import written_whole
from engagex_sim.worlds import WORLDS, frames
from experiments.inputs import output_directory
from experiments.terminal import Terminal

USERS, ROWS_PER_BLOCK = 1200, 2500  # so that a run takes seconds, and its log several blocks
PARTS = 12  # models of two folds, and about ten blocks
COLUMNS = ("kill", "after, s", "folds kept", "blocks kept", "output then", "resumed")
OPTIONS = ("--policies", "xgb_greedy", "--grid", "light", "--folds", "2", "--n-boot", "50", "--quiet")
_WORKING = "experiments.evaluate_policies"  # imported before the runs begin, since to kill imports shows nothing


@dataclass(frozen=True)
class Place:
    """A folder with a log, where runs take place; each run named `name` has a cache and an output of its own."""

    folder: Path

    def start(self, name: str, *more: str) -> BaseProcess:
        """Begin the command, with further options, in a process of its own."""
        files = ("--triggers", str(self.folder / "triggers.csv"), "--actions", str(self.folder / "actions.csv"))
        arguments = ("compare", *files, *OPTIONS, *more, "--out", str(self.output(name)))
        context = get_context("forkserver")
        context.set_forkserver_preload([_WORKING])
        process = context.Process(target=_run, args=(arguments, self.cache(name), self.folder / f"{name}.log"))
        process.start()
        return process

    def finish(self, name: str, *more: str) -> float:
        """Run the command to its end; returns the seconds. Raises `InputError` where it fails."""
        began = time.monotonic()
        process = self.start(name, *more)
        process.join()
        if process.exitcode != 0:
            raise InputError(f"A run failed: {(self.folder / f'{name}.log').read_text()[-2000:]}")
        return time.monotonic() - began

    def cache(self, name: str) -> Path:
        return self.folder / f"{name}-cache"

    def output(self, name: str) -> Path:
        return self.folder / f"{name}-output"

    def files(self, name: str) -> dict[str, bytes]:
        """Every file of a finished output; nothing where there is no output."""
        output = self.output(name)
        return {path.name: path.read_bytes() for path in output.iterdir()} if output.exists() else {}

    def finished_parts(self, name: str) -> tuple[int, int]:
        """How many folds' models and how many blocks a run has left in its cache."""
        parts = [path.name for path in self.cache(name).glob("engagex-sim/runs/*/*")]
        return sum(part.startswith("fold-") for part in parts), sum(part.startswith("block-") for part in parts)


def _run(arguments: tuple[str, ...], cache: Path, log: Path) -> None:
    """The command, in this process; what it says goes into a file."""
    from engagex_sim.log import read_blocks
    from experiments import inputs
    from experiments.run import main

    said = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(said, 1)
    os.dup2(said, 2)
    os.environ["XDG_CACHE_HOME"] = str(cache)
    vars(inputs)["read_blocks"] = functools.partial(read_blocks, rows_per_block=ROWS_PER_BLOCK)
    raise SystemExit(main(arguments))


def run_kill_check(kills: int, seed: int, out: Path | None, quiet: bool) -> None:
    """Kill, resume, compare, `kills` times. Raises `InputError` where a kill left something else than it should."""
    directory = None if out is None else output_directory(out, "kill_check")
    terminal, rng = Terminal(quiet), np.random.default_rng(seed)
    rows, wrong = [], 0
    with (
        tempfile.TemporaryDirectory(prefix="engagex-kills-", ignore_cleanup_errors=True) as name,
        terminal.progress() as progress,
    ):
        place = Place(Path(name))
        for role, frame in zip(("triggers", "actions"), frames(WORLDS["visits"], USERS, seed), strict=True):
            frame.to_csv(place.folder / f"{role}.csv", index=False)
        progress("undisturbed runs")
        place.finish("first")  # may have to compile, so its time says nothing
        seconds = place.finish("second")
        expected = place.files("first")
        if place.files("second") != expected:
            raise InputError("Two undisturbed runs left different files, so there is nothing to compare with.")
        for number in range(kills):
            # Every second one strikes while models are learned and blocks evaluated: on a small log a short time.
            moment, parts = float(rng.uniform(0, seconds)), int(rng.integers(1, PARTS))
            limits = (moment, PARTS + 1) if number % 2 else (seconds, parts)
            progress("killing", number, kills)
            row, right = _one_kill(place, f"killed-{number}", *limits, expected)
            wrong += not right
            rows.append([str(number + 1), *row])
    table = Table(*COLUMNS, box=SIMPLE_HEAD, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    terminal.show(table)
    terminal.say(
        f"An undisturbed run takes {seconds:.2f} s. Seed {seed}: {kills - wrong} of {kills} kills as it should be."
    )
    if directory is not None:
        with written_whole(directory) as folder:
            write_text(folder / "kills.csv", csv_text(pd.DataFrame(rows, columns=COLUMNS)))
        terminal.say(f"Written: {directory}", on_one_line=True)
    if wrong:
        raise InputError(f"{wrong} of {kills} kills left something else than the finished output or none.")


def _one_kill(place: Place, name: str, moment: float, parts: int, expected: dict[str, bytes]) -> tuple[list[str], bool]:
    """Kill a run after `moment` seconds, or once it has finished so many parts, and resume it.

    Returns a row of the table, and whether all is as it should be: output whole or absent, resumed the same.
    """
    began, process = time.monotonic(), place.start(name)
    while process.is_alive() and time.monotonic() - began < moment and sum(place.finished_parts(name)) < parts:
        time.sleep(0.002)
    if process.is_alive() and process.pid is not None:
        os.kill(process.pid, signal.SIGKILL)
    after = time.monotonic() - began
    process.join()
    folds, blocks = place.finished_parts(name)
    left = place.files(name)
    whole = left == expected
    same = whole
    if not left:
        place.finish(name, "--resume")
        same = place.files(name) == expected and not any(place.finished_parts(name))
    then = "none" if not left else "whole" if whole else "HALF"
    row = [f"{after:.2f}", str(folds), str(blocks), then, "same" if same else "DIFFERENT"]
    return row, (whole or not left) and same

"""Running the units of work over processes: nothing is lost that was finished, nothing depends on their order."""

import os
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing import get_context

from engagex_sim.execution import leave_with_parent
from experiments.study.cells import SMALL_TRUTH_USERS, TRUTH_USERS, Cell, cells_of, find
from experiments.study.replicate import Tables, replicate
from experiments.study.store import Store
from experiments.study.truth import WorldTruth, world_truth


@dataclass(frozen=True)
class Unit:
    """Replications `first` to `last - 1` of one cell."""

    cell: str
    small: bool
    first: int
    last: int
    seed: int
    fixed: WorldTruth | None = None  # what is true of its world; only a unit that has it can be run

    def with_truth(self, fixed: WorldTruth) -> "Unit":
        """The same unit, ready to be run."""
        return replace(self, fixed=fixed)


class StudyError(Exception):
    """A replication failed; the message names it."""


def units_of(
    cells: Sequence[Cell], limit: int | None, small: bool, seed: int, done: Mapping[str, Collection[int]]
) -> Iterator[Unit]:
    """The units of every cell in turn, so that a process keeps what it knows of a world.

    Together they are the replications below `limit` that are not among those `done`, each in one unit, wherever an
    earlier run with another limit has cut.
    """
    for cell in cells:
        end = cell.replications if limit is None else min(limit, cell.replications)
        own = set(range(end)).difference(done[cell.name])
        first = 0
        while first < end:
            last = first
            while last in own and last < (first // cell.chunk + 1) * cell.chunk:
                last += 1
            if last > first:
                yield Unit(cell.name, small, first, last, seed)
            first = max(last, first + 1)


def run_unit(unit: Unit) -> Tables:
    """All its replications. Raises `StudyError` with the name of the one that failed."""
    cell = find(unit.cell, unit.small)
    assert unit.fixed is not None  # by `with_truth`
    parts = []
    for replication in range(unit.first, unit.last):
        try:
            parts.append(replicate(cell, replication, unit.seed, unit.fixed))
        except Exception as error:
            raise StudyError(
                f"Cell {unit.cell}, replication {replication}, seed {unit.seed}: {type(error).__name__}: {error}"
            ) from error
    return Tables.join(parts)


def truths_of(pool: ProcessPoolExecutor, store: Store, cells: Sequence[Cell]) -> dict[str, WorldTruth]:
    """Cell → what is true of its world; what the store lacks is computed, once for all cells of a world."""
    small = bool(store.asked["small"])
    names = {cell.name: truth_name(cell, small) for cell in cells}
    users = SMALL_TRUTH_USERS if small else TRUTH_USERS
    lacking = [name for name in dict.fromkeys(names.values()) if store.truth(name) is None]
    jobs = {name: pool.submit(run_truth, name, small, users) for name in lacking}
    for name, job in jobs.items():
        store.keep_truth(name, job.result())
    known = {name: store.truth(name) for name in names.values()}
    return {cell: truth for cell, name in names.items() if (truth := known[name]) is not None}


def truth_name(cell: Cell, small: bool) -> str:
    """The first cell of the same world, under whose name its truth is stored."""
    return next(other.name for other in cells_of(small).values() if other.world == cell.world)


def run_truth(cell: str, small: bool, n_users: int) -> WorldTruth:
    """What is true of one cell's world."""
    own = find(cell, small)
    try:
        return world_truth(own.world, own.policies(), n_users)
    except Exception as error:
        raise StudyError(f"Cell {cell}, true values: {type(error).__name__}: {error}") from error


@contextmanager
def processes(workers: int) -> Iterator[ProcessPoolExecutor]:
    """A pool whose processes compute with one thread each."""
    os.environ["OMP_NUM_THREADS"] = "1"  # read when a worker loads OpenMP
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=leave_with_parent)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def finished(
    pool: ProcessPoolExecutor, units: Iterable[Unit], workers: int, stop_at: float | None
) -> Iterator[tuple[Unit, Tables]]:
    """Units as they are finished. After the moment `stop_at` (of `time.monotonic`) none is begun.

    Where a unit fails, those under way are finished first; then `StudyError` is raised.
    """
    waiting = iter(units)
    running: dict[Future[Tables], Unit] = {}
    failed: StudyError | None = None
    while True:
        while len(running) < workers and failed is None and (stop_at is None or time.monotonic() < stop_at):
            unit = next(waiting, None)
            if unit is None:
                break
            running[pool.submit(run_unit, unit)] = unit
        if not running:
            break
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            unit = running.pop(future)
            try:
                yield unit, future.result()
            except BrokenProcessPool:
                failed = StudyError(
                    f"A process died while it ran cell {unit.cell}, replications {unit.first} to {unit.last - 1}, seed"
                    f" {unit.seed}; it may have run out of memory: use fewer --threads."
                )
            except StudyError as error:
                failed = error
    if failed is not None:
        raise failed

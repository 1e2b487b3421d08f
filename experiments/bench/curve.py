"""The stages that go through the blocks, with more and more workers, and the bytes that pass between them."""

import pickle
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Generic, TypeVar

from engagex_sim.blockwise import cross_fit
from engagex_sim.execution import workers
from engagex_sim.log import read_blocks
from engagex_sim.log.read import ROWS_PER_BLOCK
from engagex_sim.preparation import prepare
from experiments.bench.effort import Effort, Files, policies
from experiments.bench.fresh import peak
from experiments.bench.stages import BLOCKS, SURVEY
from experiments.terminal import Progress

T = TypeVar("T")


@dataclass(frozen=True)
class Pass:
    """One pass through all blocks by so many worker processes."""

    stage: str
    workers: int
    start: float  # seconds until every worker was there and had done one block
    seconds: float  # for all blocks, from then on
    peak: int  # bytes, of the worker that needed most so far
    task: int  # bytes of what a worker is sent for a block
    answers: int  # bytes of what comes back for all blocks
    triggers: int
    blocks: int


def curve(files: Files, effort: Effort, counts: tuple[int, ...], progress: Progress) -> list[Pass]:
    """Survey and observation of one log's blocks, once for each number of worker processes in `counts`."""
    settings = effort.settings(max(counts)).model_copy(update={"folds": 2, "grid": "light"})  # learning is not measured
    per_block = min(ROWS_PER_BLOCK, max(files.rows // effort.curve_blocks, 1))
    with (
        TemporaryDirectory() as folder,
        read_blocks(
            files.triggers,
            files.actions,
            settings=settings,
            threads=max(counts),
            cache=Path(folder),
            rows_per_block=per_block,
        ) as log,
    ):
        triggers = int(log.triggers.sum())
        survey = _EachCount(SURVEY, counts, progress)
        prepared = prepare(log, settings, over=survey)
        observation = _EachCount(BLOCKS, counts, progress)
        cross_fit(prepared, policies(), settings, over=observation)
    return [replace(own, triggers=triggers) for own in (*survey.passes, *observation.passes)]


class _EachCount:
    """Goes through the blocks once with each number of workers; all give the same answers."""

    def __init__(self, stage: str, counts: tuple[int, ...], progress: Progress) -> None:
        self._stage, self._counts, self._progress = stage, counts, progress
        self.passes: list[Pass] = []

    def __call__(self, function: Callable[[int], T], count: int) -> Iterable[T]:
        answers: list[T] = []
        task = len(pickle.dumps(function))
        for number in self._counts:
            self._progress(f"{self._stage} by {number} processes")
            with workers("processes", number) as over:
                began = time.perf_counter()
                list(over(partial(_first, function), number))  # each worker loads what it needs, compiled code too
                start = time.perf_counter() - began
                began = time.perf_counter()
                found = list(over(_WithPeak(function), count))
                seconds = time.perf_counter() - began
            answers = [own.answer for own in found]
            self.passes.append(
                Pass(
                    stage=self._stage,
                    workers=number,
                    start=start,
                    seconds=seconds,
                    peak=max(own.peak for own in found),
                    task=task,
                    answers=sum(len(pickle.dumps(answer)) for answer in answers),
                    triggers=0,
                    blocks=count,
                )
            )
        return answers


@dataclass(frozen=True)
class _Answer(Generic[T]):
    answer: T
    peak: int


@dataclass(frozen=True)
class _WithPeak(Generic[T]):
    """A function of a block that also says how much memory its process has needed."""

    function: Callable[[int], T]

    def __call__(self, block: int) -> _Answer[T]:
        return _Answer(self.function(block), peak())


def _first(function: Callable[[int], object], _: int) -> None:
    function(0)

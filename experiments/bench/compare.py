"""Ours beside the naive way, in one process, on the same rows."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from engagex_sim.blocks import OfLog
from engagex_sim.columns import FloatArray
from engagex_sim.env import EngageXEnv
from engagex_sim.log import read_blocks
from engagex_sim.models.propensity import PropensityModel
from engagex_sim.ope.resampling import bootstrap_sums
from engagex_sim.policy import Context
from engagex_sim.simulate import simulate
from engagex_sim.timeline import Timeline
from experiments.bench import naive
from experiments.bench.effort import Effort, Files
from experiments.bench.estimators import (
    NAMES,
    gathered_replicates,
    made_up,
    per_user_columns,
    point_estimates,
    replicates,
)
from experiments.terminal import Progress
from policies import REGISTRY

T = TypeVar("T")
REPEATS = 3  # the quickest counts: whatever else the machine does only adds
CHANCE = 0.03  # of interest, in simulations
POINTS_WANTED, REPLICATES_WANTED = 0.15, 1.5  # seconds, of 1 M points and of 100,000 users with 1,000 replicates


@dataclass(frozen=True)
class Comparison:
    """Two ways to do the same work, each in units per second."""

    what: str
    unit: str
    naive_way: str
    note: str  # what is left out of the comparison
    ours: float
    naive: float
    ours_on: int  # units that each was measured on
    naive_on: int

    @property
    def ratio(self) -> float:
        """How many times as long the naive way takes."""
        return self.ours / self.naive


@dataclass(frozen=True)
class Demand:
    """What something took, and what it may take at most."""

    what: str
    seconds: float
    wanted: float | None  # None: nothing is demanded at this size


def compare(files: Files, effort: Effort, threads: int, progress: Progress) -> tuple[list[Comparison], list[Demand]]:
    """All comparisons, on one log, or on made-up decision points for the bootstrap."""
    found = []
    settings = effort.settings(threads)
    progress("ours and pandas: reading")
    slow, (triggers, _) = _timed(lambda: naive.read(files))
    rows = len(triggers)
    ours, log = _timed(lambda: read_blocks(files.triggers, files.actions, settings=settings, threads=threads))
    way, note = "pandas read_csv, sort, merge_asof", "pandas checks no row and keeps nothing for the next time"
    found.append(Comparison("reading a log", "rows", way, note, rows / ours, rows / slow, rows, rows))
    with log:
        blocks = OfLog(log, settings)
        progress("ours and pandas: features")
        blocks.timeline(0)  # compiled code is loaded before the clock runs
        ours, timelines = _timed(lambda: [blocks.timeline(block) for block in range(len(blocks))])
        slow, _ = _timed(lambda: naive.features(triggers))
    way, note = "pandas groupby, rolling", "pandas without distinct triggers and contact history"
    found.append(Comparison("features", "rows", way, note, rows / ours, rows / slow, rows, rows))
    t = Timeline.join(timelines)
    found += [_simulation(t, effort, progress), _scoring(t, effort, threads, progress)]
    bootstrap, demands = _bootstrap(effort, progress)
    return [*found, bootstrap], demands


def _simulation(t: Timeline, effort: Effort, progress: Progress) -> Comparison:
    progress("simulator and step loop")
    uniform = REGISTRY["uniform"]()

    def chance(context: Context) -> FloatArray:
        return np.full((len(context), len(context.kinds)), CHANCE)

    env = EngageXEnv(t, chance)
    slow, _ = _timed(lambda: naive.step_loop(env, effort.steps, 0))
    ours = _quickest(lambda: simulate(t, uniform, chance, np.random.default_rng(0)))
    n, way, note = len(t), "Gymnasium step loop", "one user after the other"
    return Comparison("simulating a policy", "decisions", way, note, n / ours, effort.steps / slow, n, effort.steps)


def _scoring(t: Timeline, effort: Effort, threads: int, progress: Progress) -> Comparison:
    progress("XGBoost in batches and row by row")
    model = PropensityModel.fit(t.free_context(), t.action, seed=0, threads=threads)
    assert model.contact is not None  # the log's contacts are a choice
    booster, matrix = model.contact, model.encoder.transform(t.free_context())
    ours = _quickest(lambda: booster.inplace_predict(matrix))
    few = matrix[: effort.scored]
    booster.set_param({"nthread": 1})  # more only wait for each other over one row
    slow, _ = _timed(lambda: naive.score(booster, few))
    n, way, note = len(matrix), "one row at a time", "the same trees of XGBoost"
    return Comparison("scoring", "rows", way, note, n / ours, len(few) / slow, n, len(few))


def _bootstrap(effort: Effort, progress: Progress) -> tuple[Comparison, list[Demand]]:
    progress("bootstrap by sums and by gathering")
    users, each, n_boot = effort.bootstrap_users, effort.decisions, effort.n_boot
    points, user, key = made_up(users, each, 0)
    bootstrap_sums(np.ones((2, 1)), key[:2], 0, 1)  # compiled before the clock runs
    point = _quickest(lambda: point_estimates(points, users))
    ours = _quickest(lambda: replicates(bootstrap_sums(per_user_columns(points, user, users), key, 0, n_boot)))
    slow, _ = _timed(lambda: gathered_replicates(points, users, each, effort.gathered, 0))
    as_demanded = (users, each, n_boot) == (Effort.bootstrap_users, Effort.decisions, Effort.n_boot)
    size = f"{users * each:,} decision points of {users:,} users"
    return (
        Comparison(
            f"bootstrap of {len(NAMES)} estimators",
            "replicates",
            "a gather per replicate",
            size,
            n_boot / ours,
            effort.gathered / slow,
            n_boot,
            effort.gathered,
        ),
        [
            Demand(f"{len(NAMES)} point estimates, {size}", point, POINTS_WANTED if as_demanded else None),
            Demand(f"sums per user and {n_boot:,} replicates", ours, REPLICATES_WANTED if as_demanded else None),
        ],
    )


def _timed(work: Callable[[], T]) -> tuple[float, T]:
    began = time.perf_counter()
    answer = work()
    return time.perf_counter() - began, answer


def _quickest(work: Callable[[], object]) -> float:
    return min(_timed(work)[0] for _ in range(REPEATS))

"""A log in blocks of whole users: the answer does not depend on how it is cut, or on who does the work."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from engagex_sim import preparation, survey
from engagex_sim.blockwise import CrossFitted, cross_fit, estimate_all
from engagex_sim.cap import Cap
from engagex_sim.columns import FloatArray
from engagex_sim.errors import InputError
from engagex_sim.estimate import NAMES
from engagex_sim.execution import Kind, OverBlocks, in_turn, workers
from engagex_sim.hashing import uniforms
from engagex_sim.policy import Context
from engagex_sim.preparation import Prepared, prepare_blocks
from engagex_sim.settings import Settings
from engagex_sim.splitting import Splitting
from engagex_sim.tables import curve_table, interval_table, summary_table
from engagex_sim.timeline import Timeline
from engagex_sim.worlds import WORLDS, logged_decisions, visible
from policies import REGISTRY

SETTINGS = Settings(grid="light", folds=2, n_boot=60)
NAMED = ("first_chance", "random_matched", "xgb_greedy")


class Keen:
    """Contacts those who were interested before, and a few others: it reads the results of its own contacts."""

    name = "keen"

    def action_probabilities(self, context: Context) -> FloatArray:
        chance = np.where(context["interests_so_far"] > 0, 0.5, 0.1) / len(context.kinds)
        contacts = chance[:, None] * context.mask[:, 1:]
        return np.column_stack([1 - contacts.sum(axis=1), contacts])


@dataclass(frozen=True)
class Cut:
    """A timeline cut into blocks of about equally many users."""

    whole: Timeline
    count: int

    def __len__(self) -> int:
        return self.count

    @property
    def n_rows(self) -> int:
        return len(self.whole)

    def timeline(self, block: int) -> Timeline:
        return self.whole.drawn(np.array_split(np.arange(self.whole.n_users), self.count)[block])


def a_log(world: str = "visits", n_users: int = 2500) -> Timeline:
    log = visible(logged_decisions(WORLDS[world], n_users, np.random.default_rng(0)))
    return Timeline.of(log, Cap(WORLDS[world].cap.days))


def found(
    timeline: Timeline, blocks: int, over: OverBlocks = in_turn, holdout: Splitting | None = None
) -> tuple[Prepared, CrossFitted, list[pd.DataFrame]]:
    prepared = prepare_blocks(Cut(timeline, blocks), holdout=holdout, over=over)
    crossfitted = cross_fit(prepared, [*(REGISTRY[name]() for name in NAMED), Keen()], SETTINGS, over=over)
    estimates = estimate_all(prepared, crossfitted.observed, SETTINGS)
    names, n_users = [*NAMED, Keen.name], prepared.facts.n_users
    tables = [
        summary_table(names, estimates, n_users),
        interval_table(names, estimates),
        curve_table(names, estimates, prepared.days.last_days, n_users, None),
    ]
    return prepared, crossfitted, tables


@pytest.mark.parametrize("world", ["visits", "sends"])
def test_the_number_of_blocks_changes_nothing(world: str) -> None:
    log = a_log(world)
    prepared, _, one = found(log, 1)
    again, _, many = found(log, 7)
    assert again.facts == prepared.facts
    for first, second in zip(one, many, strict=True):
        pd.testing.assert_frame_equal(first, second, rtol=1e-9, atol=1e-12)


def test_the_number_of_blocks_changes_nothing_with_a_holdout() -> None:
    log, splitting = a_log(), Splitting(seed=3, holdout=0.5)
    one, many = (found(log, blocks, holdout=splitting) for blocks in (1, 7))
    assert many[0].facts == one[0].facts
    for first, second in zip(one[2], many[2], strict=True):
        pd.testing.assert_frame_equal(first, second, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", ["threads", "processes", "dask"])
def test_who_does_the_work_changes_nothing(kind: Kind) -> None:
    log = a_log(n_users=1500)
    alone = found(log, 5)[2]
    with workers(kind, 2) as over:
        together = found(log, 5, over)[2]
    for first, second in zip(alone, together, strict=True):
        pd.testing.assert_frame_equal(first, second)


@dataclass(frozen=True)
class Fatal:
    """Squares a number; the process that is given number 3 is killed until that has happened `deaths` times."""

    marks: Path
    deaths: int

    def __call__(self, block: int) -> int:
        if block == 3 and len(list(self.marks.iterdir())) < self.deaths:
            (self.marks / f"{time.monotonic_ns()}").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return block**2


@pytest.mark.parametrize("kind", ["processes", "dask"])
def test_a_lost_worker_costs_its_blocks_and_not_the_run(kind: Kind, tmp_path: Path) -> None:
    with workers(kind, 2) as over:
        assert list(over(Fatal(tmp_path, 1), 8)) == [block**2 for block in range(8)]
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("kind", ["processes", "dask"])
def test_workers_that_are_lost_again_and_again_end_the_run_in_one_sentence(kind: Kind, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"were killed .* use fewer --threads"), workers(kind, 2) as over:
        list(over(Fatal(tmp_path, 1000), 8))


BEATING = """
import os, sys, time
from pathlib import Path
from engagex_sim.execution import workers

def beat(block):
    while True:
        with open(Path(sys.argv[1]) / str(os.getpid()), "a") as own:
            own.write(".")
        time.sleep(0.05)

if __name__ == "__main__":
    with workers("processes", 2) as over:
        list(over(beat, 2))
"""


def test_workers_of_a_killed_run_end_with_it(tmp_path: Path) -> None:
    (tmp_path / "marks").mkdir()
    (tmp_path / "beating.py").write_text(BEATING, encoding="utf-8")

    def marks() -> list[int]:
        return [path.stat().st_size for path in (tmp_path / "marks").iterdir()]

    def wait_for(held: Callable[[], bool]) -> None:
        until = time.monotonic() + 60
        while not held():
            assert time.monotonic() < until
            time.sleep(0.1)

    def still() -> bool:
        before = marks()
        time.sleep(1)
        return marks() == before

    run = subprocess.Popen(
        [sys.executable, "beating.py", "marks"], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_for(lambda: len(marks()) == 2)
        assert not still()
    finally:
        run.kill()
        run.wait()
    wait_for(still)


def test_a_scheduler_that_does_not_answer_is_named() -> None:
    with (
        pytest.raises(InputError, match=r"No Dask scheduler answers at tcp://127\.0\.0\.1:9"),
        workers("dask", 1, "tcp://127.0.0.1:9"),
    ):
        pass


def test_whatever_the_seed_the_users_to_learn_from_are_spread_over_folds_and_halves() -> None:
    """Draws for one purpose have nothing to do with draws for another: no fold is without users to learn from."""
    key = np.random.default_rng(0).integers(0, 2**63, 40_000).astype(np.uint64)
    sampled = uniforms(key, survey._SEED)[0] < 0.05
    for seed in range(20):
        shares = [sampled[judged].mean() for judged in Splitting(seed, 4).judged(key)]
        assert shares == pytest.approx([0.05] * 4, abs=0.01)


def test_learning_from_a_sample_of_users_gives_nearly_the_same_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    log = a_log(n_users=10_000)
    everything, _, whole = found(log, 3)
    monkeypatch.setattr(preparation, "SAMPLE_ROWS", len(log) // 3)
    sampled, crossfitted, part = found(log, 3)
    assert 0.25 < sampled.sampled.mean() < sampled.represented + 0.2 < 0.7
    assert sampled.represented == pytest.approx(1 / 3, abs=0.05)
    assert sampled.facts == everything.facts
    assert len(sampled.timeline) < 0.5 * len(everything.timeline)
    assert int((sampled.timeline.action > 0).sum()) == int((everything.timeline.action > 0).sum())
    observed = crossfitted.observed
    assert observed.expected[0].sum() == pytest.approx(len(observed.user), rel=0.05)
    keys = ["policy", "estimator", "metric"]
    first, second = (tables[0].set_index(keys) for tables in (whole, part))
    for policy in NAMED[:2]:
        own = (policy, "dr_cap", "interests_per_user")
        width = first.loc[own, "ci_high"] - first.loc[own, "ci_low"]
        assert abs(first.loc[own, "value"] - second.loc[own, "value"]) < 0.3 * width
    assert set(second.index.get_level_values("estimator")) >= set(NAMES)

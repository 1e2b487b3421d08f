"""`make_world`: files of any size, and the shape of the original log where `visits` is asked for by its triggers."""

import json
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from engagex_sim.errors import InputError
from engagex_sim.timeline import Timeline
from engagex_sim.worlds import WORLDS, Original, logged_decisions, tables
from experiments.make_world import write_world


@pytest.fixture(autouse=True)
def small_truth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("experiments.make_world.SMALLEST_POPULATION", 500)
    monkeypatch.setattr("experiments.make_world.LARGEST_POPULATION", 500)


def test_the_original_shape_is_that_of_the_original_log() -> None:
    """Each within what chance does to a fiftieth of the log."""
    world, n_users = Original(), 40_000
    log = logged_decisions(world, n_users, np.random.default_rng(0))
    timeline = Timeline.of(log, world.cap)
    made = np.flatnonzero(timeline.action)
    assert len(log) / n_users == pytest.approx(world.triggers / world.users, rel=0.03)
    assert len(made) / len(log) == pytest.approx(378_204 / 43_074_627, rel=0.04)
    assert world.reward_probabilities(timeline.context(made)).mean() == pytest.approx(0.02945, abs=0.001)
    assert (world.days, world.cap.days, timeline.breaks_cap.any()) == (31, 14.0, False)
    per_user = np.sort(np.diff(log.user_start))
    assert per_user[-len(per_user) // 100 :].sum() > 0.08 * len(log)


def test_the_original_shape_leaves_moments_that_differ_and_are_all_seen() -> None:
    world = Original()
    timeline = Timeline.of(logged_decisions(world, 2_000, np.random.default_rng(0)), world.cap)
    when_free = world.logging.action_probabilities(timeline.free_context())[:, 1]
    low, high = np.quantile(when_free, [0.1, 0.9])
    assert high > 2.5 * low
    assert when_free.min() >= 0.005 and (when_free == 0.005).mean() < 0.1


def test_visits_of_so_many_triggers_have_the_original_shape_and_say_so(tmp_path: Path) -> None:
    write_world("visits", None, 30_000, tmp_path / "world", 0, quiet=True)
    truth = json.loads((tmp_path / "world" / "truth.json").read_text())
    assert (truth["world"], truth["days"], truth["cap_days"]) == ("original", 31, 14.0)
    assert truth["n_users"] == round(30_000 * Original.users / Original.triggers)
    triggers = pd.read_csv(tmp_path / "world" / "triggers.csv")
    assert len(triggers) == pytest.approx(30_000, rel=0.15)
    assert triggers["date"].min() >= "2024-05-01" and triggers["date"].max() < "2024-06-01"


def test_another_world_keeps_its_shape_and_is_given_as_many_users_as_make_the_triggers(tmp_path: Path) -> None:
    write_world("sends", None, 2_000, tmp_path / "world", 0, quiet=True)
    assert json.loads((tmp_path / "world" / "truth.json").read_text())["world"] == "sends"
    assert len(pd.read_csv(tmp_path / "world" / "triggers.csv")) == pytest.approx(2_000, rel=0.1)


@pytest.mark.parametrize("name", ["visits", "sends"])
def test_files_of_one_chunk_are_the_tables_of_the_seed(name: str, tmp_path: Path) -> None:
    write_world(name, 300, None, tmp_path / "world", 7, quiet=True)
    log = tables(WORLDS[name], 300, 7)
    for file, table in (("triggers", log.triggers), ("actions", log.actions), ("users", log.users)):
        if table is not None:
            assert (tmp_path / "world" / f"{file}.csv").read_text() == table.to_csv(index=False), file


def test_chunks_follow_one_another_under_one_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("experiments.make_world.CHUNK", 100)
    for again in ("first", "second"):
        write_world("sends", 250, None, tmp_path / again, 7, quiet=True)
    for file in ("triggers.csv", "actions.csv", "users.csv", "truth.json"):
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes()
    assert {path.name for path in (tmp_path / "first").iterdir()} == {
        "triggers.csv",
        "actions.csv",
        "users.csv",
        "truth.json",
    }
    users = (tmp_path / "first" / "users.csv").read_text()
    first = tables(WORLDS["sends"], 100, 7).users
    assert first is not None
    assert users.startswith(first.to_csv(index=False))
    assert users.count("guid") == 1
    assert pd.read_csv(tmp_path / "first" / "users.csv")["guid"].nunique() == 250


def test_where_there_is_no_room_nothing_is_left(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, usual[1]))
    try:
        with pytest.raises(InputError, match=r"triggers.csv cannot be written to the end; make room"):
            write_world("visits", 3_000, None, tmp_path / "world", 0, quiet=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    assert not list(tmp_path.iterdir())


def test_an_interrupted_run_leaves_nothing_and_no_traceback(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "experiments.run", "make_world", "--n-triggers", "20000000", "--out"]
    interruptible = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # which tests run in the background are not
    with subprocess.Popen(
        [*command, str(tmp_path / "world")], stderr=subprocess.PIPE, text=True, preexec_fn=interruptible
    ) as run:
        assert run.stderr is not None
        assert "written: 20,000 of" in run.stderr.readline()
        run.send_signal(signal.SIGINT)
        assert "Traceback" not in run.stderr.read()
    assert run.returncode == 130
    assert not list(tmp_path.iterdir())

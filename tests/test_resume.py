"""Runs that are stopped: the output is whole or not there, and what was finished is not computed again."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NoReturn, TypeVar

import numpy as np
import pytest

from engagex_sim.blockwise import CrossFitted, cross_fit, refitted
from engagex_sim.checkpoint import NOTHING_KEPT, Checkpoint, Kept
from engagex_sim.columns import AnyArray
from engagex_sim.errors import InputError
from engagex_sim.execution import Kind, OverBlocks, in_turn, workers
from engagex_sim.log import read_blocks
from engagex_sim.models.learned import Learned
from engagex_sim.models.propensity import PropensityModel
from engagex_sim.models.reward import RewardModel
from engagex_sim.models.state_effects import StateEffects
from engagex_sim.observed_files import load_observed, save_observed
from engagex_sim.policy import Policy
from engagex_sim.preparation import Prepared, prepare
from engagex_sim.settings import Settings
from engagex_sim.states import NO_STATE, States
from engagex_sim.store import Store
from engagex_sim.whole import held, written_whole
from engagex_sim.worlds import WORLDS, frames
from experiments import evaluate_policies, resuming
from experiments.plugins import load_policy
from experiments.resuming import checkpoint_of
from experiments.run import main
from policies import REGISTRY

SETTINGS = Settings(grid="light", folds=2, n_boot=50)
LIGHT = ["--policies", "uniform", "--grid", "light", "--folds", "2", "--n-boot", "50", "--threads", "1", "--quiet"]
T = TypeVar("T")


def test_killed_runs_leave_all_or_nothing_and_resumed_give_the_same_files() -> None:
    command = [sys.executable, "-m", "experiments.run", "kill_check", "--kills", "5", "--seed", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "5 of 5 kills as it should be" in done.stdout


# --- what was finished


@pytest.fixture(scope="module")
def prepared() -> Iterator[Prepared]:
    with read_blocks(*frames(WORLDS["visits"], 800, 0), rows_per_block=3000) as log:
        assert len(log) > 4
        yield prepare(log, SETTINGS)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


class StoppedError(Exception):
    """What stops a run here."""


def stopping(after: int) -> OverBlocks:
    """Stops the run once so many blocks were observed."""

    def over(function: Callable[[int], T], count: int) -> Iterable[T]:
        for block in range(count):
            if block == after:
                raise StoppedError
            yield function(block)

    return over


def own_policies() -> list[Policy]:
    return [REGISTRY[name]() for name in ("random_matched", "xgb_greedy")]


def crossfitted(prepared: Prepared, checkpoint: Checkpoint = NOTHING_KEPT, over: OverBlocks = in_turn) -> CrossFitted:
    return cross_fit(prepared, own_policies(), SETTINGS, over=over, checkpoint=checkpoint)


def bits(found: CrossFitted, folder: Path) -> dict[str, tuple[object, bytes]]:
    """All that was observed, to the last bit."""
    save_observed(found.observed, folder / "all.npz")
    with np.load(folder / "all.npz") as file:
        return {name: (file[name].dtype, file[name].tobytes()) for name in file.files}


def refuse(*_: object, **__: object) -> NoReturn:
    raise AssertionError("models are learned again")


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_finished_folds_and_blocks_are_not_computed_again(
    kind: Kind, prepared: Prepared, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = bits(crossfitted(prepared), tmp_path)
    with pytest.raises(StoppedError):
        crossfitted(prepared, Kept(store), stopping(3))
    assert {path.name for path in store.folder.iterdir()} == {"fold-0", "fold-1", *(f"block-0000{b}" for b in range(3))}
    monkeypatch.setattr(RewardModel, "fit", refuse)
    monkeypatch.setattr(PropensityModel, "fit", _fit_of_policies_alone(PropensityModel.fit))
    asked = []

    def over(function: Callable[[int], T], count: int) -> Iterable[T]:
        asked.append(count)
        with workers(kind, 2) as own:
            yield from own(function, count)

    assert bits(crossfitted(prepared, Kept(store), over), tmp_path) == expected
    assert asked == [len(prepared.blocks) - 3]


def _fit_of_policies_alone(fit: Callable[..., PropensityModel]) -> Callable[..., PropensityModel]:
    """Tests of dependence fit hazards of their own, always light and without states."""
    return lambda *arguments, **settings: refuse() if "represented" in settings else fit(*arguments, **settings)


def test_damage_is_noticed_and_computed_again(prepared: Prepared, store: Store, tmp_path: Path) -> None:
    """Whatever file is altered, cut off or gone."""
    expected = bits(crossfitted(prepared, Kept(store)), tmp_path)
    paths = sorted(path for path in store.folder.rglob("*") if path.is_file())
    assert {path.suffix for path in paths} == {".json", ".ubj", ".npz", ".npy"}
    for number, path in enumerate(paths):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes([bytes(content), bytes(content[: len(content) // 2]), b""][number % 3])
        if number % 4 == 3:
            path.unlink()
    assert bits(crossfitted(prepared, Kept(store)), tmp_path) == expected
    for name in ("fold-0", "fold-1", *(f"block-{block:05d}" for block in range(len(prepared.blocks)))):
        assert store.found(name, lambda folder: folder) is not None


def test_refits_are_continued_too(prepared: Prepared, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = SETTINGS.model_copy(update={"refit_boot": 2})
    expected = refitted(prepared, own_policies(), settings)
    np.testing.assert_array_equal(refitted(prepared, own_policies(), settings, checkpoint=Kept(store)), expected)
    monkeypatch.setattr(RewardModel, "fit", refuse)
    np.testing.assert_array_equal(refitted(prepared, own_policies(), settings, checkpoint=Kept(store)), expected)


def test_models_read_again_predict_the_same(prepared: Prepared, tmp_path: Path) -> None:
    """To the last bit, with carried states too."""
    timeline = prepared.evaluation
    context = timeline.free_context()
    states = States(edges=(20 * 86_400, 2**59), counts=2, interests=True)
    own = crossfitted(prepared).fitted[0]
    effects = StateEffects(states, np.linspace(-1, 1, states.size) / 3, np.linspace(0, 1, states.size) / 7)
    logging = PropensityModel.fit(context, timeline.action, seed=0, states=states, light=True)
    carrying = Learned(own.reward_model, effects, np.array([0.1, 1 / 3]), logging)
    for number, models in enumerate([own, carrying]):
        folder = tmp_path / str(number)
        folder.mkdir()
        models.save(folder)
        again = Learned.load(folder)
        np.testing.assert_array_equal(again.interest_by_state(context), models.interest_by_state(context))
        np.testing.assert_array_equal(again.interest(context), models.interest(context))
        np.testing.assert_array_equal(again.logging.when_free(context), models.logging.when_free(context))
        np.testing.assert_array_equal(again.score_edges, models.score_edges)
        assert again.logging.effects.states == models.logging.effects.states
        assert again.reward_model.feature_importance().equals(models.reward_model.feature_importance())


def test_several_kinds_are_read_again(tmp_path: Path) -> None:
    with read_blocks(*frames(WORLDS["sends"], 600, 0)) as log:
        evaluation = prepare(log, SETTINGS).evaluation
    context = evaluation.free_context()
    model = PropensityModel.fit(context, evaluation.action, seed=0, states=NO_STATE, light=True)
    model.save(tmp_path)
    np.testing.assert_array_equal(PropensityModel.load(tmp_path).when_free(context), model.when_free(context))


def test_a_block_read_again_is_the_same(prepared: Prepared, tmp_path: Path) -> None:
    found = crossfitted(prepared)
    before = bits(found, tmp_path)
    again = load_observed(tmp_path / "all.npz")
    assert bits(replace(found, observed=again), tmp_path) == before
    assert again.resampling == found.observed.resampling
    assert type(again.policies[0].bound) is float and again.policies[0].logged._fields[0] == "contact_probability"


# --- the same run, and only it


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The options of a small log, in an empty directory with a cache of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name, frame in zip(("triggers", "actions"), frames(WORLDS["visits"], 800, 1), strict=True):
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
    return ["--triggers", "triggers.csv", "--actions", "actions.csv", *LIGHT]


def left_in(cache: Path) -> set[str]:
    """What runs have left in a cache."""
    return {path.name for path in (cache / "engagex-sim" / "runs").glob("*/*")}


def fail(error: Exception) -> Callable[..., NoReturn]:
    def failing(*_: object, **__: object) -> NoReturn:
        raise error

    return failing


def test_a_run_that_failed_is_continued(
    log: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["compare", *log]
    assert main([*command, "--out", "undisturbed"]) == 0
    assert left_in(tmp_path / "cache") == set()
    with monkeypatch.context() as broken:
        broken.setattr(evaluate_policies, "write_result", fail(MemoryError()))
        assert main([*command, "--out", "continued"]) == 2
    assert not (tmp_path / "continued").exists()
    assert left_in(tmp_path / "cache") == {"fold-0", "fold-1", "block-00000"}
    with monkeypatch.context() as watched:
        watched.setattr(RewardModel, "fit", refuse)
        assert main([*command, "--out", "continued", "--resume"]) == 0
    assert "Resuming: 2 folds and 1 block are finished already." in capsys.readouterr().out
    assert left_in(tmp_path / "cache") == set()
    for path in (tmp_path / "undisturbed").iterdir():
        assert (tmp_path / "continued" / path.name).read_bytes() == path.read_bytes(), path.name


def test_without_resume_a_run_begins_anew(log: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(evaluate_policies, "write_result", fail(InputError("no")))
        assert main(["compare", *log]) == 2
    learned = []
    fit = RewardModel.fit
    monkeypatch.setattr(RewardModel, "fit", lambda *a, **k: learned.append(1) or fit(*a, **k))  # type: ignore[func-returns-value]
    assert main(["compare", *log, "--out", "new"]) == 0
    assert len(learned) == 2 and left_in(tmp_path / "cache") == set()


def test_where_there_is_nothing_to_resume_the_run_says_so(log: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", *log, "--out", "new", "--resume"]) == 0
    assert "There is nothing to resume, so the run starts from the beginning." in capsys.readouterr().out


@pytest.mark.parametrize("more", [["--no-cache"], []])
def test_what_cannot_be_resumed_is_refused(
    more: list[str], log: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    arguments = [*log, *more] if more else LIGHT
    assert main(["compare", *arguments, "--out", "new", "--resume"]) == 2
    assert capsys.readouterr().err.startswith("--resume continues from what a run on files has left in the cache; ")
    assert not (tmp_path / "new").exists()


def test_a_cache_that_cannot_be_used_is_told_with_resume_only(
    log: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "engagex-sim").write_text("in the way")
    assert main(["compare", *log, "--out", "new", "--resume"]) == 2
    assert "which cannot be used" in capsys.readouterr().err
    assert main(["compare", *log, "--out", "new"]) == 0


def checkpoints(
    files: list[str], settings: Settings, policies: list[Policy], resume: bool, said: list[str]
) -> Iterator[Checkpoint]:
    """One checkpoint, as a command would have it."""
    cache = resuming.cache_directory()
    with (
        read_blocks(files[1], files[3], cache=cache) as blocks,
        checkpoint_of(blocks, settings, policies, resume, said.append) as found,
    ):
        yield found


def test_of_two_runs_at_once_the_second_keeps_nothing(log: list[str]) -> None:
    said: list[str] = []
    first = checkpoints(log, SETTINGS, own_policies(), False, said)
    second = checkpoints(log, SETTINGS, own_policies(), True, said)
    assert isinstance(next(first), Kept) and next(second) is NOTHING_KEPT
    assert len(said) == 1 and "under way elsewhere" in said[0]
    other = checkpoints(log, SETTINGS, own_policies()[:1], False, said)
    assert isinstance(next(other), Kept)
    list(first)
    assert isinstance(next(checkpoints(log, SETTINGS, own_policies(), False, said)), Kept)


def test_other_settings_policies_or_plug_ins_are_another_run(log: list[str], tmp_path: Path) -> None:
    plain = "class Mine:\n    def action_probabilities(self, context):\n        return context.mask[:, :2] * {x}\n"

    def folder(settings: Settings = SETTINGS, policies: list[Policy] | None = None, source: str = "0.5") -> Path:
        (tmp_path / "mine.py").write_text(plain.format(x=source))
        own = [load_policy(f"{tmp_path / 'mine.py'}:Mine")] if policies is None else policies
        (found,) = checkpoints(log, settings, own, False, [])
        assert isinstance(found, Kept)
        return found.store.folder

    assert folder() == folder() == folder(SETTINGS.model_copy(update={"threads": 2}))
    others = [
        folder(source="0.4"),
        folder(policies=own_policies()),
        folder(policies=own_policies()[::-1]),
        *(folder(SETTINGS.model_copy(update={name: 7})) for name in ("seed", "value", "n_boot", "folds")),
    ]
    assert len({folder(), *others}) == len(others) + 1


# --- the machine


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (MemoryError(), "There is not enough memory for this run"),
        (RuntimeError("std::bad_alloc"), "There is not enough memory for this run"),
        (OSError(errno.ENOSPC, "No space left on device", "a.csv"), "a.csv cannot be used: No space left on device."),
        (PermissionError(errno.EACCES, "Permission denied", "log.csv"), "log.csv cannot be used: Permission denied."),
    ],
)
def test_what_the_machine_lacks_is_said_in_one_sentence(
    error: Exception, sentence: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate_policies, "evaluate_policies", fail(error))
    assert main(["compare", *LIGHT]) == 2
    said = capsys.readouterr().err
    assert said.startswith(sentence) and said.count("\n") == 1


def test_a_full_disk_under_the_cache_disturbs_no_run(
    prepared: Prepared, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was kept before stays, and nothing is left half written."""
    expected = bits(crossfitted(prepared), tmp_path)
    monkeypatch.setattr("engagex_sim.checkpoint.save_observed", fail(OSError(errno.ENOSPC, "No space left on device")))
    assert bits(crossfitted(prepared, Kept(store)), tmp_path) == expected
    assert store.trouble is not None and store.trouble.errno == errno.ENOSPC
    assert {path.name for path in store.folder.iterdir()} == {"fold-0", "fold-1"}


def test_a_full_disk_under_the_output_ends_in_one_sentence(tmp_path: Path) -> None:
    with (
        pytest.raises(InputError, match=r"new cannot be written: No space left on device\."),
        written_whole(tmp_path / "new") as folder,
    ):
        (folder / "begun.csv").write_text("1")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def _too_much(block: int) -> AnyArray:
    return np.empty(1 << 56) + block


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_a_lack_of_memory_in_a_worker_is_a_lack_of_memory(kind: Kind) -> None:
    with pytest.raises(MemoryError), workers(kind, 2) as over:
        list(over(_too_much, 4))


def test_what_a_killed_run_was_writing_is_swept_and_nothing_else(tmp_path: Path) -> None:
    """Not what is held by a running process, nor what was made just now, nor other folders."""
    abandoned, held_now, new, foreign = (
        tmp_path / name for name in (".engagex-writing-a-1", ".engagex-writing-a-2", ".engagex-writing-a-3", ".a-4")
    )
    for folder in (abandoned, held_now, new, foreign):
        folder.mkdir()
        (folder / "file").touch()
        if folder != new:
            os.utime(folder, (1, 1))
    with held(held_now) as own, written_whole(tmp_path / "a") as folder:
        assert own
        (folder / "file").touch()
    assert {path.name for path in tmp_path.iterdir()} == {"a", held_now.name, new.name, foreign.name}

"""A log in blocks of whole users is the log: whatever the blocks, together they say the same, and so do their facts."""

import gc
import json
import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, fields, is_dataclass
from multiprocessing import get_context
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engagex_sim.columns import Column
from engagex_sim.decision_points import check_decisions, decisions_of
from engagex_sim.decisions import Decisions
from engagex_sim.errors import InputError
from engagex_sim.log import Log, LogBlocks, LogFacts, read_blocks, read_log
from engagex_sim.settings import LogSettings

LENIENT = {"allow_rejected": 1, "allow_orphans": 1, "burn_in_days": 0, "cap_days": 2}
READINGS = [
    {"triggers_are": "opportunities", "decision_points": "trigger"},
    {"triggers_are": "opportunities", "decision_points": "day"},
    {"triggers_are": "contacts", "decision_points": "trigger"},
    {"triggers_are": "contacts", "decision_points": "day"},
    {},
]


def frames(seed: int) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Triggers, actions and users with copies, contradictions, missing and unreadable values, orphans and strangers."""
    rng = np.random.default_rng(seed)
    guids = np.array([f"u{i}" if i % 3 else f"é,{i}" for i in range(12)], dtype=object)
    n = 60
    dates = pd.Timestamp("2024-05-01") + pd.to_timedelta(rng.integers(0, 10 * 8, n) * 3, unit="h")
    triggers = pd.DataFrame({"guid": rng.choice(guids, n), "date": dates.astype(str)})
    triggers["trigger"] = rng.choice(["7", "08", "9"], n)
    triggers["type"] = rng.choice(["10", "9", "x"], n)
    triggers["campaign"] = "c" + triggers["type"]
    triggers["price"] = rng.choice([1.5, 2.0, np.nan], n)
    triggers["city"] = rng.choice(["Rome", "", "Oslo"], n)
    actions = triggers.loc[rng.random(n) < 0.7, ["guid", "date"]]
    late = (pd.to_datetime(actions["date"]) + pd.Timedelta(minutes=5)).astype(str)
    actions = actions.assign(date=np.where(rng.random(len(actions)) < 0.2, late, actions["date"]))
    actions["result"] = rng.choice(["0", "1"], len(actions))
    actions["propensity"] = rng.choice(["0.5", "", "0.25"], len(actions))
    users = pd.DataFrame({"guid": [*guids[:7], "a stranger", "zz"], "age": np.arange(9), "sex": [*"mfmfmfmf", ""]})
    triggers = pd.concat([triggers, triggers.head(9)]).sample(frac=1, random_state=seed)
    users = pd.concat([users, users.head(2), users.tail(1).assign(age=50)])
    for table in (triggers, actions):
        table.loc[rng.random(len(table)) < 0.05, "date"] = "never"
        table.loc[rng.random(len(table)) < 0.05, "guid"] = ""
    for name in ("trigger", "type"):
        triggers.loc[rng.random(len(triggers)) < 0.05, name] = ""
    return triggers, actions, users


def assert_equal(left: Any, right: Any, name: str = "") -> None:
    """Values, types and order of everything inside."""
    if is_dataclass(left) and not isinstance(left, type):
        for field in fields(left):
            assert_equal(getattr(left, field.name), getattr(right, field.name), f"{name}.{field.name}")
    elif isinstance(left, dict):
        assert list(left) == list(right), name
        for key in left:
            assert_equal(left[key], right[key], f"{name}.{key}")
    elif isinstance(left, pd.DataFrame):
        pd.testing.assert_frame_equal(left, right)
    elif isinstance(left, np.ndarray):
        assert left.dtype == right.dtype, name
        np.testing.assert_array_equal(left, right, err_msg=name)
    else:
        assert left == right, name


def together(parts: list[Decisions]) -> Decisions:
    """The decisions of several blocks as those of one."""
    joined: dict[str, Any] = {}
    for field in fields(Decisions):
        values = [getattr(part, field.name) for part in parts]
        if field.name in ("user_start", "trigger_start", "other_start"):
            joined[field.name] = np.concatenate([[0], np.cumsum(np.concatenate([np.diff(value) for value in values]))])
        elif isinstance(values[0], np.ndarray):
            joined[field.name] = np.concatenate(values)
        elif field.name == "columns":
            joined["columns"] = {
                name: Column(np.concatenate([value[name].values for value in values]), column.categories)
                for name, column in values[0].items()
            }
        else:
            joined[field.name] = values[0]
    return Decisions(**joined)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    reading=st.sampled_from(READINGS),
    with_users=st.booleans(),
    rows_per_block=st.integers(1, 40),
    threads=st.sampled_from([1, 2]),
)
def test_any_blocks_give_the_same_log_and_the_same_decisions(
    seed: int, reading: dict[str, str], with_users: bool, rows_per_block: int, threads: int
) -> None:
    """Arrays, facts, sentences, refusals; also of the decision points made block by block."""
    triggers, actions, users = frames(seed)
    own = LogSettings.model_validate(LENIENT | reading)
    sources = (triggers, actions, users if with_users else None, own)

    def blockwise() -> Log:
        with read_blocks(*sources, rows_per_block=rows_per_block, threads=threads) as blocks:
            assert len(blocks) > 1
            decided.append(outcome(lambda: together([decisions_of(block, own) for block in blocks])))
            return blocks.whole()

    decided: list[Any] = []
    whole = outcome(lambda: read_log(*sources))
    assert_equal(outcome(blockwise), whole)
    if isinstance(whole, Log):
        assert whole.quality.rejected.groupby("file")["line"].is_monotonic_increasing.all()
        assert_equal(decided[0], outcome(lambda: decisions_of(whole, own)))


def outcome(work: Callable[[], Any]) -> Any:
    """What comes of it, or the sentence that refuses it."""
    try:
        return work()
    except InputError as error:
        return str(error)


@pytest.fixture
def blocks() -> Iterator[LogBlocks]:
    triggers, actions, users = frames(0)
    own = LogSettings.model_validate(LENIENT | READINGS[0])
    with read_blocks(triggers, actions, users, own, rows_per_block=20) as blocks:
        yield blocks


def test_facts_and_counts_are_known_without_loading(blocks: LogBlocks) -> None:
    """Every block says the facts of the whole log, and has the users, triggers and contacts that were announced."""
    loaded = list(blocks)
    assert len(loaded) == len(blocks) > 2
    assert [block.n_users for block in loaded] == blocks.users.tolist()
    assert [len(block.trigger_time) for block in loaded] == blocks.triggers.tolist()
    assert [len(block.action_time) for block in loaded] == blocks.contacts.tolist()
    assert blocks.n_users == sum(block.n_users for block in loaded) == blocks.facts.n_users
    assert all(block.facts is blocks.facts for block in loaded)
    assert (blocks.kinds, blocks.triggers_are, blocks.decision_points) == (("contact",), "opportunities", "trigger")
    assert blocks.quality.triggers.used == blocks.triggers.sum() and blocks.notes == loaded[0].notes
    guids = [guid for block in loaded for guid in block.user_id]
    assert guids == sorted(guids, key=str.encode) and blocks.users.min() > 0


def test_texts_have_the_same_codes_in_all_blocks(blocks: LogBlocks) -> None:
    first, *others = list(blocks)
    for other in others:
        for name in ("city", "campaign"):
            assert other.trigger_columns[name].categories is first.trigger_columns[name].categories
        assert other.attributes["sex"].categories is first.attributes["sex"].categories


def test_a_user_is_never_cut() -> None:
    dates = pd.date_range("2024-05-01", periods=30, freq="h").astype(str)
    triggers = pd.DataFrame({"guid": ["u2"] * 28 + ["u1", "u3"], "date": dates, "trigger": 1, "type": "a"})
    actions = triggers[["guid", "date"]].tail(2).assign(result=1)
    with read_blocks(triggers, actions, rows_per_block=3) as blocks:
        assert blocks.triggers.tolist() == [1 + 28, 1] and blocks.users.tolist() == [2, 1]


def test_users_without_rows_count_on_a_grid_of_days_as_often_as_they_are_decided_about() -> None:
    dates = pd.date_range("2024-05-01", periods=10).astype(str)
    triggers = pd.DataFrame({"guid": ["u1", "u2"] * 5, "date": dates, "trigger": 1, "type": "a"})
    actions = triggers[["guid", "date"]].assign(result=1)
    users = pd.DataFrame({"guid": [f"u{i}" for i in range(20)]})
    own = LogSettings(cap_days=0)
    with read_blocks(triggers, actions, users, own, rows_per_block=100) as blocks:
        assert blocks.facts.grid_points == 200 and len(blocks) > 2
        assert max(len(decisions_of(block, own)) for block in blocks) <= 110


def test_a_column_gives_the_kind_away_only_if_it_does_in_all_blocks() -> None:
    """`sure` says the kind; `mixed` says it within each half of the users, but not over both."""
    n = 40
    kind = np.arange(n) % 2
    triggers = pd.DataFrame({"guid": [f"u{i:02d}" for i in range(n)], "trigger": 1, "type": kind})
    triggers["date"] = pd.date_range("2024-05-01", periods=n, freq="h").astype(str)
    triggers["sure"] = kind + 10
    triggers["mixed"] = np.where(np.arange(n) < n // 2, kind, 1 - kind)
    triggers["own"] = np.arange(n)
    actions = triggers[["guid", "date"]].assign(result=1)
    for rows_per_block in (4, 40, 1000):
        with read_blocks(
            triggers, actions, settings=LogSettings(decision_points="trigger"), rows_per_block=rows_per_block
        ) as blocks:
            assert blocks.facts.giveaways == ("type", "sure")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"allow_orphans": 0}, r"^[0-9]+ of [0-9]+ rows of actions .* belong to no decision point"),
        ({"allow_rejected": 0.2, "triggers_are": "contacts"}, "^triggers.*if they are visits: --triggers-are opport"),
        ({"allow_rejected": 0.1}, r"^actions .data frame.: [0-9]+ of [0-9]+ rows .* first in line"),
    ],
)
def test_refusals_are_about_the_whole_log(change: dict[str, Any], sentence: str) -> None:
    """The sentence, with its counts and lines, does not depend on the blocks."""
    triggers, actions, users = frames(3)
    own = LogSettings.model_validate(LENIENT | READINGS[0] | change)
    with pytest.raises(InputError, match=sentence) as expected:
        read_log(triggers, actions, users, own)
    for rows_per_block in (1, 20):
        with pytest.raises(InputError) as error:
            read_blocks(triggers, actions, users, own, rows_per_block=rows_per_block)
        assert str(error.value) == str(expected.value)


def test_a_block_without_a_decision_to_judge_is_no_error_but_a_whole_log_without_one_is() -> None:
    """One user is gone when the burn-in ends, the other is not."""
    dates = ["2024-05-01", "2024-05-01", "2024-05-09"]
    triggers = pd.DataFrame({"guid": ["u1", "u2", "u2"], "date": dates, "trigger": 1, "type": "a"})
    actions = triggers[["guid", "date"]].head(2).assign(result=1)
    with read_blocks(triggers, actions, settings=LogSettings(triggers_are="opportunities"), rows_per_block=1) as blocks:
        eight, nine = LogSettings(burn_in_days=8), LogSettings(burn_in_days=9)
        judged = [(d.time >= d.evaluation_start[d.user_of_row]).sum() for d in (decisions_of(b, eight) for b in blocks)]
        assert judged == [0, 1]
        check_decisions(blocks.facts, eight)
        with pytest.raises(InputError, match="spans 9 days"):
            check_decisions(blocks.facts, nine)
        with pytest.raises(InputError, match="spans 9 days"):
            decisions_of(blocks.load(0), nine)


def load_in_another_process(blocks: LogBlocks, number: int) -> Log:
    return blocks.load(number)


def test_blocks_can_be_loaded_in_another_process(blocks: LogBlocks) -> None:
    copy = pickle.loads(pickle.dumps(blocks))
    assert len(pickle.dumps(blocks)) < 1000
    assert_equal(copy.whole(), blocks.whole())
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        assert_equal(pool.submit(load_in_another_process, blocks, 1).result(), blocks.load(1))
    copy.close()
    assert blocks.folder.is_dir()


def test_temporary_files_go_with_the_object() -> None:
    triggers, actions, _ = frames(0)
    own = LogSettings.model_validate(LENIENT)
    with read_blocks(triggers, actions, settings=own) as blocks:
        folder = blocks.folder
        assert {path.suffix for path in folder.iterdir()} == {".npz"}
    assert not folder.exists()
    forgotten = read_blocks(triggers, actions, settings=own)
    folder = forgotten.folder
    del forgotten
    gc.collect()
    assert not folder.exists()


def test_the_facts_are_plain_values(blocks: LogBlocks) -> None:
    """They come from storage as what they were: whole numbers, tuples and text."""
    facts = {field.name: getattr(blocks.facts, field.name) for field in fields(LogFacts)}
    del facts["contact_days"]
    quality = facts.pop("quality")
    json.dumps([facts, quality.as_dict(), asdict(quality.triggers)])
    assert all(isinstance(facts[name], tuple) for name in ("kinds", "notes", "trigger_columns", "attributes"))

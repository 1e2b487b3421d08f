"""Properties: whatever the rows, every one of them is used, a duplicate or rejected, and matched as the rule says."""

import csv
import io
import tempfile
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engagex_sim.cap import Cap
from engagex_sim.columns import IntArray
from engagex_sim.errors import InputError
from engagex_sim.log import read_log
from engagex_sim.log.matching import cap_violations, match, one_per_day
from engagex_sim.log.text import inspect
from engagex_sim.settings import LogSettings

GUIDS = st.sampled_from(["u1", "u2", "u3", "é,", ""])
DATES = st.sampled_from(["2024-05-01 00:00:00", "2024-05-01 10:00:00", "2024-05-02 10:00:00", "2024-05-02", "", "x"])
TEXTS = st.sampled_from(["a", "b", "", 'say "a"', "two\nlines", "a,b"])
MOST = 12  # rows drawn; as many sure ones stand before them, for a file whose dates are mostly unreadable is refused
SURE_TRIGGERS = [[f"s{i}", "2024-05-01", "a", "a"] for i in range(MOST)]
SURE_ACTIONS = [[f"s{i}", "2024-05-01", "1"] for i in range(MOST)]
READABLE = {"2024-05-02": "2024-05-02 00:00:00"}


def csv_text(header: str, rows: list[list[str]], line_end: str) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator=line_end).writerows([header.split(","), *rows])
    return text.getvalue().encode()


@settings(max_examples=60, deadline=None)
@given(
    triggers=st.lists(st.tuples(GUIDS, DATES, TEXTS, TEXTS, st.booleans()), max_size=MOST),
    actions=st.lists(st.tuples(GUIDS, DATES, st.sampled_from(["0", "1", "2", ""])), max_size=MOST),
    line_end=st.sampled_from(["\n", "\r\n"]),
    threads=st.sampled_from([1, 2]),
)
def test_read_is_used_and_duplicates_and_rejected(
    triggers: list[tuple[str, str, str, str, bool]],
    actions: list[tuple[str, str, str]],
    line_end: str,
    threads: int,
) -> None:
    """The counts equal those of a plain reading in Python, row by row, and lines are those of the file.

    Rows with a column too many hold no line breaks: those are taken line by line, so that a stray quote eats no rows.
    """
    rows = [[guid, date, "a", "b", "more"] if longer else [guid, date, a, b] for guid, date, a, b, longer in triggers]
    answers = [list(action) for action in actions]
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: Path(folder) / f"{name}.csv" for name in ("triggers", "actions")}
        texts = {
            "triggers": csv_text("guid,date,trigger,type", SURE_TRIGGERS + rows, line_end),
            "actions": csv_text("guid,date,result", SURE_ACTIONS + answers, line_end),
        }
        for name, path in paths.items():
            path.write_bytes(texts[name])
        lenient = LogSettings(triggers_are="opportunities", allow_rejected=1, allow_orphans=1)
        log = read_log(paths["triggers"], paths["actions"], settings=lenient, threads=threads)
    good = [(r[0], READABLE.get(r[1], r[1]), *r[2:]) for r in rows if len(r) == 4 and r[0] and len(r[1]) > 1]
    assert log.quality.triggers.read == len(rows) + MOST
    assert log.quality.triggers.used == len(set(good)) + MOST == len(log.trigger_time)
    assert log.quality.triggers.duplicates == len(good) - len(set(good))
    known = {(r[0], READABLE.get(r[1], r[1]), r[2]) for r in answers if r[0] and len(r[1]) > 1 and r[2] in ("0", "1")}
    moments = Counter((guid, date) for guid, date, _ in known)
    assert log.quality.actions.read == len(answers) + MOST
    assert log.quality.actions.used == sum(n == 1 for n in moments.values()) + MOST == len(log.action_time)
    assert log.quality.matched + log.quality.orphans == log.quality.actions.used
    rejected = log.quality.rejected
    for name in ("triggers", "actions"):
        lines = texts[name].decode().replace("\r\n", "\n").split("\n")
        found = rejected[rejected["file"] == f"{name}.csv"]
        assert len(found) == getattr(log.quality, name).rejected
        assert found["line"].is_unique and found["line"].is_monotonic_increasing
        for row in found.itertuples():
            line = lines[int(str(row.line)) - 1]
            assert (row.reason == "guid is missing") <= line.startswith(",")
            assert ("number of columns" in str(row.reason)) == line.endswith(",more")


def brute_force_match(triggers: list[tuple[int, int]], actions: list[tuple[int, int]], window: int) -> list[int]:
    """The rule in words, contact by contact: the latest trigger in the window, if no earlier contact has it."""
    taken: set[int] = set()
    answer = []
    for user, time in actions:
        before = [t for u, t in triggers if u == user and t <= time and time - t <= window]
        row = triggers.index((user, max(before))) if before else -1
        answer.append(-1 if row in taken else row)
        taken.add(row)
    return answer


MOMENTS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 12)), max_size=15).map(sorted)


def columns(moments: list[tuple[int, int]], unit: int = 1) -> tuple[IntArray, IntArray]:
    pairs = np.array(moments, dtype=np.int64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1] * unit


@given(triggers=MOMENTS, actions=MOMENTS.map(lambda moments: sorted(set(moments))), window=st.integers(0, 12))
def test_matching_follows_the_rule(
    triggers: list[tuple[int, int]], actions: list[tuple[int, int]], window: int
) -> None:
    assert match(*columns(triggers), *columns(actions), window).tolist() == brute_force_match(triggers, actions, window)


@given(triggers=MOMENTS.filter(len), actions=MOMENTS.map(lambda moments: sorted(set(moments))))
def test_a_user_day_has_one_contact(triggers: list[tuple[int, int]], actions: list[tuple[int, int]]) -> None:
    """Of the contacts matched to triggers of one user and day, the first stays and the others become orphans."""
    unit = 20_000  # seconds, so that several moments share a day
    users, times = columns(triggers, unit)
    matched = match(users, times, *columns(actions, unit), 86_400)
    kept = one_per_day(users, times, matched)
    seen: set[tuple[int, int]] = set()
    for before, after in zip(matched.tolist(), kept.tolist(), strict=True):
        day = (int(users[before]), int(times[before]) // 86_400)
        assert after == (before if before >= 0 and day not in seen else -1)
        seen |= {day} if before >= 0 else set()


@given(contacts=MOMENTS, cap=st.integers(0, 5))
def test_cap_violations_are_gaps_below_the_cap(contacts: list[tuple[int, int]], cap: int) -> None:
    gaps = [b - a for (u, a), (v, b) in pairwise(contacts) if u == v]
    shuffled = contacts[::-1]
    assert cap_violations(*columns(shuffled, 86_400), Cap(cap)) == sum(gap < cap for gap in gaps)


@settings(max_examples=20, deadline=None)
@given(
    moments=st.lists(st.tuples(GUIDS, DATES.filter(lambda date: date != "2024-05-02")), unique=True),
    seed=st.integers(0, 9),
)
def test_the_order_of_rows_at_different_instants_changes_nothing(moments: list[tuple[str, str]], seed: int) -> None:
    rows = pd.DataFrame([*SURE_TRIGGERS, *([guid, date, f"{guid} {date}", "a"] for guid, date in moments)])
    rows.columns = pd.Index(["guid", "date", "trigger", "type"])
    actions = pd.DataFrame(SURE_ACTIONS, columns=["guid", "date", "result"])
    lenient = LogSettings(triggers_are="opportunities", allow_rejected=1)
    one, two = (read_log(frame, actions, settings=lenient) for frame in (rows, rows.sample(frac=1, random_state=seed)))
    assert one.user_id.tolist() == two.user_id.tolist()
    assert one.trigger_time.tolist() == two.trigger_time.tolist()
    assert one.trigger_columns["trigger"].decoded().tolist() == two.trigger_columns["trigger"].decoded().tolist()
    assert one.quality.as_dict()["files"] == two.quality.as_dict()["files"]


@pytest.mark.parametrize("chunk", [1, 2, 3, 7])
def test_a_file_is_inspected_alike_in_pieces_of_any_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    """Line ends, letters of several bytes and the first error are found across pieces."""
    path = tmp_path / "a.csv"
    path.write_bytes("a,b\r\n1,é\r\n2,€\r\n".encode())
    whole = inspect(path)
    bad = tmp_path / "b.csv"
    bad.write_bytes("é,b\r\n1,é\r\n2,".encode() + b"\xe9\r\n")
    alone = tmp_path / "c.csv"
    alone.write_bytes(b"a,b\r\n1,2\r\n3,4\r5,6\r\n")
    monkeypatch.setattr("engagex_sim.log.text._CHUNK", chunk)
    assert inspect(path).quotes == whole.quotes
    with pytest.raises(InputError, match="line 3: byte 0xe9"):
        inspect(bad)
    with pytest.raises(InputError, match="line 3: there is a carriage return"):
        inspect(alone)

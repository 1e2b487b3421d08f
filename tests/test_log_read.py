"""Clean logs: every kind of file and every reading of it gives the same columns of numbers."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from engagex_sim.errors import InputError
from engagex_sim.feature_names import COMPUTED, HISTORY_FEATURES
from engagex_sim.features import History, exogenous_features, history_features
from engagex_sim.log import Log, read_log
from engagex_sim.settings import LogSettings

TRIGGERS = """guid,date,trigger,type,price
u2,2024-05-03 10:00:00,7,view,1.5
u1,2024-05-01 09:30:00,5,click,2
u1,2024-05-01 09:30:00,4,view,
u2,2024-05-02 00:00:00,5,view,3
"""
ACTIONS = """guid,date,result,propensity
u1,2024-05-01 09:31:00,1,0.25
u2,2024-05-03 10:00:00,0,
"""


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_bytes(text.encode())
    return path


def seconds(text: str) -> int:
    return int(pd.Timestamp(text).timestamp())


def read(
    folder: Path, triggers: str = TRIGGERS, actions: str = ACTIONS, users: str | None = None, **settings: object
) -> Log:
    return read_log(
        write(folder, "triggers.csv", triggers),
        write(folder, "actions.csv", actions),
        None if users is None else write(folder, "users.csv", users),
        LogSettings.model_validate(settings),
    )


def assert_same(left: Log, right: Log) -> None:
    for name in ("user_id", "user_key", "trigger_user", "trigger_time", "trigger_code", "action_user", "action_time"):
        np.testing.assert_array_equal(getattr(left, name), getattr(right, name), err_msg=name)
    for name in ("action_kind", "action_reward", "action_propensity", "action_trigger"):
        np.testing.assert_array_equal(getattr(left, name), getattr(right, name), err_msg=name)
    assert left.trigger_columns.keys() == right.trigger_columns.keys()
    for name, column in left.trigger_columns.items():
        np.testing.assert_array_equal(column.decoded(), right.trigger_columns[name].decoded(), err_msg=name)
    assert left.quality.as_dict()["files"] == right.quality.as_dict()["files"]


def test_a_small_log_is_sorted_coded_and_matched(tmp_path: Path) -> None:
    """Golden: users by guid, rows by time, rows of one instant in file order, empty fields missing."""
    log = read(tmp_path)
    assert log.user_id.tolist() == ["u1", "u2"]
    assert log.user_key.tolist() == pd.util.hash_array(np.array(["u1", "u2"], dtype=object), categorize=False).tolist()
    assert log.trigger_user.tolist() == [0, 0, 1, 1]
    assert log.trigger_time.tolist() == [
        seconds("2024-05-01 09:30:00"),
        seconds("2024-05-01 09:30:00"),
        seconds("2024-05-02"),
        seconds("2024-05-03 10:00:00"),
    ]
    assert log.trigger_columns["trigger"].decoded().tolist() == [5, 4, 5, 7]
    assert log.trigger_columns["type"].decoded().tolist() == ["click", "view", "view", "view"]
    np.testing.assert_array_equal(log.trigger_columns["price"].decoded(), [2, np.nan, 3, 1.5])
    assert log.action_trigger.tolist() == [0, 3]
    assert log.action_reward.tolist() == [1, 0]
    np.testing.assert_array_equal(log.action_propensity, [0.25, np.nan])
    assert log.action_kind.tolist() == [1, 1] and log.kinds == ("contact",)
    assert (log.log_start, log.log_end) == (seconds("2024-05-01"), seconds("2024-05-04"))
    assert (log.triggers_are, log.decision_points) == ("opportunities", "trigger")
    assert "opportunities" in log.notes[0]


@pytest.mark.parametrize("form", ["crlf", "bom", "quoted", "gzip", "parquet", "frame", "times", "threads", "blank"])
def test_every_form_of_the_same_rows_gives_the_same_log(tmp_path: Path, form: str) -> None:
    expected = read(tmp_path)
    paths = {name: tmp_path / f"{name}.csv" for name in ("triggers", "actions")}
    frames = {name: pd.read_csv(path) for name, path in paths.items()}
    if form == "crlf":
        log = read(tmp_path, TRIGGERS.replace("\n", "\r\n"), ACTIONS.replace("\n", "\r\n"))
    elif form == "bom":
        log = read(tmp_path, "\ufeff" + TRIGGERS, "\ufeff" + ACTIONS.rstrip())
    elif form == "blank":
        log = read(tmp_path, "\n" + TRIGGERS.replace("\n", "\n\n"), ACTIONS)
    elif form == "quoted":
        quoted = ['"' + line.replace(",", '","') + '"' for line in TRIGGERS.splitlines()]
        log = read(tmp_path, "\n".join(quoted), ACTIONS)
    elif form == "gzip":
        for name, frame in frames.items():
            frame.to_csv(tmp_path / f"{name}.bin", index=False, compression="gzip")
        log = read_log(tmp_path / "triggers.bin", str(tmp_path / "actions.bin"))
    elif form == "threads":
        log = read_log(paths["triggers"], paths["actions"], threads=2)
    else:
        if form != "frame":
            frames = {name: frame.assign(date=pd.to_datetime(frame["date"])) for name, frame in frames.items()}
        if form == "parquet":
            for name, frame in frames.items():
                frame.to_parquet(tmp_path / f"[{name}].parquet")
            log = read_log(tmp_path / "[triggers].parquet", tmp_path / "[actions].parquet")
        else:
            log = read_log(frames["triggers"], frames["actions"])
    assert_same(log, expected)


def test_text_with_commas_quotes_and_line_breaks_is_read_as_it_is(tmp_path: Path) -> None:
    triggers = 'guid,date,trigger,type\nu1,2024-05-01,"a, ""b""\nc",x\r\n"u,2",2024-05-02,é,""\n'
    log = read(
        tmp_path, triggers, 'guid,date,result\nu1,2024-05-01,1\n"u,2",2024-05-02,0\n', triggers_are="opportunities"
    )
    assert log.user_id.tolist() == ["u,2", "u1"]
    assert log.trigger_columns["trigger"].decoded().tolist() == ["é", 'a, "b"\nc']
    assert log.trigger_columns["type"].decoded().tolist() == [None, "x"]


def test_columns_are_found_by_their_mapped_names(tmp_path: Path) -> None:
    triggers = TRIGGERS.replace("guid,date", "user_id,ts").replace("price", "hour")
    columns = {"guid": "user_id", "date": "ts", "price": "hour"}
    assert_same(read(tmp_path, triggers, columns=columns), read(tmp_path))


def test_columns_of_actions_that_nothing_reads_are_named(tmp_path: Path) -> None:
    actions = ",guid,date,clicked,banner\n0,u1,2024-05-01 09:31:00,1,a\n1,u2,2024-05-03 10:00:00,0,b\n"
    log = read(tmp_path, actions=actions, columns={"result": "clicked"})
    assert log.notes[-1] == "Columns of actions.csv that nothing reads: (no name), banner."


def test_kinds_are_the_values_of_action_in_ascending_order_of_numbers(tmp_path: Path) -> None:
    actions = (
        "guid,date,result,action\nu1,2024-05-01 09:31:00,1,10\nu2,2024-05-02 00:00:00,0,9\nu2,2024-05-03 11:00:00,0,0\n"
    )
    log = read(tmp_path, actions=actions)
    assert log.kinds == ("0", "9", "10")
    assert log.action_kind.tolist() == [3, 2, 1]


def test_dates_of_whole_days_with_t_and_with_fractions_are_read(tmp_path: Path) -> None:
    triggers = "guid,date,trigger,type\nu1,2024-05-01,1,a\nu1,2024-05-01T09:00:00,1,a\nu2,2024-05-01 09:00:00.987,1,a\n"
    log = read(tmp_path, triggers, "guid,date,result\nu2,2024-05-01 09:00:00,1\n")
    assert (log.trigger_time - seconds("2024-05-01")).tolist() == [0, 9 * 3600, 9 * 3600]


def test_numbers_are_numbers_only_where_the_whole_column_is(tmp_path: Path) -> None:
    head = "guid,date,trigger,type,whole,point,gap,text,nan,none\n"
    rows = "u1,2024-05-01,1,a,-1,1e3,,7,nan,\nu2,2024-05-01,007,b,2,.5,3,x,1,\n"
    columns = read(tmp_path, head + rows, "guid,date,result\nu1,2024-05-01,1\n").trigger_columns
    decoded = {name: column.decoded() for name, column in columns.items()}
    assert decoded["trigger"].tolist() == [1, 7]
    assert decoded["whole"].dtype == np.int64 and decoded["whole"].tolist() == [-1, 2]
    assert decoded["point"].tolist() == [1000, 0.5]
    np.testing.assert_array_equal(decoded["gap"], [np.nan, 3])
    assert decoded["text"].tolist() == ["7", "x"] and decoded["nan"].tolist() == ["nan", "1"]
    assert np.isnan(decoded["none"]).all()


def test_users_are_the_listed_ones_and_those_of_the_log(tmp_path: Path) -> None:
    """Who is in the log only is kept without attributes; who is listed only is counted."""
    log = read(tmp_path, users="guid,age,city\nu0,30,Rome\nu1,40,\nu9,50,Rome\n")
    assert log.user_id.tolist() == ["u0", "u1", "u2", "u9"]
    assert log.user_listed.tolist() == [True, True, False, True]
    np.testing.assert_array_equal(log.attributes["age"].decoded(), [30, 40, np.nan, 50])
    assert log.attributes["city"].decoded().tolist() == ["Rome", None, None, "Rome"]
    assert (log.quality.users_in_log, log.quality.users_not_listed) == (2, 1)
    assert any("1 of 2 users of the log are not in users.csv" in note for note in log.notes)


@pytest.mark.parametrize(("n", "most"), [(50, 10), (49, 24), (2, 1)])
def test_a_text_that_tells_users_apart_is_no_feature(tmp_path: Path, n: int, most: int) -> None:
    """Up to a fifth of the users may have a text of their own, of fewer than 50 users half; numbers may all differ."""
    users = pd.DataFrame({"guid": [f"u{i}" for i in range(n + 1)], "number": range(n + 1)})
    cities = [f"city {i}" for i in range(n + 1)]
    users["kept"] = [cities[i % most] for i in range(n)] + [None]
    users["city"] = [cities[i % (most + 1)] for i in range(n)] + [None]
    log = read(tmp_path, users=users.to_csv(index=False), triggers_are="opportunities")
    assert set(log.attributes) == {"number", "kept"}
    (said,) = log.notes
    assert said.startswith("The attribute city tells users apart") and f"({most + 1} values for {n} users)" in said


def test_visits_with_days_only_are_said_to_be_so(tmp_path: Path) -> None:
    """The visits of a user on one day are one decision point; rows that are copies are counted."""
    triggers = "guid,date,trigger,type\n" + "u1,2024-05-01,1,a\n" * 3 + "u1,2024-05-01,2,a\nu2,2024-05-02,1,a\n"
    log = read(tmp_path, triggers, "guid,date,result\nu2,2024-05-02,1\n")
    assert log.notes[-1] == (
        "All times of triggers.csv are midnight: the visits of a user on one day are one decision point (2 rows that"
        " repeat another one exactly count once), and the feature hour says nothing."
    )
    assert not any("midnight" in note for note in read(tmp_path).notes)


def test_a_column_cannot_have_the_name_of_a_feature(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"column 'hour'.*--columns my_hour=hour"):
        read(tmp_path, TRIGGERS.replace("price", "hour"))
    with pytest.raises(InputError, match="both have a column 'price'"):
        read(tmp_path, users="guid,price\nu1,1\n")


def test_the_reserved_names_are_the_names_of_the_computed_features(tmp_path: Path) -> None:
    from engagex_sim.decision_points import decisions_of

    log = read(tmp_path)
    settings = LogSettings(burn_in_days=0)
    features = exogenous_features(decisions_of(log, settings))
    computed = set(features) - set(log.trigger_columns)
    assert computed == COMPUTED
    assert tuple(history_features(np.zeros(1, dtype=np.int64), History.none(1))) == HISTORY_FEATURES


def test_auto_takes_triggers_for_contacts_from_95_percent_on() -> None:
    def log_with(n_answered: int) -> Log:
        dates = pd.date_range("2024-05-01", periods=20).astype(str)
        triggers = pd.DataFrame({"guid": ["u1", "u2"] * 10, "date": dates, "trigger": 1, "type": "a"})
        actions = triggers[["guid", "date"]].assign(result=1).head(n_answered)
        return read_log(triggers, actions)

    assert log_with(19).triggers_are == "contacts" and log_with(19).decision_points == "day"
    assert log_with(18).triggers_are == "opportunities"
    assert "95.0 % of the trigger rows have an actions row" in log_with(19).notes[0]
    assert log_with(19).quality.triggers.rejected == 1

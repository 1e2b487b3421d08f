"""Bad input gives one clear sentence, and single bad rows are rejected with their line and reason."""

import gzip
from pathlib import Path

import pandas as pd
import pytest

from engagex_sim.errors import InputError
from engagex_sim.log import Log, read_blocks, read_log
from engagex_sim.settings import LogSettings

TRIGGERS = "guid,date,trigger,type\nu1,2024-05-01 09:00:00,1,a\nu2,2024-05-02 09:00:00,2,b\n"
ACTIONS = "guid,date,result\nu1,2024-05-01 09:00:00,1\nu2,2024-05-02 10:00:00,0\n"
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"


def read(folder: Path, triggers: str | bytes = TRIGGERS, actions: str | bytes = ACTIONS, **settings: object) -> Log:
    paths = []
    for name, content in (("triggers.csv", triggers), ("actions.csv", actions)):
        paths.append(folder / name)
        paths[-1].write_bytes(content if isinstance(content, bytes) else content.encode())
    options = {"triggers_are": "opportunities", "allow_rejected": 1, "allow_orphans": 1, **settings}
    return read_log(*paths, settings=LogSettings.model_validate(options))


def dated(*dates: str) -> str:
    return "guid,date,trigger,type\n" + "".join(f"u{i},{date},1,a\n" for i, date in enumerate(dates))


def test_a_file_of_users_that_names_none_of_the_logs_is_refused_with_an_example_of_each(tmp_path: Path) -> None:
    for name, content in (("t.csv", TRIGGERS), ("a.csv", ACTIONS), ("crm.csv", "guid,age\n0017,30\n0018,40\n")):
        (tmp_path / name).write_text(content)
    files, settings = [tmp_path / name for name in ("t.csv", "a.csv", "crm.csv")], LogSettings(allow_orphans=1)
    told = "None of the 2 users of the log is in crm.csv: a guid of the log is 'u1', and one of crm.csv '0017'. Name"
    for _ in range(2):  # what the cache keeps is refused again
        with pytest.raises(InputError, match=f"^{told}"):
            read_blocks(*files, settings, cache=tmp_path / "cache")
    with read_blocks(*files, settings, strangers=True) as log:  # a log that only lends its contacts
        assert log.quality.users_not_listed == 2


@pytest.mark.parametrize(
    ("triggers", "sentence"),
    [
        (b"", r"triggers\.csv is empty"),
        (b"\n\n", r"triggers\.csv is empty"),
        (b"\xef\xbb\xbf", r"triggers\.csv is empty"),
        ("guid,date,trigger,type\n", "has a header but no rows"),
        ("guid,date,trigger,type\r\n\r\n\r\n", "has a header but no rows"),
        ("id,date,trigger,type\nu1,2024-05-01,1,a\n", r"no column 'guid'; there are: id, date.*--columns guid=NAME"),
        ("guid,date\nu1,2024-05-01\n", "no column 'trigger' and 'type'.*they have.*--columns trigger=NAME,type=NAME"),
        ("GUID,Date,what,type\nu1,2024-05-01,1,a\n", r"--columns guid=GUID,date=Date,trigger=NAME\.$"),
        (ACTIONS, "triggers.csv, given as triggers, has the columns of actions; exchange the two files"),
        ("u1,2024-05-01 09:00:00,1,a\nu2,2024-05-01 09:00:00,1,a\n", "looks like data; a header line"),
        (TRIGGERS.replace(",", ";"), "separated by semicolons"),
        (TRIGGERS.replace(",", "\t"), "separated by tabs"),
        ("guid,guid,date,trigger,type\n1,1,2024-05-01,1,a\n", "more than one column named 'guid'"),
        (PNG, "is a PNG picture, not CSV text"),
        (b"PK\x03\x04rest", "is a zip archive or an Excel workbook"),
        (TRIGGERS.encode("utf-16"), "is UTF-16 text"),
        (b"guid\0date", "is not a text file"),
        (b"\xde\xad\xbe\xef\x80", "line 1: byte 0xbe is not UTF-8"),
        ((TRIGGERS + "u3,2024-05-02,café,b\n").encode("latin-1"), "line 4: byte 0xe9 is not UTF-8"),
        (TRIGGERS + "u3,2024-05-02,a\x1fb,b\n", "line 4: there is the control character 0x1f"),
        (TRIGGERS.replace("\n", "\r"), "line 1: there is a carriage return without a line feed"),
        (gzip.compress(TRIGGERS.encode())[:-12], "damaged or cut-off gzip"),
        (TRIGGERS + '"' + "x" * 3_000_000 + "\n", r"triggers\.csv cannot be read as CSV: .*Line: 4"),
        (b"PAR1 but nothing of the kind", "cannot be read as Parquet"),
        (dated("2024-05-01 09:00:00Z", "x"), "look like '2024-05-01 09:00:00Z' .line 2.: with a time zone"),
        (dated("2024-05-01T09:00:00+02:00"), "with a time zone"),
        (dated("2024-05-01 09:00:00 CEST"), "with a time zone"),
        (dated("31/05/2024", "01/06/2024"), "look like '31/05/2024' .line 2.; YYYY-mm-dd HH:MM:SS is needed"),
        (dated("1714550400"), "look like '1714550400' .line 2.: a number"),
    ],
)
def test_a_file_that_is_no_log_is_refused_with_one_sentence(
    tmp_path: Path, triggers: str | bytes, sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence) as error:
        read(tmp_path, triggers)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("actions", "sentence"),
    [
        (TRIGGERS, "given as actions, has the columns of triggers; exchange"),
        (ACTIONS.replace(",1\n", ",0\n"), "No row of actions.csv has result 1"),
        (ACTIONS.replace("result", "clicked"), r"no column 'result'.*--columns result=NAME"),
        ("guid,date,result\nu1,2024-05-01 09:00:00,yes\n", "actions.csv has no row that can be used"),
        (ACTIONS.replace("\nu", "\nv"), r"No guid of actions.csv .such as 'v1'. is in triggers.csv .such as 'u1'."),
        (
            ACTIONS.replace("2024", "2025"),
            "triggers.csv covers 2024-05-01 to 2024-05-02, actions.csv 2025-05-01 to 2025-05-02; give both files",
        ),
        (ACTIONS.replace("2024", "2023"), "The dates of the two files do not overlap"),
    ],
)
def test_actions_that_cannot_be_learned_from_are_refused(tmp_path: Path, actions: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        read(tmp_path, actions=actions)


def test_a_log_of_one_user_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="only one user"):
        read(tmp_path, TRIGGERS.replace("u2", "u1"), ACTIONS.replace("u2", "u1"))


def test_what_is_not_there_or_not_a_file_is_refused(tmp_path: Path) -> None:
    read(tmp_path)
    actions = tmp_path / "actions.csv"
    with pytest.raises(InputError, match=r"There is no file .*nowhere\.csv .for the triggers."):
        read_log(tmp_path / "nowhere.csv", actions)
    with pytest.raises(InputError, match="is a directory; name the triggers file itself"):
        read_log(tmp_path, actions)
    (tmp_path / "text.parquet").write_text(TRIGGERS)
    with pytest.raises(InputError, match="is named like a Parquet file but is not one"):
        read_log(tmp_path / "text.parquet", actions)


def test_frames_without_rows_or_with_a_time_zone_are_refused(tmp_path: Path) -> None:
    read(tmp_path)
    triggers, actions = pd.read_csv(tmp_path / "triggers.csv"), pd.read_csv(tmp_path / "actions.csv")
    with pytest.raises(InputError, match=r"triggers .data frame. has columns but no rows"):
        read_log(triggers.head(0), actions)
    with pytest.raises(InputError, match="no columns"):
        read_log(pd.DataFrame(), actions)
    with pytest.raises(InputError, match="no column 'guid'"):
        read_log(triggers.set_index("guid"), actions)
    with pytest.raises(InputError, match="have a time zone"):
        read_log(triggers.assign(date=pd.to_datetime(triggers["date"], utc=True)), actions)
    triggers.assign(date=pd.to_datetime(triggers["date"], utc=True)).to_parquet(tmp_path / "zone.parquet")
    with pytest.raises(InputError, match="have a time zone"):
        read_log(tmp_path / "zone.parquet", actions)
    triggers.assign(date=1714550400).to_parquet(tmp_path / "epoch.parquet")
    with pytest.raises(InputError, match=r"look like '1714550400' .line 1.: a number"):
        read_log(tmp_path / "epoch.parquet", actions)


@pytest.mark.parametrize("name", ["weekday", "contacts_so_far", "kind_of_contact"])
def test_a_column_with_the_name_of_a_computed_feature_is_refused(tmp_path: Path, name: str) -> None:
    read(tmp_path)
    triggers, actions = pd.read_csv(tmp_path / "triggers.csv"), pd.read_csv(tmp_path / "actions.csv")
    with pytest.raises(InputError, match=f"column '{name}', which is the name of a computed feature; rename it"):
        read_log(triggers.assign(**{name: 1}), actions)


def test_a_mapping_to_a_column_that_no_file_has_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--columns guid=user: no file has a column 'user'"):
        read(tmp_path, columns={"guid": "user"})
    with pytest.raises(InputError, match="has a column 'type' and --columns maps 'trigger' to the same name"):
        read(tmp_path, columns={"type": "trigger"})


def test_every_bad_row_of_triggers_is_rejected_with_its_line_and_reason(tmp_path: Path) -> None:
    """Golden: lines are those of the file, blank lines and texts over several lines included."""
    triggers = (
        "guid,date,trigger,type\n"  # 1
        "u1,2024-05-01 09:00:00,1,a\n"
        ",2024-05-01 09:00:00,1,a\n"  # 3
        "u1,,1,a\n"  # 4
        "\n"
        'u1,2024-05-01 10:00:00,"two\n\nlines",a\n'  # 6 to 8
        "u1,01.05.2024,1,a\n"  # 9
        "u1,2024-02-30 00:00:00,1,a\r\n"  # 10
        "u1,9999-12-31 00:00:00,1,a\n"  # 11
        "u1,2024-05-01,1\n"  # 12
        "u1,2024-05-01,1,a,\n"  # 13
        'u1,2024-05-01,"open,a\n'  # 14
        'u1,2024-05-01,5" x 7",a\n'  # 15
        'u1,"2024-05-01 09:00:00",1,a\n'  # 16: a copy of 2
        "u2,2024-05-02 09:00:00,1,a\n"
        "u2,2024-05-02 09:00:00,1,b\n"
    )
    log = read(tmp_path, triggers)
    assert [(row.line, row.reason) for row in log.quality.rejected.itertuples()] == [
        (3, "guid is missing"),
        (4, "date is missing"),
        (9, "date is not YYYY-mm-dd HH:MM:SS"),
        (10, "date is not YYYY-mm-dd HH:MM:SS"),
        (11, "date is not in the years 1971 to 2099"),
        (12, "the number of columns is not 4"),
        (13, "the number of columns is not 4"),
        (14, "a double quote is out of place"),
        (15, "a double quote is out of place"),
    ]
    assert log.quality.as_dict()["files"]["triggers"] == {"read": 14, "used": 4, "duplicates": 1, "rejected": 9}
    assert log.trigger_columns["trigger"].decoded().tolist() == ["1", "two\n\nlines", "1", "1"]
    assert (log.quality.rejected["file"] == "triggers.csv").all()


def test_every_bad_row_of_actions_is_rejected_with_its_line_and_reason(tmp_path: Path) -> None:
    actions = (
        "guid,date,result,propensity,action\n"
        "u1,2024-05-01 09:00:00,1,0.5,x\n"
        "u1,2024-05-01 09:00:00,1,0.5,x\n"  # a copy
        "u1,2024-05-01 09:00:01,,0.5,x\n"
        "u1,2024-05-01 09:00:02,2,0.5,x\n"
        "u1,2024-05-01 09:00:03,True,0.5,x\n"
        "u1,2024-05-01 09:00:04,1,0,x\n"
        "u1,2024-05-01 09:00:05,1,1.01,x\n"
        "u1,2024-05-01 09:00:06,1,nan,x\n"
        "u1,2024-05-01 09:00:07,1,1,\n"
        "u2,2024-05-02 09:00:00,1,,x\n"  # contradicts the next but one
        "u2,2024-05-02 09:00:00,1,,x\n"
        "u2,2024-05-02 09:00:00,0,,x\n"
        "u2,2024-05-02 09:00:01,0.0,,x\n"
    )
    log = read(tmp_path, actions=actions)
    contradiction = "contradicts another actions row at the same guid and date"
    assert [(row.line, row.reason) for row in log.quality.rejected.itertuples()] == [
        (4, "result is missing: write 0 where the user was not interested"),
        (5, "result is '2' or 'True': write 1 for interested and 0 for not"),
        (6, "result is '2' or 'True': write 1 for interested and 0 for not"),
        (7, "propensity is not above 0 and at most 1"),
        (8, "propensity is not above 0 and at most 1"),
        (9, "propensity is not above 0 and at most 1"),
        (10, "action is missing"),
        (11, contradiction),
        (13, contradiction),
    ]
    assert log.quality.as_dict()["files"]["actions"] == {"read": 13, "used": 2, "duplicates": 2, "rejected": 9}


def test_rows_of_users_that_contradict_each_other_are_rejected(tmp_path: Path) -> None:
    read(tmp_path)
    users = pd.DataFrame({"guid": ["u1", "u2", "u2", "u3", "u3", None], "age": [1, 2, 2, 3, 4, 5]})
    log = read_log(tmp_path / "triggers.csv", tmp_path / "actions.csv", users, LogSettings(allow_rejected=1))
    assert log.quality.as_dict()["files"]["users"] == {"read": 6, "used": 2, "duplicates": 1, "rejected": 3}
    assert log.quality.rejected["line"].tolist() == [4, 5, 6]
    assert log.user_id.tolist() == ["u1", "u2"]


def test_too_many_rejected_rows_stop_the_run_with_the_commonest_reasons(tmp_path: Path) -> None:
    good = "".join(f"u{i},2024-05-01 09:00:{i:02d},1,a\n" for i in range(50))
    bad = "u1,2024-05-01,1\n" * 3 + ",2024-05-01,1,a\n" * 2 + "u1,,1,a\n" * 4 + "u1,never,1,a\n"
    triggers = "guid,date,trigger,type\n" + good + bad
    with pytest.raises(InputError) as error:
        read(tmp_path, triggers, allow_rejected=0.05)
    assert str(error.value) == (
        "triggers.csv: 10 of 60 rows (16.7 %) cannot be used, more than the 5.0 % that --allow-rejected allows: date is"
        " missing (4 rows, first in line 57); the number of columns is not 4 (3 rows, first in line 52); guid is"
        " missing (2 rows, first in line 55)."
    )
    assert read(tmp_path, triggers, allow_rejected=0.17).quality.triggers.rejected == 10


@pytest.mark.parametrize(
    ("results", "shown"),
    [
        (["yes"], "result is 'yes': write 1 for interested and 0 for not (1 rows"),
        (["no", "yes", "no"], "result is 'no' or 'yes': write"),
        (["4", "3", "2", "2", "1.5"], "result is '2', '1.5', '3' or something else: write"),
        (["it's " + "long " * 20], """result is "it's long long long long long …": write"""),
    ],
)
def test_results_that_are_none_are_shown_with_what_to_write_instead(
    tmp_path: Path, results: list[str], shown: str
) -> None:
    """The commonest come first, then the first in the alphabet."""
    rows = "".join(f"u1,2024-05-01 10:00:{i:02d},{result}\n" for i, result in enumerate(results))
    with pytest.raises(InputError) as error:
        read(tmp_path, actions=ACTIONS + rows, allow_rejected=0)
    assert shown in str(error.value)


def test_the_option_for_missing_columns_keeps_what_was_named_already(tmp_path: Path) -> None:
    triggers = TRIGGERS.replace("guid,date", "user_id,DATE")
    with pytest.raises(InputError, match="--columns guid=user_id,date=DATE"):
        read(tmp_path, triggers, columns={"guid": "user_id"})


def test_visits_that_were_called_contacts_are_refused_with_the_other_reading(tmp_path: Path) -> None:
    triggers = TRIGGERS + "".join(f"u1,2024-05-03 09:00:{i:02d},1,a\n" for i in range(8))
    with pytest.raises(InputError, match=r"an actions row of its own .*if they are visits: --triggers-are opportunit"):
        read(tmp_path, triggers, triggers_are="contacts", allow_rejected=0.05)


def test_too_many_orphans_stop_the_run(tmp_path: Path) -> None:
    """A contact before any trigger, one too late, and a second one of the same trigger belong to no decision point."""
    actions = (
        "guid,date,result\nu1,2024-05-01 08:59:59,1\nu1,2024-05-01 09:00:00,1\nu1,2024-05-01 09:00:01,1\n"
        "u2,2024-05-03 09:00:00,0\nu2,2024-05-03 09:00:01,0\n"
    )
    with pytest.raises(InputError, match=r"3 of 5 rows of actions\.csv .60\.0 %. belong to no decision point"):
        read(tmp_path, actions=actions, allow_orphans=0.05)
    log = read(tmp_path, actions=actions)
    assert log.action_trigger.tolist() == [-1, 0, -1, 1, -1]
    assert (log.quality.matched, log.quality.orphans) == (2, 3)


def test_contacts_without_a_result_or_a_kind_are_rejected(tmp_path: Path) -> None:
    triggers = TRIGGERS + "u1,2024-05-01 09:00:00,9,b\nu1,2024-05-03 09:00:00,1,a\nu3,2024-05-03 09:00:00,1,\n"
    actions = ACTIONS + "u3,2024-05-03 09:00:00,1\n"
    log = read(tmp_path, triggers, actions, triggers_are="contacts")
    assert [(row.line, row.reason) for row in log.quality.rejected.itertuples()] == [
        (4, "a contact without an actions row of its own"),
        (5, "a contact without an actions row of its own"),
        (6, "type is missing"),
    ]
    assert log.action_trigger.tolist() == [0, 1, -1] and log.action_kind.tolist() == [1, 2, 0]

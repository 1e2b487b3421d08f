"""The files of a run: complete, safe to open, the same each time, all or none."""

import csv
import io
import json
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from report_example import STORIES, example_result

from engagex_sim.errors import InputError
from engagex_sim.report import files
from engagex_sim.report.files import write_result
from engagex_sim.report.tables import csv_text

COMMAND = "python -m experiments.run baseline_vs_xgb --seed 0"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("runs") / "deeper" / "run"
    write_result(example_result(), directory, COMMAND)
    return directory


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing is slow and not what these tests are about."""

    monkeypatch.setattr(files, "draw_pictures", lambda _: {})


def test_a_run_holds_every_file(run: Path) -> None:
    assert {path.name for path in run.iterdir()} == {
        "summary.csv",
        "curves.csv",
        "model_metrics.csv",
        "classification_report.csv",
        "feature_importance.csv",
        "feature_effects.csv",
        "intervals.csv",
        "flags.csv",
        "calibration.csv",
        "overlap.csv",
        "sensitivity.csv",
        "breaking_points.csv",
        "exploration.csv",
        "data_quality.json",
        "rejected_rows.csv",
        "config.toml",
        "report.html",
        "cumulative_interests.png",
        "lift.png",
        "estimators.png",
        "weights.png",
        "hidden_cause.png",
        "contacts_per_day.png",
        "reliability.png",
        "feature_importance.png",
        "feature_effects.png",
    }
    assert [path.name for path in run.parent.iterdir()] == ["run"]


def test_numbers_survive_the_summary_exactly(run: Path) -> None:
    expected = example_result().summary
    rows = rows_of(run / "summary.csv")
    assert list(rows[0]) == list(expected.columns)
    for name in ("value", "ci_low", "lift_high", "truth"):
        written = [float(row[name] or "nan") for row in rows]
        np.testing.assert_array_equal(written, expected[name].to_numpy())


def test_undefined_is_an_empty_field(run: Path) -> None:
    rows = rows_of(run / "summary.csv")
    undefined = next(r for r in rows if (r["policy"], r["metric"]) == ("never", "interests_per_contact"))
    assert (undefined["value"], undefined["lift"], undefined["ess"], undefined["verdict"]) == ("", "", "", "")
    assert undefined["reason"]


def test_config_repeats_the_run(run: Path) -> None:
    config = tomllib.loads((run / "config.toml").read_text(encoding="utf-8"))
    assert config["command"] == COMMAND
    assert config["policies"] == ["current", *STORIES]
    assert config["settings"]["seed"] == 0
    assert config["settings"]["burn_in_days"] == 14.0
    assert {"python", "numpy", "xgboost"} <= set(config["versions"])


def test_config_leaves_out_what_is_not_set(run: Path) -> None:
    """TOML has no null."""
    settings = tomllib.loads((run / "config.toml").read_text(encoding="utf-8"))["settings"]
    assert "holdout" not in settings
    assert settings["refit_boot"] == 0


def test_data_quality_adds_up(run: Path) -> None:
    quality = json.loads((run / "data_quality.json").read_text(encoding="utf-8"))
    triggers = quality["files"]["triggers"]
    assert triggers["read"] == triggers["used"] + triggers["duplicates"] + triggers["rejected"]


def test_the_same_result_gives_the_same_bytes(run: Path, tmp_path: Path) -> None:
    write_result(example_result(), tmp_path / "again", COMMAND)
    for path in sorted(run.iterdir()):
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name


def test_a_failure_in_the_middle_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> str:
        raise RuntimeError("the disk is full")

    monkeypatch.setattr(files, "draw_pictures", fail)
    with pytest.raises(RuntimeError, match="disk is full"):
        write_result(example_result(), tmp_path / "run", COMMAND)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("no_pictures")
def test_an_existing_directory_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with pytest.raises(InputError, match="exists already"):
        write_result(example_result(), tmp_path / "run", COMMAND)
    assert list((tmp_path / "run").iterdir()) == []


@pytest.mark.usefixtures("no_pictures")
def test_a_directory_that_cannot_be_made_is_one_clear_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot be made: .*--out"):
        write_result(example_result(), tmp_path / "file" / "run", COMMAND)


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_text_that_starts_a_formula_is_defused(start: str) -> None:
    text = csv_text(pd.DataFrame({"reason": [f"{start}cmd()", "plain", None], "value": [-1.5, np.nan, 2.0]}))
    _, evil, *others = csv.reader(io.StringIO(text, newline=""))
    assert evil == [f"'{start}cmd()".replace("\r", "\n"), "-1.5"]  # a lone \r would end the row
    assert others == [["plain", ""], ["", "2.0"]]

"""`bench`: both ways do the same work, every measurement has its own process, and the command shows them all."""

import os
import re
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from engagex_sim.blocks import OfLog
from engagex_sim.errors import InputError
from engagex_sim.feature_names import WINDOWS
from engagex_sim.log import read_blocks
from engagex_sim.ope.resampling import bootstrap_sums
from engagex_sim.settings import LogSettings
from engagex_sim.worlds import WORLDS, frames
from experiments.bench import naive
from experiments.bench.effort import Files
from experiments.bench.estimators import (
    gathered_replicates,
    made_up,
    per_user_columns,
    point_estimates,
    replicates,
)
from experiments.bench.fresh import fresh
from experiments.bench.stages import STAGES, Spent
from experiments.bench.tables import COLD, RUNS, WARM, WHOLE, Size, paper_table, stage_table
from experiments.run import main
from experiments.terminal import Progress


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """A log in which triggers fall on one instant, so that rows and decision points differ."""
    folder = tmp_path_factory.mktemp("log")
    triggers, actions = frames(WORLDS["visits"], 300, seed=2)
    twice = pd.concat([triggers, triggers.iloc[::7].assign(trigger=10_000)])
    twice.to_csv(folder / "triggers.csv", index=False)
    actions.to_csv(folder / "actions.csv", index=False)
    return Files(len(twice), folder / "triggers.csv", folder / "actions.csv")


# --- both ways do the same work


def test_pandas_computes_the_features_that_are_measured_beside_it(files: Files) -> None:
    with read_blocks(files.triggers, files.actions) as log:
        timeline = OfLog(log, LogSettings()).timeline(0)
    found = naive.features(naive.read(files)[0])
    assert found["guid"].tolist() == np.repeat(timeline.user_id, np.diff(timeline.user_start)).tolist()
    names = ["hour", "weekday", "day", "triggers_so_far", *(f"triggers_{days}d" for days in WINDOWS)]
    for name in names:
        np.testing.assert_array_equal(found[name], timeline.columns[name].values, err_msg=name)
    since = timeline.columns["days_since_trigger"].values
    np.testing.assert_allclose(found["days_since_trigger"].fillna(np.inf), since)


def test_pandas_matches_the_contacts_that_the_log_matches(files: Files) -> None:
    _, matched = naive.read(files)
    with read_blocks(files.triggers, files.actions) as log:
        assert int(matched["triggered"].notna().sum()) == int((~log.whole().orphan).sum())


def test_sums_per_user_and_gathered_rows_estimate_the_same() -> None:
    points, user, key = made_up(2_000, 3, 0)
    columns = per_user_columns(points, user, 2_000)
    values = point_estimates(points, 2_000)
    np.testing.assert_allclose(replicates(columns.sum(axis=0, keepdims=True))[0], values)
    ours = replicates(bootstrap_sums(columns, key, 0, 400))
    gathered = gathered_replicates(points, 2_000, 3, 400, 0)
    random = values != values[3]  # the direct method hardly varies
    np.testing.assert_allclose(gathered.std(axis=0)[random], ours.std(axis=0)[random], rtol=0.2)


# --- a process for each measurement


def _own_process(progress: Progress) -> int:
    progress("here")
    return os.getpid()


def _refuse(_: Progress) -> None:
    raise InputError("No.")


def _die(code: int, _: Progress) -> None:
    os._exit(code)


def test_a_measurement_runs_in_a_process_of_its_own_and_says_what_it_does() -> None:
    told: list[str] = []
    assert fresh(_own_process, lambda step, *_: told.append(step)) != os.getpid()
    assert told == ["here"]


def test_what_stops_a_measurement_ends_in_one_sentence() -> None:
    with pytest.raises(InputError, match=r"^No\.$"):
        fresh(_refuse, lambda *_: None)
    with pytest.raises(InputError, match=r"exit code 9\); if it was killed, most likely for lack of memory"):
        fresh(partial(_die, 9), lambda *_: None)


# --- tables


def _spent(triggers: int, per_million: float) -> list[Spent]:
    millions = triggers / 1e6
    return [Spent(stage, per_million * millions, 2 * per_million * millions, 2**30, triggers) for stage in STAGES]


def test_growth_is_the_time_per_row_relative_to_the_smallest_log() -> None:
    sizes = [
        Size(1_000_000, 1, 1, {COLD: _spent(1_000_000, 1.0), WARM: _spent(1_000_000, 1.0)}),
        Size(4_000_000, 1, 1, {COLD: _spent(4_000_000, 1.5), WARM: _spent(4_000_000, 1.0)}),
    ]
    table = stage_table(sizes).set_index(["rows", "run", "stage"])
    assert table.loc[(4_000_000, COLD, WHOLE), "growth"] == pytest.approx(1.5)
    assert table.loc[(4_000_000, WARM, "reading"), "growth"] == pytest.approx(1.0)
    assert table.loc[(4_000_000, COLD, WHOLE), "seconds"] == pytest.approx(len(STAGES) * 6.0)


def test_a_cluster_breaks_even_where_its_start_is_paid_back() -> None:
    """2 × 2 s of CPU per million rows are shared out: 2 s on two cores, 1 s on four workers; the start takes 60 s."""
    stages = stage_table([Size(1_000_000, 1, 1, {COLD: _spent(1_000_000, 1.0)})])
    table, even = paper_table(stages, cores=2)
    assert even[4] == pytest.approx(60e6)
    row = table.iloc[1]
    assert row["this machine"] == pytest.approx(5 + 10 * (1 + 2))
    assert row["4 workers"] == pytest.approx(5 + 60 + 10 * (1 + 1))


# --- the command


def test_the_small_variant_measures_every_stage_and_writes_tables_and_a_figure(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    command = ["bench", "--small", "--rows", "20000", "--workers", "2", "--threads", "1"]
    assert main([*command, "--data", str(tmp_path / "data"), "--out", str(tmp_path / "out")]) == 0
    shown = capsys.readouterr()
    assert "beside it the naive way, on the smallest log" in shown.out
    assert "20,000 rows, cold: survey" in shown.err
    out = tmp_path / "out"
    assert (out / "bench.png").stat().st_size > 10_000
    stages = pd.read_csv(out / "bench.csv")
    assert set(stages["run"]) == set(RUNS)
    assert set(STAGES) <= set(stages["stage"])
    assert (stages[["seconds", "rows_per_second", "peak_gib", "growth"]] > 0).all(axis=None)
    assert (pd.read_csv(out / "ratios.csv")["ratio"] > 0).all()
    assert pd.read_csv(out / "workers.csv")["workers"].tolist() == [2, 2]
    page = (out / "bench.md").read_text(encoding="utf-8")
    assert re.findall(r"^## .*", page, flags=re.MULTILINE)[-2:] == ["## More workers", "## Larger logs, on paper"]
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["original-20000"]


@pytest.mark.parametrize("option", ["--rows", "--workers"])
@pytest.mark.parametrize("text", ["many", "0", "1,,2", ""])
def test_a_list_that_is_none_of_numbers_is_refused(
    option: str, text: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["bench", option, text, "--data", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert f"{option} is a list of whole numbers from 1 on, as in 1,2,4, not {text!r}." in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_log_that_lacks_a_file_is_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "original-500").mkdir()
    assert main(["bench", "--rows", "500", "--data", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "is there without triggers.csv; remove it, and it is made anew." in capsys.readouterr().err
    assert not (tmp_path / "out").exists()

"""The study of the estimators: its scores by hand, that it runs, and that it goes on where it was stopped."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from engagex_sim.errors import InputError
from engagex_sim.ope.verdict import BETTER, NO_DIFFERENCE, UNANSWERABLE, WORSE
from engagex_sim.worlds import Visits
from experiments.run import main
from experiments.study import parallel
from experiments.study.agreement import difference
from experiments.study.cells import cells_of
from experiments.study.claims import claims
from experiments.study.replicate import Tables
from experiments.study.score import accuracy, methods
from experiments.study.store import Store
from experiments.study.truth import WorldTruth
from experiments.study.verdict_rules import fit_rules, is_fitted_on

RUN = 100  # logs: enough for a demand to be told


def values(
    policy: str,
    found: list[tuple[float, float, float, str]],
    cell: str = "visits",
    metric: str = "interests_per_user",
    estimator: str = "dr_cap",
) -> pd.DataFrame:
    """One row per log from (value, low, high, verdict); the truth is 10."""
    table = pd.DataFrame(found, columns=["value", "ci_low", "ci_high", "verdict"])
    return table.assign(
        cell=cell, policy=policy, estimator=estimator, metric=metric, truth=10.0, true_lift=0.0, replication=table.index
    )


def read(path: Path) -> pd.DataFrame:
    """A table whose cell `null` is a name."""
    return pd.read_csv(path, keep_default_na=False, na_values=[""])


def logs(rows: pd.DataFrame) -> pd.DataFrame:
    """Every log of the rows, none refused."""
    return rows[["cell", "replication"]].drop_duplicates(ignore_index=True).assign(refused=None)


def tables(*parts: pd.DataFrame, **others: pd.DataFrame) -> Tables:
    rows = pd.concat(parts, ignore_index=True)
    runs = logs(rows)
    nothing = {name: pd.DataFrame({"cell": [], "policy": [], "method": []}) for name in ("intervals", "policies")}
    return Tables(values=rows, **({**nothing, "runs": runs} | others))


def test_golden_accuracy() -> None:
    """Over answered runs; a refused one counts only in `answered` and `all_coverage`."""
    found = [(11, 9, 13, BETTER), (9, 8, 9.5, WORSE), (10, 10.5, 11, BETTER), (12, 9, 14, NO_DIFFERENCE)]
    rows = values("uniform", [*found, (90.0, 80.0, 99.0, UNANSWERABLE)])
    table = accuracy(rows, logs(rows)).iloc[0]
    assert (table["runs"], table["answered"], table["all_coverage"]) == (4, 80, 40)
    assert table["bias"] == pytest.approx(5)
    assert table["bias_error"] == pytest.approx(100 * (5 / 3) ** 0.5 / 10 / 2)
    assert table["rmse"] == pytest.approx((1 + 1 + 0 + 4) ** 0.5 / 2 * 10)
    assert (table["coverage"], table["truth_above"], table["truth_below"]) == (50, 25, 25)
    assert table["width"] == pytest.approx((4 + 1.5 + 0.5 + 5) / 4 * 10)


def test_a_log_that_is_refused_as_a_whole_neither_answers_nor_covers() -> None:
    rows = values("uniform", [(10.0, 9.0, 11.0, NO_DIFFERENCE)] * 4)
    refused = pd.DataFrame({"cell": "visits", "replication": [4], "refused": ["too few users"]})
    table = accuracy(rows, pd.concat([logs(rows), refused])).iloc[0]
    assert (table["runs"], table["coverage"]) == (4, 100)
    assert (table["answered"], table["all_coverage"]) == pytest.approx((80, 80))


def test_estimators_are_compared_on_the_logs_that_the_headline_answers() -> None:
    head = values("uniform", [(10, 9, 11, NO_DIFFERENCE), (20, 9, 11, UNANSWERABLE)])
    rival = values("uniform", [(11, 9, 12, ""), (99, 9, 12, "")], estimator="ips_cap")
    table = accuracy(pd.concat([head, rival]), logs(head)).set_index("estimator")
    assert table.loc["ips_cap", "runs"] == 1
    assert table.loc["ips_cap", "rmse"] == pytest.approx(10)


def test_golden_claims_on_coverage() -> None:
    """Two policies; pooled over both, lowest of the two."""
    good, missed = (10, 9, 11, NO_DIFFERENCE), (8, 7, 9, WORSE)
    rows = tables(
        values("uniform", [good] * 95 + [missed] * 5),
        values("first_chance", [good] * 91 + [missed] * 9),
        values("logging", [missed] * RUN),  # no built-in policy
    )
    seen = claims(rows).set_index("claim")
    assert seen.loc["coverage, pooled over the built-in policies", "value"] == pytest.approx(93)
    assert seen.loc["coverage, pooled over the built-in policies", "holds"] == "no"
    assert seen.loc["lowest coverage of a built-in policy (first_chance)", "value"] == pytest.approx(91)
    assert seen.loc["largest relative bias that can be told (first_chance)", "value"] == pytest.approx(1.8)
    assert seen.loc["largest relative bias that can be told (first_chance)", "holds"] == "yes"
    assert (seen["runs"] == RUN).all()


def test_golden_claims_on_false_alarms() -> None:
    """A run counts once, however many policies it calls better; policies at another volume do not count."""
    calm, alarm = (10, 9, 11, NO_DIFFERENCE), (12, 11, 13, BETTER)
    equal = pd.DataFrame({"replication": range(RUN), "lift_low": [-1.0] * 94 + [0.5] * 6, "lift_high": 1.0})
    rows = tables(
        values("random_matched", [alarm] * 3 + [calm] * 97, "null"),
        values("xgb_greedy", [alarm] * 5 + [calm] * 95, "null"),
        values("first_chance", [alarm] * RUN, "null"),
        values("uniform", [alarm] * 8 + [calm] * 92, "null", "interests_per_contact"),
        intervals=equal.assign(cell="null", policy="logging", method="bootstrap"),
    )
    seen = claims(rows)
    assert seen["value"].tolist() == pytest.approx([5, 8, 94])
    assert seen["holds"].tolist() == ["yes", "no", "yes"]


def test_golden_claims_on_rivals() -> None:
    """A rival with a smaller error counts only where its intervals cover, whatever the policy."""
    near, far, lost = (10.5, 9, 12, ""), (11, 9, 12, ""), (10.1, 10.05, 10.2, "")
    rows = tables(
        values("first_chance", [far] * RUN),
        values("first_chance", [(40, 35, 45, "")] * RUN, estimator="dr_step"),
        values("first_chance", [near] * RUN, estimator="snips_cap"),
        values("first_chance", [lost] * RUN, estimator="ips_traj"),
        values("uniform", [far] * RUN),
        values("uniform", [near] * RUN, estimator="snips_cap"),
        values("uniform", [lost] * RUN, estimator="clipped_dr_cap"),
        values("first_chance", [(10.3, 9, 12, "")] * RUN, estimator="clipped_dr_cap"),
    )
    seen = claims(rows).set_index("claim")["value"]
    assert seen["RMSE of dr_cap ÷ dr_step, largest (first_chance)"] == pytest.approx(1 / 30)
    best = "RMSE of rivals that cover ≥ 92 % for every policy ÷ dr_cap, smallest (snips_cap, first_chance)"
    assert seen[best] == pytest.approx(0.5)
    alone = "RMSE of rivals that cover ≥ 92 % for one policy alone ÷ dr_cap, smallest (clipped_dr_cap, first_chance)"
    assert seen[alone] == pytest.approx(0.3)


def test_golden_claims_on_hidden_causes_and_flags() -> None:
    bounds = {"bound_low": [-1.0] * 96 + [1.0] * 4, "bound_high": 2.0, "unbounded_low": [1.0] * 60 + [-1.0] * 40}
    facts = pd.DataFrame({"replication": range(RUN), "unbounded_high": 2.0} | bounds)
    inside = facts.assign(unbounded_low=[1.0] * 44 + [-1.0] * 56)
    cell = "confounded_strong"
    runs = pd.DataFrame({"cell": cell, "replication": range(RUN), "flag_drift": 0.0})
    raised = [1.0] * 89 + [0.0] * 11 + [np.nan] * 20  # the last logs were not tested
    drifting = pd.DataFrame({"cell": "drift", "replication": range(RUN + 20), "flag_drift": raised})
    answer, none = (10, 9, 11, NO_DIFFERENCE), (10, 9, 11, UNANSWERABLE)
    rows = tables(
        values("uniform", [answer] * RUN, cell),
        values("first_chance", [answer] * RUN, cell),
        values("never", [answer] * RUN, cell),
        values("xgb_greedy", [none] * RUN, cell),
        policies=pd.concat(
            [
                facts.assign(cell=cell, policy="uniform", expected_contacts=5.0),
                inside.assign(cell=cell, policy="first_chance", expected_contacts=5.0),
                inside.assign(cell=cell, policy="never", expected_contacts=0.0),  # contacts nobody
                inside.assign(cell=cell, policy="xgb_greedy", expected_contacts=5.0),  # not answered
            ]
        ),
        runs=pd.concat([runs, drifting], ignore_index=True).assign(refused=None),
    )
    seen = claims(rows)
    assert seen["value"].tolist() == pytest.approx([96, 52, 44, 89, 0])
    assert seen["holds"].tolist() == ["yes", "yes", "no", "no", "yes"]
    assert (seen["runs"] == RUN).all()
    assert "for one policy alone, missed least (first_chance)" in seen["claim"].iloc[2]


def test_few_runs_tell_nothing() -> None:
    seen = claims(tables(values("uniform", [(10, 9, 11, NO_DIFFERENCE)] * (RUN - 1))))
    assert set(seen["holds"]) == {"too few runs"}


def test_golden_methods() -> None:
    ends = {"value_low": [9.0, 10.5], "value_high": [11.0, 12.0], "lift_low": [0.0, 0.1], "lift_high": [1.0, 0.3]}
    table = pd.DataFrame(ends).assign(
        cell="visits", policy="uniform", estimator="dr_cap", method="bootstrap", truth=10.0, true_lift=0.0
    )
    row = methods(table).iloc[0]
    assert row[["value_coverage", "lift_coverage", "value_width", "lift_width", "runs"]].tolist() == pytest.approx(
        [50, 50, 17.5, 6, 2]
    )


def test_a_limit_is_the_loosest_at_which_intervals_still_cover() -> None:
    """Estimates that rest on 4 interests miss, those on 8 or more do not."""
    cell = next(name for name in cells_of(False) if is_fitted_on(name) and cells_of(False)[name].holds)
    n = 1_000
    good, missed = (10, 9, 11, NO_DIFFERENCE), (8, 7, 9, NO_DIFFERENCE)
    rows = values("uniform", [good] * n + [missed] * n, cell)
    rests_on = [25.0, 17.0, 12.0, 8.0] * (n // 4) + [4.0] * n
    facts = pd.DataFrame(
        {"replication": range(2 * n), "expected_positives": rests_on, "effective_positives": rests_on}
    ).assign(cell=cell, policy="uniform", ess=150.0, max_weight_share=0.025, balance_z=0.0, imbalance=0.0)
    fitted = fit_rules(tables(rows, policies=facts))
    assert fitted.limits["expected_positives"] == 5  # the loosest that keeps out those on 4
    assert fitted.limits["effective_positives"] == 10  # nothing that is left speaks for another
    chosen = fitted.table[fitted.table["estimates"] == "chosen limits"].iloc[0]
    assert (chosen["fit_n"], chosen["fit_misses"]) == (n * 3 / 4, 0)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small study, done in one go."""
    out = tmp_path_factory.mktemp("studies") / "whole"
    assert main(["estimator_study", "--small", "--threads", "1", "--quiet", "--out", str(out)]) == 0
    return out


def test_the_small_study_runs(study: Path) -> None:
    files = {path.name for path in study.iterdir() if path.is_file()}
    assert files >= {"study.json", "accuracy.csv", "claims.csv", "verdict_rules.csv", "study.md", "coverage.png"}
    found = read(study / "accuracy.csv")
    assert set(found["cell"]) == {"visits", "null"}
    assert json.loads((study / "study.json").read_text())["seed"] == 0
    assert "estimator_study --small --seed 0 --out study" in (study / "study.md").read_text(encoding="utf-8")


def test_a_study_that_was_stopped_is_continued_to_the_same_tables(study: Path, tmp_path: Path) -> None:
    """In another order, with another number of processes, and stopped in between."""
    out = tmp_path / "parts"
    stopped = ["estimator_study", "--small", "--threads", "1", "--quiet", "--out", str(out), "--cells", "null"]
    assert main(stopped) == 0
    assert main(["estimator_study", "--quiet", "--threads", "2", "--max-minutes", "0", "--resume", str(out)]) == 0
    assert set(read(out / "accuracy.csv")["cell"]) == {"null"}
    wider = ["--resume", str(out), "--cells", "visits"]
    assert main(["estimator_study", "--quiet", "--threads", "2", *wider]) == 0
    for name in ("accuracy.csv", "claims.csv", "verdict_rules.csv"):
        assert (out / name).read_bytes() == (study / name).read_bytes(), name


def test_no_replication_is_run_or_read_twice_wherever_an_earlier_run_was_cut(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "cut"
    cut = ["estimator_study", "--small", "--threads", "1", "--quiet", "--cells", "null", "--replications", "1"]
    assert main([*cut, "--out", str(out)]) == 0
    assert main(["estimator_study", "--quiet", "--threads", "1", "--resume", str(out), "--replications", "2"]) == 0
    found = Store(out).read().values
    whole = Store(study).read().values
    pd.testing.assert_frame_equal(found, whole[whole["cell"] == "null"].reset_index(drop=True))


def test_units_are_what_is_missing_of_every_chunk() -> None:
    cell = replace(cells_of(True)["null"], n_users=20_000, replications=25)
    assert cell.chunk == 10
    units = parallel.units_of([cell], 22, True, 0, {"null": {0, 3, 4, 12, 13, 14, 15, 16, 17, 18, 19, 23}})
    assert [(unit.first, unit.last) for unit in units] == [(1, 3), (5, 10), (10, 12), (20, 22)]


def a_cut_study(tmp_path: Path) -> Path:
    """The small study without the second log of `visits`, begun by other code."""
    out = tmp_path / "begun"
    cut = ["estimator_study", "--small", "--threads", "1", "--quiet", "--cells", "visits", "--replications", "1"]
    assert main([*cut, "--out", str(out)]) == 0
    asked = json.loads((out / "study.json").read_text())
    (out / "study.json").write_text(json.dumps(asked | {"code": "another"}))
    return out


def test_other_code_goes_on_with_a_study_if_it_gives_the_same_numbers(study: Path, tmp_path: Path) -> None:
    out = a_cut_study(tmp_path)
    assert main(["estimator_study", "--quiet", "--threads", "1", "--resume", str(out), "--replications", "2"]) == 0
    whole = Store(study).read().values
    pd.testing.assert_frame_equal(Store(out).read().values, whole[whole["cell"] == "visits"].reset_index(drop=True))
    asked = json.loads((out / "study.json").read_text())
    assert [own["code"] for own in asked["earlier"]] == ["another"]
    assert asked["code"] == json.loads((study / "study.json").read_text())["code"]
    assert "the same numbers for two logs of every cell" in (out / "study.md").read_text(encoding="utf-8")


def test_a_study_with_other_numbers_is_not_continued(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = a_cut_study(tmp_path)
    store = Store(out)
    stored = store.read()
    values = stored.values.copy()
    values.loc[3, "value"] *= 1.001
    shutil.rmtree(out / "replications" / "visits-00000-00001")
    store.keep("visits", 0, 1, replace(stored, values=values))
    assert main(["estimator_study", "--quiet", "--threads", "1", "--resume", str(out), "--replications", "2"]) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert "other code" in told and "log 0 of visits: value in row 4 of values" in told
    assert store.done("visits") == {0}
    assert json.loads((out / "study.json").read_text())["code"] == "another"


def test_finished_cells_are_compared_too_and_nothing_of_refused_code_is_stored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = a_cut_study(tmp_path)
    store = Store(out)
    stored = store.read()
    shutil.rmtree(out / "replications" / "visits-00000-00001")
    store.keep("visits", 0, 1, replace(stored, values=stored.values.assign(value=1.5 * stored.values["value"])))
    before = (out / "study.json").read_bytes()
    resumed = ["estimator_study", "--quiet", "--threads", "1", "--resume", str(out), "--cells", "null"]
    assert main(resumed) == 2
    assert "in log 0 of visits" in " ".join(capsys.readouterr().err.split())
    assert (out / "study.json").read_bytes() == before
    assert not (out / "truth" / "null.json").exists()


def test_a_difference_between_logs_is_told_in_words(study: Path) -> None:
    found = Store(study).read()
    assert difference(found, found) is None
    fewer = replace(found, policies=found.policies[1:])
    assert difference(found, fewer) == f"{len(found.policies) - 1} rows of policies instead of {len(found.policies)}"
    other = found.values.assign(verdict="better")
    assert str(difference(found, replace(found, values=other))).startswith("verdict in row 1 of values is better")
    without = found.values.drop(columns="ci_low")
    assert "ci_low" in str(difference(found, replace(found, values=without)))
    assert "ci_low" in str(difference(replace(found, values=without), found))
    unsaid = found.values.assign(verdict=np.nan)
    assert "verdict" in str(difference(found, replace(found, values=unsaid)))
    slower = replace(found, runs=found.runs.assign(seconds=1e6))
    assert difference(found, slower) is None


def test_what_decides_a_replication_is_noted_with_its_cell() -> None:
    cell = cells_of(True)["visits"]
    assert cell.describe()["world"] == "Visits(cap_days=14.0, days=52, visit_rate=0.36, contact_odds=-2.3)"
    assert replace(cell, world=Visits(visit_rate=0.4)).describe() != cell.describe()


def test_a_failure_names_its_log(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("by chance")

    monkeypatch.setattr(parallel, "replicate", fail)
    unit = parallel.Unit("visits", small=True, first=4, last=5, seed=7, fixed=WorldTruth({}, None))
    with pytest.raises(parallel.StudyError, match="Cell visits, replication 4, seed 7: ZeroDivisionError: by chance"):
        parallel.run_unit(unit)


def test_what_cannot_be_run_is_refused(study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown cell, a directory without a study, another seed than the study's."""
    wrong = (
        ["--cells", "moon", "--out", str(tmp_path / "a")],
        ["--resume", str(tmp_path)],
        ["--resume", str(study), "--seed", "1"],
    )
    for arguments in wrong:
        assert main(["estimator_study", "--small", *arguments]) == 2
    told = capsys.readouterr().err
    assert "moon" in told
    assert "study.json" in told
    assert "--seed 0" in told
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("given", "units", "said"),
    [
        ([], 1, ""),
        (["--replications", "1"], 1, "All of it was asked for before."),
        (["--cells", "null"], 2, "More than was asked for before: also null."),
        (["--cells", "null", "--replications", "2"], 4, "also null and up to 2 logs in each"),
    ],
)
def test_a_study_goes_on_with_what_was_asked_before_and_options_add_to_it(
    given: list[str], units: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And where no time was left for any log, it says how to go on."""
    out, nothing = tmp_path / "asked", ["estimator_study", "--quiet", "--threads", "1", "--max-minutes", "0"]
    assert main([*nothing, "--small", "--cells", "visits", "--replications", "1", "--out", str(out)]) == 0
    assert f"No log was finished; to be continued with --resume {out}" in capsys.readouterr().out
    for arguments in (given, []):  # what was added is remembered, too
        assert main([*nothing, "--resume", str(out), *arguments]) == 0
        plan = capsys.readouterr().out.splitlines()[0]
        assert plan.startswith(f"Evaluating {units} log")
        assert (said if arguments else "1 process.") in plan


@pytest.mark.parametrize("content", [b"{", b"[1]", b"{}", b"\xff"])
def test_a_damaged_description_of_a_study_is_named(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "study.json").write_bytes(content)
    assert main(["estimator_study", "--resume", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert f"{tmp_path / 'study.json'} is damaged" in told
    assert "--out" in told


def test_a_damaged_table_of_a_study_is_named_and_its_logs_can_be_run_again(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "damaged"
    shutil.copytree(study, out)
    damaged = next((out / "replications").glob("null-*")) / "values.parquet"
    damaged.write_bytes(damaged.read_bytes()[:100])
    again = ["estimator_study", "--quiet", "--threads", "1", "--resume", str(out)]
    assert main(again) == 2
    assert f"{damaged} is damaged; delete the folder {damaged.parent}" in capsys.readouterr().err
    shutil.rmtree(damaged.parent)
    assert main(again) == 0
    assert (out / "accuracy.csv").read_bytes() == (study / "accuracy.csv").read_bytes()


def test_a_damaged_truth_of_a_study_is_named(tmp_path: Path) -> None:
    (tmp_path / "truth").mkdir()
    (tmp_path / "truth" / "null.json").write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match=r"null\.json is damaged; delete it"):
        Store(tmp_path).truth("null")


def test_only_options_that_were_given_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = Store.new(tmp_path / "whole", 0, small=False).directory
    for given, said in (
        (["--seed", "5"], "is a study with --seed 0; leave out --seed."),
        (["--small"], "is a study without --small; leave out --small."),
        (["--seed", "5", "--small"], "is a study with --seed 0 and without --small; leave out --seed and --small."),
    ):
        assert main(["estimator_study", "--resume", str(whole), *given]) == 2
        assert said in capsys.readouterr().err


def test_what_somebody_put_beside_the_logs_does_no_harm(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "visited"
    shutil.copytree(study, out)
    (out / "replications" / "notes").mkdir()
    (out / "replications" / ".null-00000-00001").mkdir()  # what a killed process left
    pd.testing.assert_frame_equal(Store(out).read().values, Store(study).read().values)
    assert Store(out).done("null") == Store(study).done("null")

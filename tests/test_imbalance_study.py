"""`imbalance_study`: its scores by hand, what it undoes of a model, what it recommends, and that it runs."""

from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest

from engagex_sim.crossfit import fit
from engagex_sim.dependence import Carried
from engagex_sim.errors import InputError
from engagex_sim.models.calibrate import Calibration
from engagex_sim.models.learned import Learned
from engagex_sim.ope.verdict import BETTER, UNANSWERABLE
from engagex_sim.result import HEADLINE
from engagex_sim.settings import Imbalance, Settings
from engagex_sim.states import NO_STATE
from engagex_sim.timeline import Timeline
from engagex_sim.worlds import WORLDS, frames, logged_decisions, visible
from experiments.imbalance.measure import AS_TRAINED, COLUMNS, HELD_OUT, LIFT, RECALIBRATED, Task, uncalibrated
from experiments.imbalance.sentences import INTERESTS, answer, recommendation, sentences
from experiments.imbalance.summary import Found, summarised
from experiments.imbalance_study import OWN_LOG, STRATEGIES, left_out
from experiments.run import main


def rows(*found: tuple[object, ...], log: str = "visits") -> pd.DataFrame:
    """One row per (repeat, strategy, stage, subject, measure, value, truth) of one log."""
    names = ["repeat", "strategy", "stage", "subject", "measure", "value", "truth"]
    return pd.DataFrame(found, columns=names).assign(log=log, verdict=None).reindex(columns=COLUMNS)


def interests(values: dict[str, list[float]]) -> Found:
    """What each strategy's policy truly earns per contact, by repeat."""
    key = (RECALIBRATED, "xgb_greedy", INTERESTS)
    own = [(r, s, *key, value, np.nan) for s, each in values.items() for r, value in enumerate(each)]
    return Found(summarised(rows(*own)))


def test_golden_summary() -> None:
    """Differences are paired: the spread over logs, common to all strategies, is not in their error."""
    key = (RECALIBRATED, "uniform", "dr_cap")
    found = Found(
        summarised(
            rows(
                (0, "none", *key, 9.0, 10.0),
                (1, "none", *key, 13.0, 10.0),
                (0, "smote", *key, 10.0, 10.0),
                (1, "smote", *key, 16.0, 10.0),
                (0, "smote", AS_TRAINED, *key[1:], 30.0, 10.0),
            )
        )
    )
    assert found("visits", "none", *key) == 11.0
    assert found("visits", "none", *key, "error") == pytest.approx(2.0)
    assert found("visits", "none", *key, "bias") == pytest.approx(10.0)
    assert found("visits", "none", *key, "rmse") == pytest.approx(100 * np.sqrt((1 + 9) / 2) / 10)
    assert found("visits", "smote", *key, "difference") == 2.0
    assert found("visits", "smote", *key, "difference_error") == pytest.approx(1.0)
    assert found("visits", "smote", AS_TRAINED, *key[1:], "difference") == 21.0
    assert np.isnan(found("visits", "smote", AS_TRAINED, *key[1:], "error"))
    assert np.isnan(found("visits", "both", *key))


def test_it_recommends_what_is_better_beyond_chance_and_by_enough() -> None:
    base = [30.0, 32.0, 28.0, 31.0]
    better = interests({"none": base, "smote": [34.0, 36.1, 31.9, 35.0], "both": base})
    assert recommendation(better).startswith("Recommendation: try smote on visits")
    noisy = interests({"none": base, "smote": [44.0, 30.0, 22.0, 40.0]})
    assert recommendation(noisy).startswith("Recommendation: keep --imbalance none.")
    tiny = interests({"none": base, "smote": [30.01, 32.01, 28.01, 31.01]})
    assert recommendation(tiny).startswith("Recommendation: keep --imbalance none.")
    worse = interests({"none": base, "smote": [26.0, 28.1, 24.0, 27.0]})
    assert "Worse: smote on visits." in recommendation(worse)


def test_one_repeat_recommends_nothing_since_it_has_no_standard_error() -> None:
    once = interests({"none": [30.0], "smote": [90.0]})
    assert recommendation(once).startswith("No recommendation follows from one repeat: whether a difference is more")
    told = sentences(once)
    assert any("against that: smote on visits +200.0 %." in sentence for sentence in told)
    assert not any("standard error" in sentence or "more than chance and" in sentence for sentence in told)


def test_one_other_strategy_is_told_once() -> None:
    key = (RECALIBRATED, HELD_OUT)
    numbers = {"log_loss": (0.5, 0.503), "roc_auc": (0.6, 0.594)}
    own = [
        (0, s, *key, name, pair[i], np.nan) for i, s in enumerate(["none", "smote"]) for name, pair in numbers.items()
    ]
    told = sentences(Found(summarised(rows(*own, log=OWN_LOG))))
    assert "less is better), on one split: smote +0.6 %." in told[0]
    assert told[1] == "Ranking: with none, held-out ROC AUC is 0.600 on your log; smote changes it by −0.006."


def test_splits_of_one_log_have_a_mean_and_a_range_and_no_error_or_recommendation() -> None:
    """However even the gain of every split: the splits share their rows."""
    key = (RECALIBRATED, HELD_OUT, "log_loss")
    losses = {"none": [0.40, 0.50, 0.60], "smote": [0.36, 0.45, 0.54]}
    own = [(r, s, *key, value, np.nan) for s, each in losses.items() for r, value in enumerate(each)]
    found = Found(summarised(rows(*own, log=OWN_LOG)))
    for column in ("error", "difference_error"):
        assert np.isnan(found(OWN_LOG, "smote", *key, column))
    assert (found(OWN_LOG, "smote", *key, "least"), found(OWN_LOG, "smote", *key, "greatest")) == (0.36, 0.54)
    told = sentences(found)
    assert not any(sentence.startswith("Recommendation") or "better by" in sentence for sentence in told)
    assert told[0] == (
        "No recommendation follows from your log alone: each repeat splits the same rows anew, so whether a difference"
        " is more than chance cannot be told. Held-out log loss against none (less is better), mean and range over 3"
        " splits: smote −10.0 % (−12.0 … −8.0 %). Whoever resamples or weighs must recalibrate, as every run does."
    )


def estimated(lifts: list[tuple[float, str]], stage: str = RECALIBRATED) -> pd.DataFrame:
    """A lift with ± 5 as its interval, and its verdict, by repeat of one's own log."""
    place = {"log": OWN_LOG, "strategy": "none", "stage": stage, "subject": "xgb_greedy"}
    own = [
        {**place, "repeat": repeat, **row}
        for repeat, (lift, verdict) in enumerate(lifts)
        for row in (
            {"measure": HEADLINE, "value": 1.0, "verdict": verdict},
            {"measure": LIFT, "value": lift, "low": lift - 5, "high": lift + 5},
        )
    ]
    return pd.DataFrame(own).reindex(columns=COLUMNS)


def test_a_change_is_told_from_the_repeats_that_answer_and_from_no_other() -> None:
    key = (OWN_LOG, "none", RECALIBRATED, "xgb_greedy")
    some = pd.concat(
        [
            estimated([(10.0, BETTER), (900.0, UNANSWERABLE), (20.0, BETTER)]),
            estimated([(30.0, BETTER), (40.0, BETTER), (50.0, BETTER)], AS_TRAINED),  # the refusal is not of this stage
        ]
    )
    found = Found(summarised(some))
    assert answer(found, *key[:2], RECALIBRATED, key[3]) == "+15 % (+10 … +20 %), better (answered in 2 of 3 repeats)"
    assert answer(found, *key[:2], AS_TRAINED, key[3]) == "+40 % (+35 … +45 %), better"
    none = Found(summarised(estimated([(900.0, UNANSWERABLE), (800.0, UNANSWERABLE)])))
    assert answer(none, *key) == UNANSWERABLE
    assert np.isnan(none(*key, LIFT))


@pytest.fixture(scope="module")
def learned() -> tuple[Learned, Timeline]:
    log = visible(logged_decisions(WORLDS["seed_like"], 3_000, np.random.default_rng(0)))
    timeline = Timeline.of(log, WORLDS["seed_like"].cap)
    everybody, carry = np.ones(timeline.n_users, dtype=np.bool_), Carried(NO_STATE, NO_STATE)
    settings = Settings(grid="light", imbalance="smote")
    models = fit(timeline, everybody, [], settings, seed=0, cap_modelled=True, carry=carry)
    return models, timeline.contacts()


def test_undoing_the_recalibration_gives_the_trees_own_probabilities(learned: tuple[Learned, Timeline]) -> None:
    models, contacts = learned
    raw = uncalibrated(models)
    context, booster = contacts.free_context(), models.reward_model.booster
    assert booster is not None
    own = booster.inplace_predict(models.reward_model.encoder.transform(context))
    predicted, before = (m.reward_model.predict(contacts.free_context())[:, 0] for m in (models, raw))
    np.testing.assert_allclose(before, own, rtol=1e-5)
    assert before.mean() > 4 * predicted.mean()
    for border, moved in zip(
        [models.reward_model.threshold, *models.score_edges],
        [raw.reward_model.threshold, *raw.score_edges],
        strict=True,
    ):
        assert abs((predicted >= border).mean() - (before >= moved).mean()) < 0.01


def test_what_learned_nothing_stays_as_it_is(learned: tuple[Learned, Timeline]) -> None:
    model = learned[0].reward_model
    for flat in (replace(model, booster=None), replace(model, calibration=Calibration(-3.0, 0.0))):
        unlearned = replace(learned[0], reward_model=flat)
        assert uncalibrated(unlearned) is unlearned


def test_every_strategy_of_the_settings_is_compared() -> None:
    assert get_args(Imbalance) == STRATEGIES


def test_logs_with_too_few_interests_are_named_and_refused_where_there_is_no_other() -> None:
    tasks = [Task(log, repeat, Settings()) for log in ("visits", "null") for repeat in range(2)]
    some, none = rows((0, "none", AS_TRAINED, HELD_OUT, "roc_auc", 0.5, np.nan)), pd.DataFrame(columns=COLUMNS)
    said = left_out(tasks, [some, some, none, some], repeats=2)
    assert len(said) == 1 and said[0].startswith("On null nothing could be compared in 1 of 2 repeats, which count")
    assert left_out(tasks, [some, some, none, none], repeats=2)[0].startswith(
        "On null nothing could be compared: there"
    )
    with pytest.raises(InputError, match="On visits and null nothing could be compared: there"):
        left_out(tasks, [none] * 4, repeats=2)


def test_a_log_without_interests_is_refused_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = ("--small", "--worlds", "visits", "--n-users", "30", "--repeats", "1", "--strategies", "none,smote")
    assert main(["imbalance_study", *few, "--threads", "1", "--quiet", "--out", str(tmp_path / "out")]) == 2
    assert "On visits nothing could be compared: there are too few interests" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


OPTIONS = ("--grid", "light", "--quiet", "--threads", "1", "--repeats", "2")


def study(out: Path, *arguments: object) -> Path:
    assert main(["imbalance_study", *OPTIONS, "--out", str(out), *map(str, arguments)]) == 0
    return out


def read(path: Path) -> pd.DataFrame:
    """A table whose log `null` is a name."""
    return pd.read_csv(path, keep_default_na=False, na_values=[""])


def test_it_compares_strategies_in_worlds_and_the_same_seed_gives_the_same_files(tmp_path: Path) -> None:
    small = ("--small", "--worlds", "null", "--n-users", 700, "--strategies", "scale_pos_weight")
    first, again = (study(tmp_path / name, *small) for name in ("first", "again"))
    assert {path.name for path in first.iterdir()} == {"imbalance.csv", "logs.csv", "imbalance.png", "imbalance.md"}
    for path in first.iterdir():
        assert path.read_bytes() == (again / path.name).read_bytes(), path.name
    table = read(first / "logs.csv")
    assert set(table["strategy"]) == {"none", "scale_pos_weight"}  # with what the others are compared to
    assert set(table["stage"]) == {AS_TRAINED, RECALIBRATED}
    per_contact = table[table["measure"] == INTERESTS]["value"].dropna()
    np.testing.assert_allclose(per_contact, 0.03, rtol=1e-6)  # in `null` whoever is contacted
    told = table.set_index(["strategy", "stage", "measure"])["value"]
    raw = told.loc["scale_pos_weight", AS_TRAINED, "predicted_per_interest"].mean()
    assert raw > 4 > 1.5 > told.loc["scale_pos_weight", RECALIBRATED, "predicted_per_interest"].mean()
    page = (first / "imbalance.md").read_text()
    assert page.startswith("# What to do about few interests\n\n* Recommendation: keep --imbalance none.")
    assert "imbalance_study --grid light --quiet" in page and "--out" not in page


def test_of_a_log_of_ones_own_there_are_metrics_and_verdicts_and_no_truth(tmp_path: Path) -> None:
    for name, table in zip(("triggers", "actions"), frames(WORLDS["visits"], 1_500, 3), strict=True):
        table.to_csv(tmp_path / f"{name}.csv", index=False)
    files = ("--triggers", tmp_path / "triggers.csv", "--actions", tmp_path / "actions.csv", "--no-cache")
    out = study(tmp_path / "out", *files, "--strategies", "none,smote,augment")
    table = read(out / "logs.csv")
    assert table["truth"].isna().all() and not table["measure"].str.startswith("true_").any()
    assert table.loc[table["measure"] == "dr_cap", "verdict"].notna().all()
    assert table.groupby(["strategy", "measure"])["value"].nunique().loc["none", "roc_auc"] > 1  # split anew
    told = table[table["measure"] == "predicted_per_interest"].groupby(["strategy", "stage"])["value"].mean()
    for balanced in ("smote", "augment"):
        assert told[balanced, AS_TRAINED] > 4 > 1.5 > told[balanced, RECALIBRATED]
    assert told["none", AS_TRAINED] < 1.5
    summary = read(out / "imbalance.csv")
    assert summary[["error", "difference_error"]].isna().all(axis=None)
    assert any("xgb_greedy, with as many contacts as now" in s for s in sentences(Found(summary)))
    page = (out / "imbalance.md").read_text()
    assert (
        "* No recommendation follows from your log alone" in page and "standard error" not in page and "±" not in page
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--worlds", "mars"], "--worlds has no 'mars'; there are: visits, null,"),
        (["--strategies", "none,luck"], "--strategies has no 'luck'; there are: none, scale_pos_weight,"),
        (["--strategies", ","], "--strategies names nothing"),
        (["--repeats", "0"], "--repeats and --n-users are at least 1."),
        (["--grid", "huge"], "The grid is one of light, small, full, or a JSON or TOML file"),
        (["--triggers", "t.csv"], "--actions is missing"),
        (["--n-users", "500", "--triggers", "t.csv", "--actions", "a.csv"], "--n-users is about a synthetic world;"),
        (["--worlds", "visits", "--triggers", "t.csv", "--actions", "a.csv"], "two studies; give one of them"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_sentence(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["imbalance_study", *arguments]) == 2
    told = capsys.readouterr().err
    assert sentence in told and told.count("\n") == 1

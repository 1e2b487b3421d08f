"""The A/B test that would confirm a lift: its size by hand, its power where it is carried out, and the command."""

import math
import tomllib
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from engagex_sim.ab_test import Design, Outcome, arms, power_of, smallest_lift, time_needed, users_needed
from engagex_sim.errors import InputError
from engagex_sim.policy import Context
from engagex_sim.training import Training
from engagex_sim.worlds import WORLDS, frames
from experiments import ab_check
from experiments.ab_check import check
from experiments.ab_figure import power_figure
from experiments.ab_plan import Situation, plan, sentences
from experiments.run import main
from policies import REGISTRY

EVEN = Design()
RARE = Outcome(0.03, 0.0291)  # 3 % of the users interested once: the variance is 0.03 · 0.97


def test_the_size_by_hand() -> None:
    """+20 % of 0.03 with z = 1.9600 + 0.8416: 2.8016² · (0.03492 + 0.0291) / 0.006² = 13,958 in each arm."""
    assert users_needed(RARE, 0.2, EVEN) / 2 == pytest.approx(2.801585**2 * (0.03492 + 0.0291) / 0.006**2, rel=1e-5)
    assert arms(users_needed(RARE, 0.2, EVEN), EVEN) == (13_958, 13_958)
    assert arms(1000.2, Design(control_share=0.1)) == (101, 901)
    assert math.isinf(users_needed(RARE, 0.0, EVEN))


def test_the_power_of_no_difference_is_alpha() -> None:
    assert power_of(RARE, RARE, 100, 900, Design(alpha=0.1)) == pytest.approx(0.1)


@given(
    st.floats(0.001, 3),
    st.floats(0.5, 4),
    st.floats(-0.9, 2).filter(lambda lift: abs(lift) > 0.01),
    st.sampled_from([0.1, 0.5, 0.8]),
    st.sampled_from([0.6, 0.8, 0.95]),
)
def test_what_is_planned_has_the_power_that_was_asked_for(
    mean: float, dispersion: float, lift: float, share: float, power: float
) -> None:
    design, control = Design(share, power), Outcome(mean, mean * dispersion)
    users = users_needed(control, lift, design)

    def reached(factor: float, wanted: float, number: float) -> float:
        own = control.scaled(factor)
        return power_of(own, own.scaled(1 + wanted), share * number, (1 - share) * number, design)

    assert reached(1, lift, users) == pytest.approx(power, abs=1e-3)
    number = math.ceil(users)
    assert reached(time_needed(control, lift, number, design), lift, number) == pytest.approx(power, abs=1e-3)
    least = smallest_lift(control, number, design)
    if math.isfinite(least):  # a few users who differ much show no increase, however large
        assert reached(1, least, number) == pytest.approx(power, abs=1e-3)
    else:
        assert reached(1, 1_000, number) < power


def test_twice_the_time_is_worth_less_than_twice_the_users_where_users_differ() -> None:
    mixed = Outcome(0.5, 1.5)
    assert mixed.scaled(2) == Outcome(1.0, 1.0 + 4 * 1.0)  # m + κ m², κ = 4
    assert RARE.scaled(2) == Outcome(0.06, 0.0582)
    users = round(users_needed(mixed, 0.1, EVEN))
    assert time_needed(mixed, 0.1, users // 2, EVEN) > 2.5
    assert math.isinf(time_needed(mixed, 0.1, users // 20, EVEN))
    rare = round(users_needed(RARE, 0.1, EVEN))
    assert time_needed(RARE, 0.1, rare // 2, EVEN) == pytest.approx(2, rel=1e-3)


def test_tests_of_interests_that_most_users_lack_reject_as_often_as_promised() -> None:
    """Rates from a gamma distribution, so that 9 of 10 users have no interest: 4,000 tests, within 2 points."""
    rng, shape, mean, lift = np.random.default_rng(0), 0.05, 0.3, 0.4
    control = Outcome(mean, mean + mean**2 / shape)
    n = arms(users_needed(control, lift, EVEN), EVEN)
    p = shape / (shape + mean * np.array([1, 1 + lift]))
    assert rng.negative_binomial(shape, p[0], 10_000).astype(bool).mean() < 0.1
    rejected = 0
    for _ in range(4_000):
        own, other = (rng.negative_binomial(shape, p[arm], n[arm]) for arm in range(2))
        error = math.sqrt(own.var(ddof=1) / n[0] + other.var(ddof=1) / n[1])
        rejected += abs(other.mean() - own.mean()) > 1.959964 * error
    assert abs(rejected / 4_000 - 0.8) < 0.02


def test_tests_in_a_world_reject_as_often_as_promised() -> None:
    """A few, so that they fit in a test: within three standard errors. `ab_plan --check` carries out 2,000."""
    design = Design(power=0.5)
    found = check(WORLDS["visits"], REGISTRY["first_chance"](), 25, 20_000, design, 1, lambda *_: None)
    assert found.lift == pytest.approx(0.81, abs=0.1)
    assert found.promised == pytest.approx(0.5, abs=1e-3)
    assert abs(found.rejected - found.promised) < 3 * found.error


def test_a_policy_learns_for_the_period_that_it_is_tested_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not for as long again as that after the log's end."""
    told = []

    class Asks:
        name = "asks"

        def fit(self, training: Training) -> "Asks":
            told.append((training.ends, training.timeline.log_end))
            raise InputError("That is all.")

        def action_probabilities(self, context: Context) -> Any:
            raise NotImplementedError

    monkeypatch.setattr(ab_check, "LEARNERS", 300)
    with pytest.raises(InputError, match="That is all"):
        check(WORLDS["visits"], Asks(), 1, 300, EVEN, 1, lambda *_: None)
    ((ends, log_end),) = told
    assert ends == log_end


def test_a_plan_says_what_is_possible_and_what_is_not() -> None:
    needed = users_needed(RARE, 0.2, EVEN)
    enough, few = (Situation(RARE, math.ceil(users), 30, 14) for users in (needed * 1.2, needed / 3))
    table = plan(enough, {"estimate": 0.2, "lower end": 0.0}, EVEN).set_index(["scenario", "way"])
    assert table.loc[("estimate", "as few users"), "possible"]
    assert table.loc[("estimate", "as few users"), "users_control"] == math.ceil(needed / 2)
    assert table.loc[("estimate", "as few days"), "days"] == 25  # 30 / 1.2, since users hardly differ
    assert table.loc[("lower end", "as few users"), "reason"].startswith("the interval holds no difference")
    assert 0 < table.loc[("smallest lift", "all users and days"), "lift_percent"] < 20
    assert plan(Situation(RARE, 10**6, 30, 14), {"estimate": 0.2}, EVEN)["days"].iloc[1] == 14  # never below the cap
    table = plan(few, {"estimate": 0.01}, EVEN).set_index("way")
    assert "would take more than 100 times the period" in table.loc["as few days", "reason"]
    table = plan(few, {"estimate": 0.2}, EVEN).set_index("way")
    assert not table.loc["as few users", "possible"]
    assert table.loc["as few days", ["days", "possible"]].tolist() == [90, True]
    limited = plan(Situation(RARE, few.users, 30, 14, no_longer=True), {"estimate": 0.2}, EVEN).set_index("way")
    assert limited.loc["as few days", "reason"] == "there are 30 days only"


def test_where_the_cap_decides_and_not_the_power_the_plan_says_so() -> None:
    """1,000,000 users would show +20 % in a day; with few of them the power decides."""
    table = plan(Situation(RARE, 10**6, 30, 14), {"estimate": 0.2}, EVEN)
    assert table["cap_decides"].tolist() == [False, True, False]
    _, said, _ = sentences(table, Situation(RARE, 10**6, 30, 14), EVEN)
    assert "would find it sooner than in the cap's 14 days, but a test of them is never planned shorter" in said
    assert said.endswith("it takes 14 days (power 100 %).")
    few = Situation(RARE, 20_000, 30, 14)
    table = plan(few, {"estimate": 0.2}, EVEN)
    assert not table["cap_decides"].any()
    assert "all 20,000 users together need 42 days (power 80 %)." in sentences(table, few, EVEN)[1]


def test_an_estimate_of_no_difference_is_not_an_interval() -> None:
    table = plan(Situation(RARE, 1_000, 30, 14), {"estimate": 0.0, "lower end": 0.0}, EVEN).set_index("scenario")
    assert table.loc["estimate", "reason"].unique() == ["there is no difference at all, which no test can confirm"]
    assert table.loc["lower end", "reason"].str.startswith("the interval holds no difference").all()


def test_a_test_shorter_than_the_cap_is_planned_as_asked_with_what_it_takes_for_granted() -> None:
    short = Situation(RARE.scaled(7 / 30), 100_000, 7, 14, no_longer=True)
    _, warned, said, _ = sentences(plan(short, {"asked for": 0.33}, EVEN), short, EVEN)
    assert warned.startswith("7 days are less than the cap's 14: many users are blocked by earlier contacts")
    assert "in control for 7 days; all 100,000 users together would find it sooner" in said
    assert said.endswith("it takes 14 days (power 99.9 %), but there are 7 days only.")
    assert "need" not in said


def test_the_figure_marks_the_plans_on_their_curves() -> None:
    situation = Situation(RARE, 20_000, 30, 14)
    figure = power_figure(plan(situation, {"estimate": 0.3, "lower end": 0.1}, EVEN), RARE, 20_000, 30, EVEN)
    (ax,) = figure.axes
    dots = [line.get_xydata()[0] for line in ax.lines if line.get_marker() == "o"]
    curves = [line for line in ax.lines if len(line.get_xdata()) > 100]
    assert len(dots) == len(curves) == 3
    for (users, power), curve in zip(dots, curves, strict=True):
        assert power == pytest.approx(80, abs=0.1)
        assert np.interp(users, *curve.get_xydata().T) == pytest.approx(power, abs=0.2)


def test_no_curve_of_the_figure_hides_another_and_its_axis_has_labels() -> None:
    """The estimate for `never`, −100 %, is the end of its interval too; without a lift the axis is short."""
    situation = Situation(RARE, 600, 30, 14)
    for lifts, curves in (({"estimate": -1.0, "lower end": -1.0}, 2), ({}, 1)):
        (ax,) = (figure := power_figure(plan(situation, lifts, EVEN), RARE, 600, 30, EVEN)).axes
        assert len([line for line in ax.lines if len(line.get_xdata()) > 100]) == curves
        (legend,) = figure.legends
        said = [text.get_text() for text in legend.get_texts()]
        assert len(said) == curves + 1  # and the users there are
        assert not lifts or said[0].startswith("−100 %, the estimate and the end of its interval: ")
        shown = [place for place in ax.get_xticks() if ax.get_xlim()[0] <= place <= ax.get_xlim()[1]]
        assert len(shown) >= 3


# --- the command


def a_run(folder: Path, **changed: object) -> Path:
    """What ab_plan reads of a run's directory: one policy, +30 % (+10 % … +50 %)."""
    folder.mkdir()
    row = {
        "policy": "clever", "estimator": "dr_cap", "metric": "interests_per_user", "verdict": "better", "reason": "",
        "lift_percent": 30.0, "lift_percent_low": 10.0, "lift_percent_high": 50.0,
    }  # fmt: skip
    pd.DataFrame([row | changed]).to_csv(folder / "summary.csv", index=False)
    log = {"n_users": 20_000, "n_interests": 600, "interest_variance": 0.0291, "cap_days": 14.0}
    times = {"evaluation_start": datetime(2024, 5, 15), "log_end": datetime(2024, 6, 14)}
    (folder / "config.toml").write_text(tomli_w.dumps({"log": log | times}))
    return folder


def test_a_finished_run_is_planned_for_at_its_estimate_and_at_the_lower_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = a_run(tmp_path / "run")
    assert main(["ab_plan", "--run", str(run), "--out", str(tmp_path / "out"), "--quiet"]) == 0
    table = pd.read_csv(tmp_path / "out" / "ab_plan.csv").set_index(["scenario", "way"])
    assert table.loc[("estimate", "as few users"), "users_control"] == arms(users_needed(RARE, 0.3, EVEN), EVEN)[0]
    assert table.loc[("lower end", "as few users"), "lift_percent"] == 10
    assert table.loc[("lower end", "as few users"), "users_control"] > 5 * 9_000
    assert (tmp_path / "out" / "power.png").read_bytes().startswith(b"\x89PNG")
    said = capsys.readouterr().out
    assert "At the estimate, +30 %" in said
    assert "interval nearest to 0, +10 %" in said


def test_an_interval_around_nothing_and_a_refused_answer_have_no_plan(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    around = a_run(tmp_path / "around", verdict="no difference shown", lift_percent_low=-5.0)
    assert main(["ab_plan", "--run", str(around), "--out", str(tmp_path / "a"), "--quiet"]) == 0
    assert "the interval holds no difference at all, which no test can confirm" in capsys.readouterr().out
    refused = a_run(tmp_path / "refused", verdict="cannot be answered from this log", reason="too few contacts")
    assert main(["ab_plan", "--run", str(refused), "--out", str(tmp_path / "r"), "--quiet"]) == 0
    said = capsys.readouterr().out
    assert "WARNING" in said
    assert "too few contacts" in said
    table = pd.read_csv(tmp_path / "r" / "ab_plan.csv")
    assert table["scenario"].tolist() == ["smallest lift"]


def test_a_lift_is_planned_for_on_a_log_and_on_a_run_of_it(tmp_path: Path) -> None:
    triggers, actions = frames(WORLDS["visits"], 800, seed=1)
    triggers.to_csv(tmp_path / "triggers.csv", index=False)
    actions.to_csv(tmp_path / "actions.csv", index=False)
    log = ["--triggers", str(tmp_path / "triggers.csv"), "--actions", str(tmp_path / "actions.csv")]
    out = tmp_path / "out"
    assert main(["ab_plan", "--lift", "50", *log, "--control", "0.2", "--out", str(out), "--quiet"]) == 0
    few = pd.read_csv(out / "ab_plan.csv").iloc[0]
    late = actions[
        pd.to_datetime(actions["date"]) >= pd.to_datetime(triggers["date"]).min().normalize() + pd.Timedelta(days=14)
    ]
    per_user = late.groupby("guid")["result"].sum().reindex(triggers["guid"].unique(), fill_value=0)
    control = Outcome(per_user.mean(), per_user.var(ddof=0))
    design = Design(control_share=0.2)
    assert few["users_control"] == arms(users_needed(control, 0.5, design), design)[0]
    run, again = tmp_path / "run", tmp_path / "again"
    light = ["--folds", "2", "--n-boot", "50", "--grid", "light", "--threads", "1", "--quiet"]
    assert main(["compare", "--policies", "uniform", *log, *light, "--out", str(run)]) == 0
    assert main(["ab_plan", "--run", str(run), "--control", "0.2", "--out", str(again), "--quiet"]) == 0
    first, second = (pd.read_csv(folder / "ab_plan.csv").iloc[-1] for folder in (out, again))
    pd.testing.assert_series_equal(first, second, check_names=False)  # the run knows its log: the same smallest lift


def test_users_who_were_held_out_and_those_who_were_not_all_take_part(tmp_path: Path) -> None:
    """A run that judges 4 of 10 users plans for the 10 all the same, at the interests per user of the 4."""
    triggers, actions = frames(WORLDS["visits"], 800, seed=1)
    triggers.to_csv(tmp_path / "triggers.csv", index=False)
    actions.to_csv(tmp_path / "actions.csv", index=False)
    log = ["--triggers", str(tmp_path / "triggers.csv"), "--actions", str(tmp_path / "actions.csv")]
    run, out = tmp_path / "run", tmp_path / "out"
    light = ["--holdout", "0.4", "--n-boot", "50", "--grid", "light", "--threads", "1", "--quiet"]
    assert main(["compare", "--policies", "uniform", *log, *light, "--out", str(run)]) == 0
    assert main(["ab_plan", "--run", str(run), "--out", str(out), "--quiet"]) == 0
    everybody = pd.read_csv(out / "ab_plan.csv").iloc[-1]  # the plan for all users and days
    assert everybody["users_control"] + everybody["users_treatment"] == triggers["guid"].nunique()
    judged = tomllib.loads((run / "config.toml").read_text())["log"]["n_users"]
    assert judged < triggers["guid"].nunique() / 2


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "--lift PERCENT, with --triggers and --actions or, without files, on a synthetic world (--world)."),
        (
            ["--lift", "-100"],
            "--lift is a change in percent, as in 12 for +12 %: above −100, not 0, and 100,000 at most",
        ),
        (["--lift", "0"], "--lift is a change in percent"),
        (["--lift", "1e9"], "--lift is a change in percent"),
        (["--lift", "nan"], "--lift is a change in percent"),
        (["--lift", "5", "--world", "nowhere"], "There is no world 'nowhere'"),
        (["--lift", "5", "--world", "null", "--triggers", "t", "--actions", "a"], "--world is about a synthetic world"),
        (["--lift", "5", "--policy", "never"], "--policy names a policy of a run, or of --check: give --run DIR or"),
        (["--lift", "5", "--tests", "50"], "--tests says how many tests --check carries out: give --check too."),
        (["--run", "here", "--lift", "5"], "--lift plays no part with --run, which takes the lift,"),
        (["--run", "here", "--users", "u.csv"], "--users plays no part with --run"),
        (["--run", "here", "--cap-days", "14"], "--cap-days plays no part with --run"),  # the default, but it is named
        (["--check", "--lift", "5"], "--lift plays no part in --check, which carries out tests in a world"),
        (["--check", "--run", "here"], "--run plays no part in --check"),
        (["--check", "--out", "there"], "--out plays no part in --check"),
        (["--lift", "5", "--control", "1"], "--control is a share between 0 and 1"),
        (["--lift", "5", "--power", "0.04"], "--power must be above --alpha"),
        (["--run", "nowhere"], "nowhere is not the directory of a finished run"),
        (["--check", "--world", "nowhere"], "There is no world 'nowhere'"),
    ],
)
def test_what_cannot_be_planned_is_refused_in_one_sentence(
    arguments: list[str],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["ab_plan", *arguments, "--quiet"]) == 2
    assert sentence in capsys.readouterr().err
    assert not list(tmp_path.iterdir())

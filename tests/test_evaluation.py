"""The whole evaluation: on a world, on real logs, and what must not change its answer."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import engagex_sim
from engagex_sim import InputError, Settings, blockwise
from engagex_sim.blockwise import cross_fit, estimate_all
from engagex_sim.columns import FloatArray
from engagex_sim.crossfit import fit
from engagex_sim.dependence import Carried
from engagex_sim.estimate import NAMES
from engagex_sim.evaluation import evaluate_prepared
from engagex_sim.log import read_log
from engagex_sim.margins import Margins
from engagex_sim.observe import observe
from engagex_sim.ope.resampling import Resampling
from engagex_sim.ope.verdict import UNANSWERABLE
from engagex_sim.policy import Context
from engagex_sim.preparation import prepare, prepare_decisions
from engagex_sim.result import SUMMARY_COLUMNS, Result, headline
from engagex_sim.states import NO_STATE
from engagex_sim.timeline import Timeline
from engagex_sim.worlds import WORLDS, evaluation_days, frames, logged_decisions, visible
from experiments.registry import POLICIES
from policies import REGISTRY

LIGHT = Settings(grid="light", folds=2, n_boot=200)
Evaluate = Callable[..., Result]


@pytest.fixture(scope="module")
def result() -> Result:
    """Every built-in policy on a small world with its truth."""
    world = WORLDS["visits"]
    log = read_log(*frames(world, 3000, 0))
    return evaluate_prepared(
        prepare(log, LIGHT, world), log.quality, [*(REGISTRY[name]() for name in POLICIES), world.logging], LIGHT, world
    )


def test_the_summary_has_one_row_per_policy_estimator_and_metric(result: Result) -> None:
    assert list(result.summary.columns) == [*SUMMARY_COLUMNS, "truth"]
    counts = result.summary.groupby(["policy", "estimator"]).size()
    assert (counts == 5).all()
    assert len(counts) == 1 + len(NAMES) * (len(POLICIES) + 1)
    undefined = result.summary["value"].isna()
    assert result.summary.loc[undefined, "reason"].notna().all()


def test_never_is_exact_and_current_is_the_log_itself(result: Result) -> None:
    never = headline(result, "never")
    assert (never["value"], never["ci_low"], never["ci_high"]) == (0, 0, 0)
    assert (never["lift_percent"], never["lift_percent_low"], never["lift_percent_high"]) == (-100, -100, -100)
    assert never["verdict"] == "worse"
    current = headline(result, "current")
    assert current["value"] == result.facts.n_interests / result.facts.n_users
    assert headline(result, "current", "contacts_per_user")["value"] == result.facts.n_contacts / result.facts.n_users


def test_policies_matched_in_volume_make_as_many_contacts_as_the_log(result: Result) -> None:
    now = headline(result, "current", "contacts_per_user")["value"]
    for name in ("random_matched", "xgb_greedy"):
        assert headline(result, name, "contacts_per_user")["value"] == pytest.approx(now, rel=0.05)


def test_contacts_per_user_need_no_weights(result: Result) -> None:
    """The recursion knows them; the doubly robust columns must reduce to it."""
    rows = result.summary[(result.summary["policy"] == "uniform") & (result.summary["metric"] == "contacts_per_user")]
    by_estimator = rows.set_index("estimator")["value"]
    assert by_estimator["dr_cap"] == pytest.approx(by_estimator["dm_cap"], rel=1e-12)
    assert by_estimator["snips_cap"] == pytest.approx(by_estimator["dm_cap"], rel=1e-9)


def test_the_curve_ends_at_the_headline_and_never_falls_for_the_log(result: Result) -> None:
    for policy, curve in result.curves.groupby("policy"):
        end = curve["cumulative_interests_per_1000"].iloc[-1]
        assert end == pytest.approx(1000 * headline(result, str(policy))["value"], abs=1e-9)
    current = result.curves[result.curves["policy"] == "current"]
    assert (current["cumulative_interests_per_1000"].diff().dropna() >= 0).all()
    assert list(current["day"]) == list(range(1, evaluation_days(WORLDS["visits"]) + 1))


def test_the_logging_policy_itself_shows_no_difference(result: Result) -> None:
    assert headline(result, "logging")["verdict"] == "no difference shown"
    assert abs(headline(result, "logging")["lift_percent"]) < 10


def test_one_step_weights_overrate_contacting_at_the_first_chance(result: Result) -> None:
    rows = result.summary[(result.summary["policy"] == "first_chance")]
    rows = rows[rows["metric"] == "interests_per_user"].set_index("estimator")
    assert rows.loc["ips_step", "value"] > 2 * rows.loc["ips_step", "truth"]
    assert rows.loc["ips_step", "value"] > 2 * rows.loc["ips_cap", "value"]


def test_a_direct_method_has_no_interval(result: Result) -> None:
    rows = result.summary[result.summary["estimator"] == "dm_cap"]
    assert rows["ci_low"].isna().all()
    assert rows["reason"].notna().all()


def test_interested_users_are_at_most_the_interests(result: Result) -> None:
    table = result.table.set_index(["policy", "metric"])["value"]
    for policy in result.table["policy"].unique():
        assert table[policy, "interested_users"] <= table[policy, "interests_per_user"] + 1e-12


def test_contacts_of_the_model_add_up_to_those_of_the_log(result: Result) -> None:
    made, expected = result.calibration["contacts"].sum(), result.calibration["expected"].sum()
    assert made == result.facts.n_contacts
    assert expected == pytest.approx(made, rel=0.05)


def test_neither_block_size_nor_threads_change_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    world = WORLDS["visits"]
    prepared = prepare_decisions(visible(logged_decisions(world, 1000, np.random.default_rng(0))), LIGHT)
    policies = [REGISTRY["uniform"](), REGISTRY["xgb_greedy"]()]
    whole = estimate_all(prepared, cross_fit(prepared, policies, LIGHT).observed, LIGHT)
    monkeypatch.setattr(blockwise, "ROWS_AT_ONCE", 700)
    two = LIGHT.model_copy(update={"threads": 2})
    pieces = estimate_all(prepared, cross_fit(prepared, policies, two).observed, two)
    np.testing.assert_allclose(pieces.value, whole.value, rtol=1e-9)
    np.testing.assert_allclose(pieces.replicates, whole.replicates, rtol=1e-9)
    np.testing.assert_allclose(pieces.curve_replicates, whole.curve_replicates, rtol=1e-9, atol=1e-15)


def test_the_order_of_the_rows_in_the_files_does_not_matter() -> None:
    triggers, actions = frames(WORLDS["visits"], 800, 3)
    shuffled = [table.sample(frac=1, random_state=1) for table in (triggers, actions)]
    own = {"grid": "light", "folds": 2, "n_boot": 100}
    once = engagex_sim.evaluate(triggers, actions, [REGISTRY["xgb_greedy"]()], **own)
    again = engagex_sim.evaluate(*shuffled, [REGISTRY["xgb_greedy"]()], **own)
    pd.testing.assert_frame_equal(once.summary, again.summary)


class NotSummingToOne:
    name = "half"

    def action_probabilities(self, context: Context) -> FloatArray:
        return np.full(context.mask.shape, 0.25)


@pytest.mark.parametrize(
    ("policies", "words"),
    [
        ([NotSummingToOne()], "half answered with a row that sums to 0.5"),
        ([REGISTRY["never"](), REGISTRY["never"]()], "Two policies are called 'never'"),
    ],
)
def test_policies_that_cannot_be_evaluated_are_refused_in_one_sentence(policies: list[object], words: str) -> None:
    triggers, actions = frames(WORLDS["visits"], 400, 0)
    with pytest.raises(InputError, match=words) as refusal:
        engagex_sim.evaluate(triggers, actions, policies, grid="light", folds=2, n_boot=100)
    assert "\n" not in str(refusal.value)


def test_a_log_that_breaks_the_cap_is_modelled_without_it_and_says_so() -> None:
    triggers, _ = frames(WORLDS["visits"], 1500, 0)
    contacts = triggers.sample(frac=0.06, random_state=0)
    interest = np.random.default_rng(0).random(len(contacts)) < 0.05
    actions = contacts[["guid", "date"]].assign(result=interest.astype(int))
    result = engagex_sim.evaluate(triggers, actions, [REGISTRY["first_chance"]()], grid="light", folds=2, n_boot=100)
    assert not result.facts.cap_modelled
    assert any("modelled without the cap" in note for note in result.notes)
    room = evaluation_days(WORLDS["visits"]) // 14 + 1  # contacts that the cap leaves room for
    assert headline(result, "first_chance", "contacts_per_user")["value"] <= room


NOTHING = Carried(NO_STATE, NO_STATE)


class Seldom:
    """Contacts with 8 % wherever it may."""

    def action_probabilities(self, context: Context) -> FloatArray:
        contact = np.where(context.mask[:, 1], 0.08, 0.0)
        return np.column_stack([1 - contact, contact])


def test_in_a_log_that_ignores_the_cap_a_history_with_a_breach_weighs_nothing() -> None:
    """No policy that obeys the cap could have had it; without a breach the history counts."""
    log = visible(logged_decisions(WORLDS["visits"], 800, np.random.default_rng(0)))
    action = (np.random.default_rng(1).random(len(log)) < 0.10).astype(np.int64)
    reward = np.where(log.time % 30 == 0, action, 0).astype(np.float64)
    prepared = prepare_decisions(replace(log, action=action, reward=reward), LIGHT)
    assert not prepared.cap_modelled
    timeline, evaluation = prepared.timeline, prepared.evaluation
    everybody = np.ones(timeline.n_users, dtype=bool)
    models = fit(timeline, everybody, [Seldom()], LIGHT, seed=0, cap_modelled=False, carry=NOTHING)
    resampling = Resampling(seed=0, n_boot=0, groups=1)
    observed = observe(evaluation, models, prepared.days, Margins.of(evaluation.contacts()), False, NOTHING, resampling)
    breaches = np.concatenate([[0], np.cumsum(evaluation.breaks_cap)])
    so_far = breaches[1:] - np.repeat(breaches[evaluation.user_start[:-1]], np.diff(evaluation.user_start))
    breached = so_far[evaluation.action > 0] > 0
    assert 0.1 < breached.mean() < 0.9
    np.testing.assert_array_equal(observed.policies[0].logged.cumulative > 0, ~breached)


def test_a_few_contacts_that_break_the_cap_spoil_nothing() -> None:
    """Four in a thousand: they and what they block are no doing of the modelled policy, and carry no weight."""
    world = WORLDS["visits"]
    log = visible(logged_decisions(world, 5000, np.random.default_rng(0)))
    blocked = np.flatnonzero(~Timeline.of(log, world.cap).free)
    extra = np.random.default_rng(1).choice(blocked, round(0.006 * (log.action > 0).sum()), replace=False)
    action = log.action.copy()
    action[extra] = 1
    prepared = prepare_decisions(replace(log, action=action), LIGHT)
    assert prepared.cap_modelled
    estimates = estimate_all(prepared, cross_fit(prepared, [world.logging], LIGHT).observed, LIGHT)
    assert estimates.overlap[0]["cap"].max_weight_share < 0.01
    lift = estimates.value[0, NAMES.index("dr_cap"), 0] / estimates.current[0] - 1
    assert abs(lift) < 0.1


def test_a_shorter_cap_than_the_log_ever_tried_cannot_be_answered() -> None:
    triggers, actions = frames(WORLDS["visits"], 3000, 0)
    policies = [REGISTRY["first_chance"](), REGISTRY["never"]()]
    result = engagex_sim.evaluate(triggers, actions, policies, cap_days=3, grid="light", folds=2, n_boot=100)
    found = headline(result, "first_chance")
    assert found["verdict"] == UNANSWERABLE
    assert re.search(r"within 14(\.\d)? days", found["reason"])
    assert headline(result, "never")["verdict"] == "worse"


@pytest.mark.parametrize(
    ("policies", "settings", "words"),
    [
        (["uniform"], {}, "'uniform' is no policy"),
        ([REGISTRY["uniform"]], {}, "is no policy: give objects"),
        ([], {"folds": 1}, "setting folds should be greater than or equal to 2, not 1"),
        ([], {"fold": 3}, "setting fold "),
    ],
)
def test_the_notebook_door_refuses_in_one_sentence(
    policies: list[object], settings: dict[str, object], words: str
) -> None:
    triggers, actions = frames(WORLDS["visits"], 100, 0)
    with pytest.raises(InputError, match=words):
        engagex_sim.evaluate(triggers, actions, policies, **settings)


def test_a_log_that_keeps_the_cap_keeps_it_when_decisions_are_by_day() -> None:
    triggers, actions = frames(WORLDS["visits"], 1500, 0)
    log = read_log(triggers, actions, settings=Settings(decision_points="day"))
    prepared = prepare(log, Settings(decision_points="day"))
    assert log.quality.cap_violations == 0
    assert not prepared.timeline.breaks_cap.any()
    assert len(set(prepared.timeline.columns["hour"].values.tolist())) > 12  # the first trigger's hour, not midnight


def test_a_campaign_that_gives_its_kind_away_is_no_feature_where_only_the_kind_is_chosen() -> None:
    rng = np.random.default_rng(0)
    campaign = rng.integers(0, 10, 600)
    triggers = pd.DataFrame(
        {
            "guid": [f"u{i}" for i in range(600)],
            "date": "2024-05-01 10:00:00",
            "trigger": campaign,
            "type": np.where(campaign < 5, "mail", "push"),
            "slot": rng.integers(0, 3, 600),
        }
    )
    actions = triggers[["guid", "date"]].assign(result=(rng.random(600) < 0.3).astype(int))
    own = Settings(triggers_are="contacts", decision_points="trigger", cap_days=0)
    prepared = prepare(read_log(triggers, actions, settings=own), own)
    assert "trigger" not in prepared.timeline.columns
    assert "slot" in prepared.timeline.columns
    assert any("trigger says which kind was chosen" in note for note in prepared.notes)


def test_contacts_without_decision_point_count_for_the_current_strategy_alone() -> None:
    triggers, actions = frames(WORLDS["visits"], 1500, 0)
    far = pd.DataFrame({"guid": triggers["guid"].unique()[:20], "date": triggers["date"].max(), "result": 1})
    far["date"] += pd.Timedelta(hours=1)
    both = pd.concat([actions, far])
    own = {"grid": "light", "folds": 2, "n_boot": 100, "allow_orphans": 1.0, "match_window_hours": 0.5}
    with_orphans = engagex_sim.evaluate(triggers, both, [REGISTRY["uniform"]()], **own)
    without = engagex_sim.evaluate(triggers, actions, [REGISTRY["uniform"]()], **own)
    more = headline(with_orphans, "current")["value"] - headline(without, "current")["value"]
    assert more == pytest.approx(20 / without.facts.n_users)
    assert any("belong to no decision point" in note for note in with_orphans.notes)


@pytest.mark.parametrize(
    ("folder", "ips", "snips", "ess", "reason"),
    [
        ("bts-men", 0.00300863, 0.00318942, 655.71, "interests at the log's share of them"),
        ("bts-women", 0.00743758, 0.00237305, 2.08, "a single logged contact carries"),
    ],
)
def test_the_open_bandit_logs_give_the_published_numbers(
    real_data: Path, folder: str, ips: float, snips: float, ess: float, reason: str
) -> None:
    files = [real_data / "open-bandit" / folder / f"{name}.csv.gz" for name in ("triggers", "actions")]
    own = {"triggers_are": "contacts", "decision_points": "trigger", "cap_days": 0, "grid": "light", "folds": 2}
    result = engagex_sim.evaluate(*files, [REGISTRY["uniform"]()], n_boot=200, **own)
    rows = result.summary[(result.summary["policy"] == "uniform")]
    rows = rows[rows["metric"] == "interests_per_user"].set_index("estimator")
    for weights in ("step", "cap"):
        assert rows.loc[f"ips_{weights}", "value"] == pytest.approx(ips, abs=5e-9)
        assert rows.loc[f"snips_{weights}", "value"] == pytest.approx(snips, abs=5e-9)
        assert rows.loc[f"ips_{weights}", "ess"] == pytest.approx(ess, abs=0.005)
    assert rows.loc["dr_cap", "verdict"] == UNANSWERABLE
    assert reason in rows.loc["dr_cap", "reason"]
    assert result.facts.propensity_logged


@pytest.mark.parametrize("with_users", [False, True])
def test_the_coupon_campaigns_run_through(real_data: Path, with_users: bool) -> None:
    folder = real_data / "completejourney"
    users = folder / "users.csv" if with_users else None
    policies = [REGISTRY[name]() for name in ("never", "first_chance", "xgb_greedy")]
    result = engagex_sim.evaluate(
        folder / "triggers.csv", folder / "actions.csv", policies, users, grid="light", folds=2, n_boot=100
    )
    for quality in (result.quality.triggers, result.quality.actions):
        assert (quality.read, quality.used, quality.duplicates, quality.rejected) == (6589, 6589, 0, 0)
    assert result.facts.n_users == (1604 if with_users else 1559)
    assert headline(result, "first_chance")["verdict"] == UNANSWERABLE  # a kind is sent to everybody on its day
    assert not result.facts.propensity_logged

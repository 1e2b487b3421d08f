"""Every world: its log reads back as it was made, its truth is what simulation says, and it stresses what it says."""

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from scipy.special import logit

from engagex_sim.cap import DAY, Cap
from engagex_sim.columns import Column, FloatArray
from engagex_sim.decision_points import decisions_of
from engagex_sim.decisions import Decisions
from engagex_sim.features import History
from engagex_sim.implied_odds import contact_marginals, implied_odds_ratio
from engagex_sim.log import read_log
from engagex_sim.occupancy import contact_probabilities
from engagex_sim.policy import Context, checked_probabilities
from engagex_sim.settings import Settings
from engagex_sim.simulate import simulate
from engagex_sim.timeline import Timeline
from engagex_sim.worlds import (
    WORLDS,
    Confounded,
    Fatigue,
    Reactive,
    Sends,
    Visits,
    World,
    evaluation_days,
    frames,
    logged_decisions,
    tables,
    true_history,
    true_value,
    visible,
    whole_history,
)
from engagex_sim.worlds.hidden import TRAIT
from engagex_sim.worlds.reaction import CAUSE, happened, roll_out
from engagex_sim.worlds.rows import rows_of
from experiments.make_world import write_world
from policies import REGISTRY

each_world = pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS)
USERS = 10_000


@cache
def log_of(world: World) -> Decisions:
    return logged_decisions(world, USERS, np.random.default_rng(0))


@cache
def timeline_of(world: World) -> Timeline:
    return Timeline.of(log_of(world), world.cap)


def chances(world: World, timeline: Timeline) -> FloatArray:
    """(contacts,) true probability of interest of each logged contact."""
    made = np.flatnonzero(timeline.action)
    by_kind = world.reward_probabilities(timeline.context(made))
    return by_kind[np.arange(len(made)), timeline.action[made] - 1]


@each_world
def test_the_log_read_from_its_tables_is_the_log_that_was_made(world: World) -> None:
    made = visible(logged_decisions(world, 300, np.random.default_rng(5)))
    log = tables(world, 300, 5)
    read = decisions_of(read_log(log.triggers, log.actions, log.users), Settings())
    for name in ("user_start", "user_id", "time", "action", "reward", "trigger_start", "trigger_time", "kinds"):
        np.testing.assert_array_equal(getattr(read, name), getattr(made, name), err_msg=name)
    assert set(read.columns) == set(made.columns)
    for name, column in made.columns.items():
        np.testing.assert_array_equal(read.columns[name].decoded(), column.decoded(), err_msg=name)
    assert (read.evaluation_start == made.evaluation_start).all()
    assert (read.log_start, read.log_end) == (made.log_start, made.log_end)
    assert (read.contact_is_a_choice, read.activity_known) == (made.contact_is_a_choice, made.activity_known)


def test_made_files_hold_the_population_and_the_strength_of_a_hidden_cause(tmp_path: Path) -> None:
    write_world("sends", 300, None, tmp_path / "sends", 0, quiet=True)
    files = [tmp_path / "sends" / f"{name}.csv" for name in ("triggers", "actions", "users")]
    log = read_log(*files)
    assert (log.triggers_are, log.n_users, set(log.attributes)) == ("contacts", 300, {"segment", "tenure"})
    assert json.loads((tmp_path / "sends" / "truth.json").read_text())["hidden_cause"] is None
    write_world("confounded", 100, None, tmp_path / "confounded", 0, quiet=True)
    assert not (tmp_path / "confounded" / "users.csv").exists()
    stated = json.loads((tmp_path / "confounded" / "truth.json").read_text())["hidden_cause"]
    assert stated == {"strength": 1.0, "implied_odds_ratio": implied_odds_ratio(Confounded()), "held_for_share": 0.99}


@each_world
def test_the_same_seed_makes_the_same_log(world: World) -> None:
    first, again = tables(world, 100, 3), tables(world, 100, 3)
    assert first.triggers.equals(again.triggers) and first.actions.equals(again.actions)
    assert not first.actions.equals(frames(world, 100, 4)[1])


@each_world
def test_the_log_keeps_to_the_cap_of_its_own_strategy(world: World) -> None:
    assert not replace(timeline_of(world), cap=world.logging_cap).breaks_cap.any()
    log = log_of(world)
    assert (log.log_end - log.log_start) / DAY == world.days


@each_world
def test_interest_has_its_true_probability_in_the_log(world: World) -> None:
    """The history that the log cuts off is accounted for: drawn interests agree with probabilities from the cut log."""
    evaluation = timeline_of(world).evaluation()
    chance = chances(world, evaluation)
    assert (chance > 0).all() and (chance < 1).all()
    drawn = evaluation.reward[evaluation.action > 0]
    assert abs((drawn - chance).sum()) < 4 * np.sqrt((chance * (1 - chance)).sum())


@each_world
def test_the_true_value_of_the_logging_policy_is_that_of_its_logs(world: World) -> None:
    evaluation = timeline_of(world).evaluation()
    truth = true_value(world, world.logging, n_users=2 * USERS, seed=9)
    made = evaluation.action > 0
    user = evaluation.user_of_row[made]
    for metric, amount in (
        ("contacts_per_user", np.ones(len(user))),
        ("interests_per_user", chances(world, evaluation)),
    ):
        per_user = np.bincount(user, amount, minlength=evaluation.n_users)
        error = per_user.std() * np.sqrt(1 / evaluation.n_users + 1 / truth.n_users)
        assert abs(per_user.mean() - truth.metrics[metric]) < 4 * error, metric
    assert truth.curve[-1] == pytest.approx(1000 * truth.metrics["interests_per_user"])
    assert len(truth.curve) == evaluation_days(world)


@each_world
def test_users_were_already_contacted_when_the_log_begins(world: World) -> None:
    """Had everybody started free, the first days would hold far more contacts than later ones."""
    timeline = timeline_of(world)
    day = (timeline.time - timeline.log_start) // DAY
    first, later = timeline.action[day < 4] > 0, timeline.action[day >= 14] > 0
    assert 0.7 < first.mean() / later.mean() < 1.4
    _, contacts = true_history(timeline.context())
    assert (contacts > timeline.logged.contacts).mean() > 0.2


@each_world
def test_hidden_causes_are_not_shown(world: World) -> None:
    shown = visible(log_of(world)).columns
    assert set(shown) == ({"segment", "tenure"} if world.name == "sends" else {"trigger", "type"})


@pytest.mark.parametrize("name", ["first_chance", "uniform"])
@pytest.mark.parametrize("world", [WORLDS["visits"], WORLDS["capless"]], ids=["visits", "capless"])
def test_the_truth_equals_the_exact_recursion_with_true_probabilities(world: World, name: str) -> None:
    """Roll-out and recursion share no code beyond the cap."""
    policy = REGISTRY[name]()
    truth = true_value(world, policy, n_users=20_000, seed=9)
    log = logged_decisions(world, 20_000, np.random.default_rng([9, 0]))
    timeline = Timeline.of(log, world.cap).evaluation()
    context = timeline.free_context()
    q = contact_probabilities(timeline, checked_probabilities(policy, context)[:, None, 1:])[:, 0]
    interests = (q * world.reward_probabilities(context)).sum() / timeline.n_users
    assert truth.metrics["contacts_per_user"] == pytest.approx(q.sum() / timeline.n_users, rel=0.01)
    assert truth.metrics["interests_per_user"] == pytest.approx(interests, rel=0.02)


class LooksBack:
    """Uniform, but it looks at history, so that it must be rolled out one decision at a time."""

    def action_probabilities(self, context: Context) -> FloatArray:
        assert (context["contacts_so_far"] >= 0).all()
        return np.asarray(context.mask / context.mask.sum(axis=1, keepdims=True))


@pytest.mark.parametrize("name", ["visits", "sends", "fatigue"])
def test_rolling_out_at_once_equals_rolling_out_one_decision_at_a_time(name: str) -> None:
    world = WORLDS[name]
    log = logged_decisions(world, 500, np.random.default_rng(2))
    timeline = Timeline.of(log, world.cap).evaluation()
    at_once, one_by_one = (
        simulate(timeline, policy, world.reward_probabilities, np.random.default_rng(3))
        for policy in (REGISTRY["uniform"](), LooksBack())
    )
    for field in ("action", "reward", "reward_probability"):
        np.testing.assert_array_equal(getattr(at_once, field), getattr(one_by_one, field), err_msg=field)
    np.testing.assert_array_equal(at_once.history.contacts, one_by_one.history.contacts)


def test_visits_look_like_the_original() -> None:
    log = log_of(WORLDS["visits"])
    assert 0.024 < log.reward.sum() / (log.action > 0).sum() < 0.036  # the original: 2.945 %
    assert (log.action > 0).mean() < 0.1  # few visits bring a contact


@pytest.mark.parametrize(("days", "length"), [(0, 38), (7, 45), (28, 66)])
def test_visits_take_any_cap(days: int, length: int) -> None:
    world = Visits(cap_days=days)
    assert (world.name, world.days, world.days_before) == (f"visits_cap{days}", length, max(14, days))
    timeline = Timeline.of(logged_decisions(world, 500, np.random.default_rng(0)), world.cap)
    assert not timeline.breaks_cap.any()
    assert (timeline.action > 0).any()
    assert evaluation_days(world) == len(true_value(world, REGISTRY["uniform"](), n_users=500).curve) == 38


def test_a_world_is_named_after_what_is_changed_in_it() -> None:
    assert Visits().name == "visits" and Visits() == WORLDS["visits"]
    assert Confounded(strength=0.5, days=40).name == "confounded_days40_strength0.5"
    assert Sends(depth=2).name == "sends_depth2"


def test_in_the_null_world_a_contact_is_worth_the_same_whoever_makes_it() -> None:
    world = WORLDS["null"]
    for policy in (world.logging, REGISTRY["first_chance"]()):
        assert true_value(world, policy, n_users=USERS).metrics["interests_per_contact"] == pytest.approx(0.03)


def test_the_truth_of_never_is_nothing() -> None:
    truth = true_value(WORLDS["visits"], REGISTRY["never"](), n_users=USERS)
    assert truth.metrics["interests_per_user"] == truth.metrics["interested_users"] == 0
    assert np.isnan(truth.metrics["interests_per_contact"])


def with_contact(timeline: Timeline, days_ago: float, contacts: int) -> Context:
    n = len(timeline)
    last = timeline.time - round(days_ago * DAY)
    return timeline.context(history=History(last, np.full(n, contacts), np.zeros(n, dtype=np.int64)))


def test_fatigue_lowers_interest_with_each_contact_up_to_the_third() -> None:
    world = Fatigue()
    whole = whole_history(world, 200, np.random.default_rng(0))
    timeline = Timeline.of(whole, world.cap)
    odds = [logit(world.reward_probabilities(with_contact(timeline, 20, count))) for count in range(5)]
    np.testing.assert_allclose(odds[0] - odds[1], 0.5)
    np.testing.assert_allclose(odds[0] - odds[3], 1.5)
    np.testing.assert_allclose(odds[3], odds[4])


def test_interest_in_sends_recovers_with_time_and_knows_of_unlogged_contacts() -> None:
    world = Sends()
    timeline = Timeline.of(whole_history(world, 200, np.random.default_rng(0)), world.cap)
    rested = logit(world.reward_probabilities(with_contact(timeline, 10_000, 1)))
    for days, lower in ((14, 1.2), (24, 1.2 / np.e), (40, 1.2 * np.exp(-2.6))):
        np.testing.assert_allclose(
            rested - logit(world.reward_probabilities(with_contact(timeline, days, 1))), lower, atol=1e-9
        )
    log = timeline_of(WORLDS["sends"])
    days, _ = true_history(log.context())
    never_shown = log.logged.contacts == 0
    assert np.isinf(days[never_shown]).mean() < 0.5 < np.isfinite(days[never_shown]).mean()


def test_frailty_drives_contacts_but_not_interest() -> None:
    world = WORLDS["frailty"]
    log = log_of(world)
    trait = log.columns[TRAIT].values
    often = trait > 0
    assert (log.action > 0)[often].mean() > 1.3 * (log.action > 0)[~often].mean()
    chance = world.reward_probabilities(timeline_of(world).context())[:, 0]
    assert abs(np.corrcoef(chance, trait)[0, 1]) < 0.03


def test_confounding_misleads_a_naive_estimate_and_its_odds_ratio_grows_with_its_strength() -> None:
    """Weights from the true marginal contact probabilities given what is visible: all that a log without U can give."""
    world = Confounded(strength=2.0)
    timeline = Timeline.of(logged_decisions(world, 20_000, np.random.default_rng(0)), world.cap).evaluation()

    def contacts(policy: object, trait: float) -> FloatArray:
        known = replace(timeline, columns={**timeline.columns, TRAIT: Column(np.full(len(timeline), trait))})
        return contact_probabilities(known, policy.action_probabilities(known.free_context())[:, None, 1:])[:, 0, 0]

    made = timeline.action > 0
    logging = (contacts(world.logging, -1.0) + contacts(world.logging, 1.0)) / 2
    for name in ("uniform", "first_chance"):
        policy = REGISTRY[name]()
        weight = contacts(policy, 0.0)[made] / logging[made]
        naive = (weight * chances(world, timeline)).sum() / timeline.n_users
        assert naive > 1.15 * true_value(world, policy, n_users=20_000).metrics["interests_per_user"]
    ratios = [implied_odds_ratio(Confounded(strength=strength), 2_000) for strength in (0.0, 0.5, 1.0, 2.0)]
    assert ratios[0] == pytest.approx(1.0)
    assert ratios == sorted(ratios) and 1.2 < ratios[1] < ratios[3] < 8


def test_the_marginal_contact_probabilities_given_what_is_visible_are_calibrated() -> None:
    """Over all decision points, and among users whose visible burn-in makes the trait likely."""
    marginals = contact_marginals(Confounded(strength=2.0), USERS, 0)
    made, user = marginals.timeline.action > 0, marginals.timeline.user_of_row
    with_trait = marginals.timeline.columns[TRAIT].values > 0
    likely = marginals.trait[1] > 0.5
    for rows in (np.ones(len(user), dtype=bool), likely, ~likely):
        assert marginals.visible[rows].sum() == pytest.approx(made[rows].sum(), rel=0.03)
        users = np.unique(user[rows], return_index=True)[1]
        assert marginals.trait[1][rows][users].mean() == pytest.approx(with_trait[rows][users].mean(), abs=0.02)


def test_interest_drifts_by_the_stated_total() -> None:
    world = WORLDS["drift"]
    day = (log_of(world).time - log_of(world).log_start) // DAY
    drifted, plain = (log_of(w).columns["_interest_odds"].values for w in (world, WORLDS["visits"]))
    np.testing.assert_allclose(drifted - plain, 1.0 - 2.0 * day / (world.days - 1), atol=1e-9)


def test_the_deterministic_log_follows_from_the_timeline() -> None:
    world = WORLDS["deterministic"]
    evaluation = timeline_of(world).evaluation()  # until then contacts before the log may forbid one
    answer = world.logging.action_probabilities(evaluation.context())
    assert set(np.unique(answer)) == {0.0, 1.0}
    np.testing.assert_array_equal(answer[:, 1], evaluation.action)


def test_few_users_are_bursty() -> None:
    triggers = np.diff(log_of(WORLDS["bursty"]).user_start)
    bursty = triggers > 1_500
    assert 0.0005 < bursty.mean() < 0.004
    assert np.sort(triggers)[-3] > 2_000 > 1_000 > triggers[~bursty].max()


def test_the_capless_log_breaks_the_cap_that_policies_obey() -> None:
    world = WORLDS["capless"]
    timeline = timeline_of(world)
    assert 0.2 < timeline.breaks_cap.sum() / (timeline.action > 0).sum() < 0.6
    assert world.logging_cap == Cap(0)
    one_each = -(-evaluation_days(world) // world.cap.days)
    assert true_value(world, REGISTRY["first_chance"](), n_users=USERS).metrics["contacts_per_user"] <= one_each


def test_contacts_bring_visits_in_the_reactive_world_only() -> None:
    log = log_of(WORLDS["reactive"])
    brought = log.columns[CAUSE].values >= 0
    assert brought.sum() == pytest.approx((log.action > 0).sum(), rel=0.1)
    assert not log.action[brought].any()
    assert (Reactive(strength=0.0).lay_out(50, np.random.default_rng(0)).columns[CAUSE].values == -1).all()
    with pytest.raises(ValueError, match="as long"):
        Reactive(cap_days=0)


class AfterManyVisits:
    """Contacts whoever came five times in two weeks: it reads what its own contacts change."""

    def action_probabilities(self, context: Context) -> FloatArray:
        contact = ((context["triggers_14d"] >= 5) & context.mask[:, 1]).astype(np.float64)
        return np.column_stack([1 - contact, contact])


def test_a_policy_meets_the_visits_that_its_own_contacts_bring() -> None:
    """On the timeline that came of its contacts, the policy would make just these contacts."""
    world = Reactive(strength=5.0)
    laid_out = world.lay_out(300, np.random.default_rng(1))
    laid_out = replace(laid_out, evaluation_start=np.full(300, laid_out.log_start))
    run = roll_out(laid_out, world.cap, AfterManyVisits(), world.reward_probabilities, np.random.default_rng(2))
    rows = happened(laid_out, run.action)
    timeline = Timeline.of(rows_of(replace(laid_out, action=run.action), rows), world.cap)
    np.testing.assert_array_equal(
        AfterManyVisits().action_probabilities(timeline.context())[:, 1], timeline.action.astype(float)
    )
    alone = rows_of(laid_out, laid_out.columns[CAUSE].values < 0)
    without = simulate(
        Timeline.of(alone, world.cap), AfterManyVisits(), world.reward_probabilities, np.random.default_rng(2)
    )
    assert (run.action > 0).sum() > (without.action > 0).sum()

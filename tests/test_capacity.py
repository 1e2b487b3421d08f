"""A daily capacity: met in expectation on every day, by those whom the policy ranks highest, whatever the policy."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engagex_sim.blockwise import cross_fit, estimate_all
from engagex_sim.capacity import rationed
from engagex_sim.columns import FloatArray
from engagex_sim.errors import InputError
from engagex_sim.estimate import METRICS, NAMES
from engagex_sim.evaluation import policy_truths
from engagex_sim.policy import Context, Policy
from engagex_sim.preparation import prepare_decisions
from engagex_sim.result import CURRENT, HEADLINE
from engagex_sim.rules import Rules
from engagex_sim.settings import Settings
from engagex_sim.tables import VOLUME
from engagex_sim.testing import ExampleLog, check_policy
from engagex_sim.training import Training
from engagex_sim.worlds import WORLDS, logged_decisions, visible
from policies import REGISTRY
from policies.fixed import FirstChance, Never, Uniform
from policies.xgb import XgbGreedy

TRAININGS = {kinds: ExampleLog(n_kinds=kinds).training() for kinds in (1, 3)}


def contacts_by_day(training: Training, policy: Policy) -> FloatArray:
    context = training.timeline.free_context()
    q = training.contact_probability(policy.action_probabilities(context)[:, 1:].sum(axis=1))
    return np.bincount(np.asarray(context["day"], dtype=np.int64), q)


@given(st.floats(0.001, 0.5), st.sampled_from([1, 3]), st.sampled_from(["first_chance", "uniform", "xgb_greedy"]))
def test_every_day_the_capacity_is_met_or_the_policy_wants_no_more(per_user: float, kinds: int, name: str) -> None:
    training = TRAININGS[kinds]
    policy = REGISTRY[name]()
    trained = policy.fit(training) if hasattr(policy, "fit") else policy
    own = rationed(trained, training, per_user)
    most = per_user * training.timeline.n_users
    made, price = contacts_by_day(training, own)[own.first_day :], own.price
    assert made.max() <= most * 1.001 + 1e-9
    priced = np.isfinite(price)
    assert made[priced] == pytest.approx(most, rel=1e-3)


@pytest.mark.parametrize("rules", [Rules(quiet=(22, 8)), Rules(stop=True)])
def test_rules_beside_the_cap_and_a_capacity_go_together(rules: Rules) -> None:
    free = TRAININGS[3]
    training = replace(free, timeline=free.timeline.under(rules))
    without = contacts_by_day(training, FirstChance())
    per_user = float(np.median(without[without > 0])) / 2 / training.timeline.n_users
    made = contacts_by_day(training, rationed(FirstChance(), training, per_user))
    assert made.max() == pytest.approx(per_user * training.timeline.n_users, rel=1e-3)


def test_a_capacity_that_nobody_fills_changes_nothing() -> None:
    training = TRAININGS[3]
    context = training.timeline.free_context()
    own = rationed(FirstChance(), training, 1e6)
    assert np.array_equal(own.action_probabilities(context), FirstChance().action_probabilities(context))
    assert own.name == "first_chance"
    never = rationed(Never(), training, 0.01)
    assert (never.action_probabilities(context)[:, 0] == 1).all()


def test_places_go_to_the_highest_scores_of_each_day_and_equal_ones_share() -> None:
    training = TRAININGS[1]
    greedy = XgbGreedy().fit(training)
    own = rationed(greedy, training, 0.005)
    context = training.timeline.free_context()
    before, after = (p.action_probabilities(context)[:, 1] for p in (greedy, own))
    score, day = greedy.action_scores(context)[:, 0], np.asarray(context["day"])
    assert (after <= before).all()
    for d in np.unique(day):
        here = (day == d) & (before > 0)
        kept = after[here] == before[here]
        if kept.any() and not kept.all():
            assert score[here][~kept].max() <= score[here][kept].min()
    shared = rationed(Uniform(), training, 0.005).action_probabilities(context)[:, 1]
    for d in np.unique(day):
        assert np.unique(shared[day == d]).size == 1  # equal scores: nobody is preferred


def test_a_rationed_policy_keeps_the_contract() -> None:
    class Limited(XgbGreedy):
        name = "limited"

        def fit(self, training: Training) -> "Limited":
            self.own = rationed(XgbGreedy().fit(training), training, 0.01)
            return self

        def action_probabilities(self, context: Context) -> FloatArray:
            return self.own.action_probabilities(context)

    check_policy(Limited, contact_may_be_forced=False)


def test_a_policy_that_reads_its_own_past_is_refused_by_name() -> None:
    class Patient:
        def action_probabilities(self, context: Context) -> FloatArray:
            return Uniform().action_probabilities(context) * (context["contacts_so_far"] >= 0)[:, None]

    with pytest.raises(InputError, match=r"patient reads\s+contacts_so_far; leave it out"):
        rationed(Patient(), TRAININGS[1], 0.01)


def test_in_a_world_the_capacity_holds_for_users_that_were_not_learned_from() -> None:
    world, n_users, a_day = WORLDS["visits"], 12_000, 120.0  # of fewer, the price is known to 3 % only
    settings = Settings(grid="light", folds=2, n_boot=50, capacity=a_day)
    log = visible(logged_decisions(world, n_users, np.random.default_rng(3)))
    prepared = prepare_decisions(log, settings, world=world)
    policies = [REGISTRY[name]() for name in ("first_chance", "xgb_greedy")]
    crossfitted = cross_fit(prepared, policies, settings)
    days, users = prepared.days.total, prepared.facts.n_users
    estimates = estimate_all(prepared, crossfitted.observed, settings, (HEADLINE,))
    made = estimates.value[:, NAMES.index(HEADLINE), METRICS.index(VOLUME)]  # by users of the other fold
    assert made * users / days == pytest.approx(a_day, rel=0.05)
    truths = policy_truths(world, policies, crossfitted, settings, 20_000)
    for name in ("first_chance", "xgb_greedy"):
        assert truths[name].metrics["contacts_per_user"] * users / days == pytest.approx(a_day, rel=0.05)
    assert truths[CURRENT].metrics["contacts_per_user"] * users / days > 1.5 * a_day  # is as it is


def test_where_contacting_is_no_choice_a_capacity_is_refused() -> None:
    with pytest.raises(InputError, match="no capacity can limit it: leave out --capacity"):
        Rules.of(Settings(capacity=5), ["a"], is_choice=False)

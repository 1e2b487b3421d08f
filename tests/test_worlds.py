"""Every world: its log reads back as it was made, and its truth is what repeated simulation says."""

import numpy as np
import pytest

from engagex_sim.cap import DAY
from engagex_sim.decision_points import decisions_of
from engagex_sim.log import read_log
from engagex_sim.occupancy import contact_probabilities
from engagex_sim.policy import checked_probabilities
from engagex_sim.settings import Settings
from engagex_sim.timeline import Timeline
from engagex_sim.worlds import WORLDS, World, evaluation_days, frames, logged_decisions, true_value, visible
from policies import REGISTRY

each_world = pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS)


@each_world
def test_the_log_read_from_its_tables_is_the_log_that_was_made(world: World) -> None:
    made = visible(logged_decisions(world, 300, np.random.default_rng(5)))
    triggers, actions = frames(world, 300, 5)
    read = decisions_of(read_log(triggers, actions), Settings())
    for name in ("user_start", "user_id", "time", "action", "reward", "trigger_start", "trigger_time"):
        np.testing.assert_array_equal(getattr(read, name), getattr(made, name), err_msg=name)
    assert set(read.columns) == set(made.columns)
    for name, column in made.columns.items():
        np.testing.assert_array_equal(read.columns[name].decoded(), column.decoded(), err_msg=name)
    assert (read.evaluation_start == made.evaluation_start).all()
    assert (read.log_start, read.log_end) == (made.log_start, made.log_end)


@each_world
def test_the_log_obeys_the_cap_and_looks_like_the_original(world: World) -> None:
    log = logged_decisions(world, 20_000, np.random.default_rng(0))
    timeline = Timeline.of(log, world.cap)
    assert not timeline.breaks_cap.any()
    assert 0.025 < log.reward.sum() / (log.action > 0).sum() < 0.036  # the original: 2.945 %
    assert (log.log_end - log.log_start) / DAY == world.days
    assert 0.03 < (log.action > 0).mean() < 0.05


@each_world
def test_users_were_already_contacted_when_the_log_begins(world: World) -> None:
    """Had everybody started free, the first days would hold more than twice the later contacts per visit."""
    log = logged_decisions(world, 20_000, np.random.default_rng(1))
    day = (log.time - log.log_start) // DAY
    rate = np.bincount(day, log.action > 0) / np.bincount(day)
    assert 0.8 < rate[:3].mean() / rate[14:].mean() < 1.4


@each_world
@pytest.mark.parametrize("name", ["first_chance", "uniform"])
def test_the_truth_equals_the_exact_recursion_with_true_probabilities(world: World, name: str) -> None:
    """Roll-out and recursion share no code beyond the cap."""
    policy = REGISTRY[name]()
    truth = true_value(world, policy, n_users=20_000, seed=9)
    log = logged_decisions(world, 20_000, np.random.default_rng([9, 0]))
    timeline = Timeline.of(log, world.cap).evaluation()
    context = timeline.free_context()
    q = contact_probabilities(timeline, checked_probabilities(policy, context)[:, 1:], timeline.blocked_at_start)
    interests = (q * world.reward_probabilities(context)).sum() / timeline.n_users
    assert truth.metrics["contacts_per_user"] == pytest.approx(q.sum() / timeline.n_users, rel=0.01)
    assert truth.metrics["interests_per_user"] == pytest.approx(interests, rel=0.02)
    assert truth.curve[-1] == pytest.approx(1000 * truth.metrics["interests_per_user"])
    assert len(truth.curve) == evaluation_days(world)


def test_in_the_null_world_a_contact_is_worth_the_same_whoever_makes_it() -> None:
    world = WORLDS["null"]
    for policy in (world.logging, REGISTRY["first_chance"]()):
        assert true_value(world, policy, n_users=20_000).metrics["interests_per_contact"] == pytest.approx(0.03)


def test_the_truth_of_never_is_nothing() -> None:
    truth = true_value(WORLDS["visits"], REGISTRY["never"](), n_users=20_000)
    assert truth.metrics["interests_per_user"] == truth.metrics["interested_users"] == 0
    assert np.isnan(truth.metrics["interests_per_contact"])

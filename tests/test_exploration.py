"""What exploration makes a log answerable: by hand, as properties, and carried out in a world."""

import numpy as np
import pandas as pd
import pytest
from blocks import decisions
from hypothesis import given
from hypothesis import strategies as st

from engagex_sim.blockwise import cross_fit
from engagex_sim.cap import Cap
from engagex_sim.columns import Column, FloatArray, sums_by
from engagex_sim.decisions import Decisions
from engagex_sim.exploration import (
    RATES,
    Sums,
    block_sums,
    chosen,
    explored_hazards,
    lacks_support,
    plan,
    sentence,
)
from engagex_sim.exploration_plan import explore
from engagex_sim.explored_world import Exploring, explored_log
from engagex_sim.occupancy import contact_probabilities
from engagex_sim.policy import Context, checked_probabilities
from engagex_sim.preparation import prepare_decisions
from engagex_sim.settings import Settings
from engagex_sim.support import SupportRows, support_rows, where
from engagex_sim.timeline import Timeline
from engagex_sim.worlds import WORLDS, logged_decisions, visible
from experiments import exploration_check
from experiments.run import main

WORLD = WORLDS["deterministic"]


class First:
    """Contacts at the first chance."""

    name = "first"

    def action_probabilities(self, context: Context) -> FloatArray:
        contact = context.mask[:, 1].astype(np.float64)
        return np.column_stack([1 - contact, contact])


def test_explored_hazards_by_hand() -> None:
    """b never contacts; b does as π; b always contacts and π rarely; one of two kinds lacks support."""
    b, target = np.array([[0.0], [0.3], [1.0]]), np.array([[0.5], [0.3], [0.1]])
    assert np.add(*explored_hazards(b, target, 0.1))[:, 0] == pytest.approx([0.05, 0.3, 0.91])
    two = np.add(*explored_hazards(np.array([[0.4, 0.0]]), np.array([[0.3, 0.3]]), 0.1))
    assert two[0] == pytest.approx([0.39, 0.03])


@given(
    st.lists(st.floats(0, 1), min_size=2, max_size=2),
    st.lists(st.floats(0, 1), min_size=2, max_size=2),
    st.floats(0, 1),
)
def test_exploration_stays_a_probability_and_leaves_a_policy_equal_to_the_current_one_alone(
    own: list[float], target: list[float], rate: float
) -> None:
    b, wanted = np.array(own) / 2, np.array(target) / 2
    h = np.add(*explored_hazards(b, wanted, rate))
    assert h.min() >= 0
    assert h.sum() <= 1 + 1e-12
    assert np.add(*explored_hazards(b, b, rate)) == pytest.approx(b)
    assert np.add(*explored_hazards(b, wanted, 0.0)) == pytest.approx(b)


def _one_decision_each(n: int) -> Sums:
    """π contacts everybody once with q̂ = 0.1; b nobody; no cap."""
    never, always = np.zeros((n, 1, 1)), np.ones((n, 1, 1))
    return block_sums(np.arange(n), n, never, always, always, np.full((n, 1, 1), 0.1), lambda h: h)


def test_plan_by_hand() -> None:
    """With q' = ε: variance 0.1 · 0.9 / ε per user; ε n contacts of one weight; 0.1 ε n interests."""
    n = 4000
    table = plan(_one_decision_each(n)).set_index("rate")
    at = table.loc[0.1]
    assert at["value_width"] == pytest.approx(2 * 1.96 * np.sqrt(0.09 / 0.1 / n))
    assert at["lift_width"] == pytest.approx(2 * 1.96 * np.sqrt((9**2 * 0.1 * 0.09) / n))
    assert at["ess"] == pytest.approx(0.1 * n)
    assert at["effective_positives"] == pytest.approx(0.01 * n)
    assert at["extra_contacts_per_1000"] == at["random_contacts_per_1000"] == pytest.approx(100)
    assert at["max_weight_share"] == pytest.approx(10 / n, rel=0.13)
    assert not table.loc[0.0, "answerable"]
    best = chosen(table.reset_index())
    assert best is not None
    assert best["rate"] == 0.2  # 0.1 leaves 40 interests; the width of the interval needs 50
    assert "20 %" in sentence("first", table.reset_index(), "anywhere", 0.02, 1.0)


def test_where_no_rate_is_enough_the_plan_says_so() -> None:
    table = plan(_one_decision_each(50))
    assert chosen(table) is None
    assert "A/B test" in sentence("first", table, "anywhere", 0.02, 1.0)
    assert "longer log" in sentence("first", table, "anywhere", 0.02, 0.0)


def test_more_exploration_gives_narrower_intervals() -> None:
    table = plan(_one_decision_each(1000))
    assert (table["value_width"].iloc[1:].diff().dropna() < 0).all()
    assert (table["ess"].iloc[1:].diff().dropna() > 0).all()


def _evaluation(log: Decisions, cap: Cap) -> Timeline:
    return Timeline.of(log, cap).evaluation()


def _occupied(t: Timeline, hazards: FloatArray) -> FloatArray:
    return contact_probabilities(t, np.ascontiguousarray(hazards))


def _sums(t: Timeline) -> Sums:
    context = t.free_context()
    b = checked_probabilities(WORLD.logging, context)[:, None, 1:]
    target = checked_probabilities(First(), context)[:, None, 1:]
    predicted = WORLD.reward_probabilities(context)[:, None, :]
    q = _occupied(t, target)
    return block_sums(t.user_of_row, t.n_users, b, target, q, predicted, lambda h: _occupied(t, h))


def test_blocks_add_up() -> None:
    t = _evaluation(logged_decisions(WORLD, 300, np.random.default_rng(0)), WORLD.cap)
    first = np.arange(t.n_users) < 100
    parts = Sums.join([_sums(t.users(first)), _sums(t.users(~first))])
    pd.testing.assert_frame_equal(plan(parts), plan(_sums(t)), rtol=1e-9)


def test_carried_out_in_a_world_the_interval_has_the_width_that_was_planned() -> None:
    """Given the true propensities and chances of interest, in twelve logs with the exploration."""
    n, rate = 6000, 0.5
    planned = plan(_sums(_evaluation(logged_decisions(WORLD, n, np.random.default_rng(1)), WORLD.cap)))
    row = planned.iloc[RATES.index(rate)]
    policy = Exploring(WORLD.logging, First(), rate)
    ratios, misses = [], []
    for seed in range(12):
        t = _evaluation(explored_log(WORLD, policy, n, np.random.default_rng([2, seed])), WORLD.cap)
        context, contact = t.free_context(), np.flatnonzero(t.action > 0)
        hazards = checked_probabilities(policy, context)
        assert t.propensity[contact] == pytest.approx(hazards[contact, 1])
        q = _occupied(t, hazards[:, None, 1:])[:, 0, 0]
        target = _occupied(t, checked_probabilities(First(), context)[:, None, 1:])[:, 0, 0]
        predicted = WORLD.reward_probabilities(context)[:, 0]
        model = sums_by(t.user_of_row, target * predicted, t.n_users)
        error = (target / np.where(q > 0, q, 1.0) * (t.reward - predicted))[contact]
        value = model + sums_by(t.user_of_row[contact], error, t.n_users)
        width = 2 * 1.96 * value.std() / np.sqrt(t.n_users)
        ratios.append(width / row["value_width"])
        misses.append((value.mean() - model.mean()) / width)
    assert np.mean(ratios) == pytest.approx(1.0, abs=0.1)
    assert np.mean(np.abs(np.array(ratios) - 1) < 0.15) >= 0.8
    assert abs(np.mean(misses)) < 4 * 0.25 / np.sqrt(12)


def test_decisions_without_support_are_described_by_a_rule_a_reader_can_follow() -> None:
    rng = np.random.default_rng(3)
    n = 2000
    hour, kind = rng.integers(0, 24, n), rng.integers(0, 2, n)
    features = np.column_stack([hour, kind == 0, kind == 1]).astype(np.float64)
    names = ("hour", "type = cart", "type = help")
    lacking = (hour >= 18) & (kind == 1)
    assert where(SupportRows(names, features, np.ones(n), lacking)) in (
        "where hour ≥ 18 and type = help",
        "where type = help and hour ≥ 18",
        "where hour ≥ 18 and type is not cart",
        "where type is not cart and hour ≥ 18",
    )
    everywhere = where(SupportRows(names, features, np.ones(n), np.ones(n, dtype=np.bool_)))
    assert everywhere == "wherever this policy would contact"
    nowhere = where(SupportRows(names, features, np.ones(n), np.zeros(n, dtype=np.bool_)))
    assert nowhere == "nowhere in particular"


def test_only_decisions_at_which_the_policy_contacts_are_described() -> None:
    types = Column(np.array([0, 1, 0], dtype=np.int32), np.array(["cart", "help"], dtype=object))
    t = Timeline.of(decisions([[0.0, 1.0], [2.0]], columns={"type": types, "_hidden": types}), Cap(1))
    lacking = lacks_support(np.zeros(3), np.array([0.2, 0.0, 0.2]))
    rows = support_rows(t, np.array([0.5, 0.0, 0.2]), lacking, np.random.default_rng(0))
    assert rows.weight.tolist() == [0.5, 0.2]
    assert rows.lacking.all()
    assert "type = help" in rows.names
    assert not any(name.startswith("_") for name in rows.names)


def test_a_deterministic_log_gets_a_plan_and_the_current_policy_needs_none() -> None:
    settings = Settings(grid="light", folds=2)
    log = visible(logged_decisions(WORLD, 3000, np.random.default_rng(0)))
    prepared = prepare_decisions(log, settings)
    found = cross_fit(prepared, [First(), WORLD.logging], settings)
    first, current = (explore(prepared, found.fitted, found.splitting, found.carried, p) for p in range(2))
    assert first is not None
    assert first.lacking_share > 0.5
    assert not first.plan["answerable"].iloc[0]
    assert first.plan["random_contacts_per_1000"].is_monotonic_increasing
    assert "hour" in first.where or "type" in first.where
    assert current is not None
    assert current.lacking_share < 0.1
    assert current.plan["answerable"].iloc[0]


def test_the_check_of_plans_runs_and_says_how_near_they_came(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["exploration_check", "--logs", "2", "--n-users", "2500", "--quiet"]) == 0
    assert "Answerable before: 0" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("rates", "said"),
    [
        ([np.nan, np.nan], "On 2 of 2 logs of this size no rate of exploration is enough; take more users."),
        ([0.1, np.nan], "On 1 of 2 logs of this size no rate of exploration is enough; take more users."),
        ([0.1, 0.1], "1.05 on average; within 15 % on 2 of 2 logs with a plan."),
    ],
)
def test_the_check_of_plans_says_on_how_many_logs_there_is_none(
    rates: list[float], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    left = iter(rates)

    def check(*_: object) -> dict[str, float]:
        rate = next(left)
        known = {"answerable_before": 0.0, "answerable_after": 1.0, "value_ratio": 1.05, "lift_ratio": 1.05}
        return {"rate": rate} | {name: value + 0 * rate for name, value in known.items()}

    monkeypatch.setattr(exploration_check, "check_exploration", check)
    assert main(["exploration_check", "--logs", "2", "--n-users", "2500", "--quiet"]) == 0
    told = capsys.readouterr().out
    assert said in told
    assert "nan" not in told.lower()
    assert ("on average" in told) == bool(np.isfinite(rates).any())

"""Flags: calibrated where the assumption holds, raised where it does not."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from blocks import decisions

from engagex_sim.blockwise import cross_fit
from engagex_sim.cap import DAY, Cap
from engagex_sim.columns import Column, FloatArray, IntArray, KeyArray
from engagex_sim.decisions import starts
from engagex_sim.diagnostics import (
    HORIZONS,
    MAX_ROWS,
    ReactionRows,
    calibration_cells,
    calibration_table,
    drift_test,
    flag,
    joint_test,
    left_over,
    reaction_rows,
    reaction_sample,
    reaction_test,
    with_day_fixed,
)
from engagex_sim.flags import flags
from engagex_sim.models.calibrate import sigmoid
from engagex_sim.preparation import prepare_decisions
from engagex_sim.settings import Settings
from engagex_sim.timeline import Timeline
from engagex_sim.worlds import WORLDS, logged_decisions, visible

RUNS = 200


def test_joint_test_by_hand() -> None:
    """Two independent scores: (Σ)² / Σ² each, added up."""
    scores = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 2.0], [0.0, -1.0]])
    test = joint_test(scores)
    assert test.statistic == pytest.approx(2**2 / 2 + 1**2 / 5)
    assert test.df == 2


def test_joint_test_does_not_mind_units_nor_a_score_that_follows_from_the_others() -> None:
    scores = np.random.default_rng(0).normal(size=(50, 2))
    own = joint_test(scores)
    more = joint_test(np.column_stack([scores * [1e6, 1e-6], np.zeros(50)]))
    assert more == pytest.approx(own, rel=1e-6)
    same = joint_test(np.column_stack([scores, scores.sum(axis=1)]))
    assert same == pytest.approx(own, rel=1e-4)


def test_without_variation_there_is_no_test() -> None:
    test = joint_test(np.zeros((5, 3)))
    assert test.df == 0
    assert np.isnan(test.p_value)
    row = flag("drift", test, "no contact was made")
    assert row["flagged"] is False
    assert row["sentence"] == "This was not tested: no contact was made."


def test_left_over_is_orthogonal_to_the_basis() -> None:
    rng = np.random.default_rng(1)
    basis, outcome, weight = rng.normal(size=(30, 3)), rng.normal(size=(30, 2)), rng.random(30)
    rest = left_over(outcome, basis, weight)
    assert np.abs((basis * weight[:, None]).T @ rest).max() < 1e-6
    assert np.abs(left_over(basis, basis, weight)).max() < 1e-6


def _share_flagged(run: Callable[[np.random.Generator], float]) -> float:
    return float(np.mean([run(np.random.default_rng([7, seed])) < 0.01 for seed in range(RUNS)]))


def _drift(rng: np.random.Generator, strength: float) -> float:
    """600 users with a few contacts each; interest depends on a margin, predicted with another slope."""
    n = 2400
    margin, time = rng.normal(-1.5, 0.7, n), rng.integers(0, 100, n)
    reward = (rng.random(n) < sigmoid(margin + strength * (time / 100 - 0.5))).astype(np.float64)
    user: KeyArray = rng.integers(0, 600, n).astype(np.uint64)
    return drift_test(user, time, reward, sigmoid(0.5 * margin - 1.0)).p_value


def test_drift_is_flagged_where_there_is_some_and_hardly_ever_elsewhere() -> None:
    assert _share_flagged(lambda rng: _drift(rng, 0.0)) <= 0.03
    assert _share_flagged(lambda rng: _drift(rng, 2.0)) >= 0.9


def test_what_else_changes_over_the_period_can_be_adjusted_for() -> None:
    """Interest falls with the count of contacts, which grows over the log: no drift once the count is in."""
    rng = np.random.default_rng(2)
    n = 8000
    time = rng.integers(0, 100, n)
    count = rng.poisson(time / 40).clip(0, 3)
    reward = (rng.random(n) < sigmoid(-1.0 - 0.8 * count)).astype(np.float64)
    user: KeyArray = np.arange(n).astype(np.uint64)
    flat = np.full(n, reward.mean())
    assert drift_test(user, time, reward, flat).p_value < 0.01
    adjust = (count[:, None] == np.arange(1, 4)).astype(np.float64)
    assert drift_test(user, time, reward, flat, adjust).p_value > 0.01


def test_the_day_is_fixed_and_nothing_else() -> None:
    t = Timeline.of(decisions([[0.5, 3.5]]), Cap(1))
    fixed = with_day_fixed(t, 2.0)
    assert fixed.columns["day"].values.tolist() == [2.0, 2.0]
    assert fixed.columns["hour"].values.tolist() == t.columns["hour"].values.tolist()


def test_later_triggers_are_counted_up_to_the_horizon_of_the_same_user_only() -> None:
    t = Timeline.of(decisions([[0.0, 0.5, 1.0, 2.0, 7.0, 7.5], [0.1]]), Cap(0))
    everywhere = np.ones(len(t), dtype=np.bool_)
    rows = reaction_rows(t, np.full(len(t), 0.3), everywhere, [], 40 * DAY)
    assert np.expm1(rows.later[0]).round(6).tolist() == [2, 3, 4]  # (t, t + 1 d], (t, t + 3 d], (t, t + 7 d]
    assert np.expm1(rows.later[6]).round(6).tolist() == [0, 0, 0]
    assert rows.surprise.tolist() == [-0.3] * 7


def test_rows_whose_future_the_log_does_not_show_are_left_out() -> None:
    t = Timeline.of(decisions([[0.0, 5.0, 20.0]]), Cap(0))
    everywhere = np.ones(len(t), dtype=np.bool_)
    assert len(reaction_rows(t, np.full(3, 0.3), everywhere, [], 10 * DAY).surprise) == 1


def test_of_many_rows_whole_users_are_sampled() -> None:
    few, many = (Timeline.of(decisions([[1.0, 2.0, 3.0]] * n), Cap(0)) for n in (10, MAX_ROWS * 2 // 3))
    assert reaction_sample(few, np.ones(len(few), dtype=np.bool_), 40 * DAY).all()
    sampled = reaction_sample(many, np.ones(len(many), dtype=np.bool_), 40 * DAY)
    assert sampled.mean() == pytest.approx(0.5, abs=0.02)


def _reaction(rng: np.random.Generator, extra: float) -> float:
    """Heavy-tailed visitors; contacts follow activity, and h is estimated with a shrunken slope; rows are dense."""
    n = 3000
    rate = np.repeat(rng.gamma(0.9, 3.0, 600) + 0.1, 5)
    activity = rng.poisson(rate)
    hazard = sigmoid(-2.0 + 0.3 * np.log1p(activity))
    action = rng.random(n) < hazard
    later = rng.poisson(rate[:, None] * np.array(HORIZONS) / 3 + extra * action[:, None])
    estimated = sigmoid(-1.8 + 0.2 * np.log1p(activity))
    levels: IntArray = np.minimum(activity, 11)[:, None].astype(np.int64)
    known: FloatArray = np.log1p(activity)[:, None].astype(np.float64)
    keys: KeyArray = np.repeat(np.arange(600), 5).astype(np.uint64)
    rows = ReactionRows(keys, action - estimated, estimated, np.log1p(later), known, levels)
    return reaction_test(rows).p_value


def test_a_reaction_is_flagged_where_contacts_bring_users_back_and_hardly_ever_elsewhere() -> None:
    """Even where the estimated hazard is off, as long as it is off by a function of what was known."""
    assert _share_flagged(lambda rng: _reaction(rng, 0.0)) <= 0.03
    assert _share_flagged(lambda rng: _reaction(rng, 1.0)) >= 0.9


def test_reaction_rows_of_blocks_join() -> None:
    t = Timeline.of(decisions([[0.0, 1.0], [2.0]]), Cap(0))
    hazard, free = np.full(3, 0.3), np.ones(3, dtype=np.bool_)
    whole = reaction_rows(t, hazard, free, [np.array([0, 1, 1])], 40 * DAY)
    first, second = (t.users(np.arange(2) == i) for i in range(2))
    parts = [
        reaction_rows(first, hazard[:2], free[:2], [np.array([0, 1])], 40 * DAY),
        reaction_rows(second, hazard[2:], free[2:], [np.array([1])], 40 * DAY),
    ]
    assert np.array_equal(ReactionRows.join(parts).later, whole.later)
    assert np.array_equal(ReactionRows.join(parts).user_key, whole.user_key)


def test_calibration_by_hand() -> None:
    """Two users, 16 days in 8 cells of two."""
    user, day = np.array([0, 0, 1]), np.array([0, 1, 15])
    made, expected = calibration_cells(np.array([1, 0, 2]), np.array([0.2, 0.3, 0.4]), user, day, 16, 2)
    assert made[0].tolist() == [1, 0, 0, 0, 0, 0, 0, 0]
    assert expected[0, 0] == 0.5
    assert (made[1, 7], expected[1, 7]) == (1, 0.4)
    table = calibration_table("day", made, expected)
    assert table["ratio"].iloc[0] == 2.0
    assert table["ratio"].iloc[1:7].isna().all()


def test_a_flag_is_one_row_with_a_sentence() -> None:
    table = pd.DataFrame([flag("reaction", joint_test(np.ones((100, 1)))), flag("calibration", None, "nobody knows")])
    assert table["flagged"].tolist() == [True, False]
    assert table["sentence"].iloc[0].startswith("Users come back")
    assert list(table.columns) == ["flag", "statistic", "df", "p_value", "flagged", "sentence"]


@pytest.mark.parametrize(
    ("world", "n_users", "raised"),
    [("visits", 3000, set()), ("reactive", 3000, {"reaction"}), ("drift", 15_000, {"drift"})],
)
def test_in_a_world_the_flag_of_its_fault_is_raised_and_no_other(world: str, n_users: int, raised: set[str]) -> None:
    settings = Settings(grid="light", folds=2)
    log = visible(logged_decisions(WORLDS[world], n_users, np.random.default_rng(0)))
    prepared = prepare_decisions(log, settings)
    crossfitted = cross_fit(prepared, [], settings)
    found = flags(prepared, crossfitted.fitted, crossfitted.splitting, crossfitted.carried)
    table = found.table
    assert table["flag"].tolist() == ["reaction", "drift", "calibration"]
    assert set(table.loc[table["flagged"], "flag"]) - {"calibration"} == raised
    assert set(found.calibration["by"]) == {"day", "triggers_7d"}
    made = found.calibration.groupby("by")["contacts"].sum()
    assert made["day"] == made["triggers_7d"]
    assert 0 < made["day"] <= int((prepared.evaluation.action > 0).sum())  # of a sample of users


def test_where_contacting_is_no_choice_only_drift_is_tested() -> None:
    settings = Settings(grid="light", folds=2)
    log = visible(logged_decisions(WORLDS["visits"], 2000, np.random.default_rng(1)))
    contact = log.action > 0
    kind = Column(np.zeros(len(log), dtype=np.int32), np.array(["x"], dtype=object))
    kept = replace(
        log,
        user_start=starts(np.bincount(log.user_of_row[contact], minlength=log.n_users)),
        time=log.time[contact],
        known_at=log.known_at[contact],
        action=log.action[contact],
        reward=log.reward[contact],
        propensity=log.propensity[contact],
        columns={"what": kind.take(contact)},
        contact_is_a_choice=False,
        activity_known=False,
    )
    prepared = prepare_decisions(kept, settings)
    crossfitted = cross_fit(prepared, [], settings)
    table = flags(prepared, crossfitted.fitted, crossfitted.splitting, crossfitted.carried).table
    assert table["df"].tolist()[1] > 0
    assert table["sentence"].iloc[0] == "This was not tested: contacting was no choice in this log, only the kind was."

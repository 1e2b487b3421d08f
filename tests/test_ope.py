"""Estimators and weights: by hand, as properties, and against the peers' own answers."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engagex_sim.columns import FloatArray
from engagex_sim.ope.raking import raking_factors
from engagex_sim.ope.shrinkage import CLIP, Shrinkage, clip, optimistic, sub_gaussian, switch
from engagex_sim.ope.slope import slope
from engagex_sim.ope.terms import ESTIMATORS, Terms, per_user, value
from engagex_sim.ope.weights import at_least_one, cumulative, overlap, ratio


def total(terms: Terms) -> float:
    """The value when every row is a user."""
    return float(value(*(column.mean(keepdims=True) for column in terms))[0])


PEERS = {  # the name that Open Bandit Pipeline's answers go by, and λ
    "clipped_ips": ("ips_clipped_5", 5.0),
    "clipped_dr": ("dr_clipped_5", 5.0),
    "switch_dr": ("switch_dr_1_5", 1.5),
    "dros": ("dros_3", 3.0),
    "subgaussian_ips": ("subgaussian_ips_0_05", 0.05),
    "subgaussian_dr": ("subgaussian_dr_0_05", 0.05),
}


def test_every_estimator_agrees_with_open_bandit_pipeline(real_data: Path) -> None:
    rows = pd.read_csv(real_data / "peer-values" / "bandit.csv")
    answers = json.loads((real_data / "peer-values" / "bandit.json").read_text())["values"]
    pi, q = rows.filter(regex="^pi_").to_numpy(), rows.filter(regex="^q_").to_numpy()
    action, n = rows["action"].to_numpy(), len(rows)
    weight = ratio(pi[np.arange(n), action], rows["propensity"].to_numpy())
    arguments = (weight, rows["reward"].to_numpy(float), q[np.arange(n), action], (pi * q).sum(axis=1), np.ones(n))
    for name, estimator in ESTIMATORS.items():
        peer, parameter = PEERS.get(name, (name, np.nan))
        assert total(estimator(*arguments, parameter)) == pytest.approx(answers.pop(peer), abs=1e-10), name
    assert not answers


def test_cumulative_weights_in_the_shared_form_agree_with_scope_rl(real_data: Path) -> None:
    """Per-decision answers are the family's forms at each step, added up over the steps."""
    rows = pd.read_csv(real_data / "peer-values" / "trajectories.csv")
    answers = json.loads((real_data / "peer-values" / "trajectories.json").read_text())["values"]
    n_users, n_steps = rows["trajectory"].nunique(), rows["step"].nunique()
    pi, q = rows.filter(regex="^pi_").to_numpy(), rows.filter(regex="^q_").to_numpy()
    taken = np.arange(len(rows)), rows["action"].to_numpy()
    one_step = ratio(pi[taken], rows["propensity"].to_numpy())
    weight = cumulative(np.arange(n_users + 1) * n_steps, one_step).reshape(n_users, n_steps)
    before = np.column_stack([np.ones(n_users), weight[:, :-1]])
    reward, predicted = (own.reshape(n_users, n_steps) for own in (rows["reward"].to_numpy(float), q[taken]))
    model = (pi * q).sum(axis=1).reshape(n_users, n_steps)
    nothing, one = np.zeros(n_users), np.ones(n_users)

    def added_up(name: str, weights: FloatArray, gain: FloatArray) -> float:
        return sum(total(ESTIMATORS[name](w, g, nothing, nothing, one)) for w, g in zip(weights.T, gain.T, strict=True))

    doubly_robust = sum(
        total(ESTIMATORS["dr"](weight[:, t], reward[:, t], predicted[:, t], before[:, t] * model[:, t], one))
        for t in range(n_steps)
    )
    found = {
        "trajectory_is": added_up("ips", weight[:, -1:], reward.sum(axis=1, keepdims=True)),
        "per_decision_is": added_up("ips", weight, reward),
        "self_normalised_trajectory_is": added_up("snips", weight[:, -1:], reward.sum(axis=1, keepdims=True)),
        "self_normalised_per_decision_is": added_up("snips", weight, reward),
        "doubly_robust": doubly_robust,
        "self_normalised_doubly_robust": added_up("snips", weight, reward - predicted)
        + added_up("snips", before, model),
    }
    for name, answer in answers.items():
        constant = name.startswith("self_normalised")  # that a denominator is never 0
        assert found[name] == pytest.approx(answer, abs=1e-7 if constant else 1e-10), name


def test_golden_shrunk_weights() -> None:
    weight = np.array([0.0, 1.0, 4.0])
    assert clip(weight, 2.0).tolist() == [0, 1, 2]
    assert switch(weight, 2.0).tolist() == [0, 1, 0]
    assert optimistic(weight, 2.0).tolist() == pytest.approx([0, 2 / 3, 4 / 9])
    assert sub_gaussian(weight, 0.5).tolist() == pytest.approx([0, 1, 4 / 2.5])


shrinking = [e.shrinkage for e in ESTIMATORS.values() if e.shrinkage is not None]


@given(st.lists(st.floats(0, 1e6), max_size=30).map(np.array), st.sampled_from(shrinking))
def test_the_grid_shrinks_large_weights_step_by_step_from_not_at_all(weight: FloatArray, own: Shrinkage) -> None:
    grid = own.grid(weight)
    assert (np.diff(grid) >= 0).all() or (np.diff(grid) <= 0).all()
    np.testing.assert_allclose(own.shrink(weight, grid[0]), weight)
    large = np.maximum(weight, 1.0)
    steps = np.array([own.shrink(large, parameter) for parameter in grid])
    assert (np.diff(steps, axis=0) <= 1e-9 * large).all()
    assert (steps >= 0).all()


def test_slope_takes_the_least_error_whose_interval_meets_all_before() -> None:
    noise = np.random.default_rng(0).normal(0, 1, 10_000)
    noise = (noise - noise.mean()) / noise.std()
    assert slope([5 * noise, 2 * noise, noise + 0.1, noise + 5, 0.1 * noise]) == 2
    assert slope([noise]) == 0


def test_slope_shrinks_to_the_end_where_nothing_is_lost_and_hardly_where_much_is() -> None:
    rng = np.random.default_rng(0)
    weight = rng.uniform(0, 10, 20_000)
    grid = CLIP.grid(weight)
    only_small = np.where(weight < 1, 1.0, 0.0)
    assert slope(clip(weight, parameter) * only_small for parameter in grid) == len(grid) - 1
    chosen = slope(clip(weight, parameter) for parameter in grid)
    assert clip(weight, grid[chosen]).mean() == pytest.approx(weight.mean(), rel=0.02)


def test_golden_terms_on_three_rows() -> None:
    weight, reward = np.array([2.0, 0.5, 0.0]), np.array([1.0, 0.0, 1.0])
    predicted, model, expected = np.array([0.5, 0.2, 0.1]), np.array([0.4, 0.3, 0.2]), np.ones(3)
    arguments = (weight, reward, predicted, model, expected)
    assert total(ESTIMATORS["ips"](*arguments)) == pytest.approx(2 / 3)
    assert total(ESTIMATORS["snips"](*arguments)) == pytest.approx(2 / 2.5)
    assert total(ESTIMATORS["dm"](*arguments)) == pytest.approx(0.3)
    assert total(ESTIMATORS["dr"](*arguments)) == pytest.approx(0.3 + (2 * 0.5 - 0.5 * 0.2) / 3)
    assert total(ESTIMATORS["sndr"](*arguments)) == pytest.approx(0.3 + (2 * 0.5 - 0.5 * 0.2) / 2.5)


rows = st.integers(3, 30).flatmap(
    lambda n: st.tuples(
        *(st.lists(st.floats(0.01, 5), min_size=n, max_size=n).map(np.array) for _ in range(1)),
        *(st.lists(st.floats(0, 1), min_size=n, max_size=n).map(np.array) for _ in range(3)),
    )
)


@given(rows)
def test_without_a_reward_model_doubly_robust_is_inverse_propensity_scoring(columns: tuple[FloatArray, ...]) -> None:
    weight, reward, *_ = columns
    nothing, one = np.zeros(len(weight)), np.ones(len(weight))
    for robust, plain in (("dr", "ips"), ("sndr", "snips")):
        ours = total(ESTIMATORS[robust](weight, reward, nothing, nothing, one))
        assert ours == pytest.approx(total(ESTIMATORS[plain](weight, reward, nothing, nothing, one)))


@given(rows)
def test_the_logging_policy_itself_is_worth_the_logged_mean(columns: tuple[FloatArray, ...]) -> None:
    _, reward, predicted, _ = columns
    one = np.ones(len(reward))
    for name in ("ips", "snips", "dr", "sndr"):
        assert total(ESTIMATORS[name](one, reward, predicted, predicted, one)) == pytest.approx(reward.mean())


@given(rows, st.floats(0.1, 1))
def test_a_constant_reward_that_the_model_knows_is_the_answer(columns: tuple[FloatArray, ...], reward: float) -> None:
    weight = columns[0]
    constant, one = np.full(len(weight), reward), np.ones(len(weight))
    for name in ("snips", "dm", "dr", "sndr"):
        assert total(ESTIMATORS[name](weight, constant, constant, constant, one)) == pytest.approx(reward)


def test_no_weight_leaves_a_normalised_estimate_undefined_and_no_scale_leaves_the_base() -> None:
    none, one = np.zeros(2), np.ones(2)
    assert np.isnan(total(ESTIMATORS["snips"](none, one, none, none, one)))
    assert total(ESTIMATORS["sndr"](none, one, none, 0.5 * one, none)) == 0.5


def test_sums_per_user_do_not_change_the_value() -> None:
    rng = np.random.default_rng(0)
    weight, reward, predicted, model, expected = rng.random((5, 40))
    user = rng.integers(0, 10, 40)
    for formula in ESTIMATORS.values():
        terms = formula(weight, reward, predicted, model, expected, 0.5)
        summed = per_user(terms, user, 10)
        by_user = float(value(*(column.mean(keepdims=True) for column in summed))[0])
        by_hand = (terms.base.sum() + terms.scale.sum() * terms.numerator.sum() / terms.denominator.sum()) / 10
        assert by_user == pytest.approx(by_hand)


def test_weights_are_zero_where_the_target_never_acts_and_infinite_where_only_it_does() -> None:
    assert ratio(np.array([0.0, 0.2, 0.0, 0.3]), np.array([0.5, 0.4, 0.0, 0.0])).tolist() == [0, 0.5, 0, np.inf]


def test_cumulative_weights_multiply_within_a_user_only() -> None:
    assert cumulative(np.array([0, 3, 3, 5]), np.array([2.0, 0.5, 3.0, 0.1, 2.0])).tolist() == [2, 1, 3, 0.1, 0.2]


def test_inclusion_exclusion_equals_one_minus_the_product_where_contacts_do_not_exclude_one_another() -> None:
    weight = np.array([0.3, 0.5, 0.2, 0.9])
    pairs = [(i, j) for i in range(4) for j in range(i + 1, 4)]
    first, second = np.array(pairs).T
    found = at_least_one(weight, first, second, weight[second])
    assert found.sum() == pytest.approx(1 - np.prod(1 - weight))


def test_golden_overlap() -> None:
    found = overlap(np.array([1.0, 3.0]), np.array([1.0, 0.0]), np.array([0, 1]), np.array([2.0, 2.0]))
    assert found.ess == pytest.approx(16 / 10)
    assert found.max_weight_share == 0.75
    assert found.expected_positives == pytest.approx(16 / 10 / 2)  # half of the logged contacts interested
    assert found.effective_positives == 1
    assert found.expected_contacts == 4
    assert found.imbalance == 0
    assert found.balance_z == 0  # one user 1 below, the other 1 above


def test_raked_contacts_agree_with_every_margin() -> None:
    rng = np.random.default_rng(1)
    levels = np.column_stack([rng.integers(0, 4, 3000), rng.integers(0, 3, 3000)])
    expected = np.zeros((2, 5))
    expected[0, :4], expected[1, :3] = [700, 800, 900, 700], [1000, 900, 1200]
    factors = raking_factors(levels, expected)
    for margin in range(2):
        found = np.bincount(levels[:, margin], 1 / factors, minlength=5)
        np.testing.assert_allclose(found, expected[margin], rtol=1e-6)


def test_raking_finds_the_factors_by_which_probabilities_are_off() -> None:
    """Contacts are made with twice the modelled probability in one level, half of it in another."""
    rng = np.random.default_rng(0)
    level, off = rng.integers(0, 3, 200_000), np.array([2.0, 0.5, 1.0])
    modelled = np.full(len(level), 0.1)
    made = rng.random(len(level)) < modelled * off[level]
    expected = np.bincount(level, modelled)[None, :]
    factors = raking_factors(level[made][:, None], expected)
    for group, factor in enumerate(off):
        np.testing.assert_allclose(factors[level[made] == group], factor, rtol=0.05)


def test_raking_pools_levels_with_few_contacts() -> None:
    level = np.repeat([0, 1, 2, 3], [90, 20, 300, 3])
    factors = raking_factors(level[:, None], np.array([[100.0, 10.0, 300.0, 1.0]]))
    np.testing.assert_allclose(factors[level < 2], 1)
    np.testing.assert_allclose(factors[level >= 2], 303 / 301)

"""Estimators, weights, intervals and verdicts: by hand, as properties, and against the peers' own answers."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engagex_sim.columns import FloatArray
from engagex_sim.hashing import bootstrap_counts, fold_of
from engagex_sim.ope.intervals import bootstrap_means, interval, smallest_lift
from engagex_sim.ope.raking import raking_factors
from engagex_sim.ope.terms import ESTIMATORS, Terms, per_user, value
from engagex_sim.ope.verdict import BETTER, NO_DIFFERENCE, UNANSWERABLE, WORSE, judge
from engagex_sim.ope.weights import Overlap, at_least_one, cumulative, overlap, ratio


def total(terms: Terms) -> float:
    """The value when every row is a user."""
    return float(value(*(column.mean(keepdims=True) for column in terms))[0])


def test_every_estimator_agrees_with_open_bandit_pipeline(real_data: Path) -> None:
    rows = pd.read_csv(real_data / "peer-values" / "bandit.csv")
    answers = json.loads((real_data / "peer-values" / "bandit.json").read_text())
    pi, q = rows.filter(regex="^pi_").to_numpy(), rows.filter(regex="^q_").to_numpy()
    action, n = rows["action"].to_numpy(), len(rows)
    weight = ratio(pi[np.arange(n), action], rows["propensity"].to_numpy())
    arguments = (weight, rows["reward"].to_numpy(float), q[np.arange(n), action], (pi * q).sum(axis=1), np.ones(n))
    for name in ESTIMATORS:
        assert total(ESTIMATORS[name](*arguments)) == pytest.approx(answers["values"][name], abs=1e-10), name


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
        terms = formula(weight, reward, predicted, model, expected)
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


def test_bootstrap_counts_belong_to_users_not_to_their_order() -> None:
    key = np.arange(1, 2001, dtype=np.uint64)
    order = np.random.default_rng(0).permutation(2000)
    counts = bootstrap_counts(key, 5, 0, 50)
    np.testing.assert_array_equal(bootstrap_counts(key[order], 5, 0, 50), counts[:, order])
    np.testing.assert_array_equal(bootstrap_counts(key, 5, 20, 50), counts[20:])
    assert abs(counts.mean() - 1) < 0.02
    assert abs(counts.var() - 1) < 0.03
    assert abs(np.corrcoef(counts)[0, 1:]).max() < 0.12


def test_folds_are_even_and_belong_to_users() -> None:
    key = np.arange(1, 10_001, dtype=np.uint64)
    fold = fold_of(key, 0, 5)
    assert np.bincount(fold).min() > 1850
    np.testing.assert_array_equal(fold_of(key[::-1], 0, 5), fold[::-1])
    assert (fold_of(key, 1, 5) == fold).mean() == pytest.approx(0.2, abs=0.03)


def test_duplicating_every_user_narrows_the_interval_by_the_root_of_two() -> None:
    rng = np.random.default_rng(0)
    column = rng.exponential(1, (4000, 1))
    key = rng.integers(0, 2**63, 8000).astype(np.uint64)
    once = bootstrap_means(column, key[:4000], 1, 2000)
    twice = bootstrap_means(np.vstack([column, column]), key, 1, 2000)
    widths = [np.diff(np.ravel(interval(column.mean(axis=0), own)))[0] for own in (once, twice)]
    assert widths[0] / widths[1] == pytest.approx(np.sqrt(2), rel=0.06)


def test_one_interval_is_the_normal_one_and_several_are_wider() -> None:
    replicates = np.random.default_rng(0).normal(0, [1.0, 2.0, 0.5], (20_000, 3))
    low, high = interval(np.zeros(1), replicates[:, :1])
    assert (low[0], high[0]) == pytest.approx((-1.96, 1.96), abs=0.04)
    low, high = interval(np.zeros(3), replicates)
    np.testing.assert_allclose(high, 2.39 * np.array([1, 2, 0.5]), rtol=0.03)  # 0.95 ** (1/3), two-sided
    inside = ((replicates > low) & (replicates < high)).all(axis=1)
    assert inside.mean() == pytest.approx(0.95, abs=0.001)


def test_an_undefined_estimate_has_an_undefined_interval_and_spoils_no_other() -> None:
    replicates = np.random.default_rng(0).normal(0, 1, (500, 2))
    replicates[:, 1] = np.nan
    low, high = interval(np.array([0.0, np.nan]), replicates)
    assert np.isnan([low[1], high[1]]).all()
    assert low[0] < 0 < high[0]


def test_a_constant_beside_a_real_column_does_not_widen_its_interval() -> None:
    replicates = np.random.default_rng(0).normal(1, 0.1, (1000, 2))
    replicates[:, 1] = 0.1 + 1e-15 * replicates[:, 0]
    low, high = interval(np.array([1.0, 0.1 + 4e-14]), replicates)
    assert high[0] - low[0] == pytest.approx(0.4, abs=0.03)
    assert high[1] == low[1]


def test_the_smallest_lift_is_about_two_over_the_root_of_the_interests() -> None:
    interests = np.repeat([1.0, 0.0], [540, 19_460])
    assert smallest_lift(interests) == pytest.approx(1.96 / np.sqrt(540), rel=0.02)
    assert np.isnan(smallest_lift(np.zeros(10)))


GOOD = Overlap(
    ess=500, max_weight_share=0.01, effective_positives=40, expected_contacts=900, imbalance=0.02, balance_z=0.5
)


@pytest.mark.parametrize(
    ("own", "ends", "verdict", "words"),
    [
        (GOOD, (0.1, 0.2), BETTER, "above 0"),
        (GOOD, (-0.2, -0.1), WORSE, "below 0"),
        (GOOD, (-0.1, 0.2), NO_DIFFERENCE, "contains 0"),
        (GOOD._replace(ess=12), (0.1, 0.2), UNANSWERABLE, "12.0 contacts"),
        (GOOD._replace(max_weight_share=0.69), (0.1, 0.2), UNANSWERABLE, "69 %"),
        (GOOD._replace(effective_positives=3), (0.1, 0.2), UNANSWERABLE, "3.0 interests"),
        (GOOD._replace(balance_z=-4.2, imbalance=-0.3), (0.1, 0.2), UNANSWERABLE, "off by 30 %"),
        (GOOD._replace(balance_z=-4.2), (0.1, 0.2), BETTER, "above 0"),
        (GOOD._replace(ess=float("nan")), (0.1, 0.2), UNANSWERABLE, "no contact"),
        (GOOD._replace(ess=float("nan"), expected_contacts=0.0), (-0.2, -0.1), WORSE, "below 0"),
    ],
)
def test_verdicts(own: Overlap, ends: tuple[float, float], verdict: str, words: str) -> None:
    found = judge(own, *ends)
    assert found.verdict == verdict
    assert words in found.reason

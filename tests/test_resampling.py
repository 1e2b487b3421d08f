"""Resamples of users: whose they are, and that their sums add up over blocks."""

import numpy as np
import pytest
from scipy.stats import poisson

from engagex_sim.hashing import bootstrap_counts, fold_of, uniforms
from engagex_sim.ope import resampling
from engagex_sim.ope.moments import NOBODY, Others, mean_and_deviation
from engagex_sim.ope.resampling import GROUPING, Resampling, bootstrap_sums, means, resampled_sums


def test_bootstrap_counts_belong_to_users_not_to_their_order() -> None:
    key = np.arange(1, 2001, dtype=np.uint64)
    order = np.random.default_rng(0).permutation(2000)
    counts = bootstrap_counts(key, 5, 0, 50)
    np.testing.assert_array_equal(bootstrap_counts(key[order], 5, 0, 50), counts[:, order])
    np.testing.assert_array_equal(bootstrap_counts(key, 5, 20, 50), counts[20:])
    assert abs(counts.mean() - 1) < 0.02
    assert abs(counts.var() - 1) < 0.03
    assert abs(np.corrcoef(counts)[0, 1:]).max() < 0.12


def test_bootstrap_counts_are_where_uniform_numbers_fall_among_the_steps_of_poisson() -> None:
    key = np.random.default_rng(0).integers(0, 2**64, 20_000, dtype=np.uint64)
    for seed in (0, 7):
        expected = np.searchsorted(poisson.cdf(np.arange(20), 1.0), uniforms(key, seed, 4, 24), side="right")
        np.testing.assert_array_equal(bootstrap_counts(key, seed, 3, 23), expected)


def test_replicates_do_not_depend_on_how_many_are_made_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    columns, key = rng.random((500, 3)), rng.integers(0, 2**63, 500).astype(np.uint64)
    whole = bootstrap_sums(columns, key, 1, 40)
    counts = bootstrap_counts(key, 1, 0, 40)
    np.testing.assert_allclose(whole, counts @ columns, rtol=1e-12)
    monkeypatch.setattr(resampling, "USERS_AT_ONCE", 70)
    monkeypatch.setattr(resampling, "REPLICATES_AT_ONCE", 7)
    np.testing.assert_allclose(bootstrap_sums(columns, key, 1, 40), whole, rtol=1e-12)


def test_folds_are_even_and_belong_to_users() -> None:
    key = np.arange(1, 10_001, dtype=np.uint64)
    fold = fold_of(key, 0, 5)
    assert np.bincount(fold).min() > 1850
    np.testing.assert_array_equal(fold_of(key[::-1], 0, 5), fold[::-1])
    assert (fold_of(key, 1, 5) == fold).mean() == pytest.approx(0.2, abs=0.03)


@pytest.mark.parametrize("n_boot", [0, 40])
def test_sums_are_those_of_everybody_of_the_drawn_and_of_all_but_a_group(n_boot: int) -> None:
    rng = np.random.default_rng(0)
    columns, key = rng.random((300, 2)), rng.integers(0, 2**63, 300).astype(np.uint64)
    everybody, drawn, left = Resampling(3, n_boot, 7).split(resampled_sums(columns, key, Resampling(3, n_boot, 7)))
    np.testing.assert_allclose(everybody, columns.sum(axis=0))
    np.testing.assert_allclose(drawn, bootstrap_counts(key, 3, 0, n_boot) @ columns)
    group = fold_of(key, GROUPING, 7)
    np.testing.assert_allclose(left, [columns[group != g].sum(axis=0) for g in range(7)])


def test_neither_the_order_of_users_nor_blocks_change_a_sum() -> None:
    rng = np.random.default_rng(0)
    columns, key = rng.random((3000, 2)), rng.integers(0, 2**63, 3000).astype(np.uint64)
    own, order = Resampling.of(3000, 0, 30), rng.permutation(3000)
    whole = resampled_sums(columns, key, own)
    np.testing.assert_allclose(resampled_sums(columns[order], key[order], own), whole, rtol=1e-12)
    parts = [resampled_sums(columns[users], key[users], own) for users in np.array_split(order, 3)]
    np.testing.assert_allclose(sum(parts), whole, rtol=1e-12)


def test_there_are_no_more_groups_than_users_and_a_mean_over_nobody_is_undefined() -> None:
    assert Resampling.of(3, 0, 10).groups == 3
    found = means(np.array([[4.0], [0.0]]), np.array([2.0, 0.0]))
    assert found[0, 0] == 2
    assert np.isnan(found[1, 0])


@pytest.mark.parametrize("others", [0, 1, 500])
def test_mean_and_deviation_need_of_the_others_only_sums(others: int) -> None:
    values = np.random.default_rng(others).lognormal(0, 1, 800)
    rest = values[:others]
    sums = Others(others, float(rest.sum()), float((rest**2).sum()))
    assert mean_and_deviation(values[others:], sums) == pytest.approx((values.mean(), values.std(ddof=1)), rel=1e-12)


def test_a_constant_has_no_deviation_and_nobody_no_mean() -> None:
    assert mean_and_deviation(np.full(10, 0.1), Others(90, 9.0, 0.9)) == pytest.approx((0.1, 0.0), abs=1e-8)
    assert np.isnan(mean_and_deviation(np.zeros(0), NOBODY)).all()
    assert np.isnan(mean_and_deviation(np.ones(1), NOBODY)[1])

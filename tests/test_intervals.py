"""Intervals: what is read off the resamples of users."""

import numpy as np
import pytest
from scipy.stats import t as student

from engagex_sim.columns import FloatArray, KeyArray
from engagex_sim.ope.intervals import (
    empirical_bernstein,
    influence_interval,
    interval,
    refit_interval,
    refit_notes,
    smallest_lift,
)
from engagex_sim.ope.moments import Others
from engagex_sim.ope.resampling import Resampling, means, resampled_sums


def resampled(columns: FloatArray, key: KeyArray, n_boot: int = 0) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Means over users of every column: of all, drawn, and with a group left out."""
    resampling = Resampling.of(len(key), 1, n_boot)
    sums = resampled_sums(np.column_stack([np.ones(len(key)), columns]), key, resampling)
    return resampling.split(means(sums[:, 1:], sums[:, 0]))


def even(n: int, columns: int) -> FloatArray:
    """Statistics that no group of users pulls more to one side than to the other: no skewness."""
    return np.tile(np.array([[-1.0], [1.0]]), (n // 2, columns))


def test_duplicating_every_user_narrows_the_interval_by_the_root_of_two() -> None:
    rng = np.random.default_rng(0)
    column = rng.exponential(1, (4000, 1))
    key = rng.integers(0, 2**63, 8000).astype(np.uint64)
    widths = [
        np.ptp(interval(*resampled(own, keys, 2000)))
        for own, keys in ((column, key[:4000]), (np.vstack([column, column]), key))
    ]
    assert widths[0] / widths[1] == pytest.approx(np.sqrt(2), rel=0.06)


def test_one_interval_is_the_normal_one_and_several_are_wider() -> None:
    replicates = np.random.default_rng(0).normal(0, [1.0, 2.0, 0.5], (20_000, 3))
    low, high = interval(np.zeros(1), replicates[:, :1], even(500, 1))
    assert (low[0], high[0]) == pytest.approx((-1.96, 1.96), abs=0.04)
    low, high = interval(np.zeros(3), replicates, even(500, 3))
    np.testing.assert_allclose(high, 2.39 * np.array([1, 2, 0.5]), rtol=0.03)  # 0.95 ** (1/3), two-sided
    inside = ((replicates > low) & (replicates < high)).all(axis=1)
    assert inside.mean() == pytest.approx(0.95, abs=0.001)


def test_an_undefined_estimate_has_an_undefined_interval_and_spoils_no_other() -> None:
    replicates = np.random.default_rng(0).normal(0, 1, (500, 2))
    replicates[:, 1] = np.nan
    low, high = interval(np.array([0.0, np.nan]), replicates, even(500, 2))
    assert np.isnan([low[1], high[1]]).all()
    assert low[0] < 0 < high[0]


def test_a_constant_beside_a_real_column_does_not_widen_its_interval() -> None:
    replicates = np.random.default_rng(0).normal(1, 0.1, (1000, 2))
    replicates[:, 1] = 0.1 + 1e-15 * replicates[:, 0]
    low, high = interval(np.array([1.0, 0.1 + 4e-14]), replicates, even(500, 2))
    assert high[0] - low[0] == pytest.approx(0.4, abs=0.03)
    assert high[1] == low[1]


def test_the_jackknife_knows_standard_error_and_skewness_of_a_mean() -> None:
    """Gamma(4) has skewness 1, so the mean of 10,000 users has 0.01; its ends lie (2 · 1.96² + 1) / 6 of that above."""
    rng = np.random.default_rng(0)
    column = rng.gamma(4.0, 1.0, (10_000, 1)) - 4.0
    key = rng.integers(0, 2**63, 10_000).astype(np.uint64)
    jackknife = resampled(column, key)[2]
    assert jackknife.shape == (500, 1)
    error = column.std(ddof=1) / 100
    low, high = influence_interval(column.mean(axis=0), jackknife)
    assert (high - low)[0] == pytest.approx(2 * 1.96 * error, rel=0.1)
    pull = jackknife.mean() - jackknife
    assert (pull**3).sum() / (pull**2).sum() ** 1.5 == pytest.approx(0.01, abs=0.007)


def test_an_interval_of_rare_weighted_interests_misses_the_truth_as_seldom_above_as_below() -> None:
    """About 30 interests of heavy weight among 5,000 users: a symmetric interval misses 7 % above and 1 % below."""
    rng = np.random.default_rng(0)
    n, runs, truth = 5_000, 300, 60 / 5_000
    low, high = np.empty(runs), np.empty(runs)
    for run in range(runs):
        column = np.where(rng.random(n) < truth, rng.lognormal(-0.32, 0.8, n), 0.0)[:, None]
        key = rng.integers(0, 2**63, n).astype(np.uint64)
        some = column[:, 0] > 0  # the others weigh nothing: their number is all that counts, and it hardly varies
        drawn = rng.poisson(1.0, (300, int(some.sum()))) @ column[some] / n
        ends = interval(column.mean(axis=0), drawn, resampled(column, key)[2])
        low[run], high[run] = ends[0][0], ends[1][0]
    below, above = (truth < low).mean(), (truth > high).mean()
    assert 1 - below - above >= 0.92
    assert below >= 0.005
    assert above <= 0.055


def test_a_standard_error_that_a_few_users_decide_has_few_degrees_of_freedom() -> None:
    """Four groups of 500 that alone pull, evenly: relative variance 1/4 − 3/500, so Student's quantile with 8.2."""
    groups = np.zeros((500, 2))
    groups[:4, 0] = [1.0, 1.0, -1.0, -1.0]
    groups[:, 1] = np.tile([1.0, -1.0], 250)
    replicates = np.random.default_rng(0).normal(size=(200_000, 2))
    low, high = interval(np.zeros(2), replicates, groups, jointly=False)
    of_few = student.ppf(0.975, 2 / (1 / 4 - 3 / 500))
    assert (low[0], high[0]) == pytest.approx((-of_few, of_few), rel=0.01)
    assert (low[1], high[1]) == pytest.approx((-1.96, 1.96), rel=0.01)  # all alike: the normal one


def test_few_replicates_widen_the_interval() -> None:
    """As Student's with one degree of freedom less than there are replicates."""
    replicates = np.array([[-1.0], [0.0], [1.0]])
    low, high = interval(np.zeros(1), replicates, even(500, 1), jointly=False)
    assert (low[0], high[0]) == pytest.approx((-4.30265, 4.30265), abs=1e-4)


def test_an_interval_of_heavy_weights_holds_as_often_as_it_says() -> None:
    """150 interests whose weights spread over three powers of ten: with normal critical values it would hold 93 %."""
    rng = np.random.default_rng(1)
    n, runs, expected = 20_000, 1_500, 150
    held = np.empty(runs, dtype=np.bool_)
    for run in range(runs):
        weight = rng.lognormal(-0.72, 1.2, rng.poisson(expected)) / n  # with mean 1 / n
        drawn = rng.poisson(1.0, (300, len(weight))) @ weight
        group = np.bincount(rng.integers(0, 500, len(weight)), weight, minlength=500)
        ends = interval(np.array([weight.sum()]), drawn[:, None], (weight.sum() - group)[:, None])
        held[run] = ends[0][0] < expected / n < ends[1][0]
    assert 0.94 < held.mean() < 0.97


def test_golden_refit_interval() -> None:
    """Three refits with standard deviation 1: Student's quantile with two degrees of freedom is 4.303."""
    low, high = refit_interval(np.array([10.0, np.nan]), np.array([[1.0, 1.0], [2.0, 1.0], [3.0, 1.0]]))
    assert (low[0], high[0]) == pytest.approx((10 - 4.30265, 10 + 4.30265), abs=1e-4)
    assert np.isnan([low[1], high[1]]).all()
    assert np.isnan(refit_interval(np.array([10.0]), np.array([[1.0]]))).all()
    assert np.isnan(refit_interval(np.array([10.0]), np.array([[1.0], [np.nan], [2.0]]))).all()


def test_few_refits_are_called_rough() -> None:
    assert [len(refit_notes(refits, 500)) for refits in (0, 2, 19, 20)] == [0, 1, 1, 0]
    assert "rough" in refit_notes(2, 20)[0]


def test_few_interests_call_for_refits() -> None:
    assert [len(refit_notes(0, interests)) for interests in (199, 200)] == [1, 0]
    assert "--refit-boot" in refit_notes(0, 20)[0] and not refit_notes(20, 20)
    assert not refit_notes(0, 20, contact_is_a_choice=False)


@pytest.mark.parametrize("refits", [2, 4, 15])
def test_intervals_from_few_refits_hold_as_often_as_they_say(refits: int) -> None:
    rng = np.random.default_rng(refits)
    runs = 20_000
    low, high = refit_interval(rng.normal(size=runs), rng.normal(size=(refits, runs)))
    assert ((low < 0) & (high > 0)).mean() == pytest.approx(0.95, abs=0.006)


def test_golden_empirical_bernstein() -> None:
    """Variance 1/2 over two values, ln 80: 0.5 ± (√(ln 80 / 2) + 7 ln 80 / 3)."""
    width = np.sqrt(np.log(80) / 2) + 7 * np.log(80) / 3
    assert empirical_bernstein(np.array([0.0, 1.0]), 1.0) == pytest.approx((0.5 - width, 0.5 + width))
    assert np.isnan(empirical_bernstein(np.array([0.0, 1.0]), np.inf)).all()
    assert np.isnan(empirical_bernstein(np.array([1.0]), 1.0)).all()
    assert empirical_bernstein(np.array([1.0]), 1.0, Others(1)) == pytest.approx((0.5 - width, 0.5 + width))


def test_the_smallest_lift_is_about_two_over_the_root_of_the_interests() -> None:
    interests = np.repeat([1.0, 0.0], [540, 19_460])
    assert smallest_lift(interests) == pytest.approx(1.96 / np.sqrt(540), rel=0.02)
    assert np.isnan(smallest_lift(np.zeros(10)))

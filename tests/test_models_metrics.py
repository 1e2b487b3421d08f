"""Metrics and calibration: golden values by hand, and what must hold for any data."""

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from engagex_sim.models.calibrate import fit_calibration, intercept_for, log_odds, sigmoid
from engagex_sim.models.metrics import classification_metrics, reliability_table, report_by_class


def test_metrics_by_hand():
    """Four rows: one of the two positives is ranked below one negative."""
    outcome, probability = np.array([0.0, 1.0, 0.0, 1.0]), np.array([0.2, 0.4, 0.6, 0.8])
    metrics = classification_metrics(outcome, probability, threshold=0.4)
    assert metrics["n"] == 4
    assert metrics["positives"] == 2
    assert metrics["roc_auc"] == pytest.approx(3 / 4)
    assert metrics["pr_auc"] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert metrics["f1"] == pytest.approx(2 * (2 / 3) * 1 / (2 / 3 + 1))
    assert metrics["brier"] == pytest.approx((0.04 + 0.36 + 0.36 + 0.04) / 4)
    assert metrics["log_loss"] == pytest.approx(-(2 * math.log(0.8) + 2 * math.log(0.4)) / 4)
    assert metrics["calibration_intercept"] == pytest.approx(0.0, abs=1e-9)


def test_overconfident_predictions_have_a_slope_below_one():
    """Log-odds that are twice too large have slope 1/2; a shift of the log-odds is the intercept."""
    rng = np.random.default_rng(1)
    truth = rng.normal(-2.0, 1.0, 200_000)
    outcome = (rng.random(truth.size) < sigmoid(truth)).astype(np.float64)
    assert classification_metrics(outcome, sigmoid(2 * truth), 0.5)["calibration_slope"] == pytest.approx(0.5, abs=0.01)
    assert classification_metrics(outcome, sigmoid(truth - 1), 0.5)["calibration_intercept"] == pytest.approx(
        1.0, abs=0.03
    )


@pytest.mark.parametrize(
    ("outcome", "probability", "defined"),
    [
        ([], [], set()),
        ([1, 1], [0.5, 1.0], {"brier", "log_loss"}),
        ([0, 0], [0.5, 0.0], {"brier", "log_loss"}),
        ([0, 1], [0.5, 0.5], {"brier", "log_loss", "roc_auc", "pr_auc", "f1", "calibration_intercept"}),
        ([0, 1], [0.1, 0.9], {"brier", "log_loss", "roc_auc", "pr_auc", "f1", "calibration_intercept"}),
    ],
)
def test_what_is_undefined_is_nan(outcome, probability, defined):
    """No rows, one class, no spread, separated classes: NaN exactly where no number exists."""
    metrics = classification_metrics(np.array(outcome, dtype=float), np.array(probability, dtype=float), 0.5)
    assert {name for name, value in metrics.items() if not math.isnan(value)} == defined | {"n", "positives"}


@example(np.full(19, 8.2014202e-140), 0, 0.1)  # equal margins whose standard deviation is not quite 0
@given(
    arrays(np.float64, st.integers(2, 60), elements=st.floats(-8, 8)),
    st.integers(0, 2**32 - 1),
    st.sampled_from([0.1, 0.5, 2.0]),
)
def test_calibrated_probabilities_sum_to_the_positives(margin, seed, slope_sd):
    """Any margins and outcomes with both classes: the mean prediction is the mean outcome."""
    outcome = (np.random.default_rng(seed).random(margin.size) < 0.4).astype(np.float64)
    outcome[:2] = 0, 1
    calibration = fit_calibration(margin, outcome, slope_sd)
    assert calibration.probabilities(margin).sum() == pytest.approx(outcome.sum(), rel=1e-6)
    shifted = sigmoid(margin + intercept_for(margin, outcome))
    assert shifted.sum() == pytest.approx(outcome.sum(), rel=1e-6)


def test_few_positives_leave_the_slope_alone_and_many_decide_it():
    """The prior on the slope gives way to data."""
    rng = np.random.default_rng(2)
    margin = rng.normal(-3.0, 0.5, 100_000)
    outcome = (rng.random(margin.size) < sigmoid(-1.5 + 0.5 * margin)).astype(np.float64)
    assert fit_calibration(margin, outcome, 0.5).slope == pytest.approx(0.5, abs=0.06)
    assert fit_calibration(margin[:300], outcome[:300], 0.1).slope == pytest.approx(1.0, abs=0.1)


def test_the_report_by_class_by_hand():
    """Three of four are called interested, two of them rightly; a class that is never predicted has no precision."""
    outcome, probability = np.array([0.0, 1.0, 0.0, 1.0]), np.array([0.2, 0.4, 0.6, 0.8])
    table = report_by_class(outcome, probability, 0.4).set_index("class")
    np.testing.assert_allclose(table.loc["interested"], [2 / 3, 1, 0.8, 2])
    np.testing.assert_allclose(table.loc["not interested"], [1, 1 / 2, 2 / 3, 2])
    np.testing.assert_allclose(table.loc["macro avg"], [5 / 6, 3 / 4, 11 / 15, 4])
    np.testing.assert_allclose(table.loc["accuracy"], [math.nan, math.nan, 3 / 4, 4])
    never = report_by_class(outcome, probability, 0.9).set_index("class")
    assert math.isnan(never.loc["interested", "precision"])
    assert never.loc["interested", "recall"] == 0
    assert never.loc["accuracy", "f1"] == 0.5
    assert report_by_class(np.empty(0), np.empty(0), 0.5)["support"].tolist() == [0] * 5


def test_reliability_bins_have_equal_counts_and_keep_ties_together():
    """Six rows in three bins by hand; equal predictions share a bin; no rows, no bins."""
    outcome = np.array([0.0, 1.0, 0.0, 0.0, 1.0, 1.0])
    table = reliability_table(outcome, np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]), bins=3)
    np.testing.assert_allclose(table["predicted"], [0.15, 0.35, 0.55])
    np.testing.assert_allclose(table["observed"], [0.5, 0.0, 1.0])
    assert table["n"].tolist() == [2, 2, 2]
    assert reliability_table(outcome, np.full(6, 0.3))["n"].tolist() == [6]
    assert len(reliability_table(np.empty(0), np.empty(0))) == 0


@given(arrays(np.float64, st.integers(1, 50), elements=st.floats(0, 1)))
def test_reliability_counts_every_row_once(probability):
    """Nothing is lost, and bins are ordered."""
    table = reliability_table(np.zeros(probability.size), probability, bins=7)
    assert table["n"].sum() == probability.size
    assert table["predicted"].is_monotonic_increasing


def test_log_odds_and_sigmoid_are_inverse():
    """Also near 0 and 1, where both stay finite."""
    p = np.array([1e-9, 0.03, 0.5, 0.97])
    np.testing.assert_allclose(sigmoid(log_odds(p)), p, rtol=1e-9)
    assert np.isfinite(log_odds(np.array([0.0, 1.0]))).all()

"""Logistic calibration: from a model's log-odds to probabilities that come true as often as they say."""

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, logit

from engagex_sim.columns import FloatArray

MAX_STEPS = 100
TINY = 1e-12


@dataclass(frozen=True)
class Calibration:
    """P = sigmoid(intercept + slope × margin), where the margin is the model's log-odds (Platt 1999)."""

    intercept: float
    slope: float

    def probabilities(self, margin: FloatArray) -> FloatArray:
        """Calibrated probabilities, same shape as `margin`, strictly inside (0, 1)."""
        return sigmoid(self.intercept + self.slope * margin)


def constant(mean: float) -> Calibration:
    """The same probability, 0 < mean < 1, whatever the margin."""
    return Calibration(float(logit(mean)), 0.0)


def sigmoid(log_odds: FloatArray) -> FloatArray:
    """1 / (1 + exp(−log_odds)), kept off 0 and 1 so that odds stay finite."""
    return np.asarray(expit(np.clip(log_odds, -30.0, 30.0)), dtype=np.float64)


def log_odds(probability: FloatArray) -> FloatArray:
    """log(p / (1 − p)), with p kept off 0 and 1 by `TINY`."""
    return np.asarray(logit(np.clip(probability, TINY, 1.0 - TINY)), dtype=np.float64)


def fit_calibration(margin: FloatArray, outcome: FloatArray, slope_sd: float = math.inf) -> Calibration:
    """Maximum-likelihood intercept and slope of `outcome` (n,) in {0, 1} on `margin` (n,), by Newton's method.

    A finite `slope_sd` puts a normal prior with that standard deviation and mean 1 on the slope, so that few
    positives leave the model's own slope nearly as it is. The intercept is never shrunk, so that the probabilities
    sum to the number of positives. Both are NaN with one class only; without prior also where the margin has no
    spread or separates the classes.
    """
    positive = outcome > 0
    if not positive.any() or positive.all():
        return Calibration(math.nan, math.nan)
    centre, scale = float(margin.mean()), float(margin.std())
    scale = scale if scale > TINY else 0.0  # a spread from rounding is none
    if slope_sd == math.inf and (scale == 0 or _separated(margin[positive], margin[~positive])):
        return Calibration(math.nan, math.nan)
    scale = scale or 1.0
    x = (margin - centre) / scale
    penalty = (slope_sd * scale) ** -2  # in units of the standardised slope
    a, b = math.log(positive.sum() / (~positive).sum()), 0.0
    for _ in range(MAX_STEPS):
        p = sigmoid(a + b * x)
        w = p * (1.0 - p)
        off_diagonal = (w * x).sum()
        gradient = np.array([(positive - p).sum(), ((positive - p) * x).sum() - penalty * (b - scale)])
        hessian = np.array([[w.sum(), off_diagonal], [off_diagonal, (w * x * x).sum() + penalty]])
        step = np.linalg.solve(hessian, gradient)
        step /= max(1.0, np.abs(step).max())  # far from the optimum Newton overshoots
        a, b = a + step[0], b + step[1]
        if np.abs(step).max() < 1e-10:
            break
    return Calibration(float(a - b * centre / scale), float(b / scale))


def _separated(some: FloatArray, others: FloatArray) -> bool:
    return bool(some.min() >= others.max() or others.min() >= some.max())


def intercept_for(margin: FloatArray, outcome: FloatArray) -> float:
    """What to add to the log-odds (n,) for the probabilities to sum to the positives; NaN with one class only."""
    positives = outcome.sum()
    if not 0 < positives < len(outcome):
        return math.nan
    low, high = -30.0 - margin.max(), 30.0 - margin.min()
    return float(brentq(lambda intercept: sigmoid(margin + intercept).sum() - positives, low, high))

"""Intervals from one bootstrap and one jackknife over users, for any function of means over users."""

import numpy as np
from scipy.special import ndtr, stdtrit
from scipy.stats import t as student

from engagex_sim.columns import BoolArray, FloatArray
from engagex_sim.ope.moments import NOBODY, Others, mean_and_deviation

LEVEL = 0.95
NORMAL = 1.959963984540054  # two-sided, of LEVEL
ENOUGH_REFITS = 20  # for their interval to have about the width that many more would give
ENOUGH_INTERESTS = 200  # with 80 to 150, intervals of eager policies were seen to cover 82 to 92 %: docs/study


def interval(
    estimate: FloatArray, replicates: FloatArray, jackknife: FloatArray, *, jointly: bool = True
) -> tuple[FloatArray, FloatArray]:
    """Lower and upper ends (j,) that hold with probability 0.95, `jointly` or each on its own, from replicates
    (n_boot, j) and the same statistics with one group of users left out, (g, j).

    Each entry's bootstrap standard error times critical values that follow its skewness, which the grouped jackknife
    measures (Hall 1992), and that are Student's with 2 / v degrees of freedom, where v is the relative variance of the
    squared standard error (Satterthwaite 1946): that of the sample, and 2 / (n_boot − 1) for the number of replicates.
    Joint ones belong to the level that covers the largest studentised deviation (max-t; Romano and Wolf 2005). NaN
    where the estimate or more than 1 % of its replicates are undefined.
    """
    defined = _defined(estimate, replicates)
    low, high = np.full(len(estimate), np.nan), np.full(len(estimate), np.nan)
    if not defined.any():
        return low, high
    inside, centre = replicates[:, defined], estimate[defined]
    if jointly:
        inside = inside[np.isfinite(inside).all(axis=1)]
    error = _without_rounding(np.nanstd(np.where(np.isfinite(inside), inside, np.nan), axis=0, ddof=1), centre)
    critical = NORMAL
    if jointly and len(centre) > 1:
        deviation = np.divide(np.abs(inside - centre), error, out=np.zeros_like(inside), where=error > 0)
        critical = max(NORMAL, float(np.quantile(deviation.max(axis=1), LEVEL)))
    _, skewness, variance_of_square = _influence(jackknife[:, defined], centre)
    freedom = 2.0 / (variance_of_square + 2.0 / max(len(inside) - 1, 1))
    critical_values = -stdtrit(freedom, ndtr(-critical))  # from the lower tail, where no digit is lost
    low[defined] = centre - error * _unskewed(critical_values, skewness)
    high[defined] = centre - error * _unskewed(-critical_values, skewness)
    return low, high


def refit_interval(estimate: FloatArray, replicates: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Lower and upper ends (j,), each on its own with probability 0.95, from few replicates (r, j), as those are whose
    models were fitted anew.

    Symmetric: the replicates' standard error times Student's quantile with r - 1 degrees of freedom. NaN for fewer than
    two replicates, and where the estimate or more than 1 % of its replicates are undefined.
    """
    low, high = np.full(len(estimate), np.nan), np.full(len(estimate), np.nan)
    if len(replicates) < 2:
        return low, high
    defined = _defined(estimate, replicates)
    inside, centre = replicates[:, defined], estimate[defined]
    inside = inside[np.isfinite(inside).all(axis=1)]
    quantile = float(student.ppf((1.0 + LEVEL) / 2.0, len(inside) - 1))
    reach = quantile * _without_rounding(inside.std(axis=0, ddof=1), centre)
    low[defined], high[defined] = centre - reach, centre + reach
    return low, high


def refit_notes(refits: int, interests: int, contact_is_a_choice: bool = True) -> list[str]:
    """That so few `interests` in the log call for refits, or that the interval from few refits is rough.

    Where contacting is no choice, policies do not differ in earlier contacts, and few interests call for nothing.
    """
    if refits == 0 and interests < ENOUGH_INTERESTS and contact_is_a_choice:
        return [
            f"A log of {interests} interests may not show how interest depends on earlier contacts, and the intervals"
            f" take for certain what it shows; --refit-boot {ENOUGH_REFITS} fits every model again and allows for that."
        ]
    if 0 < refits < ENOUGH_REFITS:
        return [f"An interval from {refits} refits is rough; {ENOUGH_REFITS} or more tell its width."]
    return []


def influence_interval(estimate: FloatArray, jackknife: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Lower and upper ends (j,), each with probability 0.95, from the statistics with one group left out, (g, j).

    The normal interval with the grouped jackknife's standard error: that of the statistic's influence function over
    users (Efron and Stein 1981).
    """
    width = NORMAL * _influence(jackknife, estimate)[0]
    return estimate - width, estimate + width


def empirical_bernstein(values: FloatArray, span: float, others: Others = NOBODY) -> tuple[float, float]:
    """Ends that hold with probability 0.95 for the mean of values (n,), and of those of `others`, at any n.

    They hold whatever the distribution; `span` is the width of the range in which a value must lie. Maurer and Pontil
    2009, theorem 4, with half the error on either side. NaN for fewer than two values, or without a finite span.
    """
    n = len(values) + others.users
    if n < 2 or not np.isfinite(span):
        return float("nan"), float("nan")
    mean, deviation = mean_and_deviation(values, others)
    log = np.log(2.0 / ((1.0 - LEVEL) / 2.0))
    width = np.sqrt(2.0 * deviation**2 * log / n) + 7.0 * span * log / (3.0 * (n - 1))
    return float(mean - width), float(mean + width)


def _influence(jackknife: FloatArray, centre: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Of statistics, from their values (g, j) with one group left out: standard errors (j,), skewness, and the relative
    variance of the squared standard error.

    With ψ a user's pull on the estimate, the latter is Σψ⁴ / (Σψ²)²: large where a few heavy weights carry the answer.
    The sum over users follows from that over g groups, which exceeds it by about 3 / g.
    """
    kept = np.isfinite(jackknife)
    groups = np.maximum(kept.sum(axis=0), 1)
    pull = np.where(kept, jackknife, 0.0).sum(axis=0) / groups - jackknife
    pull[~kept] = 0.0
    square = (pull**2).sum(axis=0)
    error = _without_rounding(np.sqrt(square * (groups - 1) / groups), centre)
    unit = np.divide(pull, np.sqrt(square), out=np.zeros_like(pull), where=error > 0)
    variance_of_square = np.maximum((unit**4).sum(axis=0) - 3.0 / groups, 0.0)
    return np.where(kept.any(axis=0), error, np.nan), (unit**3).sum(axis=0), variance_of_square


def _unskewed(critical: FloatArray, skewness: FloatArray) -> FloatArray:
    """The values (j,) of studentised estimates whose transforms are `critical` (j,), after removal of the skewness.

    The inverse of Hall's (1992) monotone cubic g(t) = t + S t²/3 + S² t³/27 + S/6, where S is the skewness of the
    estimate: it is near normal where the estimate itself is not.
    """
    at = critical - skewness / 6.0
    tiny = np.abs(skewness) < 1e-5  # the limit, where the formula divides 0 by 0
    safe = np.where(tiny, 1.0, skewness)
    return np.where(tiny, at, 3.0 / safe * (np.cbrt(1.0 + safe * at) - 1.0))


def _defined(estimate: FloatArray, replicates: FloatArray) -> BoolArray:
    """Which estimates (j,) are, and with them at least 99 % of their replicates (r, j)."""
    return np.asarray(np.isfinite(estimate) & (np.isfinite(replicates).mean(axis=0) >= 0.99))


def _without_rounding(error: FloatArray, centre: FloatArray) -> FloatArray:
    """Standard errors (j,), 0 where what is left is rounding and not spread."""
    return np.where(error < 1e-10 * np.maximum(1.0, np.abs(centre)), 0.0, error)


def smallest_lift(interests: FloatArray) -> float:
    """The relative half-width of the current strategy's own interval, from interests per user (n_users,).

    A policy that makes other contacts cannot be told apart from the current strategy by less. NaN without interests.
    """
    mean = interests.mean() if len(interests) else 0.0
    if mean == 0 or len(interests) < 2:
        return float("nan")
    return float(NORMAL * interests.std(ddof=1) / np.sqrt(len(interests)) / mean)

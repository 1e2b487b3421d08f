"""The size of an A/B test of whole users: a two-sided z-test on the difference of two means of interests per user."""

import math
from dataclasses import dataclass
from typing import Self

from scipy.optimize import brentq
from scipy.stats import norm

LONGEST = 100.0  # times the period that was observed: beyond it nothing is planned
LARGEST_LIFT = 1_000.0


@dataclass(frozen=True)
class Outcome:
    """Interests per user over some period: what most users have none of."""

    mean: float
    variance: float

    def scaled(self, factor: float) -> Self:
        """The outcome when every user's rate of interest is `factor` times as high, or the period as long.

        Counts of interests as a mixture of Poisson variables (Greenwood and Yule 1920): with the mean m and the
        variance m + κ m² the zeros that are more than Poisson's come from users' different rates, and at `factor` f the
        variance is f m + κ f² m². Where the variance is below the mean, as under a cap, it grows with the mean.
        """
        mixed = max(self.variance - self.mean, 0.0)
        return type(self)(factor * self.mean, factor * self.variance + (factor**2 - factor) * mixed)


@dataclass(frozen=True)
class Design:
    """What is asked of the test."""

    control_share: float = 0.5
    power: float = 0.8
    alpha: float = 0.05  # two-sided


def power_of(control: Outcome, treatment: Outcome, n_control: float, n_treatment: float, design: Design) -> float:
    """The chance that the test rejects, in large samples: Φ(|δ|/se − z) + Φ(−|δ|/se − z), z = z_{1−α/2}.

    δ is the difference of the means and se² = v_t / n_t + v_c / n_c: the two-sample z-test with unequal variances
    (Chow, Shao, Wang and Lokhnygina 2018, Sample Size Calculations in Clinical Research, ch. 3).
    """
    error = math.sqrt(treatment.variance / n_treatment + control.variance / n_control)
    away = abs(treatment.mean - control.mean) / error if error > 0 else math.inf
    z = norm.ppf(1 - design.alpha / 2)
    return float(norm.cdf(away - z) + norm.cdf(-away - z))


def users_needed(control: Outcome, lift: float, design: Design) -> float:
    """Users in all, both arms together, that show a relative `lift`: not a whole number; inf where lift is 0.

    N = (z_{1−α/2} + z_{power})² (v_t / (1 − s) + v_c / s) / δ² with the control share s (ibid.).
    """
    treatment, s = control.scaled(1 + lift), design.control_share
    difference = treatment.mean - control.mean
    if difference == 0:
        return math.inf
    z = norm.ppf(1 - design.alpha / 2) + norm.ppf(design.power)
    return float(z**2 * (treatment.variance / (1 - s) + control.variance / s) / difference**2)


def arms(users: float, design: Design) -> tuple[int, int]:
    """Whole users of control and treatment."""
    s = design.control_share
    return math.ceil(s * users - 1e-9), math.ceil((1 - s) * users - 1e-9)


def time_needed(control: Outcome, lift: float, users: int, design: Design) -> float:
    """How many times the observed period the test of all `users` takes to show `lift`; inf beyond `LONGEST` times."""

    def missing(factor: float) -> float:
        own = control.scaled(factor)
        return _power_of_all(own, lift, users, design) - design.power

    if lift == 0 or missing(LONGEST) < 0:
        return math.inf
    shortest = 1 / 1_000
    return shortest if missing(shortest) >= 0 else float(brentq(missing, shortest, LONGEST, xtol=1e-6))


def smallest_lift(control: Outcome, users: int, design: Design) -> float:
    """The smallest relative increase that a test of `users` over the observed period shows; inf where there is none."""

    def missing(lift: float) -> float:
        return _power_of_all(control, lift, users, design) - design.power

    if control.mean == 0 or missing(LARGEST_LIFT) < 0:
        return math.inf
    return float(brentq(missing, 1e-9, LARGEST_LIFT, xtol=1e-9))


def _power_of_all(control: Outcome, lift: float, users: int, design: Design) -> float:
    s = design.control_share
    return power_of(control, control.scaled(1 + lift), s * users, (1 - s) * users, design)

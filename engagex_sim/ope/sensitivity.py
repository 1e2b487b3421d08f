"""How strong a hidden cause would have to be to overturn an answer.

Marginal sensitivity model (Tan 2006; Kallus and Zhou 2018; Zhao, Small and Bhattacharya 2019), on the marginal contact
probability: a hidden cause U may multiply the odds of a contact of kind k at t by a factor between 1/Λ and Λ,

    1/Λ ≤ odds of P(a_t = k | X, U) / odds of P(a_t = k | X) ≤ Λ        with q^b_t(k) = P(a_t = k | X)

so the true inverse probability lies between 1 + (1/q^b − 1)/Λ and 1 + (1/q^b − 1)·Λ, and the true weight between
w − (1 − 1/Λ)(w − q^π) and w + (Λ − 1)(w − q^π), where w = q^π/q^b. Were the true weight w* known, the value would be
E Σ w* r. The doubly robust estimate has mean E Σ w r whatever U is: E Σ w q̂(x, a) equals its model term, since a_t has
probability q^b given X alone. Hence value = E[dr] + E Σ (w* − w) r, and as r ≥ 0

    dr − (1 − 1/Λ)·E  ≤  value  ≤  dr + (Λ − 1)·E        E = mean over users of Σ (w − q^π) r

One column per user, E, therefore gives the bounds for every Λ. That E[w* | X, a] = w could tighten them (Dorn and Guo
2023) only where interest is likelier than 1/(1 + Λ): with rare interests they are as sharp as they can be.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq

from engagex_sim.columns import FloatArray, IntArray, sums_by

STRENGTHS = (1.0, 1.05, 1.1, 1.25, 1.5, 2.0, 3.0, 5.0)  # Λ; 1 = no hidden cause
TAIL = 0.025  # on either side of a 95 % interval


class BreakingPoint(NamedTuple):
    """The Λ from which on a lift cannot be told from 0: NaN where it never could, inf where no Λ does it."""

    strength: float
    reason: str | None  # why it is not a finite number


def exposure(weight: FloatArray, target: FloatArray, reward: FloatArray, user: IntArray, n_users: int) -> FloatArray:
    """Σ (w − q^π) r per user, shape (n_users,): the interests that a hidden cause could have brought about.

    Over logged contacts, (c,) each: `weight` w = q^π/q^b, `target` q^π, their `reward` and `user`. A contact that the
    weights leave out (w = 0) counts nothing, nor does one whose recalibrated q^b exceeds 1.
    """
    return sums_by(user, np.maximum(weight - target, 0.0) * reward * (weight > 0), n_users)


def bounds(value: FloatArray, exposed: FloatArray, strength: float) -> tuple[FloatArray, FloatArray]:
    """The lowest and highest value (or lift) that a hidden cause of `strength` Λ leaves possible, element by element.

    `value` and `exposed` are means over users of one shape, estimates or replicates.
    """
    return value - (1.0 - 1.0 / strength) * exposed, value + (strength - 1.0) * exposed


def outer_interval(value: FloatArray, exposed: FloatArray, strength: float) -> tuple[float, float]:
    """The lower end of the lower bound's 95 % interval and the upper end of the upper bound's.

    Percentiles of the replicates (n_boot,) of the bounds: they cover the true value with at least 95 % wherever in the
    bounds it lies (Zhao, Small and Bhattacharya 2019).
    """
    low, high = bounds(value, exposed, strength)
    return float(np.nanquantile(low, TAIL)), float(np.nanquantile(high, 1.0 - TAIL))


def breaking_point(lift: FloatArray, exposed: FloatArray) -> BreakingPoint:
    """The Λ at which the interval of the lift's bounds reaches 0, from replicates (n_boot,) of lift and exposure."""
    low, high = outer_interval(lift, exposed, 1.0)
    if not low > 0 and not high < 0:
        return BreakingPoint(math.nan, "the lift cannot be told from 0 even without a hidden cause")
    if low > 0:
        # In 1 − 1/Λ both bounds are straight lines; at 1, which no Λ reaches, all exposed interests are gone.
        share = _root(lambda s: float(np.nanquantile(lift - s * exposed, TAIL)), 1.0)
        strength = 1.0 / (1.0 - share) if share < 1.0 else math.inf
    else:
        strength = 1.0 + _root(lambda s: float(np.nanquantile(lift + s * exposed, 1.0 - TAIL)), 1e6)
        strength = strength if strength < 1e6 else math.inf
    return BreakingPoint(strength, "no hidden cause of any strength reaches 0" if math.isinf(strength) else None)


def _root(end: Callable[[float], float], furthest: float) -> float:
    """Where `end`, monotone, crosses 0 between 0 and `furthest`; `furthest` where it does not."""
    return furthest if end(0.0) * end(furthest) > 0 else float(brentq(end, 0.0, furthest, xtol=1e-9))

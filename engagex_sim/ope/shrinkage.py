"""Ways to shrink importance weights: less variance for some bias. Pure functions of weights (n,)."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from engagex_sim.columns import FloatArray

# Shares of the weights that are kept as they are, about, from the most to the fewest: where λ is looked for.
KEPT = (1.0, 0.999, 0.995, 0.99, 0.98, 0.95, 0.9, 0.8, 0.65, 0.5)


def clip(weight: FloatArray, parameter: float) -> FloatArray:
    """min(w, λ), for λ > 0 (Ionides 2008)."""
    return np.minimum(weight, parameter)


def switch(weight: FloatArray, parameter: float) -> FloatArray:
    """w · 1[w ≤ λ], for λ ≥ 0: above λ the reward model alone speaks (Wang, Agarwal and Dudík 2017)."""
    return np.where(weight <= parameter, weight, 0.0)


def optimistic(weight: FloatArray, parameter: float) -> FloatArray:
    """λ w / (w² + λ), for λ > 0, written so that λ = ∞ leaves w (Su, Dimakopoulou, Krishnamurthy and Dudík 2020)."""
    return weight / (weight**2 / parameter + 1.0)


def sub_gaussian(weight: FloatArray, parameter: float) -> FloatArray:
    """w / (1 − λ + λ w), for λ in [0, 1) (Metelli, Russo and Restelli 2021)."""
    return weight / (1.0 - parameter + parameter * weight)


class Shrinkage(NamedTuple):
    """A way to shrink, and where its λ is looked for."""

    shrink: Callable[[FloatArray, float], FloatArray]
    none: float  # the λ that leaves every weight as it is
    holding: Callable[[FloatArray], FloatArray]  # the λ that begins to hold back weights of this size

    def grid(self, weight: FloatArray) -> FloatArray:
        """Values of λ, from none to the strongest, at quantiles of the weights that are not next to 0."""
        positive = weight[weight > 1e-9]
        if not len(positive):
            return np.array([self.none])
        strength = self.holding(np.unique(np.quantile(positive, KEPT))[::-1])
        return np.concatenate([[self.none], strength])


CLIP = Shrinkage(clip, np.inf, lambda level: level)
SWITCH = Shrinkage(switch, np.inf, lambda level: level)
OPTIMISTIC = Shrinkage(optimistic, np.inf, np.square)
SUB_GAUSSIAN = Shrinkage(sub_gaussian, 0.0, lambda level: np.minimum(1.0 / level, 0.5))  # shrunk weights stay below 1/λ

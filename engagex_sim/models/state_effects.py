"""What a user's contact history adds to a model's log odds, class by class."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from engagex_sim.columns import FloatArray, IntArray
from engagex_sim.models.calibrate import sigmoid
from engagex_sim.states import States

EFFECT_SD = 1.0  # of the normal prior on the effect of a class, in log odds: hardly felt where contacts are many
STEPS = 50


@dataclass(frozen=True)
class StateEffects:
    """Effects (size,) on the log odds, one per state; those of recency and of the group add up."""

    states: States
    effect: FloatArray
    variance: FloatArray  # (size,) of each effect, in large samples

    @classmethod
    def none(cls, states: States) -> Self:
        """Every effect 0, without doubt."""
        return cls(states, np.zeros(states.size), np.zeros(states.size))

    @classmethod
    def fit(cls, states: States, state: IntArray, log_odds: FloatArray, outcome: FloatArray) -> Self:
        """Penalised maximum likelihood of `outcome` (n,) in {0, 1}, with `log_odds` (n,) as offset and `state` (n,).

        An effect per class of recency and per group, with a normal prior of mean 0 each, and an intercept without; by
        Newton's method.
        """
        recencies = len(states.edges) + 1
        width = 1 + recencies + states.groups
        recency, group = 1 + state // states.groups, 1 + recencies + state % states.groups
        penalty = np.full(width, EFFECT_SD**-2)
        penalty[0] = 1e-9
        beta = np.zeros(width)
        for _ in range(STEPS):
            p = sigmoid(log_odds + beta[0] + beta[recency] + beta[group])
            rest, curvature = outcome - p, p * (1 - p)
            gradient = -penalty * beta
            gradient[0] += rest.sum()
            gradient += np.bincount(recency, rest, width) + np.bincount(group, rest, width)
            hessian = np.diag(penalty + np.bincount(recency, curvature, width) + np.bincount(group, curvature, width))
            hessian[0, 0] += curvature.sum()
            hessian[0, 1:] = hessian[1:, 0] = np.diag(hessian)[1:] - penalty[1:]
            cross = np.bincount(recency * width + group, curvature, width * width).reshape(width, width)
            hessian += cross + cross.T
            step = np.linalg.solve(hessian, gradient)
            beta += step / max(1.0, np.abs(step).max())
            if np.abs(step).max() < 1e-9:
                break
        every = np.arange(states.size)
        design = np.zeros((states.size, width))
        design[every, 0] = design[every, 1 + every // states.groups] = 1.0
        design[every, 1 + recencies + every % states.groups] = 1.0
        return cls(states, design @ beta, np.sum(design * np.linalg.solve(hessian, design.T).T, axis=1))

    def held_out(self, state: IntArray, log_odds: FloatArray, outcome: FloatArray) -> FloatArray:
        """Log odds (n,) of the rows that were fitted, each as if it alone had been left out.

        One step of Newton's method away from the fit on all rows (Pregibon 1981; Rad and Maleki 2020).
        """
        margin = log_odds + self.effect[state]
        p, spread = sigmoid(margin), self.variance[state]
        return np.asarray(margin - spread * (outcome - p) / (1.0 - spread * p * (1.0 - p)))

    def to_json(self) -> dict[str, Any]:
        """Plain numbers, for `from_json`; JSON keeps them to the last bit."""
        return {"states": asdict(self.states), "effect": self.effect.tolist(), "variance": self.variance.tolist()}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """The effects that `to_json` wrote down."""
        states = States(**stored["states"] | {"edges": tuple(stored["states"]["edges"])})
        return cls(states, np.array(stored["effect"]), np.array(stored["variance"]))

    def log_odds(self, margin: FloatArray) -> FloatArray:
        """(n, S, K) from a model's log odds (n, K)."""
        return np.asarray(margin[:, None, :] + self.effect[None, :, None])


def log_loss(log_odds: FloatArray, outcome: FloatArray) -> FloatArray:
    """−log P(outcome), (n,), from log odds (n,)."""
    return np.asarray(np.logaddexp(0.0, np.where(outcome > 0, -log_odds, log_odds)))

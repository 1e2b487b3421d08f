"""The estimators: each gives four columns B, Q, N, D, and every one of them is read by the same formula.

    value = mean(B) + mean(Q) · ΣN / ΣD

The mean is over users, so columns are first summed per user. Rows are decision points, or sums over decision points
whose reward is 0: nothing below multiplies two rows. Arguments, all (n,): `weight` w, `reward` r, `predicted`
q̂(x, a) of the action taken, `model` Σ_k π(k) q̂(x, k), `expected` what w sums to in expectation (1 per decision with
one-step weights, Σ_k q^π(k) with cap-marginal ones).

A member of the family is one of five forms below, with weights as they are or shrunk (`ope.shrinkage`).
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from engagex_sim.columns import FloatArray, IntArray, sums_by
from engagex_sim.ope.shrinkage import CLIP, OPTIMISTIC, SUB_GAUSSIAN, SWITCH, Shrinkage


class Terms(NamedTuple):
    """The columns of the shared form, (n,) each, per row or per user."""

    base: FloatArray  # B
    scale: FloatArray  # Q
    numerator: FloatArray  # N
    denominator: FloatArray  # D


def ips(
    weight: FloatArray, reward: FloatArray, predicted: FloatArray, model: FloatArray, expected: FloatArray
) -> Terms:
    """Inverse propensity scoring (Horvitz and Thompson 1952): Σ w r."""
    del predicted, model, expected
    one = np.ones_like(weight)
    return Terms(np.zeros_like(weight), one, weight * reward, one)


def snips(
    weight: FloatArray, reward: FloatArray, predicted: FloatArray, model: FloatArray, expected: FloatArray
) -> Terms:
    """Self-normalised inverse propensity scoring (Swaminathan and Joachims 2015): Σ w r / Σ w."""
    del predicted, model
    return Terms(np.zeros_like(weight), expected, weight * reward, weight)


def dm(weight: FloatArray, reward: FloatArray, predicted: FloatArray, model: FloatArray, expected: FloatArray) -> Terms:
    """Direct method (Beygelzimer and Langford 2009): what the reward model alone says."""
    del reward, predicted, expected
    one = np.ones_like(weight)
    return Terms(model, one, np.zeros_like(weight), one)


def dr(weight: FloatArray, reward: FloatArray, predicted: FloatArray, model: FloatArray, expected: FloatArray) -> Terms:
    """Doubly robust (Dudík, Langford and Li 2011): the direct method plus the weighted errors of the model."""
    del expected
    one = np.ones_like(weight)
    return Terms(model, one, weight * (reward - predicted), one)


def sndr(
    weight: FloatArray, reward: FloatArray, predicted: FloatArray, model: FloatArray, expected: FloatArray
) -> Terms:
    """Self-normalised doubly robust: the correction of `dr` divided by Σ w."""
    return Terms(model, expected, weight * (reward - predicted), weight)


class Estimator(NamedTuple):
    """A member of the family: one of the forms, with weights as they are or shrunk."""

    form: Callable[[FloatArray, FloatArray, FloatArray, FloatArray, FloatArray], Terms]
    shrinkage: Shrinkage | None = None

    def __call__(
        self,
        weight: FloatArray,
        reward: FloatArray,
        predicted: FloatArray,
        model: FloatArray,
        expected: FloatArray,
        parameter: float = float("nan"),
    ) -> Terms:
        """The columns of the shared form; `parameter` is the λ of a member that shrinks."""
        own = weight if self.shrinkage is None else self.shrinkage.shrink(weight, parameter)
        return self.form(own, reward, predicted, model, expected)


ESTIMATORS: Mapping[str, Estimator] = {
    "ips": Estimator(ips),
    "clipped_ips": Estimator(ips, CLIP),
    "snips": Estimator(snips),
    "dm": Estimator(dm),
    "dr": Estimator(dr),
    "clipped_dr": Estimator(dr, CLIP),
    "sndr": Estimator(sndr),
    "switch_dr": Estimator(dr, SWITCH),
    "dros": Estimator(dr, OPTIMISTIC),
    "subgaussian_ips": Estimator(ips, SUB_GAUSSIAN),
    "subgaussian_dr": Estimator(dr, SUB_GAUSSIAN),
}


def per_user(terms: Terms, user: IntArray, n_users: int) -> Terms:
    """The columns summed over the rows of each user, (n_users,) each; `user` (n,) says whose a row is."""
    return Terms(*(sums_by(user, column, n_users) for column in terms))


def value(base: FloatArray, scale: FloatArray, numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """The shared form from means over users of B, Q, N and D, all of one shape.

    NaN where Q > 0 asks for a correction and D = 0 leaves nothing to take it from.
    """
    correction = np.divide(scale * numerator, denominator, out=np.full(base.shape, np.nan), where=denominator != 0)
    return base + np.where(scale == 0, 0.0, correction)

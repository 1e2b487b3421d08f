"""The arguments of the estimators: what an observed block says about one policy with one kind of weights."""

from dataclasses import dataclass

import numpy as np

from engagex_sim.columns import FloatArray, IntArray, sums_by
from engagex_sim.observe import Observed
from engagex_sim.ope.slope import slope
from engagex_sim.ope.terms import Estimator, Terms
from engagex_sim.ope.weights import at_least_one, ratio
from engagex_sim.policy_terms import PolicyTerms


@dataclass(frozen=True)
class Rows:
    """The arguments of the estimators: a row per logged contact, then one per user for all other decisions."""

    weight: FloatArray
    reward: FloatArray
    predicted: FloatArray
    model: FloatArray
    expected: FloatArray
    is_contact: FloatArray
    contact_model: FloatArray

    def terms(self, estimator: Estimator, parameter: float) -> Terms:
        """The columns for interests."""
        return estimator(self.weight, self.reward, self.predicted, self.model, self.expected, parameter)

    def contact_terms(self, estimator: Estimator) -> Terms:
        """The columns for contacts, whose "reward" is known to be 1."""
        return estimator(self.weight, self.is_contact, self.is_contact, self.contact_model, self.expected)

    def shrinkage(self, estimator: Estimator, user: IntArray) -> float:
        """The λ for an estimator that shrinks: SLOPE on its sums per user; NaN for one that does not.

        `user` (c,) is the user of each logged contact.
        """
        if estimator.shrinkage is None:
            return float("nan")
        contacts = len(user)
        plain = estimator.form(np.ones_like(self.weight), self.reward, self.predicted, self.model, self.expected)
        base, weight, gain = plain.base[contacts:], self.weight[:contacts], plain.numerator[:contacts]
        grid, shrink = estimator.shrinkage.grid(weight), estimator.shrinkage.shrink
        return float(grid[slope(base + sums_by(user, shrink(weight, own) * gain, len(base)) for own in grid)])


def rows_of(o: Observed, policy: PolicyTerms, kind: str, weight: FloatArray) -> Rows:
    """The rows of one policy; `weight` (c,) are its weights of this kind: step, traj or cap."""
    n_contacts, n_users = len(o.user), len(o.user_key)
    none, nobody = np.zeros(n_contacts), np.zeros(n_users)
    if kind == "step":
        rest = policy.one_step_rest
        model, contact_model = policy.one_step_model, policy.one_step_contacts
        expected = np.concatenate([none + 1, o.decisions - np.bincount(o.user, minlength=n_users)])
    else:
        rest = nobody
        model, contact_model = policy.model.sum(axis=1), policy.expected
        total = policy.expected
        if kind == "traj":  # Jiang and Li 2016: the model at the logged states, weighted by what led there
            model, contact_model = policy.history_model, policy.history_contacts
            total = total if np.isfinite(total).all() else contact_model  # what the recursion cannot tell, the log can
        expected = np.concatenate([none, total])
    return Rows(
        weight=np.concatenate([weight, rest]),
        reward=np.concatenate([o.reward, nobody]),
        predicted=np.concatenate([o.predicted, nobody]),
        model=np.concatenate([none, model]),
        expected=expected,
        is_contact=np.concatenate([none + 1, nobody]),
        contact_model=np.concatenate([none, contact_model]),
    )


def possible(weight: FloatArray) -> FloatArray:
    """Weights, 0 where the logging policy as modelled could not have made the contact.

    Those contacts broke the cap in a log that otherwise keeps it.
    """
    return np.where(np.isfinite(weight), weight, 0.0)


def overlap_of_interests(o: Observed, policy: PolicyTerms, weight: FloatArray, factor: FloatArray) -> FloatArray:
    """Per user (n_users,): weighted interests less the weighted chance of at least one; 0 for at most one interest."""
    liked = weight * o.reward
    pair = possible(ratio(policy.pair_probability, o.pair_logging * factor[o.second]))
    return sums_by(o.user, liked - at_least_one(liked, o.first, o.second, pair), len(o.user_key))


def first_interest(o: Observed) -> FloatArray:
    """(c,) 1 at each user's first interest."""
    first = np.zeros(len(o.user))
    liked = np.flatnonzero(o.reward > 0)
    _, position = np.unique(o.user[liked], return_index=True)
    first[liked[position]] = 1.0
    return first

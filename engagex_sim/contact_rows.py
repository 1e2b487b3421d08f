"""The arguments of the estimators: what was observed says about one policy with one kind of weights."""

from dataclasses import dataclass

import numpy as np

from engagex_sim.columns import FloatArray, sums_by
from engagex_sim.observed import Observed, ObservedPolicy
from engagex_sim.ope.slope import slope
from engagex_sim.ope.terms import Estimator, Terms
from engagex_sim.ope.weights import at_least_one, ratio


@dataclass(frozen=True)
class Rows:
    """The arguments of the estimators (n,): a row per logged contact, or one per sum over all other decisions."""

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


def contact_rows(o: Observed, kind: str, weight: FloatArray) -> Rows:
    """The logged contacts (c,); `weight` (c,) are a policy's weights of this kind: step, traj or cap."""
    none, one = np.zeros(len(o.user)), np.ones(len(o.user))
    return Rows(
        weight=weight,
        reward=o.reward,
        predicted=o.predicted,
        model=none,
        expected=one if kind == "step" else none,
        is_contact=one,
        contact_model=none,
    )


def other_rows(o: Observed, policy: ObservedPolicy, kind: str) -> Rows:
    """All other decisions, whose reward is 0, and the models at all decisions: their sums in every resample (r,)."""
    none = np.zeros(len(o.users))
    model, contact_model = policy.sums.modelled(kind)
    if kind == "step":
        expected = o.no_contact
    else:  # what the recursion cannot tell, the log can
        expected = policy.sums.expected if np.isfinite(policy.sums.expected[0]) else contact_model
    return Rows(
        weight=policy.sums.one_step_rest if kind == "step" else none,
        reward=none,
        predicted=none,
        model=model,
        expected=expected,
        is_contact=none,
        contact_model=contact_model,
    )


def shrinkage(o: Observed, policy: ObservedPolicy, kind: str, contacts: Rows, estimator: Estimator) -> float:
    """The λ for an estimator that shrinks: SLOPE on its sums per user; NaN for one that does not.

    `contacts` are the policy's logged contacts with weights of this kind.
    """
    if estimator.shrinkage is None:
        return float("nan")

    def base(model: FloatArray) -> FloatArray:
        """What the estimator takes from these sums of the model: all of it, or nothing."""
        none = np.zeros_like(model)
        return estimator.form(none, none, none, model, none).base

    own, others = base(policy.active.modelled(kind)[0]), o.others(base(policy.others.modelled(kind)[0]))
    weight, shrink, grid = contacts.weight, estimator.shrinkage.shrink, estimator.shrinkage.grid(contacts.weight)
    gain = estimator.form(np.ones_like(weight), contacts.reward, contacts.predicted, contacts.model, contacts.expected)
    sums = (own + sums_by(o.user, shrink(weight, parameter) * gain.numerator, len(own)) for parameter in grid)
    return float(grid[slope(sums, others)])


def possible(weight: FloatArray) -> FloatArray:
    """Weights, 0 where the logging policy as modelled could not have made the contact.

    Those contacts broke the cap in a log that otherwise keeps it.
    """
    return np.where(np.isfinite(weight), weight, 0.0)


def chance_missed(o: Observed, policy: ObservedPolicy, weight: FloatArray, factor: FloatArray) -> FloatArray:
    """(c,) weighted interests less what each adds to the weighted chance of at least one, over a user's contacts.

    0 for at most one interest.
    """
    liked = weight * o.reward
    pair = possible(ratio(policy.logged.pair_probability, o.pair_logging * factor[o.second]))
    return np.asarray(liked - at_least_one(liked, o.first, o.second, pair))


def unneeded_contacts(policy: ObservedPolicy, weight: FloatArray, reward: FloatArray, missed: FloatArray) -> FloatArray:
    """(c,) weighted contacts after a first interest, at the contact of that interest: what a stop there saves.

    `missed` (c,) is the user's `chance_missed`, so that w r − missed adds up to the chance of a first interest.
    """
    return (weight * reward - missed) * possible(policy.logged.contacts_after)


def first_interest(o: Observed) -> FloatArray:
    """(c,) 1 at each user's first interest."""
    first = np.zeros(len(o.user))
    liked = np.flatnonzero(o.reward > 0)
    _, position = np.unique(o.user[liked], return_index=True)
    first[liked[position]] = 1.0
    return first

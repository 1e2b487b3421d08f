"""From observed blocks to estimates: every policy × estimator × metric, with one bootstrap for all of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from engagex_sim.columns import FloatArray, sums_by
from engagex_sim.observe import Observed, PolicyTerms
from engagex_sim.ope.intervals import bootstrap_means
from engagex_sim.ope.raking import raking_factors
from engagex_sim.ope.terms import ESTIMATORS, Terms, per_user, value
from engagex_sim.ope.weights import Overlap, at_least_one, overlap, ratio

METRICS = ("interests_per_user", "interested_users", "contacts_per_user", "interests_per_contact", "profit_per_user")
WEIGHTS = ("step", "traj", "cap")
# The reward model alone needs no weights beyond those of the states it averages over: `dm_traj` would be `dm_cap`.
NAMES = tuple(f"{name}_{kind}" for kind in WEIGHTS for name in ESTIMATORS if (name, kind) != ("dm", "traj"))


@dataclass(frozen=True)
class Estimates:
    """Values and their bootstrap replicates; p policies, e estimators, m metrics, d days."""

    value: FloatArray  # (p, e, m)
    replicates: FloatArray  # (n_boot, p, e, m)
    current: FloatArray  # (m,) the log itself
    current_replicates: FloatArray  # (n_boot, m)
    curve: FloatArray  # (p + 1, d) cumulative interests per user; the last row is the current strategy
    curve_replicates: FloatArray  # (n_boot, p + 1, d)
    overlap: Sequence[Mapping[str, Overlap]]  # per policy: kind of weights → overlap
    weights: Sequence[FloatArray]  # (c,) per policy: cap-marginal weights


@dataclass(frozen=True)
class _Rows:
    """The arguments of the estimators: a row per logged contact, then one per user for all other decisions."""

    weight: FloatArray
    reward: FloatArray
    predicted: FloatArray
    model: FloatArray
    expected: FloatArray
    is_contact: FloatArray
    contact_model: FloatArray

    def terms(self, name: str, *, contacts: bool = False, reward: FloatArray | None = None) -> Terms:
        """The columns of estimator `name`, for interests, or for contacts (whose "reward" is known to be 1)."""
        if contacts:
            return ESTIMATORS[name](self.weight, self.is_contact, self.is_contact, self.contact_model, self.expected)
        own = self.reward if reward is None else reward
        return ESTIMATORS[name](self.weight, own, self.predicted, self.model, self.expected)


class _Columns:
    """Per-user columns side by side, equal ones once, so that one product bootstraps everything."""

    def __init__(self) -> None:
        self._position: dict[bytes, int] = {}
        self.columns: list[FloatArray] = []

    def add(self, column: FloatArray) -> int:
        """The position of this column (n_users,)."""
        column = np.ascontiguousarray(column, dtype=np.float64)
        key = column.tobytes()
        if key not in self._position:
            self._position[key] = len(self.columns)
            self.columns.append(column)
        return self._position[key]

    def add_terms(self, terms: Terms | None) -> list[int] | None:
        return None if terms is None else [self.add(column) for column in terms]


def estimate(
    observed: Observed, *, recalibrate: bool, interest_value: float, contact_cost: float, seed: int, n_boot: int
) -> Estimates:
    """All estimates from one set of users, with paired replicates.

    `recalibrate` rakes the modelled contact probabilities of the logging policy to the contacts made; it is off where
    the log states its propensities.
    """
    o, n_users = observed, len(observed.user_key)
    factor = np.ones(len(o.user))
    if recalibrate:
        possible = o.logging > 0
        factor[possible] = raking_factors(o.levels[possible], o.expected)
        factor[o.propensity_logged] = 1.0
    columns = _Columns()
    plan: list[list[list[list[int] | None]]] = []  # policy, estimator, metric → positions of B, Q, N, D
    overlaps: list[dict[str, Overlap]] = []
    cap_weights: list[FloatArray] = []
    curves: list[FloatArray] = []
    rows_user = np.concatenate([o.user, np.arange(n_users)])
    for policy in o.policies:
        weights = {
            "step": _possible(policy.one_step),
            "traj": _possible(policy.cumulative),
            "cap": _possible(ratio(policy.contact_probability, o.logging * factor)),
        }
        again = _overlap_of_interests(o, policy, weights["cap"], factor)
        overlaps.append({kind: _overlap(o, policy, kind, weight) for kind, weight in weights.items()})
        cap_weights.append(weights["cap"])
        rows = {kind: _rows(o, policy, kind, weight) for kind, weight in weights.items()}
        plan.append([])
        for full_name in NAMES:
            name, kind = full_name.split("_")
            own = rows[kind]
            interests = per_user(own.terms(name), rows_user, n_users)
            contacts = per_user(own.terms(name, contacts=True), rows_user, n_users)
            at_least_one_interest: Terms | None = None
            if kind == "cap" and name != "dm":
                at_least_one_interest = interests._replace(base=interests.base - again)
            elif kind == "traj" and name in ("ips", "snips"):
                once = np.concatenate([o.reward * _first_interest(o), np.zeros(n_users)])
                at_least_one_interest = per_user(own.terms(name, reward=once), rows_user, n_users)
            plan[-1].append([columns.add_terms(t) for t in (interests, contacts, at_least_one_interest)])
        curves.append(policy.model + _by_day(o, weights["cap"] * (o.reward - o.predicted)))
    curves.append(o.current)
    of_current = [columns.add(c) for c in (o.current.sum(axis=1), o.current_contacts, o.current.sum(axis=1) > 0)]
    n_columns = len(columns.columns)
    matrix = np.column_stack([*columns.columns, *curves])
    replicates = bootstrap_means(matrix, o.user_key, seed, n_boot)
    means = np.concatenate([matrix.mean(axis=0, keepdims=True), replicates])
    values = np.empty((n_boot + 1, len(plan), len(NAMES), len(METRICS)))
    undefined = np.full(n_boot + 1, np.nan)
    for p, estimators in enumerate(plan):
        for e, positions in enumerate(estimators):
            found = [undefined if own is None else value(*means[:, own].T) for own in positions]
            values[:, p, e] = _metrics(*found, interest_value=interest_value, contact_cost=contact_cost)
    current = _metrics(*means[:, of_current].T, interest_value=interest_value, contact_cost=contact_cost)
    curve = np.cumsum(means[:, n_columns:].reshape(n_boot + 1, len(curves), -1), axis=2)
    return Estimates(
        value=values[0],
        replicates=values[1:],
        current=current[0],
        current_replicates=current[1:],
        curve=curve[0],
        curve_replicates=curve[1:],
        overlap=overlaps,
        weights=cap_weights,
    )


def _possible(weight: FloatArray) -> FloatArray:
    """Weights, 0 where the logging policy as modelled could not have made the contact.

    Those contacts broke the cap in a log that otherwise keeps it.
    """
    return np.where(np.isfinite(weight), weight, 0.0)


def _rows(o: Observed, policy: PolicyTerms, kind: str, weight: FloatArray) -> _Rows:
    n_contacts, n_users = len(o.user), len(o.user_key)
    none, nobody = np.zeros(n_contacts), np.zeros(n_users)
    if kind == "step":
        rest = policy.one_step_rest
        model, contact_model = policy.one_step_model, policy.one_step_contacts
        expected = np.concatenate([none + 1, o.decisions - np.bincount(o.user, minlength=n_users)])
    else:
        rest = nobody
        model, contact_model = policy.model.sum(axis=1), policy.expected
        expected = np.concatenate([none, policy.expected])
    return _Rows(
        weight=np.concatenate([weight, rest]),
        reward=np.concatenate([o.reward, nobody]),
        predicted=np.concatenate([o.predicted, nobody]),
        model=np.concatenate([none, model]),
        expected=expected,
        is_contact=np.concatenate([none + 1, nobody]),
        contact_model=np.concatenate([none, contact_model]),
    )


def _overlap(o: Observed, policy: PolicyTerms, kind: str, weight: FloatArray) -> Overlap:
    expected = policy.one_step_contacts if kind == "step" else policy.expected
    return overlap(weight, o.reward, o.user, expected)


def _overlap_of_interests(o: Observed, policy: PolicyTerms, weight: FloatArray, factor: FloatArray) -> FloatArray:
    """Per user (n_users,): weighted interests less the weighted chance of at least one; 0 for at most one interest."""
    liked = weight * o.reward
    pair = _possible(ratio(policy.pair_probability, o.pair_logging * factor[o.second]))
    return sums_by(o.user, liked - at_least_one(liked, o.first, o.second, pair), len(o.user_key))


def _first_interest(o: Observed) -> FloatArray:
    """(c,) 1 at each user's first interest."""
    first = np.zeros(len(o.user))
    liked = np.flatnonzero(o.reward > 0)
    _, position = np.unique(o.user[liked], return_index=True)
    first[liked[position]] = 1.0
    return first


def _by_day(o: Observed, amount: FloatArray) -> FloatArray:
    days = o.current.shape[1]
    return sums_by(o.user * days + o.day, amount, len(o.user_key) * days).reshape(-1, days)


def _metrics(
    interests: FloatArray, contacts: FloatArray, interested: FloatArray, *, interest_value: float, contact_cost: float
) -> FloatArray:
    """The metrics (…, m) in the order of `METRICS`."""
    per_contact = np.divide(interests, contacts, out=np.full(interests.shape, np.nan), where=contacts > 0)
    profit = interest_value * interests - contact_cost * contacts
    return np.stack([interests, interested, contacts, per_contact, profit], axis=-1)

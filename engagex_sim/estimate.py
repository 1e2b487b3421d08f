"""From observed blocks to estimates: every policy × estimator × metric, resampled together."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from engagex_sim.columns import FloatArray, sums_by
from engagex_sim.contact_rows import first_interest, overlap_of_interests, possible, rows_of
from engagex_sim.observe import Observed
from engagex_sim.ope.intervals import bootstrap_means, empirical_bernstein, jackknife_means
from engagex_sim.ope.raking import raking_factors
from engagex_sim.ope.terms import ESTIMATORS, Terms, per_user, value
from engagex_sim.ope.weights import Overlap, overlap, ratio
from engagex_sim.policy_terms import PolicyTerms

METRICS = ("interests_per_user", "interested_users", "contacts_per_user", "interests_per_contact", "profit_per_user")
WEIGHTS = ("step", "traj", "cap")
# The reward model alone needs no weights beyond those of the states it averages over: `dm_traj` would be `dm_cap`.
NAMES = tuple(f"{name}_{kind}" for kind in WEIGHTS for name in ESTIMATORS if (name, kind) != ("dm", "traj"))


@dataclass(frozen=True)
class Estimates:
    """Values, the same in each bootstrap replicate, and with one of g groups of users left out (jackknife).

    p policies, e estimators, m metrics, d days; the last row of a curve is the current strategy.
    """

    value: FloatArray  # (p, e, m)
    replicates: FloatArray  # (n_boot, p, e, m)
    jackknife: FloatArray  # (g, p, e, m)
    current: FloatArray  # (m,) the log itself
    current_replicates: FloatArray  # (n_boot, m)
    current_jackknife: FloatArray  # (g, m)
    curve: FloatArray  # (p + 1, d) cumulative interests per user
    curve_replicates: FloatArray  # (n_boot, p + 1, d)
    curve_jackknife: FloatArray  # (g, p + 1, d)
    overlap: Sequence[Mapping[str, Overlap]]  # per policy: kind of weights → overlap
    weights: Sequence[FloatArray]  # (c,) per policy: cap-marginal weights
    shrinkage: FloatArray  # (p, e) λ that SLOPE chose on the interests; NaN where weights are not shrunk
    rollout: FloatArray  # (p, m) by the reward model in simulated histories; NaN where the recursion serves
    bernstein: FloatArray  # (p, 4) finite-sample ends of the value and of the lift, from `ips_cap`; NaN if unbounded


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
    observed: Observed,
    *,
    recalibrate: bool,
    interest_value: float,
    contact_cost: float,
    seed: int,
    n_boot: int,
    only: Collection[str] = NAMES,
) -> Estimates:
    """All estimates from one set of users, with paired replicates.

    `recalibrate` rakes the modelled contact probabilities of the logging policy to the contacts made; it is off where
    the log states its propensities. Estimators that are not among `only` are NaN.
    """
    o, n_users = observed, len(observed.user_key)
    factor = np.ones(len(o.user))
    if recalibrate:
        explained = o.logging > 0
        factor[explained] = raking_factors(o.levels[explained], o.expected)
        factor[o.propensity_logged] = 1.0
    columns = _Columns()
    plan: list[list[list[list[int] | None]]] = []  # policy, estimator, metric → positions of B, Q, N, D
    overlaps: list[dict[str, Overlap]] = []
    cap_weights: list[FloatArray] = []
    shrinkage: list[list[float]] = []
    bernstein: list[list[float]] = []
    curves: list[FloatArray] = []
    for policy in o.policies:
        weights = {
            "step": possible(policy.one_step),
            "traj": possible(policy.cumulative),
            "cap": possible(ratio(policy.contact_probability, o.logging * factor)),
        }
        again = overlap_of_interests(o, policy, weights["cap"], factor)
        overlaps.append({kind: _overlap(o, policy, kind, weight) for kind, weight in weights.items()})
        cap_weights.append(weights["cap"])
        bernstein.append(_bernstein(o, weights["cap"], policy.bound.max() / factor.min(initial=1.0)))
        rows = {kind: rows_of(o, policy, kind, weight) for kind, weight in weights.items()}
        by_recursion = bool(np.isfinite(policy.expected).all())
        plan.append([])
        shrinkage.append([])
        for full_name in NAMES:
            name, kind = full_name.rsplit("_", 1)
            if full_name not in only or (kind == "cap" and not by_recursion):
                shrinkage[-1].append(float("nan"))
                plan[-1].append([None] * 3)
                continue
            estimator, own = ESTIMATORS[name], rows[kind]
            shrinkage[-1].append(parameter := own.shrinkage(estimator, o.user))
            interests = per_user(own.terms(estimator, parameter), o.user, n_users)
            contacts: Terms | None = None
            if estimator.shrinkage is None:  # λ weighs the bias of interests against their noise, not that of contacts
                contacts = per_user(own.contact_terms(estimator), o.user, n_users)
            at_least_one_interest: Terms | None = None
            if kind == "cap" and name in ("ips", "snips", "dr", "sndr"):
                at_least_one_interest = interests._replace(base=interests.base - again)
            elif kind == "traj" and name in ("ips", "snips"):
                once = np.concatenate([o.reward * first_interest(o), np.zeros(n_users)])
                first = replace(own, reward=once)
                at_least_one_interest = per_user(first.terms(estimator, parameter), o.user, n_users)
            plan[-1].append([columns.add_terms(t) for t in (interests, contacts, at_least_one_interest)])
        curves.append(policy.model + _by_day(o, weights["cap"] * (o.reward - o.predicted)))
    curves.append(o.current)
    of_current = [columns.add(c) for c in (o.current.sum(axis=1), o.current_contacts, o.current.sum(axis=1) > 0)]
    n_columns = len(columns.columns)
    matrix = np.vstack([*columns.columns, *(curve.T for curve in curves)]).T

    def statistics(means: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Values (b, p, e, m), current (b, m) and curves (b, p + 1, d) from b sets of means over users."""
        values = np.empty((len(means), len(plan), len(NAMES), len(METRICS)))
        undefined = np.full(len(means), np.nan)
        for p, estimators in enumerate(plan):
            for e, positions in enumerate(estimators):
                found = [undefined if own is None else value(*means[:, own].T) for own in positions]
                values[:, p, e] = _metrics(*found, interest_value=interest_value, contact_cost=contact_cost)
        current = _metrics(*means[:, of_current].T, interest_value=interest_value, contact_cost=contact_cost)
        by_day = means[:, n_columns:].reshape(len(means), len(curves), o.current.shape[1])
        return values, current, np.cumsum(by_day, axis=2)

    estimates = [own[0] for own in statistics(matrix.mean(axis=0, keepdims=True))]
    replicates = statistics(bootstrap_means(matrix, o.user_key, seed, n_boot))
    jackknife = statistics(jackknife_means(matrix, o.user_key))
    return Estimates(
        value=estimates[0],
        replicates=replicates[0],
        jackknife=jackknife[0],
        current=estimates[1],
        current_replicates=replicates[1],
        current_jackknife=jackknife[1],
        curve=estimates[2],
        curve_replicates=replicates[2],
        curve_jackknife=jackknife[2],
        overlap=overlaps,
        weights=cap_weights,
        shrinkage=np.array(shrinkage),
        rollout=np.array([_rolled_out(policy, interest_value, contact_cost) for policy in o.policies]),
        bernstein=np.array(bernstein),
    )


def _rolled_out(policy: PolicyTerms, interest_value: float, contact_cost: float) -> FloatArray:
    """The metrics (m,) in simulated histories; the share of interested users is not counted there."""
    interests, contacts = policy.rollout.mean(axis=0)
    undefined = np.array(np.nan)
    return _metrics(interests, contacts, undefined, interest_value=interest_value, contact_cost=contact_cost)


def _bernstein(o: Observed, weight: FloatArray, bound: float) -> list[float]:
    """Ends of the value and of the lift, from users' weighted interests, which lie between 0 and `bound`.

    Of the lift: less the user's own interests, which are at most the largest number of contacts that anybody had.
    """
    weighted = sums_by(o.user, weight * o.reward, len(o.user_key))
    gained = weighted - o.current.sum(axis=1)
    most = float(o.current_contacts.max(initial=0.0))
    return [*empirical_bernstein(weighted, bound), *empirical_bernstein(gained, bound + most)]


def _overlap(o: Observed, policy: PolicyTerms, kind: str, weight: FloatArray) -> Overlap:
    expected = policy.one_step_contacts if kind == "step" else policy.expected
    return overlap(weight, o.reward, o.user, expected)


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

"""From what was observed to estimates: every policy × estimator × metric, resampled together."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from engagex_sim.block import sums_by_day
from engagex_sim.columns import FloatArray, sums_by
from engagex_sim.contact_rows import (
    chance_missed,
    contact_rows,
    first_interest,
    other_rows,
    possible,
    shrinkage,
    unneeded_contacts,
)
from engagex_sim.observed import Observed, ObservedPolicy
from engagex_sim.ope.intervals import empirical_bernstein
from engagex_sim.ope.raking import raking_factors
from engagex_sim.ope.resampling import means, resampled_sums
from engagex_sim.ope.terms import ESTIMATORS, Terms, value
from engagex_sim.ope.weights import Overlap, overlap, ratio

METRICS = ("interests_per_user", "interested_users", "contacts_per_user", "interests_per_contact", "profit_per_user")
WEIGHTS = ("step", "traj", "cap")
# The reward model alone needs no weights beyond those of the states it averages over: `dm_traj` would be `dm_cap`.
NAMES = tuple(f"{name}_{kind}" for kind in WEIGHTS for name in ESTIMATORS if (name, kind) != ("dm", "traj"))
ACTIVE_AT_ONCE = 16_384  # users whose sums stand side by side


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
    stopped: Sequence[FloatArray]  # (c,) per policy: weighted interests that a stop after the first one prevents
    shrinkage: FloatArray  # (p, e) λ that SLOPE chose on the interests; NaN where weights are not shrunk
    rollout: FloatArray  # (p, m) by the reward model in simulated histories; NaN where the recursion serves
    stop_after_interest: bool  # whether the policies contact nobody again after an interest
    bernstein: FloatArray  # (p, 4) finite-sample ends of the value and of the lift, from `ips_cap`; NaN if unbounded


class _Columns:
    """Amounts per logged contact (c,), equal ones once, so that one product resamples everything."""

    def __init__(self) -> None:
        # Positions by the sum and the sum of squares: only columns that share both are compared.
        self._alike: defaultdict[tuple[float, float], list[int]] = defaultdict(list)
        self.columns: list[FloatArray] = []

    def add(self, column: FloatArray) -> int:
        """The position of this column."""
        alike = self._alike[float(column.sum()), float(column @ column)]
        for position in alike:
            if np.array_equal(self.columns[position], column):
                return position
        alike.append(len(self.columns))
        self.columns.append(column)
        return alike[-1]


class _Parts(NamedTuple):
    """The columns B, Q, N, D of an estimate, summed over users in r resamples: two parts that are added up."""

    contacts: list[int]  # of the logged contacts: positions among the columns
    others: Terms  # (r,) of all other decisions

    def value(self, sums: FloatArray, users: FloatArray) -> FloatArray:
        """The estimate (r,) from the sums (r, m) of all columns, and the users in each resample."""
        return value(*means(sums[:, self.contacts] + np.column_stack(self.others), users).T)


@dataclass(frozen=True)
class _Plan:
    """What the estimates of one policy are made of."""

    parts: list[list[_Parts | None]]  # (e, 3): interests, contacts and interested users; None where undefined
    shrinkage: list[float]  # (e,)
    overlap: dict[str, Overlap]
    weights: FloatArray  # (c,) cap-marginal
    stopped: FloatArray  # (c,) weighted interests that a stop after the first one prevents
    bernstein: list[float]


def estimate(
    observed: Observed,
    *,
    recalibrate: bool,
    interest_value: float,
    contact_cost: float,
    stop_after_interest: bool = False,
    only: Collection[str] = NAMES,
) -> Estimates:
    """All estimates from one set of users, paired in the resamples in which they were observed.

    `recalibrate` rakes the modelled contact probabilities of the logging policy to the contacts made; it is off where
    the log states its propensities. Estimators that are not among `only` are NaN.

    With `stop_after_interest` policies contact nobody again after an interest, and the observed blocks leave that out.
    Histories agree up to a first interest, so interests under this rule are the users who are interested without it.
    """
    o = observed
    factor = np.ones(len(o.user))
    if recalibrate:
        explained = o.logging > 0
        factor[explained] = raking_factors(o.levels[explained], o.expected)
        factor[o.propensity_logged] = 1.0
    columns = _Columns()
    plans = [_plan(o, policy, factor, columns, only, stop_after_interest) for policy in o.policies]
    corrections = [plan.weights * (o.reward - o.predicted) - plan.stopped for plan in plans]
    sums, current, by_day = _resampled(o, columns.columns, corrections)
    undefined = np.full(len(sums), np.nan)
    values = np.empty((len(sums), len(plans), len(NAMES), len(METRICS)))
    for p, plan in enumerate(plans):
        by_day[:, p] += o.policies[p].by_day
        for e, parts in enumerate(plan.parts):
            found = [undefined if own is None else own.value(sums, o.users) for own in parts]
            values[:, p, e] = _metrics(*found, interest_value=interest_value, contact_cost=contact_cost)
    of_current = _metrics(*means(current, o.users).T, interest_value=interest_value, contact_cost=contact_cost)
    curves = np.cumsum(means(by_day.reshape(len(sums), -1), o.users).reshape(by_day.shape), axis=2)
    own, replicates, jackknife = o.resampling.split(values)
    current_own, current_replicates, current_jackknife = o.resampling.split(of_current)
    curve, curve_replicates, curve_jackknife = o.resampling.split(curves)
    return Estimates(
        value=own,
        replicates=replicates,
        jackknife=jackknife,
        current=current_own,
        current_replicates=current_replicates,
        current_jackknife=current_jackknife,
        curve=curve,
        curve_replicates=curve_replicates,
        curve_jackknife=curve_jackknife,
        overlap=[plan.overlap for plan in plans],
        weights=[plan.weights for plan in plans],
        stopped=[plan.stopped for plan in plans],
        shrinkage=np.array([plan.shrinkage for plan in plans]),
        rollout=np.array([_rolled_out(o, policy, interest_value, contact_cost) for policy in o.policies]),
        stop_after_interest=stop_after_interest,
        bernstein=np.array([plan.bernstein for plan in plans]),
    )


def _plan(
    o: Observed, policy: ObservedPolicy, factor: FloatArray, columns: _Columns, only: Collection[str], stops: bool
) -> _Plan:
    """Weigh the logged contacts for one policy, and note their amounts in `columns`.

    `factor` (c,) recalibrates the logging policy.
    """
    weights = {
        "step": possible(policy.logged.one_step),
        "traj": possible(policy.logged.cumulative),
        "cap": possible(ratio(policy.logged.contact_probability, o.logging * factor)),
    }
    rows = {kind: (contact_rows(o, kind, weight), other_rows(o, policy, kind)) for kind, weight in weights.items()}
    missed, once = chance_missed(o, policy, weights["cap"], factor), o.reward * first_interest(o)
    by_recursion = bool(np.isfinite(policy.sums.expected[0]))
    parts: list[list[_Parts | None]] = []
    strengths: list[float] = []

    def part(contacts: Terms, others: Terms) -> _Parts:
        return _Parts([columns.add(column) for column in contacts], others)

    for full_name in NAMES:
        name, kind = full_name.rsplit("_", 1)
        exact = name in ("ips", "snips", "dr", "sndr")
        if full_name not in only or (kind == "cap" and not (by_recursion and (exact or not stops))):
            strengths.append(float("nan"))
            parts.append([None] * 3)
            continue
        estimator, (contacts, others) = ESTIMATORS[name], rows[kind]
        strengths.append(strength := shrinkage(o, policy, kind, contacts, estimator))
        own, rest = contacts.terms(estimator, strength), others.terms(estimator, strength)
        of_contacts, interested = None, None
        if estimator.shrinkage is None:  # λ weighs the bias of interests against their noise, not that of contacts
            of_contacts = part(contacts.contact_terms(estimator), others.contact_terms(estimator))
        if kind == "cap" and exact:
            interested = part(own._replace(base=own.base - missed), rest)
            if stops:
                saved = unneeded_contacts(policy, weights["cap"], o.reward, missed)
                made = contacts.contact_terms(estimator)
                of_contacts = part(made._replace(base=made.base - saved), others.contact_terms(estimator))
                parts.append([interested, of_contacts, interested])
                continue
        elif kind == "traj" and name in ("ips", "snips"):
            interested = part(replace(contacts, reward=once).terms(estimator, strength), rest)
        parts.append([part(own, rest), of_contacts, interested])
    return _Plan(
        parts=parts,
        shrinkage=strengths,
        overlap={kind: _overlap(o, policy, kind, weight) for kind, weight in weights.items()},
        weights=weights["cap"],
        stopped=missed if stops else np.zeros(len(o.user)),
        bernstein=_bernstein(o, weights["cap"], np.inf if stops else policy.bound / factor.min(initial=1.0)),
    )


def _resampled(
    o: Observed, columns: Sequence[FloatArray], corrections: Sequence[FloatArray]
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Sums over users in every resample of what is 0 for those who are not active.

    Of the `columns` (c,), shape (r, m); of the current strategy's interests, contacts and interested users, (r, 3); and
    by day (r, p + 1, d), of the policies' `corrections` (c,) and of the current strategy's interests.
    """
    days, width = o.current.shape[1], len(columns)
    total = np.zeros((len(o.users), width + (len(corrections) + 1) * days + 2))
    for start in range(0, len(o.user_key), ACTIVE_AT_ONCE):
        users = slice(start, start + ACTIVE_AT_ONCE)
        key, current = o.user_key[users], o.current[users]
        rows = slice(*np.searchsorted(o.user, [start, start + len(key)]))
        user, day = o.user[rows] - start, o.day[rows]
        own = [sums_by(user, column[rows], len(key)) for column in columns]
        own += [sums_by_day(user, day, column[rows], (len(key), days)) for column in corrections]
        own += [current, o.current_contacts[users], (current.sum(axis=1) > 0).astype(np.float64)]
        total += resampled_sums(np.column_stack(own), key, o.resampling)
    by_day = total[:, width:-2].reshape(len(total), -1, days)
    return total[:, :width], np.column_stack([by_day[:, -1].sum(axis=1), total[:, -2:]]), by_day


def _rolled_out(o: Observed, policy: ObservedPolicy, interest_value: float, contact_cost: float) -> FloatArray:
    """The metrics (m,) in simulated histories; the share of interested users is not counted there."""
    interests, contacts = policy.rollout / o.n_users
    undefined = np.array(np.nan)
    return _metrics(interests, contacts, undefined, interest_value=interest_value, contact_cost=contact_cost)


def _bernstein(o: Observed, weight: FloatArray, bound: float) -> list[float]:
    """Ends of the value and of the lift, from users' weighted interests, which lie between 0 and `bound`.

    Of the lift: less the user's own interests, which are at most the largest number of contacts that anybody had.
    """
    weighted = sums_by(o.user, weight * o.reward, len(o.user_key))
    gained = weighted - o.current.sum(axis=1)
    most = float(o.current_contacts.max(initial=0.0))
    return [*empirical_bernstein(weighted, bound, o.others()), *empirical_bernstein(gained, bound + most, o.others())]


def _overlap(o: Observed, policy: ObservedPolicy, kind: str, weight: FloatArray) -> Overlap:
    own, others = policy.active, policy.others
    if kind == "step":
        return overlap(weight, o.reward, o.user, own.one_step_contacts, o.others(others.one_step_contacts))
    return overlap(weight, o.reward, o.user, own.expected, o.others(others.expected))


def _metrics(
    interests: FloatArray, contacts: FloatArray, interested: FloatArray, *, interest_value: float, contact_cost: float
) -> FloatArray:
    """The metrics (…, m) in the order of `METRICS`."""
    per_contact = np.divide(interests, contacts, out=np.full(interests.shape, np.nan), where=contacts > 0)
    profit = interest_value * interests - contact_cost * contacts
    return np.stack([interests, interested, contacts, per_contact, profit], axis=-1)

"""What one block of users contributes to an evaluation: sums per user, and a row per logged contact.

Everything that is linear in the decision points happens here, once, block by block. What is left is small: the
estimators need the logged contacts alone, because a decision without contact has reward 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self

import numpy as np

from engagex_sim.columns import BoolArray, FloatArray, IntArray, KeyArray, sums_by
from engagex_sim.crossfit import Fitted
from engagex_sim.days import Days
from engagex_sim.margins import MAX_LEVELS, Margins
from engagex_sim.occupancy import contact_probabilities, free_after_contact
from engagex_sim.ope.weights import cumulative, ratio
from engagex_sim.policy import Policy, exogenous_probabilities
from engagex_sim.timeline import Timeline


@dataclass(frozen=True)
class PolicyTerms:
    """One target policy on a block: c logged contacts, p pairs of interests, u users, d days of the evaluation."""

    contact_probability: FloatArray  # (c,) q^π of the logged contact
    one_step: FloatArray  # (c,) one-step weight
    cumulative: FloatArray  # (c,) cumulative weight
    pair_probability: FloatArray  # (p,) q^π(second | contact at first)
    model: FloatArray  # (u, d) Σ_t Σ_k q^π q̂ by day
    expected: FloatArray  # (u,) Σ_t Σ_k q^π
    one_step_model: FloatArray  # (u,) Σ_t Σ_k π q̂ at the logged states
    one_step_contacts: FloatArray  # (u,) Σ_t Σ_k π at the logged states
    one_step_rest: FloatArray  # (u,) one-step weights summed over decisions without contact


@dataclass(frozen=True)
class Observed:
    """A block as the estimators need it."""

    user_key: KeyArray  # (u,)
    decisions: IntArray  # (u,) decision points of each user
    current: FloatArray  # (u, d) interests of the current strategy by day, all its contacts counted
    current_contacts: FloatArray  # (u,)
    user: IntArray  # (c,) position of the contact's user
    day: IntArray  # (c,) day of the evaluation
    reward: FloatArray  # (c,)
    predicted: FloatArray  # (c,) q̂ of the logged contact
    logging: FloatArray  # (c,) q^b of the logged contact, before recalibration; 0 where nothing explains the contact
    propensity_logged: BoolArray  # (c,)
    levels: IntArray  # (c, f) the level of each margin that the contact lies in: day, kind, and the features
    expected: FloatArray  # (f, levels) Σ q^b over all decision points, by level
    first: IntArray  # (p,) earlier contact of each pair of interests of one user
    second: IntArray  # (p,) later one
    pair_logging: FloatArray  # (p,) q^b(second | contact at first), before recalibration
    policies: tuple[PolicyTerms, ...]

    @classmethod
    def join(cls, blocks: Sequence[Self]) -> Self:
        """One block out of several; `expected` adds up, everything else is appended."""
        users = np.cumsum([0] + [len(b.user_key) for b in blocks[:-1]])
        contacts = np.cumsum([0] + [len(b.user) for b in blocks[:-1]])
        shift = {"user": users, "first": contacts, "second": contacts}
        joined = {}
        for field in fields(cls):
            if field.name not in ("policies", "expected"):
                parts = [getattr(block, field.name) for block in blocks]
                offsets = shift.get(field.name)
                joined[field.name] = np.concatenate(
                    parts if offsets is None else [p + o for p, o in zip(parts, offsets, strict=True)]
                )
        policies = tuple(
            PolicyTerms(**{f.name: np.concatenate([getattr(t, f.name) for t in terms]) for f in fields(PolicyTerms)})
            for terms in zip(*(b.policies for b in blocks), strict=True)
        )
        return cls(**joined, expected=np.sum([b.expected for b in blocks], axis=0), policies=policies)


def observe(evaluation: Timeline, fitted: Fitted, days: Days, margins: Margins, cap_modelled: bool) -> Observed:
    """Reduce one block of users, whose models and policies were fitted on other users.

    Raises `InputError` for a policy that answers wrongly or reads its own history.
    """
    t = evaluation
    user, day = t.user_of_row, days.of(t.time)
    contact = np.flatnonzero(t.action > 0)
    taken = t.action[contact] - 1
    free = t.free_context()
    predicted = fitted.reward_model.predict(free)
    hazard = _with_logged_propensity(fitted.logging.action_probabilities(free), t)
    blocked = t.blocked_for_logging if cap_modelled else np.zeros(len(t), dtype=np.bool_)
    logging = contact_probabilities(t, hazard[:, 1:], blocked) if cap_modelled else hazard[:, 1:]
    # A contact that broke a cap which the log otherwise keeps is no doing of the policy that is modelled.
    explained = ~t.breaks_cap[contact] if cap_modelled else np.ones(len(contact), dtype=np.bool_)
    first, second = _pairs(user[contact], t.reward[contact])
    levels = [day, *margins.levels(t.columns).values()]
    size = max(days.count, len(t.kinds), MAX_LEVELS)
    by_level = [sums_by(level, logging.sum(axis=1), size) for level in levels]
    by_kind = sums_by(np.arange(len(t.kinds)), logging.sum(axis=0), size)
    one_step_logging = hazard if not cap_modelled else _at_logged_states(hazard, t)
    with_history = _logging_with_history(fitted, t, cap_modelled)
    terms = tuple(
        _policy_terms(policy, t, days, day, contact, predicted, one_step_logging, with_history, first, second)
        for policy in fitted.policies
    )
    return Observed(
        user_key=t.user_key,
        decisions=np.diff(t.user_start),
        current=_by_day(
            np.concatenate([user, t.other_user]),
            np.concatenate([day, days.of(t.other_time)]),
            np.concatenate([t.reward, t.other_reward]),
            (t.n_users, days.count),
        ),
        current_contacts=np.bincount(np.concatenate([user[contact], t.other_user]), minlength=t.n_users).astype(float),
        user=user[contact],
        day=day[contact],
        reward=t.reward[contact],
        predicted=predicted[contact, taken],
        logging=np.where(explained, logging[contact, taken], 0.0),
        propensity_logged=np.isfinite(t.propensity[contact]),
        levels=np.column_stack([*(level[contact] for level in levels), taken]),
        expected=np.stack([*by_level, by_kind]),
        first=first,
        second=second,
        pair_logging=(
            np.where(explained[second], _given_first(t, hazard, blocked, contact, first, second), 0.0)
            if cap_modelled
            else logging[contact[second], taken[second]]
        ),
        policies=terms,
    )


def _policy_terms(
    policy: Policy,
    t: Timeline,
    days: Days,
    day: IntArray,
    contact: IntArray,
    predicted: FloatArray,
    logging: FloatArray,
    with_history: FloatArray,
    first: IntArray,
    second: IntArray,
) -> PolicyTerms:
    user, taken = t.user_of_row, t.action[contact] - 1
    when_free = exogenous_probabilities(policy, t.free_context())
    blocked = t.blocked_at_start
    occupied = contact_probabilities(t, when_free[:, 1:], blocked)
    here = _at_logged_states(when_free, t)
    of_action = here[np.arange(len(t)), t.action]
    one_step = ratio(of_action, logging[np.arange(len(t)), t.action])
    of_logging = with_history[np.arange(len(t)), t.action]
    history_ratio = ratio(of_action, of_logging)
    history_ratio[of_logging == 0] = 1.0  # the history goes on after a contact that the modelled policy never makes
    return PolicyTerms(
        contact_probability=occupied[contact, taken],
        one_step=one_step[contact],
        cumulative=np.where(of_action > 0, cumulative(t.user_start, history_ratio), 0.0)[contact],
        pair_probability=_given_first(t, when_free, blocked, contact, first, second),
        model=_by_day(user, day, (occupied * predicted).sum(axis=1), (t.n_users, days.count)),
        expected=sums_by(user, occupied.sum(axis=1), t.n_users),
        one_step_model=sums_by(user, (here[:, 1:] * predicted).sum(axis=1), t.n_users),
        one_step_contacts=sums_by(user, here[:, 1:].sum(axis=1), t.n_users),
        one_step_rest=sums_by(user, np.where(t.action == 0, one_step, 0.0), t.n_users),
    )


def _with_logged_propensity(hazard: FloatArray, t: Timeline) -> FloatArray:
    """The modelled hazard (n, K + 1), with the logged propensity at the contacts that have one; rows still sum to 1."""
    known = np.flatnonzero((t.action > 0) & np.isfinite(t.propensity))
    hazard = hazard.copy()
    rest = 1.0 - hazard[known, t.action[known]]
    scale = np.divide(1.0 - t.propensity[known], rest, out=np.zeros(len(known)), where=rest > 0)
    hazard[known] *= scale[:, None]
    hazard[known, t.action[known]] = t.propensity[known]
    return hazard


def _logging_with_history(fitted: Fitted, t: Timeline, cap_modelled: bool) -> FloatArray:
    """b(a | x, logged history), shape (n, K + 1)."""
    context = t.free_context()
    answer = _with_logged_propensity(fitted.logging_with_history.action_probabilities(context), t)
    return _at_logged_states(answer, t) if cap_modelled else answer


def _at_logged_states(when_free: FloatArray, t: Timeline) -> FloatArray:
    """Probabilities (n, K + 1) where the logged contacts have left the user: no contact where the cap forbids one."""
    here = when_free.copy()
    blocked = ~t.free if t.contact_is_a_choice else np.zeros(len(t), dtype=np.bool_)
    here[blocked] = 0.0
    here[blocked, 0] = 1.0
    return here


def _by_day(user: IntArray, day: IntArray, amount: FloatArray, shape: tuple[int, int]) -> FloatArray:
    return sums_by(user * shape[1] + day, amount, shape[0] * shape[1]).reshape(shape)


def _pairs(user: IntArray, reward: FloatArray) -> tuple[IntArray, IntArray]:
    """Positions of every two interests of one user, the earlier and the later contact, ordered by the earlier."""
    liked = np.flatnonzero(reward > 0)
    last = np.searchsorted(user[liked], user[liked], side="right")
    later = last - np.arange(len(liked)) - 1
    first = np.repeat(np.arange(len(liked)), later)
    offset = np.arange(len(first)) - np.repeat(np.cumsum(later) - later, later)
    return liked[first], liked[first + 1 + offset]


def _given_first(
    t: Timeline, when_free: FloatArray, blocked: BoolArray, contact: IntArray, first: IntArray, second: IntArray
) -> FloatArray:
    """q(second | contact at first), shape (p,), for pairs of logged contacts of one user."""
    early, late = contact[first], contact[second]
    end = t.user_start[1:][t.user_of_row[early]]
    free = free_after_contact(end, t.time, when_free[:, 1:].sum(axis=1), blocked, t.cap.seconds, early, late)
    return np.asarray(free * when_free[late, t.action[late]])

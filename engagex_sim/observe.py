"""What one block of users contributes to an evaluation: sums per user, and a row per logged contact.

Everything that is linear in the decision points happens here, once, block by block. What is left is small: the
estimators need the logged contacts alone, because a decision without contact has reward 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self

import numpy as np

from engagex_sim.block import Block, Recursion, at_logged_states, sums_by_day
from engagex_sim.columns import BoolArray, FloatArray, IntArray, KeyArray, sums_by
from engagex_sim.crossfit import Fitted
from engagex_sim.days import Days
from engagex_sim.dependence import Carried
from engagex_sim.margins import MAX_LEVELS, Margins
from engagex_sim.policy_states import with_no_contact
from engagex_sim.policy_terms import PolicyTerms, policy_terms
from engagex_sim.timeline import Timeline


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
    levels: IntArray  # (c, f) the level of each margin that the contact lies in: day, features, kind, state, score
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


def observe(
    evaluation: Timeline, fitted: Fitted, days: Days, margins: Margins, cap_modelled: bool, carry: Carried
) -> Observed:
    """Reduce one block of users, whose models and policies were fitted on other users.

    Raises `InputError` for a policy that answers wrongly.
    """
    t = evaluation
    user, day = t.user_of_row, days.of(t.time)
    contact = np.flatnonzero(t.action > 0)
    taken = t.action[contact] - 1
    free = t.free_context()
    state = carry.weights.of(t.time, t.logged)
    predicted = fitted.interest_by_state(free)
    own = carry.logging.of(t.time, t.logged)
    hazard = _with_logged_propensity(fitted.logging.when_free(free), t, own)
    first, second = _pairs(user[contact], t.reward[contact])
    recursion = Recursion(carry.logging, carry.weights, cap_modelled, t.unexplained(cap_modelled), predicted)
    logging = recursion.run(t, hazard)
    # A contact that broke a cap which the log otherwise keeps is no doing of the policy that is modelled.
    explained = ~t.breaks_cap[contact] if cap_modelled else np.ones(len(contact), dtype=np.bool_)
    block = Block(
        timeline=t,
        fitted=fitted,
        days=days,
        day=day,
        carry=carry,
        contact=contact,
        taken=taken,
        state=state,
        predicted=predicted,
        logging=logging,
        at_logged=at_logged_states(with_no_contact(hazard[np.arange(len(t)), own]), t, cap_modelled),
        first=contact[first],
        second=contact[second],
    )
    levels = [day, *margins.levels(t.columns).values()]
    size = max(days.count, len(t.kinds), MAX_LEVELS, carry.weights.size)
    everything = logging.sum(axis=(1, 2))
    expected = [sums_by(level, everything, size) for level in levels]
    expected.append(sums_by(np.arange(len(t.kinds)), logging.sum(axis=(0, 1)), size))
    expected.append(sums_by(np.arange(carry.weights.size), logging.sum(axis=(0, 2)), size))
    score = np.searchsorted(fitted.score_edges, predicted, side="right")
    expected.append(sums_by(score.ravel(), logging.ravel(), size))
    own_score = score[contact, state[contact], taken]
    return Observed(
        user_key=t.user_key,
        decisions=np.diff(t.user_start),
        current=sums_by_day(
            np.concatenate([user, t.other_user]),
            np.concatenate([day, days.of(t.other_time)]),
            np.concatenate([t.reward, t.other_reward]),
            (t.n_users, days.count),
        ),
        current_contacts=np.bincount(np.concatenate([user[contact], t.other_user]), minlength=t.n_users).astype(float),
        user=user[contact],
        day=day[contact],
        reward=t.reward[contact],
        predicted=block.of_contacts(predicted),
        logging=np.where(explained, block.of_contacts(logging), 0.0),
        propensity_logged=np.isfinite(t.propensity[contact]),
        levels=np.column_stack([*(level[contact] for level in levels), taken, state[contact], own_score]),
        expected=np.stack(expected),
        first=first,
        second=second,
        pair_logging=np.where(explained[second], recursion.pairs(block, hazard), 0.0),
        policies=tuple(policy_terms(policy, block) for policy in fitted.policies),
    )


def _with_logged_propensity(hazard: FloatArray, t: Timeline, state: IntArray) -> FloatArray:
    """The modelled hazard (n, S, K), with the logged propensity at the contacts that have one."""
    known = np.flatnonzero((t.action > 0) & np.isfinite(t.propensity))
    if len(known) == 0:
        return hazard
    hazard = hazard.copy()
    own = state[known]
    here, taken = hazard[known, own], t.action[known] - 1
    rest = 1.0 - here[np.arange(len(known)), taken]
    scale = np.divide(1.0 - t.propensity[known], rest, out=np.zeros(len(known)), where=rest > 0)
    here *= scale[:, None]
    here[np.arange(len(known)), taken] = t.propensity[known]
    hazard[known, own] = here
    return hazard


def _pairs(user: IntArray, reward: FloatArray) -> tuple[IntArray, IntArray]:
    """Positions of every two interests of one user, the earlier and the later contact, ordered by the earlier."""
    liked = np.flatnonzero(reward > 0)
    last = np.searchsorted(user[liked], user[liked], side="right")
    later = last - np.arange(len(liked)) - 1
    first = np.repeat(np.arange(len(liked)), later)
    offset = np.arange(len(first)) - np.repeat(np.cumsum(later) - later, later)
    return liked[first], liked[first + 1 + offset]

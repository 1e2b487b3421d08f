"""What is left of a block of users for the estimators: its logged contacts, and sums over users.

A decision without contact has reward 0, so estimators read the logged contacts one by one and of everything else only
sums over users. Where a spread over users is asked for, the contacted ones are kept apart, and the others are known by
the sum and the sum of squares. So nothing grows with the number of users who were never contacted.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self

import numpy as np

from engagex_sim.columns import BoolArray, FloatArray, IntArray, KeyArray
from engagex_sim.ope.moments import Others
from engagex_sim.ope.resampling import Resampling
from engagex_sim.policy_terms import LoggedTerms, PolicyTerms, UserSums


@dataclass(frozen=True)
class ObservedPolicy:
    """One target policy: at the logged contacts, of a active users and of the others, and in all r resamples."""

    logged: LoggedTerms
    active: UserSums  # (a,)
    others: UserSums  # (2,) sum and sum of squares over the other users
    sums: UserSums  # (r,) over all users
    by_day: FloatArray  # (r, d) Σ q^π q̂ over all users
    rollout: FloatArray  # (2,) interests and contacts of all users in simulated histories; NaN where not simulated
    bound: float  # what the cap-marginal weights of one user's contacts can add up to at most

    @classmethod
    def of(cls, terms: PolicyTerms, active: BoolArray, sums: FloatArray) -> Self:
        """From a block of u users: `active` (u,) tells who is, `sums` (r, 7 + d) are those of users and days."""
        others = [column[~active] for column in terms.users]
        return cls(
            logged=terms.logged,
            active=UserSums(*(column[active] for column in terms.users)),
            others=UserSums(*(np.array([column.sum(), (column**2).sum()]) for column in others)),
            sums=UserSums(*sums[:, : len(terms.users)].T),
            by_day=sums[:, len(terms.users) :],
            rollout=terms.rollout.sum(axis=0),
            bound=float(terms.bound.max(initial=0.0)),
        )

    @classmethod
    def join(cls, blocks: Sequence[Self]) -> Self:
        """The policy on all users."""
        return cls(
            logged=LoggedTerms(*map(np.concatenate, zip(*(b.logged for b in blocks), strict=True))),
            active=UserSums(*map(np.concatenate, zip(*(b.active for b in blocks), strict=True))),
            others=UserSums(*np.sum([b.others for b in blocks], axis=0)),
            sums=UserSums(*np.sum([b.sums for b in blocks], axis=0)),
            by_day=np.sum([b.by_day for b in blocks], axis=0),
            rollout=np.sum([b.rollout for b in blocks], axis=0),
            bound=max(b.bound for b in blocks),
        )


@dataclass(frozen=True)
class Observed:
    """A block as the estimators need it: c logged contacts of a active users, sums in r resamples of all users.

    Active is who was contacted in the evaluation period, whether at a decision point or not.
    """

    resampling: Resampling
    users: FloatArray  # (r,) how many there are in each resample, the active and the others
    no_contact: FloatArray  # (r,) their decision points without contact
    expected: FloatArray  # (f, levels) Σ q^b over all decision points of all users, by level
    user_key: KeyArray  # (a,)
    current: FloatArray  # (a, d) interests of the current strategy by day, all its contacts counted
    current_contacts: FloatArray  # (a,)
    user: IntArray  # (c,) position of the contact's user among the active, ascending
    day: IntArray  # (c,) day of the evaluation
    reward: FloatArray  # (c,)
    predicted: FloatArray  # (c,) q̂ of the logged contact
    logging: FloatArray  # (c,) q^b of the logged contact, before recalibration; 0 where nothing explains the contact
    propensity_logged: BoolArray  # (c,)
    levels: IntArray  # (c, f) the level of each margin that the contact lies in: day, features, kind, state, score
    first: IntArray  # (p,) earlier contact of each pair of interests of one user
    second: IntArray  # (p,) later one
    pair_logging: FloatArray  # (p,) q^b(second | contact at first), before recalibration
    policies: tuple[ObservedPolicy, ...]

    @property
    def n_users(self) -> int:
        """All users, the active and the others."""
        return int(self.users[0])

    def others(self, sums: FloatArray | None = None) -> Others:
        """The users who are not active, with the sum and the sum of squares (2,) of something; all 0 without."""
        number = self.n_users - len(self.user_key)
        return Others(number) if sums is None else Others(number, float(sums[0]), float(sums[1]))

    @classmethod
    def join(cls, blocks: Sequence[Self]) -> Self:
        """One block out of several with the same resampling: sums add up, everything else is appended."""
        users = np.cumsum([0] + [len(b.user_key) for b in blocks[:-1]])
        contacts = np.cumsum([0] + [len(b.user) for b in blocks[:-1]])
        shift = {"user": users, "first": contacts, "second": contacts}
        joined = {}
        for field in fields(cls):
            if field.name in ("resampling", "policies"):
                continue
            parts = [getattr(block, field.name) for block in blocks]
            if field.name in ("users", "no_contact", "expected"):
                joined[field.name] = np.sum(parts, axis=0)
            elif field.name in shift:
                moved = [part + offset for part, offset in zip(parts, shift[field.name], strict=True)]
                joined[field.name] = np.concatenate(moved)
            else:
                joined[field.name] = np.concatenate(parts)
        policies = zip(*(b.policies for b in blocks), strict=True)
        return cls(
            resampling=blocks[0].resampling, policies=tuple(ObservedPolicy.join(own) for own in policies), **joined
        )

"""Decisions about users as people read them: a row each, with the reason in words."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from engagex_sim.columns import BoolArray, FloatArray, IntArray, TextArray

CONTACT, WAIT = "contact", "wait"
CONTROL, TREATMENT = "control", "treatment"
BLOCKED, UNKNOWN, POLICY, LIMIT = "blocked by the cap", "no trigger yet", "the strategy waits", "turned away"
QUIET, SETTLED = "quiet hours", "interested before"


@dataclass(frozen=True)
class Limit:
    """At most so many contacts, and what to say to those who are turned away."""

    contacts: int
    reason: str


@dataclass(frozen=True)
class Decided:
    """What was decided about the users of a block, limits aside. What does not apply is NaN."""

    user_id: TextArray  # (n,)
    control: BoolArray  # (n,)
    last_contact: IntArray  # (n,)
    next_eligible: IntArray  # (n,)
    came: BoolArray  # (n,)
    asked: BoolArray  # (n,) whom the cap and the rules leave free and whose context is known
    settled: BoolArray  # (n,) who is not contacted again after an interest
    awake: BoolArray  # (n,) outside the quiet hours that hold for the user
    open_kinds: BoolArray  # (n, K) that are allowed now
    action: IntArray  # (n,) 0 = wait
    probability: FloatArray  # (n,) of any contact
    score: FloatArray  # (n, K)
    interest: FloatArray  # (n, K) predicted
    tie: FloatArray  # (n,) hashed guid

    @property
    def own_kind(self) -> IntArray:
        """(n,) 0 to K − 1: the kind that was chosen, the open one with the highest score where none was."""
        best = np.where(np.isnan(self.score) | ~self.open_kinds, -np.inf, self.score).argmax(axis=1)
        return np.where(self.action > 0, self.action - 1, best)

    @property
    def own_score(self) -> FloatArray:
        """(n,) of that kind; NaN of those who were not asked."""
        return np.asarray(self.score[np.arange(len(self.action)), self.own_kind])

    @property
    def candidates(self) -> IntArray:
        """Positions (c,) of those to contact, limits aside."""
        return np.flatnonzero(self.action)


@dataclass(frozen=True)
class Recommended:
    """The recommendations of a block, one row per user."""

    table: pd.DataFrame  # guid, decision, kind, score, expected_interests, reason, next_eligible, alternatives, (group)
    why: TextArray  # (n,) CONTACT, or why not: one of the words above


def recommended(
    decided: Decided,
    kinds: Sequence[str],
    policy: str,
    at: int,
    *,
    grouped: bool,
    limit: Limit | None,
    kept: BoolArray | None,
) -> Recommended:
    """The recommendations of a block as people read them.

    `policy` is the policy's name, `at` when it decides (seconds); `grouped` asks for the column `group`. `kept` (c,)
    says which candidates are not turned away, None where none is.
    """
    d, n = decided, len(decided.user_id)
    contact = d.action > 0
    if kept is not None:
        contact[d.candidates] = kept
    kind = np.array(kinds, dtype=object)[d.own_kind]
    kind[~contact] = None
    why = np.select(
        [contact, ~d.came, d.settled, ~d.asked & ~d.awake, ~d.asked, d.action > 0],
        [CONTACT, UNKNOWN, SETTLED, QUIET, BLOCKED, LIMIT],
        default=POLICY,
    ).astype(object)
    eligible = _dates(d.next_eligible)
    eligible[d.settled] = None
    table = pd.DataFrame(
        {
            "guid": d.user_id,
            "decision": np.where(contact, CONTACT, WAIT),
            "kind": kind,
            "score": d.own_score,
            "expected_interests": np.where(contact, d.interest[np.arange(n), d.own_kind], 0.0),
            "reason": _reasons(d, why, policy, at, limit),
            "next_eligible": eligible,
            "alternatives": _alternatives(d, contact, kinds),
        }
    )
    if grouped:
        table["group"] = np.where(d.control, CONTROL, TREATMENT)
    return Recommended(table, why)


def _reasons(d: Decided, why: TextArray, policy: str, at: int, limit: Limit | None) -> list[str]:
    """One clause per user."""
    name = np.where(d.control, "the current strategy, as modelled,", policy)
    now = _dates(np.array([at]))[0]
    last, until = _dates(np.where(why == BLOCKED, d.last_contact, 0)), _dates(d.next_eligible)
    interest = d.interest[np.arange(len(why)), d.own_kind]
    said = []
    for i, reason in enumerate(why):
        if reason == UNKNOWN:
            said.append(f"no trigger up to {now}, so nothing is known to decide by")
        elif reason == BLOCKED:
            said.append(f"contacted on {last[i]}: the cap allows the next contact from {until[i]} on")
        elif reason == SETTLED:
            said.append("was interested before: nobody is contacted again after an interest")
        elif reason == QUIET:
            said.append(f"quiet hours at {now}: the next contact is allowed from {until[i]} on")
        else:
            how = f"{name[i]} {'contacts' if d.action[i] else 'waits'} here"
            if 1e-9 < d.probability[i] < 1 - 1e-9:
                drawn = CONTACT if d.action[i] else WAIT
                how = f"{name[i]} contacts here with probability {_percent(d.probability[i])}; the draw says {drawn}"
            more = f", but {limit.reason}" if reason == LIMIT and limit is not None else ""
            said.append(f"{how}{more} (predicted interest {_percent(interest[i])})")
    return said


def _alternatives(d: Decided, contact: BoolArray, kinds: Sequence[str]) -> list[str]:
    """The kinds that were not recommended with their scores, best first, as in "email 0.03; letter 0.01"."""
    if len(kinds) == 1:
        return [""] * len(contact)
    said, own = [], d.own_kind
    for i, asked in enumerate(d.asked):
        order = np.argsort(-d.score[i], kind="stable") if asked else ()
        others = [k for k in order if d.open_kinds[i, k] and not (contact[i] and k == own[i])]
        said.append("; ".join(f"{kinds[k]} {d.score[i, k]:.4g}" for k in others))
    return said


def _dates(seconds: IntArray) -> TextArray:
    """Times (n,) as `YYYY-mm-dd HH:MM:SS`."""
    text = np.datetime_as_string(seconds.astype("datetime64[s]"))
    return np.char.replace(text, "T", " ").astype(object)


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"

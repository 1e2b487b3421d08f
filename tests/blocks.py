"""Small blocks of users for tests, built by hand or by hypothesis."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from engagex_sim.cap import DAY
from engagex_sim.columns import AnyArray, Column
from engagex_sim.decisions import Decisions, starts
from engagex_sim.policy import Context

LOG_DAYS = 40


def decisions(
    times: Sequence[Sequence[float]],
    actions: Sequence[Sequence[int]] | None = None,
    rewards: Sequence[Sequence[int]] | None = None,
    *,
    kinds: tuple[str, ...] = ("contact",),
    evaluation_start: float = 0.0,
    others: Sequence[Sequence[float]] | None = None,
    codes: Sequence[Sequence[int]] | None = None,
    columns: dict[str, Column] | None = None,
) -> Decisions:
    """A block from one list per user; times and `evaluation_start` are in days since the log's start."""
    n_users, flat = len(times), np.array([t for user in times for t in user])
    user_start = starts(np.array([len(user) for user in times], dtype=np.int64))
    time = np.round(flat * DAY).astype(np.int64)
    others = others or [[] for _ in times]
    return Decisions(
        user_start=user_start,
        user_key=np.arange(n_users, dtype=np.uint64) * 7919 + 1,
        user_id=np.array([f"user{i}" for i in range(n_users)], dtype=object),
        evaluation_start=np.full(n_users, round(evaluation_start * DAY), dtype=np.int64),
        time=time,
        known_at=time,
        action=_flat(actions, time, np.int64),
        reward=_flat(rewards, time, np.float64),
        propensity=np.full(len(time), np.nan),
        columns=columns or {},
        trigger_start=user_start,
        trigger_time=time,
        trigger_code=_flat(codes, time, np.int32),
        other_start=starts(np.array([len(user) for user in others], dtype=np.int64)),
        other_time=np.round(np.array([t for user in others for t in user]) * DAY).astype(np.int64),
        other_reward=np.zeros(sum(map(len, others))),
        kinds=kinds,
        log_start=0,
        log_end=LOG_DAYS * DAY,
        contact_is_a_choice=True,
        activity_known=True,
    )


def _flat(values: Sequence[Sequence[int]] | None, like: AnyArray, dtype: Any) -> AnyArray:
    if values is None:
        return np.zeros(len(like), dtype=dtype)
    return np.array([v for user in values for v in user], dtype=dtype)


class Hazard:
    """Contacts with a probability per kind that the column `hazard_1`, `hazard_2`, … states."""

    name = "hazard"

    def action_probabilities(self, context: Context) -> AnyArray:
        kinds = [context[f"hazard_{k + 1}"] for k in range(len(context.kinds))]
        contact = np.column_stack(kinds) * context.mask[:, 1:]
        return np.column_stack([1 - contact.sum(axis=1), contact])


class Eager:
    """Contacts at every allowed chance; `reads` names a history feature that it looks at without using it."""

    name = "eager"

    def __init__(self, reads: str | None = None) -> None:
        self.reads = reads

    def action_probabilities(self, context: Context) -> AnyArray:
        if self.reads is not None:
            context[self.reads]
        allowed = context.mask[:, 1:].astype(float)
        contact = allowed / np.maximum(allowed.sum(axis=1, keepdims=True), 1)
        return np.column_stack([1 - contact.sum(axis=1), contact])


@st.composite
def user_times(draw: st.DrawFn, max_users: int = 4, max_rows: int = 14) -> list[list[float]]:
    """Decision times of a few users in days: sorted, distinct, often exactly whole days apart."""
    step = st.one_of(st.sampled_from([1.0, 7.0, 14.0]), st.floats(0.01, 20.0, allow_nan=False))
    users = draw(st.lists(st.lists(step, max_size=max_rows), min_size=1, max_size=max_users))
    return [[round(float(t) * DAY) / DAY for t in np.cumsum(steps)] for steps in users]

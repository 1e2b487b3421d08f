"""Features of decision points: exogenous ones are replayed, history ones follow from the contacts made.

Every feature is causal: it uses what was known just before the decision, the decision's own trigger included.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Self

import numba
import numpy as np

from engagex_sim.cap import DAY, NEVER
from engagex_sim.columns import AnyArray, CodeArray, Column, FloatArray, IntArray
from engagex_sim.decisions import Decisions
from engagex_sim.feature_names import WINDOWS

NOT_TOLD = np.zeros((0, 0), dtype=np.int64)


@dataclass(frozen=True)
class History:
    """What contacts made so far leave behind: per decision point just before it, or per user at one moment."""

    last_contact: IntArray  # (n,) time of the last contact, NEVER if none
    contacts: IntArray  # (n,) contacts so far
    interests: IntArray  # (n,) interests so far
    last_of_kind: IntArray = field(default_factory=lambda: NOT_TOLD)  # (n, K) likewise by kind; only rules by kind ask

    @classmethod
    def none(cls, n: int) -> Self:
        """Nobody was ever contacted."""
        return cls(np.full(n, NEVER), np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64))

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """All entries, one part after the other."""
        return cls(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls)))

    def take(self, rows: AnyArray | slice) -> Self:
        of_kind = self.last_of_kind[rows] if len(self.last_of_kind) else self.last_of_kind
        return type(self)(self.last_contact[rows], self.contacts[rows], self.interests[rows], of_kind)

    def copy(self) -> Self:
        """Its own arrays, for `contacted` to change."""
        return type(self)(*(getattr(self, f.name).copy() for f in fields(self)))

    def contacted(self, who: AnyArray, time: IntArray, kind: IntArray, liked: IntArray) -> None:
        """Add contacts of `kind` (m,), from 0, at `time` (m,) to the entries at `who` (m,), in place.

        `liked` (m,) is 1 where they led to interest. No entry is there twice.
        """
        self.last_contact[who] = time
        self.contacts[who] += 1
        self.interests[who] += liked
        if len(self.last_of_kind):
            self.last_of_kind[who, kind] = time


def history_features(time: IntArray, history: History) -> dict[str, FloatArray]:
    """The history features by name, (n,) each; `days_since_contact` is inf for who was never contacted."""
    days = (time - history.last_contact) / DAY
    return {
        "days_since_contact": np.where(history.last_contact == NEVER, np.inf, days),
        "contacts_so_far": history.contacts.astype(np.float64),
        "interests_so_far": history.interests.astype(np.float64),
    }


def exogenous_features(decisions: Decisions) -> dict[str, Column]:
    """The features that no policy can change, by name, (n,) each: calendar, activity, and the log's own columns."""
    features = calendar(decisions.known_at, decisions.log_start)
    if decisions.activity_known:
        features |= _activity(decisions)
    return features | dict(decisions.columns)


def calendar(time: IntArray, log_start: int) -> dict[str, Column]:
    """`hour`, `weekday` (0 = Monday) and `day` since the log's start of each time (n,)."""
    days_since_epoch = time // DAY
    return {
        "hour": Column(time // 3600 % 24),
        "weekday": Column((days_since_epoch + 3) % 7),  # 1970-01-01 was a Thursday
        "day": Column(days_since_epoch - log_start // DAY),
    }


def _activity(decisions: Decisions) -> Mapping[str, Column]:
    since, counts, so_far, distinct = _count_triggers(
        decisions.user_start,
        decisions.known_at,
        decisions.trigger_start,
        decisions.trigger_time,
        decisions.trigger_code,
        np.array(WINDOWS) * DAY,
    )
    features = {"days_since_trigger": Column(since)}
    features |= {f"triggers_{days}d": Column(counts[:, i]) for i, days in enumerate(WINDOWS)}
    return features | {"triggers_so_far": Column(so_far), "distinct_triggers_7d": Column(distinct)}


@numba.njit(cache=True, nogil=True)
def _count_triggers(
    user_start: IntArray,
    time: IntArray,
    trigger_start: IntArray,
    trigger_time: IntArray,
    trigger_code: CodeArray,
    windows: IntArray,
) -> tuple[FloatArray, IntArray, IntArray, IntArray]:
    """Per decision: days since the previous trigger instant, triggers in (t − w, t], so far, distinct in 7 days.

    One forward pass per user with one trailing pointer per window.
    """
    n = len(time)
    since = np.full(n, np.inf)
    counts = np.zeros((n, len(windows)), dtype=np.int64)
    so_far = np.zeros(n, dtype=np.int64)
    distinct = np.zeros(n, dtype=np.int64)
    seen = np.zeros(trigger_code.max() + 2 if len(trigger_code) else 1, dtype=np.int64)
    tails = np.zeros(len(windows), dtype=np.int64)
    for user in range(len(user_start) - 1):
        begin, end = trigger_start[user], trigger_start[user + 1]
        head = tail7 = begin
        tails[:] = begin
        different = 0
        for row in range(user_start[user], user_start[user + 1]):
            now = time[row]
            while head < end and trigger_time[head] <= now:
                seen[trigger_code[head]] += 1
                different += seen[trigger_code[head]] == 1
                head += 1
            while tail7 < head and trigger_time[tail7] <= now - 7 * DAY:
                seen[trigger_code[tail7]] -= 1
                different -= seen[trigger_code[tail7]] == 0
                tail7 += 1
            earlier = head - 1
            while earlier >= begin and trigger_time[earlier] == now:
                earlier -= 1
            if earlier >= begin:
                since[row] = (now - trigger_time[earlier]) / DAY
            for w in range(len(windows)):
                while tails[w] < head and trigger_time[tails[w]] <= now - windows[w]:
                    tails[w] += 1
                counts[row, w] = head - tails[w]
            so_far[row] = head - begin
            distinct[row] = different
        for trigger in range(tail7, head):
            seen[trigger_code[trigger]] = 0
    return since, counts, so_far, distinct


@numba.njit(cache=True, nogil=True)
def replay(
    user_start: IntArray,
    time: IntArray,
    action: IntArray,
    reward: FloatArray,
    other_start: IntArray,
    other_time: IntArray,
    other_reward: FloatArray,
    last_contact: IntArray,
    contacts: IntArray,
    interests: IntArray,
) -> tuple[IntArray, IntArray, IntArray]:
    """History (n,) just before each decision, given the actions taken and each user's history at the start.

    The last three arguments are that history, (n_users,); "other" contacts count from their own time on. The same
    pass serves the log and every simulation.
    """
    last = np.empty(len(time), dtype=np.int64)
    made = np.empty(len(time), dtype=np.int64)
    liked = np.empty(len(time), dtype=np.int64)
    for user in range(len(user_start) - 1):
        now_last, now_made, now_liked = last_contact[user], contacts[user], interests[user]
        other = other_start[user]
        for row in range(user_start[user], user_start[user + 1]):
            while other < other_start[user + 1] and other_time[other] < time[row]:
                now_last = max(now_last, other_time[other])
                now_made += 1
                now_liked += int(other_reward[other])
                other += 1
            last[row], made[row], liked[row] = now_last, now_made, now_liked
            if action[row] > 0:
                now_last = time[row]
                now_made += 1
                now_liked += int(reward[row])
    return last, made, liked


@numba.njit(cache=True, nogil=True)
def replay_kinds(
    user_start: IntArray,
    time: IntArray,
    action: IntArray,
    other_start: IntArray,
    other_time: IntArray,
    last_of_kind: IntArray,
) -> IntArray:
    """Times (n, K) of the last contact of each kind just before each decision, from those at the start (n_users, K).

    An "other" contact is of no known kind, so it stands for one of every kind.
    """
    last = np.empty((len(time), last_of_kind.shape[1]), dtype=np.int64)
    for user in range(len(user_start) - 1):
        now = last_of_kind[user].copy()
        other = other_start[user]
        for row in range(user_start[user], user_start[user + 1]):
            while other < other_start[user + 1] and other_time[other] < time[row]:
                now = np.maximum(now, other_time[other])
                other += 1
            last[row] = now
            if action[row] > 0:
                now[action[row] - 1] = time[row]
    return last

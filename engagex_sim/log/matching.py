"""Which trigger each contact belongs to, and what the log's triggers are."""

import numpy as np

from engagex_sim.cap import DAY, Cap
from engagex_sim.columns import BoolArray, IntArray


def instants(user: IntArray, time: IntArray) -> BoolArray:
    """(n,) True at the first row of each distinct (user, time); both sorted."""
    return np.append(True, (user[1:] != user[:-1]) | (time[1:] != time[:-1]))[: len(user)]


def rows_at_one_instant(trigger_user: IntArray, trigger_time: IntArray, user: IntArray, time: IntArray) -> int:
    """How many trigger rows have an actions row at the same user and time; all sorted by (user, time)."""
    keys, found = _keys(trigger_user, trigger_time, user, time)
    found = np.unique(found)
    return int((np.searchsorted(keys, found, side="right") - np.searchsorted(keys, found, side="left")).sum())


def match(trigger_user: IntArray, trigger_time: IntArray, user: IntArray, time: IntArray, window: float) -> IntArray:
    """Row of the trigger that each contact belongs to, shape (k,); -1 for an orphan. All sorted by (user, time).

    It is the user's latest trigger at or before the contact, at most `window` seconds earlier; of triggers at one
    instant the first row stands for all. A trigger takes the earliest of several contacts.
    """
    first = np.flatnonzero(instants(trigger_user, trigger_time))
    keys, wanted = _keys(trigger_user[first], trigger_time[first], user, time)
    at = np.searchsorted(keys, wanted, side="right") - 1
    if len(keys) == 0:
        return np.full(len(wanted), -1, dtype=np.int64)
    row = first[at]
    near = (at >= 0) & (trigger_user[row] == user) & (time - trigger_time[row] <= window)
    return _first_takes(np.where(near, row, -1))


def one_per_day(trigger_user: IntArray, trigger_time: IntArray, matched: IntArray) -> IntArray:
    """Matches (k,) of which each user's earliest of a day, by the time of its trigger, is kept; the others are -1."""
    day = trigger_time // DAY
    starts_day = np.flatnonzero(instants(trigger_user, day))
    group = np.searchsorted(starts_day, matched, side="right") - 1
    return np.where(_first_takes(np.where(matched >= 0, group, -1)) >= 0, matched, -1)


def decision_times(trigger_time: IntArray, by_day: bool) -> IntArray:
    """Time (m,) of the decision point that each trigger belongs to: its own, or midnight where decisions are by day.

    Moving contacts to any other moment of their day would bring some that are 14 days apart closer together.
    """
    return trigger_time // DAY * DAY if by_day else trigger_time


def cap_violations(user: IntArray, time: IntArray, cap: Cap) -> int:
    """How many contacts the cap forbade, given the same user's contact before; any order."""
    order = np.lexsort((time, user))
    user, time = user[order], time[order]
    forbidden = ~cap.allows(time[1:], time[:-1])
    return int((forbidden & (user[1:] == user[:-1])).sum())


def first_contacts(user: IntArray, time: IntArray, n_users: int) -> IntArray:
    """The time of each user's first contact, shape (n_users,); the largest number where there is none."""
    first = np.full(n_users, np.iinfo(np.int64).max)
    np.minimum.at(first, user, time)
    return first


def _first_takes(row: IntArray) -> IntArray:
    """`row` (k,), ascending but for -1, with every repetition replaced by -1."""
    kept = np.full(len(row), -1, dtype=np.int64)
    found, first = np.unique(row, return_index=True)
    kept[first[found >= 0]] = found[found >= 0]
    return kept


def _keys(
    first_user: IntArray, first_time: IntArray, second_user: IntArray, second_time: IntArray
) -> tuple[IntArray, IntArray]:
    """(user, time) as one number that sorts the same, for two tables. Times within 2**32 s (136 years) are needed."""
    return (first_user << 32) + first_time, (second_user << 32) + second_time

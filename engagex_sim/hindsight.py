"""The most that any policy under the cap could have had, had it known the future: a bound, not a policy."""

import numba
import numpy as np

from engagex_sim.cap import allows
from engagex_sim.columns import FloatArray, IntArray
from engagex_sim.timeline import Timeline


def hindsight(timeline: Timeline, scores: FloatArray) -> FloatArray:
    """The largest sum of scores over contacts that the cap allows, per user (n_users,).

    `scores` (n,) is what a contact at each decision point would bring, with the best of the kinds, and not negative.
    Contacts before the timeline's start still block. With best(i) the most from the first i rows of a user,
    best(i) = max(best(i − 1), score_i + best(j)), where j counts the rows that lie a whole cap before row i: weighted
    interval scheduling, linear in the rows.

    With true scores no policy does better in expectation. With predicted ones the bound is too high: it picks each
    user's luckiest errors.
    """
    best: FloatArray = _best(
        timeline.user_start, timeline.time, scores, timeline.initial.last_contact, timeline.cap.seconds
    )
    return best


@numba.njit(cache=True, nogil=True)
def _best(user_start: IntArray, time: IntArray, scores: FloatArray, last_contact: IntArray, window: int) -> FloatArray:
    n_users = len(user_start) - 1
    most = np.zeros(n_users)
    best = np.zeros(len(time) + 1)  # best[row + 1] is that of the user's rows up to this one
    for user in range(n_users):
        begin = user_start[user]
        before = begin  # rows of the user before it lie a whole cap before the present one
        best[begin] = 0.0
        for row in range(begin, user_start[user + 1]):
            while before < row and allows(time[row], time[before], window):
                before += 1
            best[row + 1] = best[row]
            if allows(time[row], last_contact[user], window):
                best[row + 1] = max(best[row], scores[row] + best[before])
        most[user] = best[user_start[user + 1]]
    return most

"""Contact probabilities under the cap: the exact forward recursion.

Under a cap of window C two contacts cannot lie within C of each other, so contacts inside a window exclude one
another and their probabilities add up. With the user's timeline given and h_t(k) the probability of contacting
with kind k when free:

    free_t = 1 − Σ_{s < t, τ_t − τ_s < C} Σ_k q_s(k)        q_t(k) = free_t · h_t(k)

and free_t = 0 where an earlier contact, outside the policy's hands, forbids one.
"""

import numba
import numpy as np

from engagex_sim.cap import allows
from engagex_sim.columns import BoolArray, FloatArray, IntArray
from engagex_sim.timeline import Timeline


def contact_probabilities(timeline: Timeline, when_free: FloatArray, blocked: BoolArray) -> FloatArray:
    """P(contact with kind k at t), shape (n, K), from h_t(k) = `when_free` (n, K) and `blocked` (n,).

    Exact for a policy that reads exogenous features only; linear in the decision points.
    """
    return free_probabilities(timeline, when_free, blocked)[:, None] * when_free


def free_probabilities(timeline: Timeline, when_free: FloatArray, blocked: BoolArray) -> FloatArray:
    """P(the cap allows a contact at t), shape (n,); arguments as in `contact_probabilities`."""
    free: FloatArray = _free(timeline.user_start, timeline.time, when_free.sum(axis=1), blocked, timeline.cap.seconds)
    return free


@numba.njit(cache=True)
def _free(user_start: IntArray, time: IntArray, hazard: FloatArray, blocked: BoolArray, window: int) -> FloatArray:
    free = np.zeros(len(time))
    for user in range(len(user_start) - 1):
        _fill_free(user_start[user], user_start[user + 1], time, hazard, blocked, window, free)
    return free


@numba.njit(cache=True)
def _fill_free(
    begin: int, end: int, time: IntArray, hazard: FloatArray, blocked: BoolArray, window: int, free: FloatArray
) -> None:
    """Write free_t for rows `begin` to `end - 1`, one user's, with nothing contacted before `begin`."""
    tail = begin
    inside = 0.0  # Σ q over the window
    for row in range(begin, end):
        while tail < row and allows(time[row], time[tail], window):
            inside -= free[tail] * hazard[tail]
            tail += 1
        if tail == row:
            inside = 0.0  # no rounding is carried past an empty window
        if not blocked[row]:
            free[row] = min(1.0, max(0.0, 1.0 - inside))
        else:
            free[row] = 0.0
        inside += free[row] * hazard[row]


@numba.njit(cache=True)
def free_after_contact(
    user_end: IntArray,
    time: IntArray,
    hazard: FloatArray,
    blocked: BoolArray,
    window: int,
    first: IntArray,
    second: IntArray,
) -> FloatArray:
    """P(the cap allows a contact at row second[j] | contact at row first[j]), shape (j,).

    The recursion restarted after `first`; `user_end` (j,) is where that user's rows end. Pairs with the same `first`
    stand together, so that each restart runs once.
    """
    answer = np.zeros(len(first))
    free = np.zeros(len(time))
    after = np.zeros(len(time), dtype=np.bool_)
    for pair in range(len(first)):
        begin = first[pair] + 1
        if pair == 0 or first[pair] != first[pair - 1]:
            for row in range(begin, user_end[pair]):
                after[row] = blocked[row] or not allows(time[row], time[first[pair]], window)
            _fill_free(begin, user_end[pair], time, hazard, after, window, free)
        answer[pair] = free[second[pair]]
    return answer

"""Contact probabilities under the cap: the exact forward recursion.

Under a cap of window C two contacts cannot lie within C of each other, so contacts inside a window exclude one
another and their probabilities add up. With the user's timeline given and h_t(k) the probability of contacting
with kind k when free:

    free_t = 1 − Σ_{s < t, τ_t − τ_s < C} Σ_k q_s(k)        q_t(k) = free_t · h_t(k)

Where h depends on the contact history through a state S (classes of recency, count and interest), so does the
recursion: the mass P(S_t = S) is carried forward, each contact q_t(S, k) = P(S_t = S) · h_t(S, k) moves its share of it
to the state of who was just contacted, and time moves it on from one class of recency to the next. Kolmogorov's forward
equation needs no Markov assumption for that, only the right probability of a contact given the state.
"""

from dataclasses import replace

import numba
import numpy as np

from engagex_sim.cap import NEVER
from engagex_sim.columns import BoolArray, FloatArray, IntArray
from engagex_sim.features import History
from engagex_sim.states import NO_STATE, States
from engagex_sim.timeline import Timeline

SMALLEST = 1e-100  # a running product of survival below it is multiplied out, so that nothing underflows


def contact_probabilities(
    timeline: Timeline,
    when_free: FloatArray,
    states: States = NO_STATE,
    *,
    bound: bool = True,
    unexplained: IntArray | None = None,
    interest: FloatArray | None = None,
) -> FloatArray:
    """q_t(S, k), shape (n, S, K), from h_t(S, k) = `when_free`, (n, S, K), or (n, 1, K) where h is the same for all S.

    Starts from the logged history at each user's start. Without `bound` the cap plays no part. `unexplained` (n,) is
    the time of the last contact that the policy does not explain (`NEVER` if none): it happens in any case.
    `interest`, as `when_free`, is the probability of interest, needed where `states` carries interests.
    """
    t = timeline
    return _run(
        t.user_start,
        t.time,
        t.initial,
        when_free,
        states,
        t.cap.seconds if bound else 0,
        np.full(len(t), NEVER) if unexplained is None else unexplained,
        interest,
    )


def contact_probabilities_with_exempt_kinds(
    timeline: Timeline, when_free: FloatArray, when_blocked: FloatArray, exempt: BoolArray
) -> FloatArray:
    """q_t(k), shape (n, K), where kinds `exempt` (K,) neither count for the cap nor are blocked by it.

    From h_t(k), (n, K), where the cap leaves the user free and where it does not:

        q_t(k) = free_t h_t(k | free) + (1 − free_t) h_t(k | blocked)
    """
    t, bound = timeline, ~exempt
    last = t.initial.last_of_kind[:, bound].max(axis=1, initial=NEVER)
    since = replace(t, initial=replace(t.initial, last_contact=last))
    counted = contact_probabilities(since, when_free[:, None, bound]).sum(axis=(1, 2))
    span = int(t.time.max(initial=0) - t.time.min(initial=0)) + t.cap.seconds + 1
    moment = t.user_of_row * span + t.time - t.time.min(initial=0)  # ascending; users lie further apart than the cap
    inside = np.searchsorted(moment, moment - t.cap.seconds, side="right")  # the first row in the window before each
    total = np.concatenate([[0.0], np.cumsum(counted)])
    blocked = np.clip(total[np.arange(len(t))] - total[np.minimum(inside, np.arange(len(t)))], 0.0, 1.0)
    free = np.where(t.cap.allows(t.time, last[t.user_of_row]), 1.0 - blocked, 0.0)[:, None]
    return free * when_free + (1.0 - free) * when_blocked


def contact_probabilities_after(
    timeline: Timeline,
    when_free: FloatArray,
    states: States,
    first: IntArray,
    *,
    bound: bool = True,
    unexplained: IntArray | None = None,
    interest: FloatArray | None = None,
) -> tuple[IntArray, IntArray, FloatArray]:
    """q_t(S, k | the log's history up to and with a contact of interest at row `first[j]`), for the user's later rows.

    The recursion restarted after each of `first` (j,). Returns where the answers of each begin (j + 1,), their rows
    (m,) and q (m, S, K); other arguments as in `contact_probabilities`.
    """
    t = timeline
    end = t.user_start[1:][np.searchsorted(t.user_start, first, side="right") - 1]
    count = end - first - 1
    start = np.concatenate([[0], np.cumsum(count)]).astype(np.int64)
    rows = np.arange(start[-1]) + np.repeat(first + 1 - start[:-1], count)
    history = History(t.time[first], t.logged.contacts[first] + 1, t.logged.interests[first] + 1)
    forced = np.full(len(rows), NEVER) if unexplained is None else unexplained[rows]
    q = _run(
        start,
        t.time[rows],
        history,
        when_free[rows],
        states,
        t.cap.seconds if bound else 0,
        forced,
        None if interest is None else interest[rows],
    )
    return start, rows, q


def _run(
    start: IntArray,
    time: IntArray,
    initial: History,
    when_free: FloatArray,
    states: States,
    window: int,
    unexplained: IntArray,
    interest: FloatArray | None,
) -> FloatArray:
    """The recursion over users whose rows are `start[i]:start[i + 1]`, each from its `initial` history."""
    # Regions of recency: where they begin matters for the cap or for the state.
    borders = sorted({*states.edges, *([window] if window > 0 else [])})
    begin = np.array([0, *borders], dtype=np.int64)
    recency = np.searchsorted(np.array(states.edges, dtype=np.int64), begin, side="right")
    liked = when_free[:, :, :0] if interest is None else interest
    answer: FloatArray = _forward(
        start,
        time,
        initial.last_contact,
        np.asarray(states.group(initial.contacts, initial.interests), dtype=np.int64),
        np.ascontiguousarray(when_free),
        np.array(borders, dtype=np.int64),
        np.asarray(recency, dtype=np.int64),
        begin >= window,
        states.counts,
        states.interests,
        states.size,
        unexplained,
        np.ascontiguousarray(liked),
    )
    return answer


@numba.njit(cache=True, nogil=True)
def _forward(
    start: IntArray,
    time: IntArray,
    last_contact: IntArray,
    group: IntArray,
    hazard: FloatArray,
    borders: IntArray,
    recency: IntArray,
    is_open: BoolArray,
    counts: int,
    interests: bool,
    size: int,
    unexplained: IntArray,
    liked: FloatArray,
) -> FloatArray:
    """The loop behind `contact_probabilities`.

    A user's mass stands in entries, one per possible time of the last contact, in order of time; entries lie in
    regions of recency, the youngest in region 0, and move on as time passes. Inside a region the mass of all entries of
    a group (count, interest) shrinks by the same factor, so it is kept once: mass = stored × survival. The last region
    is never left: its total is enough.
    """
    n, kinds = hazard.shape[0], hazard.shape[2]
    regions = len(recency)
    last = regions - 1
    both = 2 if interests else 1
    groups = counts * both
    per_state = hazard.shape[1] > 1
    longest = 0
    for user in range(len(start) - 1):
        longest = max(longest, start[user + 1] - start[user])
    answer = np.zeros((n, size, kinds))
    entry_time = np.empty(2 * longest + 2, dtype=np.int64)
    stored = np.empty((2 * longest + 2, groups))
    survival = np.empty((regions, groups))
    total = np.empty((regions, groups))
    new = np.empty(groups)
    low = np.empty(regions, dtype=np.int64)  # region r holds entries low[r] to low[r − 1] − 1
    for user in range(len(start) - 1):
        entries = 1
        entry_time[0] = last_contact[user]
        stored[0] = 0.0
        stored[0, group[user]] = 1.0
        survival[:] = 1.0
        total[:] = 0.0
        total[0, group[user]] = 1.0
        low[:] = 0
        seen = last_contact[user]
        for row in range(start[user], start[user + 1]):
            if unexplained[row] > seen:  # whatever came before, now this is the last contact
                seen = unexplained[row]
                new[:] = 0.0
                for g in range(groups):
                    new[min(g // both + 1, counts - 1) * both + g % both] += total[:, g].sum()
                entries = 1
                entry_time[0] = seen
                stored[0] = new
                survival[:] = 1.0
                total[:] = 0.0
                total[0] = new
                low[:] = 0
            for r in range(last):
                while low[r] < entries and (r == 0 or low[r] < low[r - 1]):
                    entry = low[r]
                    if time[row] - entry_time[entry] < borders[r]:
                        break
                    low[r] += 1
                    empty = low[r] == (entries if r == 0 else low[r - 1])
                    for g in range(groups):
                        mass = stored[entry, g] * survival[r, g]
                        total[r, g] = 0.0 if empty else max(0.0, total[r, g] - mass)
                        total[r + 1, g] += mass
                        stored[entry, g] = mass / survival[r + 1, g]
            new[:] = 0.0
            for r in range(regions):
                if not is_open[r]:
                    continue
                for g in range(groups):
                    mass = total[r, g]
                    if mass <= 0.0:
                        continue
                    state = recency[r] * groups + g
                    at = state if per_state else 0
                    made = 0.0
                    count = min(g // both + 1, counts - 1) * both
                    for k in range(kinds):
                        flow = mass * hazard[row, at, k]
                        answer[row, state, k] += flow
                        made += hazard[row, at, k]
                        if not interests:
                            new[count] += flow
                        elif g % 2 == 1:
                            new[count + 1] += flow
                        else:
                            chance = liked[row, state if liked.shape[1] > 1 else 0, k]
                            new[count + 1] += flow * chance
                            new[count] += flow * (1.0 - chance)
                    stays = max(0.0, 1.0 - made)
                    total[r, g] = mass * stays
                    if r < last:
                        survival[r, g] *= stays
                        if survival[r, g] < SMALLEST:
                            for entry in range(low[r], entries if r == 0 else low[r - 1]):
                                stored[entry, g] *= survival[r, g]
                            survival[r, g] = 1.0
            if new.sum() > 0.0:
                entry_time[entries] = time[row]
                for g in range(groups):
                    stored[entries, g] = new[g] / survival[0, g]
                    total[0, g] += new[g]
                entries += 1
    return answer

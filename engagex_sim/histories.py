"""Contact probabilities under rules by kind: the mean over simulated contact histories.

Where what a contact forbids depends on its kind, the last contact of each kind is the state, too much to carry exactly.
So contacts are drawn, and what is averaged is not whether one was made but the probability of one where the history
stands (Rao and Blackwell):

    q_t(S, k) = mean over histories of 1[S_t = S] h_t(S, k | the kinds that are open)

The mean is unbiased however few the histories are, and so is every estimate that is linear in q. Where kinds are exempt
and none has a cap of its own, the recursion tells it exactly, as long as no other state is carried.
"""

from dataclasses import dataclass

import numba
import numpy as np

from engagex_sim.columns import BoolArray, FloatArray, IntArray
from engagex_sim.hashing import seed_of, uniforms
from engagex_sim.occupancy import contact_probabilities_with_exempt_kinds
from engagex_sim.rules import Rules
from engagex_sim.states import States
from engagex_sim.timeline import Timeline

HISTORIES = 100  # of each user
_SEED = seed_of("contact histories under rules")


@dataclass(frozen=True)
class Histories:
    """Simulated contact histories of a policy under the timeline's rules; answers are summed to coarser states."""

    states: States
    weights: States  # that `states` refine
    interest: FloatArray | None = None  # q̂ (n, S, K) by the states of the weights, needed where interests matter
    count: int = HISTORIES

    def run(self, t: Timeline, by_mask: FloatArray) -> FloatArray:
        """q (n, S, K) by the states of the weights, from h (P, n, S or 1, K) by the sets of kinds that are open.

        Exact where exempt kinds are the only rule by kind and there is one state.
        """
        exempt = t.rules.exempt(t.cap)
        if exempt is not None and self.states.size == 1 and not t.rules.stop:
            when_free = by_mask[0, :, 0]
            when_blocked = by_mask[1, :, 0] if len(by_mask) > 1 else np.zeros_like(when_free)
            return contact_probabilities_with_exempt_kinds(t, when_free, when_blocked, exempt)[:, None]
        everybody = np.arange(t.n_users)
        q, _ = self._mean(t, by_mask, t.user_start[:-1], t.user_start[1:], everybody)
        return q

    def after(self, t: Timeline, by_mask: FloatArray, first: IntArray) -> tuple[IntArray, FloatArray]:
        """Likewise given a contact of interest at row `first[j]`, logged state and kind, for the user's later rows.

        Returns where the answers of each of `first` (j,) begin (j + 1,), and q (m, S, K). 0 where no history has it.
        """
        user = np.searchsorted(t.user_start, first, side="right") - 1
        own, position = np.unique(user, return_inverse=True)
        few, rows = t.drawn(own), np.flatnonzero(np.isin(t.user_of_row, own))
        narrowed = Histories(
            self.states, self.weights, None if self.interest is None else self.interest[rows], self.count
        )
        begin, end = few.user_start[position], few.user_start[position + 1]
        forced = begin + first - t.user_start[user]
        q, start = narrowed._mean(few, by_mask[:, rows], begin, end, position, forced)
        later = [np.arange(s + f - b + 1, s + e - b) for s, f, b, e in zip(start, forced, begin, end, strict=False)]
        sizes = np.array([len(part) for part in later], dtype=np.int64)
        kept = np.concatenate([*later, np.zeros(0, dtype=np.int64)])
        return np.concatenate([[0], np.cumsum(sizes)]), q[kept]

    def _mean(
        self,
        t: Timeline,
        by_mask: FloatArray,
        begin: IntArray,
        end: IntArray,
        user: IntArray,
        forced: IntArray | None = None,
    ) -> tuple[FloatArray, IntArray]:
        """Means over walks (w,) of rows begin[w] to end[w] − 1 of `user[w]`, appended, and where each begins (w + 1,).

        With a contact at row `forced[w]`, the means are those after it, given that it is made.
        """
        start = np.concatenate([[0], np.cumsum(end - begin)]).astype(np.int64)
        n_kinds = by_mask.shape[3]
        total, weight = np.zeros((int(start[-1]), self.weights.size, n_kinds)), np.zeros(len(begin))
        rank = (np.arange(len(t)) - t.user_start[t.user_of_row]).astype(np.uint64)
        row_key = t.user_key[t.user_of_row] + rank  # a decision's numbers belong to its user, in whatever block
        windows, codes = _tables(t.rules, t.cap.seconds, n_kinds)
        interest = by_mask[0, :, :, :0] if self.interest is None else self.interest
        for history in range(self.count):
            action_draw, reward_draw = uniforms(row_key, _SEED, 2 * history, 2 * history + 2)
            _walk(
                begin,
                end,
                start,
                t.time,
                t.initial.last_contact[user],
                t.initial.contacts[user],
                t.initial.interests[user] > 0,
                t.initial.last_of_kind[user],
                by_mask,
                codes,
                windows,
                np.array(self.states.edges, dtype=np.int64),
                self.states.counts,
                self.states.interests,
                t.rules.stop,
                self.states.within(self.weights),
                interest,
                action_draw,
                reward_draw,
                np.full(len(begin), -1) if forced is None else forced,
                t.action if forced is None else t.action[forced] - 1,
                t.action if forced is None else self.weights.of(t.time, t.logged)[forced],
                total,
                weight,
            )
        seen = np.full(len(begin), float(self.count)) if forced is None else weight
        scale = np.divide(1.0, seen, out=np.zeros(len(seen)), where=seen > 0)
        return total * np.repeat(scale, end - begin)[:, None, None], start


def _tables(rules: Rules, cap: int, n_kinds: int) -> tuple[IntArray, IntArray]:
    """For how many seconds kind j forbids kind k (K, K), and every set of open kinds as a binary number (P,)."""
    if not rules.by_kind:
        return np.full((n_kinds, n_kinds), cap), np.array([2**n_kinds - 1])
    bits = 2 ** np.arange(n_kinds)
    return np.array(rules.windows), np.array(rules.masks) @ bits


@numba.njit(cache=True, nogil=True)
def _walk(
    begin: IntArray,
    end: IntArray,
    start: IntArray,
    time: IntArray,
    last_contact: IntArray,
    contacts: IntArray,
    was_interested: BoolArray,
    last_of_kind: IntArray,
    by_mask: FloatArray,
    codes: IntArray,
    windows: IntArray,
    edges: IntArray,
    counts: int,
    interests: bool,
    stop: bool,
    coarse: IntArray,
    interest: FloatArray,
    action_draw: FloatArray,
    reward_draw: FloatArray,
    forced: IntArray,
    forced_kind: IntArray,
    forced_state: IntArray,
    total: FloatArray,
    weight: FloatArray,
) -> None:
    """One history of every walk, added to `total` and to `weight`."""
    kinds = windows.shape[0]
    both = 2 if interests else 1
    groups = counts * both
    for walk in range(len(begin)):
        last, made, liked = last_contact[walk], contacts[walk], was_interested[walk]
        of_kind = last_of_kind[walk].copy()
        own = 1.0 if forced[walk] < 0 else 0.0  # the probability of the forced contact, once it is made
        for row in range(begin[walk], end[walk]):
            if stop and liked:
                break
            code = 0
            for k in range(kinds):
                is_open = True
                for j in range(kinds):
                    if time[row] - of_kind[j] < windows[j, k]:
                        is_open = False
                if is_open:
                    code += 1 << k
            if code == 0:
                if row == forced[walk]:
                    break
                continue
            mask = 0
            while codes[mask] != code:
                mask += 1
            group = min(made, counts - 1) * both
            if interests and liked:
                group += 1
            state = np.searchsorted(edges, time[row] - last, side="right") * groups + group
            chances = by_mask[mask, row, state if by_mask.shape[2] > 1 else 0]
            kind = -1
            if row == forced[walk]:
                if coarse[state] == forced_state[walk]:
                    own = chances[forced_kind[walk]]
                if own == 0.0:
                    break
                weight[walk] += own
                kind = forced_kind[walk]
                liked = True
            else:
                if own > 0.0:
                    for k in range(kinds):
                        total[start[walk] + row - begin[walk], coarse[state], k] += own * chances[k]
                reached = 1.0 - chances.sum()
                if action_draw[row] >= reached:
                    kind = 0
                    while kind < kinds - 1 and action_draw[row] >= reached + chances[kind]:
                        reached += chances[kind]
                        kind += 1
                    if interest.shape[2] > 0:
                        at = coarse[state] if interest.shape[1] > 1 else 0
                        liked = liked or reward_draw[row] < interest[row, at, kind]
            if kind >= 0:
                of_kind[kind] = time[row]
                last = time[row]
                made += 1

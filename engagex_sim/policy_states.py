"""What a policy would do in every state of the contact history that it could have left its users in."""

from dataclasses import dataclass
from functools import reduce

import numpy as np

from engagex_sim.cap import DAY
from engagex_sim.columns import BoolArray, FloatArray
from engagex_sim.features import History
from engagex_sim.policy import Policy, checked_probabilities
from engagex_sim.states import NEVER_SEEN, NO_STATE, States, whole_days
from engagex_sim.timeline import Timeline

RESULTS = "interests_so_far"  # the history feature that tells results
MAX_COUNT = 12  # contacts that a policy which counts them is shown at most


@dataclass(frozen=True)
class ByState:
    """A policy's probabilities of contact, by the states of its contact history that it tells apart."""

    states: States
    when_free: FloatArray  # (n, S, K), or (n, 1, K) where all states have the same


def policy_by_state(
    policy: Policy, timeline: Timeline, weights: States, is_open: BoolArray | None = None
) -> tuple[FloatArray, ByState | None]:
    """The policy's answer (n, K + 1) at the logged states if free, and in every state; the states refine `weights`.

    Free is whom the cap does not block, or with `is_open` (K,), to whom these kinds alone are open.

    A policy that reads `days_since_contact` is shown it in whole days plus a half, and exactly for contacts before the
    evaluation. None for one that reads the results of its own contacts: no state that is carried tells them.
    Raises `InputError` for a wrong answer.
    """
    t = timeline
    context = t.free_context(is_open)
    answer = checked_probabilities(policy, context)
    read = set(context.history_read)
    if not read or not t.contact_is_a_choice:
        return answer, ByState(weights, answer[:, None, 1:])
    if RESULTS in read:
        return answer, None
    shortest = t.rules.shortest(t.cap)
    room = int(np.diff(t.user_start).max(initial=0)) if shortest == 0 else _span(t) // shortest + 1
    most = int(t.initial.contacts.max(initial=0)) + room
    states = weights.joined(
        States(
            edges=days_since_contact(t).edges if "days_since_contact" in read else NO_STATE.edges,
            counts=min(most, MAX_COUNT) + 1 if "contacts_so_far" in read else 1,
        )
    )
    when_free = np.zeros((len(t), states.size, len(t.kinds)))
    start, gap = t.evaluation_start[t.user_of_row], t.time - t.initial.last_contact[t.user_of_row]
    for state in range(states.size):
        begin, end = states.recency(state)
        before = (begin <= gap) & (gap < end)  # the last contact is the one before the evaluation
        possible = before | ((begin <= t.time - start) & (begin < NEVER_SEEN))
        rows = np.flatnonzero(possible & (end > shortest))
        example = states.example(state, t.time[rows])
        last = np.where(before[rows], t.time[rows] - gap[rows], example.last_contact)
        shown = t.context(
            rows,
            history=History(last, example.contacts, example.interests),
            free=np.ones(len(rows), dtype=np.bool_) if is_open is None else np.tile(is_open, (len(rows), 1)),
        )
        when_free[rows, state] = checked_probabilities(policy, shown)[:, 1:]
        if RESULTS in shown.history_read:
            return answer, None
    return answer, ByState(states, when_free)


def policy_by_mask(
    policy: Policy, timeline: Timeline, weights: States
) -> tuple[FloatArray, tuple[States, FloatArray] | None]:
    """`policy_by_state` for every set of kinds that the timeline's rules may leave open: `rules.masks`.

    Returns the answer where all kinds are open, and the states with h (P, n, S or 1, K).
    """
    found = []
    for mask in timeline.rules.masks or ((True,) * len(timeline.kinds),):
        answer, by_state = policy_by_state(policy, timeline, weights, np.array(mask))
        if by_state is None:
            return answer, None
        found.append((answer, by_state))
    states = reduce(States.joined, (own.states for _, own in found))
    hazards = [own.when_free for _, own in found]
    if any(h.shape[1] > 1 for h in hazards):
        hazards = [
            np.repeat(h, states.size, axis=1) if h.shape[1] == 1 else h[:, states.within(own.states)]
            for h, (_, own) in zip(hazards, found, strict=True)
        ]
    return found[0][0], (states, np.stack(hazards))


def days_since_contact(timeline: Timeline) -> States:
    """Recency in whole days, from the cap's end to the end of the evaluation."""
    shortest = timeline.rules.shortest(timeline.cap)
    return States(whole_days(max(shortest, DAY), max(_span(timeline), shortest) + DAY))


def _span(timeline: Timeline) -> int:
    """Seconds from a user's start to the last decision, the most of all users."""
    return int((timeline.time - timeline.evaluation_start[timeline.user_of_row]).max(initial=0))


def states_carried(policy: Policy, timeline: Timeline, weights: States) -> int:
    """How many states the recursion carries for the policy, asked about these decision points."""
    by_state = policy_by_state(policy, timeline, weights)[1]
    return 1 if by_state is None else by_state.states.size * max(len(timeline.rules.masks), 1)


def with_no_contact(contacts: FloatArray) -> FloatArray:
    """Probabilities (n, K + 1) of all actions from those of the contacts (n, K)."""
    return np.column_stack([np.maximum(0.0, 1.0 - contacts.sum(axis=1)), contacts])

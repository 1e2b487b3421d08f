"""One target policy on a block of users: its weights at the logged contacts, and its sums per user."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np

from engagex_sim.block import Block, Recursion, at_logged_states, of_pairs
from engagex_sim.columns import FloatArray, IntArray, sums_by
from engagex_sim.hashing import seed_of, uniforms
from engagex_sim.histories import Histories
from engagex_sim.ope.weights import cumulative, ratio
from engagex_sim.policy import Policy, checked_probabilities
from engagex_sim.policy_states import policy_by_mask
from engagex_sim.rules import NO_RULES
from engagex_sim.simulate import simulate_with
from engagex_sim.states import States

_ROLLOUT_SEED = seed_of("roll-outs")
ROLLOUTS = 10  # simulated histories of each user under a policy that reads its own results


class LoggedTerms(NamedTuple):
    """What a policy would have done of what the log did: c logged contacts, p pairs of interests."""

    contact_probability: FloatArray  # (c,) q^π of the logged contact
    one_step: FloatArray  # (c,) one-step weight
    cumulative: FloatArray  # (c,) cumulative weight
    pair_probability: FloatArray  # (p,) q^π(second | contact at first)
    contacts_after: FloatArray  # (c,) expected contacts after a logged one of interest; 0 unless interest stops them


class UserSums(NamedTuple):
    """What a policy does, and what the reward model says to it, added up over decisions: of n users, or n sums."""

    model: FloatArray  # (n,) Σ_t Σ_k q^π q̂
    expected: FloatArray  # (n,) Σ_t Σ_k q^π
    one_step_model: FloatArray  # (n,) Σ_t Σ_k π q̂ at the logged states
    one_step_contacts: FloatArray  # (n,) Σ_t Σ_k π at the logged states
    one_step_rest: FloatArray  # (n,) one-step weights summed over decisions without contact
    history_model: FloatArray  # (n,) Σ_t ρ_{t−1} Σ_k π q̂ at the logged states, ρ the cumulative weight
    history_contacts: FloatArray  # (n,) Σ_t ρ_{t−1} Σ_k π at the logged states

    def modelled(self, kind: str) -> tuple[FloatArray, FloatArray]:
        """Interests and contacts (n,) as modelled beside weights of this kind: step, traj or cap."""
        return {
            "step": (self.one_step_model, self.one_step_contacts),
            "traj": (self.history_model, self.history_contacts),  # Jiang and Li 2016
            "cap": (self.model, self.expected),
        }[kind]


@dataclass(frozen=True)
class PolicyTerms:
    """One target policy on a block of u users, d days of the evaluation.

    What needs the recursion is NaN for a policy that reads the results of its own contacts.
    """

    logged: LoggedTerms
    users: UserSums  # (u,)
    by_day: FloatArray  # (u, d) Σ_t Σ_k q^π q̂ by day
    rollout: FloatArray  # (u, 2) interests and contacts in simulated histories; NaN where the recursion is exact
    bound: FloatArray  # (u,) what the cap-marginal weights of one user's contacts can add up to at most


def policy_terms(policy: Policy, block: Block) -> PolicyTerms:
    """Ask the policy and reduce its answers. Raises `InputError` for a wrong answer."""
    t, user, contact = block.timeline, block.timeline.user_of_row, block.contact
    answer, by_mask = policy_by_mask(policy, block.trial, block.carry.weights)
    occupancy = None if by_mask is None else _occupancy(block, *by_mask)
    contacts_after = np.zeros(len(contact))
    if occupancy is None:
        contact_probability, pair_probability = np.full(len(contact), np.nan), np.full(len(block.first), np.nan)
        by_day, expected = np.full((t.n_users, block.days.count), np.nan), np.full(t.n_users, np.nan)
        bound, rollout = np.full(t.n_users, np.inf), _roll_out(policy, block)
    else:
        occupied = occupancy.run()
        contact_probability = block.of_contacts(occupied)
        pair_probability = of_pairs(block, occupancy.after)
        if block.rules.stop:
            liked = t.reward[contact] > 0
            start, later = occupancy.after(contact[liked])
            walk = np.repeat(np.arange(len(start) - 1), np.diff(start))
            contacts_after[liked] = sums_by(walk, later.sum(axis=(1, 2)), len(start) - 1)
        by_day = block.by_day((occupied * block.predicted).sum(axis=(1, 2)))
        expected = sums_by(user, occupied.sum(axis=(1, 2)), t.n_users)
        most = ratio(occupied.ravel(), block.logging.ravel()).reshape(len(t), -1).max(axis=1, initial=0.0)
        bound, rollout = _most(block, most), np.full((t.n_users, 2), np.nan)
    if block.rules == NO_RULES:
        here = at_logged_states(answer, t, True)
    else:
        here = checked_probabilities(policy, t.under(block.rules).context())
    of_action = here[np.arange(len(t)), t.action]
    of_logging = block.at_logged[np.arange(len(t)), t.action]
    one_step = ratio(of_action, of_logging)
    # The history goes on after a contact that the modelled policy never makes.
    history = cumulative(t.user_start, np.where(of_logging == 0, 1.0, one_step))
    before = np.concatenate([[1.0], history[:-1]])
    before[t.user_start[:-1][np.diff(t.user_start) > 0]] = 1.0
    model_here = (here[:, 1:] * block.here(block.predicted)).sum(axis=1)
    contacts_here = here[:, 1:].sum(axis=1)
    return PolicyTerms(
        LoggedTerms(
            contact_probability=contact_probability,
            one_step=one_step[contact],
            cumulative=np.where(of_action > 0, history, 0.0)[contact],
            pair_probability=pair_probability,
            contacts_after=contacts_after,
        ),
        UserSums(
            model=by_day.sum(axis=1),
            expected=expected,
            one_step_model=sums_by(user, model_here, t.n_users),
            one_step_contacts=sums_by(user, contacts_here, t.n_users),
            one_step_rest=sums_by(user, np.where(t.action == 0, one_step, 0.0), t.n_users),
            history_model=sums_by(user, before * model_here, t.n_users),
            history_contacts=sums_by(user, before * contacts_here, t.n_users),
        ),
        by_day=by_day,
        rollout=rollout,
        bound=bound,
    )


class _Occupancy(NamedTuple):
    """Contact probabilities of a policy by the states of the weights, see `Recursion` and `Histories`."""

    run: Callable[[], FloatArray]  # q (n, S, K)
    after: Callable[[IntArray], tuple[IntArray, FloatArray]]


def _occupancy(block: Block, states: States, by_mask: FloatArray) -> _Occupancy:
    """From h (P, n, S or 1, K) of a policy by the sets of kinds that are open.

    Where interest stops contacts, nobody who was interested before is contacted. What an interest in the evaluation
    stops is left out here; estimates take it from the weighted interests.
    """
    t, weights = block.trial, block.carry.weights
    if block.rules.stop:
        by_mask[:, (t.initial.interests > 0)[t.user_of_row]] = 0.0
    if t.rules.by_kind:
        histories = Histories(states, weights, block.predicted if states.interests else None)
        return _Occupancy(partial(histories.run, t, by_mask), partial(histories.after, t, by_mask))
    recursion = Recursion(states, weights, True, None, block.predicted)
    return _Occupancy(partial(recursion.run, t, by_mask[0]), partial(recursion.after, t, by_mask[0]))


def _roll_out(policy: Policy, block: Block) -> FloatArray:
    """(u, 2) interests and contacts per user in histories simulated with the reward model's word for the results."""
    t = block.timeline.under(block.rules)
    total = np.zeros((t.n_users, 2))
    rank = (np.arange(len(t)) - t.user_start[t.user_of_row]).astype(np.uint64)
    row_key = t.user_key[t.user_of_row] + rank  # a decision's numbers belong to its user, in whatever block
    for history in range(ROLLOUTS):
        action_draw, reward_draw = uniforms(row_key, _ROLLOUT_SEED, 2 * history, 2 * history + 2)
        run = simulate_with(t, policy, block.fitted.interest, action_draw, reward_draw)
        total[:, 0] += sums_by(t.user_of_row, run.reward_probability, t.n_users)
        total[:, 1] += sums_by(t.user_of_row, (run.action > 0).astype(np.float64), t.n_users)
    return total / ROLLOUTS


def _most(block: Block, weight: FloatArray) -> FloatArray:
    """(u,) the largest weight of each user's decisions times the contacts that the log leaves room for."""
    t = block.timeline
    largest = np.zeros(t.n_users)
    np.maximum.at(largest, t.user_of_row, weight)
    seen = np.diff(t.user_start) > 0
    span = np.zeros(t.n_users)
    span[seen] = t.time[t.user_start[1:][seen] - 1] - t.time[t.user_start[:-1][seen]]
    room = np.diff(t.user_start)
    if t.cap.seconds > 0 and block.cap_modelled:  # the few contacts that then break it carry no weight
        room = np.minimum(room, span // t.cap.seconds + 1)
    return np.where(room > 0, largest * room, 0.0)

"""Roll a policy over a block of users: the one simulator of worlds, environment and truth."""

from collections.abc import Callable
from dataclasses import dataclass

import numba
import numpy as np

from engagex_sim.cap import allows
from engagex_sim.columns import FloatArray, IntArray
from engagex_sim.features import History, replay
from engagex_sim.policy import Context, Policy, checked_probabilities, draw_actions
from engagex_sim.timeline import Timeline

RewardProbabilities = Callable[[Context], FloatArray]  # context of n rows → (n, K) probability of interest by kind


@dataclass(frozen=True)
class Simulation:
    """One simulated history of every user of a timeline."""

    action: IntArray  # (n,) 0 = no contact
    reward: FloatArray  # (n,) 1 = interested; 0 where no contact
    reward_probability: FloatArray  # (n,) of the action taken; 0 where no contact
    history: History  # (n,) just before each decision, under the simulated contacts


def simulate(
    timeline: Timeline, policy: Policy, reward_probabilities: RewardProbabilities, rng: np.random.Generator
) -> Simulation:
    """Let `policy` decide at every row of `timeline`, each user starting from `timeline.initial`.

    History features are those of the simulated contacts, never of the log. The same seed gives the same histories
    whether or not the policy reads history: every row has its own pair of uniforms.
    """
    action_draw, reward_draw = rng.random(len(timeline)), rng.random(len(timeline))
    return simulate_with(timeline, policy, reward_probabilities, action_draw, reward_draw)


def simulate_with(
    timeline: Timeline,
    policy: Policy,
    reward_probabilities: RewardProbabilities,
    action_draw: FloatArray,
    reward_draw: FloatArray,
) -> Simulation:
    """`simulate` with each row's uniforms given, (n,) for its action and (n,) for its reward."""
    context = timeline.free_context()
    probabilities = checked_probabilities(policy, context)
    if context.history_read or timeline.rules.need_history:
        return _by_rank(timeline, policy, reward_probabilities, action_draw, reward_draw)
    action = contacts_drawn(timeline, probabilities, action_draw)
    made = np.flatnonzero(action)
    before = simulated_history(timeline, action, np.zeros(len(timeline)))
    chances = timeline.context(made, history=before.take(made), free=np.ones(len(made), dtype=np.bool_))
    chance, reward = np.zeros(len(timeline)), np.zeros(len(timeline))
    chance[made] = _chance_of(action[made], np.asarray(reward_probabilities(chances), dtype=np.float64))
    if "interests_so_far" in chances.history_read:  # which the interests before it decide
        return _by_rank(timeline, policy, reward_probabilities, action_draw, reward_draw)
    reward[made] = reward_draw[made] < chance[made]
    return Simulation(action, reward, chance, simulated_history(timeline, action, reward))


def contacts_drawn(timeline: Timeline, when_free: FloatArray, action_draw: FloatArray) -> IntArray:
    """Actions (n,) of a policy that reads exogenous features only, from its probabilities (n, K + 1) when free."""
    wanted = draw_actions(when_free, action_draw)
    last = timeline.initial.last_contact
    drawn: IntArray = _contacts_allowed(timeline.user_start, timeline.time, wanted, last, timeline.cap.seconds)
    return drawn


def simulated_history(timeline: Timeline, action: IntArray, reward: FloatArray) -> History:
    """History (n,) before each row if these actions had been taken from `timeline.initial` on."""
    no_others = np.zeros(timeline.n_users + 1, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros(0)
    start = timeline.initial
    return History(
        *replay(
            timeline.user_start,
            timeline.time,
            action,
            reward,
            *no_others,
            start.last_contact,
            start.contacts,
            start.interests,
        )
    )


def _chance_of(action: IntArray, chances: FloatArray) -> FloatArray:
    chosen = np.take_along_axis(chances, np.maximum(action - 1, 0)[:, None], axis=1)[:, 0]
    return np.where(action > 0, chosen, 0.0)


@numba.njit(cache=True, nogil=True)
def _contacts_allowed(
    user_start: IntArray, time: IntArray, wanted: IntArray, last_contact: IntArray, window: int
) -> IntArray:
    """The wanted actions (n,) that the cap lets happen, in order of time."""
    action = np.zeros(len(time), dtype=np.int64)
    for user in range(len(user_start) - 1):
        last = last_contact[user]
        for row in range(user_start[user], user_start[user + 1]):
            if wanted[row] > 0 and allows(time[row], last, window):
                action[row] = wanted[row]
                last = time[row]
    return action


def _by_rank(
    timeline: Timeline,
    policy: Policy,
    reward_probabilities: RewardProbabilities,
    action_draw: FloatArray,
    reward_draw: FloatArray,
) -> Simulation:
    """Across users, one decision of each at a time; only rows that the cap and the rules leave free are scored."""
    n, kinds, rules = len(timeline), len(timeline.kinds), timeline.rules
    action, reward, chance = np.zeros(n, dtype=np.int64), np.zeros(n), np.zeros(n)
    before = timeline.initial.copy()
    counts = np.diff(timeline.user_start)
    by_length = np.argsort(-counts, kind="stable")
    for rank in range(int(counts.max(initial=0))):
        users = by_length[: np.searchsorted(-counts[by_length], -rank, side="left")]
        rows = timeline.user_start[users] + rank
        time = timeline.time[rows]
        free = rules.allowed(time, before.take(users), timeline.cap, kinds).any(axis=1)
        users, rows = users[free], rows[free]
        if len(rows) == 0:
            continue
        context = timeline.context(rows, history=before.take(users))
        drawn = draw_actions(checked_probabilities(policy, context), action_draw[rows])
        action[rows] = drawn
        chance[rows] = _chance_of(drawn, np.asarray(reward_probabilities(context), dtype=np.float64))
        reward[rows] = (reward_draw[rows] < chance[rows]) & (drawn > 0)
        made = drawn > 0
        before.contacted(users[made], timeline.time[rows[made]], drawn[made] - 1, reward[rows[made]].astype(np.int64))
    return Simulation(action, reward, chance, simulated_history(timeline, action, reward))

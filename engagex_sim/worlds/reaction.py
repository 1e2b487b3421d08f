"""Timelines that react to contacts: rows that happen only if an earlier contact was made.

A world that reacts lays out every visit that a contact may bring. The hidden column `CAUSE` holds the time of the
same user's contact that brings it, −1 for a visit that comes anyway.
"""

from dataclasses import dataclass, replace

import numpy as np

from engagex_sim.cap import Cap
from engagex_sim.columns import BoolArray, FloatArray, IntArray
from engagex_sim.decisions import Decisions
from engagex_sim.policy import Policy
from engagex_sim.simulate import RewardProbabilities, simulate_with
from engagex_sim.timeline import Timeline
from engagex_sim.worlds.rows import rows_of

CAUSE = "_cause"


@dataclass(frozen=True)
class RollOut:
    """One simulated history of every user, by laid-out row."""

    action: IntArray  # (n,) logged before the evaluation's start, simulated from then on
    reward: FloatArray  # (n,) likewise
    reward_probability: FloatArray  # (n,) of the action taken; 0 where no contact, or before the evaluation's start


def happened(decisions: Decisions, action: IntArray) -> BoolArray:
    """Which rows (n,) happen when the contacts are those of `action` (n,)."""
    cause, user = decisions.columns[CAUSE].values, decisions.user_of_row
    contact = action > 0
    span = int(decisions.time.max(initial=0)) + 1
    made = user[contact] * span + decisions.time[contact]
    return np.asarray((cause < 0) | np.isin(user * span + cause, made))


def roll_out(
    decisions: Decisions, cap: Cap, policy: Policy, reward_probabilities: RewardProbabilities, rng: np.random.Generator
) -> RollOut:
    """Let `policy` decide from each user's evaluation start on, on the timeline that its own contacts bring about.

    Each round decides on the timeline of the round before with the same uniforms, until nothing changes. As a visit
    depends on earlier contacts only, every round settles at least one more contact of each user.
    """
    n = len(decisions)
    action_draw, reward_draw = rng.random(n), rng.random(n)
    under_trial = decisions.time >= decisions.evaluation_start[decisions.user_of_row]
    action = np.where(under_trial, 0, decisions.action)
    while True:
        rows = happened(decisions, action)
        timeline = Timeline.of(rows_of(replace(decisions, action=action), rows), cap).evaluation()
        rows &= under_trial
        run = simulate_with(timeline, policy, reward_probabilities, action_draw[rows], reward_draw[rows])
        before, action = action, np.where(under_trial, 0, decisions.action)
        action[rows] = run.action
        if (action == before).all():
            break
    reward, chance = np.where(under_trial, 0.0, decisions.reward), np.zeros(n)
    reward[rows], chance[rows] = run.reward, run.reward_probability
    return RollOut(action, reward, chance)

"""The timeline as a Gymnasium environment: one episode is one user."""

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from engagex_sim.columns import AnyArray, IntArray
from engagex_sim.features import History
from engagex_sim.observations import Observations
from engagex_sim.policy import Context
from engagex_sim.simulate import RewardProbabilities
from engagex_sim.timeline import Timeline

Observation = dict[str, Any]


class EngageXEnv(gymnasium.Env[Observation, np.int64]):
    """Replays users' timelines; the contact cap, and the timeline's rules beside it, are an action mask.

    Action space:
        `Discrete(K + 1)`: 0 = no contact, 1..K = contact with that kind. `info["action_mask"]` (int8) and
        `action_masks()` (bool) say what is allowed. An action that is not allowed is taken as no contact, or as the
        first kind where contacting is not a choice, and `info["illegal_action"]` is True.

    Observation space:
        `Dict` of the decision point's features by name: numbers are a `Box` of shape (1,) from −1e12 to 1e12, text is a
        `Discrete` code into `env.categories[name]`, 1 for the first, 0 for missing. Numbers that are missing or never
        (`days_since_contact` before any contact) are −1.

    Reward:
        1 if the user was interested, else 0, drawn from the reward probabilities that the environment was built with.

    Starting state:
        A user drawn at random among those with a decision point, or `options={"user": guid}`; contacts logged
        before the evaluation period still block.

    Episode end:
        Terminated after the user's last decision point; never truncated. The last observation is then repeated with a
        mask that allows action 0 alone.

    Information:
        `user` (guid), `time` (seconds since 1970 in the log's clock), `action_mask`, `illegal_action`, and
        `reward_probability` of the action just taken (0 for no contact): the reward without the noise of its draw.

    Arguments:
        timeline: evaluation timeline to replay; by default that of a small synthetic world.
        reward_probabilities: context of n rows → (n, K), a reward model's `predict` or a world's truth; by default the
            world's.
        features: names of the features to observe, history features among them; by default all. A policy that observes
            `interests_so_far` gets no verdict from an evaluation, see the README.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 — declared so by Gymnasium

    def __init__(
        self,
        timeline: Timeline | None = None,
        reward_probabilities: RewardProbabilities | None = None,
        features: Sequence[str] | None = None,
    ) -> None:
        if (timeline is None) != (reward_probabilities is None):
            raise ValueError("give both a timeline and its reward probabilities, or neither")
        if timeline is None or reward_probabilities is None:
            timeline, reward_probabilities = _small_world()
        if not len(timeline):
            raise ValueError("the timeline has no decision point")
        self._timeline = timeline
        self._chance = reward_probabilities
        self._playable = np.flatnonzero(np.diff(timeline.user_start))
        self.observations = Observations.of(timeline.columns, features)
        self.categories = self.observations.categories
        self.observation_space = self.observations.space
        self.action_space = spaces.Discrete(len(timeline.kinds) + 1)
        self._row = self._end = self._user = 0
        self._state = History.none(1)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin one user's timeline. Raises `ValueError` for an unknown user or one without decision points."""
        super().reset(seed=seed)
        wanted = (options or {}).get("user")
        if wanted is None:
            self._user = int(self.np_random.choice(self._playable))
        else:
            found = self._playable[self._timeline.user_id[self._playable] == wanted]
            if len(found) == 0:
                raise ValueError(f"no user {wanted!r} with a decision point in this timeline")
            self._user = int(found[0])
        self._row, self._end = (int(row) for row in self._timeline.user_start[self._user : self._user + 2])
        self._state = self._timeline.initial.take(np.array([self._user]))
        return self._observation(), self._info(illegal=False, chance=0.0)

    def step(self, action: np.int64) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Decide at the current decision point and go on to the next."""
        if self._row >= self._end:
            raise RuntimeError("the episode is over: call reset()")
        context = self._context()
        illegal = not context.mask[0, int(action)]
        taken = int(context.mask[0].argmax()) if illegal else int(action)
        reward = chance = 0.0
        if taken > 0:
            chance = float(self._chance(context)[0, taken - 1])
            reward = float(self.np_random.random() < chance)
            time = self._timeline.time[[self._row]]
            self._state = self._state.copy()
            self._state.contacted(np.zeros(1, dtype=np.int64), time, np.array([taken - 1]), np.array([int(reward)]))
        self._row += 1
        return self._observation(), reward, self._row >= self._end, False, self._info(illegal, chance)

    def action_masks(self) -> AnyArray:
        """(K + 1,) bool: what is allowed now; after the end, only no contact."""
        if self._row >= self._end:
            over: AnyArray = np.arange(len(self._timeline.kinds) + 1) == 0
            return over
        mask: AnyArray = self._context().mask[0]
        return mask

    @property
    def _rows(self) -> IntArray:
        return np.array([min(self._row, self._end - 1)])

    def _context(self) -> Context:
        return self._timeline.context(self._rows, history=self._state)

    def _observation(self) -> Observation:
        return {name: values[0] for name, values in self.observations.observe(self._context()).items()}

    def _info(self, illegal: bool, chance: float) -> dict[str, Any]:
        return {
            "user": str(self._timeline.user_id[self._user]),
            "time": int(self._timeline.time[self._rows[0]]),
            "action_mask": self.action_masks().astype(np.int8),
            "illegal_action": illegal,
            "reward_probability": chance,
        }


def _small_world() -> tuple[Timeline, RewardProbabilities]:
    from engagex_sim.worlds import WORLDS, logged_decisions

    world = WORLDS["visits"]
    log = logged_decisions(world, 500, np.random.default_rng(0))
    return Timeline.of(log, world.cap).evaluation(), world.reward_probabilities

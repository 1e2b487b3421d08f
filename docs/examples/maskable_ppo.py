"""A deep agent as a policy: MaskablePPO of sb3-contrib, which learns in the environment.

    pip install sb3-contrib
    python -m experiments.run compare --policies first_chance,xgb_greedy,docs/examples/maskable_ppo.py:Agent

Like any policy that learns, it does so from other users than it is judged on: their visits are replayed, and the reward
model answers for them.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, Self

import gymnasium
import torch
from gymnasium.wrappers import FlattenObservation
from sb3_contrib import MaskablePPO
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from engagex_sim.columns import FloatArray
from engagex_sim.env import EngageXEnv
from engagex_sim.interop import MaskablePPOPolicy
from engagex_sim.policy import Context
from engagex_sim.training import Training


class ExpectedInterest(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Pays the probability of interest instead of its draw. Of 100 draws some 3 are 1, from which little is learned."""

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        observation, _, terminated, truncated, info = self.env.step(action)
        return observation, 100 * info["reward_probability"], terminated, truncated, info


class Agent:
    """Whom to contact when, so that a user's interests add up to the most: a contact now forbids those of two weeks."""

    name = "maskable_ppo"

    def __init__(self, steps: int = 20_000, environments: int = 8) -> None:
        self.steps = steps
        self.environments = environments

    def fit(self, training: Training) -> Self:
        torch.set_num_threads(1)  # the network is small
        features = training.timeline.free_context().exogenous  # without those that its own contacts change
        venv = DummyVecEnv([partial(_environment, training, features)] * self.environments)
        model = MaskablePPO(
            "MlpPolicy",
            VecNormalize(venv, norm_reward=False),
            gamma=1.0,  # an interest in a month counts as much as one today
            n_steps=256,
            batch_size=256,
            learning_rate=1e-3,
            ent_coef=0.01,
            seed=int(training.rng.integers(2**31)),
            device="cpu",
        )
        model.learn(self.steps)
        self.agent_ = MaskablePPOPolicy(model, venv.get_attr("observations")[0])
        return self

    def action_probabilities(self, context: Context) -> FloatArray:
        return self.agent_.action_probabilities(context)


def _environment(training: Training, features: Sequence[str]) -> gymnasium.Env[Any, Any]:
    replay = EngageXEnv(training.timeline, training.reward_model.predict, features)
    return ExpectedInterest(FlattenObservation(replay))

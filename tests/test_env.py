"""The environment keeps Gymnasium's contract and replays the timeline faithfully."""

import gymnasium
import numpy as np
import pytest
from blocks import decisions
from gymnasium.utils.env_checker import check_env

import engagex_sim
from engagex_sim.cap import DAY, Cap
from engagex_sim.columns import AnyArray, Column
from engagex_sim.env import EngageXEnv
from engagex_sim.policy import Context
from engagex_sim.timeline import Timeline

TYPES = np.array(["cart", "view"], dtype=object)


def always(context: Context) -> AnyArray:
    return np.ones((len(context), len(context.kinds)))


def small_env() -> EngageXEnv:
    columns = {"type": Column(np.array([1, 0, -1, 1], dtype=np.int32), TYPES)}
    block = decisions([[1, 2, 16], [3]], columns=columns)
    return EngageXEnv(Timeline.of(block, Cap(14)).evaluation(), always)


def test_the_registered_environment_passes_the_checker() -> None:
    env = gymnasium.make("engagex_sim:EngageX-v0")
    check_env(env.unwrapped)
    assert "EngageXEnv" in engagex_sim.__all__
    assert isinstance(env.unwrapped, engagex_sim.EngageXEnv)


def test_an_environment_with_several_kinds_passes_the_checker() -> None:
    block = decisions([[1, 2, 16], [3, 20]], kinds=("a", "b"))
    timeline = Timeline.of(block, Cap(14)).evaluation()
    env = gymnasium.make("engagex_sim:EngageX-v0", timeline=timeline, reward_probabilities=always)
    check_env(env.unwrapped)


def test_an_episode_is_one_users_timeline() -> None:
    env = small_env()
    observation, info = env.reset(options={"user": "user0"})
    assert info["user"] == "user0"
    assert observation["type"] == 2
    assert env.categories["type"][observation["type"] - 1] == "view"
    assert observation["days_since_contact"] == -1
    assert info["time"] == DAY
    assert info["action_mask"].tolist() == [1, 1]
    observation, reward, over, truncated, info = env.step(np.int64(1))
    assert (reward, over, truncated) == (1.0, False, False)
    assert info["action_mask"].tolist() == [1, 0]
    assert observation["days_since_contact"] == 1.0
    assert observation["interests_so_far"] == 1.0
    _, reward, over, _, info = env.step(np.int64(1))
    assert info["illegal_action"]
    assert (reward, over) == (0.0, False)
    assert info["action_mask"].tolist() == [1, 1]
    _, reward, over, _, info = env.step(np.int64(1))
    assert (reward, over) == (1.0, True)
    assert info["action_mask"].tolist() == [1, 0]
    with pytest.raises(RuntimeError, match="reset"):
        env.step(np.int64(0))


def test_a_user_contacted_before_the_evaluation_starts_blocked() -> None:
    block = decisions([[1, 2, 15]], [[1, 0, 0]], evaluation_start=1.5)
    env = EngageXEnv(Timeline.of(block, Cap(14)).evaluation(), always)
    _, info = env.reset()
    assert info["action_mask"].tolist() == [1, 0]
    assert env.action_masks().tolist() == [True, False]


def test_missing_text_is_zero_and_observations_are_finite() -> None:
    env = small_env()
    observation, _ = env.reset(options={"user": "user0"})
    for _ in range(2):
        observation, *_ = env.step(np.int64(0))
    assert observation["type"] == 0
    assert all(np.isfinite(value).all() for value in observation.values())


def test_the_same_seed_gives_the_same_episode() -> None:
    def episode(seed: int) -> list[object]:
        env = gymnasium.make("engagex_sim:EngageX-v0")
        _, info = env.reset(seed=seed)
        seen: list[object] = [info["user"]]
        over = False
        while not over:
            action = int(np.flatnonzero(info["action_mask"])[-1])
            _, reward, over, _, info = env.step(action)
            seen += [reward, info["time"]]
        return seen

    assert episode(4) == episode(4)
    assert [episode(s)[0] for s in range(4)] != [episode(0)[0]] * 4


def test_unknown_users_and_half_given_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="no user 'nobody'"):
        small_env().reset(options={"user": "nobody"})
    with pytest.raises(ValueError, match="or neither"):
        EngageXEnv(reward_probabilities=always)
    with pytest.raises(ValueError, match="no decision point"):
        EngageXEnv(Timeline.of(decisions([[]]), Cap(14)).evaluation(), always)

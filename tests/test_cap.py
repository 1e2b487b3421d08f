"""The cap's one mask function, and that no policy whatsoever gets past it."""

import numpy as np
import pytest
from blocks import Eager, decisions, user_times
from hypothesis import given
from hypothesis import strategies as st

from engagex_sim.cap import DAY, NEVER, Cap, action_mask
from engagex_sim.columns import AnyArray
from engagex_sim.env import EngageXEnv
from engagex_sim.occupancy import contact_probabilities
from engagex_sim.policy import Context
from engagex_sim.simulate import simulate
from engagex_sim.states import NEVER_SEEN, States
from engagex_sim.timeline import Timeline

CAPS = st.sampled_from([0.0, 0.5, 7.0, 14.0, 28.0])


class Whim:
    """Any probabilities at all, drawn by hypothesis, looking at history or not."""

    name = "whim"

    def __init__(self, seed: int, reads_history: bool) -> None:
        self.seed, self.reads_history = seed, reads_history

    def action_probabilities(self, context: Context) -> AnyArray:
        weights = np.abs(np.sin(np.arange(1, context.mask.size + 1) * (self.seed + 1.3))).reshape(context.mask.shape)
        if self.reads_history:
            weights[:, 1:] *= 1 + context["contacts_so_far"][:, None]
        weights = np.where(context.mask, weights, 0.0) ** 3
        weights[weights.sum(axis=1) == 0] = context.mask[weights.sum(axis=1) == 0]
        return weights / weights.sum(axis=1, keepdims=True)


def reward_of(context: Context) -> AnyArray:
    return np.full((len(context), len(context.kinds)), 0.4)


def gaps(timeline: Timeline, action: AnyArray) -> AnyArray:
    """Seconds between successive contacts of one user."""
    contact = action > 0
    user, time = timeline.user_of_row[contact], timeline.time[contact]
    return np.diff(time)[np.diff(user) == 0]


def test_a_contact_exactly_one_window_later_is_allowed() -> None:
    last = np.array([0, 0, 0, int(NEVER)])
    time = np.array([14 * DAY - 1, 14 * DAY, 14 * DAY + 1, 0])
    assert Cap(14).allows(time, last).tolist() == [False, True, True, True]


def test_a_cap_of_zero_forbids_nothing() -> None:
    assert Cap(0).allows(np.array([5, 5]), np.array([5, 4])).all()


@pytest.mark.parametrize("days", [-1.0, 40_000.0, float("nan")])
def test_an_impossible_cap_is_refused(days: float) -> None:
    with pytest.raises(ValueError, match="between 0 and"):
        Cap(days)


def test_the_mask_always_leaves_no_contact_open_where_contacting_is_a_choice() -> None:
    allowed = np.array([True, False])
    assert action_mask(allowed, 2, True).tolist() == [[True, True, True], [True, False, False]]
    assert action_mask(allowed, 2, False).tolist() == [[False, True, True], [False, False, False]]


@given(user_times(), CAPS, st.integers(0, 50), st.booleans(), st.integers(0, 5))
def test_no_policy_breaks_the_cap_in_simulation(
    times: list[list[float]], cap: float, whim: int, reads_history: bool, seed: int
) -> None:
    timeline = Timeline.of(decisions(times, kinds=("a", "b")), Cap(cap)).evaluation()
    run = simulate(timeline, Whim(whim, reads_history), reward_of, np.random.default_rng(seed))
    assert (gaps(timeline, run.action) >= Cap(cap).seconds).all()


@given(user_times(max_users=2), CAPS, st.lists(st.integers(0, 2), min_size=28, max_size=28), st.integers(0, 3))
def test_no_sequence_of_actions_breaks_the_cap_in_the_environment(
    times: list[list[float]], cap: float, wishes: list[int], seed: int
) -> None:
    timeline = Timeline.of(decisions([*times, [0.5]], kinds=("a", "b")), Cap(cap)).evaluation()
    env = EngageXEnv(timeline, reward_of)
    _, info = env.reset(seed=seed)
    contacted, over = [], False
    for wish in wishes:
        if over:
            break
        legal = bool(info["action_mask"][wish])
        time = info["time"]
        _, _, over, _, info = env.step(np.int64(wish))
        assert info["illegal_action"] is not legal
        if wish > 0 and legal:
            contacted.append(time)
    assert (np.diff(contacted) >= Cap(cap).seconds).all()


@given(user_times(), CAPS, st.integers(0, 1000))
def test_contact_probabilities_in_any_window_sum_to_at_most_one_whatever_states_are_carried(
    times: list[list[float]], cap: float, seed: int
) -> None:
    timeline = Timeline.of(decisions(times, kinds=("a", "b")), Cap(cap)).evaluation()
    rng = np.random.default_rng(seed)
    hazard = rng.dirichlet(np.ones(3), len(timeline))[:, 1:] * rng.choice([0.0, 0.5, 1.0], (len(timeline), 1))
    states = States((DAY, 20 * DAY, NEVER_SEEN), counts=2)
    q = contact_probabilities(timeline, hazard[:, None], states).sum(axis=(1, 2))
    np.testing.assert_allclose(q, contact_probabilities(timeline, hazard[:, None]).sum(axis=(1, 2)), atol=1e-12)
    assert ((q >= 0) & (q <= 1)).all()
    for row in range(len(timeline)):
        same_user = timeline.user_of_row == timeline.user_of_row[row]
        gap = timeline.time - timeline.time[row]
        inside = same_user & (gap >= 0) & (gap < Cap(cap).seconds)
        inside[row] = True
        assert q[inside].sum() <= 1 + 1e-9


def test_the_eager_policy_contacts_every_fortnight() -> None:
    timeline = Timeline.of(decisions([[0, 1, 13.9, 14, 20, 28, 28.5]]), Cap(14)).evaluation()
    run = simulate(timeline, Eager(), reward_of, np.random.default_rng(0))
    assert run.action.tolist() == [1, 0, 0, 1, 0, 1, 0]

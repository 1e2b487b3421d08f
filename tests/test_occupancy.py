"""The forward recursion: by hand, and against simulated histories."""

import numpy as np
import pytest
from blocks import Hazard, decisions

from engagex_sim.cap import DAY, Cap
from engagex_sim.columns import AnyArray, Column
from engagex_sim.occupancy import contact_probabilities, contact_probabilities_after
from engagex_sim.policy import Context
from engagex_sim.simulate import simulate
from engagex_sim.states import NEVER_SEEN, NO_STATE, States
from engagex_sim.timeline import Timeline


def test_golden_recursion() -> None:
    timeline = Timeline.of(decisions([[0, 1, 14, 15]]), Cap(14)).evaluation()
    hazard = np.array([0.5, 0.4, 0.2, 1.0])
    q = contact_probabilities(timeline, hazard[:, None, None])[:, 0, 0]
    # 0.5; (1 − 0.5)·0.4 = 0.2; at day 14 the first is just outside: (1 − 0.2)·0.2 = 0.16; then 1 − 0.16
    np.testing.assert_allclose(q, [0.5, 0.2, 0.16, 0.84])


def test_golden_recursion_over_recency_and_count() -> None:
    timeline = Timeline.of(decisions([[0, 1, 3]]), Cap(1)).evaluation()
    states = States((2 * DAY, NEVER_SEEN), counts=3)  # recency below 2 days, longer, never; 0, 1, 2 or more contacts
    hazard = np.zeros((3, 9, 1))
    hazard[:, [6, 1, 4, 2, 5], 0] = [0.5, 0.2, 0.4, 0.1, 0.3]
    q = contact_probabilities(timeline, hazard, states)[:, :, 0]
    expected = np.zeros((3, 9))
    expected[0, 6] = 0.5  # never contacted
    expected[1, 6], expected[1, 1] = 0.5 * 0.5, 0.5 * 0.2  # never; contacted a day ago
    expected[2, 6] = 0.25 * 0.5
    expected[2, 4] = (0.4 + 0.25) * 0.4  # one contact: three days ago, or two days ago
    expected[2, 5] = 0.1 * 0.3  # two contacts, the last two days ago
    np.testing.assert_allclose(q, expected, atol=1e-15)


def test_a_contact_before_the_start_blocks_until_its_window_ends() -> None:
    block = decisions([[0, 5, 14, 15]], [[1, 0, 0, 0]], evaluation_start=1)
    timeline = Timeline.of(block, Cap(14)).evaluation()
    q = contact_probabilities(timeline, np.full((3, 1, 1), 0.5))[:, 0, 0]
    np.testing.assert_allclose(q, [0, 0.5, 0.25])


def test_a_contact_that_no_policy_explains_blocks_and_counts() -> None:
    timeline = Timeline.of(decisions([[0, 5, 14, 19, 20]], others=[[4.5]]), Cap(14)).evaluation()
    states = States(counts=3)
    q = contact_probabilities(
        timeline, np.full((5, 1, 1), 0.5), states, unexplained=timeline.unexplained(cap_modelled=True)
    )[:, :, 0]
    # 0.5 before it; then nobody is free until day 18.5, when everybody has one contact more
    np.testing.assert_allclose(q, [[0.5, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0.25, 0.25], [0, 0.125, 0.125]])


def test_the_recursion_equals_the_frequencies_of_simulated_histories() -> None:
    """20,000 histories of the same timeline, three kinds, logged contacts before the start."""
    copies, rng = 20_000, np.random.default_rng(7)
    times = sorted(float(t) for t in rng.uniform(0, 60, 25))
    kinds = ("a", "b", "c")
    hazard = rng.dirichlet([6, 1, 1, 1], len(times))[:, 1:]
    columns = {f"hazard_{k + 1}": Column(np.tile(hazard[:, k], copies)) for k in range(3)}
    actions = [int(i == 3) for i in range(len(times))]
    begin = times[5]
    block = decisions([times] * copies, [actions] * copies, kinds=kinds, evaluation_start=begin, columns=columns)
    timeline = Timeline.of(block, Cap(14)).evaluation()

    def chance(context: Context) -> AnyArray:
        return np.zeros((len(context), 3))

    run = simulate(timeline, Hazard(), chance, np.random.default_rng(1))
    rows = len(timeline) // copies
    one = timeline.users(np.arange(copies) == 0)
    q = contact_probabilities(one, hazard[5:, None])[:, 0]
    for k in range(3):
        share = (run.action.reshape(copies, rows) == k + 1).mean(axis=0)
        error = np.sqrt(q[:, k] * (1 - q[:, k]) / copies)
        assert (np.abs(share - q[:, k]) <= 4.5 * error + 1e-12).all()


class ByState:
    """Contacts and interests with probabilities that depend on the row and on the whole state."""

    name = "by_state"

    def __init__(self, states: States, table: AnyArray) -> None:
        self.states, self.table = states, table

    def of(self, context: Context) -> AnyArray:
        return self.table[context["row"], self.states.of_features(context)]

    def action_probabilities(self, context: Context) -> AnyArray:
        contact = self.of(context) * context.mask[:, 1:]
        return np.column_stack([1 - contact.sum(axis=1), contact])


@pytest.mark.parametrize(("cap", "one_hazard"), [(0, False), (7, False), (7, True)])
def test_the_recursion_over_states_equals_the_frequencies_of_simulated_histories(cap: int, one_hazard: bool) -> None:
    """Hazard and interest depend on recency, count and past interest; contacts before the start are known."""
    copies, rng = 20_000, np.random.default_rng(7)
    times = sorted(float(t) for t in rng.uniform(0, 60, 20))
    states = States((7 * DAY, 10 * DAY, 20 * DAY, NEVER_SEEN), counts=3, interests=True)
    hazard, interest = rng.uniform(0.02, 0.4, (20, states.size, 2)), rng.uniform(0.1, 0.9, (20, states.size, 2))
    if one_hazard:  # the same in every state, while interest is not
        hazard[:] = hazard[:, :1]
    rows = np.tile(np.arange(20), copies)
    actions = [int(i == 2) for i in range(20)]
    block = decisions(
        [times] * copies,
        [actions] * copies,
        kinds=("a", "b"),
        evaluation_start=times[4],
        columns={"row": Column(rows)},
    )
    timeline = Timeline.of(block, Cap(cap)).evaluation()
    run = simulate(timeline, ByState(states, hazard), ByState(states, interest).of, np.random.default_rng(1))
    one = timeline.users(np.arange(copies) == 0)
    when_free = hazard[4:, :1] if one_hazard else hazard[4:]
    q = contact_probabilities(one, when_free, states, interest=interest[4:])
    state = states.of(timeline.time, run.history).reshape(copies, -1)
    action = run.action.reshape(copies, -1)
    worst = 0.0
    for s in range(states.size):
        for k in range(2):
            share = ((action == k + 1) & (state == s)).mean(axis=0)
            error = np.sqrt(q[:, s, k] * (1 - q[:, s, k]) / copies)
            assert (share[error == 0] == 0).all()
            worst = max(worst, float((np.abs(share - q[:, s, k])[error > 1e-4] / error[error > 1e-4]).max(initial=0)))
    assert worst < 5


def test_the_recursion_restarted_after_a_contact_equals_the_conditional_frequencies() -> None:
    copies, rng = 40_000, np.random.default_rng(3)
    times = [0.0, 3.0, 15.0, 18.0, 21.0, 33.0]
    hazard = rng.uniform(0.2, 0.6, len(times))
    columns = {"hazard_1": Column(np.tile(hazard, copies))}
    timeline = Timeline.of(decisions([times] * copies, columns=columns), Cap(14)).evaluation()

    def chance(context: Context) -> AnyArray:
        return np.zeros((len(context), 1))

    made = simulate(timeline, Hazard(), chance, np.random.default_rng(2)).action.reshape(copies, -1) > 0
    one = Timeline.of(decisions([times]), Cap(14)).evaluation()
    start, rows, q = contact_probabilities_after(one, hazard[:, None, None], NO_STATE, np.array([1, 3]))
    assert start.tolist() == [0, 4, 6] and rows.tolist() == [2, 3, 4, 5, 4, 5]
    for first, later in ((1, slice(0, 4)), (3, slice(4, 6))):
        expected = made[made[:, first]][:, rows[later]].mean(axis=0)
        error = np.sqrt(expected * (1 - expected) / made[:, first].sum())
        assert (np.abs(q[later, 0, 0] - expected) <= 4.5 * error + 1e-12).all()


def test_a_long_timeline_keeps_the_recursion_exact() -> None:
    """Rounding does not pile up over 100,000 decisions: the running sum equals the sum over the window."""
    n = 100_000
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.exponential(0.05, n)).tolist()
    timeline = Timeline.of(decisions([times]), Cap(14)).evaluation()
    hazard = rng.uniform(0, 0.2, n)
    q = contact_probabilities(timeline, hazard[:, None, None])[:, 0, 0]
    last = timeline.time[-1]
    inside = (last - timeline.time < Cap(14).seconds) & (np.arange(n) < n - 1)
    np.testing.assert_allclose(q[-1], (1 - q[inside].sum()) * hazard[-1], rtol=1e-9)

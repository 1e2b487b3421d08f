"""The forward recursion: by hand, and against simulated histories."""

import numpy as np
from blocks import Hazard, decisions

from engagex_sim.cap import Cap
from engagex_sim.columns import AnyArray, Column
from engagex_sim.occupancy import contact_probabilities, free_after_contact
from engagex_sim.policy import Context
from engagex_sim.simulate import simulate
from engagex_sim.timeline import Timeline


def test_golden_recursion() -> None:
    timeline = Timeline.of(decisions([[0, 1, 14, 15]]), Cap(14)).evaluation()
    hazard = np.array([[0.5], [0.4], [0.2], [1.0]])
    q = contact_probabilities(timeline, hazard, np.zeros(4, dtype=bool))[:, 0]
    # 0.5; (1 − 0.5)·0.4 = 0.2; at day 14 the first is just outside: (1 − 0.2)·0.2 = 0.16; then 1 − 0.16
    np.testing.assert_allclose(q, [0.5, 0.2, 0.16, 0.84])


def test_a_contact_before_the_start_blocks_until_its_window_ends() -> None:
    block = decisions([[0, 5, 14, 15]], [[1, 0, 0, 0]], evaluation_start=1)
    timeline = Timeline.of(block, Cap(14)).evaluation()
    assert timeline.blocked_at_start.tolist() == [True, False, False]
    q = contact_probabilities(timeline, np.full((3, 1), 0.5), timeline.blocked_at_start)[:, 0]
    np.testing.assert_allclose(q, [0, 0.5, 0.25])


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
    q = contact_probabilities(one, hazard[5:], one.blocked_at_start)
    for k in range(3):
        share = (run.action.reshape(copies, rows) == k + 1).mean(axis=0)
        error = np.sqrt(q[:, k] * (1 - q[:, k]) / copies)
        assert (np.abs(share - q[:, k]) <= 4.5 * error + 1e-12).all()


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
    first, second = np.array([1, 1, 1]), np.array([2, 3, 5])
    free = free_after_contact(np.full(3, 6), one.time, hazard, np.zeros(6, dtype=bool), Cap(14).seconds, first, second)
    expected = made[made[:, 1]][:, second].mean(axis=0)
    error = np.sqrt(expected * (1 - expected) / made[:, 1].sum())
    assert (np.abs(free * hazard[second] - expected) <= 4.5 * error + 1e-12).all()


def test_a_long_timeline_keeps_the_recursion_exact() -> None:
    """Rounding does not pile up over 100,000 decisions: the running sum equals the sum over the window."""
    n = 100_000
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.exponential(0.05, n)).tolist()
    timeline = Timeline.of(decisions([times]), Cap(14)).evaluation()
    hazard = rng.uniform(0, 0.2, (n, 1))
    q = contact_probabilities(timeline, hazard, np.zeros(n, dtype=bool))[:, 0]
    last = timeline.time[-1]
    inside = (last - timeline.time < Cap(14).seconds) & (np.arange(n) < n - 1)
    np.testing.assert_allclose(q[-1], (1 - q[inside].sum()) * hazard[-1, 0], rtol=1e-9)

"""Policies that read their own past: the recursion knows what they will have done."""

from typing import Any

import numpy as np
from blocks import Eager, decisions

from engagex_sim.cap import DAY, Cap
from engagex_sim.columns import AnyArray
from engagex_sim.features import History, history_features
from engagex_sim.occupancy import contact_probabilities
from engagex_sim.policy import Context
from engagex_sim.policy_states import policy_by_state
from engagex_sim.simulate import simulate
from engagex_sim.states import NEVER_SEEN, NO_STATE, States
from engagex_sim.timeline import Timeline


class Patient:
    """Contacts with probability 0.7 whoever was left alone for three weeks, others with 0.1; nobody a third time."""

    name = "patient"

    def action_probabilities(self, context: Context) -> AnyArray:
        rested = np.where(context["days_since_contact"] >= 21, 0.7, 0.1) * (context["contacts_so_far"] < 2)
        contact = rested * context.mask[:, 1]
        return np.column_stack([1 - contact, contact])


def _nobody_interested(context: Context) -> AnyArray:
    return np.zeros((len(context), 1))


def test_contacts_of_a_policy_that_reads_its_past_are_those_of_its_simulated_histories() -> None:
    copies, rng = 20_000, np.random.default_rng(0)
    times = sorted(float(t) for t in rng.uniform(0, 80, 40))
    actions = [int(i == 3) for i in range(40)]
    block = decisions([times] * copies, [actions] * copies, evaluation_start=times[6])
    timeline = Timeline.of(block, Cap(14)).evaluation()
    made = simulate(timeline, Patient(), _nobody_interested, np.random.default_rng(1)).action.reshape(copies, -1) > 0
    one = timeline.users(np.arange(copies) == 0)
    _, by_state = policy_by_state(Patient(), one, NO_STATE)
    assert by_state is not None
    q = contact_probabilities(one, by_state.when_free, by_state.states).sum(axis=(1, 2))
    error = np.sqrt(q * (1 - q) / copies)
    assert (np.abs(made.mean(axis=0) - q) <= 5 * error + 1e-12).all()


def test_a_policy_that_reads_nothing_of_its_past_is_asked_once() -> None:
    timeline = Timeline.of(decisions([[0, 20, 40]]), Cap(14)).evaluation()
    answer, by_state = policy_by_state(Eager(), timeline, States(counts=3))
    assert by_state is not None and by_state.states == States(counts=3)
    assert by_state.when_free.shape == (3, 1, 1) and answer.shape == (3, 2)


def test_no_state_tells_what_a_policy_that_reads_results_would_do() -> None:
    timeline = Timeline.of(decisions([[0, 20, 40]]), Cap(14)).evaluation()
    assert policy_by_state(Eager("interests_so_far"), timeline, NO_STATE)[1] is None


def test_states_are_numbered_by_recency_then_count_then_interest() -> None:
    states = States((14 * DAY, NEVER_SEEN), counts=2, interests=True)
    history: Any = History(np.array([0, 0, -(2**60)]), np.array([1, 5, 0]), np.array([0, 2, 0]))
    assert states.of(np.array([13, 14, 14]) * DAY, history).tolist() == [2, 4 + 3, 8]
    assert states.within(NO_STATE).tolist() == [0] * 12
    assert states.within(States((14 * DAY, NEVER_SEEN))).tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert states.within(States(interests=True)).tolist() == [0, 1] * 6


def test_features_of_a_history_give_its_state() -> None:
    states = States((7 * DAY, 21 * DAY, NEVER_SEEN), counts=3, interests=True)
    for state in range(states.size):
        time = np.array([100 * DAY])
        history = states.example(state, time)
        assert states.of(time, history).tolist() == [state]
        context = Context(np.ones((1, 2), dtype=np.bool_), ("contact",), {}, history_features(time, history))
        assert states.of_features(context).tolist() == [state]
        assert context.history_read == {"days_since_contact", "contacts_so_far", "interests_so_far"}


def test_only_what_tells_states_apart_is_read() -> None:
    context = Context(
        np.ones((1, 2), dtype=np.bool_), ("contact",), {}, history_features(np.array([0]), History.none(1))
    )
    assert NO_STATE.of_features(context).tolist() == [0] and not context.history_read
    assert States(counts=2).of_features(context).tolist() == [0] and context.history_read == {"contacts_so_far"}


def test_days_since_contact_in_the_middle_of_each_class() -> None:
    states = States(edges=(14 * DAY, 15 * DAY, NEVER_SEEN))
    assert [states.days(state) for state in range(states.size)] == [7.0, 14.5, 15.5, float("inf")]

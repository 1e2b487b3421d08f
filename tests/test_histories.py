"""Contact probabilities under rules by kind: those of histories that the simulator makes."""

from functools import partial
from typing import Any

import numpy as np
import pytest
from blocks import decisions, user_times
from hypothesis import given
from hypothesis import strategies as st
from rule_book import KINDS, rules_of

from engagex_sim.cap import DAY, Cap
from engagex_sim.columns import AnyArray, Column
from engagex_sim.histories import Histories
from engagex_sim.kinds import spread
from engagex_sim.policy import Context
from engagex_sim.policy_states import policy_by_mask
from engagex_sim.rules import Rules
from engagex_sim.simulate import simulate
from engagex_sim.states import NEVER_SEEN, NO_STATE, States
from engagex_sim.timeline import Timeline

COPIES, ROWS, BEGIN = 20_000, 16, 4
EXEMPT = {"cap_days": 7, "exempt": ["service"]}
CAPPED = {"cap_days": 7, "kind_cap": {"letter": 30, "email": 12}, "quiet_hours": (22, 8)}
EVERYTHING = {"cap_days": 5, "kind_cap": {"letter": 30, "service": 1}, "exempt": ["service"], "quiet_hours": (0, 12)}


class Wishes:
    """Contacts with the probability `contact`, by kind in the proportions that `share_…` state, as far as open.

    Less often the more recent the last contact is, where `rests` says so.
    """

    name = "wishes"

    def __init__(self, rests: bool = False) -> None:
        self.rests = rests

    def action_probabilities(self, context: Context) -> AnyArray:
        shares = np.column_stack([context[f"share_{kind}"] for kind in KINDS])
        contact = context["contact"]
        if self.rests:
            contact = contact * np.where(context["days_since_contact"] < 15, 0.5, 1.0)
        return spread(contact, shares, context.mask)


def one_user(copies: int, rules: Rules, cap: float) -> Timeline:
    """Copies of one user with a letter and a service message before the evaluation, and two interests in it."""
    rng = np.random.default_rng(5)
    times = sorted(float(t) for t in rng.uniform(0, 50, ROWS))
    actions, rewards = [0] * ROWS, [0] * ROWS
    actions[1], actions[3], actions[6], actions[12] = 2, 3, 1, 2
    rewards[6], rewards[12] = 1, 1
    columns = {"contact": rng.uniform(0.2, 0.9, ROWS)}
    columns |= {f"share_{kind}": rng.uniform(0.1, 1.0, ROWS) for kind in KINDS}
    block = decisions(
        [times] * copies,
        [actions] * copies,
        [rewards] * copies,
        kinds=KINDS,
        evaluation_start=times[BEGIN],
        columns={name: Column(np.tile(values, copies)) for name, values in columns.items()},
    )
    return Timeline.of(block, Cap(cap)).evaluation().under(rules)


def interest(context: Context, by_kind: tuple[float, ...] = (0.2, 0.5, 0.1)) -> AnyArray:
    return np.tile(by_kind, (len(context), 1))


@pytest.mark.parametrize("asked", [EXEMPT, CAPPED, EVERYTHING, {**EVERYTHING, "stop_after_interest": True}])
@pytest.mark.parametrize("rests", [False, True])
def test_probabilities_equal_the_frequencies_of_simulated_histories(asked: Any, rests: bool) -> None:
    rules = rules_of(**asked)
    many, one = (one_user(copies, rules, asked["cap_days"]) for copies in (COPIES, 1))
    run = simulate(many, Wishes(rests), interest, np.random.default_rng(1))
    _, found = policy_by_mask(Wishes(rests), one.under(rules.without_stop), NO_STATE)
    assert found is not None
    states, by_mask = found
    chance = np.full((len(one), 1, 3), (0.2, 0.5, 0.1))
    q = Histories(states, NO_STATE, chance if rules.stop else None, COPIES).run(one, by_mask)[:, 0]
    for k in range(3):
        share = (run.action.reshape(COPIES, -1) == k + 1).mean(axis=0)
        error = np.sqrt(2 * share * (1 - share) / COPIES)
        assert (np.abs(share - q[:, k]) <= 5 * error + 1e-12).all()
    assert q.max() > 0.2


@pytest.mark.parametrize("asked", [EXEMPT, CAPPED, EVERYTHING])
def test_probabilities_after_a_contact_are_those_of_histories_with_it(asked: Any) -> None:
    rules = rules_of(**asked)
    many, one = (one_user(copies, rules, asked["cap_days"]) for copies in (2 * COPIES, 1))
    made = simulate(many, Wishes(), interest, np.random.default_rng(2)).action.reshape(2 * COPIES, -1)
    _, found = policy_by_mask(Wishes(), one, NO_STATE)
    assert found is not None
    first = np.flatnonzero(one.reward > 0)
    start, q = Histories(found[0], NO_STATE, None, COPIES).after(one, found[1], first)
    assert start.tolist() == [0, len(one) - 1 - first[0], 2 * len(one) - 2 - first.sum()]
    for j, row in enumerate(first):
        same = made[made[:, row] == one.action[row]]
        if len(same) == 0:  # quiet hours
            assert (q[start[j] : start[j + 1]] == 0).all()
            continue
        for k in range(3):
            share = (same[:, row + 1 :] == k + 1).mean(axis=0)
            error = np.sqrt(share * (1 - share) * (1 / len(same) + 4 / COPIES))
            assert (np.abs(share - q[start[j] : start[j + 1], 0, k]) <= 5 * error + 1e-12).all()


def test_probabilities_by_state_equal_the_frequencies_of_simulated_histories() -> None:
    """By the time since the last contact of any kind, their number, and whether any interested."""
    rules = rules_of(**EVERYTHING)
    many, one = (one_user(copies, rules, 5) for copies in (COPIES, 1))
    states = States((7 * DAY, 20 * DAY, NEVER_SEEN), counts=4, interests=True)
    run = simulate(many, Wishes(), interest, np.random.default_rng(3))
    _, found = policy_by_mask(Wishes(), one, states)
    assert found is not None
    chance = np.full((len(one), states.size, 3), (0.2, 0.5, 0.1))
    q = Histories(found[0], states, chance, COPIES).run(one, found[1])
    state, action = states.of(many.time, run.history).reshape(COPIES, -1), run.action.reshape(COPIES, -1)
    for s in range(states.size):
        for k in range(3):
            share = ((action == k + 1) & (state == s)).mean(axis=0)
            error = np.sqrt(2 * share * (1 - share) / COPIES)
            assert (np.abs(share - q[:, s, k]) <= 5 * error + 5 / COPIES).all()


def test_a_user_has_the_same_histories_in_whatever_block() -> None:
    rules = rules_of(**EVERYTHING)
    t = one_user(3, rules, 5)
    _, found = policy_by_mask(Wishes(), t, NO_STATE)
    assert found is not None
    histories = Histories(found[0], NO_STATE, None, 5)
    last = t.user_of_row == 2
    alone = histories.run(t.users(np.arange(3) == 2), found[1][:, last])
    assert np.array_equal(histories.run(t, found[1])[last], alone)


def test_exempt_kinds_by_hand() -> None:
    """Cap 14 days. Free on day 0: 0.5 email, 0.2 service; blocked: 0.4 service. Then half are free, and so on."""
    rules = rules_of(cap_days=14, exempt=["service"])
    block = decisions([[0, 1, 14.5], [0, 1]], [[0, 0, 0], [1, 0]], kinds=KINDS, evaluation_start=0.5)
    early = Timeline.of(decisions([[0, 1, 14.5]], kinds=KINDS), Cap(14)).evaluation().under(rules)
    late = Timeline.of(block, Cap(14)).evaluation().under(rules)
    masks = np.array(rules.masks)
    assert masks.tolist() == [[True, True, True], [False, False, True]]

    def by_mask(n: int) -> AnyArray:
        return np.stack([np.tile([0.5, 0, 0.2], (n, 1)), np.tile([0, 0, 0.4], (n, 1))])[:, :, None]

    q = Histories(NO_STATE, NO_STATE).run(early, by_mask(3))[:, 0]
    # free 1; 1 − 0.5; 1 − 0.25, since day 0 lies outside
    np.testing.assert_allclose(q, [[0.5, 0, 0.2], [0.25, 0, 0.3], [0.375, 0, 0.25]])
    q = Histories(NO_STATE, NO_STATE).run(late, by_mask(3))[:, 0]
    np.testing.assert_allclose(q, [[0.5, 0, 0.2], [0.25, 0, 0.3], [0, 0, 0.4]])  # an email on day 0 blocks


@given(user_times(), st.sampled_from([0, 7, 14]), st.sets(st.sampled_from(KINDS)), st.integers(0, 100))
def test_the_recursion_with_exempt_kinds_is_what_histories_tend_to(
    times: list[list[float]], cap: float, exempt: set[str], seed: int
) -> None:
    """Of a policy that leaves little to chance, so that a few histories say all: contacts are sure or impossible."""
    rules = rules_of(cap_days=cap, exempt=sorted(exempt))
    timeline = Timeline.of(decisions(times, kinds=KINDS), Cap(cap)).evaluation().under(rules)
    wanted = np.random.default_rng(seed).integers(0, 4, len(timeline))

    def sure(mask: tuple[bool, ...]) -> AnyArray:
        return np.eye(4)[wanted][:, 1:] * mask

    by_mask = np.stack([sure(mask) for mask in rules.masks or ((True,) * 3,)])[:, :, None]
    histories = Histories(NO_STATE, NO_STATE, None, 1)
    simulated, _ = histories._mean(
        timeline, by_mask, timeline.user_start[:-1], timeline.user_start[1:], np.arange(timeline.n_users)
    )
    np.testing.assert_allclose(histories.run(timeline, by_mask), simulated, atol=1e-12)


def test_one_history_of_a_policy_that_leaves_nothing_to_chance_is_enough() -> None:
    """Emails at every chance; a letter or a service message only where none is possible."""
    rules = rules_of(cap_days=7, exempt=["service"])
    timeline = Timeline.of(decisions([[0, 1, 7, 8]], kinds=KINDS), Cap(7)).evaluation().under(rules)

    class EmailFirst:
        name = "email_first"

        def action_probabilities(self, context: Context) -> AnyArray:
            email = context.mask[:, 1].astype(float)
            return np.column_stack([np.zeros(len(email)), email, np.zeros(len(email)), 1 - email])

    _, found = policy_by_mask(EmailFirst(), timeline, NO_STATE)
    assert found is not None
    q = partial(Histories(found[0], NO_STATE, None, 1).run, timeline, found[1])()
    assert q[:, 0].tolist() == [[1, 0, 0], [0, 0, 1], [1, 0, 0], [0, 0, 1]]

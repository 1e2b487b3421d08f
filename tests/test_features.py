"""Features: golden values, causality, and one code path for log and simulation."""

import numpy as np
from blocks import Eager, decisions, user_times
from hypothesis import given
from hypothesis import strategies as st

from engagex_sim.cap import DAY, Cap
from engagex_sim.columns import AnyArray, Column
from engagex_sim.features import exogenous_features, history_features
from engagex_sim.policy import Context
from engagex_sim.simulate import simulate, simulated_history
from engagex_sim.timeline import Timeline


def test_golden_activity_features() -> None:
    block = decisions([[0.5, 1.0, 1.5, 8.5], [3.25]], codes=[[3, 5, 3, 3], [4]])
    found = {name: column.values.tolist() for name, column in exogenous_features(block).items()}
    assert found["days_since_trigger"] == [np.inf, 0.5, 0.5, 7.0, np.inf]
    assert found["triggers_1d"] == [1, 2, 2, 1, 1]  # a trigger exactly a day ago is outside
    assert found["triggers_7d"] == [1, 2, 3, 1, 1]
    assert found["triggers_14d"] == [1, 2, 3, 4, 1]
    assert found["triggers_so_far"] == [1, 2, 3, 4, 1]
    assert found["distinct_triggers_7d"] == [1, 2, 2, 1, 1]
    assert found["hour"] == [12, 0, 12, 12, 6]
    assert found["day"] == [0, 1, 1, 8, 3]
    assert found["weekday"] == [3, 4, 4, 4, 6]  # 1970-01-01 was a Thursday


def test_several_triggers_at_one_instant_all_count_and_none_is_the_previous_one() -> None:
    block = decisions([[1.0, 2.0]])
    doubled = type(block)(
        **{
            **vars(block),
            "trigger_time": np.array([DAY, DAY, 2 * DAY, 2 * DAY, 2 * DAY]),
            "trigger_code": np.array([0, 1, 0, 1, 2], dtype=np.int32),
            "trigger_start": np.array([0, 5]),
        }
    )
    found = exogenous_features(doubled)
    assert found["days_since_trigger"].values.tolist() == [np.inf, 1.0]
    assert found["triggers_7d"].values.tolist() == [2, 5]
    assert found["distinct_triggers_7d"].values.tolist() == [2, 3]


def test_golden_history_features() -> None:
    block = decisions([[0, 1, 16, 31]], [[0, 1, 1, 0]], [[0, 1, 0, 0]])
    timeline = Timeline.of(block, Cap(14))
    history = history_features(timeline.time, timeline.logged)
    assert history["days_since_contact"].tolist() == [np.inf, np.inf, 15.0, 15.0]
    assert history["contacts_so_far"].tolist() == [0, 0, 1, 2]
    assert history["interests_so_far"].tolist() == [0, 0, 1, 1]


def test_a_contact_without_decision_point_blocks_and_counts_from_its_own_time_on() -> None:
    block = decisions([[1, 5, 17, 20]], others=[[4.0]])
    timeline = Timeline.of(block, Cap(14))
    assert timeline.free.tolist() == [True, False, False, True]
    assert timeline.logged.contacts.tolist() == [0, 1, 1, 1]


@given(user_times(), st.integers(0, 100), st.integers(0, 30))
def test_cutting_the_log_after_a_moment_changes_no_feature_at_or_before_it(
    times: list[list[float]], seed: int, cut: int
) -> None:
    rng = np.random.default_rng(seed)
    actions = [[int(rng.random() < 0.3) for _ in user] for user in times]
    rewards = [[a * int(rng.random() < 0.5) for a in user] for user in actions]
    codes = [[int(rng.integers(3)) for _ in user] for user in times]
    kept = [[t <= cut for t in user] for user in times]

    def early(values: list[list[int]] | list[list[float]]) -> list[list[float]]:
        return [[v for v, k in zip(user, keep, strict=True) if k] for user, keep in zip(values, kept, strict=True)]

    whole = decisions(times, actions, rewards, codes=codes)
    part = decisions(early(times), early(actions), early(rewards), codes=early(codes))
    rows = whole.time <= cut * DAY
    late, soon = exogenous_features(whole), exogenous_features(part)
    for name, column in soon.items():
        np.testing.assert_array_equal(column.values, late[name].values[rows], err_msg=name)
    of_whole, of_part = Timeline.of(whole, Cap(14)), Timeline.of(part, Cap(14))
    for name in ("last_contact", "contacts", "interests"):
        np.testing.assert_array_equal(getattr(of_part.logged, name), getattr(of_whole.logged, name)[rows])


@given(user_times(), st.sampled_from([0.0, 7.0, 14.0]), st.integers(0, 100), st.sampled_from([0.0, 5.0, 14.0]))
def test_replaying_the_logged_actions_reproduces_logged_history_and_masks(
    times: list[list[float]], cap: float, seed: int, begin: float
) -> None:
    """The log obeys the cap because a simulation made it."""
    empty = decisions(times)

    def chance(context: Context) -> AnyArray:
        return np.full((len(context), 1), 0.5)

    made = simulate(Timeline.of(empty, Cap(cap)).evaluation(), Eager(), chance, np.random.default_rng(seed))
    log = type(empty)(
        **{
            **vars(empty),
            "action": made.action,
            "reward": made.reward,
            "evaluation_start": np.full(empty.n_users, round(begin * DAY)),
        }
    )
    evaluation = Timeline.of(log, Cap(cap)).evaluation()
    again = simulated_history(evaluation, evaluation.action, evaluation.reward)
    for name in ("last_contact", "contacts", "interests"):
        np.testing.assert_array_equal(getattr(again, name), getattr(evaluation.logged, name))
    np.testing.assert_array_equal(evaluation.context(history=again).mask, evaluation.context().mask)
    assert not evaluation.breaks_cap.any()


@given(user_times(), st.integers(0, 100), st.sampled_from([0.0, 7.0, 14.0]))
def test_reading_history_changes_nothing_in_a_simulation_that_does_not_use_it(
    times: list[list[float]], seed: int, cap: float
) -> None:
    """The compiled pass and the pass across users agree draw by draw."""
    timeline = Timeline.of(decisions(times, kinds=("a", "b")), Cap(cap)).evaluation()

    def chance(context: Context) -> AnyArray:
        return np.full((len(context), 2), 0.5)

    fast = simulate(timeline, Eager(), chance, np.random.default_rng(seed))
    slow = simulate(timeline, Eager(reads="interests_so_far"), chance, np.random.default_rng(seed))
    np.testing.assert_array_equal(fast.action, slow.action)
    np.testing.assert_array_equal(fast.reward, slow.reward)
    np.testing.assert_array_equal(fast.history.interests, slow.history.interests)


def test_text_columns_come_back_as_text_and_codes_follow_the_categories() -> None:
    column = Column.from_values(["b", "a", None, "b"])
    assert column.decoded().tolist() == ["b", "a", None, "b"]
    assert column.codes_for(["b", "c"]).tolist() == [0, -1, -1, 0]
    assert Column.from_values(["1", "2.5"]).decoded().tolist() == [1.0, 2.5]


def test_rows_and_users_select_whole_and_consistent_parts() -> None:
    block = decisions([[1, 2, 20], [], [3, 17]], [[1, 0, 1], [], [0, 1]], others=[[], [4.0], [30.0]])
    timeline = Timeline.of(block, Cap(14))
    part = timeline.users(np.array([False, True, True]))
    assert part.user_id.tolist() == ["user1", "user2"]
    assert part.user_start.tolist() == [0, 0, 2]
    assert part.other_user.tolist() == [0, 1]
    contacts = timeline.contacts()
    assert (contacts.time / DAY).tolist() == [1, 20, 17]
    assert contacts.user_start.tolist() == [0, 2, 2, 3]

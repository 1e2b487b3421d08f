"""The four readings of a log: what is a decision point, which action was taken there, and what lies before."""

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest

from engagex_sim.cap import Cap
from engagex_sim.decision_points import decisions_of
from engagex_sim.decisions import Decisions
from engagex_sim.errors import InputError
from engagex_sim.log import read_log
from engagex_sim.settings import LogSettings
from engagex_sim.timeline import Timeline

HOUR, DAY = 3_600, 86_400

VISITS = [  # guid, day and hour of May 2024, trigger, type
    ("u1", 1, 9, "shop", "view"),
    ("u1", 1, 9, "blog", "click"),
    ("u1", 1, 15, "shop", "view"),
    ("u1", 3, 9, "shop", "view"),
    ("u2", 2, 9, "blog", "view"),
]
SHOWN = [("u1", 1, 10, 1), ("u1", 1, 16, 0), ("u2", 2, 9, 1), ("u2", 3, 9.5, 1)]  # the last is an orphan
SENT = [("u1", 1, 9, "c1", "10"), ("u2", 2, 12, "c2", "9"), ("u1", 2, 9, "c2", "9"), ("u3", 5, 9, "c3", "10")]
ANSWERS = [("u1", 1, 9, 0), ("u2", 2, 12, 1), ("u1", 2, 9, 1), ("u3", 5, 9, 0)]


def moment(day: int, hour: float) -> pd.Timestamp:
    return pd.Timestamp(2024, 5, day) + pd.Timedelta(hours=hour)


def frame(rows: list[tuple[Any, ...]], names: list[str]) -> pd.DataFrame:
    table = pd.DataFrame([(row[0], moment(row[1], row[2]), *row[3:]) for row in rows])
    return table.set_axis(["guid", "date", *names], axis=1)


def decisions(
    triggers: list[tuple[Any, ...]],
    actions: list[tuple[Any, ...]],
    users: list[str] | None = None,
    **settings: object,
) -> Decisions:
    options = LogSettings.model_validate({"cap_days": 0, "allow_orphans": 1, **settings})
    log = read_log(
        frame(triggers, ["trigger", "type"]),
        frame(actions, ["result"]),
        None if users is None else pd.DataFrame({"guid": users, "vip": [guid == "u1" for guid in users]}),
        options,
    )
    return decisions_of(log, options)


def hours(d: Decisions, times: object) -> list[float]:
    return ((np.asarray(times) - d.log_start) / HOUR).tolist()


def test_every_instant_with_a_visit_is_a_decision_point() -> None:
    """Golden: two visits at one instant are one decision, described by the first; both are in the timeline."""
    d = decisions(VISITS, SHOWN)
    assert d.user_start.tolist() == [0, 3, 4] and d.user_id.tolist() == ["u1", "u2"]
    assert hours(d, d.time) == [9, 15, 57, 33]
    assert d.action.tolist() == [1, 1, 0, 1] and d.reward.tolist() == [1, 0, 0, 1]
    assert np.isnan(d.propensity).all()
    assert d.columns["trigger"].decoded().tolist() == ["shop", "shop", "shop", "blog"]
    assert d.columns["type"].decoded().tolist() == ["view"] * 4
    assert d.trigger_start.tolist() == [0, 4, 5] and hours(d, d.trigger_time) == [9, 9, 15, 57, 33]
    assert d.other_start.tolist() == [0, 0, 1]
    assert hours(d, d.other_time) == [57.5] and d.other_reward.tolist() == [1]
    assert d.kinds == ("contact",) and d.contact_is_a_choice and d.activity_known
    assert hours(d, [d.log_start, d.log_end]) == [0, 72] and hours(d, d.evaluation_start) == [0, 0]


def test_a_user_day_is_decided_at_its_first_visit_and_a_second_contact_is_an_orphan() -> None:
    d = decisions(VISITS, SHOWN, decision_points="day")
    assert d.user_start.tolist() == [0, 2, 3]
    assert hours(d, d.time) == [0, 48, 24]  # midnight, by which the cap counts in whole days
    assert hours(d, d.known_at) == [9, 57, 33]
    assert d.action.tolist() == [1, 0, 1]
    assert hours(d, d.other_time) == [16, 57.5]
    assert len(d.trigger_time) == 5


def test_users_without_a_visit_are_counted_and_attributes_follow_the_user() -> None:
    d = decisions(VISITS, SHOWN, users=["u0", "u1"])
    assert d.user_id.tolist() == ["u0", "u1", "u2"]
    assert d.user_start.tolist() == [0, 0, 3, 4] and d.other_start.tolist() == [0, 0, 0, 1]
    np.testing.assert_array_equal(d.columns["vip"].decoded(), [1, 1, 1, np.nan])


def test_logged_contacts_alone_leave_only_the_kind_to_choose() -> None:
    d = decisions(SENT, ANSWERS, decision_points="trigger")
    assert not d.contact_is_a_choice and d.kinds == ("9", "10")
    assert d.action.tolist() == [2, 1, 1, 2] and d.reward.tolist() == [0, 1, 1, 0]
    assert set(d.columns) == {"trigger"}
    assert hours(d, d.time) == [9, 33, 36, 105]


def test_where_contacting_is_no_choice_only_an_explicit_burn_in_counts() -> None:
    cap = decisions(SENT, ANSWERS, decision_points="trigger", cap_days=2)
    explicit = decisions(SENT, ANSWERS, decision_points="trigger", cap_days=2, burn_in_days=1)
    assert hours(cap, cap.evaluation_start) == [0, 0, 0]
    assert hours(explicit, explicit.evaluation_start) == [24, 24, 24]


def test_on_the_grid_of_days_a_user_is_known_after_the_first_contact() -> None:
    """Golden: days 1, 2 and 5; each user's first contact is a row of history, decisions come after it."""
    d = decisions(SENT, ANSWERS)
    assert d.user_start.tolist() == [0, 3, 5, 6]
    assert hours(d, d.time) == [0, 24, 96, 24, 96, 96]
    assert d.action.tolist() == [2, 1, 0, 1, 0, 2] and d.reward.tolist() == [0, 1, 0, 1, 0, 0]
    assert (d.evaluation_start - d.log_start).tolist() == [1, DAY + 1, 4 * DAY + 1]
    assert d.columns == {} and d.contact_is_a_choice and not d.activity_known
    timeline = Timeline.of(d, Cap(2))
    assert timeline.initial.contacts.tolist() == [1, 1, 1]
    assert timeline.evaluation().user_start.tolist() == [0, 2, 3, 3]


def test_listed_users_are_known_from_the_first_day_on() -> None:
    d = decisions(SENT, ANSWERS, users=["u1", "u3", "u9"])
    assert d.user_id.tolist() == ["u1", "u2", "u3", "u9"]
    assert np.diff(d.user_start).tolist() == [3, 2, 3, 3]
    assert (d.evaluation_start - d.log_start).tolist() == [0, DAY + 1, 0, 0]
    assert d.action.tolist() == [2, 1, 0, 1, 0, 0, 0, 2, 0, 0, 0]
    np.testing.assert_array_equal(d.columns["vip"].decoded(), [1] * 3 + [np.nan] * 2 + [0] * 6)


def test_a_second_contact_of_a_day_is_history_from_its_own_time_on() -> None:
    sent = [*SENT, ("u2", 2, 18, "c3", "10")]
    d = decisions(sent, [*ANSWERS, ("u2", 2, 18, 1)])
    assert d.action.tolist() == decisions(SENT, ANSWERS).action.tolist()
    assert d.other_start.tolist() == [0, 0, 1, 1] and hours(d, d.other_time) == [42]


def test_the_burn_in_is_the_cap_unless_told_otherwise() -> None:
    for settings, days in (
        ({"cap_days": 2}, 2),
        ({"cap_days": 2, "burn_in_days": 1}, 1),
        ({"cap_days": 2, "start": "free"}, 0),
        ({"cap_days": 0}, 0),
    ):
        d = decisions(VISITS, SHOWN, **settings)
        assert hours(d, d.evaluation_start) == [24 * days] * 2


def test_a_log_too_short_for_its_burn_in_is_refused_with_both_ways_out() -> None:
    with pytest.raises(InputError, match=r"spans 3 days.*burn-in of 14 days.*--burn-in-days.*--start free"):
        decisions(VISITS, SHOWN, cap_days=14)
    with pytest.raises(InputError, match="give the whole population with --users"):
        decisions(SENT[1:3], ANSWERS[1:3])


def test_a_grid_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engagex_sim.decision_points.LARGEST_GRID", 5)
    with pytest.raises(InputError, match=r"3 days with contacts × 3 users.*--decision-points trigger"):
        decisions(SENT, ANSWERS)


@pytest.mark.parametrize("reading", ["trigger", "day"])
@pytest.mark.parametrize(("triggers", "actions"), [(VISITS, SHOWN), (SENT, ANSWERS)])
def test_every_contact_is_at_a_decision_point_or_an_orphan(
    triggers: list[tuple[Any, ...]],
    actions: list[tuple[Any, ...]],
    reading: str,
) -> None:
    d = decisions(triggers, actions, decision_points=reading)
    assert (d.action > 0).sum() + len(d.other_time) == len(actions)
    assert d.reward.sum() + d.other_reward.sum() == sum(row[3] for row in actions)
    assert all((np.diff(d.time[a:b]) > 0).all() for a, b in pairwise(d.user_start))

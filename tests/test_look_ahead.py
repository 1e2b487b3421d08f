"""A feature that counts later visits is found; one that counts earlier ones is not."""

from dataclasses import replace

import numpy as np
import pytest

from engagex_sim.columns import Column
from engagex_sim.feature_names import COMPUTED
from engagex_sim.look_ahead import look_ahead_flag
from engagex_sim.timeline import Timeline
from engagex_sim.worlds import WORLDS, logged_decisions, visible


def timeline_of(world, n_users=400, seed=0):
    log = visible(logged_decisions(WORLDS[world], n_users, np.random.default_rng(seed)))
    return Timeline.of(log, WORLDS[world].cap)


def planted(t, values):
    return replace(t, columns={**t.columns, "planted": Column(np.asarray(values, dtype=np.float64))})


def test_visits_of_the_whole_log_and_visits_to_come_are_found():
    """Also in other units, and with gaps; the sentence names the column and says what to do."""
    t = timeline_of("visits")
    visits = np.diff(t.user_start)[t.user_of_row].astype(np.float64)
    row = look_ahead_flag(planted(t, np.log(visits)))
    assert row["flagged"]
    assert "planted seems to know the future" in str(row["sentence"])
    assert "in the whole log" in str(row["sentence"])
    assert look_ahead_flag(planted(t, np.where(np.arange(len(t)) % 3, visits, np.nan)))["flagged"]
    week = 7 * 86_400
    next_week = [((own > now) & (own <= now + week)).sum() for own, now in _with_own_times(t)]
    row = look_ahead_flag(planted(t, next_week))
    assert row["flagged"]
    assert "in the 7 days after it" in str(row["sentence"])


def _with_own_times(t):
    for first, last in zip(t.user_start[:-1], t.user_start[1:], strict=True):
        for now in t.time[first:last]:
            yield t.time[first:last], now


def test_visits_so_far_and_how_active_a_user_is_are_none():
    """What is known at the decision may be read: earlier visits, and the rate from which visits come by chance."""
    t = timeline_of("visits")
    for values in (t.columns["triggers_so_far"].values, t.columns["triggers_28d"].values, t.time):
        assert not look_ahead_flag(planted(t, values))["flagged"]
    visits = np.diff(t.user_start)
    rate = np.random.default_rng(1).gamma(visits + 1.0)[t.user_of_row]
    assert not look_ahead_flag(planted(t, rate))["flagged"]


@pytest.mark.parametrize("world", ["visits", "bursty", "reactive", "sends"])
def test_no_column_of_a_world_is_accused(world):
    row = look_ahead_flag(planted(timeline_of(world, 300), np.ones(len(timeline_of(world, 300)))))
    assert not row["flagged"]


def test_the_features_of_the_package_are_known_by_name():
    """They are causal by construction, and are not tested."""
    assert set(timeline_of("visits", 50).columns) - COMPUTED == {"trigger", "type"}

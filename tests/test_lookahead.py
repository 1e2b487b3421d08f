"""The value of staying free, and the most that hindsight could have had."""

from itertools import combinations, pairwise

import numpy as np
import pytest
from blocks import decisions
from hypothesis import given
from hypothesis import strategies as st

from engagex_sim.cap import DAY, Cap
from engagex_sim.hindsight import hindsight
from engagex_sim.timeline import Timeline
from engagex_sim.worlds import WORLDS
from experiments.zoo.ceiling import ceiling
from policies.lookahead import gain_from_waiting


def test_waiting_is_worth_what_comes_before_the_block_ends():
    """Four moments 0, 5, 10, 20 days in, cap 14: contacting at the first forgoes the second and third."""
    time = np.array([0, 5, 10, 20]) * DAY
    scores = np.array([0.1, 0.3, 0.2, 0.4])
    always = gain_from_waiting(np.array([0, 4]), time, scores, np.ones(4, dtype=np.bool_), 14 * DAY)
    # From the second on: contact at 5 days (0.3), then at 20 days, which is 15 later (0.4): 0.7 in all. After a contact
    # at 0 the user is free again at 20: 0.4.
    assert always == pytest.approx([0.7 - 0.4, 0.2 - 0.4, 0.4 - 0.0, 0.0])
    picky = gain_from_waiting(np.array([0, 4]), time, scores, scores > 0.15, 14 * DAY)
    assert picky == pytest.approx([0.7 - 0.4, 0.2 - 0.4, 0.4, 0.0])


def test_without_a_cap_nothing_is_worth_waiting_for():
    time, scores = np.array([0, 1, 9, 1, 2]) * DAY, np.array([0.1, 0.2, 0.3, 0.4, 0.5])
    assert (gain_from_waiting(np.array([0, 3, 5]), time, scores, np.ones(5, dtype=np.bool_), 0) == 0).all()


days = st.lists(st.integers(0, 400), min_size=1, max_size=9, unique=True).map(sorted)


@given(days, st.integers(0, 20), st.integers(-30, -1) | st.none(), st.randoms(use_true_random=False))
def test_hindsight_is_the_best_of_all_lists_of_contacts_that_the_cap_allows(quarters, cap_days, before, random):
    times = [quarter / 4 for quarter in quarters]
    history = [] if before is None else [before]
    block = decisions([[30 + t for t in times]], others=[[30 + t for t in history]], evaluation_start=30)
    timeline = Timeline.of(block, Cap(cap_days)).evaluation()
    scores = np.array([random.random() for _ in times])
    best = 0.0
    for size in range(len(times) + 1):
        for chosen in combinations(range(len(times)), size):
            moments = history + [times[i] for i in chosen]
            if all(late - early >= cap_days for early, late in pairwise(moments)):
                best = max(best, scores[list(chosen)].sum())
    assert hindsight(timeline, scores) == pytest.approx([best])


def test_with_true_scores_lookahead_beats_the_best_threshold_and_nothing_beats_hindsight():
    of = ceiling(WORLDS["visits"], 4000, 0).set_index("what")["interests_per_user"]
    assert of["first chance"] < of["best threshold"] < of["lookahead"] < of["hindsight"]
    assert of["lookahead"] > 1.06 * of["best threshold"]


def test_where_every_contact_is_worth_the_same_contacting_at_the_first_chance_is_best():
    of = ceiling(WORLDS["null"], 1000, 0).set_index("what")["interests_per_user"]
    assert of.to_numpy() == pytest.approx(of["hindsight"])


@pytest.mark.parametrize("world", ["fatigue", "reactive"])
def test_no_ceiling_is_claimed_where_contacts_change_what_comes_after(world):
    assert ceiling(WORLDS[world], 300, 0) is None

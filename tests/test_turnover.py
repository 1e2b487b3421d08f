"""The most interests at a balance of at least 0, checked by hand and against every threshold there is."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from blocks import decisions

from engagex_sim.cap import Cap
from engagex_sim.columns import Column
from engagex_sim.testing import ExampleLog
from engagex_sim.timeline import Timeline
from engagex_sim.training import Training
from policies.turnover import XgbTurnover
from policies.xgb import XgbProfit


@dataclass
class Known:
    """A reward model that reads its prediction from a column."""

    def predict(self, context):
        return context["chance"][:, None]


def training(times, chance, value=5.0, cost=1.0):
    block = decisions(times, columns={"chance": Column(np.array(chance))})
    timeline = Timeline.of(block, Cap(14)).evaluation()
    rng = np.random.default_rng(0)
    return Training(timeline, Known(), None, Cap(14), value, cost, timeline.log_end, rng)


def contacted(policy, given):
    return 1 - policy.fit(given).action_probabilities(given.timeline.free_context())[:, 0]


FOUR_USERS, CHANCES = [[0], [0], [0], [0]], [0.5, 0.3, 0.1, 0.1]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1.9, [0, 0, 0, 0]),  # even the best earns 0.95 for 1
        (2.2, [1, 0.1 / 0.34, 0, 0]),  # 1.1 − 1 pays for a part of the second, at a loss of 0.34 each
        (2.5, [1, 1, 0, 0]),  # 1.25 + 0.75 − 2 = 0
        (4.0, [1, 1, 1, 1]),  # 2 + 1.2 + 0.4 + 0.4 − 4 = 0
        (5.0, [1, 1, 1, 1]),
    ],
)
def test_what_good_contacts_earn_is_spent_on_further_ones(value, expected):
    given = training(FOUR_USERS, CHANCES, value)
    assert contacted(XgbTurnover(), given) == pytest.approx(expected, abs=1e-3)


def test_profit_stops_where_turnover_goes_on():
    given = training(FOUR_USERS, CHANCES, value=4.0)
    assert contacted(XgbProfit(), given).tolist() == [1, 1, 0, 0]


def test_more_contacts_are_not_wanted_where_they_block_better_ones():
    """Days 0 and 1 exclude one another: free of charge, the better of the two is waited for."""
    given = training([[0, 1]], [0.1, 0.9], cost=0.0)
    assert contacted(XgbTurnover(), given).tolist() == [0, 1]


def test_new_users_are_left_alone_too_where_nothing_pays():
    nobody = XgbTurnover().fit(training(FOUR_USERS, CHANCES, value=1.0))
    better = training([[0]], [0.9], value=1.0)
    assert nobody.action_probabilities(better.timeline.free_context())[0, 0] == 1


@pytest.mark.parametrize("cost", [0.5, 1.0, 1.3, 1.5])
@pytest.mark.parametrize("n_kinds", [1, 3])
def test_no_threshold_has_more_interests_at_no_loss(cost, n_kinds):
    given = replace(ExampleLog(n_kinds=n_kinds).training(), cost=cost)
    best = given.reward_model.predict(given.timeline.free_context()).max(axis=1)

    def outcome(contact):
        q = given.contact_probability(contact)
        return q @ best, 5.0 * (q @ best) - cost * q.sum()

    interests, balance = outcome(contacted(XgbTurnover(), given))
    assert balance >= -1e-6
    every = [outcome((best >= threshold).astype(float)) for threshold in np.unique(best)]
    allowed = [i for i, b in every if b >= 0]
    assert len(allowed) > 0
    assert interests >= max(allowed) * (1 - 1e-5)  # the search stops close by

"""Policies learn under the rules that they will keep: their number of contacts, and every registered one."""

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from rule_book import Made, faults

from engagex_sim.example_log import ExampleLog
from engagex_sim.policy import Context
from engagex_sim.rules import Rules
from engagex_sim.settings import Settings
from engagex_sim.simulate import simulate
from engagex_sim.training import Training
from policies import REGISTRY
from policies.random_matched import RandomMatched

KINDS = ("1", "2", "3")
EVERYTHING = {"kind_cap": {"2": 12, "3": 1}, "exempt": ["3"], "quiet_hours": (0, 9), "stop_after_interest": True}


class Interest:
    """A reward model that knows the interest of each kind."""

    def predict(self, context: Context) -> Any:
        return np.tile([0.3, 0.1, 0.5], (len(context), 1))


def training(**asked: Any) -> tuple[Training, Settings]:
    """The small log's, under rules, with more users than it has."""
    own, settings = ExampleLog(3, seed=1).training(), Settings(cap_days=7, **asked)
    many = own.timeline.drawn(np.tile(np.arange(own.timeline.n_users), 100))
    many = replace(many, user_key=np.arange(many.n_users, dtype=np.uint64))
    return replace(own, timeline=many.under(Rules.of(settings, KINDS)), reward_model=Interest()), settings  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "asked",
    [
        {"quiet_hours": (0, 12)},
        {"stop_after_interest": True},
        {"exempt": ["3"]},
        {"quiet_hours": (20, 4), "stop_after_interest": True},
        {"kind_cap": {"2": 20}},
        EVERYTHING,
    ],
)
def test_the_matched_number_of_contacts_is_that_of_simulated_histories(asked: Any) -> None:
    own, _ = training(**asked)
    target = 0.5 * own.contacts_of(np.ones(len(own.timeline)))

    class Wished(Training):
        @property
        def current_contacts_per_user(self) -> float:
            return target

    matched = RandomMatched().fit(Wished(**{field.name: getattr(own, field.name) for field in fields(own)}))
    run = simulate(own.timeline, matched, Interest().predict, np.random.default_rng(0))
    made = np.bincount(own.timeline.user_of_row[run.action > 0], minlength=own.timeline.n_users)
    error = 1.5 * made.std() / np.sqrt(len(made))
    assert 0.2 < target == pytest.approx(made.mean(), abs=4.5 * error)


@pytest.mark.parametrize("name", REGISTRY)
def test_every_policy_learns_and_decides_under_all_rules_at_once(name: str) -> None:
    settings = Settings(cap_days=7, **EVERYTHING)
    rules = Rules.of(settings, KINDS)
    own, judged = (ExampleLog(3, seed=seed).training() for seed in (1, 2))
    policy: Any = REGISTRY[name]()
    if hasattr(policy, "fit"):
        policy = policy.fit(replace(own, timeline=own.timeline.under(rules)))
    t = judged.timeline.under(rules)
    run = simulate(t, policy, Interest().predict, np.random.default_rng(0))
    for user in range(t.n_users):
        rows = np.flatnonzero((run.action > 0) & (t.user_of_row == user))
        made = [Made(int(t.time[r]), KINDS[run.action[r] - 1], bool(run.reward[r]), under_trial=True) for r in rows]
        assert faults(made, settings) == []

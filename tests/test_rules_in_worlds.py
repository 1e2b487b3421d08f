"""In worlds whose truth is known: what strategies under rules would earn, from a log whose strategy kept none."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytest

from engagex_sim.cap import Cap
from engagex_sim.columns import FloatArray, TextArray
from engagex_sim.decisions import Decisions
from engagex_sim.estimate import METRICS, NAMES, Estimates
from engagex_sim.evaluation import cross_fit, estimate_all
from engagex_sim.kinds import spread
from engagex_sim.policy import Context, Policy
from engagex_sim.preparation import prepare_decisions, refusal
from engagex_sim.rules import Rules
from engagex_sim.settings import Settings
from engagex_sim.worlds import logged_decisions, true_value, visible
from engagex_sim.worlds.visits import Visits

KINDS = ("email", "letter", "service")
HEADLINE = NAMES.index("dr_cap")


@dataclass(frozen=True)
class Mixed:
    """Contacts with the same probability everywhere, kinds in fixed proportions, as far as they are open."""

    contact: float
    shares: tuple[float, ...]

    name: ClassVar[str] = "mixed"

    def action_probabilities(self, context: Context) -> FloatArray:
        evening = context["hour"] >= 17
        return spread(self.contact * np.where(evening, 1.5, 1.0), np.array(self.shares), context.mask)


@dataclass(frozen=True)
class ThreeKinds(Visits):
    """`visits` with three kinds of contact, and more interest; the strategy that is logged may keep no cap.

    Only then does the log show contacts in such quick succession as those of exempt kinds.
    """

    keeps_cap: bool = True

    own_name: ClassVar[str] = "three_kinds"

    @property
    def logging(self) -> Policy:  # type: ignore[override]
        return Mixed(0.25 if self.keeps_cap else 0.15, (0.4, 0.3, 0.3))

    @property
    def logging_cap(self) -> Cap:
        return self.cap if self.keeps_cap else Cap(0)

    def at_visits(self, user_start: Any, time: Any, columns: Any, user_id: TextArray) -> Decisions:
        return replace(super().at_visits(user_start, time, columns, user_id), kinds=KINDS)

    def interest_odds(self, features: Any) -> FloatArray:
        return np.asarray(1.5 + super().interest_odds(features))

    def reward_probabilities(self, context: Context) -> FloatArray:
        """(n, 3): letters interest more, service messages less."""
        odds = np.log(1 / np.clip(1 / super().reward_probabilities(context) - 1, 1e-9, None))
        return np.asarray(1 / (1 + np.exp(-(odds + np.array([0.0, 0.7, -0.7])))))


WORLDS = {keeps_cap: ThreeKinds(cap_days=8.0, keeps_cap=keeps_cap) for keeps_cap in (True, False)}
TARGET = Mixed(0.3, (0.3, 0.5, 0.2))
RULES: dict[str, dict[str, Any]] = {
    "quiet": {"quiet_hours": (20, 8)},
    "stop": {"stop_after_interest": True},
    "exempt": {"exempt": ("service",)},
    "capped": {"kind_cap": {"letter": 14}},
    "all": {
        "kind_cap": {"letter": 14, "service": 3},
        "exempt": ("service",),
        "quiet_hours": (22, 7),
        "stop_after_interest": True,
    },
}


def estimated(world: ThreeKinds, settings: Settings, n_users: int, seed: int) -> Estimates:
    log = visible(logged_decisions(world, n_users, np.random.default_rng(seed)))
    prepared = prepare_decisions(log, settings)
    return estimate_all(prepared, cross_fit(prepared, [TARGET], settings).observed, settings, ("dr_cap",))


@pytest.mark.parametrize("name", RULES)
def test_the_headline_tells_the_truth_under_rules(name: str) -> None:
    """Interests, interested users, contacts and profit within four standard errors of a simulated population."""
    world = WORLDS["exempt" not in RULES[name]]
    settings = Settings(cap_days=world.cap_days, folds=2, grid="light", n_boot=60, seed=1, **RULES[name])
    found = estimated(world, settings, 3000, 11)
    truth = true_value(world, TARGET, n_users=20_000, rules=Rules.of(settings, KINDS)).metrics
    for metric in ("interests_per_user", "interested_users", "contacts_per_user", "profit_per_user"):
        m = METRICS.index(metric)
        error = found.replicates[:, 0, HEADLINE, m].std() + 0.005 * abs(truth[metric])  # of the population itself
        assert abs(found.value[0, HEADLINE, m] - truth[metric]) < 4 * error


@pytest.mark.parametrize("keeps_cap", [True, False])
def test_exempt_kinds_are_not_judged_by_a_log_without_contacts_in_quick_succession(keeps_cap: bool) -> None:
    world = WORLDS[keeps_cap]
    log = visible(logged_decisions(world, 500, np.random.default_rng(0)))
    timeline = prepare_decisions(log, Settings(cap_days=world.cap_days)).timeline
    asked = {name: Rules.of(Settings(cap_days=world.cap_days, **RULES[name]), KINDS) for name in ("exempt", "capped")}
    said = refusal(timeline, asked["exempt"])
    assert said is None if not keeps_cap else "0 days apart would do (leave out --exempt)" in str(said)
    assert refusal(timeline, asked["capped"]) is None

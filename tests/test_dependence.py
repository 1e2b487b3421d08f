"""What of the contact history is carried: what interest, or the current strategy, depends on, and nothing else."""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import pytest

from engagex_sim.columns import FloatArray
from engagex_sim.dependence import Carried, carried
from engagex_sim.policy import Context, Policy
from engagex_sim.preparation import prepare_decisions
from engagex_sim.settings import Settings
from engagex_sim.states import NEVER_SEEN, NO_STATE
from engagex_sim.worlds import WORLDS, Visits, World, logged_decisions, visible
from engagex_sim.worlds.fatigue import Fatigue

LIGHT = Settings(grid="light")


def found(world: World, n_users: int, seed: int = 0) -> Carried:
    prepared = prepare_decisions(visible(logged_decisions(world, n_users, np.random.default_rng(seed))), LIGHT)
    return carried(prepared.evaluation, prepared.whole, prepared.cap_modelled, LIGHT)


def test_nothing_is_carried_where_interest_does_not_depend_on_it() -> None:
    what = [found(WORLDS["visits"], 4000, seed) for seed in range(12)]
    assert sum(own.weights != NO_STATE for own in what) <= 3


def test_recency_is_carried_where_interest_recovers() -> None:
    what = found(WORLDS["sends"], 12_000)
    assert len(what.weights.edges) > 1 and what.weights.edges[-1] == NEVER_SEEN
    assert "Interest depends on the time since the last contact" in what.notes[0]


def test_the_count_is_carried_where_contacts_tire() -> None:
    what = found(Fatigue(step=1.0), 12_000)
    assert what.weights.counts > 1 and "number of past contacts" in what.notes[0]


def test_a_log_that_breaks_the_cap_is_modelled_by_recency() -> None:
    what = found(WORLDS["capless"], 3000)
    assert len(what.logging.edges) > 1 and what.logging.edges[0] < WORLDS["capless"].cap.seconds


@dataclass(frozen=True)
class Encouraged:
    """Contacts those who liked a contact before far more often."""

    name: ClassVar[str] = "encouraged"

    def action_probabilities(self, context: Context) -> FloatArray:
        contact = np.where(context["interests_so_far"] > 0, 0.5, 0.1) * context.mask[:, 1]
        return np.column_stack([1 - contact, contact])


@dataclass(frozen=True)
class Rewarding(Visits):
    """`visits` with more interest, by a company that goes after whoever was interested."""

    own_name: ClassVar[str] = "rewarding"

    @cached_property
    def logging(self) -> Policy:
        return Encouraged()

    def reward_probabilities(self, context: Context) -> FloatArray:
        return np.full((len(context), 1), 0.2)


def test_results_are_carried_where_the_current_strategy_reacts_to_them() -> None:
    what = found(Rewarding(), 6000)
    assert what.weights.interests and what.logging.interests
    assert any("reacts to the results" in note for note in what.notes)


@pytest.mark.parametrize("name", ["null", "frailty"])
def test_what_only_the_current_strategy_depends_on_does_not_split_the_weights(name: str) -> None:
    assert found(WORLDS[name], 5000).weights == NO_STATE

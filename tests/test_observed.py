"""Observed blocks: joined they say what one block says, and users without contact leave sums alone."""

from dataclasses import fields
from functools import cache

import numpy as np

from engagex_sim.confounding import hidden_cause
from engagex_sim.crossfit import Fitted, fit
from engagex_sim.dependence import Carried
from engagex_sim.estimate import Estimates, estimate
from engagex_sim.margins import Margins
from engagex_sim.observe import observe
from engagex_sim.observed import Observed
from engagex_sim.ope.resampling import Resampling
from engagex_sim.policy import Context
from engagex_sim.preparation import Prepared, prepare_decisions
from engagex_sim.settings import Settings
from engagex_sim.states import NO_STATE
from engagex_sim.timeline import Timeline
from engagex_sim.worlds import WORLDS, logged_decisions, visible
from policies import REGISTRY

NAMES = ("uniform", "first_chance", "cautious")
NOTHING = Carried(NO_STATE, NO_STATE)


class Cautious:
    """Reads the results of its own contacts."""

    name = "cautious"

    def action_probabilities(self, context: Context) -> np.ndarray:
        contact = np.where(context["interests_so_far"] > 0, 0.05, 0.02)[:, None] * context.mask[:, 1:]
        return np.column_stack([1 - contact.sum(axis=1), contact])


@cache
def a_log() -> tuple[Prepared, Fitted]:
    settings = Settings(grid="light", folds=2)
    prepared = prepare_decisions(visible(logged_decisions(WORLDS["visits"], 600, np.random.default_rng(0))), settings)
    policies = [*(REGISTRY[name]() for name in NAMES[:2]), Cautious()]
    everybody = np.ones(prepared.timeline.n_users, dtype=np.bool_)
    models = fit(prepared.timeline, everybody, policies, settings, seed=0, cap_modelled=True, carry=NOTHING)
    return prepared, models


def observed(users: Timeline, n_boot: int = 30) -> Observed:
    prepared, models = a_log()
    evaluation = prepared.timeline.evaluation()
    own = Resampling.of(evaluation.n_users, 0, n_boot)
    return observe(users, models, prepared.days, Margins.of(evaluation.contacts()), True, NOTHING, own)


def estimated(observed: Observed) -> Estimates:
    return estimate(observed, recalibrate=True, interest_value=5.0, contact_cost=1.0)


def test_joined_blocks_estimate_what_one_block_does() -> None:
    whole = a_log()[0].timeline.evaluation()
    parts = np.array_split(np.arange(whole.n_users), 4)
    one, joined = observed(whole), Observed.join([observed(whole.drawn(part)) for part in parts])
    assert joined.n_users == whole.n_users
    first, second = estimated(one), estimated(joined)
    for field in fields(Estimates):
        own, other = getattr(first, field.name), getattr(second, field.name)
        if field.name == "rollout":  # drawn anew for each block
            assert (np.isnan(own) == np.isnan(other)).all()
        elif field.name == "overlap":
            for ours, theirs in zip(own, other, strict=True):
                for kind, overlap in ours.items():
                    np.testing.assert_allclose(overlap, theirs[kind], rtol=1e-12, atol=1e-12)
        else:
            np.testing.assert_allclose(own, other, rtol=1e-12, atol=1e-15)
    causes = [hidden_cause(o, e.weights, NAMES).bounds.set_index("policy") for o, e in ((one, first), (joined, second))]
    np.testing.assert_allclose(*causes, rtol=1e-12, atol=1e-15)


def test_users_without_contact_leave_nothing_but_sums() -> None:
    whole = a_log()[0].timeline.evaluation()
    contacted = np.zeros(whole.n_users, dtype=np.bool_)
    contacted[np.concatenate([whole.user_of_row[whole.action > 0], whole.other_user])] = True
    everybody, few = observed(whole), observed(whole.users(contacted))
    assert len(everybody.user_key) == contacted.sum() < whole.n_users
    for field in fields(Observed):
        if field.name not in ("resampling", "policies"):
            assert getattr(everybody, field.name).shape == getattr(few, field.name).shape
    for own, other in zip(everybody.policies, few.policies, strict=True):
        for name in ("logged", "active", "others", "sums"):
            assert [part.shape for part in getattr(own, name)] == [part.shape for part in getattr(other, name)]
    assert (everybody.users >= few.users).all()


def test_without_a_bootstrap_the_values_are_the_same() -> None:
    whole = a_log()[0].timeline.evaluation()
    found, none = estimated(observed(whole)), estimated(observed(whole, n_boot=0))
    np.testing.assert_array_equal(none.value, found.value)
    assert none.replicates.shape == (0, *found.value.shape)
    assert none.curve_replicates.shape == (0, *found.curve.shape)

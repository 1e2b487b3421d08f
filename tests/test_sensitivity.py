"""Bounds under a hidden cause: by hand, as properties, and against a world with a hidden cause."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engagex_sim.blockwise import CrossFitted, cross_fit, estimate_all
from engagex_sim.confounding import hidden_cause, sentence
from engagex_sim.estimate import NAMES, Estimates
from engagex_sim.ope.sensitivity import BreakingPoint, bounds, breaking_point, exposure, outer_interval
from engagex_sim.preparation import prepare_decisions
from engagex_sim.settings import Settings
from engagex_sim.worlds import WORLDS, logged_decisions, visible
from policies import REGISTRY


def test_exposure_by_hand() -> None:
    """Two users: w = 4 at q^π = 0.2 with an interest gives 3.8; contacts without interest or weight give nothing."""
    weight, target = np.array([4.0, 2.0, 0.0]), np.array([0.2, 0.5, 0.3])
    reward, user = np.array([1.0, 0.0, 1.0]), np.array([0, 0, 1])
    assert exposure(weight, target, reward, user, 2) == pytest.approx([3.8, 0.0])


def test_bounds_by_hand() -> None:
    """At Λ = 2 an inverse probability 1/q lies between 1 + (1/q − 1)/2 and 1 + 2 (1/q − 1)."""
    q_target, q_logging = 0.3, 0.1
    weight = q_target / q_logging
    low, high = bounds(np.array([weight]), np.array([weight - q_target]), 2.0)
    assert low[0] == pytest.approx(q_target * (1 + (1 / q_logging - 1) / 2))
    assert high[0] == pytest.approx(q_target * (1 + (1 / q_logging - 1) * 2))


@given(
    q=st.floats(0.01, 0.99),
    strength=st.floats(1.0, 10.0),
    share=st.floats(0.0, 1.0),
)
def test_every_contact_probability_that_the_model_allows_lies_within_the_bounds(
    q: float, strength: float, share: float
) -> None:
    odds = q / (1 - q) * strength ** (2 * share - 1)
    true = (1 + odds) / odds
    low, high = bounds(np.array([1 / q]), np.array([1 / q - 1]), strength)
    assert low[0] - 1e-9 <= true <= high[0] + 1e-9


@given(st.lists(st.floats(1.0, 10.0), min_size=2, max_size=2))
def test_a_stronger_cause_leaves_wider_bounds(strengths: list[float]) -> None:
    weak, strong = sorted(strengths)
    rng = np.random.default_rng(0)
    value, exposed = rng.normal(1, 0.1, 200), rng.uniform(0.5, 1, 200)
    inner, outer = outer_interval(value, exposed, weak), outer_interval(value, exposed, strong)
    assert outer[0] <= inner[0]
    assert outer[1] >= inner[1]


def test_breaking_point_by_hand() -> None:
    """Without noise: a lift of 0.2 with 1.2 exposed breaks where (1 − 1/Λ) · 1.2 = 0.2, at Λ = 1.2."""
    lift, exposed = np.full(10, 0.2), np.full(10, 1.2)
    assert breaking_point(lift, exposed).strength == pytest.approx(1.2)
    assert breaking_point(-lift, exposed).strength == pytest.approx(1 + 0.2 / 1.2)


def test_at_the_breaking_point_the_interval_of_the_bounds_reaches_zero() -> None:
    rng = np.random.default_rng(1)
    lift, exposed = rng.normal(0.3, 0.05, 500), rng.normal(1.0, 0.05, 500)
    low, _ = outer_interval(lift, exposed, breaking_point(lift, exposed).strength)
    assert low == pytest.approx(0.0, abs=1e-9)
    _, high = outer_interval(-lift, exposed, breaking_point(-lift, exposed).strength)
    assert high == pytest.approx(0.0, abs=1e-9)


def test_with_rare_contacts_it_is_one_plus_the_lower_end_of_the_relative_lift() -> None:
    """Exposure is then nearly the value itself: value / Λ meets the current mean at Λ = 1 + relative lift."""
    current, value = 0.02, 0.025
    point = breaking_point(np.full(10, value - current), np.full(10, 0.995 * value))
    assert point.strength == pytest.approx(value / current, rel=0.01)


def test_what_has_no_breaking_point_says_why() -> None:
    rng = np.random.default_rng(2)
    unsure = breaking_point(rng.normal(0, 1, 200), np.ones(200))
    assert math.isnan(unsure.strength)
    assert "even without a hidden cause" in sentence("uniform", unsure)
    never = breaking_point(np.full(10, -0.02), np.zeros(10))
    assert never == BreakingPoint(math.inf, "no hidden cause of any strength reaches 0")
    assert "no independent news" in sentence("uniform", BreakingPoint(1.3, None))


def test_the_truth_lies_between_the_bounds_at_the_strength_of_a_hidden_trait_and_outside_without() -> None:
    """A binary trait multiplies the odds of a contact, and interest; the target contacts everybody."""
    rng = np.random.default_rng(3)
    n, strength = 200_000, 3.2
    trait = rng.random(n) < 0.5
    base = 0.1
    probability = np.where(trait, base, 0.02)
    nominal = float(probability.mean())
    odds = probability / (1 - probability) / (nominal / (1 - nominal))
    assert odds.max() <= strength
    assert odds.min() >= 1 / strength
    chance = np.where(trait, 0.2, 0.05)
    contact = rng.random(n) < probability
    reward = (rng.random(n) < chance)[contact].astype(float)
    weight, target = np.full(contact.sum(), 1 / nominal), np.ones(contact.sum())
    user = np.flatnonzero(contact)
    value = np.array([(weight * reward).sum() / n])
    exposed = np.array([exposure(weight, target, reward, user, n).mean()])
    low, high = bounds(value, exposed, strength)
    assert low[0] < chance.mean() < high[0]
    assert value[0] > 1.2 * chance.mean()


@pytest.fixture(scope="module")
def crossfitted() -> tuple[CrossFitted, Estimates]:
    settings = Settings(grid="light", folds=2, n_boot=200)
    log = visible(logged_decisions(WORLDS["visits"], 2000, np.random.default_rng(0)))
    prepared = prepare_decisions(log, settings)
    found = cross_fit(prepared, [REGISTRY["never"](), REGISTRY["uniform"]()], settings)
    return found, estimate_all(prepared, found.observed, settings)


def test_without_a_hidden_cause_the_bounds_are_the_percentiles_of_the_headline(
    crossfitted: tuple[CrossFitted, Estimates],
) -> None:
    found, estimates = crossfitted
    tables = hidden_cause(found.observed, estimates.weights, ["never", "uniform"])
    bounds_of = tables.bounds[tables.bounds["policy"] == "uniform"].set_index("strength")
    own = estimates.replicates[:200, 1, NAMES.index("dr_cap"), 0]
    assert bounds_of.loc[1.0, "value_low"] == pytest.approx(np.quantile(own, 0.025), rel=1e-9)
    assert bounds_of.loc[1.0, "value_high"] == pytest.approx(np.quantile(own, 0.975), rel=1e-9)
    assert (bounds_of["lift_low"].diff().dropna() < 0).all()
    assert (bounds_of["lift_high"].diff().dropna() > 0).all()


def test_never_has_no_breaking_point_and_a_policy_without_contact_probabilities_no_bounds(
    crossfitted: tuple[CrossFitted, Estimates],
) -> None:
    found, estimates = crossfitted
    terms = found.observed.policies[1]
    unknown = replace(
        terms,
        logged=terms.logged._replace(contact_probability=np.full_like(terms.logged.one_step, np.nan)),
        sums=terms.sums._replace(model=np.full_like(terms.sums.model, np.nan)),
    )
    observed = replace(found.observed, policies=(found.observed.policies[0], unknown))
    tables = hidden_cause(observed, estimates.weights, ["never", "unknown"])
    assert tables.breaking["breaking_point"].iloc[0] == math.inf
    assert math.isnan(tables.breaking["breaking_point"].iloc[1])
    assert tables.bounds.loc[tables.bounds["policy"] == "unknown", "lift_low"].isna().all()
    assert (tables.bounds.loc[tables.bounds["policy"] == "never", "value_high"] == 0).all()

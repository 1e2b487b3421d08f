"""The true values that the study compares with: the same as rolling out, with less chance in them."""

import pytest

from engagex_sim.result import CURRENT, PRIMARY
from engagex_sim.worlds import WORLDS, true_value
from experiments.study import truth
from policies import REGISTRY

SEED = truth.SMALL_SEED
SMALL = 2_000


@pytest.fixture(autouse=True)
def few_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(truth, "SMALL", SMALL)
    truth._small_population.cache_clear()


@pytest.mark.parametrize("world", ["visits", "frailty", "capless", "bursty"])
def test_a_policy_that_leaves_nothing_to_chance_is_worth_what_its_roll_out_is(world: str) -> None:
    policy = REGISTRY["first_chance"]()
    drawn = true_value(WORLDS[world], policy, n_users=SMALL, seed=SEED).metrics
    found = truth._on_small(WORLDS[world], policy, SEED)
    assert {name: found[name] for name in truth.MEASURED} == pytest.approx({n: drawn[n] for n in truth.MEASURED})


def test_a_policy_that_draws_is_worth_what_its_roll_outs_are_on_average() -> None:
    world, policy = WORLDS["visits"], REGISTRY["uniform"]()
    expected = truth._expected(world, policy, SEED)
    large = true_value(world, policy, n_users=40_000, seed=SEED + 1).metrics
    assert expected is not None
    assert expected == pytest.approx((large[PRIMARY], large["contacts_per_user"]), rel=0.06)  # of 2,000 users
    found = truth._on_small(world, policy, SEED)
    assert 0.9 * found[PRIMARY] < found["interested_users"] < found[PRIMARY]


def test_where_past_contacts_matter_contacts_are_drawn() -> None:
    uniform = REGISTRY["uniform"]()
    for name in ("fatigue", "sends", "reactive"):
        assert truth._expected(WORLDS[name], uniform, SEED) is None
        assert truth._on_small(WORLDS[name], uniform, SEED)[PRIMARY] > 0
    capless = WORLDS["capless"]  # its own strategy rests users after a contact
    assert truth._expected(capless, capless.logging, SEED) is None
    assert truth._expected(capless, uniform, SEED) is not None


def test_truths_are_scaled_by_a_policy_whose_worth_is_known_without_draws() -> None:
    never, uniform = REGISTRY["never"](), REGISTRY["uniform"]()
    large = {name: dict.fromkeys(truth.MEASURED, 1.0) for name in (CURRENT, "never", "uniform")}
    for world, reference in (("visits", None), ("capless", uniform), ("fatigue", None)):
        own = WORLDS[world].logging if reference is None else reference
        here = truth._on_small(WORLDS[world], own, SEED)
        found = truth._scale(WORLDS[world], [never, uniform], large, SEED)
        assert found == pytest.approx({name: 1 / here[name] for name in truth.MEASURED})

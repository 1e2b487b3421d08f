"""What the reward model looks at: three measures that agree on what matters, on users that it did not learn from."""

from dataclasses import replace

import numpy as np
import pytest

from engagex_sim import importance_tables as tables_module
from engagex_sim.columns import Column
from engagex_sim.crossfit import Fitted, fit
from engagex_sim.dependence import Carried
from engagex_sim.importance_tables import importance_tables
from engagex_sim.models.calibrate import constant, log_odds
from engagex_sim.models.importance import Judged, levels_of, permutation_losses
from engagex_sim.models.reward import RewardModel
from engagex_sim.policy import Context
from engagex_sim.settings import Settings
from engagex_sim.splitting import Splitting
from engagex_sim.states import NO_STATE
from engagex_sim.timeline import Timeline
from engagex_sim.worlds import WORLDS, logged_decisions, visible


def contacts_of(n: int, seed: int, kinds: tuple[str, ...] = ("contact",)) -> tuple[Context, np.ndarray, np.ndarray]:
    """Interest depends on `strong` much, on the text `site` a little, and on `noise` not at all."""
    rng = np.random.default_rng(seed)
    columns = {
        "noise": Column(rng.normal(size=n)),
        "strong": Column(np.where(rng.random(n) < 0.1, np.inf, rng.integers(0, 6, n))),
        "site": Column(rng.integers(-1, 2, n).astype(np.int32), np.array(["a", "b"], dtype=object)),
    }
    action = rng.integers(1, len(kinds) + 1, n)
    odds = -4 + np.minimum(columns["strong"].values, 6) + 0.8 * (columns["site"].values == 1) + 1.5 * (action == 2)
    reward = (rng.random(n) < 1 / (1 + np.exp(-odds))).astype(np.float64)
    return Context(np.ones((n, len(kinds) + 1), dtype=np.bool_), kinds, columns, {}), action, reward


def judged_of(n: int, seed: int, kinds: tuple[str, ...] = ("contact",)) -> tuple[Judged, Context, np.ndarray]:
    context, action, reward = contacts_of(n, seed, kinds)
    rows = np.arange(n)
    model = RewardModel.fit(context, action, reward, rows.astype(np.uint64), rows, grid="light")
    fresh, action, reward = contacts_of(n, seed + 1, kinds)
    return Judged.of(model, fresh, action, reward), fresh, action


@pytest.mark.parametrize("kinds", [("contact",), ("mail", "push")])
def test_contributions_add_up_to_the_log_odds_of_the_prediction(kinds: tuple[str, ...]) -> None:
    judged, context, action = judged_of(3_000, 1, kinds)
    predicted = judged.model.predict(context)[np.arange(len(action)), action - 1]
    np.testing.assert_allclose(judged.contributions().sum(axis=1), log_odds(predicted), atol=1e-4)
    np.testing.assert_allclose(judged.predicted(judged.matrix), predicted, rtol=1e-6)
    assert judged.features == ["noise", "strong", "site", *(["kind_of_contact"] if len(kinds) > 1 else [])]


def test_what_matters_most_moves_most_and_is_missed_most() -> None:
    judged, _, _ = judged_of(6_000, 3)
    moved = np.abs(judged.contributions()[:, :-1]).mean(axis=0)
    losses = permutation_losses([judged], 4, np.random.default_rng(0))
    assert losses.shape == (3, 4)
    for measure in (moved, losses.mean(axis=1)):
        assert measure[1] > 4 * measure[2] > 8 * abs(measure[0])
    np.testing.assert_array_equal(losses, permutation_losses([judged], 4, np.random.default_rng(0)))
    assert not np.array_equal(losses, permutation_losses([judged], 4, np.random.default_rng(1)))


def test_permuting_leaves_the_contacts_as_they_were() -> None:
    judged, _, _ = judged_of(1_000, 5)
    before = judged.matrix.copy()
    permutation_losses([judged], 2, np.random.default_rng(0))
    np.testing.assert_array_equal(judged.matrix, before)


def test_a_model_that_learned_nothing_looks_at_nothing() -> None:
    judged, _, _ = judged_of(1_000, 5)
    flat = replace(judged, model=replace(judged.model, booster=None, calibration=constant(0.03)))
    contributions = flat.contributions()
    assert not contributions[:, :-1].any()
    np.testing.assert_allclose(contributions[:, -1], log_odds(np.array(0.03)))
    assert (permutation_losses([flat], 2, np.random.default_rng(0)) == 0).all()


def test_where_all_results_are_equal_permutation_says_nothing() -> None:
    judged, _, _ = judged_of(500, 7)
    one_class = replace(judged, reward=np.zeros(500))
    assert np.isnan(permutation_losses([one_class], 2, np.random.default_rng(0))).all()


def test_values_are_grouped_by_what_they_are() -> None:
    labels, group = levels_of(np.array([3.0, 1.0, np.inf, 3.0, np.nan]), most=4)
    assert labels[:2] == [1.0, 3.0] and np.isnan(labels[2])
    assert group.tolist() == [1, 0, 2, 1, 2]
    labels, group = levels_of(np.arange(1_000), most=10)
    assert len(labels) == 10 and np.bincount(group).tolist() == [100] * 10
    assert labels[0] == np.arange(100).mean()
    text = np.array(["b", "c", None, "a", "b", "c", "d"], dtype=object)
    labels, group = levels_of(text, most=3)
    assert labels[:3] == ["b", "c", "other"] and np.isnan(labels[3])
    assert group.tolist() == [0, 1, 3, 2, 0, 1, 2]
    labels, _ = levels_of(np.array(["other", "other", "x", "y"], dtype=object), most=2)
    assert labels[:2] == ["other", "(other)"]
    labels, group = levels_of(np.array([None, None], dtype=object), most=3)
    assert len(labels) == 1 and group.tolist() == [0, 0]


@pytest.fixture(scope="module")
def crossfitted() -> tuple[Timeline, list[Fitted], Splitting]:
    world, splitting = WORLDS["seed_like"], Splitting(0, 2)
    log = visible(logged_decisions(world, 6_000, np.random.default_rng(0)))
    timeline = Timeline.of(log, world.cap)
    settings, carry = Settings(grid="light"), Carried(NO_STATE, NO_STATE, ())
    everybody = [~judged for judged in splitting.judged(timeline.user_key)]
    fitted = [
        fit(own, np.ones(own.n_users, dtype=np.bool_), [], settings, seed=0, cap_modelled=True, carry=carry)
        for own in (timeline.users(taught) for taught in everybody)
    ]
    return timeline.evaluation().contacts(), fitted, splitting


def test_the_two_causes_lead_by_every_measure(crossfitted: tuple[Timeline, list[Fitted], Splitting]) -> None:
    importance, effects = importance_tables(*crossfitted, np.random.default_rng(0))
    for measure in ("shap", "permutation", "gain"):
        assert set(importance.nlargest(2, measure)["feature"]) == {"days_since_trigger", "type"}, measure
    assert importance["gain"].sum() == pytest.approx(1.0)
    by_type = effects[effects["feature"] == "type"].set_index("value")["effect"]
    assert by_type["cart"] > by_type["search"] > by_type["help"]  # as in the world
    since = effects[(effects["feature"] == "days_since_trigger") & effects["value"].notna()]
    assert since["effect"].iloc[0] > 1 > -0.3 > since["effect"].iloc[-1]
    assert (effects["effect_low"] <= effects["effect_high"]).all()
    assert (effects.groupby("feature")["n"].sum() == len(crossfitted[0])).all()


def test_a_large_log_is_looked_at_through_some_of_its_users(
    crossfitted: tuple[Timeline, list[Fitted], Splitting], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables_module, "MOST_CONTACTS", 1_000)
    importance, effects = importance_tables(*crossfitted, np.random.default_rng(0))
    looked_at = effects.groupby("feature")["n"].sum()
    assert looked_at.nunique() == 1 and 800 < looked_at.iloc[0] < 1_200
    assert set(importance["feature"][:2]) == {"days_since_trigger", "type"}


def test_without_a_contact_to_judge_only_the_gain_is_known(
    crossfitted: tuple[Timeline, list[Fitted], Splitting],
) -> None:
    contacts, fitted, splitting = crossfitted
    importance, effects = importance_tables(
        contacts.rows(np.zeros(len(contacts), dtype=np.bool_)), fitted, splitting, np.random.default_rng(0)
    )
    assert importance["gain"].notna().all() and importance[["permutation", "shap"]].isna().all(axis=None)
    assert effects.empty

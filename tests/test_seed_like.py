"""In `seed_like` interest can be told: the best possible ROC AUC is known, and the reward model comes near it."""

import json
from pathlib import Path

import numpy as np
import pytest

from engagex_sim.models.metrics import classification_metrics
from engagex_sim.models.reward import RewardModel
from engagex_sim.timeline import Timeline
from engagex_sim.worlds import WORLDS, best_roc_auc, contact_chances, logged_decisions, visible
from experiments.make_world import write_world

WORLD = WORLDS["seed_like"]


def test_the_best_roc_auc_is_that_of_every_pair_weighed_by_its_chance() -> None:
    """Two contacts with 1 in 2 and 1 in 4: ranked rightly with 3/8 against 1/8; with itself each is a tie."""
    ties = (1 / 4 + 3 / 16) / 2
    assert best_roc_auc(np.array([0.5, 0.25])) == pytest.approx((3 / 8 + ties) / (1 / 2 + 2 * ties))
    assert best_roc_auc(np.full(40, 0.03)) == pytest.approx(0.5)
    assert np.isnan(best_roc_auc(np.zeros(3))) and np.isnan(best_roc_auc(np.zeros(0)))


def test_the_true_probabilities_reach_the_best_roc_auc_on_drawn_results() -> None:
    log = logged_decisions(WORLD, 10_000, np.random.default_rng(3))
    chance, result = contact_chances(WORLD, log)
    assert best_roc_auc(chance, result) == pytest.approx(best_roc_auc(chance), abs=0.03)  # three standard errors
    assert 0.92 < best_roc_auc(chance) < 0.94
    assert chance.mean() == pytest.approx(0.0295, abs=0.003)  # the original: 2.945 %


def test_nothing_that_moves_interest_is_hidden() -> None:
    log = logged_decisions(WORLD, 300, np.random.default_rng(0))
    assert set(visible(log).columns) == {"trigger", "type"}
    assert {name for name in log.columns if name.startswith("_")} == {
        "_interest_odds",
        "_days_since_unlogged_contact",
        "_unlogged_contacts",
    }


def test_a_reward_model_comes_near_the_best_and_looks_at_the_two_causes() -> None:
    """Learned on half of the users, judged on the other half; a light model of 8,000 users is a little worse."""
    log = logged_decisions(WORLD, 16_000, np.random.default_rng(1))
    timeline = Timeline.of(visible(log), WORLD.cap)
    half = np.arange(timeline.n_users) % 2 == 0
    taught, judged = timeline.users(half).contacts(), timeline.users(~half).evaluation().contacts()
    user = taught.user_key[taught.user_of_row]
    model = RewardModel.fit(taught.free_context(), taught.action, taught.reward, user, taught.time, grid="light")
    metrics = classification_metrics(judged.reward, model.predict(judged.free_context())[:, 0], model.threshold)
    chance, result = contact_chances(WORLD, log)
    of_judged = np.repeat(~half, np.bincount(timeline.evaluation().contacts().user_of_row, minlength=len(half)))
    best = best_roc_auc(chance[of_judged], result[of_judged])
    assert best - 0.03 < metrics["roc_auc"] < best
    assert set(model.feature_importance()["feature"][:2]) == {"days_since_trigger", "type"}


def test_the_files_state_the_best_roc_auc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That of the contacts in the very files; a log without a contact to judge has none."""
    monkeypatch.setattr("experiments.make_world.SMALLEST_POPULATION", 500)
    write_world("seed_like", 600, None, tmp_path / "world", 4, quiet=True)
    truth = json.loads((tmp_path / "world" / "truth.json").read_text())
    chance, result = contact_chances(WORLD, logged_decisions(WORLD, 600, np.random.default_rng(4)))
    stated = {"on_these_results": best_roc_auc(chance, result), "expected": best_roc_auc(chance)}
    assert truth["best_roc_auc"] == stated
    write_world("seed_like", 1, None, tmp_path / "nobody", 4, quiet=True)
    truth = json.loads((tmp_path / "nobody" / "truth.json").read_text())
    assert truth["best_roc_auc"]["on_these_results"] is None

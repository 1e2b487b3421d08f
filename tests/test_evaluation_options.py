"""Held-out users, models fitted again, and policies that read their own past, through the whole evaluation."""

from collections.abc import Callable

import numpy as np
import pytest

import engagex_sim
from engagex_sim import InputError, Settings
from engagex_sim.columns import FloatArray
from engagex_sim.evaluation import evaluate_prepared
from engagex_sim.log import DataQuality, read_log
from engagex_sim.ope.verdict import UNANSWERABLE
from engagex_sim.policy import Context
from engagex_sim.preparation import Prepared, prepare
from engagex_sim.result import headline
from engagex_sim.splitting import Splitting
from engagex_sim.worlds import WORLDS, frames
from policies import REGISTRY

LIGHT = Settings(grid="light", folds=2, n_boot=100)


def a_log(n_users: int = 3000, holdout: Splitting | None = None) -> tuple[Prepared, DataQuality]:
    log = read_log(*frames(WORLDS["visits"], n_users, 0))
    return prepare(log, LIGHT, holdout=holdout), log.quality


class ByHistory:
    """Contacts with a probability that `chance` makes of the context."""

    def __init__(self, name: str, chance: Callable[[Context], FloatArray]) -> None:
        self.name, self.chance = name, chance

    def action_probabilities(self, context: Context) -> FloatArray:
        contact = np.where(context.mask[:, 1], self.chance(context), 0.0)
        return np.column_stack([1 - contact, contact])


def test_with_a_holdout_policies_are_judged_on_users_who_taught_them_nothing() -> None:
    splitting = Splitting(seed=0, holdout=0.4)
    prepared, quality = a_log(holdout=splitting)
    result = evaluate_prepared(prepared, quality, [REGISTRY["xgb_greedy"]()], LIGHT)
    (held_out,) = splitting.judged(prepared.evaluation.user_key)
    judged = int(held_out.sum())
    assert 0.35 < judged / prepared.evaluation.n_users < 0.45
    assert result.facts.n_users == judged == result.summary["n_users"].iloc[0]
    assert f"judged on the {judged:,} others" in result.notes[0]
    mine = prepared.evaluation.users(held_out)
    now = result.summary.set_index(["estimator", "metric"])["value"]["on_policy", "interests_per_user"]
    assert now == pytest.approx(mine.reward.sum() / judged)


def test_policies_are_tried_out_on_a_few_of_the_decision_points_that_they_learn_from() -> None:
    prepared, _ = a_log()
    assert len(prepared.whole) > 10_000
    assert len(prepared.trial) == 1_000
    assert (prepared.trial.time == prepared.whole.time[:1_000]).all()


def test_a_holdout_without_contacts_is_refused_in_one_sentence() -> None:
    triggers, actions = frames(WORLDS["visits"], 300, 0)
    with pytest.raises(InputError, match="no held-out user was contacted"):
        engagex_sim.evaluate(triggers, actions, [REGISTRY["uniform"]()], grid="light", holdout=1e-6)


def test_refits_give_one_more_interval_whose_width_is_of_the_same_order() -> None:
    prepared, quality = a_log(1500)
    settings = LIGHT.model_copy(update={"refit_boot": 12})
    policies = [REGISTRY["random_matched"](), REGISTRY["never"]()]
    table = evaluate_prepared(prepared, quality, policies, settings).intervals
    own = table[table["policy"] == "random_matched"].set_index("method")
    width = own["value_high"] - own["value_low"]
    assert 0.4 < width["refit"] / width["bootstrap"] < 2.5
    assert 0.5 < width["influence"] / width["bootstrap"] < 1.5
    assert width["bernstein"] > width["influence"]


def test_a_policy_may_read_how_long_ago_and_how_often_it_contacted() -> None:
    """Equal to the recursion without states where what it reads changes nothing; smaller volume where it does."""
    prepared, quality = a_log()
    plain = ByHistory("plain", lambda c: np.full(len(c), 0.3))
    reading = ByHistory(
        "reading", lambda c: np.where(c["days_since_contact"] >= 0, 0.3, 0.3) + 0 * c["contacts_so_far"]
    )
    resting = ByHistory("resting", lambda c: np.where(c["days_since_contact"] >= 21, 0.3, 0.0))
    result = evaluate_prepared(prepared, quality, [plain, reading, resting], LIGHT)
    for metric in ("interests_per_user", "contacts_per_user", "interested_users"):
        same = headline(result, "plain", metric)["value"]
        assert headline(result, "reading", metric)["value"] == pytest.approx(same, rel=1e-9)
    contacts = [headline(result, name, "contacts_per_user")["value"] for name in ("resting", "plain")]
    assert 0.5 * contacts[1] < contacts[0] < contacts[1]


def test_a_policy_that_reads_results_gets_cumulative_weights_and_a_roll_out_but_no_headline() -> None:
    prepared, quality = a_log()
    fond = ByHistory("fond", lambda c: np.where(c["interests_so_far"] > 0, 0.5, 0.2))
    result = evaluate_prepared(prepared, quality, [fond, REGISTRY["uniform"]()], LIGHT)
    head = headline(result, "fond")
    assert np.isnan(head["value"]) and head["verdict"] == UNANSWERABLE
    assert "reads the results of its own contacts" in head["reason"]
    own = result.summary[(result.summary["policy"] == "fond") & (result.summary["metric"] == "interests_per_user")]
    own = own.set_index("estimator")
    assert own["value"]["dr_traj"] > 0 and own["ci_low"]["dr_traj"] < own["ci_high"]["dr_traj"]
    assert own["value"]["dm_rollout"] > 0 and "model-based" in own["reason"]["dm_rollout"]
    assert np.isfinite(headline(result, "uniform")["value"])

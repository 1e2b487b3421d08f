"""Propensity model: a policy that recovers the logging policy, its sampling undone exactly."""

import numpy as np
import pytest

from engagex_sim.columns import Column
from engagex_sim.features import History, history_features
from engagex_sim.models.calibrate import sigmoid
from engagex_sim.models.propensity import PropensityModel
from engagex_sim.policy import Context, checked_probabilities


def make_context(n, seed, kinds=("contact",), choice=True):
    """Hours, a text and a date; the mask is open everywhere."""
    rng = np.random.default_rng(seed)
    columns = {
        "hour": Column(rng.integers(0, 24, n)),
        "day": Column(rng.integers(0, 30, n)),
        "site": Column(rng.integers(-1, 3, n).astype(np.int32), np.array(["a", "b", "c"], dtype=object)),
    }
    mask = np.ones((n, len(kinds) + 1), dtype=np.bool_)
    mask[:, 0] = choice
    return Context(mask, kinds, columns, history_features(np.zeros(n, dtype=np.int64), History.none(n)))


def hazard(context, level=-4.0):
    hour, site = context.column("hour").values, context.column("site").values
    return sigmoid(level + np.cos((hour - 19) / 24 * 2 * np.pi) + 0.7 * (site == 1))


def draw(probability, seed):
    return (np.random.default_rng(seed).random(len(probability)) < probability).astype(np.int64)


def test_a_rare_hazard_is_recovered_after_sampling():
    """Contacts are 2 %, one row in four is used: the mean and every hour's mean are those of the truth."""
    context = make_context(200_000, 1)
    truth = hazard(context)
    model = PropensityModel.fit(context, draw(truth, 2), seed=0)
    predicted = checked_probabilities(model, context)[:, 1]
    assert predicted.mean() == pytest.approx(truth.mean(), rel=0.03)
    by_hour = [predicted[context["hour"] == h].mean() / truth[context["hour"] == h].mean() for h in range(24)]
    np.testing.assert_allclose(by_hour, 1.0, atol=0.2)


def test_the_odds_are_multiplied_by_the_sampled_share_exactly(monkeypatch):
    """Where no feature says anything, a sample of the rows gives the same answer as all of them."""
    n = 60_000
    context = Context(np.ones((n, 2), dtype=np.bool_), ("contact",), {"flat": Column(np.zeros(n))}, {})
    action = (np.arange(n) % 50 == 0).astype(np.int64)
    sampled = PropensityModel.fit(context, action, seed=0)
    monkeypatch.setattr("engagex_sim.models.propensity.MIN_NON_CONTACTS", n)
    whole = PropensityModel.fit(context, action, seed=0)
    for model in (sampled, whole):
        np.testing.assert_allclose(model.action_probabilities(context)[:, 1], 0.02, rtol=1e-3)


def test_sampling_makes_no_difference_on_average(monkeypatch):
    """Five samples and all rows agree on each site's hazard."""
    context = make_context(60_000, 3)
    action = draw(hazard(context, -4.5), 4)
    sampled = [
        PropensityModel.fit(context, action, seed=seed, light=True).action_probabilities(context)[:, 1]
        for seed in range(5)
    ]
    monkeypatch.setattr("engagex_sim.models.propensity.MIN_NON_CONTACTS", 60_000)
    whole = PropensityModel.fit(context, action, seed=0, light=True).action_probabilities(context)[:, 1]
    for site in (-1, 0, 1, 2):
        rows = context.column("site").values == site
        assert np.mean(sampled, axis=0)[rows].mean() == pytest.approx(whole[rows].mean(), rel=0.04)


def test_several_kinds_and_a_mask():
    """Kinds depend on the site; masked kinds get nothing, and what is left is shared out."""
    context = make_context(40_000, 5, kinds=("mail", "push", "sms"))
    contact = draw(hazard(context, -2.0), 6)
    site = context.column("site").values
    kind = np.where(np.random.default_rng(7).random(len(site)) < np.where(site == 1, 0.8, 0.3), 1, 2)
    model = PropensityModel.fit(context, contact * kind, seed=0)
    probabilities = checked_probabilities(model, context)
    share = probabilities[:, 1] / (probabilities[:, 1] + probabilities[:, 2])
    assert share[site == 1].mean() == pytest.approx(0.8, abs=0.03)
    assert share[site == 0].mean() == pytest.approx(0.3, abs=0.03)
    assert (probabilities[:, 3] > 0).all()  # never seen, but not impossible
    assert probabilities[:, 3].max() < 1e-3

    closed = make_context(4, 5, kinds=("mail", "push", "sms"))
    closed.mask[:] = [[1, 0, 0, 0], [1, 1, 0, 0], [0, 1, 1, 1], [0, 0, 1, 0]]
    answer = checked_probabilities(model, closed)
    assert answer[0].tolist() == [1, 0, 0, 0]
    assert answer[3].tolist() == [0, 0, 1, 0]


def test_where_only_the_kind_is_chosen_there_is_no_action_zero():
    """Contacts only, 46 kinds, 4,000 rows: each kind's mean is its share."""
    kinds = tuple(str(k) for k in range(46))
    context = make_context(4_000, 8, kinds=kinds, choice=False)
    action = np.random.default_rng(9).integers(1, 40, 4_000)
    model = PropensityModel.fit(context, action, seed=0)
    probabilities = checked_probabilities(model, context)
    assert (probabilities[:, 0] == 0).all()
    assert (probabilities[:, 1:] > 0).all()
    np.testing.assert_allclose(
        probabilities[:, 1:].mean(axis=0), np.bincount(action - 1, minlength=46) / 4_000, atol=0.002
    )


@pytest.mark.parametrize("action", [[0] * 50, [1] * 50, [0] * 49 + [1]])
def test_next_to_nothing_to_learn_from(action):
    """One class or one contact still give probabilities, never 0 or 1."""
    context = make_context(len(action), 10)
    model = PropensityModel.fit(context, np.array(action, dtype=np.int64), seed=0)
    probabilities = checked_probabilities(model, make_context(20, 11))
    assert ((probabilities > 0) & (probabilities < 1)).all()


def test_history_features_are_not_read():
    """Contact probabilities must not depend on logged history, and the context notes who reads it."""
    context = make_context(500, 12)
    model = PropensityModel.fit(context, draw(np.full(500, 0.2), 13), seed=0)
    fresh = make_context(10, 14)
    model.action_probabilities(fresh)
    assert not fresh.history_read


def test_rows_that_the_mask_closes_teach_nothing():
    """Blocked rows would pull the hazard down."""
    context = make_context(20_000, 15)
    action = draw(np.full(20_000, 0.1), 16)
    context.mask[10_000:, 1] = False
    action[10_000:] = 0
    model = PropensityModel.fit(context, action, seed=0)
    assert model.action_probabilities(make_context(2_000, 17))[:, 1].mean() == pytest.approx(0.1, rel=0.1)


def test_same_seed_same_answer_whatever_the_threads():
    """Two fits agree to the last bit, and the sample depends on the seed."""
    context = make_context(30_000, 18)
    action = draw(hazard(context, -4.5), 19)
    answers = [
        PropensityModel.fit(context, action, seed=seed, threads=threads).action_probabilities(context)
        for seed, threads in ((0, 1), (0, 1), (0, 2), (1, 1))
    ]
    np.testing.assert_array_equal(answers[0], answers[1])
    np.testing.assert_array_equal(answers[0], answers[2])
    assert not np.array_equal(answers[0], answers[3])

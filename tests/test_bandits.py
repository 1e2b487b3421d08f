"""Linear bandits and the recovering difference softmax, against what can be worked out or sampled independently."""

from dataclasses import replace

import numpy as np
import pytest
from blocks import decisions
from scipy.special import ndtr
from sklearn.linear_model import Ridge
from test_policies import fewer_contacts

from engagex_sim.cap import DAY, Cap
from engagex_sim.columns import Column
from engagex_sim.features import History
from engagex_sim.testing import ExampleLog
from engagex_sim.timeline import Timeline
from engagex_sim.training import Training
from policies.lin_thompson import LinThompson
from policies.lin_ucb import LinUcb
from policies.linear import LinearFeatures, LinearModels
from policies.recovering import PRIOR_CONTACTS, RecoveringSoftmax, relative_differences


def log_with_gaps():
    """Three kinds, and two further columns with missing values."""
    amounts, cities = [1.0, 5.0, None, 100.0], ["Bern", "Graz", None]
    return ExampleLog(n_kinds=3, features={"amount": amounts, "city": cities})


# --- linear models


def test_features_are_standardised_and_whole():
    context = log_with_gaps().timeline.free_context()
    x = LinearFeatures.fit(context).transform(context)
    assert np.isfinite(x).all()
    assert (x[:, -1] == 1).all()
    is_number = np.abs(x[:, :-1].mean(axis=0)) < 1e-9
    assert np.allclose(x[:, :-1][:, is_number].std(axis=0).round(9) % 1, 0)  # 1, or 0 where a number never varies
    one_hot = x[:, :-1][:, ~is_number]
    assert set(np.unique(one_hot)) == {0.0, 1.0}
    texts = [name for name in context.exogenous if context.column(name).is_text]
    assert (one_hot.sum(axis=1) == len(texts)).all()  # a missing text is a category


def test_features_of_a_row_do_not_depend_on_the_others():
    context = log_with_gaps().timeline.free_context()
    features = LinearFeatures.fit(context)
    assert np.array_equal(features.transform(context)[7:9], features.transform(context, np.array([7, 8])))


def test_each_kind_has_the_ridge_regression_of_its_own_contacts():
    training = log_with_gaps().training()
    models = LinearModels.fit(training)
    contacts = training.timeline.contacts()
    context = training.timeline.free_context()
    mean, deviation = models.predict(context)
    everything = models.features.transform(context)
    for k in range(3):
        own = contacts.action == k + 1
        x = models.features.transform(contacts.free_context(), np.flatnonzero(own))
        peer = Ridge(alpha=1.0, fit_intercept=False).fit(x, contacts.reward[own])
        assert np.allclose(mean[:, k], peer.predict(everything))
        covariance = np.linalg.inv(np.eye(x.shape[1]) + x.T @ x)
        width = np.sqrt(np.einsum("nd,de,ne->n", everything, covariance, everything))
        assert np.allclose(deviation[:, k], models.noise * width)
    rate = contacts.reward.mean()
    assert models.noise == pytest.approx(np.sqrt(rate * (1 - rate)), rel=0.02)


def test_a_linear_effect_is_found():
    """Interest is certain for the one city and out of the question in the other."""
    rng = np.random.default_rng(0)
    city = rng.integers(0, 2, 400)
    block = decisions(
        [[t] for t in rng.uniform(0, 30, 400)],
        np.ones((400, 1), dtype=int).tolist(),
        city[:, None].tolist(),
        columns={"city": Column(city.astype(np.int32), np.array(["Bern", "Graz"], dtype=object))},
    )
    timeline = Timeline.of(block, Cap(14)).evaluation()
    given = Training(timeline, None, None, Cap(14), 5.0, 1.0, timeline.log_end, rng)
    mean, _ = LinearModels.fit(given).predict(timeline.free_context())
    assert mean[:, 0] == pytest.approx(city, abs=0.03)


# --- LinUCB


def test_lin_ucb_contacts_where_the_upper_bound_is_high():
    training = fewer_contacts(ExampleLog(n_kinds=3).training())
    context = training.timeline.free_context()
    policy = LinUcb(width=2.0, epsilon=0.0).fit(training)
    mean, deviation = policy.models_.predict(context)
    bound = mean + 2.0 * deviation
    probabilities = policy.action_probabilities(context)
    sure = probabilities[:, 0] == 0
    assert 0 < sure.sum() < len(sure)
    assert bound[sure].max(axis=1).min() >= bound[~sure].max(axis=1).max() - 1e-9
    assert np.array_equal(probabilities[sure, 1:].argmax(axis=1), bound[sure].argmax(axis=1))


# --- Thompson sampling


def test_thompson_probabilities_are_how_often_a_drawn_score_is_highest_above_the_threshold():
    training = fewer_contacts(log_with_gaps().training())
    policy = LinThompson(scale=1.5).fit(training)
    rows = np.arange(0, len(training.timeline), 40)
    context = training.timeline.context(rows, free=np.ones(len(rows), dtype=bool))
    probabilities = policy.action_probabilities(context)
    models, rng, draws = policy.models_, np.random.default_rng(1), 40_000
    x = models.features.transform(context)
    weights = [
        theta + 1.5 * models.noise * rng.standard_normal((draws, len(theta))) @ root  # its covariance is A⁻¹ v²
        for theta, root in zip(models.weights, models.roots, strict=True)
    ]
    scores = np.stack([x @ w.T for w in weights], axis=2)  # (rows, draws, kinds)
    action = np.where(scores.max(axis=2) > policy.threshold_, scores.argmax(axis=2) + 1, 0)
    drawn = np.stack([(action == a).mean(axis=1) for a in range(4)], axis=1)
    assert np.abs(drawn - probabilities).max() < 5 * 0.5 / np.sqrt(draws)


def test_of_one_kind_thompson_sampling_contacts_with_the_normal_tail():
    training = fewer_contacts(ExampleLog().training())
    context = training.timeline.free_context()
    policy = LinThompson().fit(training)
    mean, deviation = policy.models_.predict(context)
    tail = ndtr((mean[:, 0] - policy.threshold_) / deviation[:, 0])
    assert np.allclose(policy.action_probabilities(context)[:, 1], tail)


def test_thompson_sampling_never_takes_a_masked_kind_and_shares_it_out():
    training = fewer_contacts(ExampleLog(n_kinds=3).training())
    policy = LinThompson().fit(training)
    context = training.timeline.free_context()
    everything = policy.action_probabilities(context)
    context.mask[:, 2] = False
    without = policy.action_probabilities(context)
    assert (without[:, 2] == 0).all()
    assert (without[:, [1, 3]] >= everything[:, [1, 3]] - 1e-9).all()
    assert (without[:, 0] >= everything[:, 0]).all()


# --- recovering difference softmax


class HalfAndHalf:
    """A current strategy whose propensities of two kinds, given a contact, the column `first` states."""

    def action_probabilities(self, context):
        first = context["first"]
        return np.column_stack([np.full(len(context), 0.9), 0.1 * first, 0.1 * (1 - first)])


def two_kinds(actions, rewards, first):
    """One contact per user, at day 0."""
    block = decisions(
        [[0.0]] * len(actions),
        [[a] for a in actions],
        [[r] for r in rewards],
        kinds=("1", "2"),
        columns={"first": Column(np.array(first))},
    )
    timeline = Timeline.of(block, Cap(14)).evaluation()
    rng = np.random.default_rng(0)
    return Training(timeline, None, HalfAndHalf(), Cap(14), 5.0, 1.0, timeline.log_end, rng)


def test_relative_differences_by_hand():
    """Kind 1 was chosen with probability 1/2 once and 1/4 once: weights 2 and 4, of which the 4 was interested.

    Kind 2 with 1/2, 3/4: weights 2 and 4/3, nobody interested. The common rate is 1/4.
    """
    given = two_kinds([1, 1, 2, 2], [0, 1, 0, 0], [0.5, 0.25, 0.5, 0.25])
    first = mixed(4 / 6, 6**2 / 20, 1 / 4)
    second = mixed(0.0, (10 / 3) ** 2 / (4 + 16 / 9), 1 / 4)
    assert relative_differences(given) == pytest.approx([first / second - 1, second / first - 1])


def mixed(mean, effective, rate):
    return (mean * effective + rate * PRIOR_CONTACTS) / (effective + PRIOR_CONTACTS)


def test_who_is_chosen_for_a_kind_does_not_make_it_look_better():
    """Both kinds interest 40 % of one group and 10 % of the other, but kind 1 is mostly chosen for the first."""
    rng, n = np.random.default_rng(0), 40_000
    keen = rng.random(n) < 0.5
    first = np.where(keen, 0.8, 0.2)
    action = np.where(rng.random(n) < first, 1, 2)
    reward = rng.random(n) < np.where(keen, 0.4, 0.1)
    plain = reward[action == 1].mean() / reward[action == 2].mean() - 1
    scores = relative_differences(two_kinds(action.tolist(), reward.astype(int).tolist(), first))
    assert plain > 0.5
    assert np.abs(scores).max() < 0.08


def test_of_one_kind_nothing_can_be_compared():
    assert relative_differences(ExampleLog().training()) == pytest.approx([0.0])


def test_without_any_interest_no_kind_is_better():
    given = two_kinds([1, 2], [0, 0], [0.5, 0.5])
    assert relative_differences(given).tolist() == [0.0, 0.0]


def test_the_log_odds_of_a_contact_recover_by_half_in_each_half_life():
    training = fewer_contacts(ExampleLog(n_kinds=3).training())
    policy = RecoveringSoftmax(gamma=0.02, half_life=10.0, temperature=0.01).fit(training)
    days = np.array([10.0, 20.0, 30.0, np.inf])
    t = training.timeline
    last = np.where(np.isinf(days), -(2**60), t.time[:4] - np.where(np.isinf(days), 0, days) * DAY).astype(np.int64)
    nothing = np.zeros(4, dtype=np.int64)
    context = t.context(np.arange(4), history=History(last, nothing, nothing), free=np.ones(4, dtype=bool))
    probabilities = policy.action_probabilities(context)
    odds = np.log((1 - probabilities[:, 0]) / probabilities[:, 0])
    assert odds[3] - odds[:3] == pytest.approx(2 * np.array([1 / 2, 1 / 4, 1 / 8]))
    shares = probabilities[:, 1:] / probabilities[:, 1:].sum(axis=1, keepdims=True)
    assert np.allclose(np.log(shares[:, 0] / shares[:, 1]), (policy.scores_[0] - policy.scores_[1]) / 0.01)


def test_rested_users_wait_for_their_turn_at_the_same_volume():
    """Against chance at the same volume, contacts move from those just contacted to those never contacted."""
    log = fewer_contacts(ExampleLog().training())
    training = replace(log, timeline=replace(log.timeline, reward=np.zeros(len(log.timeline))))
    policy = RecoveringSoftmax(gamma=5.0, temperature=1.0).fit(training)
    context = training.timeline.context()
    contact = policy.action_probabilities(context)[:, 1]
    never = np.isinf(context["days_since_contact"])
    assert contact[never].min() > contact[context.mask[:, 1] & ~never].max() > 0

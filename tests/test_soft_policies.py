"""Policies at the current strategy's volume that leave something to chance, and the most popular kind."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit
from test_policies import constant_model, fewer_contacts

from engagex_sim.kinds import soft_choice
from engagex_sim.occupancy import contact_probabilities
from engagex_sim.policy_states import policy_by_state
from engagex_sim.states import NO_STATE
from engagex_sim.testing import ExampleLog
from engagex_sim.volume import matching_offset
from policies.lin_thompson import LinThompson
from policies.lin_ucb import LinUcb
from policies.popular import PRIOR_INTERESTS, MostPopularKind
from policies.random_matched import RandomMatched
from policies.recovering import RecoveringSoftmax
from policies.xgb import XgbGreedy
from policies.xgb_epsilon import XgbEpsilon
from policies.xgb_softmax import XgbSoftmax

AT_VOLUME = [MostPopularKind, XgbSoftmax, XgbEpsilon, LinUcb, LinThompson, RecoveringSoftmax]


def contacts_per_user(policy, timeline):
    """Through the recursion, also for a policy that reads its own past."""
    _, by_state = policy_by_state(policy, timeline, NO_STATE)
    return contact_probabilities(timeline, by_state.when_free, by_state.states).sum() / timeline.n_users


# --- volume


@pytest.mark.parametrize("policy", AT_VOLUME)
@pytest.mark.parametrize("n_kinds", [1, 3])
@pytest.mark.parametrize("seed", range(2))
def test_as_many_contacts_as_the_current_strategy_makes(policy, n_kinds, seed):
    training = fewer_contacts(ExampleLog(n_kinds=n_kinds, seed=seed).training())
    made = contacts_per_user(policy().fit(training), training.timeline)
    assert made == pytest.approx(training.current_contacts_per_user, rel=1e-6)


@pytest.mark.parametrize("policy", [XgbSoftmax, XgbEpsilon])
def test_the_volume_is_met_even_where_all_predictions_are_equal(policy):
    training = constant_model(fewer_contacts(ExampleLog(n_kinds=3).training()))
    probabilities = policy().fit(training).action_probabilities(training.timeline.free_context())
    chance = RandomMatched().fit(training).contact_probability_
    assert np.allclose(probabilities[:, 1:], chance / 3, rtol=1e-5)  # nothing is known, so all is left to chance


@pytest.mark.parametrize("policy", AT_VOLUME)
def test_where_the_volume_is_out_of_reach_every_chance_is_taken(policy):
    training = ExampleLog(n_kinds=3).training()  # this log breaks the cap: no target policy can make as many contacts
    probabilities = policy().fit(training).action_probabilities(training.timeline.free_context())
    assert np.allclose(probabilities[:, 0], 0)


@pytest.mark.parametrize("policy", AT_VOLUME)
def test_without_any_contact_to_match_nobody_is_contacted(policy):
    training = fewer_contacts(ExampleLog(n_kinds=3).training(), keep=0.0)
    probabilities = policy().fit(training).action_probabilities(training.timeline.free_context())
    assert (probabilities[:, 0] == 1).all()


def test_an_offset_by_hand():
    """Log odds 0 and log 3 give 1/2 + 3/4 contacts; log 2 more give 2/3 + 6/7."""
    odds = np.log([1.0, 3.0])
    offset = matching_offset(lambda offset: (1 / (1 + np.exp(-odds - offset))).sum(), odds, 2 / 3 + 6 / 7)
    assert offset == pytest.approx(np.log(2))


@pytest.mark.parametrize("shift", [-500.0, 0.0, 500.0])
def test_an_offset_is_found_however_far_the_scores_lie_from_zero(shift):
    odds = np.log([1.0, 3.0]) + shift
    offset = matching_offset(lambda offset: expit(odds + offset).sum(), odds, 2 / 3 + 6 / 7)
    assert offset == pytest.approx(np.log(2) - shift)


# --- softmax


def test_log_odds_and_shares_of_a_softmax_by_hand():
    """Scores log 1, log 2 and log 5: together 8; without the third 3; nothing where nothing is allowed."""
    scores = np.log(np.tile([1.0, 2.0, 5.0], (3, 1)))
    mask = np.array([[1, 1, 1, 1], [1, 1, 1, 0], [1, 0, 0, 0]], dtype=bool)
    odds, shares = soft_choice(scores, mask)
    assert odds == pytest.approx([np.log(8), np.log(3), 0])
    assert np.allclose(shares[0] / shares[0].sum(), [1 / 8, 2 / 8, 5 / 8])
    assert np.allclose(shares[1] / shares[1].sum(), [1 / 3, 2 / 3, 0]) and (shares[2] == 0).all()


def test_the_log_of_two_kinds_odds_is_the_difference_of_their_predictions_over_the_temperature():
    training = fewer_contacts(ExampleLog(n_kinds=3).training())
    context = training.timeline.free_context()
    policy = XgbSoftmax(temperature=0.7).fit(training)
    probabilities = policy.action_probabilities(context)
    predicted = training.reward_model.predict(context)
    assert policy.temperature_ == pytest.approx(0.7 * predicted.std())
    ratio = np.log(probabilities[:, 1:] / probabilities[:, :1])
    assert np.allclose(ratio, predicted / policy.temperature_ + policy.offset_)


# --- a share of chance


def test_without_chance_epsilon_greedy_is_greedy():
    training = fewer_contacts(ExampleLog(n_kinds=3).training())
    context = training.timeline.free_context()
    greedy = XgbGreedy().fit(training).action_probabilities(context)
    assert np.allclose(XgbEpsilon(epsilon=0.0).fit(training).action_probabilities(context), greedy)


def test_with_chance_alone_epsilon_greedy_is_random_with_equally_likely_kinds():
    training = fewer_contacts(ExampleLog(n_kinds=3).training())
    context = training.timeline.free_context()
    chance = RandomMatched().fit(training).contact_probability_
    assert np.allclose(XgbEpsilon(epsilon=1.0).fit(training).action_probabilities(context)[:, 1:], chance / 3)


@pytest.mark.parametrize("policy", [XgbEpsilon, LinUcb])
def test_every_kind_keeps_its_share_of_chance(policy):
    training = fewer_contacts(ExampleLog(n_kinds=3).training())
    chance = RandomMatched().fit(training).contact_probability_
    probabilities = policy(epsilon=0.2).fit(training).action_probabilities(training.timeline.free_context())
    assert probabilities[:, 1:].min() == pytest.approx(0.2 * chance / 3)
    assert probabilities.max() <= 1 - 0.2 * chance * 2 / 3 + 1e-12


# --- the most popular kind


def test_the_kind_that_interested_most_is_chosen_and_a_lucky_one_is_not():
    """Kind 1: 10 contacts, 4 interests. Kind 2: 10 and 2. Kind 3: 2 and 1, which shrinks below kind 1's rate."""
    timeline = ExampleLog(n_kinds=3).timeline
    n = len(timeline)
    training = replace(
        ExampleLog(n_kinds=3).training(),
        timeline=replace(timeline, action=np.zeros(n, dtype=np.int64), reward=np.zeros(n)),
    )
    made = [(10, 4), (10, 2), (2, 1)]
    action = np.repeat([1, 2, 3], [contacts for contacts, _ in made])
    reward = np.concatenate([np.arange(contacts) < interests for contacts, interests in made]).astype(float)
    training.timeline.action[: len(action)] = action
    training.timeline.reward[: len(reward)] = reward
    policy = MostPopularKind().fit(training)
    mean = 7.5 / 23
    by_hand = [(i + PRIOR_INTERESTS) / (c + PRIOR_INTERESTS / mean) for c, i in made]
    assert policy.rates_ == pytest.approx(by_hand) and by_hand[0] > by_hand[2]
    context = training.timeline.context()
    probabilities = policy.action_probabilities(context)
    assert (probabilities[context.mask[:, 1], 1] > 0).all() and (probabilities[:, 2:] == 0).all()


def test_where_the_most_popular_kind_is_masked_the_best_of_the_others_is_taken():
    policy = MostPopularKind()
    policy.rates_, policy.contact_probability_ = np.array([0.1, 0.3, 0.2]), 0.5
    context = ExampleLog(n_kinds=3).timeline.free_context()
    context.mask[:, 2] = False
    assert np.allclose(policy.action_probabilities(context), [0.5, 0, 0, 0.5])

"""Every built-in policy keeps the contract and does what its name says; the contract catches policies that break it."""

from dataclasses import replace
from itertools import count

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import engagex_sim
from engagex_sim.errors import InputError
from engagex_sim.kinds import spread
from engagex_sim.models.calibrate import constant
from engagex_sim.policy import policy_name
from engagex_sim.testing import ExampleLog, check_policy
from engagex_sim.volume import matching_threshold
from engagex_sim.worlds import WORLDS, frames
from policies import REGISTRY
from policies.fixed import FirstChance, Never, Uniform
from policies.random_matched import RandomMatched
from policies.xgb import XgbGreedy, XgbProfit


@pytest.mark.parametrize("name", REGISTRY)
def test_every_policy_keeps_the_contract(name):
    check_policy(REGISTRY[name], contact_may_be_forced=name != "never")


@pytest.mark.parametrize("name", REGISTRY)
def test_a_policy_is_registered_under_its_own_name(name):
    assert policy_name(REGISTRY[name]()) == name


# --- the yardsticks


def test_never_contacts_nobody_and_refuses_where_contacting_is_no_choice():
    context = ExampleLog().timeline.context()
    assert (Never().action_probabilities(context)[:, 0] == 1).all()
    with pytest.raises(InputError, match="not a choice"):
        Never().action_probabilities(ExampleLog(is_a_choice=False).timeline.context())


def test_first_chance_contacts_wherever_allowed_with_kinds_equally_likely():
    context = ExampleLog(n_kinds=3).timeline.context()
    probabilities = FirstChance().action_probabilities(context)
    assert np.array_equal(probabilities[:, 0] == 0, context.mask[:, 1])
    assert np.allclose(probabilities[context.mask[:, 1], 1:], 1 / 3)


def test_uniform_shares_out_over_allowed_actions_no_contact_included():
    free = ExampleLog(n_kinds=3).timeline.free_context()
    assert np.allclose(Uniform().action_probabilities(free), 1 / 4)
    forced = ExampleLog(n_kinds=3, is_a_choice=False).timeline.context()
    assert np.allclose(Uniform().action_probabilities(forced), [0, 1 / 3, 1 / 3, 1 / 3])


# --- volume


@pytest.mark.parametrize("policy", [RandomMatched, XgbGreedy])
@pytest.mark.parametrize("n_kinds", [1, 3])
@pytest.mark.parametrize("seed", range(3))
def test_the_matched_policies_make_as_many_contacts_as_the_current_strategy(policy, n_kinds, seed):
    training = fewer_contacts(ExampleLog(n_kinds=n_kinds, seed=seed).training())
    expected = training.contacts_per_user(policy().fit(training))
    assert expected == pytest.approx(training.current_contacts_per_user, rel=1e-6)


def test_the_volume_is_met_even_where_all_predictions_are_equal():
    training = constant_model(fewer_contacts(ExampleLog(n_kinds=3).training()))
    greedy = XgbGreedy().fit(training)
    assert training.contacts_per_user(greedy) == pytest.approx(training.current_contacts_per_user, rel=1e-6)
    probabilities = greedy.action_probabilities(training.timeline.free_context())
    assert 0 < greedy.tie_probability_ < 1
    assert np.allclose(probabilities[:, 1:], greedy.tie_probability_ / 3)  # equal predictions, equally likely kinds


@pytest.mark.parametrize("policy", [RandomMatched, XgbGreedy])
def test_where_the_volume_is_out_of_reach_every_chance_is_taken(policy):
    training = ExampleLog().training()  # this log breaks the cap: no target policy can make as many contacts
    probabilities = policy().fit(training).action_probabilities(training.timeline.free_context())
    assert training.contacts_of(1 - probabilities[:, 0]) < training.current_contacts_per_user
    assert (probabilities[:, 0] == 0).all()


@pytest.mark.parametrize("policy", [RandomMatched, XgbGreedy])
def test_without_any_contact_to_match_nobody_is_contacted(policy):
    training = fewer_contacts(ExampleLog().training(), keep=0.0)
    probabilities = policy().fit(training).action_probabilities(training.timeline.free_context())
    assert (probabilities[:, 0] == 1).all()


def test_random_matched_contacts_with_the_logs_kinds_in_the_logs_proportions():
    training = ExampleLog(n_kinds=3).training()
    made = np.bincount(training.timeline.action, minlength=4)[1:]
    probabilities = RandomMatched().fit(training).action_probabilities(training.timeline.free_context())
    assert np.allclose(probabilities[:, 1:].sum(axis=0) / probabilities[:, 1:].sum(), made / made.sum())


def test_the_marginal_score_by_hand():
    """Four decisions without a cap, two contacts wanted: 0.9 for sure, the two at 0.2 half the time, 0.1 never."""
    threshold, tie = matching_threshold(np.array([0.1, 0.2, 0.9, 0.2]), lambda contact: contact.sum(), 2.0)
    assert threshold == 0.2
    assert tie == pytest.approx(0.5)


# --- predictions


def test_xgb_greedy_prefers_higher_predictions_and_the_best_kind():
    training = fewer_contacts(ExampleLog(n_kinds=3).training())
    context = training.timeline.free_context()
    predicted = training.reward_model.predict(context)
    probabilities = XgbGreedy().fit(training).action_probabilities(context)
    contacted = probabilities[:, 0] < 1
    assert contacted.any() and not contacted.all()
    assert predicted.max(axis=1)[contacted].min() >= predicted.max(axis=1)[~contacted].max()
    assert (predicted.argmax(axis=1) == probabilities[:, 1:].argmax(axis=1))[contacted].mean() > 0.9  # but for ties


@pytest.mark.parametrize("cost", [0.0, 1.0, 100.0])
def test_xgb_profit_contacts_where_the_prediction_pays_for_the_contact(cost):
    training = replace(ExampleLog(n_kinds=3).training(), cost=cost)
    context = training.timeline.free_context()
    probabilities = XgbProfit().fit(training).action_probabilities(context)
    pays = 5.0 * training.reward_model.predict(context).max(axis=1) > cost
    assert np.array_equal(probabilities[:, 0] == 0, pays)


@given(
    contact=arrays(float, 6, elements=st.floats(0, 1)),
    shares=arrays(float, (6, 3), elements=st.floats(0, 10)),
    kinds=arrays(bool, (6, 3)),
)
def test_spreading_a_contact_over_kinds_keeps_its_probability(contact, shares, kinds):
    mask = np.column_stack([np.ones(6, dtype=bool), kinds])
    probabilities = spread(contact, shares, mask)
    assert np.allclose(probabilities.sum(axis=1), 1)
    assert (probabilities[~mask] == 0).all() and (probabilities >= 0).all()
    assert np.allclose(probabilities[:, 1:].sum(axis=1), np.where(kinds.any(axis=1), contact, 0))


# --- the contract


def contacts_with(contact, context):
    """A correct answer for one kind or several: contact with probability `contact` where that is allowed."""
    return spread(np.broadcast_to(contact, len(context)).astype(float), np.ones(len(context.kinds)), context.mask)


class OneColumnTooFew:
    def action_probabilities(self, context):
        return contacts_with(0.5, context)[:, 1:]


class IgnoresTheMask:
    def action_probabilities(self, context):
        return np.full(context.mask.shape, 1 / context.mask.shape[1])


class DrawsItsAnswer:
    rng = np.random.default_rng(0)

    def action_probabilities(self, context):
        return contacts_with(self.rng.random(len(context)), context)


class RanksWithinTheBatch:
    def action_probabilities(self, context):
        return contacts_with(context["hour"] > np.median(context["hour"]), context)


class DependsOnTheRowNumber:
    def action_probabilities(self, context):
        return contacts_with(np.arange(len(context)) % 2, context)


class ChangesTheContext:
    def action_probabilities(self, context):
        context["hour"][:] = 0
        return contacts_with(0.5, context)


class ForgetsToReturnSelf:
    def fit(self, training):
        self.cap_ = training.cap

    def action_probabilities(self, context):
        return contacts_with(0.5, context)


class LearnsSomethingElseEachTime:
    times = count()

    def fit(self, training):
        self.cap_ = training.cap
        self.contact_ = 1 / (2 + next(self.times))
        return self

    def action_probabilities(self, context):
        return contacts_with(self.contact_, context)


class HasNoAnswer:
    pass


class CannotBeCopied:
    def __deepcopy__(self, memo):
        raise TypeError("it holds a file")

    def action_probabilities(self, context):
        return contacts_with(0.5, context)


class NeedsAnArgument:
    def __init__(self, threshold):
        self.threshold = threshold

    def action_probabilities(self, context):
        return contacts_with(self.threshold, context)


class CannotBeMade:
    def __init__(self):
        raise OSError("no licence")

    def action_probabilities(self, context):
        return contacts_with(0.5, context)


class FailsInItsAnswer:
    def action_probabilities(self, context):
        return contacts_with({}["level"], context)


class FailsInFit:
    def fit(self, training):
        return {}[training.value]

    def action_probabilities(self, context):
        return contacts_with(0.5, context)


class SumsToTwo:
    def action_probabilities(self, context):
        return 2 * contacts_with(0.5, context)


class IsNegative:
    def action_probabilities(self, context):
        kinds = contacts_with(0.5, context)[:, 1:]
        return np.column_stack([1 + kinds.sum(axis=1), -kinds])


class NeedsARow:
    def action_probabilities(self, context):
        return contacts_with(0.5 if context["hour"].max() < 24 else 0.4, context)


class RemembersItsFirstQuestion:
    """Contacts as often as it is late in the first rows that it ever sees, those that lie ahead included."""

    def action_probabilities(self, context):
        if not hasattr(self, "contact"):
            self.contact = context["hour"].mean() / 24 if len(context) else 0.5
        return contacts_with(self.contact, context)


class RemembersHowActiveUsersBecome:
    """Takes note when the users that it is first asked about stay less active later on; a log cut off tells nothing."""

    def action_probabilities(self, context):
        if not hasattr(self, "contact"):
            later = context["triggers_so_far"][context["day"] >= 18]
            self.contact = 0.5 if len(later) == 0 or later.max() >= 18 else 0.1
        return contacts_with(self.contact, context)


class RemembersOtherUsers:
    """The same with the rows that come early alone."""

    def action_probabilities(self, context):
        if not hasattr(self, "contact"):
            self.contact = context["hour"][context["day"] < 10].mean() / 24 if len(context) else 0.5
        return contacts_with(self.contact, context)


class IsMadeAtRandom:
    def __init__(self):
        self.contact = np.random.default_rng().random()

    def action_probabilities(self, context):
        return contacts_with(self.contact, context)


class ChangesItsTraining:
    def fit(self, training):
        training.timeline.columns["hour"].values[:] = 0
        return self

    def action_probabilities(self, context):
        return contacts_with(0.5, context)


class DrawsWithASeedOfItsOwn:
    def fit(self, training):
        self.contact_ = np.random.default_rng().random() / training.value
        return self

    def action_probabilities(self, context):
        return contacts_with(self.contact_, context)


@pytest.mark.parametrize(
    ("policy", "sentence"),
    [
        (OneColumnTooFew, "shape"),
        (IgnoresTheMask, "masked action"),
        (DrawsItsAnswer, "answers the same question in two ways"),
        (RanksWithinTheBatch, "depends on which rows are asked about together"),
        (DependsOnTheRowNumber, "depends on the order of the rows"),
        (ChangesTheContext, "changes the context .hour"),
        (ForgetsToReturnSelf, "must return self, not NoneType"),
        (LearnsSomethingElseEachTime, "learns something else from the same training"),
        (HasNoAnswer, "no method action_probabilities"),
        (HasNoAnswer(), "no method action_probabilities"),
        (
            NeedsAnArgument,
            "^NeedsAnArgument cannot be made without arguments .missing a required argument: 'threshold'",
        ),
        (CannotBeMade, "^CannotBeMade cannot be made: OSError: no licence"),
        (FailsInItsAnswer, "^fails_in_its_answer fails in action_probabilities: KeyError: 'level'"),
        (FailsInFit, "^fails_in_fit fails in fit: KeyError: "),
        (CannotBeCopied, "cannot be copied, .* TypeError: it holds a file"),
        (SumsToTwo, "sums to 2 instead of 1"),
        (IsNegative, "negative or not numbers"),
        (NeedsARow, "cannot be asked about no row"),
        (RemembersItsFirstQuestion, "looks ahead"),
        (RemembersHowActiveUsersBecome, "looks ahead"),
        (RemembersOtherUsers, "changes with who else is asked about"),
        (IsMadeAtRandom, "answers something else when it is made again"),
        (ChangesItsTraining, "fit of changes_its_training changes the training .hour"),
        (DrawsWithASeedOfItsOwn, "learns something else from the same training"),
    ],
)
def test_the_contract_names_what_a_policy_does_wrong(policy, sentence):
    with pytest.raises((AssertionError, InputError), match=sentence):
        check_policy(policy)


class ReadsACity:
    def action_probabilities(self, context):
        return contacts_with(context["city"] == "Graz", context)


def test_the_contract_can_be_told_about_further_features():
    check_policy(ReadsACity, features={"city": ["Bern", "Graz"]})
    with pytest.raises(InputError, match="There is no feature 'city'"):
        check_policy(ReadsACity)


def test_the_contract_takes_a_class_an_object_or_a_function():
    for policy in (RandomMatched, RandomMatched(), lambda: RandomMatched()):
        check_policy(policy)


class LearnsByChance:
    def __init__(self, name):
        self.name = name

    def fit(self, training):
        self.contact_ = training.rng.random()
        return self

    def action_probabilities(self, context):
        return contacts_with(self.contact_, context)


def test_what_a_policy_learns_does_not_depend_on_the_policies_beside_it():
    triggers, actions = frames(WORLDS["visits"], n_users=800, seed=0)

    def contacts(*names):
        policies = [LearnsByChance(name) for name in names]
        table = engagex_sim.evaluate(triggers, actions, policies, folds=2, n_boot=50, grid="light").table
        rows = table.query("policy == 'second' and estimator == 'dr_cap' and metric == 'contacts_per_user'")
        return rows["value"].item()

    assert contacts("first", "second") == contacts("second")


# --- helpers


def fewer_contacts(training, keep=0.3):
    """The same training with only some of its contacts, so that the cap leaves room for their number."""
    timeline = training.timeline
    kept = np.random.default_rng(1).random(len(timeline)) < keep
    return replace(training, timeline=replace(timeline, action=np.where(kept, timeline.action, 0)))


def constant_model(training):
    """The same training with a reward model that predicts 3 % everywhere."""
    return replace(training, reward_model=replace(training.reward_model, booster=None, calibration=constant(0.03)))

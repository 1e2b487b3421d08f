"""Models of other libraries as policies: they keep the contract and answer what the model says."""

import copy
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from threading import Event
from types import SimpleNamespace

import cloudpickle
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.wrappers import FlattenObservation
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import BernoulliNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

import engagex_sim
from engagex_sim.columns import Column
from engagex_sim.env import EngageXEnv
from engagex_sim.errors import InputError
from engagex_sim.interop import ClassifierPolicy, MaskablePPOPolicy
from engagex_sim.observations import Observations
from engagex_sim.policy import Context
from engagex_sim.testing import ExampleLog, check_policy
from engagex_sim.worlds import WORLDS, frames

# --- scikit-learn


@pytest.mark.parametrize(
    "classifier",
    [
        DecisionTreeClassifier(max_depth=3),
        make_pipeline(StandardScaler(), LogisticRegression()),
        RandomForestClassifier(n_estimators=5),
        KNeighborsClassifier(),
    ],
)
def test_any_classifier_keeps_the_contract(classifier):
    """Classifiers that draw at random and have no seed of their own, and lines with missing numbers, among them."""
    check_policy(lambda: ClassifierPolicy(classifier, features=["hour", "type", "days_since_trigger", "triggers_7d"]))


def test_the_given_classifier_is_not_changed():
    tree = DecisionTreeClassifier()
    policy = ClassifierPolicy(tree).fit(ExampleLog().training())
    assert tree.get_params()["random_state"] is None and not hasattr(tree, "tree_")
    assert hasattr(policy.classifier_["classifier"], "tree_")


def test_the_prediction_is_the_share_of_interest_among_the_training_contacts():
    """A tree on one text feature predicts each type's mean: known from the contacts themselves."""
    training = ExampleLog(n_kinds=1).training()
    policy = ClassifierPolicy(DecisionTreeClassifier(), features=["type"]).fit(training)
    contacts, context = training.timeline.contacts(), training.timeline.free_context()
    predicted = policy.predict(context)[:, 0]
    for label in ("cart", "search", "view"):
        mean = contacts.reward[contacts.columns["type"].decoded() == label].mean()
        np.testing.assert_allclose(predicted[context["type"] == label], mean)


def test_kinds_are_told_apart():
    training = ExampleLog(n_kinds=3).training()
    policy = ClassifierPolicy(BernoulliNB(), features=["type"]).fit(training)
    predicted = policy.predict(training.timeline.free_context())
    assert (predicted.std(axis=1) > 0).all()
    tree = ClassifierPolicy(DecisionTreeClassifier(), features=["type"]).fit(training)
    contacts = training.timeline.contacts()
    cart = contacts.columns["type"].decoded() == "cart"
    context = training.timeline.free_context()
    for kind in (1, 2, 3):
        mean = contacts.reward[cart & (contacts.action == kind)].mean()
        np.testing.assert_allclose(tree.predict(context)[context["type"] == "cart", kind - 1], mean)


def test_it_makes_as_many_contacts_as_the_current_strategy():
    training = ExampleLog().training()
    timeline = training.timeline
    fewer = replace(timeline, action=np.where(np.arange(len(timeline)) % 3 == 0, timeline.action, 0))
    training = replace(training, timeline=fewer)
    policy = ClassifierPolicy(make_pipeline(StandardScaler(), LogisticRegression())).fit(training)
    assert training.contacts_per_user(policy) == pytest.approx(training.current_contacts_per_user, rel=1e-6)


def test_text_and_missing_numbers_that_training_never_saw_are_answered():
    training = ExampleLog(features={"city": ["Bern", "Graz"]}).training()
    policy = ClassifierPolicy(make_pipeline(StandardScaler(), LogisticRegression())).fit(training)
    other = ExampleLog(features={"city": ["Linz", None], "trigger": [1.0, float("nan")]}, seed=5).timeline
    answer = policy.action_probabilities(other.context())
    np.testing.assert_allclose(answer.sum(axis=1), 1)


def test_it_is_named_after_the_classifier_or_as_it_is_told():
    assert ClassifierPolicy(RandomForestClassifier()).name == "random_forest_classifier"
    assert ClassifierPolicy(RandomForestClassifier(), name="forest").name == "forest"


def test_what_cannot_be_is_refused():
    with pytest.raises(InputError, match=r"LinearSVC predicts no probabilities; wrap it in .*CalibratedClassifierCV"):
        ClassifierPolicy(LinearSVC())
    with pytest.raises(InputError, match="cannot read 'days_since_contact', which changes with its own contacts"):
        ClassifierPolicy(BernoulliNB(), features=["hour", "days_since_contact"])
    with pytest.raises(InputError, match="There is no feature 'colour'"):
        ClassifierPolicy(BernoulliNB(), features=["colour"]).fit(ExampleLog().training())
    training = ExampleLog().training()
    nobody = replace(training, timeline=replace(training.timeline, reward=np.zeros(len(training.timeline))))
    with pytest.raises(InputError, match=r"bernoulli_nb has nothing to learn from: .* no one brought interest"):
        ClassifierPolicy(BernoulliNB()).fit(nobody)


def test_it_is_evaluated_from_python_beside_a_policy_of_one_s_own():
    triggers, actions = frames(WORLDS["visits"], n_users=1500, seed=0)
    policy = ClassifierPolicy(make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)), name="line")
    result = engagex_sim.evaluate(triggers, actions, policies=[policy], folds=2, n_boot=100, grid="light")
    head = result.table.query("policy == 'line' and estimator == 'dr_cap' and metric == 'contacts_per_user'")
    current = result.table.query("policy == 'current' and metric == 'contacts_per_user'")
    assert head["value"].item() == pytest.approx(current["value"].item(), rel=0.1)


# --- observations, the same in the environment and in the adapter


def test_an_observed_row_is_what_the_environment_shows():
    timeline = ExampleLog(n_kinds=2).timeline
    env = EngageXEnv(timeline, lambda context: np.zeros((len(context), 2)))
    observation, info = env.reset(seed=3)
    first = timeline.user_start[np.flatnonzero(timeline.user_id == info["user"])[0]]
    history = timeline.initial.take(np.flatnonzero(timeline.user_id == info["user"]))
    rows = env.observations.observe(timeline.context(np.array([first]), history=history))
    assert observation.keys() == rows.keys()
    for name, value in observation.items():
        np.testing.assert_array_equal(rows[name][0], value)
    assert env.observation_space.contains(observation)


def test_only_the_named_features_are_observed_and_read():
    timeline = ExampleLog().timeline
    observations = Observations.of(timeline.columns, ["type", "hour", "days_since_contact"])
    context = timeline.context()
    assert set(observations.observe(context)) == {"type", "hour", "days_since_contact"}
    assert context.history_read == {"days_since_contact"}
    env = EngageXEnv(timeline, lambda context: np.zeros((len(context), 1)), features=["hour"])
    assert list(env.reset(seed=0)[0]) == ["hour"]
    with pytest.raises(InputError, match="There is no feature 'colour' to observe; there are: hour, "):
        Observations.of(timeline.columns, ["colour"])


def test_flat_observations_are_those_of_gymnasium():
    timeline = ExampleLog(features={"city": ["Bern", "Graz", None]}).timeline
    observations = Observations.of(timeline.columns)
    context = timeline.context()
    rows = observations.observe(context)
    flat = observations.flat(rows)
    for row in (0, 7, len(context) - 1):
        one = {name: values[row] for name, values in rows.items()}
        np.testing.assert_array_equal(flat[row], spaces.flatten(observations.space, one))


def test_text_without_a_code_and_missing_text_are_zero_and_numbers_are_finite():
    codes = Column(np.array([0, 1, -1], dtype=np.int32), np.array(["a", "z"], dtype=object))
    far = Column(np.array([np.inf, np.nan, 1e15]))
    context = Context(np.ones((3, 2), dtype=bool), ["contact"], {"letter": codes, "far": far}, {})
    observed = Observations(("far",), {"letter": np.array(["m", "z"], dtype=object)}).observe(context)
    assert observed["letter"].tolist() == [0, 2, 0]
    assert observed["far"].tolist() == [[-1], [-1], [1e12]]


def test_a_feature_of_another_type_is_refused():
    context = ExampleLog().timeline.context()
    with pytest.raises(InputError, match="'type' is text here but was numbers where the agent learned"):
        Observations(("type",), {}).observe(context)
    with pytest.raises(InputError, match="'hour' is numbers here but was text where the agent learned"):
        Observations((), {"hour": np.array(["1"], dtype=object)}).observe(context)


def test_the_environment_tells_how_likely_interest_was():
    env = EngageXEnv(ExampleLog().timeline, lambda context: np.full((len(context), 1), 0.25))
    _, info = env.reset(seed=0)
    assert info["reward_probability"] == 0
    while info["action_mask"][1] == 0:
        *_, info = env.step(np.int64(0))
    assert info["reward_probability"] == 0
    assert env.step(np.int64(1))[-1]["reward_probability"] == 0.25


# --- MaskablePPO, by a stand-in that speaks its interface, and a real one where sb3-contrib is installed


class Numbers(np.ndarray):
    """Numbers that can be taken from a device, as PyTorch's."""

    def cpu(self):
        return self

    def numpy(self):
        return np.asarray(self)


class Network:
    """Wants to contact in proportion to the hour, and with a kind the later in the list the more."""

    def __init__(self):
        self.asked = []

    def set_training_mode(self, mode):
        assert mode is False

    def obs_to_tensor(self, observation):
        return observation, True

    def get_distribution(self, observation, action_masks):
        self.asked.append(len(action_masks))
        hour = observation["hour"]
        wanted = np.column_stack([24 - hour, (hour + 1) * np.arange(1, action_masks.shape[1])])
        allowed = wanted * action_masks
        shares = (allowed / allowed.sum(axis=1, keepdims=True)).astype(np.float32)
        return SimpleNamespace(distribution=SimpleNamespace(probs=shares.view(Numbers)))


class Halving:
    def normalize_obs(self, observation):
        return {name: values / 2 for name, values in observation.items()}


def model(env, normalize=None):
    return SimpleNamespace(
        policy=Network(),
        observation_space=env.observation_space,
        action_space=env.action_space,
        get_vec_normalize_env=lambda: normalize,
    )


@pytest.fixture
def env(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(no_grad=nullcontext))
    return EngageXEnv(ExampleLog(n_kinds=3).timeline, lambda context: np.zeros((len(context), 3)), features=["hour"])


def test_a_trained_model_answers_with_its_probabilities_under_the_mask(env):
    context = ExampleLog(n_kinds=3).timeline.context()
    answer = MaskablePPOPolicy(model(env), env.observations).action_probabilities(context)
    hour = context["hour"][:, None]
    wanted = np.hstack([24 - hour, (hour + 1) * [1, 2, 3]]) * context.mask
    np.testing.assert_allclose(answer, wanted / wanted.sum(axis=1, keepdims=True), atol=1e-6)
    assert (answer[~context.mask] == 0).all()
    np.testing.assert_allclose(answer.sum(axis=1), 1, rtol=1e-12)


def test_the_likeliest_allowed_action_where_that_is_wanted(env):
    context = ExampleLog(n_kinds=3).timeline.context()
    answer = MaskablePPOPolicy(model(env), env.observations, deterministic=True).action_probabilities(context)
    likeliest = np.where(context.mask[:, 3] & (3 * (context["hour"] + 1) > 24 - context["hour"]), 3, 0)
    assert np.array_equal(answer, np.eye(4)[likeliest])


def test_the_network_is_asked_in_batches(env, monkeypatch):
    monkeypatch.setattr("engagex_sim.interop.stable_baselines.ROWS_AT_ONCE", 100)
    trained = model(env)
    whole = MaskablePPOPolicy(model(env), env.observations)
    context = ExampleLog(n_kinds=3).timeline.context()
    answer = MaskablePPOPolicy(trained, env.observations).action_probabilities(context)
    assert sum(trained.policy.asked) == len(context) and max(trained.policy.asked) == 100
    np.testing.assert_array_equal(answer, whole.action_probabilities(context))


class KeepsItsLastAnswer(Network):
    """As the real one does. Its first answer is read when a second was given, or when none came for a while."""

    def __init__(self):
        super().__init__()
        self.second = Event()

    def get_distribution(self, observation, action_masks):
        self.kept = super().get_distribution(observation, action_masks).distribution
        if len(self.asked) > 1:
            self.second.set()
        return self

    @property
    def distribution(self):
        self.second.wait(0.3)
        return self.kept


def test_threads_do_not_get_each_others_answers(env):
    timeline = ExampleLog(n_kinds=3).timeline
    contexts = [timeline.context(np.arange(20 * i, 20 * i + 20)) for i in range(2)]
    shared = model(env)
    shared.policy = KeepsItsLastAnswer()
    with ThreadPoolExecutor(2) as threads:
        together = list(threads.map(MaskablePPOPolicy(shared, env.observations).action_probabilities, contexts))
    for context, answer in zip(contexts, together, strict=True):
        alone = MaskablePPOPolicy(model(env), env.observations).action_probabilities(context)
        np.testing.assert_array_equal(alone, answer)


def test_observations_are_normalised_as_in_training(env):
    context = ExampleLog(n_kinds=3).timeline.context()
    answer = MaskablePPOPolicy(model(env, Halving()), env.observations).action_probabilities(context)
    hour = context["hour"][:, None] / 2
    wanted = np.hstack([24 - hour, (hour + 1) * [1, 2, 3]]) * context.mask
    np.testing.assert_allclose(answer, wanted / wanted.sum(axis=1, keepdims=True), atol=1e-6)


def test_a_trained_model_keeps_the_contract(env):
    check_policy(MaskablePPOPolicy(model(env), env.observations), n_kinds=[3])


def test_a_log_with_other_actions_is_refused(env):
    policy = MaskablePPOPolicy(model(env), env.observations)
    with pytest.raises(InputError, match="learned to choose among 4 actions; this log has 2"):
        policy.action_probabilities(ExampleLog(n_kinds=1).timeline.context())


def test_observations_of_another_environment_are_refused(env):
    other = Observations.of(ExampleLog().timeline.columns, ["hour", "weekday"])
    with pytest.raises(InputError, match="the model learned from other observations"):
        MaskablePPOPolicy(model(env), other)


def test_nothing_of_it_needs_pytorch_before_a_model_is_asked():
    code = "import sys, engagex_sim.interop; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("flat", [False, True])
def test_the_likeliest_action_of_a_real_model_is_its_own_prediction(flat):
    reason = "sb3-contrib is not installed, so no real MaskablePPO is tried (pip install sb3-contrib)"
    sb3 = pytest.importorskip("sb3_contrib", reason=reason)
    timeline = ExampleLog(n_kinds=3).timeline
    features = ["hour", "type", "triggers_7d"] if flat else ["hour", "triggers_7d"]  # PyTorch takes no name "type"
    env = EngageXEnv(timeline, lambda context: np.full((len(context), 3), 0.3), features)
    learner = sb3.MaskablePPO(
        "MlpPolicy" if flat else "MultiInputPolicy", FlattenObservation(env) if flat else env, n_steps=64, seed=0
    ).learn(128)
    policy = MaskablePPOPolicy(learner, env.observations, deterministic=True)
    sent = cloudpickle.loads(cloudpickle.dumps(copy.deepcopy(policy)))  # as to folds and to other processes
    context = timeline.context()
    seen = env.observations.observe(context)
    predicted, _ = learner.predict(
        env.observations.flat(seen) if flat else seen, action_masks=context.mask, deterministic=True
    )
    for own in (policy, sent):
        np.testing.assert_array_equal(own.action_probabilities(context), np.eye(4)[predicted])
    assert len(set(predicted.tolist())) > 1

"""A policy of one's own: loading it from a file or a module, and what is said where that fails."""

import copy
import sys

import numpy as np
import pytest

from engagex_sim.errors import InputError
from engagex_sim.execution import workers
from engagex_sim.policy import checked_probabilities, policy_name
from engagex_sim.testing import ExampleLog, check_policy
from experiments.plugins import load_policies, load_policy
from experiments.run import main
from policies import REGISTRY
from policies.xgb import XgbGreedy

PLUG_IN = '''\
import numpy as np


class Careful:
    """Contacts nobody."""

    def action_probabilities(self, context):
        answer = np.zeros(context.mask.shape)
        answer[:, 0] = 1
        return answer


class Named(Careful):
    name = "my own name"


class Learns(Careful):
    def fit(self, training):
        self.contacts_ = training.current_contacts_per_user
        return self


class NeedsArguments(Careful):
    def __init__(self, threshold, other=1):
        self.threshold = threshold


class CannotBeMade(Careful):
    def __init__(self):
        raise RuntimeError("no licence")


class HasNoMethod:
    pass


class TakesNothing:
    def action_probabilities(self):
        return 0


class LearnsFromNothing(Careful):
    def fit(self):
        return self


class IsCalledCurrent(Careful):
    name = "current"


class FailsLater(Careful):
    def action_probabilities(self, context):
        return helper(context["hour"])


def helper(hours):
    return hours.undefined  # the fault


class ReadsWhatIsNotThere(Careful):
    def action_probabilities(self, context):
        return context["colour"]


class AnswersRagged(Careful):
    def action_probabilities(self, context):
        return [[1], [1, 2]]


class FailsInFit(Careful):
    def fit(self, training):
        return [][1]


class ForgetsToReturnSelf(Careful):
    def fit(self, training):
        self.cap_ = training.cap


class CannotBeCopied(Careful):
    def __deepcopy__(self, memo):
        raise TypeError("it holds a file")
'''


@pytest.fixture
def plug_in(tmp_path):
    path = tmp_path / "plug_in.py"
    path.write_text(PLUG_IN)
    return path


@pytest.mark.parametrize("name", REGISTRY)
def test_a_registered_name_gives_a_fresh_policy(name):
    assert type(load_policy(name)) is REGISTRY[name]


def test_a_class_in_a_file_is_a_policy_under_its_class_name_or_its_own(plug_in):
    careful, named = load_policies([f"{plug_in}:Careful", f"{plug_in}:Named"])
    assert policy_name(careful) == "careful"
    assert policy_name(named) == "my own name"
    check_policy(careful, contact_may_be_forced=False)


def test_a_class_in_a_module_is_a_policy():
    loaded = load_policy("policies.xgb:XgbGreedy")
    assert policy_name(loaded) == policy_name(XgbGreedy())
    check_policy(loaded)


def test_a_path_is_split_at_its_last_colon(tmp_path):
    folder = tmp_path / "odd:name"
    folder.mkdir()
    (folder / "plug_in.py").write_text(PLUG_IN)
    assert policy_name(load_policy(f"{folder / 'plug_in.py'}:Careful")) == "careful"


def test_only_a_plug_in_with_fit_learns_and_copies_learn_apart(plug_in):
    assert not hasattr(load_policy(f"{plug_in}:Careful"), "fit")
    learner = load_policy(f"{plug_in}:Learns")
    trained = copy.deepcopy(learner).fit(ExampleLog().training())
    assert trained.policy.contacts_ > 0
    assert not hasattr(learner.policy, "contacts_")


def test_the_current_strategy_is_always_there_and_need_not_be_named():
    assert [policy_name(policy) for policy in load_policies(["current", "never"])] == ["never"]
    with pytest.raises(InputError, match="names nothing to compare"):
        load_policies(["current"])


def test_two_policies_of_one_name_are_refused(plug_in):
    with pytest.raises(InputError, match="Two policies are called careful"):
        load_policies([f"{plug_in}:Careful", "never", f"{plug_in}:Careful"])


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("nobody", r"There is no policy 'nobody'; there are: never, first_chance, .*path/to/file.py:Class"),
        ("plug_in.py", r"a policy in a file is plug_in.py:ClassName"),
        ("missing.py:Careful", r"there is no file missing.py"),
        ("folder/missing:Careful", r"there is no file folder/missing"),
        ("plug_in.py:Nothing", r"there is no class 'Nothing'; it has Careful, Named, "),
        ("plug_in.py:np", r"there is no class 'np'"),
        ("plug_in.py:", r"there is no class ''"),
        ("plug_in.py:HasNoMethod", r"HasNoMethod lacks the method action_probabilities\(self, context\)"),
        ("plug_in.py:NeedsArguments", r"constructor of NeedsArguments needs threshold, but"),
        ("plug_in.py:CannotBeMade", r"cannot be made: RuntimeError: no licence\n.*plug_in.py.* in __init__"),
        ("plug_in.py:TakesNothing", r"action_probabilities must take one argument besides self, context"),
        ("plug_in.py:LearnsFromNothing", r"fit must take one argument besides self, training"),
        ("plug_in.py:IsCalledCurrent", r"cannot be called 'current'"),
        ("no_such.module:Careful", r"there is no module no_such.module that can be imported from here"),
        ("engagex_sim.columns:Column", r"Column lacks the method action_probabilities"),
        ("not a module:Careful", r"there is no module not a module"),
    ],
)
def test_what_cannot_be_loaded_is_refused_with_a_sentence(plug_in, monkeypatch, spec, sentence):
    monkeypatch.chdir(plug_in.parent)
    with pytest.raises(InputError, match=sentence):
        load_policy(spec)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("class A\n    pass\n", r"cannot be loaded: SyntaxError: .*\n  File \".*broken.py\", line 1"),
        ("import math\n\nimport not_there\n", r"ModuleNotFoundError: .*'not_there'\n  File .*line 3, in <module>"),
        ("def f():\n    return 1 / 0\n\n\nf()\n", r"(?s)ZeroDivisionError.*line 5, in <module>.*line 2, in f"),
        ("raise SystemExit('not a script')\n", r"SystemExit: not a script"),
    ],
)
def test_a_fault_while_loading_is_told_with_the_plug_ins_own_lines(tmp_path, text, sentence):
    path = tmp_path / "broken.py"
    path.write_text(text)
    with pytest.raises(InputError, match=sentence) as refused:
        load_policy(f"{path}:A")
    assert "importlib" not in str(refused.value)


def test_a_fault_inside_an_imported_module_is_told_with_its_lines(tmp_path, monkeypatch):
    (tmp_path / "broken_module.py").write_text("import not_there\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match=r"(?s)'not_there'.*broken_module.py.*line 1") as refused:
        load_policy("broken_module:A")
    assert "importlib" not in str(refused.value)
    assert "broken_module" not in sys.modules


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("FailsLater", r"(?s)fails_later failed in action_probabilities: AttributeError.*helper\(context.*# the fault"),
        ("ReadsWhatIsNotThere", r"There is no feature 'colour' in this log; there are: hour, .*\n.*plug_in.py"),
        ("AnswersRagged", r"answers_ragged failed in action_probabilities: ValueError"),
    ],
)
def test_a_fault_in_an_answer_is_told_with_the_plug_ins_own_lines(plug_in, name, sentence):
    with pytest.raises(InputError, match=sentence) as refused:
        checked_probabilities(load_policy(f"{plug_in}:{name}"), ExampleLog().timeline.context())
    assert "guard.py" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("FailsInFit", r"(?s)fails_in_fit failed in fit: IndexError.*in fit"),
        ("ForgetsToReturnSelf", r"forgets_to_return_self: fit must return self, not NoneType"),
    ],
)
def test_a_fault_in_learning_is_told_with_the_plug_ins_own_lines(plug_in, name, sentence):
    with pytest.raises(InputError, match=sentence):
        load_policy(f"{plug_in}:{name}").fit(ExampleLog().training())


def test_a_policy_that_cannot_be_copied_for_a_fold_is_refused(plug_in):
    with pytest.raises(InputError, match="cannot be copied for a fold: TypeError: it holds a file"):
        copy.deepcopy(load_policy(f"{plug_in}:CannotBeCopied"))


def test_a_guarded_answer_is_the_plug_ins_answer(plug_in):
    context = ExampleLog(n_kinds=3).timeline.context()
    answer = load_policy(f"{plug_in}:Careful").action_probabilities(context)
    assert np.array_equal(answer, np.eye(4)[np.zeros(len(context), dtype=int)])


class Asked:
    """What a policy answers to an example of a log, wherever it is asked."""

    def __init__(self, policy):
        self.policy = policy

    def __call__(self, block):
        return checked_probabilities(self.policy, ExampleLog().timeline.context()) + block


@pytest.mark.parametrize("kind", ["processes", "dask"])
def test_a_policy_from_a_file_answers_in_other_processes(plug_in, kind):
    policy = load_policy(f"{plug_in}:Careful")
    with workers(kind, 2) as over:
        answers = list(over(Asked(policy), 3))
    for block, answer in enumerate(answers):
        np.testing.assert_array_equal(answer, Asked(policy)(block))


FAULTY = """
import numpy as np
from policies.fixed import Uniform


class Draws(Uniform):
    name = "draws"

    def action_probabilities(self, context):
        share = np.random.default_rng().random(len(context))[:, None]
        return share * super().action_probabilities(context) + (1 - share) * np.eye(context.mask.shape[1])[0]


class Ranks(Uniform):
    name = "ranks"

    def fit(self, training):
        return self

    def action_probabilities(self, context):
        first = (np.arange(len(context)) < len(context) / 2)[:, None] & context.mask[:, :1]
        return np.where(first, np.eye(context.mask.shape[1])[0], super().action_probabilities(context))
"""


@pytest.mark.parametrize("command", ["compare", "recommend"])
@pytest.mark.parametrize(("name", "sentence"), [("Draws", "in two ways"), ("Ranks", "depends on")])
def test_a_plug_in_whose_answers_are_not_those_of_a_policy_gets_no_verdict(tmp_path, capsys, command, name, sentence):
    (tmp_path / "faulty.py").write_text(FAULTY, encoding="utf-8")
    option = "--policies" if command == "compare" else "--policy"
    arguments = [command, option, f"{tmp_path / 'faulty.py'}:{name}", "--small", "--grid", "light", "--quiet"]
    assert main([*arguments, "--out", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert f"{name.lower()} " in said and sentence in said and len(said.splitlines()) == 1
    assert not (tmp_path / "run").exists()

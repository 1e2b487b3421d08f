"""Policies that installed packages offer: found by the entry's name, guarded like other plug-ins, clashes told."""

import sys

import numpy as np
import pytest

from engagex_sim.errors import InputError
from engagex_sim.policy import checked_probabilities, policy_name
from engagex_sim.testing import ExampleLog, check_policy
from experiments.guard import GuardedPolicy
from experiments.plugins import load_policies, load_policy
from experiments.run import main

MODULE = """\
import numpy as np

from engagex_sim.kinds import spread


class Evening:
    def action_probabilities(self, context):
        return spread(0.3 * (context["hour"] >= 18), np.ones(len(context.kinds)), context.mask)


class Learns(Evening):
    def fit(self, training):
        self.contacts_ = training.current_contacts_per_user
        return self


class Fails(Evening):
    def action_probabilities(self, context):
        return context.colour  # the fault


class NeedsArguments(Evening):
    def __init__(self, threshold):
        self.threshold = threshold


def not_a_class(context):
    return None


class HasNoMethod:
    pass
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Installs a distribution: a module and the directory of metadata beside it, on the path."""

    modules = []

    def installed(package, entries, module="evening_pack", text=MODULE):
        site = tmp_path / package
        info = site / f"{package.replace('-', '_')}-1.0.dist-info"
        info.mkdir(parents=True)
        (site / f"{module}.py").write_text(text)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        lines = [f"{name} = {value}" for name, value in entries.items()]
        (info / "entry_points.txt").write_text("\n".join(["[engagex_sim.policies]", *lines, ""]))
        monkeypatch.syspath_prepend(site)
        modules.append(module)

    yield installed
    for module in modules:
        sys.modules.pop(module, None)


@pytest.mark.parametrize("entry", ["Evening", "Learns"])
def test_a_packages_policy_is_found_by_its_entrys_name_and_keeps_the_contract(install, entry):
    install("evening-pack", {"after_six": f"evening_pack:{entry}"})
    policy = load_policy("after_six")
    assert isinstance(policy, GuardedPolicy)
    assert policy_name(policy) == "after_six"
    check_policy(policy)


def test_it_is_compared_from_the_command_line(install, tmp_path):
    install("evening-pack", {"after_six": "evening_pack:Evening"})
    quick = ["--small", "--grid", "light", "--n-boot", "50", "--quiet"]
    assert main(["compare", "--policies", "after_six,never", *quick, "--out", str(tmp_path / "run")]) == 0
    assert "\nafter_six,dr_cap," in (tmp_path / "run" / "summary.csv").read_text()


def test_other_names_are_told_beside_the_built_in_ones(install):
    install("evening-pack", {"after_six": "evening_pack:Evening"})
    with pytest.raises(InputError, match=r"There is no policy 'after_five'; there are: .*never.*, after_six, and"):
        load_policy("after_five")


def test_a_name_that_is_built_in_too_is_refused_and_both_places_are_told(install):
    install("evening-pack", {"never": "evening_pack:Evening"})
    sentence = (
        r"Several policies are called never: policies.fixed:Never, built in; evening_pack:Evening of package"
        r" evening-pack. Give the one you mean as package.module:Class"
    )
    with pytest.raises(InputError, match=sentence):
        load_policies(["never"])
    ours, theirs = load_policies(["policies.fixed:Never", "evening_pack:Evening"])
    assert [policy_name(ours), policy_name(theirs)] == ["never", "evening"]


def test_a_name_that_two_packages_offer_is_refused(install):
    install("evening-pack", {"after_six": "evening_pack:Evening"})
    install("night-pack", {"after_six": "night_pack:Evening"}, module="night_pack")
    with pytest.raises(InputError, match=r"called after_six: .*of package night-pack; .*of package evening-pack"):
        load_policy("after_six")


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("evening_pack:Evenings", r"cannot be loaded: AttributeError.*'Evenings'"),
        ("morning_pack:Evening", r"cannot be loaded: ModuleNotFoundError: No module named 'morning_pack'"),
        ("evening_pack:not_a_class", r"not_a_class is no class; an entry point must be package.module:Class"),
        ("evening_pack", r"evening_pack is no class"),
        ("evening_pack:HasNoMethod", r"HasNoMethod lacks the method action_probabilities"),
        ("evening_pack:NeedsArguments", r"constructor of NeedsArguments needs threshold"),
    ],
)
def test_an_entry_that_is_no_policy_is_refused_with_a_sentence(install, value, sentence):
    install("evening-pack", {"late": value})
    with pytest.raises(InputError, match=rf"^Policy late of package evening-pack.*{sentence}"):
        load_policy("late")


def test_a_fault_in_an_answer_is_told_with_the_packages_own_lines(install):
    install("evening-pack", {"late": "evening_pack:Fails"})
    with pytest.raises(InputError, match=r"(?s)Policy late failed.*AttributeError.*evening_pack.py.*# the fault"):
        checked_probabilities(load_policy("late"), ExampleLog().timeline.context())


def test_a_fault_while_a_package_is_imported_is_told_with_its_lines(install):
    install("broken-pack", {"late": "broken_pack:Evening"}, module="broken_pack", text="import numpy\n1 / 0\n")
    with pytest.raises(InputError, match=r"(?s)cannot be loaded: ZeroDivisionError.*broken_pack.py.*line 2") as refused:
        load_policy("late")
    assert "importlib" not in str(refused.value)


def test_the_answer_is_the_packages(install):
    install("evening-pack", {"after_six": "evening_pack:Evening"})
    context = ExampleLog().timeline.free_context()
    answer = load_policy("after_six").action_probabilities(context)
    np.testing.assert_allclose(answer[:, 1], np.where(context["hour"] >= 18, 0.3, 0.0))

"""Policies from names, built in or of installed packages, from `path/to/file.py:Class` and `package.module:Class`."""

import importlib
import importlib.util
import inspect
import os
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from hashlib import sha256
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle

from engagex_sim.errors import InputError
from engagex_sim.policy import Policy, policy_name
from engagex_sim.result import CURRENT
from experiments.entry_points import entry_point, entry_point_names, package_of
from experiments.guard import GuardedLearner, GuardedPolicy, guarded
from policies import REGISTRY

ALL = "all"  # the built-in policies


def load_policies(specs: Sequence[str]) -> list[Policy]:
    """One policy per entry: a registered name, `file.py:Class` or `package.module:Class`; "all" stands for the former.

    `current` is left out, since the log itself is always evaluated. Raises `InputError` for whatever cannot be
    loaded, and where two policies have the same name.
    """
    named = [name for spec in specs for name in (REGISTRY if spec == ALL else [spec]) if name != CURRENT]
    loaded = [load_policy(spec) for spec in named]
    if not loaded:
        raise InputError(f"--policies names nothing to compare with the current strategy; there are: {_registered()}.")
    name, times = Counter(policy_name(policy) for policy in loaded).most_common(1)[0]
    if times > 1:
        raise InputError(f"Two policies are called {name}; give one of them another attribute `name`.")
    return loaded


def load_policy(spec: str) -> Policy:
    """The policy that `spec` names, ready to be evaluated."""
    offered = entry_point(spec)
    if offered is not None:
        return _policy_of_package(offered)
    if spec in REGISTRY:
        return REGISTRY[spec]()
    place, colon, class_name = spec.rpartition(":")
    if not (place and colon):
        hint = f"; a policy in a file is {spec}:ClassName" if spec.endswith(".py") else ""
        raise InputError(
            f"There is no policy {spec!r}{hint}; there are: {_registered()}, and your own as path/to/file.py:Class or"
            " package.module:Class."
        )
    module = _module_from_file(spec, Path(place)) if _is_path(place) else _module_by_name(spec, place)
    return _policy_of(spec, _class_in(spec, module, class_name), Path(str(module.__file__)))


def _registered() -> str:
    return ", ".join([*REGISTRY, *entry_point_names()])


def _policy_of_package(offered: EntryPoint) -> Policy:
    """The policy behind an entry point, called by the entry's name."""
    spec = f"{offered.name} of package {package_of(offered)}"
    found = guarded(f"Policy {spec} cannot be loaded", None, offered.load)
    if not inspect.isclass(found):
        raise InputError(f"Policy {spec}: {offered.value} is no class; an entry point must be package.module:Class.")
    return _policy_of(spec, found, Path(str(sys.modules[found.__module__].__file__)), offered.name)


def _is_path(place: str) -> bool:
    return place.endswith(".py") or "/" in place or os.sep in place


def _module_from_file(spec: str, path: Path) -> ModuleType:
    if not path.is_file():
        raise InputError(f"Policy {spec}: there is no file {path}.")
    name = f"engagex_plugin_{path.stem}_{sha256(str(path.resolve()).encode()).hexdigest()[:8]}"
    found = importlib.util.spec_from_file_location(name, path)
    if found is None or found.loader is None:
        raise InputError(f"Policy {spec}: {path} is not a Python file; its name must end in .py.")
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module  # dataclasses and copies of the policy look their module up there
    loader = found.loader
    guarded(f"Policy {spec} cannot be loaded", path, lambda: loader.exec_module(module))
    cloudpickle.register_pickle_by_value(module)  # worker processes could not import it
    return module


def _module_by_name(spec: str, name: str) -> ModuleType:
    try:
        return guarded(f"Policy {spec} cannot be loaded", None, lambda: importlib.import_module(name))
    except InputError as error:
        cause = error.__cause__
        if isinstance(cause, ModuleNotFoundError) and f"{name}.".startswith(f"{cause.name}."):
            raise InputError(
                f"Policy {spec}: there is no module {name} that can be imported from here; a file is given as"
                " path/to/file.py:Class."
            ) from cause
        raise


def _class_in(spec: str, module: ModuleType, class_name: str) -> type:
    found = getattr(module, class_name, None)
    if not inspect.isclass(found):
        own = [name for name, thing in vars(module).items() if inspect.isclass(thing) and _answers(thing)]
        known = f"it has {', '.join(own)}" if own else "no class there has a method action_probabilities"
        raise InputError(f"Policy {spec}: there is no class {class_name!r}; {known}.")
    return found


def _policy_of(spec: str, found: type, source: Path, name: str | None = None) -> Policy:
    """An instance of the class behind a guard, checked as far as that goes without asking it anything."""
    if not _answers(found):
        raise InputError(f"Policy {spec}: class {found.__name__} lacks the method action_probabilities(self, context).")
    needed = _arguments_needed(found)
    if needed:
        raise InputError(
            f"Policy {spec}: the constructor of {found.__name__} needs {', '.join(needed)}, but a policy is made"
            " without arguments; give them defaults."
        )
    policy = guarded(f"Policy {spec} cannot be made", source, found)
    for method, argument in (("action_probabilities", "context"), ("fit", "training")):
        bound = getattr(policy, method, None)
        if bound is not None and not _takes_one_argument(bound):
            raise InputError(f"Policy {spec}: {method} must take one argument besides self, {argument}.")
    name = name or policy_name(policy)
    if name == CURRENT or not name.isprintable():
        raise InputError(f"Policy {spec} cannot be called {name!r}; give it another attribute `name`.")
    return (GuardedLearner if hasattr(policy, "fit") else GuardedPolicy)(policy, name, source)


def _answers(thing: type) -> bool:
    return callable(getattr(thing, "action_probabilities", None))


def _arguments_needed(cls: type) -> list[str]:
    """The constructor's parameters without a default."""
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = inspect.signature(cls).parameters.values()
    return [p.name for p in parameters if p.default is p.empty and p.kind not in optional]


def _takes_one_argument(method: Callable[..., Any]) -> bool:
    try:
        inspect.signature(method).bind(None)
    except TypeError:
        return False
    return True

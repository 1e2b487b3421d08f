"""The built-in contact policies, by name: every class in this folder's files that has a name and answers."""

import importlib
import pkgutil
from collections.abc import Iterator, Mapping

from engagex_sim.policy import Policy

__all__ = ["REGISTRY"]


def _found() -> Iterator[type[Policy]]:
    for file in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{file.name}")
        for thing in vars(module).values():
            own = isinstance(thing, type) and thing.__module__ == module.__name__
            if own and hasattr(thing, "action_probabilities") and hasattr(thing, "name"):
                yield thing


REGISTRY: Mapping[str, type[Policy]] = {policy.name: policy for policy in _found()}  # type: ignore[attr-defined]  # seen by `_found`

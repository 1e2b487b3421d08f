"""Policies that installed packages offer, as entry points of the group `engagex_sim.policies`."""

from importlib.metadata import EntryPoint, entry_points

from engagex_sim.errors import InputError
from policies import REGISTRY

GROUP = "engagex_sim.policies"


def entry_point_names() -> list[str]:
    """The names under which installed packages offer policies, sorted."""
    return sorted({offered.name for offered in entry_points(group=GROUP)})


def entry_point(name: str) -> EntryPoint | None:
    """What a package offers under `name`, None if none does.

    Raises `InputError` where two packages do, or where a built-in policy has that name too.
    """
    offered = {entry.value: entry for entry in entry_points(group=GROUP, name=name)}
    places = [f"{value} of package {package_of(entry)}" for value, entry in offered.items()]
    if offered and name in REGISTRY:
        own = REGISTRY[name]
        places.insert(0, f"{own.__module__}:{own.__qualname__}, built in")
    if len(places) > 1:
        raise InputError(
            f"Several policies are called {name}: {'; '.join(places)}. Give the one you mean as package.module:Class."
        )
    return next(iter(offered.values()), None)


def package_of(entry: EntryPoint) -> str:
    """The name of the package that offers it."""
    return entry.dist.name if entry.dist else "unknown"

"""True values of the policies of one log: cheap, and with an error that averages out over logs.

Policies that do not learn have one truth per world, measured once on a large population. Those that learn have another
truth on every log, the mean over the folds' versions. It is measured on a small population, which changes with every
unit of work, and scaled by what the current strategy makes on the large one relative to the small one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from engagex_sim.blockwise import CrossFitted
from engagex_sim.implied_odds import implied_odds_ratio
from engagex_sim.policy import Policy, policy_name
from engagex_sim.result import CURRENT, PRIMARY
from engagex_sim.settings import Settings
from engagex_sim.worlds import Confounded, World, true_value

SMALL, AT_ONCE = 10_000, 20_000  # users
LARGE_SEED, SMALL_SEED = 2**33, 2**32  # of the first population: apart from every other seed
MEASURED = (PRIMARY, "interested_users", "contacts_per_user")  # the other metrics follow from these

Metrics = Mapping[str, float]


@dataclass(frozen=True)
class WorldTruth:
    """What is true of a world on every log."""

    metrics: Mapping[str, Metrics]  # of the current strategy and of the policies that do not learn
    odds_ratio: float | None  # Λ of a hidden cause of both contact and interest


def world_truth(world: World, policies: Sequence[Policy], n_users: int) -> WorldTruth:
    """True values of the current strategy and of the policies that do not learn.

    The mean over populations of at most `AT_ONCE` users, so that a large number of users needs no more memory.
    """
    own = {policy_name(policy): policy for policy in policies if not hasattr(policy, "fit")} | {CURRENT: world.logging}
    sizes = [min(AT_ONCE, n_users - first) for first in range(0, n_users, AT_ONCE)]
    found = {name: dict.fromkeys(MEASURED, 0.0) for name in own}
    for population, size in enumerate(sizes):
        for name, policy in own.items():
            metrics = true_value(world, policy, n_users=size, seed=LARGE_SEED + population).metrics
            for metric in MEASURED:
                found[name][metric] += metrics[metric] * size / n_users
    return WorldTruth(found, implied_odds_ratio(world) if isinstance(world, Confounded) else None)


def truths(
    world: World,
    policies: Sequence[Policy],
    crossfitted: CrossFitted,
    settings: Settings,
    fixed: WorldTruth,
    population: int,
) -> dict[str, dict[str, float]]:
    """Policy → metric → true value, `current` included; `population` is the number of the small population."""
    seed = SMALL_SEED + population
    share = crossfitted.fold_shares
    found = {name: dict(metrics) for name, metrics in fixed.metrics.items()}
    here = true_value(world, world.logging, n_users=SMALL, seed=seed).metrics
    for i, policy in enumerate(policies):
        if hasattr(policy, "fit"):
            versions = [fitted.policies[i] for fitted in crossfitted.fitted]
            each = [true_value(world, version, n_users=SMALL, seed=seed).metrics for version in versions]
            found[policy_name(policy)] = {
                name: float(np.dot(share, [own[name] for own in each])) * found[CURRENT][name] / here[name]
                for name in MEASURED
            }
    return {name: _complete(metrics, settings) for name, metrics in found.items()}


def _complete(metrics: Metrics, settings: Settings) -> dict[str, float]:
    interests, contacts = metrics[PRIMARY], metrics["contacts_per_user"]
    return {name: metrics[name] for name in MEASURED} | {
        "interests_per_contact": interests / contacts if contacts else float("nan"),
        "profit_per_user": settings.value * interests - settings.cost * contacts,
    }

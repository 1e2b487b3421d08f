"""True values of the policies of one log: cheap, and with an error that averages out over logs.

Policies that do not learn have one truth per world, measured once by rolling them out over a large population. Those
that learn have another truth on every log, the mean over the folds' versions. It is measured on a small population,
which changes with every unit of work, and scaled by what a policy that does not learn makes on the large one relative
to the small one. Where interest depends on nothing that a policy does, contacts and interests on the small population
are what the recursion expects, without the chance of draws.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from engagex_sim.blockwise import CrossFitted
from engagex_sim.columns import FloatArray
from engagex_sim.implied_odds import implied_odds_ratio
from engagex_sim.occupancy import contact_probabilities
from engagex_sim.policy import Policy, checked_probabilities, policy_name
from engagex_sim.result import CURRENT, PRIMARY
from engagex_sim.settings import Settings
from engagex_sim.timeline import Timeline
from engagex_sim.worlds import Confounded, World, logged_decisions, true_value

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
    scale = _scale(world, policies, found, seed)
    for i, policy in enumerate(policies):
        if hasattr(policy, "fit"):
            versions = [fitted.policies[i] for fitted in crossfitted.fitted]
            each = [_on_small(world, version, seed) for version in versions]
            found[policy_name(policy)] = {
                metric: float(np.dot(share, [own[metric] for own in each])) * scale[metric] for metric in MEASURED
            }
    return {name: _complete(metrics, settings) for name, metrics in found.items()}


def _scale(world: World, policies: Sequence[Policy], large: Mapping[str, Metrics], seed: int) -> Metrics:
    """By how much a policy makes more on the large population than on the small one, as far as it can be told.

    The current strategy tells, or where what it does is not known without draws another policy that does not learn.
    """
    fixed = {CURRENT: world.logging} | {policy_name(own): own for own in policies if not hasattr(own, "fit")}
    known = ((name, _expected(world, policy, seed)) for name, policy in fixed.items())
    name = next((name for name, expected in known if expected is not None and expected[0] > 0), CURRENT)
    here = _on_small(world, fixed[name], seed)
    return {metric: large[name][metric] / here[metric] for metric in MEASURED}


def _on_small(world: World, policy: Policy, seed: int) -> Metrics:
    """`MEASURED` on the small population `seed`: rolled out, but without the chance of draws where that can be."""
    drawn = true_value(world, policy, n_users=SMALL, seed=seed).metrics
    expected = _expected(world, policy, seed)
    if expected is None:
        return drawn
    interests, contacts = expected
    several = drawn[PRIMARY] - drawn["interested_users"]  # interests beyond each user's first
    return {PRIMARY: interests, "interested_users": interests - several, "contacts_per_user": contacts}


def _expected(world: World, policy: Policy, seed: int) -> tuple[float, float] | None:
    """Expected interests and contacts per user by the recursion; None where what happens depends on past contacts."""
    if world.reacts:
        return None
    timeline, chances = _small_population(world, seed)
    if chances is None:
        return None
    own = timeline if policy != world.logging else replace(timeline, cap=world.logging_cap)
    context = own.free_context()
    when_free = checked_probabilities(policy, context)[:, None, 1:]
    if context.history_read:
        return None
    q = contact_probabilities(own, when_free)[:, 0]
    return float((q * chances).sum()) / own.n_users, float(q.sum()) / own.n_users


@lru_cache(maxsize=2)
def _small_population(world: World, seed: int) -> tuple[Timeline, FloatArray | None]:
    """The evaluation timelines of those whom `true_value` takes for `SMALL` users, and every decision's probability of
    interest (n, K); None where past contacts move it."""
    log = logged_decisions(world, SMALL, np.random.default_rng([seed, 0]))
    timeline = Timeline.of(log, world.cap).evaluation()
    context = timeline.free_context()
    chances = np.asarray(world.reward_probabilities(context), dtype=np.float64)
    return timeline, None if context.history_read else chances


def _complete(metrics: Metrics, settings: Settings) -> dict[str, float]:
    interests, contacts = metrics[PRIMARY], metrics["contacts_per_user"]
    return {name: metrics[name] for name in MEASURED} | {
        "interests_per_contact": interests / contacts if contacts else float("nan"),
        "profit_per_user": settings.value * interests - settings.cost * contacts,
    }

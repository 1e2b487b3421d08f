"""Exploration carried out: a logging policy that explores, and a world whose company uses it."""

from dataclasses import dataclass, replace

import numpy as np

from engagex_sim.cap import Cap
from engagex_sim.columns import Column, FloatArray
from engagex_sim.decisions import Decisions
from engagex_sim.exploration import explored_hazards
from engagex_sim.policy import Context, Policy, checked_probabilities
from engagex_sim.timeline import Timeline
from engagex_sim.worlds import World, logged_decisions

_PROPENSITY = "_propensity_{}"  # hidden column: probability of a contact of this kind when free


class Exploring:
    """`logging`, but with probability `rate` it does as `target` would, wherever it hardly ever does so itself."""

    name = "exploring"

    def __init__(self, logging: Policy, target: Policy, rate: float) -> None:
        self.logging = logging
        self.target = target
        self.rate = rate

    def action_probabilities(self, context: Context) -> FloatArray:
        """Probabilities (n, K + 1)."""
        own = checked_probabilities(self.logging, context)[:, 1:]
        wanted = checked_probabilities(self.target, context)[:, 1:]
        contact = np.add(*explored_hazards(own, wanted, self.rate))
        return np.column_stack([1.0 - contact.sum(axis=1), contact])


@dataclass(frozen=True)
class Explored:
    """`world`, whose company explores and logs its propensities; its timelines do not react to contacts."""

    world: World
    logging: Policy
    logging_is_visible: bool = True
    reacts: bool = False

    @property
    def name(self) -> str:
        return f"{self.world.name}_explored"

    @property
    def summary(self) -> str:
        return f"{self.world.summary}; with exploration"

    @property
    def cap(self) -> Cap:
        return self.world.cap

    @property
    def logging_cap(self) -> Cap:
        return self.world.cap

    @property
    def days(self) -> int:
        return self.world.days

    @property
    def days_before(self) -> int:
        return self.world.days_before

    def lay_out(self, n_users: int, rng: np.random.Generator) -> Decisions:
        """The world's timelines with the propensity of each contact as hidden columns."""
        laid_out = self.world.lay_out(n_users, rng)
        free = Timeline.of(laid_out, self.cap).free_context()
        propensity = checked_probabilities(self.logging, free)[:, 1:]
        columns = {_PROPENSITY.format(k + 1): Column(propensity[:, k]) for k in range(len(laid_out.kinds))}
        return replace(laid_out, columns={**laid_out.columns, **columns})

    def reward_probabilities(self, context: Context) -> FloatArray:
        return self.world.reward_probabilities(context)


def explored_log(world: World, logging: Policy, n_users: int, rng: np.random.Generator) -> Decisions:
    """The log of `world` under `logging`, an exploring policy that reads no history, with its propensities logged."""
    log = logged_decisions(Explored(world, logging), n_users, rng)
    kinds = range(1, len(log.kinds) + 1)
    by_kind = np.column_stack([np.full(len(log), np.nan), *(log.columns[_PROPENSITY.format(k)].values for k in kinds)])
    return replace(log, propensity=by_kind[np.arange(len(log)), log.action])

"""The true value of any policy in a world."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from engagex_sim.cap import DAY
from engagex_sim.columns import Column, FloatArray, IntArray, sums_by
from engagex_sim.decisions import Decisions
from engagex_sim.policy import Policy
from engagex_sim.rules import NO_RULES, Rules
from engagex_sim.simulate import simulate
from engagex_sim.timeline import Timeline
from engagex_sim.worlds.reaction import CAUSE, happened, roll_out
from engagex_sim.worlds.rows import rows_of
from engagex_sim.worlds.world import CHUNK, World, cut, evaluation_days, logged_decisions, whole_history


@dataclass(frozen=True)
class Truth:
    """A policy's true values over the evaluation period, up to the Monte-Carlo error of the population."""

    metrics: Mapping[str, float]  # metric → value, the names of the result's column `metric`
    curve: FloatArray  # (days of the evaluation,) cumulative interests per 1,000 users
    n_users: int


@dataclass(frozen=True)
class _Rolled:
    """What a policy did with a chunk of the population: its contacts (c,) and the users they were made among."""

    n_users: int
    user: IntArray
    day: IntArray  # of the evaluation
    chance: FloatArray  # true probability of interest


def true_value(
    world: World,
    policy: Policy,
    value: float = 5.0,
    cost: float = 1.0,
    n_users: int = 100_000,
    seed: int = 2**31,
    rules: Rules = NO_RULES,
) -> Truth:
    """Roll `policy` out over a large fresh population, with true probabilities in place of drawn interests.

    Until the burn-in's end the logging policy contacts; from then on `policy` does. Only its contacts are drawn. It
    sees the history that a log shows; interest follows from the whole one. A policy equal to the world's logging
    policy keeps to the cap that the log keeps to, every other one to the world's. Beside the cap they keep to `rules`.
    Raises `ValueError` for rules where timelines react to contacts.
    """
    if world.reacts and rules != NO_RULES:
        raise ValueError(f"in {world.name} timelines react to contacts; what rules do there is not known")
    interests = np.zeros(evaluation_days(world))
    interested, contacts, seen = 0.0, 0, 0
    for run in _roll_outs(world, policy, n_users, seed, rules):
        interests += sums_by(run.day, run.chance, evaluation_days(world))
        contacts += len(run.chance)
        seen += run.n_users
        with np.errstate(divide="ignore"):
            miss = sums_by(run.user, np.log1p(-run.chance), run.n_users)
        interested += float(-np.expm1(miss).sum())
    total = float(np.sum(interests)) / seen
    made = contacts / seen
    return Truth(
        metrics={
            "interests_per_user": total,
            "interested_users": total if rules.stop else interested / seen,  # nobody is interested twice
            "contacts_per_user": made,
            "interests_per_contact": total / made if made else float("nan"),
            "profit_per_user": value * total - cost * made,
        },
        curve=np.cumsum(interests) / seen * 1000,
        n_users=seen,
    )


def _roll_outs(world: World, policy: Policy, n_users: int, seed: int, rules: Rules) -> Iterator[_Rolled]:
    cap = world.logging_cap if policy == world.logging else world.cap
    reward = world.reward_probabilities
    if world.reacts:
        for chunk, laid_out in enumerate(_reacting_population(world, n_users, seed)):
            run = roll_out(laid_out, cap, policy, reward, np.random.default_rng([seed, chunk, 1]))
            under_trial = laid_out.time >= laid_out.evaluation_start[laid_out.user_of_row]
            made = np.flatnonzero((run.action > 0) & under_trial)
            day = (laid_out.time[made] - laid_out.evaluation_start[0]) // DAY
            yield _Rolled(laid_out.n_users, laid_out.user_of_row[made], day, run.reward_probability[made])
    else:
        for chunk, timeline in enumerate(_population(world, n_users, seed)):
            rng = np.random.default_rng([seed, chunk, 1])
            simulation = simulate(replace(timeline, cap=cap).under(rules), policy, reward, rng)
            made = np.flatnonzero(simulation.action)
            day = (timeline.time[made] - timeline.evaluation_start[0]) // DAY
            chance = simulation.reward_probability[made]
            yield _Rolled(timeline.n_users, timeline.user_of_row[made], day, chance)


def _chunks(n_users: int, seed: int) -> Iterator[tuple[int, np.random.Generator]]:
    """Users of each chunk, and its random numbers."""
    for chunk in range(-(-n_users // CHUNK)):
        yield min(CHUNK, n_users - chunk * CHUNK), np.random.default_rng([seed, chunk])


@lru_cache(maxsize=4)
def _population(world: World, n_users: int, seed: int) -> tuple[Timeline, ...]:
    """Evaluation timelines of a large fresh population that the logging policy contacted until then."""
    return tuple(
        Timeline.of(logged_decisions(world, size, rng), world.cap).evaluation() for size, rng in _chunks(n_users, seed)
    )


@lru_cache(maxsize=4)
def _reacting_population(world: World, n_users: int, seed: int) -> tuple[Decisions, ...]:
    """Likewise where timelines react, with every visit that a contact under trial may bring."""
    chunks = []
    for size, rng in _chunks(n_users, seed):
        history = whole_history(world, size, rng)
        cause = history.columns[CAUSE].values
        may_happen = cause >= history.evaluation_start[history.user_of_row]
        settled = Column(np.where(may_happen, cause, -1))  # what the logging policy brought about, comes anyway
        laid_out = replace(history, columns={**history.columns, CAUSE: settled})
        chunks.append(cut(rows_of(laid_out, may_happen | happened(history, history.action))))
    return tuple(chunks)

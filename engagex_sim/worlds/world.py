"""A synthetic world: a log whose truth is known.

A world lays out users' timelines from before the log begins, lets its logging policy contact them, cuts the log off
at its left edge as a real log is cut, and knows the true value of any policy over the evaluation period.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Protocol

import numpy as np
import pandas as pd

from engagex_sim.cap import DAY, Cap
from engagex_sim.columns import FloatArray, sums_by
from engagex_sim.decisions import Decisions, starts
from engagex_sim.policy import Context, Policy
from engagex_sim.simulate import simulate
from engagex_sim.timeline import Timeline

LOG_START = 19_844 * DAY  # 2024-05-01, the month of the original log
CHUNK = 20_000  # users laid out at a time, so that a large population needs no more memory than a small one


class World(Hashable, Protocol):
    """What a world defines; everything else is derived from it below."""

    name: str
    summary: str  # one line: what it stresses
    cap: Cap
    days: int  # length of the log
    days_before: int  # how long the logging policy was already running when the log begins
    logging: Policy  # reads only features that the log shows

    def lay_out(self, n_users: int, rng: np.random.Generator) -> Decisions:
        """Timelines from `days_before` days before the log on, nobody contacted; columns that begin with "_" are hidden
        causes, which the log does not show."""
        ...

    def reward_probabilities(self, context: Context) -> FloatArray:
        """(n, K) true probabilities of interest."""
        ...


@dataclass(frozen=True)
class Truth:
    """A policy's true values over the evaluation period, up to the Monte-Carlo error of the population."""

    metrics: Mapping[str, float]  # metric → value, the names of the result's column `metric`
    curve: FloatArray  # (days of the evaluation,) cumulative interests per 1,000 users
    n_users: int


def logged_decisions(world: World, n_users: int, rng: np.random.Generator) -> Decisions:
    """What the world's log shows, without the detour through files; hidden columns included."""
    laid_out = world.lay_out(n_users, rng)
    nothing_yet = replace(laid_out, evaluation_start=np.full(n_users, laid_out.log_start))
    timeline = Timeline.of(nothing_yet, world.cap)
    simulation = simulate(timeline, world.logging, world.reward_probabilities, rng)
    return _cut(replace(laid_out, action=simulation.action, reward=simulation.reward), LOG_START)


def visible(decisions: Decisions) -> Decisions:
    """Without the hidden causes: what an evaluation may see."""
    return replace(decisions, columns={n: c for n, c in decisions.columns.items() if not n.startswith("_")})


def _cut(decisions: Decisions, log_start: int) -> Decisions:
    """The log as it would be had recording begun at `log_start`: users who never came since then are not in it."""
    d = decisions
    user, trigger_user = d.user_of_row, np.repeat(np.arange(d.n_users), np.diff(d.trigger_start))
    rows, triggers = d.time >= log_start, d.trigger_time >= log_start
    visits = np.bincount(trigger_user[triggers], minlength=d.n_users)
    seen = visits > 0
    return replace(
        d,
        user_start=starts(np.bincount(user[rows], minlength=d.n_users)[seen]),
        user_key=d.user_key[seen],
        user_id=d.user_id[seen],
        evaluation_start=d.evaluation_start[seen],
        time=d.time[rows],
        known_at=d.known_at[rows],
        action=d.action[rows],
        reward=d.reward[rows],
        propensity=d.propensity[rows],
        columns={name: column.take(rows) for name, column in d.columns.items()},
        trigger_start=starts(visits[seen]),
        trigger_time=d.trigger_time[triggers],
        trigger_code=d.trigger_code[triggers],
        other_start=np.zeros(int(seen.sum()) + 1, dtype=np.int64),
        log_start=log_start,
    )


def frames(world: World, n_users: int, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The world's log as two tables with the columns of `triggers.csv` and `actions.csv`."""
    log = visible(logged_decisions(world, n_users, np.random.default_rng(seed)))
    guid = log.user_id[log.user_of_row]
    date = log.time.astype("datetime64[s]")
    triggers = pd.DataFrame(
        {"guid": guid, "date": date} | {name: column.decoded() for name, column in log.columns.items()}
    )
    contact = log.action > 0
    actions = pd.DataFrame({"guid": guid[contact], "date": date[contact], "result": log.reward[contact].astype(int)})
    return triggers, actions


@lru_cache(maxsize=4)
def _population(world: World, n_users: int, seed: int) -> tuple[Timeline, ...]:
    """Evaluation timelines of a large fresh population that the logging policy contacted until then."""
    chunks = []
    for chunk in range(-(-n_users // CHUNK)):
        rng = np.random.default_rng([seed, chunk])
        log = logged_decisions(world, min(CHUNK, n_users - chunk * CHUNK), rng)
        chunks.append(Timeline.of(log, world.cap).evaluation())
    return tuple(chunks)


def true_value(
    world: World, policy: Policy, value: float = 5.0, cost: float = 1.0, n_users: int = 100_000, seed: int = 2**31
) -> Truth:
    """Roll `policy` out over a large fresh population, with true probabilities in place of drawn interests.

    Until the burn-in's end the logging policy contacts; from then on `policy` does. Only its contacts are drawn.
    """
    interests = np.zeros(evaluation_days(world))
    interested, contacts, seen = 0.0, 0, 0
    for chunk, timeline in enumerate(_population(world, n_users, seed)):
        rng = np.random.default_rng([seed, chunk, 1])
        run = simulate(timeline, policy, world.reward_probabilities, rng)
        user, day = timeline.user_of_row, (timeline.time - timeline.evaluation_start[0]) // DAY
        interests += sums_by(day, run.reward_probability, evaluation_days(world))
        contacts += int((run.action > 0).sum())
        seen += timeline.n_users
        with np.errstate(divide="ignore"):
            miss = sums_by(user, np.log1p(-run.reward_probability), timeline.n_users)
        interested += float(-np.expm1(miss).sum())
    total = float(np.sum(interests)) / seen
    made = contacts / seen
    return Truth(
        metrics={
            "interests_per_user": total,
            "interested_users": interested / seen,
            "contacts_per_user": made,
            "interests_per_contact": total / made if made else float("nan"),
            "profit_per_user": value * total - cost * made,
        },
        curve=np.cumsum(interests) / seen * 1000,
        n_users=seen,
    )


def evaluation_days(world: World) -> int:
    """Days of the log after a burn-in of the cap's length."""
    return world.days - int(np.ceil(world.cap.days))

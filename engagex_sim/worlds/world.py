"""A synthetic world: a log whose truth is known.

A world lays out users' timelines from before the log begins, lets its logging policy contact them, cuts the log off
at its left edge as a real log is cut, and knows the true value of any policy over the evaluation period.
"""

from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import pandas as pd

from engagex_sim.cap import DAY, NEVER, Cap
from engagex_sim.columns import Column, FloatArray, TextArray
from engagex_sim.decisions import Decisions, starts
from engagex_sim.policy import Context, Policy
from engagex_sim.simulate import simulate
from engagex_sim.timeline import Timeline
from engagex_sim.worlds.reaction import happened, roll_out
from engagex_sim.worlds.rows import rows_of

LOG_START = 19_844 * DAY  # 2024-05-01, the month of the original log
CHUNK = 20_000  # users laid out at a time, so that a large population needs no more memory than a small one
SENT = 10 * 3600  # time of day at which contacts on a grid of days are sent
SINCE_UNLOGGED, UNLOGGED = "_days_since_unlogged_contact", "_unlogged_contacts"  # hidden columns of a log


class World(Hashable, Protocol):
    """What a world defines; everything else is derived from it below."""

    @property
    def name(self) -> str: ...

    @property
    def summary(self) -> str:
        """One line: what it stresses."""
        ...

    @property
    def cap(self) -> Cap:
        """What every policy under trial obeys."""
        ...

    @property
    def logging_cap(self) -> Cap:
        """What the logging policy obeys: the same, but where the log breaks the cap."""
        ...

    @property
    def days(self) -> int:
        """Length of the log."""
        ...

    @property
    def days_before(self) -> int:
        """How long the logging policy was already running when the log begins."""
        ...

    @property
    def logging(self) -> Policy: ...

    @property
    def logging_is_visible(self) -> bool:
        """Whether the log shows all that `logging` reads, so that it can be tried as a target policy."""
        ...

    @property
    def reacts(self) -> bool:
        """Whether timelines react to contacts: rows with a cause (see `reaction`) happen only after that contact."""
        ...

    def lay_out(self, n_users: int, rng: np.random.Generator) -> Decisions:
        """Timelines from `days_before` days before the log on, nobody contacted; columns that begin with "_" are hidden
        causes, which the log does not show."""
        ...

    def reward_probabilities(self, context: Context) -> FloatArray:
        """(n, K) true probabilities of interest; what past contacts do to it follows from `true_history`."""
        ...


@dataclass(frozen=True)
class Tables:
    """A log as tables with the columns of the files; `users` only where users have attributes."""

    triggers: pd.DataFrame
    actions: pd.DataFrame
    users: pd.DataFrame | None


def evaluation_days(world: World) -> int:
    """Days of the log after a burn-in of the cap's length."""
    return world.days - int(np.ceil(world.cap.days))


def whole_history(world: World, n_users: int, rng: np.random.Generator) -> Decisions:
    """The logging policy's contacts from `days_before` the log on, with their results; hidden columns included."""
    laid_out = world.lay_out(n_users, rng)
    from_the_start = replace(laid_out, evaluation_start=np.full(n_users, laid_out.log_start))
    if world.reacts:
        run = roll_out(from_the_start, world.logging_cap, world.logging, world.reward_probabilities, rng)
        return replace(laid_out, action=run.action, reward=run.reward)
    timeline = Timeline.of(from_the_start, world.logging_cap)
    simulation = simulate(timeline, world.logging, world.reward_probabilities, rng)
    return replace(laid_out, action=simulation.action, reward=simulation.reward)


def logged_decisions(world: World, n_users: int, rng: np.random.Generator) -> Decisions:
    """What the world's log shows, without the detour through files; hidden columns included."""
    history = whole_history(world, n_users, rng)
    return cut(rows_of(history, happened(history, history.action)) if world.reacts else history)


def visible(decisions: Decisions) -> Decisions:
    """Without the hidden causes: what an evaluation may see."""
    return replace(decisions, columns={n: c for n, c in decisions.columns.items() if not n.startswith("_")})


def true_history(context: Context) -> tuple[FloatArray, FloatArray]:
    """Days since the user's last contact (n,), inf if never, and contacts so far (n,), unlogged ones included.

    Policies see the log's part alone; interest follows from the whole.
    """
    days, contacts = context["days_since_contact"], context["contacts_so_far"]
    if UNLOGGED not in context:
        return days, contacts
    return np.minimum(days, context[SINCE_UNLOGGED]), contacts + context[UNLOGGED]


def cut(decisions: Decisions) -> Decisions:
    """The log as it is when recording begins at `LOG_START`: who never came since then is not in it.

    Where the triggers are the contacts everybody is listed, and only days with a contact are decision points.
    """
    d = _with_unlogged(decisions)
    if d.activity_known:
        return rows_of(replace(d, log_start=LOG_START), d.time >= LOG_START, only_who_came=True)
    days = np.unique(d.time[(d.action > 0) & (d.time >= LOG_START)])
    d = rows_of(replace(d, log_start=LOG_START), np.isin(d.time, days))
    contact = d.action > 0
    return replace(
        d,
        trigger_start=starts(np.bincount(d.user_of_row[contact], minlength=d.n_users)),
        trigger_time=d.time[contact] + SENT,
        trigger_code=(d.action[contact] - 1).astype(np.int32),
    )


def _with_unlogged(d: Decisions) -> Decisions:
    """With the hidden columns that tell of the contacts before `LOG_START`."""
    early = np.flatnonzero((d.action > 0) & (d.time < LOG_START))
    user = d.user_of_row
    last = np.full(d.n_users, NEVER)
    np.maximum.at(last, user[early], d.time[early])
    contacts = np.bincount(user[early], minlength=d.n_users).astype(np.float64)
    days = np.where(last[user] == NEVER, np.inf, (d.time - last[user]) / DAY)
    return replace(d, columns={**d.columns, SINCE_UNLOGGED: Column(days), UNLOGGED: Column(contacts[user])})


def tables(world: World, n_users: int, seed: int) -> Tables:
    """The world's log as the tables that a reader takes."""
    return tables_of(logged_decisions(world, n_users, np.random.default_rng(seed)))


def tables_of(decisions: Decisions) -> Tables:
    """A log as these tables, without hidden columns."""
    log = visible(decisions)
    contact = log.action > 0
    guid = log.user_id[log.user_of_row]
    decoded = {name: column.decoded() for name, column in log.columns.items()}
    if log.activity_known:
        date, users = log.time.astype("datetime64[s]"), None
        triggers = pd.DataFrame({"guid": guid, "date": date} | decoded)
        date = date[contact]
    else:
        date = log.trigger_time.astype("datetime64[s]")
        kind = np.array(log.kinds, dtype=object)[log.trigger_code]
        day = (log.trigger_time - log.log_start) // DAY + 1
        campaign = np.array([f"{name}-{number}" for name, number in zip(kind, day, strict=True)], dtype=object)
        triggers = pd.DataFrame({"guid": guid[contact], "date": date, "trigger": campaign, "type": kind})
        first = log.user_start[:-1]
        users = pd.DataFrame({"guid": log.user_id} | {name: values[first] for name, values in decoded.items()})
    actions = pd.DataFrame({"guid": guid[contact], "date": date, "result": log.reward[contact].astype(int)})
    return Tables(triggers, actions, users)


def frames(world: World, n_users: int, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The world's log as two tables with the columns of `triggers.csv` and `actions.csv`."""
    log = tables(world, n_users, seed)
    return log.triggers, log.actions


def guids(n: int, rng: np.random.Generator) -> TextArray:
    """(n,) random UUIDs as text, sorted, so that they stand as a reader sorts them."""
    digits = np.frombuffer(rng.bytes(16 * n).hex().encode(), dtype="S1").reshape(n, 32)
    letters = np.empty((n, 36), dtype="S1")
    letters[:, [8, 13, 18, 23]] = b"-"
    letters[:, [i for i in range(36) if i not in (8, 13, 18, 23)]] = digits
    letters[:, 14], letters[:, 19] = b"4", b"a"  # version 4, variant 1
    return np.asarray(np.sort(letters.view("S36")[:, 0]).astype(str), dtype=object)

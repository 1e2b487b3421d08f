"""From the log to decision points: what can be decided, when, and what was."""

from dataclasses import dataclass

import numpy as np

from engagex_sim.cap import DAY
from engagex_sim.columns import Column, IntArray
from engagex_sim.decisions import Decisions, starts
from engagex_sim.errors import InputError
from engagex_sim.log import Log, LogFacts
from engagex_sim.log.matching import decision_times, first_contacts, instants
from engagex_sim.settings import LogSettings

LARGEST_GRID = 50_000_000


@dataclass(frozen=True)
class _Points:
    """Decision points sorted by (user, time), and which of them each matched contact is."""

    user: IntArray  # (n,)
    time: IntArray  # (n,)
    known_at: IntArray  # (n,)
    trigger: IntArray | None  # (n,) row of the trigger that describes each; None on a grid of days
    contact: IntArray  # (matched,) position of each contact that belongs to a decision point
    enters: IntArray  # (n_users,) the first time at which a policy can decide, if later than the burn-in's end


def check_decisions(facts: LogFacts, settings: LogSettings) -> None:
    """Raise `InputError` where the grid of days would be too large or the log is too short for its burn-in."""
    if facts.grid_points > LARGEST_GRID:
        raise InputError(
            f"{len(facts.contact_days):,} days with contacts × {facts.n_users:,} users are more than"
            f" {LARGEST_GRID:,} decision points; use --decision-points trigger, which compares kinds of contact only."
        )
    if facts.last_decision < max(facts.first_entry, _burn_in_end(facts, settings)):
        raise InputError(_too_short(facts, settings))


def decisions_of(log: Log, settings: LogSettings) -> Decisions:
    """All decision points of a log, or of a block of its users.

    Raises `InputError` as `check_decisions` does, which is about the whole log and says the same for every block.
    """
    check_decisions(log.facts, settings)
    grid, is_choice = log.facts.is_grid, log.facts.contact_is_a_choice
    points = _grid_points(log) if grid else _trigger_points(log)
    n = len(points.time)
    made = ~log.orphan
    action = np.zeros(n, dtype=np.int64)
    reward = np.zeros(n)
    propensity = np.full(n, np.nan)
    action[points.contact] = log.action_kind[made]
    reward[points.contact] = log.action_reward[made]
    propensity[points.contact] = log.action_propensity[made]
    columns: dict[str, Column] = {}
    if points.trigger is not None:
        columns |= {name: column.take(points.trigger) for name, column in log.trigger_columns.items()}
    columns = {name: column for name, column in columns.items() if name not in log.facts.giveaways}
    columns |= {name: column.take(points.user) for name, column in log.attributes.items()}
    return Decisions(
        user_start=_starts(points.user, log.n_users),
        user_key=log.user_key,
        user_id=log.user_id,
        evaluation_start=np.maximum(points.enters, _burn_in_end(log.facts, settings)),
        time=points.time,
        known_at=points.known_at,
        action=action,
        reward=reward,
        propensity=propensity,
        columns=columns,
        trigger_start=_starts(log.trigger_user, log.n_users),
        trigger_time=log.trigger_time,
        trigger_code=log.trigger_code,
        other_start=_starts(log.action_user[log.orphan], log.n_users),
        other_time=log.action_time[log.orphan],
        other_reward=log.action_reward[log.orphan],
        kinds=log.kinds,
        log_start=log.log_start,
        log_end=log.log_end,
        contact_is_a_choice=is_choice,
        activity_known=not grid,
    )


def _trigger_points(log: Log) -> _Points:
    """Each instant, or each user-day, with a trigger; the first trigger of it describes it."""
    unit = log.trigger_time // DAY if log.decision_points == "day" else log.trigger_time
    begins = instants(log.trigger_user, unit)
    first = np.flatnonzero(begins)
    contact = (np.cumsum(begins) - 1)[log.action_trigger[~log.orphan]]
    return _Points(
        user=log.trigger_user[first],
        time=decision_times(log.trigger_time[first], log.decision_points == "day"),
        known_at=log.trigger_time[first],
        trigger=first,
        contact=contact,
        enters=np.full(log.n_users, log.log_start),
    )


def _grid_points(log: Log) -> _Points:
    """Every calendar day on which the log contacted anybody, for every user who is known on it.

    Users of users.csv are known from the beginning, others once they have been contacted: that contact is history.
    """
    made = ~log.orphan
    days = log.facts.contact_days
    day_of_contact = log.trigger_time[log.action_trigger[made]] // DAY
    contact_time = log.action_time.copy()
    contact_time[made] = day_of_contact * DAY
    first_contact = first_contacts(log.action_user, contact_time, log.n_users)
    enters = np.where(log.user_listed, log.log_start, first_contact + 1)
    begins = np.where(log.user_listed, 0, np.searchsorted(days, first_contact // DAY))
    sizes = len(days) - begins
    user = np.repeat(np.arange(log.n_users), sizes)
    user_start = starts(sizes)
    day = np.arange(len(user)) - user_start[user] + begins[user]
    contact_user = log.action_user[made]
    contact = user_start[contact_user] + np.searchsorted(days, day_of_contact) - begins[contact_user]
    time = days[day] * DAY
    return _Points(user=user, time=time, known_at=time, trigger=None, contact=contact, enters=enters)


def _burn_in_end(facts: LogFacts, settings: LogSettings) -> int:
    """When the burn-in ends; where contacting is not a choice the cap plays no part, so only one that was asked for."""
    if not facts.contact_is_a_choice and settings.burn_in_days is None:
        return facts.log_start
    return facts.log_start + round(settings.burn_in * DAY)


def _too_short(facts: LogFacts, settings: LogSettings) -> str:
    days = (facts.log_end - facts.log_start) // DAY
    if settings.burn_in == 0:
        return (
            "No decision point is left: every user is contacted on the last day with contacts only; give the whole"
            " population with --users."
        )
    return (
        f"The log spans {days:,} days, too few for a burn-in of {settings.burn_in:g} days: no decision point is left."
        " Shorten it with --burn-in-days, or give --start free if the strategy began with the log."
    )


def _starts(user: IntArray, n_users: int) -> IntArray:
    return starts(np.bincount(user, minlength=n_users))

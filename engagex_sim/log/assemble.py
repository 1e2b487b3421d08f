"""From checked tables to the log: what the triggers are, which contact belongs where, who the users are."""

from typing import Literal

import numpy as np
import pandas as pd

from engagex_sim.cap import DAY, Cap
from engagex_sim.columns import BoolArray, IntArray, TextArray
from engagex_sim.errors import InputError
from engagex_sim.log.attributes import attributes_of
from engagex_sim.log.coding import Table, as_numbers, in_order
from engagex_sim.log.data import Log
from engagex_sim.log.matching import cap_violations, decision_times, match, one_per_day, share_at_one_instant
from engagex_sim.log.overlap import check_overlap
from engagex_sim.log.quality import DataQuality, check_rejected_share
from engagex_sim.settings import LogSettings

CONTACTS_SHARE = 0.95  # of trigger rows with an actions row at the same instant: from here on triggers are contacts
UNANSWERED = "a contact without an actions row of its own"
ONE_KIND = ("contact",)  # the label where the log does not tell kinds apart


def assemble(
    user_id: TextArray,
    triggers: Table,
    actions: Table,
    users: Table | None,
    settings: LogSettings,
    notes: list[str],
) -> Log:
    """Match, resolve `auto` and settle the population; `user_id` is what the tables' users are positions in.

    Raises `InputError` where too many rows or contacts are of no use, or too little is left to learn from.
    """
    actions = actions.without_contradictions("contradicts another actions row at the same guid and date")
    if users is not None:
        users = users.without_contradictions("contradicts another row of the same guid")
    window = settings.match_window_hours * 3600
    check_overlap(user_id, triggers, actions, window)
    triggers_are, said = _triggers_are(triggers, actions, settings)
    decision_points = settings.decision_points
    if decision_points == "auto":
        decision_points = "day" if triggers_are == "contacts" else "trigger"
    matched = match(triggers.user, triggers.time, actions.user, actions.time, window)
    if triggers_are == "contacts":
        triggers, matched = _with_known_results(triggers, matched)
    if decision_points == "day":
        matched = one_per_day(triggers.user, triggers.time, matched)
    for table in (triggers, actions, *([] if users is None else [users])):
        unanswered = bool((table.rejected["reason"] == UNANSWERED).any())
        advice = " (if they are visits: --triggers-are opportunities)" if unanswered else ""
        check_rejected_share(table.name, table.read, table.rejected, settings.allow_rejected, advice)
    _check_enough(triggers, actions, matched, settings)
    kinds, action_kind = _kinds(triggers_are, triggers, actions, matched)
    in_log = _occurs(user_id, triggers, actions)
    in_users = _occurs(user_id, *([] if users is None else [users]))
    population = np.flatnonzero(in_log | in_users)
    position = np.cumsum(in_log | in_users) - 1
    on_a_grid = triggers_are == "contacts" and decision_points == "day"
    said += _about_the_population(in_log, in_users, users, on_a_grid)
    if triggers_are == "opportunities":
        said += _about_the_times(triggers)
    attributes, left_out = attributes_of(users, population)
    decided = decision_times(triggers.time, decision_points == "day")
    contact_time = np.where(matched >= 0, decided[matched], actions.time)
    contact_is_a_choice = not (triggers_are == "contacts" and decision_points == "trigger")
    times = np.concatenate([triggers.time, actions.time])
    guids = user_id[population]
    rejected = [table.rejected for table in (triggers, actions, users) if table is not None and len(table.rejected)]
    return Log(
        user_id=guids,
        user_key=pd.util.hash_array(guids, categorize=False),
        user_listed=in_users[population],
        attributes=attributes,
        trigger_user=position[triggers.user],
        trigger_time=triggers.time,
        trigger_code=triggers.columns["trigger"].values,
        trigger_columns={name: as_numbers(column) for name, column in triggers.columns.items()},
        action_user=position[actions.user],
        action_time=actions.time,
        action_kind=action_kind,
        action_reward=actions.reward,
        action_propensity=actions.propensity,
        action_trigger=matched,
        kinds=kinds,
        triggers_are=triggers_are,
        decision_points=decision_points,
        log_start=int(times.min()) // DAY * DAY,
        log_end=(int(times.max()) // DAY + 1) * DAY,
        quality=DataQuality(
            triggers=triggers.quality,
            actions=actions.quality,
            users=None if users is None else users.quality,
            rejected=pd.concat(rejected, ignore_index=True) if rejected else triggers.rejected,
            matched=int((matched >= 0).sum()),
            orphans=int((matched < 0).sum()),
            cap_violations=(
                cap_violations(actions.user, contact_time, Cap(settings.cap_days)) if contact_is_a_choice else 0
            ),
            users_in_log=int(in_log.sum()),
            users_not_listed=0 if users is None else int((in_log & ~in_users).sum()),
        ),
        notes=(*said, *left_out, *notes),
    )


def _occurs(user_id: TextArray, *tables: Table) -> BoolArray:
    """(len(user_id),) which users have a row in any of the tables."""
    occurs = np.zeros(len(user_id), dtype=np.bool_)
    for table in tables:
        occurs[table.user] = True
    return occurs


def _about_the_population(in_log: BoolArray, in_users: BoolArray, users: Table | None, on_a_grid: bool) -> list[str]:
    """Sentences on who is counted."""
    said = []
    not_listed = int((in_log & ~in_users).sum())
    if users is not None and not_listed:
        said.append(
            f"{not_listed:,} of {in_log.sum():,} users of the log are not in {users.name}; they are kept, without"
            " attributes."
        )
    if on_a_grid and not_listed:
        whose = "A user" if users is None else f"A user who is not in {users.name}"
        said.append(f"{whose} is known only from the first contact on: the answer is about users once contacted.")
    return said


def _about_the_times(triggers: Table) -> list[str]:
    """A sentence where the file of visits has days but no times of day."""
    if (triggers.time % DAY).any():
        return []
    copies = (
        f" ({triggers.duplicates:,} rows that repeat another one exactly count once)" if triggers.duplicates else ""
    )
    return [
        f"All times of {triggers.name} are midnight: the visits of a user on one day are one decision point{copies},"
        " and the feature hour says nothing."
    ]


def _triggers_are(
    triggers: Table, actions: Table, settings: LogSettings
) -> tuple[Literal["opportunities", "contacts"], list[str]]:
    """What a trigger is, and the sentence that says why where it was not told."""
    if settings.triggers_are != "auto":
        return settings.triggers_are, []
    share = share_at_one_instant(triggers.user, triggers.time, actions.user, actions.time)
    seen = f"{100 * share:.1f} % of the trigger rows have an actions row at the same guid and date"
    if share >= CONTACTS_SHARE:
        return "contacts", [
            f"The triggers are taken as contacts, because {seen} (if they are visits: --triggers-are opportunities)."
        ]
    return "opportunities", [
        f"The triggers are taken as opportunities to contact, because only {seen} (if they are contacts:"
        " --triggers-are contacts)."
    ]


def _with_known_results(triggers: Table, matched: IntArray) -> tuple[Table, IntArray]:
    """Triggers that are contacts, without those of which the result or the kind is unknown; `matched` follows."""
    with_result = np.zeros(len(triggers), dtype=np.bool_)
    with_result[matched[matched >= 0]] = True
    with_kind = triggers.columns["type"].values >= 0
    position = np.where(with_result & with_kind, np.cumsum(with_result & with_kind) - 1, -1)
    kept = triggers.reject(
        ~with_result | ~with_kind,
        np.where(with_result, "type is missing", UNANSWERED),
    )
    return kept, np.where(matched >= 0, position[matched], -1)


def _check_enough(triggers: Table, actions: Table, matched: IntArray, settings: LogSettings) -> None:
    """Raise `InputError` where nothing can be learned from what is left."""
    orphans = int((matched < 0).sum())
    hours = settings.match_window_hours
    if orphans > settings.allow_orphans * len(actions):
        raise InputError(
            f"{orphans:,} of {len(actions):,} rows of {actions.name} ({100 * orphans / len(actions):.1f} %) belong to"
            f" no decision point in {triggers.name} (no trigger of the same guid at or up to {hours:g} hours before,"
            f" or it has a contact already), more than the {100 * settings.allow_orphans:.1f} % allowed; check the"
            " clocks of the two files, or raise --match-window-hours."
        )
    if len(triggers) == 0 or len(actions) == 0:
        empty = triggers if len(triggers) == 0 else actions
        raise InputError(f"{empty.name} has no row that can be used.")
    if not actions.reward.any():
        raise InputError(f"No row of {actions.name} has result 1; without a single interested user there is no answer.")
    if triggers.user[0] == triggers.user[-1] == actions.user[0] == actions.user[-1]:
        raise InputError("The log has only one user; users are what the answer averages over.")


def _kinds(
    triggers_are: Literal["opportunities", "contacts"], triggers: Table, actions: Table, matched: IntArray
) -> tuple[tuple[str, ...], IntArray]:
    """Labels of kinds 1..K and the kind (k,) of each contact; 0 for an orphan whose kind is not known."""
    if triggers_are == "contacts":
        kinds, codes = in_order(triggers.columns["type"])
        return kinds, np.where(matched >= 0, codes[matched].astype(np.int64) + 1, 0)
    if "action" in actions.columns:
        kinds, codes = in_order(actions.columns["action"])
        return kinds, codes.astype(np.int64) + 1
    return ONE_KIND, np.ones(len(actions), dtype=np.int64)

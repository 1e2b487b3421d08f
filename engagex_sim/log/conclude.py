"""From the tallies of all blocks to what holds for the whole log."""

from collections.abc import Mapping, Sequence
from itertools import chain

import numpy as np
import pandas as pd

from engagex_sim.cap import DAY
from engagex_sim.columns import BoolArray, IntArray, TextArray
from engagex_sim.errors import InputError
from engagex_sim.log.assemble import UNANSWERED, Tally
from engagex_sim.log.attributes import identities
from engagex_sim.log.data import LogFacts
from engagex_sim.log.layout import Layout, Translation
from engagex_sim.log.numbers import as_numbers, in_order
from engagex_sim.log.quality import DataQuality, FileQuality, Rejected, check_rejected_share, rejected_rows
from engagex_sim.log.reading import Reading
from engagex_sim.log.rows import Rows
from engagex_sim.settings import LogSettings

ONE_KIND = ("contact",)  # the label where the log does not tell kinds apart


def conclude(
    tallies: Sequence[Tally],
    rows: Mapping[str, Rows],
    categories: Mapping[str, Mapping[str, TextArray]],
    reading: Reading,
    settings: LogSettings,
) -> tuple[LogFacts, Layout]:
    """Settle what only all blocks together tell; `rows` and `categories` are by role.

    Raises `InputError` where too many rows or contacts are of no use, or too little is left to learn from.
    """
    rejected = {
        role: [*judged.rejected, *chain.from_iterable(tally.accounts[role].rejected for tally in tallies)]
        for role, judged in rows.items()
    }
    for role, judged in rows.items():
        unanswered = any(group.reason == UNANSWERED for group in rejected[role])
        advice = " (if they are visits: --triggers-are opportunities)" if unanswered else ""
        check_rejected_share(judged.name, judged.read, rejected[role], settings.allow_rejected, advice)
    files = {role: _file_quality(role, rows[role], rejected[role], tallies) for role in rows}
    quality = DataQuality(
        triggers=files["triggers"],
        actions=files["actions"],
        users=files.get("users"),
        rejected=pd.concat([rejected_rows(rows[role].name, rejected[role]) for role in rows], ignore_index=True),
        matched=sum(tally.matched for tally in tallies),
        orphans=files["actions"].used - sum(tally.matched for tally in tallies),
        cap_violations=sum(tally.cap_violations for tally in tallies),
        users_in_log=sum(tally.users_in_log for tally in tallies),
        users_not_listed=sum(tally.users_not_listed for tally in tallies),
    )
    interests = sum(tally.interests for tally in tallies)
    _check_enough(quality, interests, rows["triggers"].name, rows["actions"].name, settings)
    kinds, kind_of_code = _kinds(reading, categories, np.logical_or.reduce([tally.used_kinds for tally in tallies]))
    attributes = rows["users"].text_columns if "users" in rows else ()
    left_out = identities(attributes, tallies)
    layout = Layout(
        trigger_columns={
            name: _trigger_translation(categories["triggers"].get(name), any(t.missing.get(name) for t in tallies))
            for name in rows["triggers"].text_columns
        },
        attributes={name: Translation(categories["users"].get(name)) for name in attributes if name not in left_out},
        kind_of_code=kind_of_code,
    )
    log_start = min(tally.first_time for tally in tallies) // DAY * DAY
    contact_days = np.unique(np.concatenate([tally.contact_days for tally in tallies]))
    first_contact = np.concatenate([tally.first_contact for tally in tallies])  # of users who are not listed
    n_users = sum(tally.n_users for tally in tallies)
    all_listed = "users" in rows and quality.users_not_listed == 0
    facts = LogFacts(
        n_users=n_users,
        kinds=kinds,
        triggers_are=reading.triggers_are,
        decision_points=reading.decision_points,
        log_start=log_start,
        log_end=(max(tally.last_time for tally in tallies) // DAY + 1) * DAY,
        quality=quality,
        notes=(
            *reading.said,
            *_about_the_population(quality, None if "users" not in rows else rows["users"].name, reading.is_grid),
            *_about_the_times(reading, quality, rows["triggers"].name, any(tally.has_hours for tally in tallies)),
            *left_out.values(),
            *(f"Columns of {r.name} that nothing reads: {', '.join(r.ignored)}." for r in rows.values() if r.ignored),
        ),
        trigger_columns=tuple(layout.trigger_columns),
        attributes=tuple(layout.attributes),
        all_listed=all_listed,
        contact_days=contact_days,
        first_entry=int(first_contact.min()) + 1 if len(first_contact) == n_users else log_start,
        last_decision=(
            int(contact_days[-1]) * DAY if reading.is_grid else max(tally.last_decision for tally in tallies)
        ),
        grid_points=_grid_points(contact_days, first_contact, n_users) if reading.is_grid else 0,
        giveaways=(),
    )
    return facts, layout


def _file_quality(role: str, rows: Rows, rejected: Sequence[Rejected], tallies: Sequence[Tally]) -> FileQuality:
    accounts = [tally.accounts[role] for tally in tallies]
    used, duplicates = sum(account.used for account in accounts), sum(account.duplicates for account in accounts)
    return FileQuality(rows.read, used, duplicates, sum(len(group.line) for group in rejected))


def _check_enough(quality: DataQuality, interests: int, triggers: str, actions: str, settings: LogSettings) -> None:
    """Raise `InputError` where nothing can be learned from what is left of the files named."""
    contacts, orphans = quality.actions.used, quality.orphans
    hours = settings.match_window_hours
    if orphans > settings.allow_orphans * contacts:
        raise InputError(
            f"{orphans:,} of {contacts:,} rows of {actions} ({100 * orphans / contacts:.1f} %) belong to"
            f" no decision point in {triggers} (no trigger of the same guid at or up to {hours:g} hours before,"
            f" or it has a contact already), more than the {100 * settings.allow_orphans:.1f} % allowed; check the"
            " clocks of the two files, or raise --match-window-hours."
        )
    if quality.triggers.used == 0 or contacts == 0:
        raise InputError(f"{triggers if quality.triggers.used == 0 else actions} has no row that can be used.")
    if interests == 0:
        raise InputError(f"No row of {actions} has result 1; without a single interested user there is no answer.")
    if quality.users_in_log == 1:
        raise InputError("The log has only one user; users are what the answer averages over.")


def _kinds(
    reading: Reading, categories: Mapping[str, Mapping[str, TextArray]], used: BoolArray
) -> tuple[tuple[str, ...], IntArray]:
    """Labels of kinds 1..K, and which kind each text is that names one; 0 at the end, for none."""
    if reading.triggers_are == "contacts":
        texts = categories["triggers"]["type"]
    elif "action" in categories["actions"]:
        texts = categories["actions"]["action"]
    else:
        return ONE_KIND, np.array([1, 0])
    kinds = in_order(texts, used)
    number = {label: k for k, label in enumerate(kinds, 1)}
    return kinds, np.array([*(number.get(str(text), 0) for text in texts), 0])


def _trigger_translation(categories: TextArray | None, missing: bool) -> Translation:
    numbers = None if categories is None else as_numbers(categories, missing)
    return Translation(categories) if numbers is None else Translation(numbers=numbers)


def _grid_points(days: IntArray, first_contact: IntArray, n_users: int) -> int:
    """Decision points of a grid: all days of the listed users, the others' days from their first contact on."""
    begins = np.searchsorted(days, first_contact // DAY)
    return n_users * len(days) - int(begins.sum())


def _about_the_population(quality: DataQuality, users: str | None, is_grid: bool) -> list[str]:
    """Sentences on who is counted; `users` names the file that lists them."""
    said = []
    if quality.users_not_listed:
        said.append(
            f"{quality.users_not_listed:,} of {quality.users_in_log:,} users of the log are not in {users}; they are"
            " kept, without attributes."
        )
    if is_grid and (users is None or quality.users_not_listed):
        whose = "A user" if users is None else f"A user who is not in {users}"
        said.append(f"{whose} is known only from the first contact on: the answer is about users once contacted.")
    return said


def _about_the_times(reading: Reading, quality: DataQuality, triggers: str, has_hours: bool) -> list[str]:
    """A sentence where the file of visits has days but no times of day."""
    if reading.triggers_are != "opportunities" or has_hours:
        return []
    duplicates = quality.triggers.duplicates
    copies = f" ({duplicates:,} rows that repeat another one exactly count once)" if duplicates else ""
    return [
        f"All times of {triggers} are midnight: the visits of a user on one day are one decision point{copies},"
        " and the feature hour says nothing."
    ]

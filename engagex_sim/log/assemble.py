"""One block of users: which contact belongs where, who the users are, and what that adds to the whole log."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from engagex_sim.cap import DAY, Cap
from engagex_sim.columns import AnyArray, BoolArray, Column, FloatArray, IntArray, KeyArray, TextArray
from engagex_sim.log.matching import cap_violations, decision_times, first_contacts, match, one_per_day
from engagex_sim.log.quality import Rejected
from engagex_sim.log.reading import Reading
from engagex_sim.log.table import Table
from engagex_sim.settings import LogSettings

UNANSWERED = "a contact without an actions row of its own"


@dataclass(frozen=True)
class Block:
    """A block of users as it is stored: a `Log` whose texts are still codes, and whose kinds are codes of texts."""

    user_id: TextArray  # (n_users,)
    user_key: KeyArray  # (n_users,)
    user_listed: BoolArray  # (n_users,)
    attributes: Mapping[str, AnyArray]  # (n_users,) each; 0 or −1 for those who are not listed
    trigger_user: IntArray  # (m,)
    trigger_time: IntArray  # (m,)
    trigger_columns: Mapping[str, AnyArray]  # (m,) each
    action_user: IntArray  # (k,)
    action_time: IntArray  # (k,)
    action_code: IntArray  # (k,) which of the texts that name kinds; −1 where unknown
    action_reward: FloatArray  # (k,)
    action_propensity: FloatArray  # (k,)
    action_trigger: IntArray  # (k,)


@dataclass(frozen=True)
class Account:
    """What became of a block's good rows of one file."""

    used: int
    duplicates: int
    rejected: tuple[Rejected, ...]

    @classmethod
    def of(cls, table: Table) -> "Account":
        return cls(len(table), table.duplicates, table.rejected)


@dataclass(frozen=True)
class Tally:
    """What a block adds to the facts of the whole log. A time of nothing is far in the future or in the past."""

    accounts: Mapping[str, Account]  # by role
    matched: int
    cap_violations: int
    interests: int
    n_users: int
    users_in_log: int
    users_not_listed: int  # of these
    first_time: int  # of a used trigger or action
    last_time: int
    has_hours: bool  # whether any trigger is not at midnight
    last_decision: int
    contact_days: IntArray  # days since 1970 with a contact that belongs to a decision point
    first_contact: IntArray  # of each user who is not listed, on a grid of days; else empty
    used_kinds: BoolArray  # which of the texts that name kinds occur
    missing: Mapping[str, bool]  # of each text column of the triggers, whether any value is
    used_texts: Mapping[str, BoolArray]  # of each attribute that is text, which of its texts occur
    known_texts: Mapping[str, int]  # of each attribute that is text, how many users have one


NEVER, FOREVER = -(2**62), 2**62  # the last and the first time of nothing


def assemble(
    user_id: TextArray, triggers: Table, actions: Table, users: Table | None, reading: Reading, settings: LogSettings
) -> tuple[Block, Tally]:
    """Match a block's contacts and settle its population; `user_id` (n,) is what the tables' users are positions in."""
    n = len(user_id)
    matched = match(triggers.user, triggers.time, actions.user, actions.time, settings.match_window_hours * 3600)
    if reading.triggers_are == "contacts":
        triggers, matched = _with_known_results(triggers, matched)
    if reading.by_day:
        matched = one_per_day(triggers.user, triggers.time, matched)
    made = matched >= 0
    decided = decision_times(triggers.time, reading.by_day)
    contact_time = actions.time.copy()
    contact_time[made] = decided[matched[made]]
    in_log, listed = _occurs(n, triggers, actions), _occurs(n, *([] if users is None else [users]))
    population = in_log | listed
    position = np.cumsum(population) - 1
    action_code, used_kinds = _kinds(reading, triggers, actions, matched)
    guids = user_id[population]
    block = Block(
        user_id=guids,
        user_key=pd.util.hash_array(guids, categorize=False),
        user_listed=listed[population],
        attributes={} if users is None else _attributes(users, position, len(guids)),
        trigger_user=position[triggers.user],
        trigger_time=triggers.time,
        trigger_columns={name: column.values for name, column in triggers.columns.items()},
        action_user=position[actions.user],
        action_time=actions.time,
        action_code=action_code,
        action_reward=actions.reward,
        action_propensity=actions.propensity,
        action_trigger=matched,
    )
    tables = {"triggers": triggers, "actions": actions} | ({} if users is None else {"users": users})
    times = np.concatenate([triggers.time, actions.time])
    texts = {} if users is None else {name: column for name, column in users.columns.items() if column.is_text}
    no_times = np.zeros(0, dtype=np.int64)
    tally = Tally(
        accounts={role: Account.of(table) for role, table in tables.items()},
        matched=int(made.sum()),
        cap_violations=(
            cap_violations(actions.user, contact_time, Cap(settings.cap_days)) if reading.contact_is_a_choice else 0
        ),
        interests=int(actions.reward.sum()),
        n_users=len(guids),
        users_in_log=int(in_log.sum()),
        users_not_listed=0 if users is None else int((in_log & ~listed).sum()),
        first_time=int(times.min(initial=FOREVER)),
        last_time=int(times.max(initial=NEVER)),
        has_hours=bool((triggers.time % DAY).any()),
        last_decision=int(decided.max(initial=NEVER)),
        contact_days=np.unique(contact_time[made] // DAY),
        first_contact=first_contacts(actions.user, contact_time, n)[in_log & ~listed] if reading.is_grid else no_times,
        used_kinds=used_kinds,
        missing={name: bool((c.values < 0).any()) for name, c in triggers.columns.items() if c.is_text},
        used_texts={name: _used(column) for name, column in texts.items()},
        known_texts={name: int((column.values >= 0).sum()) for name, column in texts.items()},
    )
    return block, tally


def _with_known_results(triggers: Table, matched: IntArray) -> tuple[Table, IntArray]:
    """Triggers that are contacts, without those of which the result or the kind is unknown; `matched` follows."""
    with_result = np.zeros(len(triggers), dtype=np.bool_)
    with_result[matched[matched >= 0]] = True
    with_kind = triggers.columns["type"].values >= 0
    position = np.where(with_result & with_kind, np.cumsum(with_result & with_kind) - 1, -1)
    kept = triggers.reject(~with_result, UNANSWERED).reject(~with_kind[with_result], "type is missing")
    return kept, np.append(position, -1)[matched]


def _kinds(reading: Reading, triggers: Table, actions: Table, matched: IntArray) -> tuple[IntArray, BoolArray]:
    """Which text names the kind (k,) of each contact, −1 where none is known, and which of these texts occur."""
    if reading.triggers_are == "contacts":
        kind = triggers.columns["type"]
        return np.append(kind.values, -1)[matched].astype(np.int64), _used(kind)
    if "action" in actions.columns:
        kind = actions.columns["action"]
        return kind.values.astype(np.int64), _used(kind)
    return np.zeros(len(actions), dtype=np.int64), np.ones(1, dtype=np.bool_)


def _attributes(users: Table, position: IntArray, n_users: int) -> dict[str, AnyArray]:
    attributes = {}
    for name, column in users.columns.items():
        values = np.full(n_users, -1 if column.is_text else 0, dtype=column.values.dtype)
        values[position[users.user]] = column.values
        attributes[name] = values
    return attributes


def _occurs(n: int, *tables: Table) -> BoolArray:
    """(n,) which users have a row in any of the tables."""
    occurs = np.zeros(n, dtype=np.bool_)
    for table in tables:
        occurs[table.user] = True
    return occurs


def _used(column: Column) -> BoolArray:
    """Which of a text column's categories occur."""
    assert column.categories is not None
    used = np.zeros(len(column.categories) + 1, dtype=np.bool_)
    used[column.values] = True
    return used[:-1]

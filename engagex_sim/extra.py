"""More data: the contacts of a second log, from which the reward model learns and nothing else does."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd

from engagex_sim.cap import DAY, NEVER, Cap
from engagex_sim.columns import BoolArray, Column, IntArray
from engagex_sim.decision_points import decisions_of
from engagex_sim.errors import InputError
from engagex_sim.log import DataQuality, Log, LogBlocks, LogFacts, TableSource
from engagex_sim.settings import LogSettings
from engagex_sim.timeline import Timeline

DAY_FEATURE = "day"  # counted from the main log's start in both


@dataclass(frozen=True)
class Extra:
    """Contacts of a second log, told in the main log's terms, and how they were read."""

    contacts: Timeline  # features as its own timelines give them; users without contacts are left out
    quality: DataQuality
    left_out: int  # contacts of a kind that the main log does not have
    copies: int  # contacts that the main log holds itself; left out too, or they would count twice
    shared: int  # users who were contacted in both logs

    @classmethod
    def of(cls, log: Log | LogBlocks, main: Timeline, settings: LogSettings) -> Self:
        """The contacts of `log`, which was read with `settings_like` the main log's, whose timeline is `main`.

        Raises `InputError` where a feature of the main log is not there, or is text in one and numbers in the other,
        and where the main log holds every contact itself.
        """
        blocks = (log.load(block) for block in range(len(log))) if isinstance(log, LogBlocks) else [log]
        parts = [Timeline.of(decisions_of(block, settings), Cap(settings.cap_days)).contacts() for block in blocks]
        own = Timeline.join(parts)
        columns = dict(own.columns)
        if DAY_FEATURE in columns:
            later = (own.log_start - main.log_start) // DAY
            columns[DAY_FEATURE] = Column(columns[DAY_FEATURE].values + later)
        _check(main, columns)
        kind = _position_of(own.kinds, main.kinds)
        action = kind[own.action]
        told = replace(
            own,
            cap=main.cap,
            kinds=main.kinds,
            initial=replace(own.initial, last_of_kind=np.full((own.n_users, len(main.kinds)), NEVER)),  # none decides
            action=action,
            columns={name: columns[name] for name in main.columns},
            log_start=main.log_start,
            log_end=main.log_end,
        ).rows(action > 0)
        logged = main.contacts()
        copied = _moments(told).isin(_moments(logged))
        if len(told) and copied.all():
            raise InputError(
                f"The extra log is a copy: all of its {len(told):,} contacts, by user and time, are in the log itself;"
                " give another one, or leave out the extra log."
            )
        told = told.rows(~copied)
        told = told.users(_contacted(told))
        known = main.user_key[_contacted(logged)]
        shared = int(np.isin(told.user_key, known).sum())
        return cls(told, log.quality, int((action == 0).sum()), int(copied.sum()), shared)

    @property
    def sentence(self) -> str:
        """What learns from what, and what became of the rows."""
        triggers, actions = self.quality.triggers, self.quality.actions
        left_out = f"; {self.left_out:,} contacts of kinds that this log does not have are left out"
        copies = f"; {self.copies:,} contacts that this log has itself are left out"
        return (
            f"The reward model, and nothing else, also learns from {len(self.contacts):,} contacts with"
            f" {int(self.contacts.reward.sum()):,} interests of {self.contacts.n_users:,} users in the extra log, of"
            f" whom {self.shared:,} were contacted in both logs and help to judge others only ({triggers.used:,} of"
            f" {triggers.read:,} trigger rows and {actions.used:,} of {actions.read:,} action rows are used"
            f"{left_out if self.left_out else ''}{copies if self.copies else ''})."
        )


def check_there(triggers: TableSource, actions: TableSource) -> None:
    """Raise `InputError` where a file of the second log is missing, before the main one is read."""
    for role, source in (("triggers", triggers), ("actions", actions)):
        if isinstance(source, str | Path) and not Path(source).exists():
            raise InputError(f"There is no file {source} (for the {role} of the extra log).")


def settings_like(main: LogFacts, settings: LogSettings) -> LogSettings:
    """How the second log is read: as the main one was, and without burn-in, since no policy is judged on it."""
    return settings.model_copy(
        update={"triggers_are": main.triggers_are, "decision_points": main.decision_points, "start": "free"}
    )


def _moments(contacts: Timeline) -> pd.MultiIndex:
    """Whom each contact reached, and when."""
    return pd.MultiIndex.from_arrays([contacts.user_key[contacts.user_of_row], contacts.time])


def _contacted(contacts: Timeline) -> BoolArray:
    return np.asarray(np.diff(contacts.user_start) > 0, dtype=np.bool_)


def joined(contacts: Timeline, extra: Timeline) -> Timeline:
    """The contacts of both logs; categories of text are told in one coding."""
    both = {name: _one_coding(column, extra.columns[name]) for name, column in contacts.columns.items()}
    first, second = ({name: pair[i] for name, pair in both.items()} for i in range(2))
    return Timeline.join([replace(contacts, columns=first), replace(extra, columns=second)])


def _one_coding(first: Column, second: Column) -> tuple[Column, Column]:
    if first.categories is None or second.categories is None:
        return first, second
    categories = np.union1d(first.categories, second.categories).astype(object)
    in_both = [str(category) for category in categories]
    return Column(first.codes_for(in_both), categories), Column(second.codes_for(in_both), categories)


def _position_of(own: Sequence[str], main: Sequence[str]) -> IntArray:
    """Action of the main log by action here, 0 for a kind that it does not have."""
    return np.array([0, *(main.index(kind) + 1 if kind in main else 0 for kind in own)])


def _check(main: Timeline, columns: dict[str, Column]) -> None:
    for name, column in main.columns.items():
        if name not in columns:
            raise InputError(
                f"The extra log has no column {name!r}, which the log itself has; give it the same columns."
            )
        if column.is_text != columns[name].is_text:
            here, there = ("text", "numbers") if column.is_text else ("numbers", "text")
            raise InputError(
                f"The column {name!r} is {here} in the log and {there} in the extra log; give it the same type in both."
            )

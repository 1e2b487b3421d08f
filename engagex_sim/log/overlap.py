"""What the two files have in common: the same users, the same time, the same instants."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engagex_sim.columns import IntArray, TextArray
from engagex_sim.errors import InputError
from engagex_sim.log.matching import rows_at_one_instant
from engagex_sim.log.table import Table


@dataclass(frozen=True)
class Extent:
    """The rows of one file: how many, from when to when, and the guid of the first one."""

    name: str
    rows: int = 0
    first: int = 0
    last: int = 0
    guid: str = ""

    @classmethod
    def of(cls, table: Table, user_id: TextArray) -> "Extent":
        """Of a block's rows."""
        if len(table) == 0:
            return cls(table.name)
        return cls(table.name, len(table), int(table.time.min()), int(table.time.max()), user_id[table.user[0]])

    @classmethod
    def over(cls, blocks: Sequence["Extent"]) -> "Extent":
        """Of all blocks, in the order of guids."""
        filled = [block for block in blocks if block.rows]
        if not filled:
            return blocks[0]
        return cls(
            name=filled[0].name,
            rows=sum(block.rows for block in filled),
            first=min(block.first for block in filled),
            last=max(block.last for block in filled),
            guid=filled[0].guid,
        )


@dataclass(frozen=True)
class Overlap:
    """What triggers and actions have in common, in one block or in all."""

    triggers: Extent
    actions: Extent
    shares_users: bool  # whether any user has rows in both
    at_one_instant: int  # trigger rows that have an actions row at the same user and time

    @classmethod
    def of(cls, user_id: TextArray, triggers: Table, actions: Table) -> "Overlap":
        """Of a block, in whose `user_id` (n,) the tables' users are positions."""
        return cls(
            triggers=Extent.of(triggers, user_id),
            actions=Extent.of(actions, user_id),
            shares_users=_share_users(triggers.user, actions.user, len(user_id)),
            at_one_instant=rows_at_one_instant(triggers.user, triggers.time, actions.user, actions.time),
        )

    @classmethod
    def over(cls, blocks: Sequence["Overlap"]) -> "Overlap":
        """Of all blocks, in the order of guids."""
        return cls(
            triggers=Extent.over([block.triggers for block in blocks]),
            actions=Extent.over([block.actions for block in blocks]),
            shares_users=any(block.shares_users for block in blocks),
            at_one_instant=sum(block.at_one_instant for block in blocks),
        )

    @property
    def share_at_one_instant(self) -> float:
        """Share of trigger rows that have an actions row at the same user and time."""
        return self.at_one_instant / self.triggers.rows

    def check(self, window: float) -> None:
        """Raise `InputError` where the files share no guid, or no contact is within `window` seconds of any trigger.

        Neither a clock that runs late nor a longer window explains that; the files do not belong together.
        """
        triggers, actions = self.triggers, self.actions
        if triggers.rows == 0 or actions.rows == 0:
            return
        if not self.shares_users:
            raise InputError(
                f"No guid of {actions.name} (such as {actions.guid!r}) is in {triggers.name} (such as"
                f" {triggers.guid!r}); both files must write the guid of a user alike."
            )
        if actions.first > triggers.last + window or actions.last < triggers.first:
            raise InputError(
                f"The dates of the two files do not overlap: {triggers.name} covers {_period(triggers)},"
                f" {actions.name} {_period(actions)}; give both files of the same time."
            )


def _share_users(one: IntArray, other: IntArray, n_users: int) -> bool:
    in_one = np.zeros(n_users, dtype=np.bool_)
    in_one[one] = True
    return bool(in_one[other].any())


def _period(extent: Extent) -> str:
    first, last = (np.datetime64(second, "s").astype("datetime64[D]") for second in (extent.first, extent.last))
    return f"{first} to {last}"

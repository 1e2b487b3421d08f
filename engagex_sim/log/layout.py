"""How the stored codes of a block become the columns of a log."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from engagex_sim.columns import AnyArray, BoolArray, Column, IntArray, TextArray
from engagex_sim.log.assemble import Block
from engagex_sim.log.data import Log, LogFacts


@dataclass(frozen=True)
class Translation:
    """What the stored values of a column stand for: themselves, texts, or texts that are all numbers."""

    categories: TextArray | None = None
    numbers: AnyArray | None = None  # of each code, and of −1 at the end

    def column(self, values: AnyArray, known: BoolArray | None = None) -> Column:
        """The column (n,); what is not `known` (n,) is missing."""
        if self.numbers is not None:
            return Column(self.numbers[values])
        if self.categories is None and known is not None:
            values = np.where(known, values, np.nan)
        return Column(values, self.categories)


@dataclass(frozen=True)
class Layout:
    """How all columns of a log are stored, and the kind, 1..K or 0, of each text that names one; −1 at the end."""

    trigger_columns: Mapping[str, Translation]
    attributes: Mapping[str, Translation]
    kind_of_code: IntArray

    def log(self, block: Block, facts: LogFacts) -> Log:
        """The log of a block's users."""
        listed = None if facts.all_listed else block.user_listed
        return Log(
            facts=facts,
            user_id=block.user_id,
            user_key=block.user_key,
            user_listed=block.user_listed,
            attributes={name: t.column(block.attributes[name], listed) for name, t in self.attributes.items()},
            trigger_user=block.trigger_user,
            trigger_time=block.trigger_time,
            trigger_code=block.trigger_columns["trigger"],
            trigger_columns={name: t.column(block.trigger_columns[name]) for name, t in self.trigger_columns.items()},
            action_user=block.action_user,
            action_time=block.action_time,
            action_kind=self.kind_of_code[block.action_code],
            action_reward=block.action_reward,
            action_propensity=block.action_propensity,
            action_trigger=block.action_trigger,
        )

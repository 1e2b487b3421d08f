"""A log's timelines in blocks of whole users: what an evaluation goes through, one block in memory at a time."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from engagex_sim.cap import Cap
from engagex_sim.columns import IntArray, KeyArray
from engagex_sim.decision_points import decisions_of
from engagex_sim.hashing import bootstrap_counts
from engagex_sim.log import LogBlocks
from engagex_sim.settings import LogSettings
from engagex_sim.timeline import Timeline


class Blocks(Protocol):
    """Timelines of blocks of whole users, burn-in included; users of all blocks stand in one order."""

    def __len__(self) -> int: ...

    @property
    def n_rows(self) -> int:
        """Rows in all blocks, about."""
        ...

    def timeline(self, block: int) -> Timeline: ...


@dataclass(frozen=True)
class InMemory:
    """One block that is there already."""

    whole: Timeline

    def __len__(self) -> int:
        return 1

    @property
    def n_rows(self) -> int:
        return len(self.whole)

    def timeline(self, block: int) -> Timeline:
        del block
        return self.whole


@dataclass(frozen=True)
class OfLog:
    """The blocks of a log that was read; features are computed whenever a block is asked for."""

    log: LogBlocks
    settings: LogSettings

    def __len__(self) -> int:
        return len(self.log)

    @property
    def n_rows(self) -> int:
        return max(int(self.log.triggers.sum()), self.log.facts.grid_points)

    def timeline(self, block: int) -> Timeline:
        return Timeline.of(decisions_of(self.log.load(block), self.settings), Cap(self.settings.cap_days))


@dataclass(frozen=True)
class Redrawn:
    """The same blocks with users drawn with replacement (Poisson counts), as in bootstrap replicate `replicate`."""

    blocks: Blocks
    seed: int
    replicate: int

    def __len__(self) -> int:
        return len(self.blocks)

    @property
    def n_rows(self) -> int:
        return self.blocks.n_rows

    def timeline(self, block: int) -> Timeline:
        own = self.blocks.timeline(block)
        return own.drawn(drawn_users(own.user_key, self.seed, self.replicate))


def drawn_users(user_key: KeyArray, seed: int, replicate: int) -> IntArray:
    """Positions of the users that a bootstrap replicate draws, in order, each as often as drawn."""
    counts = bootstrap_counts(user_key, seed, replicate, replicate + 1)[0].astype(np.int64)
    return np.repeat(np.arange(len(user_key)), counts)

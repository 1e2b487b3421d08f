"""Rows of one file as sorted arrays, and the account of those that are not used."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import pandas as pd

from engagex_sim.columns import BoolArray, Column, FloatArray, IntArray
from engagex_sim.log.quality import Rejected


@dataclass(frozen=True)
class Table:
    """The rows of one file and one block of users that are used so far, sorted by (user, time, line)."""

    name: str
    line: IntArray
    user: IntArray  # position in the block
    time: IntArray  # all 0 for users
    reward: FloatArray  # NaN but for actions
    propensity: FloatArray  # NaN but for actions
    columns: Mapping[str, Column]  # text, even where all of it is numbers, for trigger, type and action
    duplicates: int = 0  # rows left out because they equal another one
    rejected: tuple[Rejected, ...] = ()  # rows left out for other reasons

    def __len__(self) -> int:
        return len(self.line)

    def reject(self, rows: BoolArray, reason: str) -> Self:
        """Without the rows where `rows` (n,) holds, which are rejected for `reason`."""
        if not rows.any():
            return self
        return replace(self._keep(~rows), rejected=(*self.rejected, Rejected(reason, self.line[rows])))

    def without_copies(self) -> Self:
        """Without rows that equal an earlier one in everything but the line."""
        tied = self._tied()
        rows = np.flatnonzero(tied)
        if len(rows) == 0:
            return self
        values = {"user": self.user, "time": self.time, "reward": self.reward, "propensity": self.propensity}
        values |= {f"column {name}": column.values for name, column in self.columns.items()}
        copies = pd.DataFrame({name: value[rows] for name, value in values.items()}).duplicated().to_numpy()
        if not copies.any():
            return self
        kept = np.ones(len(self), dtype=np.bool_)
        kept[rows[copies]] = False
        return replace(self._keep(kept), duplicates=self.duplicates + int(copies.sum()))

    def without_contradictions(self, reason: str) -> Self:
        """Without any row that shares user and time with another one; call it on rows without copies."""
        return self.reject(self._tied(), reason)

    def _tied(self) -> BoolArray:
        """(n,) rows that share user and time with a neighbour."""
        if len(self) == 0:
            return np.zeros(0, dtype=np.bool_)
        same = (self.user[1:] == self.user[:-1]) & (self.time[1:] == self.time[:-1])
        tied: BoolArray = np.append(same, False) | np.append(False, same)
        return tied

    def _keep(self, kept: BoolArray) -> Self:
        return replace(
            self,
            line=self.line[kept],
            user=self.user[kept],
            time=self.time[kept],
            reward=self.reward[kept],
            propensity=self.propensity[kept],
            columns={name: column.take(kept) for name, column in self.columns.items()},
        )

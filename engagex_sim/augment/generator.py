"""What writes rows: one method, and what it is shown."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import pandas as pd

from engagex_sim.augment.rows import Feature


@dataclass(frozen=True)
class Examples:
    """Real rows of one class, and what their columns hold."""

    rows: pd.DataFrame  # (m, p) named columns: a missing number is NaN, missing text None
    features: tuple[Feature, ...]  # (p,)
    interested: bool  # whether they are contacts that interested the user


@dataclass(frozen=True)
class Batch:
    """Rows as they were written, not yet checked, with the same columns as the examples and values of any type."""

    rows: pd.DataFrame
    asked: int  # for how many
    request: bool = False  # whether a server was asked
    rejected: Mapping[str, int] = field(default_factory=dict)  # what did not come as rows of these columns, by reason
    trouble: str | None = None  # why nothing came

    @property
    def received(self) -> int:
        """Rows that came, usable or not."""
        return len(self.rows) + sum(self.rejected.values())


class RowGenerator(Protocol):
    """Writes rows that could have been in the log."""

    @property
    def described(self) -> Mapping[str, str | int]:
        """What it is, by name, for the files of a run."""
        ...

    def batches(self, examples: Examples, missing: Callable[[], int], seed: int) -> Iterator[Batch]:
        """Batches of new rows like the examples, until no more can be had.

        Before each one `missing()` tells how many rows are still wanted: some of what was written before may have been
        rejected. Raises `InputError` where it is no use to go on.
        """
        ...

"""What became of every input row."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from engagex_sim.columns import IntArray
from engagex_sim.errors import InputError

REJECTED_COLUMNS = ("file", "line", "reason")


@dataclass(frozen=True)
class Rejected:
    """Rows of one file that are rejected for one reason."""

    reason: str
    line: IntArray  # (n,), n > 0


@dataclass(frozen=True)
class FileQuality:
    """The rows of one file; every one of them ends in exactly one of the three groups."""

    read: int
    used: int
    duplicates: int  # exact copies of a row that is used
    rejected: int

    def __post_init__(self) -> None:
        if self.read != self.used + self.duplicates + self.rejected:
            raise ValueError(f"the accounting does not add up: {self}")


@dataclass(frozen=True)
class DataQuality:
    """The accounting of a log: rows per file, what was rejected and why, and what the contacts look like."""

    triggers: FileQuality
    actions: FileQuality
    users: FileQuality | None  # None without users.csv
    rejected: pd.DataFrame  # file, line, reason: one row per rejected input row, in file order
    matched: int  # used contacts that belong to a decision point
    orphans: int  # used contacts that belong to none
    cap_violations: int  # used contacts that the cap forbade, given the same user's contact before
    users_in_log: int  # users with at least one used trigger or contact
    users_not_listed: int  # of these, not in users.csv; 0 without users.csv

    @property
    def files(self) -> Mapping[str, FileQuality]:
        """The accounting of each file that there is, by what it holds: triggers, actions, users."""
        files = {"triggers": self.triggers, "actions": self.actions, "users": self.users}
        return {name: file for name, file in files.items() if file is not None}

    def as_dict(self) -> dict[str, Any]:
        """Everything but the single rejected rows, as plain numbers and text for data_quality.json."""
        return {
            "files": {name: asdict(file) for name, file in self.files.items()},
            "matched": self.matched,
            "orphans": self.orphans,
            "cap_violations": self.cap_violations,
            "users_in_log": self.users_in_log,
            "users_not_listed": self.users_not_listed,
            "reasons": reasons(self.rejected).to_dict(orient="records"),
        }


def reasons(rejected: pd.DataFrame) -> pd.DataFrame:
    """Rejected rows by file and reason, commonest first: file, reason, rows, first_line."""
    grouped = rejected.groupby(["file", "reason"], sort=True)["line"].agg(rows="size", first_line="min").reset_index()
    return grouped.sort_values(["rows", "first_line"], ascending=[False, True], kind="stable", ignore_index=True)


def rejected_rows(file: str, rejected: Sequence[Rejected]) -> pd.DataFrame:
    """The rejected rows of a file as a table, by line: file, line, reason."""
    line = np.concatenate([np.zeros(0, dtype=np.int64), *(group.line for group in rejected)])
    reason = np.repeat(
        np.array([group.reason for group in rejected], dtype=object), [len(group.line) for group in rejected]
    )
    order = np.argsort(line, kind="stable")
    return pd.DataFrame(dict(zip(REJECTED_COLUMNS, (file, line[order], reason[order]), strict=True)))


def check_rejected_share(name: str, read: int, rejected: Sequence[Rejected], allowed: float, advice: str = "") -> None:
    """Raise `InputError` with the three commonest reasons and `advice` where too large a share of rows is rejected."""
    n_rejected = sum(len(group.line) for group in rejected)
    if n_rejected <= allowed * read:
        return
    rows: dict[str, int] = {}
    first: dict[str, int] = {}
    for group in rejected:
        rows[group.reason] = rows.get(group.reason, 0) + len(group.line)
        line = int(group.line.min())
        first[group.reason] = min(first.get(group.reason, line), line)
    worst = sorted(rows, key=lambda reason: (-rows[reason], first[reason]))[:3]
    listed = "; ".join(f"{reason} ({rows[reason]:,} rows, first in line {first[reason]})" for reason in worst)
    raise InputError(
        f"{name}: {n_rejected:,} of {read:,} rows ({100 * n_rejected / read:.1f} %) cannot be used, more than the"
        f" {100 * allowed:.1f} % that --allow-rejected allows: {listed}{advice}."
    )

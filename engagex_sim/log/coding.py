"""From judged rows to sorted arrays of numbers; text becomes codes into its sorted distinct values."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import duckdb
import numpy as np
import pandas as pd

from engagex_sim.columns import AnyArray, BoolArray, CodeArray, Column, FloatArray, IntArray, TextArray
from engagex_sim.log.quality import FileQuality
from engagex_sim.log.rows import Rows
from engagex_sim.log.sql import one_row

NUMBER = re.compile(r"[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]+)?")
WHOLE = re.compile(r"[+-]?[0-9]{1,18}")


@dataclass(frozen=True)
class Table:
    """The rows of one file that are used so far, sorted by (user, time, line), and the account of the others."""

    name: str
    read: int
    duplicates: int
    rejected: pd.DataFrame
    line: IntArray
    user: IntArray
    time: IntArray  # all 0 for users
    reward: FloatArray  # NaN but for actions
    propensity: FloatArray  # NaN but for actions
    columns: Mapping[str, Column]  # text, even where all of it is numbers, for trigger, type and action

    def __len__(self) -> int:
        return len(self.line)

    @property
    def quality(self) -> FileQuality:
        return FileQuality(self.read, len(self), self.duplicates, len(self.rejected))

    def reject(self, rows: BoolArray, reason: str | AnyArray) -> Self:
        """Without the rows where `rows` (n,) holds, which are rejected for `reason` (one, or (n,))."""
        if not rows.any():
            return self
        reasons = np.broadcast_to(np.asarray(reason, dtype=object), len(self))[rows]
        more = pd.DataFrame({"file": self.name, "line": self.line[rows], "reason": reasons})
        rejected = pd.concat([self.rejected, more], ignore_index=True) if len(self.rejected) else more
        rejected = rejected.sort_values("line", kind="stable", ignore_index=True)
        return replace(self._keep(~rows), rejected=rejected)

    def without_copies(self) -> Self:
        """Without rows that equal an earlier one in everything but the line."""
        tied = self._tied()
        rows = np.flatnonzero(tied)
        if len(rows) == 0:
            return self
        values = {"user": self.user, "time": self.time, "reward": self.reward, "propensity": self.propensity}
        values |= {f"column {name}": column.values for name, column in self.columns.items()}
        copies = pd.DataFrame({name: value[rows] for name, value in values.items()}).duplicated().to_numpy()
        kept = np.ones(len(self), dtype=np.bool_)
        kept[rows[copies]] = False
        return replace(self._keep(kept), duplicates=self.duplicates + int(copies.sum()))

    def without_contradictions(self, reason: str) -> Self:
        """Without any row that shares user and time with another one; call it on rows without copies."""
        return self.reject(self._tied(), reason)

    def _tied(self) -> BoolArray:
        """(n,) rows that share user and time with a neighbour."""
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


def code_users(connection: duckdb.DuckDBPyConnection, roles: list[str]) -> TextArray:
    """The distinct guids of all good rows, sorted, as the type `known_user` of the connection."""
    every = " UNION ".join(f"SELECT DISTINCT guid AS value FROM {role} WHERE reason IS NULL" for role in roles)
    return _dictionary(connection, "known_user", every)


def code_table(connection: duckdb.DuckDBPyConnection, rows: Rows) -> Table:
    """The good rows of a judged file as sorted arrays, exact copies removed; the table is dropped."""
    role = rows.role
    selected = {"line": "line", "user": "enum_code(guid::known_user)::BIGINT"}
    if role != "users":
        selected["time"] = "time"
    if role == "actions":
        selected |= {"reward": "reward", "propensity": "coalesce(propensity, 'nan'::DOUBLE)"}
    categories: dict[str, TextArray] = {}
    for i, name in enumerate(rows.text_columns):
        number = None if name in ("trigger", "type", "action") else _numeric_type(connection, role, f"x{i}")
        if number is None:
            distinct = f"SELECT DISTINCT x{i} AS value FROM {role} WHERE reason IS NULL AND x{i} IS NOT NULL"
            categories[name] = _dictionary(connection, f"{role}_x{i}", distinct)
            known = len(categories[name]) > 0
            selected[f"x{i}"] = f"coalesce(enum_code(x{i}::{role}_x{i})::INTEGER, -1)" if known else "-1::INTEGER"
        elif number == "BIGINT":
            selected[f"x{i}"] = f"x{i}::BIGINT"
        else:
            selected[f"x{i}"] = f"coalesce(x{i}::DOUBLE, 'nan'::DOUBLE)"
    query = f"SELECT {', '.join(f'{sql} AS {name}' for name, sql in selected.items())} FROM {role} WHERE reason IS NULL"
    order = "user, time, line" if role != "users" else "user, line"
    arrays = connection.execute(f"SELECT * FROM ({query}) ORDER BY {order}").fetchnumpy()
    connection.execute(f"DROP TABLE {role}")
    plain: dict[str, Any] = {name: np.ma.getdata(values) for name, values in arrays.items()}
    n = len(plain["line"])
    undefined = np.broadcast_to(np.nan, n)
    return Table(
        name=rows.name,
        read=rows.read,
        duplicates=0,
        rejected=rows.rejected,
        line=plain["line"],
        user=plain["user"],
        time=plain.get("time", np.zeros(n, dtype=np.int64)),
        reward=plain.get("reward", undefined),
        propensity=plain.get("propensity", undefined),
        columns={name: Column(plain[f"x{i}"], categories.get(name)) for i, name in enumerate(rows.text_columns)},
    ).without_copies()


def as_numbers(column: Column) -> Column:
    """A text column as numbers where every one of its categories is a number; else the column itself."""
    categories = column.categories
    if categories is None or not all(NUMBER.fullmatch(category) for category in categories):
        return column
    whole = all(WHOLE.fullmatch(category) for category in categories) and not bool((column.values < 0).any())
    if whole and len(categories):
        return Column(np.array([int(category) for category in categories], dtype=np.int64)[column.values])
    padded = np.array([*(float(category) for category in categories), np.nan])
    return Column(padded[column.values])


def in_order(column: Column) -> tuple[tuple[str, ...], CodeArray]:
    """The categories that occur in a text column, ascending (as numbers where all are), and the codes into them."""
    categories = column.categories
    assert categories is not None
    used = [str(categories[code]) for code in np.unique(column.values[column.values >= 0])]
    if all(NUMBER.fullmatch(label) for label in used):
        used.sort(key=lambda label: (float(label), label))
    return tuple(used), column.codes_for(used)


def _dictionary(connection: duckdb.DuckDBPyConnection, name: str, values: str) -> TextArray:
    """Make an enumeration type of the distinct values (a query) in ascending order; returns them."""
    connection.execute(f"CREATE TYPE {name} AS ENUM (SELECT value FROM ({values}) ORDER BY value)")
    found = connection.execute(f"SELECT unnest(enum_range(NULL::{name}))::VARCHAR AS value").fetchnumpy()["value"]
    return np.asarray(found, dtype=object)


def _numeric_type(connection: duckdb.DuckDBPyConnection, role: str, field: str) -> str | None:
    """BIGINT or DOUBLE where every good row's value is a number or missing, else None."""
    number = (
        f"{field} IS NULL OR (TRY_CAST({field} AS DOUBLE) IS NOT NULL AND NOT regexp_matches({field}, '[^-+.0-9eE]'))"
    )
    whole = f"{field} IS NOT NULL AND length({field}) <= 18 AND regexp_full_match({field}, '[+-]?[0-9]+')"
    query = f"SELECT bool_and({number}), bool_and({whole}) FROM {role} WHERE reason IS NULL"
    all_numbers, all_whole = one_row(connection, query)
    if not all_numbers:
        return None
    return "BIGINT" if all_whole else "DOUBLE"

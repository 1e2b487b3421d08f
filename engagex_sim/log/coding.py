"""From judged rows to sorted tables of numbers in blocks of whole users; text becomes codes.

A code is a position among the sorted distinct values of the whole file, so all blocks share their meaning.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np

from engagex_sim.cap import DAY
from engagex_sim.columns import Column, IntArray, TextArray
from engagex_sim.log.rows import Rows
from engagex_sim.log.sql import one_row
from engagex_sim.log.table import Table


@dataclass(frozen=True)
class Coded:
    """The good rows of all files, as tables of the connection sorted by (user, time, line), exact copies included."""

    connection: duckdb.DuckDBPyConnection
    rows: Mapping[str, Rows]
    categories: Mapping[str, Mapping[str, TextArray]]  # by role and text column
    bounds: IntArray  # (n_blocks + 1,) block i has the users bounds[i] to bounds[i + 1] − 1 in the order of guids

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def user_id(self, block: int) -> TextArray:
        """The guids of a block's users, sorted."""
        query = f"SELECT guid FROM known_users WHERE {self._within('code', block)} ORDER BY code"
        return np.asarray(self.connection.cursor().execute(query).fetchnumpy()["guid"], dtype=object)

    def table(self, role: str, block: int) -> Table:
        """A block's rows of one file, without exact copies."""
        query = f"SELECT * FROM sorted_{role} WHERE {self._within('user', block)}"
        arrays = self.connection.cursor().execute(query).fetchnumpy()
        plain: dict[str, Any] = {name: np.ma.getdata(values) for name, values in arrays.items()}
        n = len(plain["line"])
        undefined = np.broadcast_to(np.nan, n)
        return Table(
            name=self.rows[role].name,
            line=plain["line"],
            user=plain["user"] - self.bounds[block],
            time=plain.get("time", np.zeros(n, dtype=np.int64)),
            reward=plain.get("reward", undefined),
            propensity=plain.get("propensity", undefined),
            columns={
                name: Column(plain[f"x{i}"], self.categories[role].get(name))
                for i, name in enumerate(self.rows[role].text_columns)
            },
        ).without_copies()

    def _within(self, field: str, block: int) -> str:
        return f"{field} BETWEEN {self.bounds[block]} AND {self.bounds[block + 1] - 1}"


def code(
    connection: duckdb.DuckDBPyConnection, rows: Mapping[str, Rows], may_be_grid: bool, rows_per_block: int
) -> Coded:
    """Sort and code the good rows of all judged files, whose own tables are dropped.

    A block is cut once it has `rows_per_block` rows; where the decision points may be a grid of days, each user counts
    for as many rows more as it has days.
    """
    every = " UNION ALL ".join(f"SELECT guid FROM {role} WHERE reason IS NULL" for role in rows)
    connection.execute(
        "CREATE TABLE known_users AS SELECT guid, row_number() OVER (ORDER BY guid) - 1 AS code, rows"
        f" FROM (SELECT guid, count(*) AS rows FROM ({every}) GROUP BY guid) ORDER BY code"
    )
    found = connection.execute("SELECT rows FROM known_users ORDER BY code").fetchnumpy()
    size = np.array(found["rows"], dtype=np.int64)
    if may_be_grid:
        (days,) = one_row(connection, f"SELECT count(DISTINCT time // {DAY}) FROM actions WHERE reason IS NULL")
        size += days
    block = (np.cumsum(size) - size) // rows_per_block
    bounds = np.append(np.flatnonzero(np.diff(block, prepend=-1)), len(size))
    categories = {role: _sorted_table(connection, judged) for role, judged in rows.items()}
    return Coded(connection, rows, categories, bounds)


def _sorted_table(connection: duckdb.DuckDBPyConnection, rows: Rows) -> dict[str, TextArray]:
    """Make the sorted table of a file; returns the categories of its text columns."""
    role = rows.role
    selected = {"line": "line", "user": "code"}
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
    fields = ", ".join(f"{sql} AS {name}" for name, sql in selected.items())
    order = "user, time, line" if role != "users" else "user, line"
    connection.execute(
        f"CREATE TABLE sorted_{role} AS SELECT * FROM"
        f" (SELECT {fields} FROM {role} JOIN known_users USING (guid) WHERE reason IS NULL) ORDER BY {order}"
    )
    connection.execute(f"DROP TABLE {role}")
    return categories


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

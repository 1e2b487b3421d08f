"""Small helpers for queries."""

from typing import Any

import duckdb


def one_row(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[Any, ...]:
    """The only row of a query's result, which must be read to its end before the connection can do anything else."""
    (row,) = connection.execute(query).fetchall()
    return tuple(row)


def literal(text: str) -> str:
    """Text as SQL."""
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """A column's name as SQL."""
    return '"' + name.replace('"', '""') + '"'

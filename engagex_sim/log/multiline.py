"""Records of a CSV file that span several lines, because a quoted field holds line breaks."""

import csv
import io
from itertools import pairwise

import duckdb
import pandas as pd

from engagex_sim.log.text import TextFile

_LONGEST = 1_000  # lines in one record; a quote still open after that is an error, not a long text


def join_records(connection: duckdb.DuckDBPyConnection, role: str, lines: str, rows: str, text: TextFile) -> str:
    """SQL for the records (line, text), given SQL for all physical lines and for the lines that hold rows.

    A line with an odd number of double quotes opens or closes a quoted text. Two such lines, with what lies between,
    are one record if together they parse; else the first is left alone, to be rejected, and the search goes on.
    """
    odd = "(length(text) - length(replace(text, '\"', ''))) % 2 = 1"
    found = connection.execute(f"SELECT line FROM ({rows}) WHERE {odd} ORDER BY line").fetchnumpy()["line"]
    opened = [(int(a), int(b)) for a, b in pairwise(found) if b - a < _LONGEST]
    if not opened:
        return rows
    connection.register(f"{role}_spans", pd.DataFrame(opened, columns=["first", "last"]))
    near = f"SELECT DISTINCT line, coalesce(text, '') FROM ({lines}) JOIN {role}_spans ON line BETWEEN first AND last"
    content: dict[int, str] = dict(connection.execute(near).fetchall())
    joined: list[tuple[int, int, str]] = []
    for first, last in opened:
        if joined and first <= joined[-1][1]:
            continue
        record = "\n".join(content[line] for line in range(first, last + 1))
        if _parses(record, len(text.header)):
            joined.append((first, last, record))
    if not joined:
        return rows
    connection.register(f"{role}_joined", pd.DataFrame(joined, columns=["first", "last", "text"]))
    connection.register(f"{role}_parts", pd.DataFrame({"line": [n for a, b, _ in joined for n in range(a, b + 1)]}))
    return (
        f"SELECT line, text FROM ({rows}) ANTI JOIN {role}_parts USING (line)"
        f" UNION ALL SELECT first AS line, text FROM {role}_joined"
    )


def _parses(record: str, n_columns: int) -> bool:
    """Whether the text is exactly one record of `n_columns` fields."""
    try:
        records = list(csv.reader(io.StringIO(record, newline=""), strict=True))
    except csv.Error:
        return False
    return len(records) == 1 and len(records[0]) == n_columns

"""One input file or data frame as a relation of text: line, fault, and one field per column."""

from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd

from engagex_sim.errors import InputError
from engagex_sim.log.multiline import join_records
from engagex_sim.log.sql import identifier, literal
from engagex_sim.log.text import TextFile, first_bytes, inspect

TableSource = str | Path | pd.DataFrame

MALFORMED = "a double quote is out of place"


@dataclass(frozen=True)
class Source:
    """A readable table. `relation` is SQL for its rows: line BIGINT, fault VARCHAR (NULL if whole), c0, c1, … VARCHAR.

    A missing value is NULL. Lines are physical lines of a CSV file, the header being line 1, and rows counted from 1
    elsewhere.
    """

    name: str  # for reports
    columns: tuple[str, ...]
    types: tuple[str, ...]  # duckdb's name of each column's type
    relation: str


def open_source(connection: duckdb.DuckDBPyConnection, role: str, source: TableSource) -> Source:
    """Make a file (CSV, gzipped CSV, Parquet) or data frame readable as `role` (triggers, actions or users).

    Raises `InputError` where there is nothing to read.
    """
    if isinstance(source, pd.DataFrame):
        return _frame(connection, role, source)
    path = Path(source)
    if path.is_dir():
        raise InputError(f"{path} is a directory; name the {role} file itself.")
    if not path.is_file():
        raise InputError(f"There is no file {path} (for the {role}).")
    if first_bytes(path, 4) == b"PAR1":
        return _parquet(connection, path)
    if path.suffix.lower() in (".parquet", ".pq"):
        raise InputError(f"{path} is named like a Parquet file but is not one.")
    return _csv(connection, role, path)


def _csv(connection: duckdb.DuckDBPyConnection, role: str, path: Path) -> Source:
    text = inspect(path)
    _check_names(path.name, text.header)
    lines = (
        # One physical line per row, blank ones included, so that the row number is the line number. The line breaks
        # may be mixed (a workbook saved as CSV has \n inside quotes and \r\n elsewhere): non-strict mode allows it.
        # Numbering makes the query one-threaded anyway, and duckdb's parallel reader gives up on files above 2 GB.
        "SELECT row_number() OVER () AS line, text"
        f" FROM read_csv({literal(escape(str(path)))}, auto_detect = false, header = false, strict_mode = false,"
        " columns = {'text': 'VARCHAR'}, delim = '\x1f', quote = '', escape = '', new_line = '\\r\\n',"
        f" compression = '{'gzip' if text.gzipped else 'none'}', parallel = false)"
    )
    rows = f"SELECT line, text FROM ({lines}) WHERE line > {text.header_lines} AND text IS NOT NULL AND text <> ''"
    try:
        if text.quotes:
            rows = join_records(connection, role, lines, rows, text)
        filled = connection.execute(f"SELECT 1 FROM ({rows}) LIMIT 1").fetchall()
    except duckdb.Error as error:
        raise InputError(f"{path} cannot be read as CSV: {str(error).splitlines()[0]}") from error
    if not filled:
        raise InputError(f"{path} has a header but no rows.")
    return Source(path.name, text.header, ("VARCHAR",) * len(text.header), _fields(rows, text))


def _fields(rows: str, text: TextFile) -> str:
    """SQL that takes lines apart at commas, heeding double quotes."""
    n = len(text.header)
    plain = "string_split(text, ',')"
    if not text.quotes:
        names = ", ".join(f"nullif(fields[{i + 1}], '') AS c{i}" for i in range(n))
        return f"SELECT line, {_count_fault(n)} AS fault, {names} FROM (SELECT line, {plain} AS fields FROM ({rows}))"
    # Every field with the comma before it; together they give the line back, unless a quote is out of place.
    fields = """regexp_extract_all(',' || text, ',(?:"(?:[^"]|"")*"|[^",]*)')"""
    whole = "array_to_string(fields, '') = ',' || text"
    names = ", ".join(f"{_unquoted(f'fields[{i + 1}]')} AS c{i}" for i in range(n))
    return (
        f"SELECT line, CASE WHEN NOT ({whole}) THEN '{MALFORMED}' ELSE {_count_fault(n)} END AS fault, {names}"
        f" FROM (SELECT line, text, {fields} AS fields FROM ({rows}))"
    )


def _count_fault(n: int) -> str:
    return f"CASE WHEN len(fields) <> {n} THEN 'the number of columns is not {n}' END"


def _unquoted(field: str) -> str:
    """SQL for the value of a field that still has its comma in front."""
    inner = f"replace(substr({field}, 3, length({field}) - 3), '\"\"', '\"')"
    return f"nullif(CASE WHEN starts_with({field}, ',\"') THEN {inner} ELSE substr({field}, 2) END, '')"


def _parquet(connection: duckdb.DuckDBPyConnection, path: Path) -> Source:
    read = f"read_parquet({literal(escape(str(path)))}, file_row_number = true)"
    try:
        described = connection.execute(f"DESCRIBE SELECT * EXCLUDE (file_row_number) FROM {read}").fetchall()
        filled = connection.execute(f"SELECT 1 FROM {read} LIMIT 1").fetchall()
    except duckdb.Error as error:
        raise InputError(f"{path} cannot be read as Parquet: {str(error).splitlines()[0]}") from error
    if not filled:
        raise InputError(f"{path} has columns but no rows.")
    names, types = tuple(row[0] for row in described), tuple(row[1] for row in described)
    _check_names(path.name, names)
    fields = _as_text([identifier(name) for name in names], types)
    return Source(path.name, names, types, f"SELECT file_row_number + 1 AS line, NULL AS fault, {fields} FROM {read}")


def _frame(connection: duckdb.DuckDBPyConnection, role: str, frame: pd.DataFrame) -> Source:
    name = f"{role} (data frame)"
    names = tuple(str(column) for column in frame.columns)
    if len(names) == 0:
        raise InputError(f"The {name} has no columns.")
    _check_names(name, names)
    if len(frame) == 0:
        raise InputError(f"The {name} has columns but no rows.")
    view = pd.DataFrame({f"f{i}": _readable(frame.iloc[:, i]) for i in range(len(names))}, copy=False)
    view["line"] = np.arange(1, len(frame) + 1)
    table = f"{role}_frame"
    connection.register(table, view)
    types = {row[0]: row[1] for row in connection.execute(f"DESCRIBE {table}").fetchall()}
    own = tuple(types[f"f{i}"] for i in range(len(names)))
    fields = _as_text([f"f{i}" for i in range(len(names))], own)
    return Source(name, names, own, f"SELECT line, NULL AS fault, {fields} FROM {table}")


def _readable(series: "pd.Series[Any]") -> "pd.Series[Any]":
    """A column that duckdb understands: numbers, booleans and times as they are, everything else as text."""
    series = series.reset_index(drop=True)
    if isinstance(series.dtype, np.dtype | pd.DatetimeTZDtype) and series.dtype.kind in "biufM":
        return series
    text = [None if missing else str(value) for value, missing in zip(series, series.isna(), strict=True)]
    return pd.Series(text, dtype=object)


def _as_text(fields: list[str], types: tuple[str, ...]) -> str:
    """SQL for fields of any type as c0, c1, … in text: whole numbers without a point, times to the second."""
    return ", ".join(
        f"nullif({_one_as_text(field, kind)}, '') AS c{i}"
        for i, (field, kind) in enumerate(zip(fields, types, strict=True))
    )


def _one_as_text(field: str, kind: str) -> str:
    if kind in ("DOUBLE", "FLOAT"):
        whole = f"{field} = floor({field}) AND abs({field}) < 1e15"
        return (
            f"CASE WHEN isnan({field}) THEN NULL WHEN {whole} THEN {field}::BIGINT::VARCHAR ELSE {field}::VARCHAR END"
        )
    if kind == "BOOLEAN":
        return f"{field}::TINYINT::VARCHAR"
    if kind.startswith("TIMESTAMP") and kind != "TIMESTAMP WITH TIME ZONE":
        return f"date_trunc('second', {field}::TIMESTAMP)::VARCHAR"
    return f"{field}::VARCHAR"


def _check_names(file: str, names: tuple[str, ...]) -> None:
    """Raise `InputError` where two columns have one name."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{file} has more than one column named {', '.join(map(repr, twice))}; rename or drop one.")

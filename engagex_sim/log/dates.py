"""Dates as `YYYY-mm-dd HH:MM:SS`, and what to say when they are something else."""

import re

import duckdb

from engagex_sim.errors import InputError
from engagex_sim.log.sql import one_row

FIRST_YEAR, LAST_YEAR = 1971, 2099  # outside lie the marks for "unknown": 1970-01-01, 0001-01-01, 9999-12-31
_FORMATS = "['%Y-%m-%d %H:%M:%S', '%Y-%m-%dT%H:%M:%S', '%Y-%m-%d %H:%M', '%Y-%m-%d']"
_TIME_ZONE = re.compile(r"(\d\d?:\d\d.*?)(\s*Z|\s*[+-]\d\d:?(\d\d)?|\s+(?:UTC|GMT|[A-Z]{3,4}))$", re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?")
_WANTED = "YYYY-mm-dd HH:MM:SS"


def seconds(field: str) -> str:
    """SQL for seconds since 1970 of a text field; NULL where it is no such date. Fractions of a second are cut off."""
    fraction = f"length({field}) > 19 AND regexp_full_match({field}[20:], '[.][0-9]+')"
    return f"epoch(try_strptime(CASE WHEN {fraction} THEN {field}[:19] ELSE {field} END, {_FORMATS}))::BIGINT"


def date_reasons(field: str, time: str) -> list[str]:
    """SQL conditions and reasons, `… THEN …`, for which a date is rejected."""
    years = f"{time} < epoch(DATE '{FIRST_YEAR}-01-01') OR {time} >= epoch(DATE '{LAST_YEAR + 1}-01-01')"
    return [
        f"{field} IS NULL THEN 'date is missing'",
        f"{time} IS NULL THEN 'date is not {_WANTED}'",
        f"{years} THEN 'date is not in the years {FIRST_YEAR} to {LAST_YEAR}'",
    ]


def check_date_type(file: str, kind: str) -> None:
    """Raise `InputError` for a column of times with a time zone."""
    if kind == "TIMESTAMP WITH TIME ZONE":
        raise InputError(f"The dates of {file} have a time zone; convert them to local time without one first.")


def check_dates(connection: duckdb.DuckDBPyConnection, table: str, file: str, read: int) -> None:
    """Raise `InputError` that shows the format seen where most dates of a judged table cannot be read."""
    query = f"SELECT count(*), min(line), arg_min(unreadable, line) FROM {table} WHERE unreadable IS NOT NULL"
    count, line, seen = one_row(connection, query)
    if count <= read / 2:
        return
    shown = f"The dates of {file} look like {seen!r} (line {line})"
    if _TIME_ZONE.search(seen):
        raise InputError(
            f"{shown}: with a time zone; convert them to local time without one, {_WANTED}, so that days and hours"
            " are the users' own."
        )
    if _NUMBER.fullmatch(seen):
        raise InputError(
            f"{shown}: a number; convert it to {_WANTED} (pandas.to_datetime with unit='s' or 'ms'), or name the"
            " column of dates with --columns date=NAME."
        )
    raise InputError(
        f"{shown}; {_WANTED} is needed: convert them (pandas.to_datetime), or name the column of dates with"
        " --columns date=NAME."
    )

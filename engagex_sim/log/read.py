"""Reading a log: from files to sorted columns, with every row accounted for."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import duckdb

from engagex_sim.errors import InputError
from engagex_sim.log.assemble import assemble
from engagex_sim.log.coding import code_table, code_users
from engagex_sim.log.data import Log
from engagex_sim.log.quality import check_rejected_share
from engagex_sim.log.rows import Rows, check_clashes, judge
from engagex_sim.log.source import TableSource, open_source
from engagex_sim.settings import LogSettings


def read_log(
    triggers: TableSource,
    actions: TableSource,
    users: TableSource | None = None,
    settings: LogSettings | None = None,
    *,
    threads: int = 1,
) -> Log:
    """Read, check, sort and match a log.

    Each source is a path (CSV, gzipped CSV, Parquet) or a data frame. Every input row is used, an exact duplicate or
    rejected; `log.quality` has the account. The result does not depend on `threads`.

    Raises `InputError`, one sentence, for anything that cannot be read as a log.
    """
    settings = LogSettings() if settings is None else settings
    sources = {"triggers": triggers, "actions": actions} | ({} if users is None else {"users": users})
    with _connection(threads) as connection:
        rows = _judge_all(connection, sources, settings)
        user_id = code_users(connection, list(rows))
        tables = {role: code_table(connection, judged) for role, judged in rows.items()}
    notes = [f"Columns of {r.name} that nothing reads: {', '.join(r.ignored)}." for r in rows.values() if r.ignored]
    return assemble(user_id, tables["triggers"], tables["actions"], tables.get("users"), settings, notes)


@contextmanager
def _connection(threads: int) -> Iterator[duckdb.DuckDBPyConnection]:
    """A database in a folder of its own, so that a log larger than memory can be read, and gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="engagex-", ignore_cleanup_errors=True) as folder:
        connection = duckdb.connect(config={"threads": threads, "temp_directory": folder})
        try:
            connection.execute("SET enable_progress_bar = false")
            yield connection
        finally:
            connection.close()


def _judge_all(
    connection: duckdb.DuckDBPyConnection, sources: Mapping[str, TableSource], settings: LogSettings
) -> dict[str, Rows]:
    """Judge the rows of every file; raises `InputError` where a file has too many bad ones."""
    opened = {role: open_source(connection, role, source) for role, source in sources.items()}
    for ours, theirs in settings.columns.items():
        if not any(theirs in source.columns for source in opened.values()):
            there = "; ".join(f"{source.name}: {', '.join(source.columns)}" for source in opened.values())
            raise InputError(f"--columns {ours}={theirs}: no file has a column {theirs!r}. There are: {there}.")
    rows = {role: judge(connection, role, source, settings.columns) for role, source in opened.items()}
    check_clashes(rows["triggers"], rows.get("users"))
    for judged in rows.values():
        check_rejected_share(judged.name, judged.read, judged.rejected, settings.allow_rejected)
        if judged.read == len(judged.rejected):
            raise InputError(f"{judged.name} has no row that can be used.")
    return rows

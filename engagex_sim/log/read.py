"""Reading a log: from files to sorted columns, with every row accounted for."""

import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import duckdb
import pandas as pd

from engagex_sim.errors import InputError
from engagex_sim.log.blocks import LogBlocks
from engagex_sim.log.build import build
from engagex_sim.log.cache import cached
from engagex_sim.log.data import Log
from engagex_sim.log.source import TableSource
from engagex_sim.settings import LogSettings

FORMAT = 1  # of what is stored; a change of it, or of how rows are read, makes a new number
ROWS_PER_BLOCK = 1_000_000
MEMORY = 2 << 30  # bytes that the database may hold while reading

_NO_ROOM = (OSError, duckdb.IOException, duckdb.OutOfMemoryException)


def read_log(
    triggers: TableSource,
    actions: TableSource,
    users: TableSource | None = None,
    settings: LogSettings | None = None,
    *,
    threads: int = 1,
) -> Log:
    """Read, check, sort and match a log, all of it in memory.

    Each source is a path (CSV, gzipped CSV, Parquet) or a data frame. Every input row is used, an exact duplicate or
    rejected; `log.quality` has the account. The result does not depend on `threads`.

    Raises `InputError`, one sentence, for anything that cannot be read as a log.
    """
    with read_blocks(triggers, actions, users, settings, threads=threads) as blocks:
        return blocks.whole()


def read_blocks(
    triggers: TableSource,
    actions: TableSource,
    users: TableSource | None = None,
    settings: LogSettings | None = None,
    *,
    threads: int = 1,
    memory: int = MEMORY,
    cache: Path | None = None,
    rows_per_block: int = ROWS_PER_BLOCK,
    strangers: bool = False,
) -> LogBlocks:
    """Read a log likewise, in blocks of whole users of about `rows_per_block` rows, which stay on disk.

    `memory` bounds what the database holds; a few blocks come on top of it. With `cache`, a folder, files that were
    read before under the same settings are not read again; data frames are always read, into a temporary folder.
    `strangers` says whether `users` may name none of the log's users, as where it belongs to another log.
    """
    settings = LogSettings() if settings is None else settings
    log = _blocks(triggers, actions, users, settings, threads, memory, cache, rows_per_block)
    if users is not None and not strangers:
        _check_listed(log, users)
    return log


def _check_listed(log: LogBlocks, users: TableSource) -> None:
    """Raise `InputError` where not one of the log's users is in the file of users."""
    if log.quality.users_not_listed < log.quality.users_in_log:
        return
    name = "users (data frame)" if isinstance(users, pd.DataFrame) else Path(users).name
    examples: dict[bool, str] = {}
    for block in log:
        for listed in (True, False):
            for guid in block.user_id[block.user_listed == listed][:1]:
                examples.setdefault(listed, guid if len(guid) <= 40 else f"{guid[:40]}…")
    raise InputError(
        f"None of the {log.quality.users_in_log:,} users of the log is in {name}: a guid of the log is"
        f" '{examples[False]}', and one of {name} '{examples[True]}'. Name this log's users, or leave it out."
    )


def _blocks(
    triggers: TableSource,
    actions: TableSource,
    users: TableSource | None,
    settings: LogSettings,
    threads: int,
    memory: int,
    cache: Path | None,
    rows_per_block: int,
) -> LogBlocks:
    """The log, read anew or from the cache."""
    sources = {"triggers": triggers, "actions": actions} | ({} if users is None else {"users": users})
    write = partial(
        build, sources=sources, settings=settings, threads=threads, memory=memory, rows_per_block=rows_per_block
    )
    files = {role: Path(source) for role, source in sources.items() if not isinstance(source, pd.DataFrame)}
    if cache is None or len(files) < len(sources) or not all(path.is_file() for path in files.values()):
        return _temporary(write)
    reading = [
        FORMAT,
        rows_per_block,
        settings.model_dump(include=set(LogSettings.model_fields) - {"burn_in_days", "start"}),
    ]
    try:
        return cached(cache, files, reading, write)
    except _NO_ROOM as error:
        return _temporary(
            write, f"The folder {cache} cannot keep the log ({_reason(error)}); it is read anew each time."
        )


def _temporary(write: Callable[[Path], None], *remarks: str) -> LogBlocks:
    """The log in a folder that goes with the object."""
    folder = None
    try:
        folder = Path(tempfile.mkdtemp(prefix="engagex-"))
        write(folder)
        return LogBlocks(folder, remarks, temporary=True)
    except BaseException as error:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, _NO_ROOM):
            raise InputError(
                f"There is not enough room or memory to read the log ({_reason(error)}); temporary files are in"
                f" {tempfile.gettempdir()}, and TMPDIR names another place for them."
            ) from error
        raise


def _reason(error: Exception) -> str:
    """What went wrong, on one line."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error).splitlines()[0]

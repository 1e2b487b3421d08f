"""From sources to a stored log: all rows are judged and coded, then the blocks of users are gone through twice."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import duckdb
import numpy as np

from engagex_sim.columns import IntArray
from engagex_sim.errors import InputError
from engagex_sim.log.assemble import Tally, assemble
from engagex_sim.log.blocks import HEADER, LogBlocks, block_path, write_block
from engagex_sim.log.coding import Coded, code
from engagex_sim.log.conclude import conclude
from engagex_sim.log.data import Log
from engagex_sim.log.giveaway import gives_away
from engagex_sim.log.header import Header
from engagex_sim.log.overlap import Overlap
from engagex_sim.log.quality import check_rejected_share
from engagex_sim.log.reading import Reading, may_be_grid, reading_of
from engagex_sim.log.rows import Rows, check_clashes, judge
from engagex_sim.log.source import TableSource, open_source
from engagex_sim.log.table import Table
from engagex_sim.settings import LogSettings

_MOST_AT_ONCE = 4  # blocks in memory

T = TypeVar("T")


def build(
    folder: Path,
    sources: Mapping[str, TableSource],
    settings: LogSettings,
    threads: int,
    memory: int,
    rows_per_block: int,
) -> None:
    """Read, check, sort and match the sources, by role, and store the log in a folder.

    `memory` is how many bytes the database may hold; what is more goes to the folder meanwhile. Raises `InputError`
    for anything that cannot be read as a log, `OSError` or `duckdb.Error` where memory or room does not suffice.
    """
    with _connection(folder, threads, memory) as connection:
        rows = _judge_all(connection, sources, settings)
        grid = may_be_grid(rows["triggers"].good, rows["actions"].good, settings)
        coded = code(connection, rows, grid, rows_per_block)
        overlap = Overlap.over(_each(lambda block: _overlap(coded, block), len(coded), threads))
        overlap.check(settings.match_window_hours * 3600)
        reading = reading_of(overlap, settings)
        stored = _each(lambda block: _store(folder, coded, block, reading, settings), len(coded), threads)
    tallies = [tally for _, tally in stored]
    facts, layout = conclude(tallies, rows, coded.categories, reading, settings)
    filled = [block for block, tally in enumerate(tallies) if tally.n_users]
    for number, block in enumerate(filled):
        block_path(folder, block).rename(block_path(folder, number))
    header = Header(
        facts=facts,
        layout=layout,
        users=np.array([tallies[block].n_users for block in filled]),
        triggers=np.array([tallies[block].accounts["triggers"].used for block in filled]),
        contacts=np.array([tallies[block].accounts["actions"].used for block in filled]),
        sizes=np.array([stored[block][0] for block in filled]),
    )
    header.write(folder / HEADER)
    if not reading.contact_is_a_choice:
        giveaways = _giveaways(LogBlocks(folder))
        replace(header, facts=replace(facts, giveaways=giveaways)).write(folder / HEADER)


@contextmanager
def _connection(folder: Path, threads: int, memory: int) -> Iterator[duckdb.DuckDBPyConnection]:
    """A database that keeps in the folder what does not fit into memory, and leaves nothing there."""
    connection = duckdb.connect(
        config={"threads": threads, "memory_limit": f"{memory}B", "temp_directory": str(folder)}
    )
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
    rows = {role: judge(connection, role, source, settings.columns, settings.until) for role, source in opened.items()}
    check_clashes(rows["triggers"], rows.get("users"))
    for judged in rows.values():
        check_rejected_share(judged.name, judged.read, judged.rejected, settings.allow_rejected)
        if judged.good == 0:
            before = "" if settings.until is None else f" up to {np.datetime64(settings.until, 's')}".replace("T", " ")
            raise InputError(f"{judged.name} has no row that can be used{before}.")
    return rows


def _each(work: Callable[[int], T], n_blocks: int, threads: int) -> list[T]:
    """The work's results for all blocks, in order."""
    with ThreadPoolExecutor(min(threads, _MOST_AT_ONCE)) as pool:
        return list(pool.map(work, range(n_blocks)))


def _overlap(coded: Coded, block: int) -> Overlap:
    return Overlap.of(coded.user_id(block), coded.table("triggers", block), _actions(coded, block))


def _store(folder: Path, coded: Coded, block: int, reading: Reading, settings: LogSettings) -> tuple[int, Tally]:
    """Assemble and store a block; returns the size of its file and what it adds to the whole."""
    users = None
    if "users" in coded.rows:
        users = coded.table("users", block).without_contradictions("contradicts another row of the same guid")
    assembled, tally = assemble(
        coded.user_id(block), coded.table("triggers", block), _actions(coded, block), users, reading, settings
    )
    return write_block(folder, block, assembled), tally


def _actions(coded: Coded, block: int) -> Table:
    actions = coded.table("actions", block)
    return actions.without_contradictions("contradicts another actions row at the same guid and date")


def _giveaways(blocks: LogBlocks) -> tuple[str, ...]:
    """The columns that say which kind was chosen."""
    names = blocks.facts.trigger_columns
    return tuple(name for name in names if gives_away((b.trigger_columns[name], _kind_of_trigger(b)) for b in blocks))


def _kind_of_trigger(log: Log) -> IntArray:
    """(m,) the kind of the contact that each trigger is."""
    kind = np.zeros(len(log.trigger_time), dtype=np.int64)
    made = ~log.orphan
    kind[log.action_trigger[made]] = log.action_kind[made]
    return kind

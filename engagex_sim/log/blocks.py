"""A log in blocks of whole users, each loaded when it is asked for."""

import os
import shutil
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from engagex_sim.columns import Column, IntArray
from engagex_sim.errors import InputError
from engagex_sim.log.assemble import Block
from engagex_sim.log.data import Log, LogFacts, WithFacts
from engagex_sim.log.header import Header
from engagex_sim.log.storage import DamagedError, read, write

HEADER = "header.npz"
_OF_USERS = ("user_id", "user_key", "user_listed")
_OF_ACTIONS = ("action_time", "action_code", "action_reward", "action_propensity", "action_trigger")
_AS_THEY_ARE = (
    *_OF_USERS,
    "trigger_time",
    "trigger_code",
    "action_time",
    "action_kind",
    "action_reward",
    "action_propensity",
)


class LogBlocks(WithFacts):
    """A log on disk, users in the order of guids. Loading its blocks one after the other gives the whole log.

    It can be sent to another process, which then reads the same files. Where these are temporary, the object that read
    the log removes them when it is closed (it is a context manager) or not needed any more.
    """

    def __init__(self, folder: Path, remarks: tuple[str, ...] = (), temporary: bool = False) -> None:
        """Open a stored log. Raises `DamagedError` where a file is missing, cut off or altered."""
        header = Header.read(folder / HEADER)
        for block, size in enumerate(header.sizes):
            path = block_path(folder, block)
            if not path.is_file() or path.stat().st_size != size:
                raise DamagedError(f"{path} is damaged")
        self.folder = folder
        self.facts: LogFacts = header.facts
        self.users: IntArray = header.users  # (n_blocks,) users of each block
        self.triggers: IntArray = header.triggers  # (n_blocks,) trigger rows
        self.contacts: IntArray = header.contacts  # (n_blocks,) used actions rows, orphans included
        self._layout = header.layout
        self._remarks = remarks
        self._remove = weakref.finalize(self, _remove, folder, os.getpid()) if temporary else None

    def __len__(self) -> int:
        return len(self.users)

    def __iter__(self) -> Iterator[Log]:
        return (self.load(block) for block in range(len(self)))

    @property
    def n_users(self) -> int:
        return self.facts.n_users

    @property
    def notes(self) -> tuple[str, ...]:
        """Plain sentences a reader must know, on the log and on how it was read."""
        return (*self.facts.notes, *self._remarks)

    def load(self, block: int) -> Log:
        """The users of one block. Raises `InputError` where its file has been damaged meanwhile."""
        path = block_path(self.folder, block)
        try:
            return self._layout.log(_block(path), self.facts)
        except DamagedError as error:
            (self.folder / HEADER).unlink(missing_ok=True)  # whoever opens it next sees that it must be read anew
            raise InputError(
                f"{path}, a part of the log stored there, is damaged; run again to read it anew."
            ) from error

    def whole(self) -> Log:
        """All users in one block."""
        return _together(list(self))

    def close(self) -> None:
        """Remove the files, if they are temporary."""
        if self._remove is not None:
            self._remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.folder, self._remarks)


def write_block(folder: Path, number: int, block: Block) -> int:
    """Store a block; returns the size of its file in bytes."""
    arrays = {name: getattr(block, name) for name in _OF_USERS}
    arrays |= {f"attribute_{i}": values for i, values in enumerate(block.attributes.values())}
    n = len(block.user_id)
    arrays |= {"triggers": np.bincount(block.trigger_user, minlength=n), "trigger_time": block.trigger_time}
    arrays |= {f"trigger_{i}": values for i, values in enumerate(block.trigger_columns.values())}
    arrays |= {"actions": np.bincount(block.action_user, minlength=n)}
    arrays |= {name: getattr(block, name) for name in _OF_ACTIONS}
    path = block_path(folder, number)
    write(path, {"attributes": list(block.attributes), "trigger_columns": list(block.trigger_columns)}, arrays)
    return path.stat().st_size


def _block(path: Path) -> Block:
    """What `write_block` stored. Raises `DamagedError`."""
    names, arrays = read(path)
    n = len(arrays["user_id"])
    return Block(
        **{name: arrays[name] for name in _OF_USERS},
        attributes={name: arrays[f"attribute_{i}"] for i, name in enumerate(names["attributes"])},
        trigger_user=np.repeat(np.arange(n), arrays["triggers"]),
        trigger_time=arrays["trigger_time"],
        trigger_columns={name: arrays[f"trigger_{i}"] for i, name in enumerate(names["trigger_columns"])},
        action_user=np.repeat(np.arange(n), arrays["actions"]),
        **{name: arrays[name] for name in _OF_ACTIONS},
    )


def block_path(folder: Path, block: int) -> Path:
    """Where a stored log keeps a block."""
    return folder / f"block_{block:05d}.npz"


def _together(blocks: list[Log]) -> Log:
    """One log of the users of all blocks."""
    if len(blocks) == 1:
        return blocks[0]
    users = np.cumsum([block.n_users for block in blocks])
    triggers = np.cumsum([len(block.trigger_time) for block in blocks])
    arrays: dict[str, Any] = {name: np.concatenate([getattr(block, name) for block in blocks]) for name in _AS_THEY_ARE}
    for name, before in (("trigger_user", users), ("action_user", users), ("action_trigger", triggers)):
        own = [getattr(block, name) for block in blocks]
        moved = [np.where(rows < 0, rows, rows + n) for rows, n in zip(own[1:], before[:-1], strict=True)]
        arrays[name] = np.concatenate([own[0], *moved])
    for name in ("attributes", "trigger_columns"):
        columns = [getattr(block, name) for block in blocks]
        arrays[name] = {
            column: Column(np.concatenate([c[column].values for c in columns]), columns[0][column].categories)
            for column in columns[0]
        }
    return Log(facts=blocks[0].facts, **arrays)


def _remove(folder: Path, owner: int) -> None:
    """Remove a temporary folder; a forked copy of the process that made it leaves it alone."""
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)

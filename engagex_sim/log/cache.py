"""Logs that were read before, found again by what is in their files."""

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from engagex_sim.errors import InputError
from engagex_sim.log.blocks import LogBlocks
from engagex_sim.log.storage import DamagedError

_BUILDING = ".building-"
_ABANDONED = 86_400  # seconds after which nobody builds any more
_SETTLED = 2_000_000_000  # nanoseconds after which a file's time tells one change of it from the next

Stamp = tuple[int, int]  # size in bytes, time of the last change in nanoseconds


def cached(cache: Path, files: Mapping[str, Path], reading: Any, build: Callable[[Path], None]) -> LogBlocks:
    """The log of `files`, by role, from the cache; where it is not there, `build` writes it into a folder.

    `reading` is whatever else the result depends on, as JSON can say it. An entry appears whole or not at all, so any
    number of processes may share the cache. Raises `OSError` where the cache cannot be used, `InputError` where a file
    changes while it is read, and what `build` raises.
    """
    cache.mkdir(parents=True, exist_ok=True)
    stamps = {role: _stamp(path) for role, path in files.items()}
    content = {role: [path.name, _digest(path, cache)] for role, path in files.items()}
    key = hashlib.sha256(json.dumps([reading, content], sort_keys=True).encode()).hexdigest()
    entry = cache / key[:40]
    remarks: tuple[str, ...] = ()
    try:
        return LogBlocks(entry)
    except DamagedError:
        if entry.exists():
            remarks = (f"The stored copy of this log in {cache} was damaged; the log has been read anew.",)
            _discard(entry)
    _sweep(cache)
    folder = Path(tempfile.mkdtemp(prefix=_BUILDING, dir=cache))
    try:
        folder.chmod(0o755)
        build(folder)
        for role, path in files.items():
            if _stamp(path) != stamps[role]:
                raise InputError(f"{path} changed while it was read; run again once it is complete.")
        _publish(folder, entry)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return LogBlocks(entry, remarks)


def _publish(folder: Path, entry: Path) -> None:
    """Let the folder become the entry, unless another process was faster: then its entry says the same."""
    try:
        folder.rename(entry)
    except OSError:
        if not entry.is_dir():
            raise


def _discard(entry: Path) -> None:
    """Take an entry away at once, so that nobody sees half of it."""
    folder = Path(tempfile.mkdtemp(prefix=_BUILDING, dir=entry.parent))
    try:
        entry.rename(folder / "entry")
    except FileNotFoundError:
        pass  # another process was faster
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(cache: Path) -> None:
    """Remove what runs left behind that were killed."""
    for folder in cache.glob(f"{_BUILDING}*"):
        if time.time() - folder.stat().st_mtime > _ABANDONED:
            shutil.rmtree(folder, ignore_errors=True)


def _stamp(path: Path) -> Stamp:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _digest(path: Path, cache: Path) -> str:
    """SHA-256 of a file's content; what was found is kept, and holds as long as size and time stay."""
    where = str(path.resolve())
    memory = cache / "digests" / f"{hashlib.sha256(where.encode()).hexdigest()[:40]}.json"
    stamp = _stamp(path)
    try:
        known, size, changed, digest = json.loads(memory.read_text())
        if (known, size, changed) == (where, *stamp):
            return str(digest)
    except (OSError, ValueError, TypeError):
        pass  # nothing is known of it
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if _stamp(path) == stamp and time.time_ns() - stamp[1] > _SETTLED:
        _remember(memory, [where, *stamp, digest])
    return str(digest)


def _remember(memory: Path, known: list[Any]) -> None:
    memory.parent.mkdir(exist_ok=True)
    handle, name = tempfile.mkstemp(dir=memory.parent)
    with os.fdopen(handle, "w") as file:
        json.dump(known, file)
    Path(name).replace(memory)

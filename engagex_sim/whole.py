"""Directories that appear whole or not at all."""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from engagex_sim.errors import InputError

_WRITING = ".engagex-writing-"
_ABANDONED = 60  # seconds


def check_new(directory: Path) -> None:
    """Raise `InputError` where something has that name already; worth calling before a long run."""
    if os.path.lexists(directory):
        raise InputError(f"{directory} exists already; name a new directory with --out, nothing is overwritten.")


@contextmanager
def written_whole(directory: Path) -> Iterator[Path]:
    """A folder to write into; it becomes the new `directory` at the end, and vanishes where something failed.

    Raises `InputError` where `directory` exists, cannot be made, or cannot be written, as when the disk is full.
    """
    check_new(directory)
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        _sweep(directory.parent)
        folder = Path(tempfile.mkdtemp(prefix=f"{_WRITING}{directory.name}-", dir=directory.parent))
    except OSError as error:
        raise InputError(f"{directory} cannot be made: {error.strerror}; name another one with --out.") from error
    try:
        with held(folder):
            folder.chmod(0o755)
            yield folder
            check_new(directory)  # a rename would silently replace an empty directory that appeared meanwhile
            folder.rename(directory)
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, OSError):
            raise InputError(f"{directory} cannot be written: {error.strerror or error}.") from error
        raise


@contextmanager
def held(path: Path) -> Iterator[bool]:
    """Whether this process alone has the file or folder now: a lock that goes with the process, however it ends.

    Without a lock for it, as on some network drives, nobody has it.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        yield False
        return
    try:
        own = False
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            own = os.path.samestat(os.fstat(descriptor), path.stat())  # else it was removed meanwhile
        yield own
    finally:
        os.close(descriptor)


def _sweep(parent: Path) -> None:
    """Remove what runs left behind that were killed; what was made just now may not be held yet."""
    for folder in parent.glob(f"{_WRITING}*"):
        with held(folder) as abandoned:
            if abandoned and time.time() - folder.stat().st_mtime > _ABANDONED:
                shutil.rmtree(folder, ignore_errors=True)

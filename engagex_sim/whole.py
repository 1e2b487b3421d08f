"""Directories that appear whole or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engagex_sim.errors import InputError


def check_new(directory: Path) -> None:
    """Raise `InputError` where something has that name already; worth calling before a long run."""
    if os.path.lexists(directory):
        raise InputError(f"{directory} exists already; name a new directory with --out, nothing is overwritten.")


@contextmanager
def written_whole(directory: Path) -> Iterator[Path]:
    """A folder to write into; it becomes the new `directory` at the end, and vanishes where something failed.

    Raises `InputError` where `directory` exists or cannot be made.
    """
    check_new(directory)
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
    except OSError as error:
        raise InputError(f"{directory} cannot be made: {error.strerror}; name another one with --out.") from error
    try:
        folder.chmod(0o755)
        yield folder
        check_new(directory)  # a rename would silently replace an empty directory that appeared meanwhile
        folder.rename(directory)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise

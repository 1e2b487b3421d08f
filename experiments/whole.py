"""Directories that appear whole or not at all."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engagex_sim.errors import InputError


@contextmanager
def written_whole(directory: Path) -> Iterator[Path]:
    """A folder to write into; it becomes `directory` at the end, and vanishes where something failed.

    Raises `InputError` where it cannot be written there.
    """
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
    except OSError as error:
        raise InputError(f"--out {directory} cannot be written: {error.strerror}.") from error
    try:
        folder.chmod(0o755)
        yield folder
        folder.rename(directory)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise

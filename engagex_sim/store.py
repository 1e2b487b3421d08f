"""Things kept on disk by name: each appears whole or not at all, and is not believed once it is damaged."""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
_DIGESTS = "digests.json"


class Store:
    """A folder with a folder for each thing, which carries the digests of its files; it is made when it is needed.

    Where nothing can be written any more, whoever uses it goes on without, and `trouble` says why.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.trouble: OSError | None = None

    def __contains__(self, name: str) -> bool:
        return (self.folder / name).is_dir()

    def found(self, name: str, load: Callable[[Path], T]) -> T | None:
        """What `load` makes of the folder of that name; None where there is none, or a file is missing or altered."""
        folder = self.folder / name
        try:
            digests = json.loads((folder / _DIGESTS).read_text(encoding="utf-8"))
            if any(_digest(folder / file) != digest for file, digest in digests.items()):
                return None
        except (OSError, ValueError):
            return None
        return load(folder)

    def keep(self, name: str, save: Callable[[Path], None]) -> None:
        """Let `save` write files into a folder, which then gets that name."""
        if self.trouble is not None:
            return
        folder = None
        try:
            self.folder.mkdir(exist_ok=True)
            folder = Path(tempfile.mkdtemp(prefix=".writing-", dir=self.folder))
            save(folder)
            digests = {path.name: _digest(path) for path in folder.iterdir()}
            (folder / _DIGESTS).write_text(json.dumps(digests), encoding="utf-8")
            shutil.rmtree(self.folder / name, ignore_errors=True)  # what is there is damaged
            folder.rename(self.folder / name)
        except OSError as error:
            self.trouble = error
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

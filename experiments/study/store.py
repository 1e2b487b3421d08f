"""A study's directory: what was asked, the truths, and one small folder per finished unit of work."""

import hashlib
import json
import re
from collections.abc import Collection, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

from engagex_sim.errors import InputError
from engagex_sim.report.tables import write_text
from engagex_sim.whole import written_whole
from experiments.study.cells import Cell
from experiments.study.replicate import NAMES, Tables
from experiments.study.truth import WorldTruth

LIBRARIES = ("engagex-sim", "numpy", "scipy", "numba", "xgboost", "scikit-learn")
ROOT = Path(__file__).parents[2]
# What a log's numbers come from; the scores and the page are made anew whenever a study is continued.
DECIDING = (
    "engagex_sim/**/*.py",
    "policies/**/*.py",
    "experiments/registry.py",
    *(f"experiments/study/{name}.py" for name in ("cells", "extras", "replicate", "truth")),
)
WITHOUT = "engagex_sim/report/"
PARQUET = "FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 19, PARQUET_VERSION V2"
UNIT = re.compile(r"[^.].*-\d{5,}-\d{5,}")  # the folder of one: its cell, its first log and the one after its last


class Store:
    """Every file appears whole or not at all, so a study that was stopped is continued where it stood."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @classmethod
    def new(cls, directory: Path, seed: int, small: bool) -> "Store":
        """A new study. Raises `InputError` where the directory cannot be made."""
        with written_whole(directory) as folder:
            write_text(folder / "study.json", _json({"seed": seed, "small": small, "cells": {}} | made_with()))
        return cls(directory)

    @classmethod
    def opened(cls, directory: Path) -> "Store":
        """An earlier study.

        Raises `InputError` where there is none, or where a file is damaged.
        """
        if not (directory / "study.json").is_file():
            raise InputError(f"{directory} holds no study to continue: it has no study.json; give --out for a new one.")
        store = cls(directory)
        store.read()  # what is damaged is found before hours of work, not after
        return store

    @property
    def asked(self) -> dict[str, Any]:
        """The seed, whether it is the small study, the versions, the cells, and the most logs in each (None: all).

        Raises `InputError` where the file is damaged.
        """
        path = self.directory / "study.json"
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            found = None
        if not isinstance(found, dict) or not {"seed", "small", "cells"} <= found.keys():
            raise InputError(f"{path} is damaged, so the study cannot be continued; give --out for a new one.")
        return {"replications": None} | found

    def add(self, cells: Sequence[Cell], replications: int | None) -> None:
        """Note the cells, and the most logs in each: what is continued later.

        Raises `InputError` where a cell was run under the same name as something else.
        """
        asked = self.asked | {"replications": replications}
        for cell in cells:
            now = json.loads(json.dumps(cell.describe()))
            if asked["cells"].setdefault(cell.name, now) != now:
                raise InputError(
                    f"{self.directory} holds another cell {cell.name!r} than this version's; start a new study."
                )
        self._replace("study.json", _json(asked))

    @property
    def made_with_other(self) -> list[str]:
        """What made it and is not the same now: code, versions."""
        asked = self.asked
        return [name for name, now in made_with().items() if asked.get(name) != now]

    def note_agreement(self) -> None:
        """Note that the code and the libraries there are now give the same numbers, and go on with the study."""
        asked, now = self.asked, made_with()
        earlier = {name: asked.get(name) for name in now}
        self._replace("study.json", _json(asked | now | {"earlier": [*asked.get("earlier", []), earlier]}))

    def truth(self, name: str) -> WorldTruth | None:
        """What was stored of a world. Raises `InputError` where the file is damaged."""
        path = self.directory / "truth" / f"{name}.json"
        if not path.is_file():
            return None
        try:
            return WorldTruth(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise InputError(f"{path} is damaged; delete it, and --resume measures it again.") from error

    def keep_truth(self, name: str, truth: WorldTruth) -> None:
        """Store what is true of a world."""
        (self.directory / "truth").mkdir(exist_ok=True)
        self._replace(f"truth/{name}.json", _json(vars(truth)))

    def forget_truths(self, but: Collection[str]) -> None:
        """Delete what was stored of worlds, `but` of some."""
        for path in (self.directory / "truth").glob("*.json"):
            if path.stem not in but:
                path.unlink()

    def done(self, cell: str) -> set[int]:
        """The replications of a cell that are there."""
        found: set[int] = set()
        for folder in self._folders():
            name, first, last = folder.name.rsplit("-", 2)
            if name == cell:
                found.update(range(int(first), int(last)))
        return found

    def keep(self, cell: str, first: int, last: int, tables: Tables) -> None:
        """Write the rows of a finished unit of work."""
        with written_whole(self._folder(cell, first, last)) as folder, duckdb.connect() as connection:
            for name in NAMES:
                table = getattr(tables, name)
                if len(table):
                    connection.register("rows", table)
                    connection.execute(f"COPY rows TO {_quoted(folder / name)}.parquet' ({PARQUET})")

    def read(self) -> Tables:
        """All rows, ordered by cell and replication, whatever was finished first.

        Raises `InputError` where a file is damaged.
        """
        with duckdb.connect() as connection:
            return Tables(*(self._read(connection, name) for name in NAMES))

    def _read(self, connection: duckdb.DuckDBPyConnection, name: str) -> pd.DataFrame:
        files = [path for folder in self._folders() if (path := folder / f"{name}.parquet").is_file()]
        if not files:
            return pd.DataFrame({"cell": pd.Series(dtype=object), "replication": pd.Series(dtype="int64")})
        try:
            table = _rows(connection, files)
        except duckdb.Error:
            for path in files:  # to name the one
                try:
                    _rows(connection, [path])
                except duckdb.Error as error:
                    raise InputError(
                        f"{path} is damaged; delete the folder {path.parent}, and --resume runs its logs again."
                    ) from error
            raise
        return table.sort_values(["cell", "replication"], kind="stable", ignore_index=True)

    def _folders(self) -> list[Path]:
        """Finished units, without what a killed process was writing, or somebody put there."""
        return sorted(path for path in (self.directory / "replications").glob("*") if UNIT.fullmatch(path.name))

    def _folder(self, cell: str, first: int, last: int) -> Path:
        return self.directory / "replications" / f"{cell}-{first:05d}-{last:05d}"

    def _replace(self, name: str, text: str) -> None:
        path = self.directory / name
        write_text(path.with_suffix(".part"), text)
        path.with_suffix(".part").replace(path)


def made_with() -> dict[str, object]:
    """What decides a log's numbers beside the seed and the cell: a hash of the code, and versions of libraries."""
    digest = hashlib.sha256()
    for path in sorted({path for pattern in DECIDING for path in ROOT.glob(pattern)}):
        name = path.relative_to(ROOT).as_posix()
        if not name.startswith(WITHOUT):
            digest.update(name.encode() + b"\0" + path.read_bytes() + b"\0")
    return {"code": digest.hexdigest(), "versions": {name: version(name) for name in LIBRARIES}}


def _rows(connection: duckdb.DuckDBPyConnection, files: Sequence[Path]) -> pd.DataFrame:
    listed = ", ".join(_quoted(path) + "'" for path in files)
    return connection.execute(f"SELECT * FROM read_parquet([{listed}], union_by_name = true)").df()


def _quoted(path: Path) -> str:
    """The path as the beginning of a text in SQL."""
    return "'" + str(path).replace("'", "''")


def _json(content: object) -> str:
    return json.dumps(content, indent=1) + "\n"

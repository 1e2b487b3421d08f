"""Arrays in a file: uncompressed .npz, whose every member carries a checksum that reading verifies."""

import json
import zipfile
import zlib
from collections.abc import Mapping
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import numpy as np

from engagex_sim.columns import AnyArray, TextArray

_PLAIN = "plain"  # the member that holds everything but arrays


class DamagedError(Exception):
    """A stored file that is missing, cut off or altered."""


def write(path: Path, plain: Any, arrays: Mapping[str, AnyArray]) -> None:
    """Store arrays of numbers and of texts, and beside them anything that JSON can say."""
    members = {_PLAIN: _bytes(json.dumps(plain))}
    for name, array in arrays.items():
        if array.dtype == object:
            members[f"{name}.text"] = _bytes("".join(array))
            members[f"{name}.length"] = np.array([len(text) for text in array], dtype=np.int32)
        else:
            members[name] = array
    np.savez(path, allow_pickle=False, **members)


def read(path: Path) -> tuple[Any, dict[str, AnyArray]]:
    """What `write` stored. Raises `DamagedError` where it is not that any more."""
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            members = {name: file[name] for name in file.files}
        plain = json.loads(members.pop(_PLAIN).tobytes())
        for name in [name for name in members if name.endswith(".text")]:
            short = name.removesuffix(".text")
            members[short] = _texts(members.pop(name), members.pop(f"{short}.length"))
    # Each reader has its own errors for damaged bytes; zipfile's for an unknown compression is NotImplementedError.
    except (OSError, EOFError, ValueError, KeyError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        raise DamagedError(f"{path} is damaged") from error
    return plain, members


def _bytes(text: str) -> AnyArray:
    return np.frombuffer(text.encode(), dtype=np.uint8)


def _texts(together: AnyArray, lengths: AnyArray) -> TextArray:
    """The single texts of one long one."""
    text = together.tobytes().decode()
    ends = accumulate(lengths.tolist(), initial=0)
    return np.array([text[start:end] for start, end in pairwise(ends)], dtype=object)

"""Looking at a text file before it is read: is it text, how do its lines end, what is its header."""

import codecs
import csv
import gzip
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from engagex_sim.errors import InputError

_CHUNK = 1 << 24
_OTHER_DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}
_BINARY = {
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"PK\x03\x04": "a zip archive or an Excel workbook",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"%PDF": "a PDF document",
    b"\x28\xb5\x2f\xfd": "a zstd archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"SQLite": "an SQLite database",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
}


@dataclass(frozen=True)
class TextFile:
    """What must be known of a CSV file before its rows are read."""

    header: tuple[str, ...]
    header_lines: int  # physical lines up to the header's end
    gzipped: bool
    quotes: bool  # whether any double quote occurs


def inspect(path: Path) -> TextFile:
    """Read the whole file once and say what is in it.

    Raises `InputError` for an empty, binary, undecodable or damaged file, for control characters that would break
    the rows apart, and for a header that is not one.
    """
    gzipped = first_bytes(path, 2) == b"\x1f\x8b"
    start = next(_chunks(path, gzipped), b"")
    if not start.removeprefix(codecs.BOM_UTF8).strip():
        raise InputError(f"{path} is empty; a header line and one row per event are needed.")
    for magic, what in _BINARY.items():
        if start.startswith(magic):
            raise InputError(f"{path} is {what}, not CSV text; save it as CSV (UTF-8, separated by commas) or Parquet.")
    if b"\0" in start[:65_536]:
        raise InputError(f"{path} is not a text file; a CSV file (UTF-8, separated by commas) or Parquet is needed.")
    quotes = _check_characters(path, gzipped)
    header, header_lines = _header(path, start)
    return TextFile(header, header_lines, gzipped, quotes)


def first_bytes(path: Path, n: int) -> bytes:
    """The file's first n bytes; raises `InputError` where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(n)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error


def _chunks(path: Path, gzipped: bool) -> Iterator[bytes]:
    """The file's (unpacked) bytes; raises `InputError` where it cannot be read to its end."""
    try:
        opened: BinaryIO | gzip.GzipFile
        with gzip.open(path, "rb") if gzipped else path.open("rb") as opened:
            while chunk := opened.read(_CHUNK):
                yield chunk
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{path} is a damaged or cut-off gzip file; copy or pack it again.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error


def _check_characters(path: Path, gzipped: bool) -> bool:
    """Whether there are double quotes; raises `InputError` at bytes that no row can hold."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    lines = 1
    quotes = False
    held = b""  # a carriage return at a chunk's end is judged with what follows it
    for piece in chain(_chunks(path, gzipped), [b""]):
        chunk = held + piece
        held = b"\r" if piece and chunk.endswith(b"\r") else b""
        chunk = chunk.removesuffix(held)
        try:
            decoder.decode(chunk, final=not piece)
        except UnicodeDecodeError as error:
            line = lines + error.object[: error.start].count(b"\n")
            raise InputError(
                f"{path}, line {line}: byte {error.object[error.start]:#04x} is not UTF-8 text; save the file as UTF-8."
            ) from error
        for bad, what in ((b"\0", "a zero byte"), (b"\x1f", "the control character 0x1f")):
            if bad in chunk:
                line = lines + chunk[: chunk.index(bad)].count(b"\n")
                raise InputError(f"{path}, line {line}: there is {what}; remove it.")
        if b"\r" in chunk and chunk.count(b"\r") != chunk.count(b"\r\n"):
            alone = chunk.replace(b"\r\n", b"\n\n").index(b"\r")
            line = lines + chunk[:alone].count(b"\n")
            raise InputError(
                f"{path}, line {line}: there is a carriage return without a line feed; save the file with line ends"
                " \\n or \\r\\n."
            )
        quotes = quotes or b'"' in chunk
        lines += chunk.count(b"\n")
    return quotes


def _header(path: Path, start: bytes) -> tuple[tuple[str, ...], int]:
    """The names in the first line that is not blank, and how many physical lines they take."""
    text = codecs.getincrementaldecoder("utf-8-sig")().decode(start[:1_000_000])
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        names = next(tuple(row) for row in reader if row)
    except csv.Error as error:
        raise InputError(f"{path}: the header line cannot be read ({error}).") from error
    if len(names) == 1:
        for delimiter, what in _OTHER_DELIMITERS.items():
            if delimiter in names[0]:
                raise InputError(f"{path} is separated by {what}; save it with commas instead.")
    return names, reader.line_num

"""Tables as CSV: full precision, undefined as an empty field, text that no spreadsheet takes for a formula."""

import json
from pathlib import Path

import pandas as pd

from engagex_sim.log import DataQuality

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\n")


def csv_text(table: pd.DataFrame) -> str:
    """The table as CSV with a header, `\\n` line ends and numbers as `repr` writes them."""
    safe = table.copy(deep=False)
    for name in safe.columns:
        if not pd.api.types.is_numeric_dtype(safe[name].dtype):
            safe[name] = safe[name].map(_defused, na_action="ignore")
    return str(safe.to_csv(index=False, lineterminator="\n"))


def write_account(quality: DataQuality, directory: Path, extra: DataQuality | None = None) -> None:
    """Write `data_quality.json` and `rejected_rows.csv`, the account of every input row, into an existing directory.

    Of an extra log the account stands under `extra`, and its rejected rows below the others, with "extra" before the
    file's name.
    """
    account, rejected = quality.as_dict(), quality.rejected
    if extra is not None:
        account["extra"] = extra.as_dict()
        rejected = pd.concat([rejected, extra.rejected.assign(file="extra " + extra.rejected["file"].astype(str))])
    write_text(directory / "data_quality.json", json.dumps(account, indent=2, ensure_ascii=False) + "\n")
    write_text(directory / "rejected_rows.csv", csv_text(rejected))


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 with the line ends that `text` has, on every system."""
    path.write_text(text, encoding="utf-8", newline="\n")


def _defused(value: object) -> object:
    """Text that would start a formula gets an apostrophe in front; line ends are `\\n`, which alone get quoted."""
    if not isinstance(value, str):
        return value
    text = value.replace("\r\n", "\n").replace("\r", "\n")
    return "'" + text if text.startswith(FORMULA_STARTS) else text

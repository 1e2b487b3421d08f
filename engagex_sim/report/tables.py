"""Tables as CSV text: full precision, undefined as an empty field, text that no spreadsheet takes for a formula."""

import pandas as pd

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\n")


def csv_text(table: pd.DataFrame) -> str:
    """The table as CSV with a header, `\\n` line ends and numbers as `repr` writes them."""
    safe = table.copy(deep=False)
    for name in safe.columns:
        if not pd.api.types.is_numeric_dtype(safe[name].dtype):
            safe[name] = safe[name].map(_defused, na_action="ignore")
    return str(safe.to_csv(index=False, lineterminator="\n"))


def _defused(value: object) -> object:
    """Text that would start a formula gets an apostrophe in front; line ends are `\\n`, which alone get quoted."""
    if not isinstance(value, str):
        return value
    text = value.replace("\r\n", "\n").replace("\r", "\n")
    return "'" + text if text.startswith(FORMULA_STARTS) else text

"""Features as a matrix for XGBoost: numbers as they are, text as codes into a learned list."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from engagex_sim.columns import Column, IntArray
from engagex_sim.errors import InputError
from engagex_sim.policy import Context

MatrixArray = NDArray[np.float32]

MAX_CATEGORIES = 254  # kept per text feature; with "other" and missing they fit the 256 bins of a histogram
# Rows that a category needs: of fewer, a model learns the rows themselves (an e-mail, a session's number). 1 % of the
# rows is enough where that is less, so that the categories of small data are kept.
MIN_ROWS, MIN_PERCENT = 20, 1


@dataclass(frozen=True)
class FeatureEncoder:
    """Which features a model reads, and the list of categories of each text feature (None for numbers).

    Code c < len(categories) is that category, code len(categories) is any other text, missing is NaN. The text
    decides, not the code of the log's column, so that blocks and logs with other codes give the same matrix.
    """

    names: tuple[str, ...]
    categories: tuple[tuple[str, ...] | None, ...]

    @classmethod
    def fit(cls, context: Context, names: Sequence[str]) -> Self:
        """Learn the categories of the features `names`: the most frequent ones, the first in the alphabet on ties.

        Categories with less than `MIN_ROWS` rows and `MIN_PERCENT` % of the rows are "other".
        """
        return cls(tuple(names), tuple(_most_frequent(context.column(name)) for name in names))

    @property
    def feature_types(self) -> list[str]:
        """XGBoost's type of each feature: "q" for numbers, "c" for codes."""
        return ["q" if categories is None else "c" for categories in self.categories]

    def transform(self, context: Context, rows: IntArray | slice = slice(None), extra: int = 0) -> MatrixArray:
        """The matrix (n, p + extra) at `rows`; missing and infinite values and the last `extra` columns are NaN.

        Raises `InputError` where a feature that was text when the model was fitted is numbers now, or the reverse.
        """
        taken = [context.column(name).take(rows) for name in self.names]
        n = len(context.mask[rows])
        matrix = np.full((n, len(self.names) + extra), np.nan, dtype=np.float32)
        for i, (name, column, categories) in enumerate(zip(self.names, taken, self.categories, strict=True)):
            if column.is_text != (categories is not None):
                now, then = ("text", "numbers") if column.is_text else ("numbers", "text")
                raise InputError(
                    f"Feature {name!r} is {now} here but was {then} where the model was fitted; give the column the"
                    " same type in both files."
                )
            matrix[:, i] = column.values if categories is None else _codes(column, categories)
        matrix[~np.isfinite(matrix)] = np.nan  # days since a trigger that never was: XGBoost accepts no infinity
        return matrix

    def to_json(self) -> dict[str, Any]:
        """Plain lists, for `from_json`."""
        return {"names": list(self.names), "categories": [None if c is None else list(c) for c in self.categories]}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """The encoder that `to_json` wrote down."""
        return cls(tuple(stored["names"]), tuple(None if c is None else tuple(c) for c in stored["categories"]))


def _most_frequent(column: Column) -> tuple[str, ...] | None:
    """The categories that are frequent enough, by frequency; None for numbers."""
    if column.categories is None:
        return None
    counts = np.bincount(column.values[column.values >= 0], minlength=len(column.categories))
    order = np.argsort(-counts, kind="stable")[:MAX_CATEGORIES]
    needed = max(1.0, min(MIN_ROWS, MIN_PERCENT * len(column) / 100))
    return tuple(str(category) for category in column.categories[order[counts[order] >= needed]])


def _codes(column: Column, categories: tuple[str, ...]) -> MatrixArray:
    codes = column.codes_for(categories).astype(np.float32)
    codes[codes < 0] = len(categories)
    codes[column.values < 0] = np.nan
    return codes

"""One feature of many decision points: numbers as they are, text coded once."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
CodeArray = NDArray[np.int32]
KeyArray = NDArray[np.uint64]
TextArray = NDArray[np.object_]
AnyArray = NDArray[Any]


@dataclass(frozen=True)
class Column:
    """A feature's values, shape (n,).

    Numbers: `values` holds them (missing is NaN) and `categories` is None.
    Text: `values` holds int32 codes into `categories`, which are distinct and sorted; missing is -1.
    """

    values: AnyArray
    categories: TextArray | None = None

    def __post_init__(self) -> None:
        if self.categories is not None and self.values.dtype != np.int32:
            raise ValueError("the codes of a text column are int32")

    def __len__(self) -> int:
        return len(self.values)

    @property
    def is_text(self) -> bool:
        return self.categories is not None

    def take(self, rows: AnyArray | slice) -> Self:
        """The column at `rows` (indices, a mask or a slice)."""
        return type(self)(self.values[rows], self.categories)

    def decoded(self) -> AnyArray:
        """The values as in the file, shape (n,): numbers, or text with None where missing."""
        if self.categories is None:
            return self.values
        values: AnyArray = _with_missing_last(self.categories)[self.values]
        return values

    def codes_for(self, categories: Sequence[str]) -> CodeArray:
        """Codes (n,) into another list of categories; what that list lacks is -1."""
        if self.categories is None:
            raise ValueError("a column of numbers has no codes")
        known = {category: code for code, category in enumerate(categories)}
        translation = np.array([known.get(category, -1) for category in self.categories] + [-1], dtype=np.int32)
        codes: CodeArray = translation[self.values]
        return codes

    @classmethod
    def from_values(cls, values: AnyArray | Sequence[Any]) -> Self:
        """A column from plain numbers or text; numeric where every value that is present is a number."""
        series = pd.Series(values)
        if series.dtype.kind not in "biuf":
            numeric = pd.to_numeric(series, errors="coerce")
            if bool((numeric.isna() & series.notna()).any()):
                codes, categories = pd.factorize(series.astype(object), sort=True)
                return cls(codes.astype(np.int32), np.asarray(categories, dtype=object))
            series = numeric
        return cls(series.to_numpy(dtype=np.float64 if series.dtype.kind == "f" else np.int64))


def _with_missing_last(categories: TextArray) -> TextArray:
    """The categories with one more entry, so that code -1 finds None."""
    padded = np.empty(len(categories) + 1, dtype=object)
    padded[:-1] = categories
    return padded


def sums_by(position: AnyArray, amount: AnyArray, size: int) -> FloatArray:
    """Sums of `amount` (n,) by `position` (n,), shape (size,)."""
    return np.bincount(position, amount, minlength=size).astype(np.float64, copy=False)


def word_for_others(taken: Collection[object]) -> str:
    """A word for every text that is none of those `taken`."""
    word = "other"
    while word in taken:
        word = f"({word})"
    return word

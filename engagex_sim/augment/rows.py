"""An encoded matrix as rows with named columns, which a generator can read and write, and back."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from engagex_sim.columns import FloatArray, word_for_others

MatrixArray = NDArray[np.float32]

DIGITS = 6  # significant ones, of the numbers that a language model is shown; float32 keeps as many


@dataclass(frozen=True)
class Feature:
    """What the rows hold in one column: numbers in a range, or text from a list."""

    name: str
    categories: tuple[str, ...] | None  # the text that occurs; None for numbers
    low: float  # the least number, NaN for text and where every number is missing
    high: float
    whole: bool  # every number is whole
    may_be_missing: bool

    @classmethod
    def of(cls, name: str, column: "pd.Series[Any]", categories: Sequence[str] | None) -> Self:
        """What a column of named rows holds; `categories` are those that it might."""
        missing = bool(column.isna().any())
        if categories is not None:
            found = set(column.dropna())
            return cls(name, tuple(c for c in categories if c in found), np.nan, np.nan, False, missing)
        values = column.dropna().to_numpy()
        low, high = (float(values.min()), float(values.max())) if len(values) else (np.nan, np.nan)
        return cls(name, None, low, high, bool((values == np.rint(values)).all()), missing)


@dataclass(frozen=True)
class Columns:
    """What the columns of an encoded matrix mean: their names, and the list of categories of each (None for numbers).

    Code c < len(categories) is that category, code len(categories) any other text, missing is NaN.
    """

    names: tuple[str, ...]
    categories: tuple[tuple[str, ...] | None, ...]

    def named(self, matrix: MatrixArray) -> pd.DataFrame:
        """The rows (n, p) with text for codes; a missing number is NaN, missing text None."""
        columns = {}
        for i, (name, labels) in enumerate(zip(self.names, self._labels, strict=True)):
            if labels is None:
                columns[name] = matrix[:, i].astype(np.float64)
            else:
                padded = np.array([*labels, None], dtype=object)
                code = np.where(np.isnan(matrix[:, i]), -1, matrix[:, i]).astype(np.int64)
                columns[name] = padded[code]
        return pd.DataFrame(columns, columns=list(self.names), index=range(len(matrix)))

    def encoded(self, rows: pd.DataFrame) -> MatrixArray:
        """The matrix (n, p) of such rows; text that is in no list becomes missing."""
        matrix = np.empty((len(rows), len(self.names)), dtype=np.float32)
        for i, (name, labels) in enumerate(zip(self.names, self._labels, strict=True)):
            column = rows[name]
            known = column if labels is None else column.map({label: code for code, label in enumerate(labels)})
            matrix[:, i] = known.to_numpy(dtype=np.float64)
        return matrix

    def features(self, rows: pd.DataFrame) -> tuple[Feature, ...]:
        """What named rows hold, column by column."""
        labels = zip(self.names, self._labels, strict=True)
        return tuple(Feature.of(name, rows[name], categories) for name, categories in labels)

    @property
    def categorical(self) -> NDArray[np.bool_]:
        """(p,) which columns hold codes."""
        return np.array([categories is not None for categories in self.categories], dtype=np.bool_)

    @property
    def _labels(self) -> tuple[tuple[str, ...] | None, ...]:
        return tuple(None if c is None else (*c, word_for_others(c)) for c in self.categories)


def shown(matrix: MatrixArray) -> MatrixArray:
    """The rows (n, p) with numbers as they are shown, so that what comes back is what was shown; no −0."""
    exact = matrix.astype(np.float64)
    size = np.where(np.isfinite(exact) & (exact != 0), np.abs(exact), 1.0)
    place = np.floor(np.log10(size)) - (DIGITS - 1)
    over, under = 10.0 ** np.maximum(place, 0), 10.0 ** np.maximum(-place, 0)  # powers below 1 would not be exact
    return np.asarray(np.rint(exact / over * under) / under * over + 0.0, dtype=np.float32)


def gaps_below(values: FloatArray) -> FloatArray:
    """Numbers (n,) with one below all others for what is missing, so that a tree can split it off."""
    missing = np.isnan(values)
    lowest = 0.0 if missing.all() else values[~missing].min()
    return np.where(missing, lowest - 1.0, values)

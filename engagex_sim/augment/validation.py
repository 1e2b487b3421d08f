"""Whether written rows could have been in the log: types, ranges, categories and counts."""

from collections import Counter
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

from engagex_sim.augment.rows import Feature
from engagex_sim.columns import BoolArray, FloatArray

WRONG_TYPE = "wrong type"
MISSING = "a value is missing"
FRACTION = "not a whole number"
OUT_OF_RANGE = "outside the range of the log"
UNKNOWN = "a category that the log does not know"
IMPOSSIBLE = "more triggers in a short time than in a longer one"

NESTED = (  # the first counts some of what the second counts
    ("triggers_1d", "triggers_7d"),
    ("triggers_7d", "triggers_14d"),
    ("triggers_14d", "triggers_28d"),
    ("triggers_28d", "triggers_so_far"),
    ("distinct_triggers_7d", "triggers_7d"),
)
ROUNDING = 1e-5  # of the range: numbers are shown with six digits


def checked(rows: pd.DataFrame, features: tuple[Feature, ...]) -> tuple[pd.DataFrame, Counter[str]]:
    """The rows that could have been in the log, with numbers as floats, and how many could not, by the first reason.

    A number must lie in the range of its feature, and be whole where all are; text must be one of the categories;
    nothing may be missing that never is. Rows hold exogenous features only, so none can break the contact cap.
    """
    reason = np.full(len(rows), "", dtype=object)

    def reject(why: str, where: BoolArray) -> None:
        reason[where & (reason == "")] = why

    values = {}
    for feature in features:
        column = rows[feature.name]
        absent = column.isna().to_numpy()
        if not feature.may_be_missing:
            reject(MISSING, absent)
        if feature.categories is not None:
            text = np.array([isinstance(value, str) for value in column], dtype=np.bool_)
            reject(WRONG_TYPE, ~text & ~absent)
            categories = frozenset(feature.categories)
            reject(UNKNOWN, np.array([isinstance(v, str) and v not in categories for v in column], dtype=np.bool_))
            values[feature.name] = column.to_numpy(dtype=object)
            continue
        number = _numbers(column)
        reject(WRONG_TYPE, np.isnan(number) & ~absent)
        slack = ROUNDING * max(feature.high - feature.low, abs(feature.high), abs(feature.low))
        reject(OUT_OF_RANGE, ~absent & ~((feature.low - slack <= number) & (number <= feature.high + slack)))
        if feature.whole:
            reject(FRACTION, ~absent & (number != np.rint(number)))
        values[feature.name] = number
    numbers = {feature.name for feature in features if feature.categories is None}
    for part, whole in NESTED:
        if part in numbers and whole in numbers:
            reject(IMPOSSIBLE, values[part] > values[whole])
    good = reason == ""
    return pd.DataFrame({name: column[good] for name, column in values.items()}), Counter(reason[~good].tolist())


def _numbers(column: "pd.Series[Any]") -> FloatArray:
    """The numbers (n,), NaN for anything else; a truth value is none."""
    if column.dtype.kind in "fi":
        return np.asarray(column, dtype=np.float64)
    return np.array([_number(value) for value in column], dtype=np.float64)


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        return np.nan
    try:
        return float(value)
    except OverflowError:  # a whole number that no float can hold
        return np.inf

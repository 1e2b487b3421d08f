"""Texts that are numbers: what a text column becomes where all of it is numbers, and in which order kinds come."""

import re

import numpy as np

from engagex_sim.columns import AnyArray, BoolArray, TextArray

NUMBER = re.compile(r"[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]+)?")
WHOLE = re.compile(r"[+-]?[0-9]{1,18}")


def as_numbers(categories: TextArray, missing: bool) -> AnyArray | None:
    """The number of each category, and of -1 at the end: NaN, or 0 where nothing is `missing`; None if one is none."""
    if not all(NUMBER.fullmatch(category) for category in categories):
        return None
    whole = all(WHOLE.fullmatch(category) for category in categories) and not missing
    if whole and len(categories):
        return np.array([*(int(category) for category in categories), 0], dtype=np.int64)
    return np.array([*(float(category) for category in categories), np.nan])


def in_order(categories: TextArray, used: BoolArray) -> tuple[str, ...]:
    """The categories that are `used` (n,), ascending: as numbers where all of them are."""
    labels = [str(category) for category in categories[used]]
    if all(NUMBER.fullmatch(label) for label in labels):
        labels.sort(key=lambda label: (float(label), label))
    return tuple(labels)

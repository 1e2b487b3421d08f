"""The local generator: every column drawn from a decision tree on the columns before it; no network."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy.stats import rankdata
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from engagex_sim.augment.generator import Batch, Examples
from engagex_sim.augment.rows import Feature, gaps_below
from engagex_sim.augment.validation import NESTED
from engagex_sim.columns import FloatArray, IntArray

MIN_LEAF = 5  # examples that a value is drawn from, at least
_SIDES: tuple[Literal["left", "right"], ...] = ("left", "right")
ROUNDS = 10  # how often rejected rows are replaced


class TreeSynthesis:
    """Sequential synthesis by classification and regression trees (Reiter 2005; Nowok, Raab and Dibben 2016).

    The first column is drawn from the examples. For each later one a tree on the earlier columns is grown, and a value
    is drawn from the examples in the leaf that the new row falls into: text, whole numbers and gaps as they are, other
    numbers between one example and the next larger one. Of counts that contain one another the difference is drawn.
    """

    @property
    def described(self) -> Mapping[str, str | int]:
        return {"generator": "local", "method": "sequential classification and regression trees"}

    def batches(self, examples: Examples, missing: Callable[[], int], seed: int) -> Iterator[Batch]:
        """Rows for all that are missing, at most `ROUNDS` times."""
        rng = np.random.default_rng(seed)
        features, rows = examples.features, examples.rows
        absent = rows[[f.name for f in features]].isna().to_numpy()
        known = np.column_stack([_as_numbers(rows[f.name], f.categories is not None) for f in features])
        base = _drawn_from(features)
        drawn = known - np.where(base >= 0, known[:, base], 0.0)
        leaves = [_Leaves(known[:, :i], drawn[:, i], f.categories is not None, seed) for i, f in enumerate(features)]
        for _ in range(ROUNDS):
            wanted = missing()
            new = np.empty((wanted, len(features)))
            columns = {}
            for i, feature in enumerate(features):
                source, following = leaves[i].two_examples(new[:, :i], rng.random(wanted))
                new[:, i] = drawn[source, i]
                if feature.categories is None and not feature.whole:
                    step = np.where(absent[source, i], 0.0, drawn[following, i] - drawn[source, i])
                    new[:, i] += rng.random(wanted) * step
                if base[i] >= 0:
                    new[:, i] += new[:, base[i]]
                if feature.categories is not None:
                    columns[feature.name] = rows[feature.name].to_numpy(dtype=object)[source]
                else:
                    columns[feature.name] = np.where(absent[source, i], np.nan, new[:, i])
            yield Batch(pd.DataFrame(columns), asked=wanted)


class _Leaves:
    """Examples that share a leaf of a tree on the earlier columns (m, i), sorted by their values (m,)."""

    def __init__(self, earlier: FloatArray, values: FloatArray, is_text: bool, seed: int) -> None:
        self.tree = None
        if earlier.shape[1] > 0:
            model = DecisionTreeClassifier if is_text else DecisionTreeRegressor
            target = values if is_text else rankdata(values)  # counts have long tails
            self.tree = model(min_samples_leaf=MIN_LEAF, random_state=seed).fit(earlier, target)
        leaf = self._leaf(earlier)
        self.order = np.lexsort((values, leaf))
        self.leaf = leaf[self.order]

    def two_examples(self, earlier: FloatArray, uniform: FloatArray) -> tuple[IntArray, IntArray]:
        """For each new row (n, i) an example (n,) of its leaf, drawn by `uniform` (n,), and the next larger there."""
        fallen = self._leaf(earlier)
        first, last = (np.searchsorted(self.leaf, fallen, side=side) for side in _SIDES)
        place = first + (uniform * (last - first)).astype(np.int64)
        return self.order[place], self.order[np.minimum(place + 1, last - 1)]

    def _leaf(self, earlier: FloatArray) -> IntArray:
        """(n,) the leaf of each row; without a tree all are in one."""
        leaf = np.zeros(len(earlier)) if self.tree is None else self.tree.apply(earlier)
        return np.asarray(leaf, dtype=np.int64)


def _drawn_from(features: Sequence[Feature]) -> IntArray:
    """(p,) the earlier column that a count contains, or is contained in; −1 where there is none."""
    names = [f.name if f.categories is None and not f.may_be_missing else None for f in features]
    base = np.full(len(names), -1, dtype=np.int64)
    for i, name in enumerate(names):
        others = [other for pair in NESTED if name in pair for other in pair if other in names[:i]]
        if others:
            base[i] = names.index(others[-1])
    return base


def _as_numbers(column: "pd.Series[Any]", is_text: bool) -> FloatArray:
    """Codes for text; the numbers, with one below all others for what is missing."""
    if is_text:
        return pd.factorize(column, sort=True)[0].astype(np.float64)
    return gaps_below(column.to_numpy(dtype=np.float64))

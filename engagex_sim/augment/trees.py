"""The local generator: every column drawn from a decision tree on the columns before it; no network."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import rankdata
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from engagex_sim.augment.generator import Batch, Examples
from engagex_sim.augment.validation import NESTED
from engagex_sim.columns import FloatArray, IntArray

MIN_LEAF = 5  # examples that a value is drawn from, at least
ROUNDS = 10  # how often rejected rows are replaced


class TreeSynthesis:
    """Sequential synthesis by classification and regression trees (Reiter 2005; Nowok, Raab and Dibben 2016).

    The first column is drawn from the examples. For each later one a tree on the earlier columns is grown, and a value
    is drawn from the examples in the leaf that the new row falls into. So every value occurred, gaps included, and only
    combinations are new. Of counts that contain one another the difference is drawn.
    """

    @property
    def described(self) -> Mapping[str, str | int]:
        return {"generator": "local", "method": "sequential classification and regression trees"}

    def batches(self, examples: Examples, missing: Callable[[], int], seed: int) -> Iterator[Batch]:
        """Rows for all that are missing, at most `ROUNDS` times."""
        rng = np.random.default_rng(seed)
        features, rows = examples.features, examples.rows
        known = np.column_stack([_as_numbers(rows[f.name], f.categories is not None) for f in features])
        base = _drawn_from([f.name for f in features])
        drawn = known - np.where(base >= 0, known[:, base], 0.0)
        trees = [_tree(known[:, :i], drawn[:, i], f.categories is not None, seed) for i, f in enumerate(features)]
        for _ in range(ROUNDS):
            wanted = missing()
            new = np.empty((wanted, len(features)))
            columns = {}
            for i, feature in enumerate(features):
                leaf, fallen = (
                    np.zeros(len(x)) if trees[i] is None else trees[i].apply(x[:, :i]) for x in (known, new)
                )
                source = _one_of_the_same(leaf, fallen, rng.random(wanted))
                new[:, i] = drawn[source, i] + (new[:, base[i]] if base[i] >= 0 else 0.0)
                columns[feature.name] = rows[feature.name].to_numpy()[source] if base[i] < 0 else new[:, i]
            yield Batch(pd.DataFrame(columns), asked=wanted)


def _drawn_from(names: Sequence[str]) -> IntArray:
    """(p,) the earlier column that a count contains, or is contained in; −1 where there is none."""
    base = np.full(len(names), -1, dtype=np.int64)
    for i, name in enumerate(names):
        others = [other for pair in NESTED if name in pair for other in pair if other in names[:i]]
        if others:
            base[i] = names.index(others[-1])
    return base


def _as_numbers(column: "pd.Series[Any]", is_text: bool) -> FloatArray:
    """Codes for text, and a number below all others for what is missing: trees can split it off."""
    if is_text:
        return pd.factorize(column, sort=True)[0].astype(np.float64)
    values = column.to_numpy(dtype=np.float64)
    lowest = np.nanmin(values) if not np.isnan(values).all() else 0.0
    return np.where(np.isnan(values), lowest - 1.0, values)


def _tree(
    earlier: FloatArray, values: FloatArray, is_text: bool, seed: int
) -> DecisionTreeClassifier | DecisionTreeRegressor | None:
    """A tree whose leaves hold examples with similar values; of numbers the ranks, since counts have long tails.

    None for the first column, which has none before it.
    """
    if earlier.shape[1] == 0:
        return None
    if is_text:
        return DecisionTreeClassifier(min_samples_leaf=MIN_LEAF, random_state=seed).fit(earlier, values)
    return DecisionTreeRegressor(min_samples_leaf=MIN_LEAF, random_state=seed).fit(earlier, rankdata(values))


def _one_of_the_same(leaf: IntArray, fallen: IntArray, uniform: FloatArray) -> IntArray:
    """For each new row's leaf `fallen` (n,) an example (n,) in the same leaf, drawn by `uniform` (n,)."""
    order = np.argsort(leaf, kind="stable")
    first, last = (np.searchsorted(leaf[order], fallen, side=side) for side in ("left", "right"))
    return np.asarray(order[first + (uniform * (last - first)).astype(np.int64)])

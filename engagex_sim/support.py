"""Which decisions lack support, in words: a shallow tree over what was known at them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from sklearn.tree import DecisionTreeClassifier

from engagex_sim.columns import BoolArray, FloatArray
from engagex_sim.timeline import Timeline

MAX_ROWS = 20_000  # decision points of a block that the tree learns from
MAX_LABELS = 12  # text features with more values are left out: ids say nothing in words
NEARLY_ALL = 0.95
_FAR = 1e9  # stands for "never", which is infinite


@dataclass(frozen=True)
class SupportRows:
    """Decision points at which a policy contacts, as the tree reads them."""

    names: tuple[str, ...]  # "hour" for numbers, "type = help" for one value of a text feature
    features: FloatArray  # (n, f)
    weight: FloatArray  # (n,) q^π summed over kinds
    lacking: BoolArray  # (n,)

    @classmethod
    def join(cls, blocks: Sequence[Self]) -> Self:
        return cls(
            blocks[0].names,
            np.concatenate([block.features for block in blocks]),
            np.concatenate([block.weight for block in blocks]),
            np.concatenate([block.lacking for block in blocks]),
        )


def support_rows(t: Timeline, probability: FloatArray, lacking: BoolArray, rng: np.random.Generator) -> SupportRows:
    """A sample of a block's decision points (n,) with `probability` q^π > 0, and whether they lack support."""
    rows = np.flatnonzero(probability > 0)
    if len(rows) > MAX_ROWS:
        rows = np.sort(rng.choice(rows, MAX_ROWS, replace=False))
    names, columns = [], []
    for name, column in t.columns.items():
        if name.startswith("_"):
            continue
        values = column.values[rows]
        if column.categories is None:
            names.append(name)
            columns.append(np.nan_to_num(values.astype(np.float64), nan=-1.0, posinf=_FAR))
        elif len(column.categories) <= MAX_LABELS:
            for code, label in enumerate(column.categories):
                names.append(f"{name} = {label}")
                columns.append((values == code).astype(np.float64))
    features = np.column_stack([np.zeros((len(rows), 0)), *columns])
    return SupportRows(tuple(names), features, probability[rows], lacking[rows])


def where(rows: SupportRows) -> str:
    """The decisions without support in words, such as "where hour ≥ 18 and type = help"."""
    total = rows.weight.sum()
    share = float((rows.weight * rows.lacking).sum() / total) if total > 0 else 0.0
    if share >= NEARLY_ALL or rows.features.shape[1] == 0:
        return "wherever this policy would contact"
    if share == 0:
        return "nowhere in particular"
    tree = DecisionTreeClassifier(max_depth=2, min_weight_fraction_leaf=0.02, random_state=0)
    learned = tree.fit(rows.features, rows.lacking, sample_weight=rows.weight).tree_
    phrases: list[str] = []

    def lacking(node: int) -> bool:
        """Whether support is lacking in every leaf below."""
        if learned.children_left[node] < 0:
            return bool(learned.value[node, 0].argmax() == 1)
        return lacking(int(learned.children_left[node])) and lacking(int(learned.children_right[node]))

    def walk(node: int, path: Mapping[tuple[str, bool], float]) -> None:
        if lacking(node):
            phrases.append(" and ".join(_condition(name, border, above) for (name, above), border in path.items()))
        elif learned.children_left[node] >= 0:
            name, border = rows.names[int(learned.feature[node])], float(learned.threshold[node])
            walk(int(learned.children_left[node]), {**path, (name, False): border})  # the later border is the tighter
            walk(int(learned.children_right[node]), {**path, (name, True): border})

    walk(0, {})
    phrases = [phrase for phrase in phrases if phrase]
    return "where " + "; or ".join(phrases) if phrases else "here and there, by no simple rule"


def _condition(name: str, border: float, above: bool) -> str:
    if " = " in name:
        return name if above else name.replace(" = ", " is not ", 1)
    sign = ">" if above else "≤"
    if border % 1 == 0.5:  # between two whole numbers
        sign, border = ("≥", border + 0.5) if above else ("≤", border - 0.5)
    return f"{name} {sign} {border:,.3g}"

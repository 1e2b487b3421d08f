"""Levels of the exogenous features, over which the logging policy's contact probabilities are recalibrated."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from engagex_sim.columns import Column, FloatArray, IntArray
from engagex_sim.timeline import Timeline

MAX_LEVELS = 12  # of one feature


@dataclass(frozen=True)
class Margins:
    """How each feature is divided into few levels: numbers between edges, text by its most frequent values."""

    edges: Mapping[str, FloatArray]  # numbers: ascending; a level begins at each
    labels: Mapping[str, tuple[str, ...]]  # text: each has a level of its own; all others share level 0

    @classmethod
    def of(cls, contacts: Timeline) -> Self:
        """Levels that hold about equally many logged contacts; features with one level are left out."""
        edges, labels = {}, {}
        for name, column in contacts.columns.items():
            if name == "day":
                continue  # every day is a level of its own anyway
            if column.categories is not None:
                counts = np.bincount(column.values[column.values >= 0], minlength=len(column.categories))
                frequent = np.argsort(-counts, kind="stable")[: MAX_LEVELS - 1]
                labels[name] = tuple(str(label) for label in column.categories[np.sort(frequent)])
            else:
                found = column.values[np.isfinite(column.values)]
                if len(found):
                    parts = np.quantile(found, np.arange(1, MAX_LEVELS) / MAX_LEVELS, method="higher")
                    edges[name] = np.unique(parts[parts > found.min()])
        return cls({n: e for n, e in edges.items() if len(e)}, {n: t for n, t in labels.items() if len(t) > 1})

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.edges, *self.labels)

    def levels(self, columns: Mapping[str, Column]) -> dict[str, IntArray]:
        """The level of every row, (n,) each, 0 to `MAX_LEVELS` − 1; missing numbers stand with the largest."""
        of_numbers = {
            name: np.searchsorted(edges, columns[name].values, side="right").astype(np.int64)
            for name, edges in self.edges.items()
        }
        return of_numbers | {
            name: columns[name].codes_for(labels).astype(np.int64) + 1 for name, labels in self.labels.items()
        }

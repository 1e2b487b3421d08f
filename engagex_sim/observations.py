"""Decision points as an agent observes them: the same in the environment and where its policy is evaluated."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from gymnasium import spaces

from engagex_sim.columns import AnyArray, Column, FloatArray, TextArray
from engagex_sim.errors import InputError
from engagex_sim.feature_names import HISTORY_FEATURES
from engagex_sim.policy import Context

LARGE = 1e12
NOT_A_NUMBER = -1.0  # stands for "missing" and for "never" in observations, which must be finite


@dataclass(frozen=True)
class Observations:
    """Which features are observed, and how: numbers as they are, text as a code, 1 for the first category.

    Missing text and text without a code is 0; numbers that are missing or never are −1.
    """

    numbers: tuple[str, ...]
    categories: Mapping[str, TextArray]  # of each feature that is text

    @classmethod
    def of(cls, columns: Mapping[str, Column], features: Sequence[str] | None = None) -> Self:
        """Of the features `features` among `columns` and the history; by default of all of them.

        Raises `InputError` for a feature that there is not.
        """
        shown = [name for name in columns if not name.startswith("_")] + list(HISTORY_FEATURES)
        for name in features or ():
            if name not in shown:
                raise InputError(f"There is no feature {name!r} to observe; there are: {', '.join(shown)}.")
        kept = shown if features is None else list(dict.fromkeys(features))
        text = {name: labels for name in kept if name in columns and (labels := columns[name].categories) is not None}
        return cls(tuple(name for name in kept if name not in text), text)

    @property
    def space(self) -> spaces.Dict:
        """A `Box` of shape (1,) for each number, a `Discrete` for each text."""
        box = spaces.Box(-LARGE, LARGE, (1,), np.float64)
        codes: dict[str, spaces.Space[Any]] = {
            name: spaces.Discrete(len(labels) + 1) for name, labels in self.categories.items()
        }
        return spaces.Dict({**dict.fromkeys(self.numbers, box), **codes})

    def observe(self, context: Context) -> dict[str, AnyArray]:
        """What is observed at n decision points: (n, 1) for each number, (n,) codes for each text.

        Raises `InputError` where a feature is missing, or is text where it was numbers or the reverse.
        """
        observed: dict[str, AnyArray] = {}
        for name in (*self.numbers, *self.categories):
            column = context.column(name)
            if column.is_text != (name in self.categories):
                now, then = ("text", "numbers") if column.is_text else ("numbers", "text")
                raise InputError(f"Feature {name!r} is {now} here but was {then} where the agent learned.")
            labels = self.categories.get(name)
            if labels is None:
                observed[name] = _finite(column)[:, None]
            else:  # the log that the agent learns from has the codes already
                codes = column.values if column.categories is labels else column.codes_for(list(labels))
                observed[name] = codes.astype(np.int64) + 1
        return observed

    def flat(self, observed: Mapping[str, AnyArray]) -> FloatArray:
        """What `observe` gave as one matrix (n, d), codes as 0/1 columns: as gymnasium's `FlattenObservation`."""
        parts = []
        for name in self.space.spaces:
            labels = self.categories.get(name)
            parts.append(observed[name] if labels is None else np.eye(len(labels) + 1)[observed[name]])
        return np.hstack(parts)


def _finite(column: Column) -> AnyArray:
    value = column.values.astype(np.float64)
    return np.where(np.isfinite(value), np.clip(value, -LARGE, LARGE), NOT_A_NUMBER)

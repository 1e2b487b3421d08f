"""The reward model's quality, as the tables that a run writes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd

from engagex_sim.augment.account import report
from engagex_sim.augment.choice import row_generator
from engagex_sim.columns import FloatArray
from engagex_sim.crossfit import Fitted
from engagex_sim.models.metrics import classification_metrics, report_by_class
from engagex_sim.observed import Observed
from engagex_sim.settings import Settings
from engagex_sim.timeline import Timeline


@dataclass(frozen=True)
class Scored:
    """What a reward model says about contacts (n,), what came of them, and from where on it says "interested"."""

    reward: FloatArray
    predicted: FloatArray
    threshold: float

    @classmethod
    def on(cls, contacts: Timeline, fitted: Fitted) -> Self:
        """The model on contacts, such as those that it was trained on."""
        predicted = fitted.reward_model.predict(contacts.free_context())
        own = predicted[np.arange(len(contacts)), contacts.action - 1]
        return cls(contacts.reward, own, fitted.reward_model.threshold)

    @classmethod
    def held_out(cls, observed: Observed, fitted: Sequence[Fitted]) -> Self:
        """All users' contacts, each predicted by other users' model; the threshold is the mean over the models."""
        threshold = float(np.mean([models.reward_model.threshold for models in fitted]))
        return cls(observed.reward, observed.predicted, threshold)

    @property
    def metrics(self) -> dict[str, float]:
        return classification_metrics(self.reward, self.predicted, self.threshold)

    @property
    def report(self) -> pd.DataFrame:
        return report_by_class(self.reward, self.predicted, self.threshold)


def model_metrics(train: Sequence[Scored], held_out: Scored, imbalance: str) -> pd.DataFrame:
    """Train metrics as the mean over folds, and held-out metrics."""
    mean = pd.DataFrame([fold.metrics for fold in train]).mean().to_dict()
    table = pd.DataFrame([{"split": "train"} | mean, {"split": "held-out"} | held_out.metrics])
    table.insert(0, "model", "reward model")
    table.insert(1, "imbalance", imbalance)
    return table


def classification_report(train: Sequence[Scored], held_out: Scored) -> pd.DataFrame:
    """Precision, recall and F1 by class: train as the mean over folds, and held-out; see `report_by_class`."""
    folds = pd.concat([fold.report for fold in train])
    mean = folds.groupby("class", sort=False).mean().reset_index()
    table = pd.concat([mean.assign(split="train"), held_out.report.assign(split="held-out")], ignore_index=True)
    table.insert(0, "model", "reward model")
    table.insert(1, "split", table.pop("split"))
    return table


def augmentation(fitted: Sequence[Fitted], settings: Settings) -> dict[str, Any] | None:
    """What became of the synthetic rows that the reward models learned from; None where none were asked for."""
    generator = row_generator(settings)
    if generator is None:
        return None
    return report(generator.described, [f.reward_model.accounts for f in fitted])

"""The reward model's quality, as the tables that a run writes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from engagex_sim.augment.account import report
from engagex_sim.augment.choice import row_generator
from engagex_sim.crossfit import Fitted
from engagex_sim.models.metrics import classification_metrics
from engagex_sim.observed import Observed
from engagex_sim.settings import Settings
from engagex_sim.timeline import Timeline


def train_metrics(contacts: Timeline, fitted: Fitted) -> dict[str, float]:
    """How well the reward model does on the contacts that it was trained on."""
    predicted = fitted.reward_model.predict(contacts.free_context())
    own = predicted[np.arange(len(contacts)), contacts.action - 1]
    return classification_metrics(contacts.reward, own, fitted.reward_model.threshold)


def model_metrics(
    fitted: Sequence[Fitted], train: Sequence[Mapping[str, float]], observed: Observed, imbalance: str
) -> pd.DataFrame:
    """Train metrics as the mean over folds; held-out metrics on all users' contacts, each predicted by other users."""
    threshold = float(np.mean([f.reward_model.threshold for f in fitted]))
    held_out = classification_metrics(observed.reward, observed.predicted, threshold)
    mean = pd.DataFrame(train).mean().to_dict()
    rows = [{"split": "train"} | mean, {"split": "held-out"} | held_out]
    table = pd.DataFrame(rows)
    table.insert(0, "model", "reward model")
    table.insert(1, "imbalance", imbalance)
    return table


def feature_importance(fitted: Sequence[Fitted]) -> pd.DataFrame:
    """Share of the gain by feature, as the mean over folds."""
    each = pd.concat([f.reward_model.feature_importance() for f in fitted])
    mean = each.groupby("feature", sort=True)["importance"].mean().sort_values(ascending=False, kind="stable")
    table = mean.reset_index()
    table.insert(0, "model", "reward model")
    return table


def augmentation(fitted: Sequence[Fitted], settings: Settings) -> dict[str, Any] | None:
    """What became of the synthetic rows that the reward models learned from; None where none were asked for."""
    generator = row_generator(settings)
    if generator is None:
        return None
    return report(generator.described, [f.reward_model.accounts for f in fitted])

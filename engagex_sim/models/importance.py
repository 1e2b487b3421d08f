"""What a reward model looks at: how far each feature moves its predictions, and what they lose without it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import xgboost as xgb
from sklearn.metrics import roc_auc_score

from engagex_sim.columns import AnyArray, FloatArray, IntArray, word_for_others
from engagex_sim.feature_names import KIND_OF_CONTACT
from engagex_sim.models.encoding import MatrixArray
from engagex_sim.models.reward import RewardModel
from engagex_sim.policy import Context


@dataclass(frozen=True)
class Judged:
    """A model and contacts (n,) of users that it did not learn from."""

    model: RewardModel
    matrix: MatrixArray  # (n, p) what the model reads of them
    reward: FloatArray  # (n,)

    @classmethod
    def of(cls, model: RewardModel, context: Context, action: IntArray, reward: FloatArray) -> Self:
        """Contacts as the log holds them; `action` (n,) in 1..K."""
        several = len(model.kinds) > 1
        matrix = model.encoder.transform(context, extra=several)
        if several:
            known = {label: float(code) for code, label in enumerate(model.kinds)}
            matrix[:, -1] = np.array([known.get(label, np.nan) for label in context.kinds])[action - 1]
        return cls(model, matrix, reward)

    @property
    def features(self) -> list[str]:
        """Names (p,)."""
        return [*self.model.encoder.names, *([KIND_OF_CONTACT] if len(self.model.kinds) > 1 else [])]

    def predicted(self, matrix: MatrixArray) -> FloatArray:
        """(n,) probabilities of interest where the model reads `matrix` (n, p)."""
        booster = self.model.booster
        margin = np.zeros(len(matrix)) if booster is None else booster.inplace_predict(matrix, predict_type="margin")
        return self.model.calibration.probabilities(margin)

    def contributions(self) -> FloatArray:
        """(n, p + 1): what each feature adds to the log odds of interest, and in the last column what all rows share.

        SHAP values of the trees (Lundberg et al. 2020), times the calibration's slope: a row adds up to the log odds
        of the prediction.
        """
        calibration, booster = self.model.calibration, self.model.booster
        if booster is None:
            values = np.zeros((len(self.matrix), len(self.features) + 1))
        else:
            types = [*self.model.encoder.feature_types, *("c" for _ in self.features[len(self.model.encoder.names) :])]
            rows = xgb.DMatrix(self.matrix, feature_types=types, enable_categorical=True, nthread=1)
            values = calibration.slope * booster.predict(rows, pred_contribs=True).astype(np.float64)
        values[:, -1] += calibration.intercept
        return np.asarray(values, dtype=np.float64)


def permutation_losses(parts: Sequence[Judged], repeats: int, rng: np.random.Generator) -> FloatArray:
    """(p, repeats): what the ROC AUC over all parts loses when one feature is shuffled among the contacts of each part.

    Breiman (2001); Fisher, Rudin and Dominici (2019). A feature that tells the same as another one loses little, since
    the other still tells it. NaN where all contacts have the same result.
    """
    reward = np.concatenate([part.reward for part in parts])
    losses = np.full((len(parts[0].features), repeats), np.nan)
    if len(np.unique(reward)) < 2:
        return losses
    whole = roc_auc_score(reward, np.concatenate([part.predicted(part.matrix) for part in parts]))
    shuffled = [part.matrix.copy() for part in parts]
    for feature in range(len(losses)):
        for repeat in range(repeats):
            for part, matrix in zip(parts, shuffled, strict=True):
                matrix[:, feature] = rng.permutation(part.matrix[:, feature])
            predicted = np.concatenate([part.predicted(m) for part, m in zip(parts, shuffled, strict=True)])
            losses[feature, repeat] = whole - roc_auc_score(reward, predicted)
        for part, matrix in zip(parts, shuffled, strict=True):
            matrix[:, feature] = part.matrix[:, feature]
    return losses


def levels_of(values: AnyArray, most: int) -> tuple[list[str | float], IntArray]:
    """Groups of a feature's values (n,): a label for each, and the group (n,) of every row.

    Text: the most frequent values, then "other". Numbers: each value where there are few, else groups of about equal
    size, labelled with their mean. Missing and infinite values are the last group, labelled NaN.
    """
    if values.dtype == object:
        missing = np.array([value is None for value in values], dtype=np.bool_)
        found, code, counts = np.unique(values[~missing].astype(str), return_inverse=True, return_counts=True)
        frequent = np.sort(np.argsort(-counts, kind="stable")[: most if len(found) <= most else most - 1])
        place = np.full(len(found), len(frequent))
        place[frequent] = np.arange(len(frequent))
        labels: list[str | float] = [*map(str, found[frequent])]
        if len(frequent) < len(found):
            labels.append(word_for_others(labels))
        groups = place[code]
    else:
        missing = ~np.isfinite(values.astype(np.float64))
        numbers = values[~missing].astype(np.float64)
        found, groups = np.unique(numbers, return_inverse=True)
        if len(found) > most:
            edges = np.unique(np.quantile(numbers, np.arange(1, most) / most))
            found, groups = np.unique(np.searchsorted(edges, numbers, side="left"), return_inverse=True)
            found = np.bincount(groups, numbers) / np.bincount(groups)
        labels = [float(value) for value in found]
    group = np.full(len(values), len(labels), dtype=np.int64)
    group[~missing] = groups
    return ([*labels, float("nan")] if missing.any() else labels), group

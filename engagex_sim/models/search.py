"""Choosing the reward model's settings: grid search over folds of whole users, and its held-out predictions."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xgboost as xgb
from imblearn import FunctionSampler
from imblearn.pipeline import Pipeline
from joblib import parallel_config
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, cross_val_predict

from engagex_sim.augment import Augmenter
from engagex_sim.columns import FloatArray, IntArray, KeyArray
from engagex_sim.hashing import uniforms
from engagex_sim.models.calibrate import log_odds, sigmoid
from engagex_sim.models.encoding import FeatureEncoder, MatrixArray
from engagex_sim.models.resample import oversample
from engagex_sim.policy import Context
from engagex_sim.settings import Device, Grid, Imbalance

FOLDS = 3
MIN_OF_A_CLASS = 5  # rows of each class that every fold must have to learn from
LATER = 0.7  # contacts after this share of them are what the split in time is judged on

# Regularisation chosen on simulated logs with 90 to 700 positives by the distance from the true probabilities.
_FIXED: Mapping[str, Any] = {"tree_method": "hist", "enable_categorical": True, "n_jobs": 1, "verbosity": 0}
MIN_CHILD_WEIGHT = 5.0
REG_LAMBDA = 20.0
GRIDS: Mapping[Grid, Mapping[str, list[float]]] = {
    "light": {"max_depth": [2], "n_estimators": [20], "learning_rate": [0.2]},
    "small": {"max_depth": [2, 4], "n_estimators": [15, 50, 150], "learning_rate": [0.1]},
    "full": {"max_depth": [1, 2, 3, 5], "n_estimators": [15, 50, 150, 400], "learning_rate": [0.05, 0.1]},
}
Split = tuple[IntArray, IntArray]


@dataclass(frozen=True)
class Search:
    """The chosen model, fitted on all rows, and what models with its settings say about users they never saw."""

    booster: xgb.Booster
    best_params: Mapping[str, float]
    held_out_margin: FloatArray  # (n,) log-odds less the shift
    shift: float  # log of the factor by which resampling and weights multiply the odds


def search(
    matrix: MatrixArray,
    feature_types: list[str],
    label: IntArray,
    user_key: KeyArray,
    time: IntArray,
    *,
    imbalance: Imbalance,
    grid: Grid,
    seed: int,
    threads: int,
    device: Device = "cpu",
    augmenter: Augmenter | None = None,
) -> Search | None:
    """Grid search over n rows; None without features, or where a fold lacks `MIN_OF_A_CLASS` rows of a class.

    `augmenter` writes the rows for the imbalance setting "augment".
    """
    folds = _learnable_folds(matrix, label, user_key, seed)
    if folds is None:
        return None
    shift = 0.0 if imbalance == "none" else math.log((label == 0).sum() / label.sum())
    model = _pipeline(feature_types, label, imbalance, seed, augmenter).set_params(model__device=device)
    candidates = _candidates(grid)
    with parallel_config(backend="threading", n_jobs=threads):
        if math.prod(map(len, candidates.values())) > 1:
            splits = folds + later_split(folds[0], label, time)
            chosen = GridSearchCV(
                model, candidates, scoring=_unshifted_log_loss(shift), cv=splits, error_score="raise"
            ).fit(matrix, label)
            model, best = chosen.best_estimator_, chosen.best_params_
        else:
            best = _only(candidates)
            model.set_params(**best).fit(matrix, label)
        held_out = _held_out(model, matrix, label, folds)
    return Search(
        booster=model.named_steps["model"].get_booster(),
        best_params={name.removeprefix("model__"): value for name, value in best.items()},
        held_out_margin=held_out - shift,
        shift=shift,
    )


def held_out_log_odds(
    context: Context, action: IntArray, reward: FloatArray, user_key: KeyArray, *, seed: int
) -> FloatArray | None:
    """Log odds (n,) of interest that a light model gives to users it never saw; None where there is too little."""
    encoder = FeatureEncoder.fit(context, context.exogenous)
    several = len(context.kinds) > 1
    matrix, types = encoder.transform(context, extra=several), encoder.feature_types
    if several:
        matrix[:, -1] = action - 1
        types.append("c")
    label = reward.astype(np.int64)
    folds = _learnable_folds(matrix, label, user_key, seed)
    if folds is None:
        return None
    model = _pipeline(types, label, "none", seed).set_params(**_only(_candidates("light")))
    return _held_out(model, matrix, label, folds)


def _learnable_folds(matrix: MatrixArray, label: IntArray, user_key: KeyArray, seed: int) -> list[Split] | None:
    """Folds of whole users; None without features, or where a fold lacks `MIN_OF_A_CLASS` rows of a class."""
    if matrix.shape[1] == 0:
        return None
    folds = user_folds(user_key, label, seed)
    lacking = any(np.bincount(label[train], minlength=2).min() < MIN_OF_A_CLASS for train, _ in folds)
    return None if lacking else folds


def _candidates(grid: Grid) -> dict[str, list[float]]:
    return {f"model__{name}": values for name, values in GRIDS[grid].items()}


def _only(candidates: Mapping[str, list[float]]) -> dict[str, float]:
    return {name: values[0] for name, values in candidates.items()}


def _held_out(model: Pipeline, matrix: MatrixArray, label: IntArray, folds: list[Split]) -> FloatArray:
    """Log odds (n,) of every row by a model that did not see its fold."""
    chance = cross_val_predict(model, matrix, label, cv=folds, method="predict_proba")[:, 1]
    return log_odds(chance.astype(np.float64))


def user_folds(user_key: KeyArray, label: IntArray, seed: int) -> list[Split]:
    """Rows to train on and held-out rows, per fold: whole users, those with a positive dealt out evenly.

    A function of the users and `seed`, not of their order.
    """
    users, user = np.unique(user_key, return_inverse=True)
    positive = np.bincount(user, weights=label) > 0
    order = np.lexsort((uniforms(users, seed)[0], positive))
    fold_of_user = np.empty(len(users), dtype=np.int64)
    fold_of_user[order] = np.arange(len(users)) % FOLDS
    fold = fold_of_user[user]
    return [(np.flatnonzero(fold != f), np.flatnonzero(fold == f)) for f in range(FOLDS)]


def later_split(fold: Split, label: IntArray, time: IntArray) -> list[Split]:
    """The fold cut in time as well: earlier rows to learn from, later ones held out; none if a part lacks a class."""
    train, held_out = fold
    border = np.quantile(time, LATER)
    split = (train[time[train] < border], held_out[time[held_out] >= border])
    return [split] if all(len(np.unique(label[part])) == 2 for part in split) else []


def _pipeline(
    feature_types: list[str], label: IntArray, imbalance: Imbalance, seed: int, augmenter: Augmenter | None = None
) -> Pipeline:
    """Resampling, then XGBoost; in every setting but "none" the classes weigh the same in the end.

    With "both", SMOTE goes half of the way (the geometric mean) and the weight of positives does the rest.
    """
    share = label.mean()
    odds = share / (1.0 - share)
    balanced = imbalance != "none"
    resample: Any = "passthrough"
    if imbalance in ("smote", "both"):
        ratio = min(odds, 1.0 / odds) ** (0.0 if imbalance == "smote" else 0.5)
        categorical = np.array(feature_types) == "c"
        settings = {"categorical": categorical, "ratio": ratio, "seed": seed}
        resample = FunctionSampler(func=oversample, kw_args=settings, validate=False)
    if imbalance == "augment":
        resample = FunctionSampler(func=augmenter, kw_args={"ratio": 1.0, "seed": seed}, validate=False)
    # Balanced classes have 0.5 / (rarer share) times the curvature, which is what regularisation is measured against.
    strength = 0.5 / min(share, 1.0 - share) if balanced else 1.0
    model = xgb.XGBClassifier(
        **_FIXED,
        feature_types=feature_types,
        scale_pos_weight=odds ** {"scale_pos_weight": -1.0, "both": -0.5}.get(imbalance, 0.0),
        min_child_weight=MIN_CHILD_WEIGHT * strength,
        reg_lambda=REG_LAMBDA * strength,
        random_state=seed,
    )
    return Pipeline([("resample", resample), ("model", model)])


def _unshifted_log_loss(shift: float) -> Callable[[Pipeline, MatrixArray, IntArray], float]:
    """A scorer: minus the log loss after the shift of resampling and weights is taken out.

    Log loss, because q̂ needs probabilities, and ROC AUC or F1 do not see whether those are right; without the shift,
    because the shift would drown what the settings differ in. Without resampling it is `neg_log_loss`.
    """

    def score(model: Pipeline, matrix: MatrixArray, label: IntArray) -> float:
        margin = log_odds(model.predict_proba(matrix)[:, 1].astype(np.float64)) - shift
        return -float(log_loss(label, sigmoid(margin), labels=[0, 1]))

    return score

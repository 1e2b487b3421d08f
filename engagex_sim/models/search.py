"""Choosing the reward model's settings: grid search with early stopping on whole users, and held-out predictions."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import xgboost as xgb
from imblearn import FunctionSampler
from imblearn.pipeline import Pipeline
from joblib import parallel_config
from sklearn.base import BaseEstimator, clone
from sklearn.model_selection import GridSearchCV, cross_val_predict

from engagex_sim.augment import Augmenter
from engagex_sim.columns import BoolArray, FloatArray, IntArray, KeyArray
from engagex_sim.grids import Grid, GridValues, values_of
from engagex_sim.hashing import uniforms
from engagex_sim.models.calibrate import log_odds
from engagex_sim.models.encoding import FeatureEncoder, MatrixArray
from engagex_sim.models.resample import oversample
from engagex_sim.models.state_effects import log_loss
from engagex_sim.policy import Context
from engagex_sim.settings import Device, Imbalance

FOLDS = 3
MIN_OF_A_CLASS = 5  # rows of each class that every fold must have to learn from
LATER = 0.7  # contacts after this share of them are what the split in time is judged on
MOST_TREES, PATIENCE = 500, 10  # boosting stops after so many trees without gain
ENOUGH = 0.98  # of what trees gain over the first one: the lowest loss itself lies on a plateau, anywhere on it

# Regularisation chosen on simulated logs with 90 to 700 positives by the distance from the true probabilities.
_FIXED: Mapping[str, Any] = {"tree_method": "hist", "enable_categorical": True, "n_jobs": 1, "verbosity": 0}
_UNLESS_GIVEN: Mapping[str, float] = {"max_depth": 2, "learning_rate": 0.1}  # where a grid does not vary them
MIN_CHILD_WEIGHT = 5.0
REG_LAMBDA = 20.0
_AGAINST_CURVATURE = ("min_child_weight", "reg_lambda", "reg_alpha", "gamma")
LIGHT: Mapping[str, float] = {name: values[0] for name, values in values_of("light").items()}
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
    grid: Grid | GridValues,
    seed: int,
    threads: int,
    device: Device = "cpu",
    own: BoolArray | None = None,
    augmenter: Augmenter | None = None,
) -> Search | None:
    """Grid search over n rows; None without features, or where a fold lacks `MIN_OF_A_CLASS` rows of a class.

    Where `own` (n,) is given, settings are judged on its rows: the others, of another log, are only learned from.
    `augmenter` writes the rows for the imbalance setting "augment".
    """
    folds = _learnable_folds(matrix, label, user_key, seed)
    if folds is None:
        return None
    shift = 0.0 if imbalance == "none" else math.log((label == 0).sum() / label.sum())
    model = _pipeline(feature_types, label, imbalance, seed, augmenter).set_params(model__device=device)
    with parallel_config(backend="threading", n_jobs=threads):
        if grid == "light":
            best = LIGHT
        else:
            judged = folds if own is None else [(train, held_out[own[held_out]]) for train, held_out in folds]
            splits = judged + later_split(judged[0], label, time)
            strength = _strength(label, imbalance)
            values = {
                name: [value * strength for value in tried] if name in _AGAINST_CURVATURE else tried
                for name, tried in values_of(grid).items()
            }
            best = _best(EarlyStopped(model, splits, shift), values, matrix, label)
        model.set_params(**_of_model(best)).fit(matrix, label)
        held_out = _held_out(model, matrix, label, folds)
    return Search(
        booster=model.named_steps["model"].get_booster(),
        best_params=best,
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
    model = _pipeline(types, label, "none", seed).set_params(**_of_model(LIGHT))
    return _held_out(model, matrix, label, folds)


def _learnable_folds(matrix: MatrixArray, label: IntArray, user_key: KeyArray, seed: int) -> list[Split] | None:
    """Folds of whole users; None without features, or where a fold lacks `MIN_OF_A_CLASS` rows of a class."""
    if matrix.shape[1] == 0:
        return None
    folds = user_folds(user_key, label, seed)
    lacking = any(np.bincount(label[train], minlength=2).min() < MIN_OF_A_CLASS for train, _ in folds)
    return None if lacking else folds


def _of_model(values: Mapping[str, Any]) -> dict[str, Any]:
    return {f"model__{name}": value for name, value in values.items()}


class EarlyStopped(BaseEstimator):  # type: ignore[misc]  # scikit-learn carries no types
    """A pipeline that is boosted for as long as users gain whom it does not learn from.

    Each split boosts on some users and is stopped by XGBoost on the rows of others, which are never resampled. `loss_`
    is the lowest mean over the splits of the log loss after so many trees, and `trees_` the number that comes close to
    it. One split alone names a number that a few of its positives decide: on simulated logs with 200 positives it was
    anything from 3 to 99, and the predictions were further from the truth than without any early stopping.
    """

    def __init__(self, pipeline: Pipeline, splits: Sequence[Split], shift: float) -> None:
        self.pipeline = pipeline
        self.splits = splits
        self.shift = shift

    def fit(self, X: MatrixArray, y: IntArray) -> Self:
        """Boost on every split of the rows; nothing is fitted on all of them."""
        paths = [self._losses(X, y, *split) for split in self.splits]
        longest = max(map(len, paths))  # a path that stopped early would have stayed where it is, or worse
        mean = np.mean([np.pad(path, (0, longest - len(path)), mode="edge") for path in paths], axis=0)
        self.loss_ = float(mean.min())
        self.trees_ = int((mean <= mean[0] - ENOUGH * (mean[0] - self.loss_)).argmax()) + 1
        return self

    def _losses(self, X: MatrixArray, y: IntArray, train: IntArray, held_out: IntArray) -> FloatArray:
        """Held-out log loss after 1, 2, … trees, until it has not fallen for `PATIENCE` trees.

        Log loss, because q̂ needs probabilities, and ROC AUC or F1 do not see whether those are right; without the
        shift of resampling and weights, which would drown what the settings differ in.
        """

        def unshifted(label: FloatArray, probability: FloatArray) -> float:
            return float(log_loss(log_odds(probability.astype(np.float64)) - self.shift, label).mean())

        boosted = clone(self.pipeline).set_params(
            model__n_estimators=MOST_TREES,
            model__early_stopping_rounds=PATIENCE,
            model__eval_metric=unshifted if self.shift else "logloss",  # the same without a shift, and compiled
        )
        boosted.fit(X[train], y[train], model__eval_set=[(X[held_out], y[held_out])], model__verbose=False)
        *_, path = boosted.named_steps["model"].evals_result()["validation_0"].values()  # the last one stops it
        return np.array(path)


def _best(
    model: EarlyStopped, values: Mapping[str, list[float]], matrix: MatrixArray, label: IntArray
) -> dict[str, float]:
    """The combination of `values` with the lowest held-out loss, and its number of trees.

    The splits are the model's own business, because early stopping has to see them: the search has a single one.
    """
    everything = np.arange(len(label))
    grid = {f"pipeline__model__{name}": choices for name, choices in values.items()}
    tried = GridSearchCV(
        model, grid, scoring=_held_out_score, refit=False, cv=[(everything, everything)], error_score="raise"
    )
    found = tried.fit(matrix, label).cv_results_
    best = int(found["mean_test_score"].argmax())
    chosen = {name.removeprefix("pipeline__model__"): value for name, value in found["params"][best].items()}
    return chosen | {"n_estimators": int(found["mean_test_trees"][best])}


def _held_out_score(model: EarlyStopped, X: MatrixArray, y: IntArray) -> dict[str, float]:
    del X, y  # it was scored on held-out users while it was fitted
    return {"score": -model.loss_, "trees": model.trees_}


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


def _strength(label: IntArray, imbalance: Imbalance) -> float:
    """By how much regularisation is multiplied: balanced classes have 0.5 / (rarer share) times the curvature."""
    share = float(label.mean())
    return 1.0 if imbalance == "none" else 0.5 / min(share, 1.0 - share)


def _pipeline(
    feature_types: list[str], label: IntArray, imbalance: Imbalance, seed: int, augmenter: Augmenter | None = None
) -> Pipeline:
    """Resampling, then XGBoost; in every setting but "none" the classes weigh the same in the end.

    With "both", SMOTE goes half of the way (the geometric mean) and the weight of positives does the rest.
    """
    share = label.mean()
    odds = share / (1.0 - share)
    resample: Any = "passthrough"
    if imbalance in ("smote", "both"):
        ratio = min(odds, 1.0 / odds) ** (0.0 if imbalance == "smote" else 0.5)
        categorical = np.array(feature_types) == "c"
        settings = {"categorical": categorical, "ratio": ratio, "seed": seed}
        resample = FunctionSampler(func=oversample, kw_args=settings, validate=False)
    if imbalance == "augment":
        resample = FunctionSampler(func=augmenter, kw_args={"ratio": 1.0, "seed": seed}, validate=False)
    strength = _strength(label, imbalance)
    model = xgb.XGBClassifier(
        **_FIXED,
        **_UNLESS_GIVEN,
        feature_types=feature_types,
        scale_pos_weight=odds ** {"scale_pos_weight": -1.0, "both": -0.5}.get(imbalance, 0.0),
        min_child_weight=MIN_CHILD_WEIGHT * strength,
        reg_lambda=REG_LAMBDA * strength,
        random_state=seed,
    )
    return Pipeline([("resample", resample), ("model", model)])

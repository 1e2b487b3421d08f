"""Reward model: the probability that a contact interests the user, learned from contacts only."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd
import xgboost as xgb
from sklearn.metrics import precision_recall_curve

from engagex_sim.augment import Account, Augmenter, Columns, RowGenerator, TreeSynthesis
from engagex_sim.columns import BoolArray, FloatArray, IntArray, KeyArray
from engagex_sim.feature_names import KIND_OF_CONTACT
from engagex_sim.grids import Grid, GridValues
from engagex_sim.models.calibrate import Calibration, constant, fit_calibration
from engagex_sim.models.encoding import FeatureEncoder
from engagex_sim.models.search import search
from engagex_sim.policy import Context
from engagex_sim.settings import Device, Imbalance

# Width of the prior on the calibration's slope. On simulated logs 0.5 came closest to the true probabilities, without
# resampling too: it halves the error where nothing can be predicted, and costs nothing where much can.
SLOPE_SD = 0.5
_MEMO = "reward model"  # the answer's name in a context's memo
_SIDECAR, _TREES = "reward_model.json", "reward_model.ubj"


@dataclass(frozen=True)
class RewardModel:
    """q̂(x, k), the calibrated probability of interest when x is contacted with kind k."""

    encoder: FeatureEncoder
    kinds: tuple[str, ...]
    booster: xgb.Booster | None  # None: too little to learn from, so every row gets the mean
    calibration: Calibration
    threshold: float  # the predicted probability that maximises F1 on held-out users
    best_params: Mapping[str, float]
    accounts: tuple[Account, ...] = ()  # of the rows that were written, by training set

    @classmethod
    def fit(
        cls,
        context: Context,
        action: IntArray,
        reward: FloatArray,
        user_key: KeyArray,
        time: IntArray,
        *,
        own: BoolArray | None = None,
        imbalance: Imbalance = "none",
        grid: Grid | GridValues = "small",
        seed: int = 0,
        threads: int = 1,
        device: Device = "cpu",
        generator: RowGenerator | None = None,
    ) -> Self:
        """Learn from logged contacts: one row each, all arrays (n,), `action` in 1..K, `time` in seconds.

        Settings and number of trees are chosen on held-out users and on later contacts of held-out users; then
        probabilities are calibrated on predictions for held-out users, which also undoes what resampling and weights do
        to them (van den Goorbergh et al. 2022). Where a fold would have to learn from a handful of one class, every row
        gets the mean, shrunk by half an observation of each class. The answer depends on `seed` and not on `threads`.

        Where `own` (n,) is given, settings, calibration and threshold are judged on its rows alone: the others come
        from another log, whose base rate is another one.

        With `imbalance` "augment" rows are written by `generator` (None: the local one), which raises `InputError`
        where it gives none.
        """
        encoder = FeatureEncoder.fit(context, context.exogenous)
        kinds = context.kinds
        matrix = encoder.transform(context, extra=len(kinds) > 1)
        types = encoder.feature_types
        if len(kinds) > 1:
            matrix[:, -1] = action - 1
            types.append("c")
        label = reward.astype(np.int64)
        own = np.ones(len(label), dtype=np.bool_) if own is None else own
        augmenter = None
        if imbalance == "augment":
            augmenter = Augmenter(_columns(encoder, kinds), generator or TreeSynthesis())
        found = search(
            matrix,
            types,
            label,
            user_key,
            time,
            imbalance=imbalance,
            grid=grid,
            seed=seed,
            threads=threads,
            device=device,
            own=own,
            augmenter=augmenter,
        )
        if found is None or not 0 < reward[own].sum() < own.sum():
            mean = (float(reward[own].sum()) + 0.5) / (float(own.sum()) + 1.0)
            return cls(encoder, kinds, None, constant(mean), mean, {})
        margin, outcome = found.held_out_margin[own], reward[own]
        fitted = fit_calibration(margin, outcome, SLOPE_SD)
        if fitted.slope < 0:  # held-out rows come out in the wrong order: nothing was learned
            fitted = constant(float(outcome.mean()))
        threshold = best_f1_threshold(outcome, fitted.probabilities(margin))
        calibration = Calibration(fitted.intercept - fitted.slope * found.shift, fitted.slope)
        found.booster.set_param({"nthread": threads, "device": "cpu"})
        accounts = () if augmenter is None else augmenter.accounts
        return cls(encoder, kinds, found.booster, calibration, threshold, found.best_params, accounts)

    def predict(self, context: Context) -> FloatArray:
        """q̂ (n, K): the probability of interest under each of `context.kinds`, strictly inside (0, 1).

        Not to be written to: the context keeps the last model's answer for whoever asks next.
        """
        model, answer = context.memo.get(_MEMO, (None, None))
        if model is not self:
            answer = self._predict(context)
            answer.flags.writeable = False
            context.memo[_MEMO] = self, answer
        return np.asarray(answer)

    def _predict(self, context: Context) -> FloatArray:
        shape = (len(context), len(context.kinds))
        if self.booster is None:
            return np.broadcast_to(self.calibration.probabilities(np.zeros(1)), shape).copy()
        several = len(self.kinds) > 1
        matrix = self.encoder.transform(context, extra=several)
        margin = np.empty(shape)
        for i, label in enumerate(context.kinds):
            if several:
                matrix[:, -1] = self.kinds.index(label) if label in self.kinds else np.nan
            margin[:, i] = self.booster.inplace_predict(matrix, predict_type="margin")
        return self.calibration.probabilities(margin)

    def feature_importance(self) -> pd.DataFrame:
        """Columns `feature` and `importance`: the share of the total gain of all splits, highest first.

        All shares are 0 where the model makes no split.
        """
        names = [*self.encoder.names, *([KIND_OF_CONTACT] if len(self.kinds) > 1 else [])]
        gain = {} if self.booster is None else self.booster.get_score(importance_type="total_gain")
        gains = np.array([gain.get(f"f{i}", 0.0) for i in range(len(names))])
        table = pd.DataFrame({"feature": names, "importance": gains / max(gains.sum(), 1e-300)})
        return table.sort_values("importance", ascending=False, kind="stable", ignore_index=True)

    def save(self, directory: Path) -> None:
        """Write `reward_model.json`, and `reward_model.ubj` in XGBoost's own format, into an existing directory."""
        stored = {
            "encoder": self.encoder.to_json(),
            "kinds": self.kinds,
            "calibration": [self.calibration.intercept, self.calibration.slope],
            "threshold": self.threshold,
            "best_params": dict(self.best_params),
            "has_trees": self.booster is not None,
            "accounts": [account.to_json() for account in self.accounts],
        }
        (directory / _SIDECAR).write_text(json.dumps(stored, indent=1), encoding="utf-8")
        if self.booster is not None:
            (directory / _TREES).write_bytes(self.booster.save_raw("ubj"))

    @classmethod
    def load(cls, directory: Path, threads: int = 1) -> Self:
        """The model that `save` wrote; it predicts the same to the last bit."""
        stored = json.loads((directory / _SIDECAR).read_text(encoding="utf-8"))
        booster = None
        if stored["has_trees"]:
            booster = xgb.Booster({"nthread": threads}, model_file=directory / _TREES)
        return cls(
            encoder=FeatureEncoder.from_json(stored["encoder"]),
            kinds=tuple(stored["kinds"]),
            booster=booster,
            calibration=Calibration(*stored["calibration"]),
            threshold=stored["threshold"],
            best_params=stored["best_params"],
            accounts=tuple(map(Account.from_json, stored["accounts"])),
        )


def _columns(encoder: FeatureEncoder, kinds: tuple[str, ...]) -> Columns:
    """What the columns of the matrix mean that the model is fitted on."""
    if len(kinds) == 1:
        return Columns(encoder.names, encoder.categories)
    return Columns((*encoder.names, KIND_OF_CONTACT), (*encoder.categories, kinds))


def best_f1_threshold(outcome: FloatArray, probability: FloatArray) -> float:
    """The threshold (predicted positive at or above it) with the highest F1; both arrays (n,), some outcome is 1."""
    precision, recall, thresholds = precision_recall_curve(outcome, probability)
    f1 = 2.0 * precision * recall / np.maximum(precision + recall, 1e-300)
    return float(thresholds[f1[:-1].argmax()])

"""Propensity model: how likely the logging policy makes each contact at a decision point where the user is free."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import xgboost as xgb

from engagex_sim.columns import FloatArray, IntArray
from engagex_sim.models.calibrate import sigmoid
from engagex_sim.models.encoding import FeatureEncoder, MatrixArray
from engagex_sim.policy import HISTORY_FEATURES, Context

NON_CONTACTS_PER_CONTACT = 10  # further rows without a contact cost time and add hardly any precision
MIN_NON_CONTACTS = 20_000
MAX_TREES = 600  # over all kinds: with many kinds there are fewer rounds

# Chosen by held-out log loss, and by calibration over days and activity, on simulated hazards of 1.5 to 5 %.
_TREES: Mapping[str, Any] = {
    "tree_method": "hist",
    "max_depth": 4,
    "learning_rate": 0.15,
    "min_child_weight": 20.0,
    "lambda": 1.0,
    "max_bin": 128,
    "base_score": 0.5,  # the prior comes in as a base margin
    "verbosity": 0,
}
_ROUNDS = 60
_LIGHT_ROUNDS = 25


@dataclass(frozen=True)
class PropensityModel:
    """The logging policy as a hazard, P(contact | x, free) × P(kind | contact, x). It is itself a policy."""

    encoder: FeatureEncoder
    contact: xgb.Booster | None  # None: contacting is not a choice
    contact_prior: float  # log-odds of a contact
    kind: xgb.Booster | None  # None: there is only one kind
    kind_prior: FloatArray  # (K,) log of each kind's share of the contacts

    @classmethod
    def fit(
        cls, context: Context, action: IntArray, *, history: bool, seed: int, threads: int = 1, light: bool = False
    ) -> Self:
        """Learn from decision points where the users were free; `action` (n,) is what was logged, 0..K.

        With `history` the history features are read too: cumulative weights need that, contact probabilities must do
        without. All contacts count, other rows are sampled, and the odds are multiplied by the sampled share, which
        undoes the sampling exactly (King and Zeng 2001). Rows without a contact at which the mask allows none teach
        nothing and are left out. The answer depends on `seed` through the sample; `threads` is for speed only.
        """
        names = context.exogenous + (HISTORY_FEATURES if history else ())
        encoder = FeatureEncoder.fit(context, names)
        n_kinds = len(context.kinds)
        settings = {**_TREES, "nthread": threads}
        rounds = _LIGHT_ROUNDS if light else _ROUNDS
        contacts = np.flatnonzero(action > 0)
        others = np.flatnonzero((action == 0) & context.mask[:, 1:].any(axis=1))
        size = min(len(others), max(NON_CONTACTS_PER_CONTACT * len(contacts), MIN_NON_CONTACTS))
        sampled = np.random.default_rng(seed).choice(others, size, replace=False)
        rows = np.sort(np.concatenate([contacts, sampled]))
        matrix = encoder.transform(context, rows)
        contact, contact_prior = None, np.inf
        if context.mask[:, 0].any():
            contacted = (action[rows] > 0).astype(np.float64)
            sample_prior = np.log(len(contacts) + 0.5) - np.log(size + 0.5)
            contact_prior = sample_prior + (np.log(size) - np.log(len(others)) if size else 0.0)
            data = _matrix(matrix, encoder, contacted, np.full(len(rows), sample_prior))
            contact = xgb.train({**settings, "objective": "binary:logistic"}, data, rounds)
        kind = None
        counts = np.bincount(action[contacts] - 1, minlength=n_kinds) + 0.5  # no kind is impossible
        kind_prior = np.log(counts / counts.sum())
        if n_kinds > 1 and len(contacts):
            made = action[rows] > 0
            data = _matrix(matrix[made], encoder, action[contacts] - 1.0, np.tile(kind_prior, (len(contacts), 1)))
            objective = {"objective": "multi:softprob", "num_class": n_kinds}
            kind = xgb.train({**settings, **objective}, data, min(rounds, max(MAX_TREES // n_kinds, 1)))
        return cls(encoder, contact, float(contact_prior), kind, kind_prior)

    def action_probabilities(self, context: Context) -> FloatArray:
        """Probabilities (n, K + 1) of no contact and of each kind: rows sum to 1, zero where masked."""
        matrix = self.encoder.transform(context)
        probabilities = np.empty(context.mask.shape)
        contact = np.ones(len(context)) if self.contact is None else sigmoid(_margin(self.contact, matrix) + self.contact_prior)
        kind = np.ones((len(context), 1))
        probabilities[:, 0] = 1.0 - contact
        if self.kind is not None:
            scores = _margin(self.kind, matrix) + self.kind_prior
            kind = np.exp(scores - scores.max(axis=1, keepdims=True))
            kind /= kind.sum(axis=1, keepdims=True)
        probabilities[:, 1:] = contact[:, None] * kind
        probabilities *= context.mask
        probabilities[~context.mask.any(axis=1), 0] = 1.0
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        return probabilities


def _matrix(matrix: MatrixArray, encoder: FeatureEncoder, label: FloatArray, margin: FloatArray) -> xgb.QuantileDMatrix:
    return xgb.QuantileDMatrix(
        matrix,
        label=label,
        base_margin=margin,
        feature_types=encoder.feature_types,
        enable_categorical=True,
        max_bin=_TREES["max_bin"],
    )


def _margin(booster: xgb.Booster, matrix: MatrixArray) -> FloatArray:
    return np.asarray(booster.inplace_predict(matrix, predict_type="margin"), dtype=np.float64)

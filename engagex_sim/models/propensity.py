"""Propensity model: how likely the logging policy makes each contact at a decision point where the user is free."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import xgboost as xgb
from scipy.special import softmax

from engagex_sim.columns import FloatArray, IntArray
from engagex_sim.models.calibrate import sigmoid
from engagex_sim.models.encoding import FeatureEncoder, MatrixArray
from engagex_sim.models.state_effects import StateEffects
from engagex_sim.policy import Context
from engagex_sim.settings import Device
from engagex_sim.states import NO_STATE, States

# Further rows without a contact cost time and add hardly any precision.
NON_CONTACTS_PER_CONTACT, OF_A_LIGHT_MODEL = 10, 2
MIN_NON_CONTACTS = 20_000
MAX_KIND_TREES = 600  # over all kinds: with many kinds there are fewer rounds

# Chosen on simulated hazards of 1 to 9 % by held-out log loss, by calibration over days and activity, and by the bias
# of the doubly robust lift of a policy equal to the logging policy: shallow trees leave the least noise in 1 / q.
# Trees are grown by one thread: the sum of a histogram, and so the answer, could otherwise depend on their number.
_TREES: Mapping[str, Any] = {
    "tree_method": "hist",
    "max_depth": 2,
    "min_child_weight": 20.0,
    "max_bin": 64,
    "base_score": 0.5,  # the prior comes in as a base margin
    "nthread": 1,
    "verbosity": 0,
}
_FULL = ({**_TREES, "learning_rate": 0.1}, 150)
_LIGHT = ({**_TREES, "learning_rate": 0.25}, 45)
_KIND = ({**_TREES, "learning_rate": 0.2}, 40)
_SIDECAR, _BOOSTERS = "propensity_model.json", {"contact": "contact.ubj", "kind": "kind.ubj"}


@dataclass(frozen=True)
class PropensityModel:
    """The logging policy as a hazard, P(contact | x, free) × P(kind | contact, x). It is itself a policy."""

    encoder: FeatureEncoder
    contact: xgb.Booster | None  # None: contacting is not a choice
    contact_prior: float  # log-odds of a contact
    kind: xgb.Booster | None  # None: there is only one kind
    kind_prior: FloatArray  # (K,) log of each kind's share of the contacts
    effects: StateEffects  # what the user's contact history adds to the log-odds of a contact

    @classmethod
    def fit(
        cls,
        context: Context,
        action: IntArray,
        *,
        seed: int,
        states: States = NO_STATE,
        represented: float = 1.0,
        threads: int = 1,
        light: bool = False,
        device: Device = "cpu",
    ) -> Self:
        """Learn from decision points where the users were free; `action` (n,) is what was logged, 0..K.

        History features are not read, because contact probabilities must do without the logged history; classes of it,
        `states`, which the recursion can carry, add to the log-odds of a contact. All contacts count, other rows are
        sampled, and the odds are multiplied by the sampled share, which undoes the sampling exactly (King and Zeng
        2001); `represented` is the share of the log's other rows that `context` holds. Rows without a contact at which
        the mask allows none teach nothing and are left out. The answer depends on `seed` through the sample, and
        `threads` are for predictions.
        """
        encoder = FeatureEncoder.fit(context, context.exogenous)
        n_kinds = len(context.kinds)
        contacts = np.flatnonzero(action > 0)
        others = np.flatnonzero((action == 0) & context.mask[:, 1:].any(axis=1))
        per_contact = OF_A_LIGHT_MODEL if light else NON_CONTACTS_PER_CONTACT
        size = min(len(others), max(per_contact * len(contacts), MIN_NON_CONTACTS))
        sampled = np.random.default_rng(seed).choice(others, size, replace=False)
        rows = np.sort(np.concatenate([contacts, sampled]))
        matrix = encoder.transform(context, rows)
        made = action[rows] > 0

        contact, contact_prior, effects = None, 0.0, StateEffects.none(states)
        if context.mask[:, 0].any():
            prior = math.log(len(contacts) + 0.5) - math.log(size + 0.5)
            state, outcome = states.of_features(context)[rows], made.astype(np.float64)
            if states.size > 1:  # first alone, so that the trees do not take the history's part …
                effects = StateEffects.fit(states, state, np.full(len(rows), prior), outcome)
            data = _matrix(matrix, encoder, outcome, prior + effects.effect[state])
            settings, rounds = _LIGHT if light else _FULL
            contact = xgb.train({**settings, "objective": "binary:logistic", "device": device}, data, rounds)
            if states.size > 1:  # … then given the trees
                effects = StateEffects.fit(states, state, _margin(contact, matrix) + prior, outcome)
            contact.set_param({"nthread": threads, "device": "cpu"})
            contact_prior = prior + math.log(max(size, 1) / max(len(others), 1)) + math.log(represented)

        kind = None
        counts = np.bincount(action[contacts] - 1, minlength=n_kinds) + 0.5  # so that no kind is impossible
        kind_prior: FloatArray = np.log(counts / counts.sum()).astype(np.float64)
        if n_kinds > 1 and len(contacts):
            priors = np.tile(kind_prior, (len(contacts), 1))
            data = _matrix(matrix[made], encoder, (action[contacts] - 1).astype(np.float64), priors)
            settings, rounds = _KIND
            objective = {"objective": "multi:softprob", "num_class": n_kinds, "device": device}
            kind = xgb.train({**settings, **objective}, data, min(rounds, max(MAX_KIND_TREES // n_kinds, 1)))
            kind.set_param({"nthread": threads, "device": "cpu"})
        return cls(encoder, contact, contact_prior, kind, kind_prior, effects)

    def action_probabilities(self, context: Context) -> FloatArray:
        """Probabilities (n, K + 1) of no contact and of each kind: rows sum to 1, zero where masked.

        What the mask forbids is shared out among the rest in proportion.
        """
        by_state = self.when_free(context)
        own = self.effects.states.of_features(context)
        probabilities = np.empty(context.mask.shape)
        probabilities[:, 1:] = by_state[np.arange(len(context)), own]
        rest = np.maximum(0.0, 1.0 - probabilities[:, 1:].sum(axis=1))
        probabilities[:, 0] = 0.0 if self.contact is None else rest
        probabilities *= context.mask
        probabilities[~context.mask[:, 1:].any(axis=1), 0] = 1.0
        return np.asarray(probabilities / probabilities.sum(axis=1, keepdims=True))

    def when_free(self, context: Context) -> FloatArray:
        """h(S, k), shape (n, S, K): the probability of each kind of contact in each state, masks aside."""
        matrix = self.encoder.transform(context)
        shares = np.broadcast_to(np.exp(self.kind_prior), (len(context), len(self.kind_prior)))
        if self.kind is not None:
            shares = softmax(_margin(self.kind, matrix) + self.kind_prior, axis=1)
        if self.contact is None:
            return np.asarray(shares[:, None, :])
        margin = _margin(self.contact, matrix) + self.contact_prior
        hazard = sigmoid(margin[:, None] + self.effects.effect)
        return np.asarray(hazard[:, :, None] * shares[:, None, :])

    def save(self, directory: Path) -> None:
        """Write `propensity_model.json`, and the trees in XGBoost's own format, into an existing directory."""
        boosters = {name: getattr(self, name) for name in _BOOSTERS}
        stored = {
            "encoder": self.encoder.to_json(),
            "contact_prior": self.contact_prior,
            "kind_prior": self.kind_prior.tolist(),
            "effects": self.effects.to_json(),
            "trees": [name for name, booster in boosters.items() if booster is not None],
        }
        (directory / _SIDECAR).write_text(json.dumps(stored, indent=1), encoding="utf-8")
        for name in stored["trees"]:
            (directory / _BOOSTERS[name]).write_bytes(boosters[name].save_raw("ubj"))

    @classmethod
    def load(cls, directory: Path, threads: int = 1) -> Self:
        """The model that `save` wrote; it predicts the same to the last bit."""
        stored = json.loads((directory / _SIDECAR).read_text(encoding="utf-8"))
        boosters = {
            name: xgb.Booster({"nthread": threads}, model_file=directory / _BOOSTERS[name]) for name in stored["trees"]
        }
        return cls(
            encoder=FeatureEncoder.from_json(stored["encoder"]),
            contact=boosters.get("contact"),
            contact_prior=stored["contact_prior"],
            kind=boosters.get("kind"),
            kind_prior=np.array(stored["kind_prior"]),
            effects=StateEffects.from_json(stored["effects"]),
        )


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

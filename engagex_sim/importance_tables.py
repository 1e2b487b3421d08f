"""What the reward model looks at, as the tables that a run writes."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from engagex_sim.columns import AnyArray, BoolArray, FloatArray
from engagex_sim.crossfit import Fitted
from engagex_sim.feature_names import KIND_OF_CONTACT
from engagex_sim.hashing import seed_of, uniforms
from engagex_sim.models.importance import Judged, levels_of, permutation_losses
from engagex_sim.splitting import Splitting
from engagex_sim.timeline import Timeline

MOST_CONTACTS = 20_000  # of larger logs, those of a sample of users
REPEATS = 5  # of shuffling a feature
LEVELS = 12  # groups of a feature's values
MODEL = "reward model"
_SEED = seed_of("contacts for permutation and SHAP values")


def importance_tables(
    contacts: Timeline, fitted: Sequence[Fitted], splitting: Splitting, rng: np.random.Generator
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`feature_importance` and `feature_effects`, on contacts of users that the models did not learn from.

    `feature_importance`: a row per feature, the highest `shap` first. `gain` is its share of the gain of all splits,
    mean over folds; `permutation` what the ROC AUC loses when it is shuffled, mean over `REPEATS`, with the standard
    deviation `permutation_sd`; `shap` the mean distance by which it moves the log odds of interest.
    `feature_effects`: a row per feature and group of its values, with the number of contacts `n`, the mean `effect` on
    the log odds against the average contact, and the range in which it lies for 8 of 10 contacts.
    """
    share = MOST_CONTACTS / max(len(contacts), 1)
    if share < 1:
        contacts = contacts.users(uniforms(contacts.user_key, _SEED)[0] < share)
    split = zip(fitted, splitting.judged(contacts.user_key), strict=True)
    parts = [(f.reward_model, own) for f, mine in split if len(own := contacts.users(mine))]
    judged = [Judged.of(model, own.free_context(), own.action, own.reward) for model, own in parts]
    gain = pd.concat([f.reward_model.feature_importance() for f in fitted]).groupby("feature")["importance"].mean()
    table = pd.DataFrame({"model": MODEL, "feature": gain.index, "gain": gain.to_numpy()})
    effects = pd.DataFrame(columns=["model", "feature", "value", "n", "effect", "effect_low", "effect_high"])
    if not judged:
        return table.assign(permutation=np.nan, permutation_sd=np.nan, shap=np.nan), effects
    features = judged[0].features
    moved = dict(zip(features, np.concatenate([part.contributions()[:, :-1] for part in judged]).T, strict=True))
    losses = dict(zip(features, permutation_losses(judged, REPEATS, rng), strict=True))
    table["permutation"] = [losses[feature].mean() for feature in table["feature"]]
    table["permutation_sd"] = [losses[feature].std(ddof=1) for feature in table["feature"]]
    table["shap"] = [np.abs(moved[feature]).mean() for feature in table["feature"]]
    table = table.sort_values(["shap", "gain"], ascending=False, kind="stable", ignore_index=True)
    rows = [
        row
        for feature in table["feature"]
        for row in _effects(feature, np.concatenate([_values(own, feature) for _, own in parts]), moved[feature])
    ]
    return table, pd.DataFrame(rows, columns=effects.columns)


def _values(contacts: Timeline, feature: str) -> AnyArray:
    """(n,) the feature's values as in the file; the kind of contact by its label."""
    if feature == KIND_OF_CONTACT:
        return np.array(contacts.kinds, dtype=object)[contacts.action - 1]
    return contacts.columns[feature].decoded()


def _effects(feature: str, values: AnyArray, effect: FloatArray) -> list[tuple[object, ...]]:
    labels, group = levels_of(values, LEVELS)
    return [(MODEL, feature, label, *_spread(effect, group == level)) for level, label in enumerate(labels)]


def _spread(effect: FloatArray, rows: BoolArray) -> tuple[float, ...]:
    own = effect[rows]
    return (len(own), float(own.mean()), *(float(end) for end in np.quantile(own, [0.1, 0.9])))

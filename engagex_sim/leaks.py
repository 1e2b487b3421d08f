"""Whether a feature knows the result of the contact: labels that leaked into the log's own columns.

A user's click rate over the whole log is the usual case: it is computed from the results that a model is to predict, so
that held-out users do not give it away. Two signs do, and what cannot be told from an honest feature stays below both.
"""

import math
from typing import NamedTuple

import numpy as np
from scipy.stats import norm
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict
from sklearn.tree import DecisionTreeClassifier

from engagex_sim.columns import FloatArray, IntArray, sums_by
from engagex_sim.feature_names import COMPUTED
from engagex_sim.hashing import seed_of, uniforms
from engagex_sim.models.encoding import FeatureEncoder, MatrixArray
from engagex_sim.models.search import Split, user_folds
from engagex_sim.timeline import Timeline

LEVEL = 0.01
NAME = "leak"
MAX_AUC = 0.9  # what no cause that is known before a contact reaches alone; models of all causes together hardly do
MIN_SPREAD = 0.5  # of the sum of a user's results, as a share of what independent results would have
MIN_POSITIVES = 20
MAX_CONTACTS = 50_000  # that are looked at, about: of more, whole users are sampled
_TREE = {"max_leaf_nodes": 16, "min_samples_leaf": 10, "random_state": 0}
_SAMPLE_SEED = seed_of("contacts searched for leaks")


class Sign(NamedTuple):
    """One sign of a leak in one feature: what was measured, and how likely it would be so extreme at the bar."""

    feature: str
    p_value: float
    statistic: float
    sentence: str


def leak_flag(contacts: Timeline) -> dict[str, object]:
    """One row of the table of flags, from every logged contact: `flag, statistic, df, p_value, flagged, sentence`.

    The p-value is that of the clearest sign times the number of signs looked for (Bonferroni).
    """
    signs = leak_signs(contacts)
    if not signs:
        nothing, why = math.nan, "the log has no columns of its own, or too few contacts or interests"
        return flag_row(NAME, nothing, 0, nothing, False, f"This was not tested: {why}.")
    raised = [sign for sign in signs if sign.p_value * len(signs) < LEVEL]
    told = raised[0] if raised else min(signs, key=lambda sign: sign.p_value)
    p_value = min(1.0, told.p_value * len(signs))
    if not raised:
        return flag_row(
            NAME, told.statistic, 1, p_value, False, "No feature seems to know the results of the contacts."
        )
    more = sorted({sign.feature for sign in raised} - {told.feature})
    others = f" The same holds for {', '.join(more)}." if more else ""
    advice = (
        " Compute it from what was known before each visit, or leave the column out, and run again: until then the"
        " reward model and every strategy that reads it look better than they are."
    )
    return flag_row(NAME, told.statistic, 1, p_value, True, told.sentence + others + advice)


def leak_signs(contacts: Timeline) -> list[Sign]:
    """Both signs for every column of the log, the plainer one first; none where there is too little to tell."""
    share = MAX_CONTACTS / max(len(contacts), 1)
    some = contacts.users(np.asarray(uniforms(contacts.user_key, _SAMPLE_SEED)[0] < share, dtype=np.bool_))
    label, user = some.reward.astype(np.int64), some.user_of_row
    if not MIN_POSITIVES <= label.sum() <= len(label) - MIN_POSITIVES:
        return []
    folds = user_folds(some.user_key[user], label, 0)
    context = some.free_context()
    columns = [name for name in context.exogenous if name not in COMPUTED]
    features = {name: FeatureEncoder.fit(context, [name]).transform(context) for name in columns}
    strong = [_too_strong(name, values, label, folds) for name, values in features.items()]
    several = np.bincount(user)[user] > 1
    if label[several].sum() < MIN_POSITIVES:
        return strong
    folds = user_folds(some.user_key[user[several]], label[several], 0)
    label, user = label[several], user[several]
    return strong + [_no_spread(name, values[several], label, user, folds) for name, values in features.items()]


def _too_strong(name: str, values: MatrixArray, label: IntArray, folds: list[Split]) -> Sign:
    """The feature alone ranks contacts of held-out users too well (standard error: Hanley and McNeil 1982)."""
    score = cross_val_predict(DecisionTreeClassifier(**_TREE), values, label, cv=folds, method="predict_proba")[:, 1]
    auc = float(roc_auc_score(label, score))
    positives, negatives = int(label.sum()), int((label == 0).sum())
    two_positives, two_negatives = auc / (2 - auc) - auc**2, 2 * auc**2 / (1 + auc) - auc**2
    variance = auc * (1 - auc) + (positives - 1) * two_positives + (negatives - 1) * two_negatives
    error = math.sqrt(max(variance, 0.0) / (positives * negatives))
    return Sign(
        name,
        _p_value(auc - MAX_AUC, error),
        auc,
        f"{name} seems to know the result of a contact: alone it ranks contacts of other users with a ROC AUC of"
        f" {auc:.3f}, so it was probably computed from the results, or after them.",
    )


def _no_spread(name: str, values: MatrixArray, label: IntArray, user: IntArray, folds: list[Split]) -> Sign:
    """Given the feature, a user's results make up for each other: it holds their sum.

    R = Σ (Σ e)² / Σ Σ e² over users, each with several contacts, where e = result − share of interests at this value of
    the feature among other users. Independent results give 1, those of users who differ in what the feature does not
    say more than 1; a user's own rate gives 0.
    """
    share = cross_val_predict(DecisionTreeClassifier(**_TREE), values, label, cv=folds, method="predict_proba")[:, 1]
    left = label - share
    n = int(user.max()) + 1
    of_sum, summed = sums_by(user, left, n) ** 2, sums_by(user, left**2, n)
    total = float(summed.sum())
    ratio = float(of_sum.sum()) / total if total > 0 else 0.0
    error = _root_of_squares(of_sum - ratio * summed) / total if total > 0 else 0.0
    return Sign(
        name,
        _p_value(MIN_SPREAD - ratio, error),
        ratio,
        f"{name} seems to be computed from the results of a user's contacts: once it is known, they make up for each"
        f" other (their sum varies {ratio:.2f} times as much as that of independent results).",
    )


def _p_value(excess: float, error: float) -> float:
    if error == 0:
        return 0.0 if excess > 0 else 1.0
    return float(norm.sf(excess / error))


def _root_of_squares(values: FloatArray) -> float:
    return float(np.sqrt((values**2).sum()))


def flag_row(name: str, statistic: float, df: int, p_value: float, flagged: bool, sentence: str) -> dict[str, object]:
    """A row of the table of flags."""
    return {
        "flag": name,
        "statistic": statistic,
        "df": df,
        "p_value": p_value,
        "flagged": flagged,
        "sentence": sentence,
    }

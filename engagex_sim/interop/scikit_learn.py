"""Any scikit-learn classifier as a policy."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder

from engagex_sim.columns import FloatArray, IntArray
from engagex_sim.errors import InputError
from engagex_sim.feature_names import HISTORY_FEATURES
from engagex_sim.kinds import best_kind, rounded, spread
from engagex_sim.models.encoding import FeatureEncoder, MatrixArray
from engagex_sim.policy import Context, policy_name
from engagex_sim.training import Training
from engagex_sim.volume import contact_probability

ROWS_AT_ONCE = 50_000  # decision points that are prepared for the classifier at a time


class ClassifierPolicy:
    """As many contacts as the current strategy, chosen by a classifier's prediction of interest; the best kind each.

    The classifier learns from the training users' contacts. It gets numbers with the median where one is missing and
    0/1 columns that say where, and text (the kind of contact too, where there are several) as 0/1 columns; scale
    numbers in a pipeline of your own: `ClassifierPolicy(make_pipeline(StandardScaler(), LogisticRegression()))`.

    Arguments:
        classifier: anything with scikit-learn's `fit`, `predict_proba` and `get_params`; a copy of it is fitted. Where
            its `random_state` is None, it gets one that follows from the run's seed.
        features: names of features to read, none of the contact history; by default all that contacts do not change.
        name: what tables call the policy; by default the classifier's class in snake_case.

    Raises `InputError` for a classifier without `predict_proba` and for a feature of the contact history.

    Learned: `encoder_`, `classifier_` (with the preparation before it), `threshold_` and `tie_probability_` (the
    contact probability exactly at the threshold).
    """

    def __init__(self, classifier: Any, features: Sequence[str] | None = None, *, name: str | None = None) -> None:
        if not hasattr(classifier, "predict_proba"):
            raise InputError(
                f"{type(classifier).__name__} predicts no probabilities; wrap it in sklearn.calibration's"
                " CalibratedClassifierCV, or take another classifier."
            )
        for feature in features or ():
            if feature in HISTORY_FEATURES:
                raise InputError(f"ClassifierPolicy cannot read {feature!r}, which changes with its own contacts.")
        self.classifier = classifier
        self.features = features
        self.name = policy_name(classifier) if name is None else name

    def fit(self, training: Training) -> Self:
        """Fit the classifier, and find the threshold that makes the current strategy's number of contacts.

        Raises `InputError` where no contact of the training users brought interest, or every one did.
        """
        contacts = training.timeline.contacts()
        context, interested = contacts.context(), contacts.reward > 0
        if interested.all() or not interested.any():
            raise InputError(
                f"Policy {self.name} has nothing to learn from: of the training users' {len(contacts)} contacts"
                f" {'every' if interested.any() else 'no'} one brought interest."
            )
        self.encoder_ = FeatureEncoder.fit(context, context.exogenous if self.features is None else self.features)
        self.kinds_ = contacts.kinds
        self.classifier_ = Pipeline(
            [("columns", self._columns()), ("classifier", _seeded(clone(self.classifier), training.rng))]
        )
        self.classifier_.fit(self._matrix(context, contacts.action), interested)
        free = training.timeline.free_context()
        scores, _ = best_kind(self.predict(free), free.mask)
        self.threshold_, self.tie_probability_ = training.threshold_at_volume(scores, free.mask[:, 0])
        return self

    def predict(self, context: Context) -> FloatArray:
        """The classifier's probability of interest (n, K) under each of `context.kinds`."""
        predicted = np.empty((len(context), len(context.kinds)))
        if len(context) == 0:  # which scikit-learn refuses
            return predicted
        for i, label in enumerate(context.kinds):
            known = self.kinds_.index(label) + 1 if label in self.kinds_ else 0
            matrix = self._matrix(context, np.full(len(context), known))
            for first in range(0, len(context), ROWS_AT_ONCE):
                part = slice(first, first + ROWS_AT_ONCE)
                predicted[part, i] = self.classifier_.predict_proba(matrix[part])[:, 1]  # of the classes False, True
        return predicted

    def action_probabilities(self, context: Context) -> FloatArray:
        """(n, K + 1): all on the best kind above the threshold; kinds with equal predictions are equally likely."""
        scores, kinds = best_kind(self.predict(context), context.mask)
        return spread(contact_probability(scores, self.threshold_, self.tie_probability_), kinds, context.mask)

    def action_scores(self, context: Context) -> FloatArray:
        """(n, K): the predicted interest, which tells who comes first where not all can be contacted."""
        return rounded(self.predict(context))

    def _matrix(self, context: Context, action: IntArray) -> MatrixArray:
        """Numbers and codes, and the kind as the last column where there are several."""
        several = len(self.kinds_) > 1
        matrix = self.encoder_.transform(context, extra=several)
        if several:
            matrix[:, -1] = action
        return matrix

    def _columns(self) -> ColumnTransformer:
        codes = [i for i, labels in enumerate(self.encoder_.categories) if labels is not None]
        numbers = [i for i, labels in enumerate(self.encoder_.categories) if labels is None]
        if len(self.kinds_) > 1:
            codes.append(len(self.encoder_.names))
        return ColumnTransformer(
            [
                ("numbers", SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True), numbers),
                ("text", OneHotEncoder(handle_unknown="ignore", sparse_output=False), codes),
            ]
        )


def _seeded(classifier: Any, rng: np.random.Generator) -> Any:
    """The classifier with numbers from `rng` wherever it would draw its own seed."""
    unseeded = [
        name
        for name, value in sorted(classifier.get_params().items())
        if value is None and (name == "random_state" or name.endswith("__random_state"))
    ]
    return classifier.set_params(**{name: int(rng.integers(2**31)) for name in unseeded})

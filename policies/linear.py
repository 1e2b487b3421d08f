"""Linear models of interest with their uncertainty, one per kind: what the linear bandits stand on."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from engagex_sim.columns import FloatArray
from engagex_sim.models.encoding import FeatureEncoder
from engagex_sim.policy import Context

if TYPE_CHECKING:
    from engagex_sim.training import Training

MAX_CATEGORIES = 20  # of a text feature that have a weight of their own
CHUNK = 50_000  # rows whose features are laid out at a time


@dataclass(frozen=True)
class LinearFeatures:
    """The exogenous features as numbers for a linear model, d of them, a constant 1 the last.

    Numbers are drawn in at their ends (arcsinh, so that the very active do not decide everything), their gaps filled
    with the mean and marked, and standardised; each of the most frequent categories of a text has a column.
    """

    encoder: FeatureEncoder
    columns: Any
    size: int  # d

    @classmethod
    def fit(cls, context: Context) -> Self:
        """Learn means, spreads and categories."""
        encoder = FeatureEncoder.fit(context, context.exogenous)
        is_text = np.array([categories is not None for categories in encoder.categories])
        numbers = make_pipeline(
            FunctionTransformer(np.arcsinh),
            SimpleImputer(add_indicator=True, keep_empty_features=True),
            StandardScaler(),
        )
        texts = OneHotEncoder(max_categories=MAX_CATEGORIES, handle_unknown="infrequent_if_exist", sparse_output=False)
        columns = ColumnTransformer(
            [("numbers", numbers, np.flatnonzero(~is_text)), ("texts", texts, np.flatnonzero(is_text))]
        )
        matrix = encoder.transform(context).astype(np.float64)
        columns.fit(matrix)
        return cls(encoder, columns, columns.transform(matrix[:1]).shape[1] + 1)

    def transform(self, context: Context, rows: Any = slice(None)) -> FloatArray:
        """The features (n, d) at `rows`."""
        matrix = self.encoder.transform(context, rows).astype(np.float64)
        x = np.ones((len(matrix), self.size))
        if len(matrix):  # no row is too few for scikit-learn
            x[:, :-1] = self.columns.transform(matrix)
        return x


@dataclass(frozen=True)
class LinearModels:
    """A ridge regression of interest on the features x for each kind, from the contacts of that kind alone.

    With A_k = I + Σ x xᵀ and θ_k = A_k⁻¹ Σ r x, interest is expected at θ_kᵀ x, and known up to a standard deviation of
    σ √(xᵀ A_k⁻¹ x), where σ² is the variance of an interest at the mean rate (Li, Chu, Langford and Schapire 2010).
    """

    features: LinearFeatures
    weights: FloatArray  # (K, d) θ
    roots: FloatArray  # (K, d, d) the inverse of A's Cholesky factor
    noise: float  # σ

    @classmethod
    def fit(cls, training: "Training") -> Self:
        """Learn from the logged contacts of the training users."""
        timeline = training.timeline
        features = LinearFeatures.fit(timeline.free_context())
        contacts = timeline.contacts()
        context, weights, roots = contacts.free_context(), [], []
        for kind in range(1, len(timeline.kinds) + 1):
            own = np.flatnonzero(contacts.action == kind)
            x = features.transform(context, own)
            factor, _ = cho_factor(np.eye(x.shape[1]) + x.T @ x, lower=True)
            weights.append(cho_solve((factor, True), x.T @ contacts.reward[own]))
            roots.append(solve_triangular(factor, np.eye(x.shape[1]), lower=True))
        rate = (contacts.reward.sum() + 0.5) / (len(contacts) + 1.0)
        return cls(features, np.array(weights), np.array(roots), float(np.sqrt(rate * (1.0 - rate))))

    def predict(self, context: Context) -> tuple[FloatArray, FloatArray]:
        """Expected interest (n, K) and its standard deviation (n, K), which is positive."""
        shape = len(context), len(self.weights)
        mean, deviation = np.empty(shape), np.empty(shape)
        for start in range(0, len(context), CHUNK):
            rows = slice(start, start + CHUNK)
            x = self.features.transform(context, rows)
            mean[rows] = x @ self.weights.T
            for k, root in enumerate(self.roots):
                deviation[rows, k] = self.noise * np.sqrt(((x @ root.T) ** 2).sum(axis=1))
        return mean, deviation

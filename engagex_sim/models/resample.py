"""SMOTE for feature matrices with gaps and categories: new rows that could have been in the log."""

import numpy as np
from imblearn.over_sampling import SMOTE, RandomOverSampler
from sklearn.neighbors import NearestNeighbors

from engagex_sim.columns import BoolArray, IntArray
from engagex_sim.models.encoding import MatrixArray

NEIGHBOURS = 5


def oversample(
    matrix: MatrixArray, label: IntArray, *, categorical: BoolArray, ratio: float, seed: int
) -> tuple[MatrixArray, IntArray]:
    """The rows, and synthetic ones of the rarer class until it has `ratio` times as many rows as the other.

    Numbers by SMOTE (Chawla et al. 2002) after standardising. Categories, and whether a number is missing, are copied
    from the nearest real row of the class, so that every combination occurred. Numbers that are whole in all rows are
    rounded, so that trees cannot tell synthetic rows by their fractions. Where nothing can be interpolated (no number
    varies, or the rarer class has one row) rows are repeated. Nothing changes where the classes are that balanced
    already.
    """
    counts = np.bincount(label, minlength=2)
    if counts.min() == 0 or round(ratio * counts.max()) <= counts.min():
        return matrix, label
    settings = {"sampling_strategy": ratio, "random_state": seed}
    missing = np.isnan(matrix)
    numbers = np.flatnonzero(~categorical & ~missing.all(axis=0))
    numbers = numbers[np.nanstd(matrix[:, numbers], axis=0) > 0]
    neighbours = min(NEIGHBOURS, int(counts.min()) - 1)
    if len(numbers) == 0 or neighbours < 1:
        rows, labels = RandomOverSampler(**settings).fit_resample(np.arange(len(matrix))[:, None], label)
        return matrix[rows[:, 0]], np.asarray(labels)

    values = matrix[:, numbers].astype(np.float64)
    centre, scale = np.nanmean(values, axis=0), np.nanstd(values, axis=0)
    scaled = np.nan_to_num((values - centre) / scale)  # a missing number stands at the mean while distances are taken
    grown, labels = SMOTE(k_neighbors=neighbours, **settings).fit_resample(scaled, label)
    new = grown[len(matrix) :]
    rarer = np.flatnonzero(label == counts.argmin())
    nearest = NearestNeighbors(n_neighbors=1).fit(scaled[rarer]).kneighbors(new, return_distance=False)[:, 0]
    added = matrix[rarer[nearest]]
    synthetic = new * scale + centre
    whole = ((values == np.rint(values)) | np.isnan(values)).all(axis=0)
    synthetic[:, whole] = np.rint(synthetic[:, whole])
    added[:, numbers] = np.where(np.isnan(added[:, numbers]), np.nan, synthetic)
    return np.vstack([matrix, added]), np.asarray(labels)

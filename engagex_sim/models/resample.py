"""SMOTE for feature matrices with gaps and categories: new rows that could have been in the log."""

import numpy as np
from imblearn.over_sampling import SMOTE, SMOTENC

from engagex_sim.columns import BoolArray, FloatArray, IntArray
from engagex_sim.models.encoding import MatrixArray

NEIGHBOURS = 5
NO_CATEGORY = -1.0  # a missing category is one of its own
AT_ONCE = 20_000  # new rows


def oversample(
    matrix: MatrixArray, label: IntArray, *, categorical: BoolArray, ratio: float, seed: int
) -> tuple[MatrixArray, IntArray]:
    """The rows, and synthetic ones of the rarer class until it has `ratio` times as many rows as the other.

    SMOTE-NC (Chawla et al. 2002): numbers, standardised, are interpolated between a row of the class and one of its
    nearest neighbours; categories, and whether a number is missing, are what most of the neighbours have. Numbers that
    are whole in all rows are rounded, so that trees cannot tell synthetic rows by their fractions. Where nothing can be
    interpolated (no number varies, or the rarer class has one row) rows are repeated. Nothing changes where the classes
    are that balanced already.
    """
    counts = np.bincount(label, minlength=2)
    wanted = int(ratio * counts.max()) - int(counts.min())
    if counts.min() == 0 or wanted <= 0:
        return matrix, label
    rarer = np.flatnonzero(label == counts.argmin())
    labels = np.append(label, np.full(wanted, counts.argmin(), dtype=label.dtype))
    missing = np.isnan(matrix)
    known = np.flatnonzero(~categorical & ~missing.all(axis=0))
    varies = np.nanstd(matrix[:, known], axis=0) > 0
    numbers, constants = known[varies], known[~varies]
    if len(numbers) == 0 or len(rarer) == 1:
        repeated = np.random.default_rng(seed).choice(rarer, wanted)
        return np.vstack([matrix, matrix[repeated]]), labels

    values = matrix[:, numbers].astype(np.float64)
    centre, scale = np.nanmean(values, axis=0), np.nanstd(values, axis=0)
    scaled = np.nan_to_num((values - centre) / scale)  # a missing number stands at the mean while distances are taken
    gaps = known[missing[:, known].any(axis=0)]
    codes = np.where(missing, NO_CATEGORY, matrix)[:, categorical]
    marks = np.hstack([codes, missing[:, gaps]])
    new = _interpolated(np.hstack([scaled, marks]), label, rarer, len(numbers), wanted, seed)

    added = np.full((wanted, matrix.shape[1]), np.nan, dtype=matrix.dtype)
    whole = ((values == np.rint(values)) | np.isnan(values)).all(axis=0)
    new_numbers, new_codes, new_gaps = np.split(new, [len(numbers), len(numbers) + codes.shape[1]], axis=1)
    restored = new_numbers * scale + centre
    added[:, numbers] = np.where(whole, np.rint(restored), restored)
    added[:, constants] = np.nanmax(matrix[:, constants], axis=0)
    added[:, categorical] = np.where(new_codes == NO_CATEGORY, np.nan, new_codes)
    added[:, gaps] = np.where(new_gaps > 0, np.nan, added[:, gaps])
    return np.vstack([matrix, added]), labels


def _interpolated(
    rows: FloatArray, label: IntArray, rarer: IntArray, n_numbers: int, wanted: int, seed: int
) -> FloatArray:
    """`wanted` new rows of the rarer class, in parts, since SMOTE-NC writes all categories of all neighbours out."""
    used = np.append(rarer, np.flatnonzero(label != label[rarer[0]])[0])  # it wants to see two classes
    marks = list(range(n_numbers, rows.shape[1]))
    neighbours = min(NEIGHBOURS, len(rarer) - 1)
    parts = []
    for part, first in enumerate(range(0, wanted, AT_ONCE)):
        settings = {
            "sampling_strategy": {label[rarer[0]]: len(rarer) + min(AT_ONCE, wanted - first)},
            "k_neighbors": neighbours,
            "random_state": seed + part,
        }
        sampler = SMOTENC(marks, **settings) if marks else SMOTE(**settings)
        parts.append(sampler.fit_resample(rows[used], label[used])[0][len(used) :])
    return np.vstack(parts)

"""How well a classifier tells written rows from real ones."""

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold
from threadpoolctl import threadpool_limits

from engagex_sim.augment.rows import MatrixArray, gaps_below
from engagex_sim.columns import BoolArray

FOLDS = 5
MIN_ROWS = 50  # of either sort: with fewer a cross-validated AUC says next to nothing
MAX_ROWS = 1_000  # of either sort


def two_sample_auc(real: MatrixArray, written: MatrixArray, categorical: BoolArray, seed: int) -> float:
    """ROC AUC, cross-validated, of a classifier that tells `written` (m, p) from `real` (n, p) rows.

    0.5: it cannot, so the rows look real; 1: it always can (classifier two-sample test: Lopez-Paz and Oquab 2017);
    below 0.5: written rows lie closer to single real ones than other real rows do.
    NaN with fewer than `MIN_ROWS` of either. Of more than `MAX_ROWS`, or of unequal numbers, a sample is taken, so that
    neither sort is the likelier guess.
    """
    n = min(len(real), len(written), MAX_ROWS)
    if n < MIN_ROWS:
        return float("nan")
    rng = np.random.default_rng(seed)
    both = np.vstack([rows[rng.choice(len(rows), n, replace=False)] for rows in (real, written)]).astype(np.float64)
    for column in np.flatnonzero(~categorical):  # the classifier fails where all numbers of a column are missing
        both[:, column] = gaps_below(both[:, column])
    is_written = np.repeat([0, 1], n)
    model = HistGradientBoostingClassifier(
        max_iter=50, max_depth=3, categorical_features=categorical, random_state=seed
    )
    chance = np.empty(2 * n)
    with threadpool_limits(1, "openmp"):  # several folds may be fitted side by side
        for train, held_out in StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(both, is_written):
            chance[held_out] = model.fit(both[train], is_written[train]).predict_proba(both[held_out])[:, 1]
    return float(roc_auc_score(is_written, chance))

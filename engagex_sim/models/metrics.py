"""How good predicted probabilities are: ranking, accuracy and calibration."""

import math

import numpy as np
import pandas as pd
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    classification_report,
    f1_score,
    log_loss,
    roc_auc_score,
)

from engagex_sim.columns import FloatArray
from engagex_sim.models.calibrate import TINY, fit_calibration, intercept_for, log_odds

CLASSES = ("not interested", "interested")
NAMES = ("roc_auc", "pr_auc", "f1", "brier", "log_loss", "calibration_slope", "calibration_intercept")


def classification_metrics(outcome: FloatArray, probability: FloatArray, threshold: float) -> dict[str, float]:
    """Metrics of predicted probabilities (n,) against outcomes (n,) in {0, 1}, by name.

    `f1` counts a row as predicted positive from `threshold` on. `calibration_slope` is that of a logistic regression
    of the outcome on the predicted log-odds (1 is right, below 1 is overconfident) and `calibration_intercept` the
    shift of the log-odds that is missing on average (0 is right), as in Van Calster et al. 2019.
    NaN where undefined: everything without rows; with one class only, all but `brier` and `log_loss`; the slope of a
    constant prediction.
    """
    n, positives = len(outcome), int(outcome.sum())
    metrics = {"n": n, "positives": positives, **dict.fromkeys(NAMES, math.nan)}
    if n == 0:
        return metrics
    metrics["brier"] = float(brier_score_loss(outcome, probability, pos_label=1))
    metrics["log_loss"] = float(log_loss(outcome, np.clip(probability, TINY, 1.0 - TINY), labels=[0, 1]))
    if not 0 < positives < n:
        return metrics
    margin = log_odds(probability)
    metrics["roc_auc"] = float(roc_auc_score(outcome, probability))
    metrics["pr_auc"] = float(average_precision_score(outcome, probability))
    metrics["f1"] = float(f1_score(outcome, probability >= threshold))
    metrics["calibration_slope"] = fit_calibration(margin, outcome).slope
    metrics["calibration_intercept"] = intercept_for(margin, outcome)
    return metrics


def report_by_class(outcome: FloatArray, probability: FloatArray, threshold: float) -> pd.DataFrame:
    """scikit-learn's classification report of predicted probabilities (n,), positive from `threshold` on.

    Columns `class`, `precision`, `recall`, `f1`, `support`: a row for each of the two classes, the accuracy in the
    column `f1` where the printed report has it, and the means over classes, plain and weighted by support. NaN where
    undefined, as the precision of a class that is never predicted.
    """
    names = [*CLASSES, "accuracy", "macro avg", "weighted avg"]
    columns = ["precision", "recall", "f1-score", "support"]
    table = pd.DataFrame(math.nan, index=names, columns=columns).assign(support=len(outcome))
    if len(outcome):
        called, is_so = probability >= threshold, outcome > 0
        report = classification_report(
            is_so, called, labels=[False, True], target_names=CLASSES, output_dict=True, zero_division=math.nan
        )
        report["accuracy"] = {"f1-score": float((called == is_so).mean()), "support": len(outcome)}
        table = pd.DataFrame.from_dict({name: report[name] for name in names}, orient="index", columns=columns)
    return table.rename(columns={"f1-score": "f1"}).rename_axis("class").reset_index()


def reliability_table(outcome: FloatArray, probability: FloatArray, bins: int = 10) -> pd.DataFrame:
    """Columns `predicted` and `observed` (means) and `n`, one row per bin of equal count, lowest predictions first.

    Equal predictions stay in one bin, so that there may be fewer bins than asked for; no rows give no bins.
    """
    edges = np.quantile(probability, np.arange(1, bins) / bins) if len(probability) else np.empty(0)
    found, bin_of_row = np.unique(np.searchsorted(edges, probability, side="left"), return_inverse=True)
    n = np.bincount(bin_of_row, minlength=len(found))
    return pd.DataFrame(
        {
            "predicted": np.bincount(bin_of_row, weights=probability, minlength=len(found)) / n,
            "observed": np.bincount(bin_of_row, weights=outcome, minlength=len(found)) / n,
            "n": n,
        }
    )

"""What an evaluation returns: tables and facts, no files and no formatting."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pandas as pd

from engagex_sim.columns import FloatArray
from engagex_sim.log import DataQuality
from engagex_sim.settings import Settings

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CURRENT = "current"
ON_POLICY = "on_policy"
HEADLINE = "dr_cap"
ROLL_OUT = "dm_rollout"  # model-based: never the headline
PRIMARY = "interests_per_user"

SUMMARY_COLUMNS = (
    "policy",
    "estimator",
    "metric",
    "value",
    "ci_low",
    "ci_high",
    "lift",
    "lift_low",
    "lift_high",
    "lift_percent",
    "lift_percent_low",
    "lift_percent_high",
    "ess",
    "max_weight_share",
    "shrinkage",
    "n_users",
    "verdict",
    "reason",
)


@dataclass(frozen=True)
class Facts:
    """What was evaluated, in numbers that a report can print."""

    n_users: int
    n_decisions: int  # in the evaluation period
    n_contacts: int  # in the evaluation period, those without a decision point included
    n_interests: int  # behind n_contacts
    smallest_lift: float  # share of the current value below which no lift can be shown; NaN without interests
    log_start: datetime
    log_end: datetime
    evaluation_start: datetime
    cap_days: float
    kinds: tuple[str, ...]
    contact_is_a_choice: bool
    propensity_logged: bool  # at every contact of the evaluation period
    cap_modelled: bool  # False: the log breaks the cap, so the logging policy is modelled without it
    world: str | None  # the synthetic world's name, None for a real log
    interest_variance: float = math.nan  # across users, of the interests behind n_interests
    n_learners: int = 0  # with a holdout: users beside `n_users`, from whom policies learn and who are not judged


@dataclass(frozen=True)
class Result:
    """An evaluation's tables. `table` is the headline, one row per policy and metric; `plot()` draws the curves."""

    summary: pd.DataFrame  # SUMMARY_COLUMNS, and truth in a world; one row per policy × estimator × metric
    curves: pd.DataFrame  # policy, day, cumulative_interests_per_1000, ci_low, ci_high (and truth)
    model_metrics: pd.DataFrame  # model, imbalance, split, n, positives, roc_auc, pr_auc, f1, brier, ...
    classification_report: pd.DataFrame  # model, split, class, precision, recall, f1, support
    feature_importance: pd.DataFrame  # model, feature, gain, permutation, permutation_sd, shap; highest shap first
    feature_effects: pd.DataFrame  # model, feature, value, n, effect, effect_low, effect_high: SHAP by groups of values
    reliability: pd.DataFrame  # model, predicted, observed, n: held-out, by bins of predicted probability
    calibration: pd.DataFrame  # day, contacts, expected: the logging policy's contacts per day and the model's
    intervals: pd.DataFrame  # policy, estimator, method, value_low, … lift_high, reason: other ways to an interval
    flags: pd.DataFrame  # flag, statistic, df, p_value, flagged, sentence: one joint test per assumption
    calibration_cells: pd.DataFrame  # by, cell, contacts, expected, ratio: by day and activity, before recalibration
    overlap: pd.DataFrame  # policy, ess, max_weight_share, effective_positives, …: how far the log speaks about each
    sensitivity: pd.DataFrame  # policy, strength, value_low, … lift_high: what a hidden cause leaves possible
    breaking_points: pd.DataFrame  # policy, breaking_point, reason, sentence: the cause that explains the whole lift
    exploration: pd.DataFrame  # policy, where, sentence, a row per rate: what would make refused policies answerable
    weights: Mapping[str, FloatArray]  # policy → importance weights at the logged contacts (headline estimator)
    quality: DataQuality
    facts: Facts
    notes: tuple[str, ...]  # plain sentences a reader must know; the first are the most important
    settings: Settings
    extra_quality: DataQuality | None = None  # of the other log that the reward model learned from
    augmentation: Mapping[str, Any] | None = None  # what became of the synthetic rows, where any were written

    @property
    def table(self) -> pd.DataFrame:
        """The headline rows of `summary`: `dr_cap` per policy, and the log itself."""
        return self.summary[self.summary["estimator"].isin([HEADLINE, ON_POLICY])].reset_index(drop=True)

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Cumulative interests per 1,000 users by day, one line with a band per policy."""
        from engagex_sim.report.figures import plot_cumulative_interest

        return plot_cumulative_interest(self, ax)


def headline(result: Result, policy: str, metric: str = PRIMARY) -> Mapping[str, Any]:
    """The headline row of one policy and metric."""
    table = result.table
    rows = table[(table["policy"] == policy) & (table["metric"] == metric)]
    return {str(name): value for name, value in rows.iloc[0].items()}

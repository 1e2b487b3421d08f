"""A made-up result of the shape that an evaluation returns, for the tests of the report."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
from report_example_tables import breaking_points, exploration, flags, intervals, overlap, sensitivity

from engagex_sim.estimate import NAMES
from engagex_sim.log import DataQuality, FileQuality
from engagex_sim.ope.verdict import BETTER, NO_DIFFERENCE, UNANSWERABLE, WORSE
from engagex_sim.result import ROLL_OUT, SUMMARY_COLUMNS, Facts, Result
from engagex_sim.settings import Settings

CURRENT_VALUE = 0.0251
CURRENT_CONTACTS = 0.85


@dataclass(frozen=True)
class Story:
    """What is true of one policy: its lift and contacts relative to current, its precision, its verdict."""

    lift: float
    contacts: float
    error: float  # standard error of the relative lift
    verdict: str
    step_bias: float = 0.0
    ess: float = 4000.0
    largest: float = 0.004
    reason: str = ""
    reads_results: bool = False  # of its own contacts: no contact probabilities, but a roll-out


STORIES = {
    "never": Story(-1.0, 0.0, 0.0, WORSE),
    "first_chance": Story(
        0.62,
        2.4,
        0.38,
        UNANSWERABLE,
        step_bias=3.1,
        ess=31.0,
        largest=0.31,
        reason="Only 31 of the 17,004 logged contacts speak for this strategy (effective sample size), 50 are needed",
    ),
    "uniform": Story(0.31, 1.62, 0.035, BETTER, step_bias=0.8, ess=2100.0),
    "random_matched": Story(-0.012, 1.004, 0.022, NO_DIFFERENCE, step_bias=0.02, ess=9800.0),
    "xgb_greedy": Story(0.121, 0.987, 0.034, BETTER, step_bias=0.7, ess=1730.0, largest=0.012),
    "xgb_profit": Story(-0.958, 0.0041, 0.011, WORSE, ess=83.0, largest=0.09),
}
READER = Story(
    -0.2,
    0.9,
    0.05,
    UNANSWERABLE,
    reason="the policy reads the results of its own contacts, so how often it contacts cannot be computed",
    reads_results=True,
)


def example_result(
    world: bool = True,
    stories: dict[str, Story] | None = None,
    kinds: tuple[str, ...] = ("banner",),
    propensity_logged: bool = False,
) -> Result:
    """Six policies and the current strategy, every estimator, five metrics, seventeen days; no flag is raised."""
    stories = STORIES if stories is None else stories
    rng = np.random.default_rng(5)
    summary = pd.DataFrame(
        [*_current_rows(), *(row for name, story in stories.items() for row in _rows(name, story, rng))]
    )
    summary = summary.reindex(columns=[*SUMMARY_COLUMNS, "truth"])
    curves = pd.concat([_curve("current", 0.0, 0.02), *(_curve(n, s.lift, s.error) for n, s in stories.items())])
    if not world:
        summary = summary.drop(columns="truth")
        curves = curves.drop(columns="truth")
    changes = {
        name: (np.nan, np.nan, np.nan) if s.reads_results else _ends(s, CURRENT_VALUE) for name, s in stories.items()
    }
    return Result(
        summary=summary,
        curves=curves,
        model_metrics=_model_metrics(),
        classification_report=_classification_report(),
        feature_importance=_importance(),
        feature_effects=_effects(),
        reliability=_reliability(),
        calibration=_calibration(rng),
        intervals=intervals(changes),
        flags=flags(),
        calibration_cells=pd.DataFrame(
            {"by": "day", "cell": [0, 1], "contacts": [90.0, 110.0], "expected": [95.0, 105.0], "ratio": [0.95, 1.05]}
        ),
        overlap=overlap({name: story.ess for name, story in stories.items()}),
        sensitivity=sensitivity(changes),
        breaking_points=breaking_points(changes),
        exploration=exploration([n for n, s in stories.items() if s.verdict == UNANSWERABLE and not s.reads_results]),
        weights={name: _weights(name, rng) for name in stories if name != "never"},
        quality=_quality(),
        facts=Facts(
            n_users=20_000,
            n_decisions=403_211,
            n_contacts=17_004,
            n_interests=502,
            smallest_lift=0.09,
            log_start=datetime(2024, 5, 1),
            log_end=datetime(2024, 6, 1),
            evaluation_start=datetime(2024, 5, 15),
            cap_days=14.0,
            kinds=kinds,
            contact_is_a_choice=True,
            propensity_logged=propensity_logged,
            cap_modelled=True,
            world="visits" if world else None,
        ),
        notes=("Each user starts in the state that the log shows after 14 days of burn-in.",),
        settings=Settings(),
    )


def _ends(story: Story, current: float) -> tuple[float, float, float]:
    """The lift in interests per user, and a 95 % interval for it alone."""
    return tuple(current * (story.lift + z * story.error) for z in (0.0, -1.96, 1.96))


def _current_rows() -> list[dict[str, Any]]:
    values = {
        "interests_per_user": CURRENT_VALUE,
        "interested_users": CURRENT_VALUE * 0.97,
        "contacts_per_user": CURRENT_CONTACTS,
        "interests_per_contact": CURRENT_VALUE / CURRENT_CONTACTS,
        "profit_per_user": 5 * CURRENT_VALUE - CURRENT_CONTACTS,
    }
    return [
        {
            "policy": "current",
            "estimator": "on_policy",
            "metric": metric,
            "value": value,
            "ci_low": value - 0.045 * abs(value),
            "ci_high": value + 0.045 * abs(value),
            "lift": 0.0,
            "lift_low": 0.0,
            "lift_high": 0.0,
            "lift_percent": 0.0,
            "lift_percent_low": 0.0,
            "lift_percent_high": 0.0,
            "n_users": 20_000,
            "truth": value * 1.004,
        }
        for metric, value in values.items()
    ]


def _rows(policy: str, story: Story, rng: np.random.Generator) -> list[dict[str, Any]]:
    rows = []
    current = {row["metric"]: row["value"] for row in _current_rows()}
    for estimator in (*NAMES, *([ROLL_OUT] if story.reads_results else [])):
        family = estimator.rsplit("_", 1)[1]
        spread = {"traj": 2.5}.get(family, 1.0) * story.error
        change = story.lift + (story.step_bias if family == "step" else 0) + 0.5 * spread * rng.standard_normal()
        if estimator == "dr_cap":
            change, spread = story.lift, story.error
        has_interval = not estimator.startswith("dm")
        for metric, now in current.items():
            value = now * (1 + change)
            if metric == "contacts_per_user":
                value, spread = now * story.contacts, 0.002
            if metric == "profit_per_user":
                value = 5 * current["interests_per_user"] * (1 + change) - CURRENT_CONTACTS * story.contacts
            volume = metric == "contacts_per_user"
            undefined = metric == "interests_per_contact" and story.contacts == 0
            undefined |= story.reads_results and family == "cap"
            if metric == "interests_per_contact" and not undefined:
                value = now * (1 + change) / story.contacts
            judged = not undefined or story.reads_results
            bounded = has_interval and not undefined
            error = 0.0 if policy == "never" else spread * abs(now)
            lift = value - now
            rows.append(
                {
                    "policy": policy,
                    "estimator": estimator,
                    "metric": metric,
                    "value": np.nan if undefined else value,
                    "ci_low": value - 1.96 * error if bounded else np.nan,
                    "ci_high": value + 1.96 * error if bounded else np.nan,
                    "lift": np.nan if undefined else lift,
                    "lift_low": lift - 2.5 * error if bounded else np.nan,
                    "lift_high": lift + 2.5 * error if bounded else np.nan,
                    "lift_percent": np.nan if undefined else 100 * lift / abs(now),
                    "lift_percent_low": 100 * (lift - 2.5 * error) / abs(now) if bounded else np.nan,
                    "lift_percent_high": 100 * (lift + 2.5 * error) / abs(now) if bounded else np.nan,
                    "ess": np.nan if policy == "never" else story.ess,
                    "max_weight_share": np.nan if policy == "never" else story.largest,
                    "n_users": 20_000,
                    "verdict": None if not judged or estimator != "dr_cap" or volume else story.verdict,
                    "reason": (story.reason or None) if judged else "without contacts there is no share of them",
                    "truth": np.nan if undefined else value * (1 + 0.4 * story.error),
                }
            )
    return rows


def _curve(policy: str, lift: float, error: float) -> pd.DataFrame:
    day = np.arange(1, 18)
    shape = 1 - np.exp(-day / 11)
    end = 1000 * CURRENT_VALUE * (1 + lift) * shape / shape[-1]
    half = 2.4 * 1000 * CURRENT_VALUE * error * np.sqrt(shape / shape[-1])
    return pd.DataFrame(
        {
            "policy": policy,
            "day": day,
            "cumulative_interests_per_1000": end,
            "ci_low": end - half,
            "ci_high": end + half,
            "truth": end * (1 + 0.4 * error),
        }
    )


def _model_metrics() -> pd.DataFrame:
    rows = []
    for imbalance in ("none", "scale_pos_weight", "smote", "both"):
        for split, auc in (("train", 0.741), ("held-out", 0.683)):
            rows.append(
                {
                    "model": "reward model",
                    "imbalance": imbalance,
                    "split": split,
                    "n": 13_603 if split == "train" else 3_401,
                    "positives": 402 if split == "train" else 100,
                    "roc_auc": auc,
                    "pr_auc": 0.081,
                    "f1": 0.121,
                    "brier": 0.02791,
                    "log_loss": 0.1262,
                    "calibration_slope": 0.97,
                }
            )
    return pd.DataFrame(rows)


def _classification_report() -> pd.DataFrame:
    classes = ("not interested", "interested", "accuracy", "macro avg", "weighted avg")
    numbers = {"precision": (0.976, 0.092, np.nan, 0.534, 0.95), "recall": (0.942, 0.204, np.nan, 0.573, 0.92)}
    table = pd.DataFrame({"class": classes, **numbers, "f1": (0.959, 0.127, 0.92, 0.543, 0.935)})
    train = table.assign(split="train", support=(13_201.0, 402.0, 13_603.0, 13_603.0, 13_603.0))
    held_out = table.assign(split="held-out", support=(3_301.0, 100.0, 3_401.0, 3_401.0, 3_401.0))
    both = pd.concat([train, held_out], ignore_index=True).assign(model="reward model")
    return both[["model", "split", "class", "precision", "recall", "f1", "support"]]


def _importance() -> pd.DataFrame:
    features = ("trigger", "hour", "type", "triggers_7d", "days_since_trigger", "weekday", "triggers_so_far", "day")
    shares = np.array([0.31, 0.22, 0.14, 0.11, 0.08, 0.06, 0.05, 0.03])
    return pd.DataFrame(
        {
            "model": "reward model",
            "feature": features,
            "gain": shares,
            "permutation": 0.1 * shares[::-1] - 0.004,
            "permutation_sd": 0.003,
            "shap": shares**0.5,
        }
    )


def _effects() -> pd.DataFrame:
    values = {
        "trigger": [1.0, 2.0, 7.5, np.nan],
        "hour": [3.0, 9.0, 15.0, 21.0],
        "type": ["cart", "$x_{1$ <b>" + "long " * 9, "other", np.nan],
        "triggers_7d": [2.0],
    }
    rows = [(name, value, effect) for name, own in values.items() for effect, value in enumerate(own)]
    table = pd.DataFrame(rows, columns=["feature", "value", "effect"]).assign(n=40, effect=lambda t: 0.3 * t["effect"])
    table = table.assign(effect_low=table["effect"] - 0.2, effect_high=table["effect"] + 0.1)
    table.insert(0, "model", "reward model")
    return table


def _reliability() -> pd.DataFrame:
    predicted = np.array([0.008, 0.012, 0.016, 0.021, 0.026, 0.031, 0.037, 0.045, 0.058, 0.094])
    observed = predicted * np.array([0.8, 1.15, 0.9, 1.05, 1.1, 0.92, 1.0, 1.08, 0.93, 1.02])
    return pd.DataFrame({"predicted": predicted, "observed": observed, "n": 1700, "model": "reward model"})


def _calibration(rng: np.random.Generator) -> pd.DataFrame:
    day = np.arange(1, 18)
    expected = 1000 + 180 * np.sin(2 * np.pi * day / 7)
    return pd.DataFrame({"day": day, "contacts": rng.poisson(expected), "expected": expected})


def _weights(policy: str, rng: np.random.Generator) -> np.ndarray:
    spread = {"first_chance": 2.2, "uniform": 0.8, "random_matched": 0.25, "xgb_greedy": 0.9, "xgb_profit": 1.0}
    sigma = spread.get(policy, 0.5)
    weights = np.exp(sigma * rng.standard_normal(17_004) - sigma**2 / 2)
    zero = {"xgb_greedy": 0.72, "xgb_profit": 0.995}.get(policy, 0.0)
    weights[rng.random(len(weights)) < zero] = 0.0
    return weights


def _rejected() -> pd.DataFrame:
    return pd.DataFrame(
        {"file": ["triggers.csv", "actions.csv"], "line": [17, 408], "reason": ["no guid", "result is 2, not 0 or 1"]}
    )


def _quality() -> DataQuality:
    return DataQuality(
        triggers=FileQuality(read=403_222, used=403_211, duplicates=10, rejected=1),
        actions=FileQuality(read=17_010, used=17_004, duplicates=5, rejected=1),
        users=None,
        rejected=_rejected(),
        matched=16_992,
        orphans=12,
        cap_violations=0,
        users_in_log=20_000,
        users_not_listed=0,
    )

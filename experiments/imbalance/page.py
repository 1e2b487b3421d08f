"""The study of imbalance as a page: first what it says, then the tables behind it."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from engagex_sim.report.formats import counted, number
from engagex_sim.result import HEADLINE
from engagex_sim.settings import Settings
from experiments.imbalance.measure import AS_TRAINED, HELD_OUT, RECALIBRATED, TRAIN
from experiments.imbalance.sentences import GREEDY, INTERESTS, PROFIT, TOLD, against_none, answer
from experiments.imbalance.summary import NOTHING, Found
from experiments.imbalance.words import give_or_take, signed, thousand

TARGETS = ("first_chance", TOLD, GREEDY)

WHAT_IT_DOES = """\
* `none`: the model learns from the contacts as they are.
* `scale_pos_weight`: interests weigh more, until both classes weigh the same.
* `smote`: synthetic interests are added to the training folds, until both classes are as many.
* `both`: half of the way by SMOTE, the rest by weight.
* `augment`, where it is there: synthetic rows from a generator are added to the training folds.

Every strategy gets the same logs, folds and grid. *As trained* are the probabilities that the trees themselves give;
*recalibrated* those after a logistic calibration on held-out users, which is what every run uses."""


def page(
    summary: pd.DataFrame,
    said: Sequence[str],
    settings: Settings,
    chosen: Mapping[str, Any],
    command: str,
    file: str | None,
) -> str:
    """The page in Markdown: `said`, the sentences that follow from the summary, comes first."""
    found = Found(summary)
    what = f"the log {file}, split anew in each repeat" if file else "synthetic worlds, another log in each repeat"
    size = "" if file else f" of {chosen['n_users']:,} users"
    lines, spread = _once(file) if chosen["repeats"] == 1 else _over_repeats(file)
    parts = [
        "# What to do about few interests",
        "\n".join(f"* {sentence}" for sentence in said),
        "![What each strategy does](imbalance.png)",
        lines,
        f"    {command}\n\nOn {what}: {counted(chosen['repeats'], 'repeat')}{size}, {settings.folds} folds, grid"
        f" {settings.grid}, seed {settings.seed}; an interest earns {settings.value:g}, a contact costs"
        f" {settings.cost:g}, so that {PROFIT} contacts where it predicts more than"
        f" {100 * settings.cost / settings.value if settings.value else math.inf:g} %. {spread}"
        " `imbalance.csv` holds all of it, `logs.csv` every repeat.",
        WHAT_IT_DOES,
        *(part for log in found.logs for part in _tables(found, log)),
    ]
    return "\n\n".join(parts) + "\n"


def _over_repeats(file: str | None) -> tuple[str, str]:
    """What the figure's lines are, and what the repeats tell."""
    if file:
        return (
            "Lines: the range of the difference to none over the splits; of estimated changes 95 % intervals.",
            "The splits share their rows: their range tells nothing of how another log would come out.",
        )
    return (
        "Lines: two standard errors of the difference to none on the same logs.",
        "`±` is one standard error over the repeats; differences are on the same logs.",
    )


def _once(file: str | None) -> tuple[str, str]:
    """The same of a single repeat."""
    if file:
        return "Lines: 95 % intervals of the estimated changes.", "One split does not tell how much another would."
    return (
        "One repeat has no standard error, so there are no lines.",
        "One repeat does not tell how far chance goes; differences are on the same logs.",
    )


def _tables(found: Found, log: str) -> list[str]:
    def held(name: str, stage: str = RECALIBRATED, split: str = HELD_OUT) -> Callable[[str], str]:
        return lambda s: number(found(log, s, stage, split, name), 3)

    quality = {
        "ROC AUC": held("roc_auc"),
        "train": held("roc_auc", split=TRAIN),
        "PR AUC": held("pr_auc"),
        "train ": held("pr_auc", split=TRAIN),
        "F1": held("f1"),
        "train  ": held("f1", split=TRAIN),
        "F1 at 0.5, as trained": held("f1_at_half", AS_TRAINED),
    }
    calibration = {
        f"{word}, {stage}": held(name, stage)
        for word, name in (
            ("Brier", "brier"),
            ("log loss", "log_loss"),
            ("slope", "calibration_slope"),
            ("intercept", "calibration_intercept"),
            ("predicted per interest", "predicted_per_interest"),
        )
        for stage in (AS_TRAINED, RECALIBRATED)
    }
    parts = [
        f"## `{log}`",
        "Ranking and classification, held-out users and those it learned from:",
        _table(found, quality),
        "Probabilities, held-out users (slope 1 and intercept 0 are right):",
        _table(found, calibration),
    ]
    if math.isnan(found(log, NOTHING, RECALIBRATED, GREEDY, INTERESTS)):
        answers = {
            f"{policy}: {stage}": _answer(found, log, policy, stage)
            for policy in (GREEDY, PROFIT)
            for stage in (AS_TRAINED, RECALIBRATED)
        }
        return [
            *parts,
            f"Change of interests estimated by `{HEADLINE}`, mean over the splits that answer:",
            _table(found, answers),
        ]
    policies = {
        f"{GREEDY}: interests per 1,000 contacts": lambda s: thousand(found(log, s, RECALIBRATED, GREEDY, INTERESTS)),
        "against none, %": lambda s: "" if s == NOTHING else _gain(found, log, s),
        **{
            f"{PROFIT} {stage}: {name}": _of_profit(found, log, stage, name)
            for stage in (AS_TRAINED, RECALIBRATED)
            for name in ("contacts", "interests", "profit")
        },
    }
    errors = {
        f"{target}, {stage}": _missed(found, log, target, stage)
        for target in TARGETS
        for stage in (AS_TRAINED, RECALIBRATED)
    }
    return [
        *parts,
        f"What is truly earned by the policies chosen with each model: {GREEDY} makes as many contacts as the current"
        f" strategy; of {PROFIT}, numbers per 1,000 users:",
        _table(found, policies),
        f"Bias / RMSE of `{HEADLINE}` and, in brackets, of the model alone (`dm_cap`), in percent of the truth:",
        _table(found, errors),
    ]


def _gain(found: Found, log: str, strategy: str) -> str:
    change, error, _ = against_none(found, log, strategy)
    return signed(change, 1) + give_or_take(error, 1)


def _of_profit(found: Found, log: str, stage: str, name: str) -> Callable[[str], str]:
    return lambda s: _told(found, log, s, stage, PROFIT, name)


def _missed(found: Found, log: str, target: str, stage: str) -> Callable[[str], str]:
    def told(strategy: str) -> str:
        bias, rmse = (found(log, strategy, stage, target, HEADLINE, column) for column in ("bias", "rmse"))
        alone = found(log, strategy, stage, target, "dm_cap", "rmse")
        return f"{signed(bias, 1)} / {number(rmse, 2)} ({number(alone, 2)})"

    return told


def _answer(found: Found, log: str, policy: str, stage: str) -> Callable[[str], str]:
    return lambda s: answer(found, log, s, stage, policy)


def _told(found: Found, log: str, strategy: str, stage: str, policy: str, name: str) -> str:
    return thousand(found(log, strategy, stage, policy, f"true_{name}_per_user"))


def _table(found: Found, columns: Mapping[str, Callable[[str], str]]) -> str:
    lines = [
        "| " + " | ".join(["strategy", *(name.strip() for name in columns)]) + " |",
        "|" + "|".join(["---", *("--:" for _ in columns)]) + "|",
    ]
    lines += ["| " + " | ".join([f"`{s}`", *(told(s) for told in columns.values())]) + " |" for s in found.strategies]
    return "\n".join(lines)

"""The study of imbalance as sentences and as a page: first what it says, then the tables behind it."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
from scipy.stats import t

from engagex_sim.report.formats import UNDEFINED, counted, listing, number
from engagex_sim.result import HEADLINE
from engagex_sim.settings import Settings
from experiments.imbalance.measure import AS_TRAINED, HELD_OUT, RECALIBRATED, TRAIN
from experiments.imbalance.summary import NOTHING, Found

SURE = 0.95  # that no difference is told by chance, over all comparisons
MUCH = 1.0  # percent: what is less is nothing to change a setting for
GREEDY, PROFIT = "xgb_greedy", "xgb_profit"
INTERESTS = "true_interests_per_contact"
TARGETS = ("first_chance", "uniform", GREEDY, PROFIT)

WHAT_IT_DOES = """\
* `none`: the model learns from the contacts as they are.
* `scale_pos_weight`: interests weigh more, until both classes weigh the same.
* `smote`: synthetic interests are added to the training folds, until both classes are as many.
* `both`: half of the way by SMOTE, the rest by weight.
* `augment`, where it is there: synthetic rows from a generator are added to the training folds.

Every strategy gets the same logs, folds and grid. *As trained* are the probabilities that the trees themselves give;
*recalibrated* those after a logistic calibration on held-out users, which is what every run uses."""


def sentences(found: Found) -> list[str]:
    """What the numbers say, and what to do; ± is one standard error over the repeats."""
    return [
        *(_ranking(found, log) for log in found.logs),
        _calibration(found),
        *(_chosen(found, log) for log in found.logs),
        *(_estimates(found, log) for log in found.logs),
        recommendation(found),
    ]


def _ranking(found: Found, log: str) -> str:
    name = (HELD_OUT, "roc_auc")
    own = found(log, NOTHING, RECALIBRATED, *name)
    others = [
        f"{s} {_signed(found(log, s, AS_TRAINED, *name, 'difference'), 3)}"
        f"{_error(found(log, s, AS_TRAINED, *name, 'difference_error'), 3)}"
        for s in _others(found)
    ]
    half = [f"{s} {number(found(log, s, AS_TRAINED, HELD_OUT, 'f1_at_half'), 2)}" for s in found.strategies]
    best = [f"{s} {number(found(log, s, RECALIBRATED, HELD_OUT, 'f1'), 2)}" for s in found.strategies]
    return (
        f"{log}: without doing anything, contacts of users not seen before are ranked with ROC AUC {own:.3f}"
        f"{'; ' + listing(others) if others else ''}. F1 at the usual threshold of 0.5 makes resampling look good"
        f" ({listing(half)}); at a threshold chosen for it, it does not ({listing(best)})."
    )


def _calibration(found: Found) -> str:
    parts = []
    for strategy in found.strategies:
        raw, after = (
            [found(log, strategy, stage, HELD_OUT, "predicted_per_interest") for log in found.logs]
            for stage in (AS_TRAINED, RECALIBRATED)
        )
        parts.append(f"{strategy} {_from_to(raw)}, recalibrated {_from_to(after)}")
    return f"Interests predicted per interest that there was (1 is right), as trained: {'; '.join(parts)}."


def _chosen(found: Found, log: str) -> str:
    own = found(log, NOTHING, RECALIBRATED, GREEDY, INTERESTS)
    if math.isnan(own):
        parts = []
        for s in found.strategies:
            lift, low, high = (found(log, s, RECALIBRATED, GREEDY, "lift_percent", c) for c in ("mean", "low", "high"))
            verdict = found.word(log, s, GREEDY, HEADLINE)
            parts.append(f"{s} {_signed(lift, 0)} % ({_signed(low, 0)} … {_signed(high, 0)} %; {verdict})")
        return f"{log}: estimated change of interests by {GREEDY}, as many contacts as now: {'; '.join(parts)}."
    others = [
        f"{s} {_signed(_relative(found, log, s), 1)} %{_error(_relative_error(found, log, s), 1)}"
        for s in _others(found)
    ]
    profits = [
        f"{s} {_thousand(found(log, s, AS_TRAINED, PROFIT, 'true_profit_per_user'))} →"
        f" {_thousand(found(log, s, RECALIBRATED, PROFIT, 'true_profit_per_user'))}"
        for s in found.strategies
    ]
    return (
        f"{log}: at the current number of contacts {GREEDY} truly earns {_thousand(own)} interests per 1,000"
        f" contacts with none{'; ' + listing(others) if others else ''}. {PROFIT} truly earns, per 1,000 users, as"
        f" trained → recalibrated: {listing(profits)}."
    )


def _estimates(found: Found, log: str) -> str:
    known = [t for t in TARGETS[:2] if not math.isnan(found(log, NOTHING, RECALIBRATED, t, HEADLINE, "rmse"))]
    if not known:
        return f"{log}: what is true is not known, so errors of the estimates are not either."
    parts = []
    for target in known:
        errors = [
            f"{s} {number(found(log, s, AS_TRAINED, target, HEADLINE, 'rmse'), 2)} →"
            f" {number(found(log, s, RECALIBRATED, target, HEADLINE, 'rmse'), 2)}"
            for s in found.strategies
        ]
        parts.append(f"for {target} {listing(errors)}")
    return f"{log}: error (RMSE) of {HEADLINE} in percent of the truth, as trained → recalibrated, {'; '.join(parts)}."


def recommendation(found: Found) -> str:
    """What follows from the true interests where they are known, else from the log loss.

    A difference counts where a t test on the repeats tells it from 0, all comparisons together (Bonferroni).
    """
    better: list[str] = []
    worse: list[str] = []
    comparisons = len(found.logs) * len(_others(found))
    for log in found.logs:
        for strategy in _others(found):
            change, error, n = _against_none(found, log, strategy)
            surely = error * t.ppf(1 - (1 - SURE) / (2 * comparisons), n - 1) if n > 1 else math.inf
            if abs(change) > max(surely, MUCH):
                (better if change > 0 else worse).append(f"{strategy} on {log}")
    told = f"by more than chance and {MUCH:g} % in interests per contact, or where no truth is known, in log loss"
    always = " Whoever resamples or weighs must recalibrate, as every run does."
    if better:
        return f"Recommendation: try {listing(better)}: better than none {told}; else keep --imbalance none.{always}"
    against = f" Worse: {listing(worse)}." if worse else ""
    return f"Recommendation: keep --imbalance none. No strategy is better {told}.{against}{always}"


def _against_none(found: Found, log: str, strategy: str) -> tuple[float, float, float]:
    """Gain in percent, its standard error, and from how many repeats."""
    key: tuple[str, str, str] = (RECALIBRATED, GREEDY, INTERESTS)
    sign = 1.0
    if math.isnan(found(log, NOTHING, *key)):
        key, sign = (RECALIBRATED, HELD_OUT, "log_loss"), -1.0
    change, error, n = (found(log, strategy, *key, column) for column in ("difference", "difference_error", "n"))
    base = found(log, NOTHING, *key)
    return 100 * sign * change / base, 100 * error / base, n


def page(summary: pd.DataFrame, settings: Settings, chosen: Mapping[str, Any], command: str, file: str | None) -> str:
    """The page in Markdown."""
    found = Found(summary)
    what = f"the log {file}, split anew in each repeat" if file else "synthetic worlds, another log in each repeat"
    size = "" if file else f" of {chosen['n_users']:,} users"
    parts = [
        "# What to do about few interests",
        *(f"* {sentence}" for sentence in sentences(found)[-1:]),
        "\n".join(f"* {sentence}" for sentence in sentences(found)[:-1]),
        "![What each strategy does](imbalance.png)",
        f"    {command}\n\nOn {what}: {counted(chosen['repeats'], 'repeat')}{size}, {settings.folds} folds, grid"
        f" {settings.grid}, seed {settings.seed}; an interest earns {settings.value:g}, a contact costs"
        f" {settings.cost:g}, so that {PROFIT} contacts where it predicts more than"
        f" {100 * settings.cost / settings.value if settings.value else math.inf:g} %. `±` is one standard error over"
        " the repeats; differences are on the same logs. `imbalance.csv` holds all of it, `logs.csv` every repeat.",
        WHAT_IT_DOES,
        *(part for log in found.logs for part in _tables(found, log)),
    ]
    return "\n\n".join(parts) + "\n"


def _tables(found: Found, log: str) -> list[str]:
    def held(name: str, stage: str = RECALIBRATED, split: str = HELD_OUT) -> Callable[[str], str]:
        return lambda s: number(found(log, s, stage, split, name), 3)

    quality = {
        "ROC AUC": held("roc_auc", AS_TRAINED),
        "train": held("roc_auc", AS_TRAINED, TRAIN),
        "PR AUC": held("pr_auc", AS_TRAINED),
        "train ": held("pr_auc", AS_TRAINED, TRAIN),
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
        return [*parts, f"Change of interests estimated by {HEADLINE}, with its 95 % interval:", _table(found, answers)]
    policies = {
        f"{GREEDY}: interests per 1,000 contacts": lambda s: _thousand(found(log, s, RECALIBRATED, GREEDY, INTERESTS)),
        "against none, %": lambda s: (
            "" if s == NOTHING else _signed(_relative(found, log, s), 1) + _error(_relative_error(found, log, s), 1)
        ),
        **{
            f"{PROFIT} {stage}: {name}": _of_profit(found, log, stage, name)
            for stage in (AS_TRAINED, RECALIBRATED)
            for name in ("contacts", "interests", "profit")
        },
    }
    errors = {
        f"{target}, {stage}": _missed(found, log, target, stage)
        for target in TARGETS[:3]
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


def _of_profit(found: Found, log: str, stage: str, name: str) -> Callable[[str], str]:
    return lambda s: _told(found, log, s, stage, PROFIT, name)


def _missed(found: Found, log: str, target: str, stage: str) -> Callable[[str], str]:
    def told(strategy: str) -> str:
        bias, rmse = (found(log, strategy, stage, target, HEADLINE, column) for column in ("bias", "rmse"))
        alone = found(log, strategy, stage, target, "dm_cap", "rmse")
        return f"{_signed(bias, 1)} / {number(rmse, 2)} ({number(alone, 2)})"

    return told


def _answer(found: Found, log: str, policy: str, stage: str) -> Callable[[str], str]:
    def told(strategy: str) -> str:
        lift, low, high = (
            found(log, strategy, stage, policy, "lift_percent", column) for column in ("mean", "low", "high")
        )
        return f"{_signed(lift, 0)} % ({_signed(low, 0)} … {_signed(high, 0)} %)"

    return told


def _told(found: Found, log: str, strategy: str, stage: str, policy: str, name: str) -> str:
    return _thousand(found(log, strategy, stage, policy, f"true_{name}_per_user"))


def _table(found: Found, columns: Mapping[str, Callable[[str], str]]) -> str:
    lines = [
        "| " + " | ".join(["strategy", *(name.strip() for name in columns)]) + " |",
        "|" + "|".join(["---", *("--:" for _ in columns)]) + "|",
    ]
    lines += ["| " + " | ".join([f"`{s}`", *(told(s) for told in columns.values())]) + " |" for s in found.strategies]
    return "\n".join(lines)


def _others(found: Found) -> list[str]:
    return [strategy for strategy in found.strategies if strategy != NOTHING]


def _relative(found: Found, log: str, strategy: str) -> float:
    """Change of the true interests of `xgb_greedy` against none, in percent."""
    return _of_base(found, log, strategy, "difference")


def _relative_error(found: Found, log: str, strategy: str) -> float:
    return _of_base(found, log, strategy, "difference_error")


def _of_base(found: Found, log: str, strategy: str, column: str) -> float:
    key = (RECALIBRATED, GREEDY, INTERESTS)
    return 100 * found(log, strategy, *key, column) / found(log, NOTHING, *key)


def _thousand(value: float) -> str:
    return number(1000 * value)


def _from_to(values: Sequence[float]) -> str:
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return UNDEFINED
    low, high = number(min(known), 2), number(max(known), 2)
    return low if low == high else f"{low} to {high}"


def _signed(value: float, decimals: int) -> str:
    return UNDEFINED if math.isnan(value) else f"{value:+.{decimals}f}".replace("-", "−")


def _error(value: float, decimals: int) -> str:
    return "" if math.isnan(value) else f" ± {value:.{decimals}f}"

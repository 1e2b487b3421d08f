"""What the study of imbalance says, in plain sentences that follow from its numbers."""

import math
from collections.abc import Callable, Sequence

from scipy.stats import t

from engagex_sim.ope.verdict import UNANSWERABLE
from engagex_sim.report.formats import listing, number
from engagex_sim.result import HEADLINE
from experiments.imbalance.measure import AS_TRAINED, HELD_OUT, LIFT, RECALIBRATED
from experiments.imbalance.summary import NOTHING, Found
from experiments.imbalance.words import from_to, give_or_take, signed, thousand

SURE = 0.95  # that no difference is told by chance, over all comparisons
MUCH = 1.0  # percent: what is less is nothing to change a setting for
GREEDY, PROFIT = "xgb_greedy", "xgb_profit"
INTERESTS = "true_interests_per_contact"
TOLD = "uniform"  # the policy whose error is told
ALWAYS = "Whoever resamples or weighs must recalibrate, as every run does."


def sentences(found: Found) -> list[str]:
    """What to do, and what the numbers say; differences are to none on the same logs."""
    known = [log for log in found.logs if not math.isnan(found(log, NOTHING, RECALIBRATED, GREEDY, INTERESTS))]
    unknown = [log for log in found.logs if log not in known]
    compared = others(found)
    return [
        *([recommendation(found)] if compared and found.worlds else []),
        *(_of_splits(found, log) for log in found.split_logs if compared),
        *([_ranking(found), _f1(found)] if compared else []),
        _calibration(found),
        *([_chosen(found, known)] if compared and known else []),
        *([_profit(found, known), _errors(found, known)] if known else []),
        *(_estimated(found, log) for log in unknown),
    ]


def _ranking(found: Found) -> str:
    base = [f"{found(log, NOTHING, RECALIBRATED, HELD_OUT, 'roc_auc'):.3f} on {log}" for log in found.logs]
    change = _between(found, found.logs, (RECALIBRATED, HELD_OUT, "roc_auc"), "difference", lambda x: signed(x, 3))
    who = f"{others(found)[0]} changes" if len(others(found)) == 1 else "the other strategies change"
    return f"Ranking: with none, held-out ROC AUC is {listing(base)}; {who} it by {change}."


def _f1(found: Found) -> str:
    parts = []
    for log in found.logs:
        half, best = (
            [number(found(log, NOTHING, *key), 2), number(max(found(log, s, *key) for s in others(found)), 2)]
            for key in ((AS_TRAINED, HELD_OUT, "f1_at_half"), (RECALIBRATED, HELD_OUT, "f1"))
        )
        parts.append(f"{log}: {half[0]} → {half[1]} at 0.5, {best[0]} → {best[1]} at the chosen threshold")
    return (
        "F1 at the usual threshold of 0.5 makes resampling look like a gain, since without it few predictions are that"
        f" high; a threshold chosen for F1 does the same. From none to the best of the others, {'; '.join(parts)}."
    )


def _calibration(found: Found) -> str:
    parts = []
    for strategy in found.strategies:
        raw, after = (
            [found(log, strategy, stage, HELD_OUT, "predicted_per_interest") for log in found.logs]
            for stage in (AS_TRAINED, RECALIBRATED)
        )
        parts.append(f"{strategy} {from_to(raw)}, recalibrated {from_to(after)}")
    return f"Interests predicted per interest that there was (1 is right), as trained: {'; '.join(parts)}."


def _chosen(found: Found, logs: Sequence[str]) -> str:
    base = [f"{thousand(found(log, NOTHING, RECALIBRATED, GREEDY, INTERESTS))} on {log}" for log in logs]
    give = ", give or take a standard error" if repeated(found) else ""
    changes = [
        f"{strategy} on {log} {signed(change, 1)} %{give_or_take(error, 1)}"
        for log in logs
        for strategy in others(found)
        for change, error, _ in [against_none(found, log, strategy)]
        if abs(change) >= 0.05
    ]
    return (
        f"The policy chosen with it, {GREEDY} with as many contacts as the current strategy, truly earns with none"
        f" {listing(base)} interests per 1,000 contacts"
        f"{'; against that' + give + ': ' + listing(changes) if changes else ''}."
    )


def _profit(found: Found, logs: Sequence[str]) -> str:
    parts = []
    for log in logs:
        own = [
            f"{s} {thousand(found(log, s, AS_TRAINED, PROFIT, 'true_profit_per_user'))} →"
            f" {thousand(found(log, s, RECALIBRATED, PROFIT, 'true_profit_per_user'))}"
            for s in found.strategies
        ]
        parts.append(f"on {log} {listing(own)}")
    return (
        f"A policy that contacts where it pays needs probabilities: {PROFIT} truly earns per 1,000 users, as trained →"
        f" recalibrated, {'; '.join(parts)}."
    )


def _errors(found: Found, logs: Sequence[str]) -> str:
    parts = []
    for log in logs:
        own = [
            f"{s} {number(found(log, s, AS_TRAINED, TOLD, HEADLINE, 'rmse'), 2)} →"
            f" {number(found(log, s, RECALIBRATED, TOLD, HEADLINE, 'rmse'), 2)}"
            for s in found.strategies
        ]
        parts.append(f"on {log} {listing(own)}")
    return (
        f"The answer itself may suffer: root mean squared error of {HEADLINE} for {TOLD}, in percent of the truth, as"
        f" trained → recalibrated, {'; '.join(parts)}."
    )


def _estimated(found: Found, log: str) -> str:
    told = {s: answer(found, log, s, RECALIBRATED, GREEDY) for s in found.strategies}
    same = len(set(told.values())) == 1
    words = f"{told[NOTHING]}, with every strategy" if same else "; ".join(f"{s} {words}" for s, words in told.items())
    return f"Change of interests by {GREEDY}, with as many contacts as now, as {HEADLINE} estimates it: {words}."


def answer(found: Found, log: str, strategy: str, stage: str, policy: str) -> str:
    """An estimated change with its interval and the verdict, over the repeats that answer; else the verdict alone."""
    verdict = found.verdict(log, strategy, stage, policy)
    if verdict == UNANSWERABLE:
        return verdict
    key = (log, strategy, stage, policy, LIFT)
    lift, low, high = (signed(found(*key, column), 0) for column in ("mean", "low", "high"))
    answered, repeats = found(*key, "n"), found(*key, "repeats")
    rest = f" (answered in {answered:.0f} of {repeats:.0f} repeats)" if answered < repeats else ""
    return f"{lift} % ({low} … {high} %), {verdict}{rest}"


def _between(
    found: Found, logs: Sequence[str], key: tuple[str, str, str], column: str, told: Callable[[float], str]
) -> str:
    """The least and the largest number of the other strategies over the logs, and whose they are; equal ones once."""
    values = [(found(log, s, *key, column), f"{s} on {log}") for log in logs for s in others(found)]
    low, high = min(values), max(values)
    if told(low[0]) == told(high[0]):
        return told(low[0])
    return " to ".join(f"{told(value)} ({whose})" for value, whose in (low, high))


def recommendation(found: Found) -> str:
    """What follows from the true interests in worlds, where each repeat is another log.

    A difference counts where a t test on the repeats tells it from 0, all comparisons together (Bonferroni). One
    repeat has no standard error: nothing follows from it.
    """
    judged = repeated(found)
    if not judged:
        return (
            "No recommendation follows from one repeat: whether a difference is more than chance cannot be told."
            f" {ALWAYS}"
        )
    better: list[str] = []
    worse: list[str] = []
    comparisons = len(judged) * len(others(found))
    for log in judged:
        for strategy in others(found):
            change, error, n = against_none(found, log, strategy)
            surely = error * t.ppf(1 - (1 - SURE) / (2 * comparisons), n - 1)
            if abs(change) > max(surely, MUCH):
                (better if change > 0 else worse).append(f"{strategy} on {log}")
    where = "" if judged == found.worlds else f" on {listing(judged)}"
    told = f"by more than chance and {MUCH:g} % in interests per contact{where}"
    if better:
        return f"Recommendation: try {listing(better)}: better than none {told}; else keep --imbalance none. {ALWAYS}"
    against = f" Worse: {listing(worse)}." if worse else ""
    return f"Recommendation: keep --imbalance none. No strategy is better {told}.{against} {ALWAYS}"


def _of_splits(found: Found, log: str) -> str:
    """The log loss on a log that is split anew in each repeat, which no test can tell from chance."""
    key = (RECALIBRATED, HELD_OUT, "log_loss")
    base, splits = found(log, NOTHING, *key), int(found(log, NOTHING, *key, "n"))
    parts = []
    for strategy in others(found):
        mean, least, greatest = (
            signed(100 * found(log, strategy, *key, column) / base, 1)
            for column in ("difference", "difference_least", "difference_greatest")
        )
        parts.append(f"{strategy} {mean} %{f' ({least} … {greatest} %)' if splits > 1 else ''}")
    over = f"mean and range over {splits} splits" if splits > 1 else "on one split"
    return (
        f"No recommendation follows from {log} alone: each repeat splits the same rows anew, so whether a difference is"
        f" more than chance cannot be told. Held-out log loss against none (less is better), {over}: {listing(parts)}."
        f" {ALWAYS}"
    )


def against_none(found: Found, log: str, strategy: str) -> tuple[float, float, float]:
    """Gain of true interests per contact in percent, its standard error, and from how many repeats."""
    key = (RECALIBRATED, GREEDY, INTERESTS)
    change, error, n = (found(log, strategy, *key, column) for column in ("difference", "difference_error", "n"))
    base = found(log, NOTHING, *key)
    return 100 * change / base, 100 * error / base, n


def repeated(found: Found) -> list[str]:
    """The worlds with more than one log, so that a difference has a standard error."""
    return [log for log in found.worlds if found(log, NOTHING, RECALIBRATED, GREEDY, INTERESTS, "n") > 1]


def uncompared(log: str, missing: int, repeats: int, of_world: bool) -> str:
    """That a log has too few interests, and what helps."""
    where = "" if missing == repeats else f" in {missing} of {repeats} repeats, which count for nothing"
    return (
        f"On {log} nothing could be compared{where}: there are too few interests to learn from, or none to judge by;"
        f" {'raise --n-users' if of_world else 'it takes a log of more users'}."
    )


def others(found: Found) -> list[str]:
    """The strategies that do something."""
    return [strategy for strategy in found.strategies if strategy != NOTHING]

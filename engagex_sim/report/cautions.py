"""What speaks against an answer, for the page: tests of its assumptions, other intervals, missing support."""

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from engagex_sim.exploration import chosen
from engagex_sim.ope.verdict import BETTER, WORSE
from engagex_sim.report.answers import Answer, answers
from engagex_sim.report.bounds import bounded, breaking_points, told_alone
from engagex_sim.report.formats import UNDEFINED, count, counted, number, number_range, percent
from engagex_sim.result import CURRENT, PRIMARY, Result, headline

QUESTIONS = {
    "reaction": "Do users come back more or less often after a contact?",
    "drift": "Does interest change over the period?",
    "calibration": "Does the model of how the current strategy contacts add up?",
    "leak": "Does a feature know the result of a contact?",
    "look_ahead": "Does a feature count visits that are still to come?",
}
METHODS = {  # method → its column's header, and what it is for
    "bootstrap": (
        "Bootstrap",
        "The headline's method: its standard error comes from resampling users, and its ends follow the skewness that"
        " few heavy contacts give an estimate.",
    ),
    "influence": (
        "Normal",
        "Computed from how much each group of users moves the number, without any skewness. Where it differs much from"
        " the first, few users decide.",
    ),
    "bernstein": (
        "Any log size",
        "Empirical Bernstein: relies on no approximation, but on the largest weight that could have occurred, for"
        " ips_cap with its weights taken as known. Usually far too wide; where even it leaves out 0, no accident of a"
        " few contacts made the difference. Undefined where the strategy may contact where the current one never does.",
    ),
    "refit": (
        "Models fitted again",
        "Its standard error comes from fitting all models and strategies again on resampled users, so it contains their"
        " errors. Much wider than the first: the models are too uncertain for the first to be believed.",
    ),
}


def raised_flags(result: Result) -> list[str]:
    """What the tests found against the assumptions and the refits against the verdicts, a sentence each."""
    raised = [str(row["sentence"]) for row in result.flags.to_dict("records") if row["flagged"]]
    return raised + _doubts_of_refits(result)


def _doubts_of_refits(result: Result) -> list[str]:
    """Verdicts that do not stand once every model is fitted again."""
    ends = {
        str(row["policy"]): (1000 * float(row["lift_low"]), 1000 * float(row["lift_high"]))
        for row in result.intervals.to_dict("records")
        if row["method"] == "refit"
    }
    doubts = []
    for answer in answers(result):
        low, high = ends.get(answer.policy, (math.nan, math.nan))
        if answer.primary.verdict in (BETTER, WORSE) and low <= 0 <= high:
            doubts.append(
                f"With every model fitted again {counted(result.settings.refit_boot, 'time')}, the change of"
                f" {answer.policy} could be 0: {number(low)} … {number(high)} interests per 1,000 users. Its verdict"
                " takes the fitted models as given; do not rely on it."
            )
    return doubts


def assumption_rows(result: Result) -> list[dict[str, Any]]:
    """Every test of an assumption: the question, what was found, the p-value, and the sentence."""
    rows = []
    for row in result.flags.to_dict("records"):
        tested = not math.isnan(row["p_value"])
        rows.append(
            {
                "question": QUESTIONS.get(str(row["flag"]), str(row["flag"])),
                "raised": bool(row["flagged"]),
                "found": "found" if row["flagged"] else "nothing found" if tested else "not tested",
                "p_value": _p_value(row["p_value"]) if tested else UNDEFINED,
                "sentence": str(row["sentence"]),
            }
        )
    return rows


def _p_value(p: float) -> str:
    return "<0.0001" if p < 0.0001 else number(p, 2)


def interval_table(result: Result, found: Sequence[Answer]) -> dict[str, Any]:
    """Intervals of the lift per 1,000 users, each on its own: a row per answered policy, a column per method."""
    table = result.intervals
    methods = [name for name in METHODS if name in set(table["method"])]
    cells = {
        (str(row["policy"]), str(row["method"])): number_range(1000 * row["lift_low"], 1000 * row["lift_high"])
        for row in table.to_dict("records")
    }
    asked = [answer for answer in found if answer.is_estimated and not answer.refused]
    return {
        "methods": [METHODS[name] for name in methods],
        "rows": [
            {
                "policy": answer.policy,
                "lift": number(1000 * answer.primary.lift),
                "cells": [cells.get((answer.policy, name), UNDEFINED) for name in methods],
            }
            for answer in asked
        ],
    }


def hidden_cause_sentences(result: Result) -> list[str]:
    """For every answered policy, the strength of a hidden cause that could explain its whole lift."""
    points, alone = breaking_points(result), told_alone(result)
    return [_hidden_cause(a.policy, points.get(a.policy, math.nan), a.policy in alone) for a in bounded(result)]


def _hidden_cause(policy: str, point: float, alone: bool) -> str:
    if math.isnan(point) and alone:
        return (
            f"{policy}: its own interval leaves out 0, but jointly with the other strategies, which is what the verdict"
            " goes by, its lift cannot be told from 0 even without a hidden cause."
        )
    if math.isnan(point):
        return f"{policy}: its lift cannot be told from 0 even without a hidden cause."
    if math.isinf(point):
        return f"{policy}: no hidden cause, however strong, could explain the whole lift."
    return (
        f"{policy}: a hidden cause that multiplies the odds of a contact by {number(point)} for users who are more (or"
        " less) interested anyway could explain the whole lift."
    )


def exploration_plans(result: Result) -> dict[str, Any]:
    """What would make the refused policies answerable: a sentence each, and what each rate of exploration would give.

    A cell is the expected half-width of the lift's 95 % interval and the random contacts per 1,000 users it takes.
    """
    table, current = result.exploration, float(headline(result, CURRENT, PRIMARY)["value"])
    policies = list(dict.fromkeys(table["policy"].astype(str)))
    of_policy = {policy: table[table["policy"] == policy] for policy in policies}
    feasible = [policy for policy in policies if chosen(of_policy[policy]) is not None]
    rates = sorted({float(r) for r in table.loc[table["answerable"], "rate"] if r > 0}) if feasible else []
    return {
        "sentences": [str(of_policy[policy]["sentence"].iloc[0]) for policy in policies],
        "rates": [percent(rate) for rate in rates],
        "rows": [
            {"policy": policy, "cells": [_planned(of_policy[policy], rate, current) for rate in rates]}
            for policy in feasible
        ],
    }


def _planned(plan: pd.DataFrame, rate: float, current: float) -> tuple[str, str]:
    row = plan[plan["rate"] == rate].iloc[0]
    if not row["answerable"] or not current > 0:
        return UNDEFINED, ""
    return f"± {percent(row['lift_width'] / 2 / current)}", f"{count(row['random_contacts_per_1000'])} contacts"

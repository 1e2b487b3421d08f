"""The report: one self-contained HTML page for readers who have never heard of importance weights."""

import base64
import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from engagex_sim.log import FileQuality
from engagex_sim.ope.verdict import BETTER, MIN_ESS, MIN_POSITIVES, NO_DIFFERENCE, UNANSWERABLE, WORSE, below
from engagex_sim.report import cautions, formats, sentences, style
from engagex_sim.report.answers import CONTACTS, INTERESTED, PROFIT, Answer, Estimate, answers, by_estimator
from engagex_sim.report.formats import UNDEFINED, count, number, number_range, percent, percent_range, sentence
from engagex_sim.report.gallery import Picture
from engagex_sim.result import HEADLINE, PRIMARY, Result

METRIC_NAMES = {
    "n": "rows",
    "roc_auc": "ROC AUC",
    "pr_auc": "PR AUC",
    "f1": "F1",
    "brier": "Brier score",
    "log_loss": "log loss",
    "calibration_slope": "calibration slope",
}
VISIBLE_WEIGHT_SHARE = 0.02  # of all weight on one contact, from which on the page names it
MARKS = {BETTER: "up", WORSE: "down", NO_DIFFERENCE: "level", UNANSWERABLE: "refused"}  # classes of the style sheet


def render_report(result: Result, pictures: Mapping[str, Picture], command: str) -> str:
    """The page as HTML text with the pictures inside; every text that comes from data is escaped.

    `pictures` as `draw_pictures` gives them; those that are missing are left out. `command` repeats the run.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["nbsp"] = _unbroken
    environment.filters["counted"] = formats.counted
    found = answers(result)
    return environment.get_template("report.html").render(
        headline=sentences.headline_sentence(result),
        sentences=sentences.policy_sentences(result),
        economics=sentences.economics_sentences(result),
        next_step=sentences.next_step_sentence(result),
        rows=_answer_rows(result, found),
        has_truth=any(not math.isnan(answer.primary.truth) for answer in found),
        raised=cautions.raised_flags(result),
        assumptions=cautions.assumption_rows(result),
        intervals=cautions.interval_table(result, found),
        hidden_cause=cautions.hidden_cause_sentences(result),
        plans=cautions.exploration_plans(result),
        certainty=[_certainty(answer, result) for answer in found if answer.is_estimated],
        facts=result.facts,
        population=_population(result),
        notes=result.notes,
        pictures={name: _embedded(picture) for name, picture in pictures.items()},
        quality=result.quality,
        quality_files=_quality_files(result),
        model_metrics=_plain_table(result.model_metrics),
        classification_report=_plain_table(result.classification_report),
        estimators=_estimator_table(result, found),
        settings=_settings(result),
        value=f"{result.settings.value:g}",
        cost=f"{result.settings.cost:g}",
        cap_days=f"{result.facts.cap_days:g}",
        burn_in=result.settings.burn_in,
        command=command,
    )


def _unbroken(text: str) -> str:
    """Keeps a number and its percent sign on one line."""
    return text.replace(" %", "\u00a0%")


def _embedded(picture: Picture) -> dict[str, Any]:
    source = "data:image/png;base64," + base64.b64encode(picture.png).decode("ascii")
    return {"source": source, "width": picture.width, "alt": picture.alt, "caption": picture.caption}


def _answer_rows(result: Result, found: list[Answer]) -> list[dict[str, Any]]:
    """The first table: one row per policy. What cannot be answered shows no number that depends on rewards."""
    colours = style.policy_colours(result)
    return [
        {
            "policy": answer.policy,
            "colour": colours[answer.policy],
            "contacts": number(1000 * answer[CONTACTS].value),
            "contacts_change": "" if answer.is_current else percent(answer[CONTACTS].change, signed=True),
            "interests": _told(answer, PRIMARY),
            "change": _change(answer),
            "interested": _told(answer, INTERESTED, share=True),
            "profit": _told(answer, PROFIT)[0],
            "truth": percent(answer.primary.true_change, signed=True) if not answer.is_current else "",
            "verdict": _verdict(answer),
            "reason": answer.primary.reason if answer.refused or not answer.primary.verdict else "",
            "mark": "" if answer.is_current else MARKS.get(answer.primary.verdict, ""),
        }
        for answer in found
    ]


def _told(answer: Answer, metric: str, share: bool = False) -> tuple[str, str]:
    """Value and pointwise 95 % interval as text: per 1,000 users, or as a share of the users."""
    estimate = answer[metric]
    if answer.refused or estimate.verdict == UNANSWERABLE or math.isnan(estimate.value):
        return UNDEFINED, ""
    value = percent(estimate.value) if share else number(1000 * estimate.value)
    if math.isnan(estimate.low) or estimate.low == estimate.high:
        return value, "exact" if estimate.value == 0 else ""
    if share:
        return value, f"{percent(estimate.low)} … {percent(estimate.high)}"
    return value, number_range(1000 * estimate.low, 1000 * estimate.high)


def _change(answer: Answer) -> tuple[str, str]:
    """Relative lift of the headline as text, nothing where it is not to be used."""
    if answer.is_current:
        return "", ""
    if answer.refused:
        return UNDEFINED, ""
    change, interval = _told_change(answer.primary)
    return change, "exact" if answer.makes_no_contacts else interval


def _told_change(estimate: Estimate) -> tuple[str, str]:
    """Relative lift and its simultaneous 95 % interval as text."""
    known = not math.isnan(estimate.change_low)
    interval = percent_range(estimate.change_low, estimate.change_high) if known else ""
    return percent(estimate.change, signed=True), interval


def _verdict(answer: Answer) -> str:
    if answer.is_current:
        return "what the log shows"
    return answer.primary.verdict or "undefined"


def _certainty(answer: Answer, result: Result) -> dict[str, str]:
    """How much of the log speaks for one policy, in numbers and in words."""
    estimate, contacts = answer.primary, result.facts.n_contacts
    if answer.refused or math.isnan(estimate.ess):
        words = sentence(estimate.reason)
    else:
        dominant = estimate.max_weight_share > VISIBLE_WEIGHT_SHARE
        words = f"As informative as {count(estimate.ess)} contacts of its own; " + (
            f"a single contact carries {percent(estimate.max_weight_share)} of the answer."
            if dominant
            else "no single contact decides."
        )
    return {
        "policy": answer.policy,
        "ess": _or_scarce(count(estimate.ess), estimate.ess, MIN_ESS),
        "share": percent(estimate.ess / contacts) if contacts else UNDEFINED,
        "largest": percent(estimate.max_weight_share),
        "interests": _interests_behind(answer, result),
        "balance": _balance(answer, result),
        "words": words,
    }


def _interests_behind(answer: Answer, result: Result) -> str:
    """How many interests carry the number, in effect."""
    rows = result.overlap.loc[result.overlap["policy"] == answer.policy, "effective_positives"]
    if not len(rows) or math.isnan(answer.primary.ess):
        return UNDEFINED
    interests = float(rows.iloc[0])
    return _or_scarce(number(interests), interests, MIN_POSITIVES)


def _or_scarce(text: str, value: float, needed: float) -> str:
    """The text, or where the value is less than is needed the number as the refusal tells it."""
    return f"{below(value):.1f}" if value < needed else text


def _balance(answer: Answer, result: Result) -> str:
    """What the weights add up to, in percent of the contacts that the policy would make: 100 if the model is right."""
    made = answer[CONTACTS].value * result.facts.n_users
    weights = result.weights.get(answer.policy)
    return percent(float(weights.sum()) / made) if weights is not None and made > 0 else UNDEFINED


def _population(result: Result) -> list[tuple[str, str]]:
    facts = result.facts
    rate = facts.n_interests / facts.n_contacts if facts.n_contacts else math.nan
    return [
        ("Users", count(facts.n_users)),
        ("Log", f"{_day(facts.log_start)} to {_last_day(facts.log_end)}"),
        ("Evaluation period", f"{_day(facts.evaluation_start)} to {_last_day(facts.log_end)}"),
        ("Burn-in before it (history only)", _days(result.settings.burn_in)),
        ("Decision points in the evaluation period", count(facts.n_decisions)),
        ("Contacts of the current strategy in it", count(facts.n_contacts)),
        ("Interests that followed", f"{count(facts.n_interests)} ({percent(rate)} of the contacts)"),
        ("Kinds of contact", formats.some(facts.kinds)),
        ("Contact cap", f"one contact in {_days(facts.cap_days)}" if facts.cap_days else "none"),
        ("What it could show", sentence(sentences.power_clause(facts))),
    ]


def _days(days: float) -> str:
    return "1 day" if days == 1 else f"{days:g} days"


def _day(time: datetime) -> str:
    return f"{time:%Y-%m-%d}" if time == datetime(time.year, time.month, time.day) else f"{time:%Y-%m-%d %H:%M}"


def _last_day(end: datetime) -> str:
    """The last day that an exclusive end leaves inside."""
    return f"{end - timedelta(microseconds=1):%Y-%m-%d}"


def _quality_files(result: Result) -> list[tuple[str, FileQuality]]:
    """The account of each file by what it holds, those of an extra log last."""
    files = list(result.quality.files.items())
    if result.extra_quality is not None:
        files += [(f"extra {name}", file) for name, file in result.extra_quality.files.items() if name != "users"]
    return files


def _plain_table(table: pd.DataFrame) -> dict[str, Any]:
    """A table for the page: header and rows of (text, whether the column holds numbers)."""
    names = [METRIC_NAMES.get(str(name), str(name).replace("_", " ")) for name in table.columns]
    numeric = [pd.api.types.is_numeric_dtype(dtype) for dtype in table.dtypes]
    rows = [list(zip(map(_cell, row), numeric, strict=True)) for row in table.itertuples(index=False)]
    return {"header": list(zip(names, numeric, strict=True)), "rows": rows}


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None or pd.isna(value):
        return UNDEFINED
    return number(value) if isinstance(value, float) and not value.is_integer() else count(float(value))


def _estimator_table(result: Result, found: list[Answer]) -> dict[str, Any]:
    """Relative lift of interests per user by estimator (rows) and policy (columns)."""
    asked = [answer for answer in found if answer.is_estimated]
    estimates = by_estimator(result)
    names = dict.fromkeys(name for answer in asked for name in estimates[answer.policy])
    told = {name: [_told_change(estimates[answer.policy].get(name, Estimate())) for answer in asked] for name in names}
    return {
        "policies": [answer.policy + (" (not answered)" if answer.refused else "") for answer in asked],
        "rows": [{"estimator": name, "headline": name == HEADLINE, "cells": cells} for name, cells in told.items()],
    }


def _settings(result: Result) -> list[tuple[str, str]]:
    return [(name.replace("_", " "), _setting(value)) for name, value in result.settings.resolved().items()]


def _setting(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{ours} = {theirs}" for ours, theirs in value.items()) or "as in the files"
    if value is None:
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)

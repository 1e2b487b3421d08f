"""All pictures of a report as PNG bytes, each with a caption and a text for those who cannot see it."""

import io
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import matplotlib as mpl

from engagex_sim.ope.verdict import UNANSWERABLE
from engagex_sim.report import bounds, diagnostics, figures, importance, lifts, style
from engagex_sim.report.answers import Answer, answers, by_estimator
from engagex_sim.report.formats import count, number, percent, percent_range
from engagex_sim.result import CURRENT, HEADLINE, Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Picture:
    """One figure, ready to be written and to be shown."""

    file: str
    png: bytes
    width: int  # CSS pixels; the PNG has twice as many
    alt: str
    caption: str


def draw_pictures(result: Result) -> dict[str, Picture]:
    """The pictures by name, those without data left out. The same result gives the same bytes."""
    wanted: list[tuple[str, bool, Callable[[Result], Figure], str, str]] = [
        (
            "cumulative_interests",
            not result.curves.empty,
            figures.cumulative_interest_figure,
            _curve_alt(result),
            "Interests per 1,000 users, added up from the start of the evaluation period. A band holds the whole curve"
            " of its strategy in 95 % of logs like this one.",
        ),
        ("lift", bool(lifts.shown_lifts(result)), lifts.lift_figure, _lift_alt(result), _LIFT_CAPTION),
        ("estimators", not result.summary.empty, lifts.estimators_figure, _ESTIMATORS_ALT, estimators_text(result)),
        ("weights", bool(result.weights), diagnostics.weights_figure, _weights_alt(result), _WEIGHTS_CAPTION),
        (
            "hidden_cause",
            bool(bounds.bounded(result)),
            bounds.hidden_cause_figure,
            _hidden_alt(result),
            _HIDDEN_CAPTION,
        ),
        (
            "contacts_per_day",
            not result.calibration.empty and not result.facts.propensity_logged,  # else no model is in use
            diagnostics.calibration_figure,
            "Contacts per day in the log and as expected by the model of the current strategy.",
            "That both agree per day is necessary, not sufficient: the weights can be trusted only where the model also"
            " explains whom the current strategy contacts.",
        ),
        (
            "reliability",
            not result.reliability.empty,
            diagnostics.reliability_figure,
            "Observed share against predicted probability in groups of held-out users, one panel per model.",
            "Points on the diagonal mean that a predicted 5 % happens 5 % of the time, for users that the model has"
            " not seen.",
        ),
        (
            "feature_importance",
            not result.feature_importance.empty,
            importance.importance_figure,
            "Importance of each feature for the reward model by SHAP value, permutation and gain.",
            _IMPORTANCE_CAPTION,
        ),
        (
            "feature_effects",
            not result.feature_effects.empty,
            importance.effects_figure,
            "What the values of the most important features do to the predicted odds of interest, one panel each.",
            _EFFECTS_CAPTION,
        ),
    ]
    return {
        name: Picture(f"{name}.png", *_drawn(build, result), alt, caption)
        for name, there, build, alt, caption in wanted
        if there
    }


def _drawn(build: Callable[[Result], "Figure"], result: Result) -> tuple[bytes, int]:
    """PNG bytes and width in CSS pixels, whatever the reader's own matplotlib settings are."""
    with mpl.rc_context(), warnings.catch_warnings():
        mpl.rcdefaults()
        warnings.filterwarnings("ignore", message="Glyph .* missing from font", category=UserWarning)
        figure = build(result)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=style.DPI, metadata={"Software": None})  # no version: same bytes
    return buffer.getvalue(), round(figure.get_size_inches()[0] * style.DPI / 2)


def estimators_text(result: Result) -> str:
    """Why the simplest estimator is not the headline, in plain words and with this log's own numbers."""
    days = f"{result.facts.cap_days:g} days"
    if result.facts.cap_days == 0 or not result.facts.contact_is_a_choice:
        return (
            "No contact forbids another one here, so weighing each decision alone (_step) and weighing with the"
            f" contact probabilities (_cap) are the same. The headline is {HEADLINE}."
        )
    text = (
        f"Why ips_step is not the headline: a contact blocks the next {days}. The top group (_step) weighs each"
        " decision alone, at the moments at which the current strategy happened to be free. Another strategy would"
        " have used its contacts earlier or later and would not have been free at many of these moments, so the top"
        " group can credit it with contacts that the cap forbids."
    )
    exaggerated = _exaggerated(result)
    if exaggerated:
        answer, step = max(exaggerated, key=lambda pair: pair[1] - pair[0].primary.change)
        text += f" Here ips_step says {percent(step, signed=True)} for {answer.policy}, {HEADLINE}"
        text += f" {percent(answer.primary.change, signed=True)}"
        truth = answer.primary.true_change
        text += f"; the truth is {percent(truth, signed=True)}." if math.isfinite(truth) else "."
    return text + (
        " The middle group (_traj) multiplies the weights of a user's whole history: right on average, but noisy. The"
        " bottom group (_cap) works out how likely a strategy is to be free, and to contact, at each moment."
        f" The headline, {HEADLINE}, is a model's prediction corrected by what was logged."
    )


def _exaggerated(result: Result) -> list[tuple[Answer, float]]:
    """The answered policies whose relative lift by `ips_step`, given too, lies above the headline's whole interval."""
    estimates = by_estimator(result)
    steps = [
        (answer, estimates[answer.policy]["ips_step"].change)
        for answer in answers(result)
        if answer.is_estimated and not answer.refused and "ips_step" in estimates[answer.policy]
    ]
    return [(answer, step) for answer, step in steps if step > answer.primary.change_high]


_LIFT_CAPTION = (
    "Change in interests per user against the current strategy, on the same users. The intervals hold for all"
    " strategies at once: in 95 % of logs like this one none of them misses."
)
_ESTIMATORS_ALT = "Estimates of the lift by every estimator, one panel per strategy, grouped by the kind of weights."
_WEIGHTS_CAPTION = (
    "A logged contact that a strategy would make more often than the current one counts more, one that it would make"
    " less often counts less. The effective sample size (ESS) is the number of contacts that would be as informative"
    " if all counted the same."
)
_IMPORTANCE_CAPTION = (
    "What the reward model looks at. SHAP: how far the feature moves a prediction. Permutation: how much worse contacts"
    " are ranked without it; little where another feature tells the same. Importance is not a cause: changing such a"
    " feature need not change interest."
)
_EFFECTS_CAPTION = (
    "By what factor a feature's value multiplies the predicted odds of interest, against the average contact (SHAP);"
    " shaded: 8 of 10 contacts with this value. It describes the model, not what changing the value would do."
)
_HIDDEN_CAPTION = (
    "Strength: the factor by which a cause that the log does not show may multiply the odds of a contact, or divide"
    " them. These intervals are for each strategy on its own."
)


def _curve_alt(result: Result) -> str:
    ends = result.curves.sort_values("day").groupby("policy", sort=False)["cumulative_interests_per_1000"].last()
    refused = {answer.policy for answer in answers(result) if answer.refused}
    return "Cumulative interests per 1,000 users at the end: " + ", ".join(
        f"{policy} {UNANSWERABLE if policy in refused else number(float(value))}" for policy, value in ends.items()
    )


def _lift_alt(result: Result) -> str:
    asked = [answer for answer in answers(result) if not answer.is_reference]
    return "Lift of interests per user: " + "; ".join(_lift_words(answer) for answer in asked)


def _lift_words(answer: Answer) -> str:
    estimate = answer.primary
    if estimate.verdict == UNANSWERABLE:
        return f"{answer.policy} {UNANSWERABLE}"
    interval = percent_range(estimate.change_low, estimate.change_high)
    return f"{answer.policy} {percent(estimate.change, signed=True)} ({interval}), {estimate.verdict}"


def _weights_alt(result: Result) -> str:
    found = [answer for answer in answers(result) if answer.policy in result.weights and answer.policy != CURRENT]
    return "Distribution of importance weights. Effective sample size: " + ", ".join(
        f"{answer.policy} {count(answer.primary.ess)}" for answer in found
    )


def _hidden_alt(result: Result) -> str:
    points = bounds.breaking_points(result)
    told = [f"{a.policy} {number(points[a.policy])}" for a in bounds.bounded(result) if a.policy in points]
    return "Strength of a hidden cause that could explain the whole lift (—: the verdict tells no lift from 0): " + (
        ", ".join(told)
    )

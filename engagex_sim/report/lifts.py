"""The figures of lifts: the headline with its intervals, and how the estimators disagree."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from engagex_sim.ope.verdict import BETTER, NO_DIFFERENCE, UNANSWERABLE, WORSE
from engagex_sim.report import style
from engagex_sim.report.answers import Answer, Estimate, answers, by_estimator
from engagex_sim.report.formats import listing, percent, shortened
from engagex_sim.report.sentences import tally
from engagex_sim.result import HEADLINE, Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PLAIN = ("ips", "snips", "dm", "dr", "sndr")  # whose weights are not shrunk: the figure shows these alone
FAMILIES = {"step": "each decision\nalone", "traj": "whole\nhistories", "cap": "chances under\nthe contact cap"}


def shown_lifts(result: Result) -> list[Answer]:
    """The policies in `lift_figure`: those that were answered with a lift."""
    asked = [answer for answer in answers(result) if answer.is_estimated and not answer.refused]
    return [answer for answer in asked if not math.isnan(answer.primary.change)]


def lift_figure(result: Result) -> "Figure":
    """Lift of interests per user in percent of the current strategy, with simultaneous 95 % intervals.

    Policies that cannot be answered from the log are named, but not shown: their numbers would be believed.
    """
    shown = shown_lifts(result)
    figure = style.new_figure(9, 1.75 + 0.46 * max(len(shown), 1))
    ax = figure.add_subplot()
    colours = style.policy_colours(result)
    estimates = [answer.primary for answer in shown]
    low, high = _limits(estimates, estimates)
    for row, answer in enumerate(shown):
        estimate, colour = answer.primary, colours[answer.policy]
        _interval(ax, estimate, row, (low, high), colour, faint=False)
        settled = estimate.verdict in (BETTER, WORSE)
        ax.plot(
            min(max(100 * estimate.change, low), high),
            row,
            marker="o",
            markersize=8.5,
            color=colour,
            markerfacecolor=colour if settled else "white",
            markeredgewidth=1.8,
        )
        if not math.isnan(estimate.true_change):
            place = 100 * estimate.true_change
            ax.plot(min(max(place, low), high), row, marker="|", color=style.INK, markersize=22, markeredgewidth=1.5)
        change = percent(estimate.change, signed=True)
        ax.annotate(
            f"{change}, {estimate.verdict}".rstrip(", "),
            (1.02, row),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=9.5,
            color=style.QUIET if estimate.verdict == NO_DIFFERENCE else style.INK,
            parse_math=False,
        )
    ax.axvline(0, color=style.CURRENT_COLOUR, linewidth=1.4)
    ax.set_xlim(low, high)
    ax.set_ylim(len(shown) - 0.4, -0.6)
    ax.set_yticks(range(len(shown)), [style.name_of(answer.policy) for answer in shown], parse_math=False)
    ax.set_xlabel("Interests per user against the current strategy, %")
    style.quiet(ax, grid="x")
    ax.tick_params(axis="y", length=0)
    detail = "Line: 95 % interval, valid for all strategies at once. Full dot: a difference is shown; hollow: not."
    if any(not math.isnan(answer.primary.true_change) for answer in shown):
        detail += " Upright stroke: the known truth."
    refused = [style.name_of(answer.policy) for answer in answers(result) if answer.refused]
    if refused:
        detail += f" Not shown, since this log cannot answer for them: {listing(refused)}."
    style.say(ax, tally(result), detail, 104)
    return figure


def estimators_figure(result: Result) -> "Figure":
    """The plain estimators' answers for every policy, by the kind of weights; the headline in the policy's colour."""
    shown = [answer for answer in answers(result) if answer.is_estimated]
    estimates = by_estimator(result)
    every = dict.fromkeys(name for found in estimates.values() for name in found)
    names = _by_family([name for name in every if name.rpartition("_")[0] in PLAIN])
    columns = 2 if len(shown) == 4 else min(3, max(len(shown), 1))
    lines = math.ceil(max(len(shown), 1) / columns)
    figure = style.new_figure(9, 0.75 + lines * (0.95 + 0.165 * len(names)))
    panels = figure.subplots(lines, columns, sharey=True, squeeze=False)
    colours = style.policy_colours(result)
    for place, ax in enumerate(panels.flat):
        if place >= len(shown):
            ax.set_visible(False)
            continue
        answer = shown[place]
        _estimators_panel(ax, answer, estimates[answer.policy], names, colours[answer.policy])
    for ax in panels[:, 0]:
        ax.set_yticks(range(len(names)), names)
        for label, name in zip(ax.get_yticklabels(), names, strict=True):
            label.set_fontweight("bold" if name == HEADLINE else "normal")
        _name_families(ax, names)
    figure.suptitle(
        f"How much the answer depends on the estimator: {HEADLINE} is the headline",
        x=0.008,
        ha="left",
        fontsize=12.5,
        fontweight="bold",
        color=style.INK,
    )
    legend = "Interests per user against the current strategy, %.  Black line: current strategy"
    truths = any(not math.isnan(answer.primary.true_change) for answer in shown)
    legend += "; dotted: the known truth" if truths else ""
    figure.supxlabel(f"{legend}; ◂ ▸: outside the panel", fontsize=9.5, color=style.QUIET)
    return figure


def _estimators_panel(
    ax: "Axes", answer: Answer, found: Mapping[str, Estimate], names: Sequence[str], own_colour: str
) -> None:
    """One policy's estimates, one row per estimator; what lies outside the panel is an arrow at its edge."""
    steady = [found[name] for name in names if name in found and _family(name) != "traj"]
    low, high = _limits([*steady, answer.primary], [answer.primary])
    for place, name in enumerate(names):
        estimate = found.get(name, Estimate())
        headline = name == HEADLINE
        colour = own_colour if headline else "#8a8a8a"
        _interval(ax, estimate, place, (low, high), colour, faint=not headline, width=2.6 if headline else 1.3)
        at = 100 * estimate.change
        if low <= at <= high:
            ax.plot(at, place, marker="o", markersize=6.5 if headline else 4, color=colour, zorder=3)
        elif not math.isnan(at):
            edge, side, text = (low, "left", f"◂ {at:,.0f}") if at < low else (high, "right", f"{at:,.0f} ▸")
            text = text.replace("-", "−")
            ax.text(edge, place, text, ha=side, va="center", fontsize=7.5, color=style.QUIET)
    for place in range(1, len(names)):
        if _family(names[place]) != _family(names[place - 1]):
            ax.axhline(place - 0.5, color="#b0b0b0", linewidth=0.8)
    ax.axvline(0, color=style.CURRENT_COLOUR, linewidth=1.1)
    if not math.isnan(answer.primary.true_change):
        ax.axvline(100 * answer.primary.true_change, color=style.INK, linewidth=1.3, linestyle=":")
    ax.set_xlim(low, high)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.locator_params(axis="x", nbins=5)
    style.quiet(ax, grid="x")
    ax.tick_params(axis="y", length=0)
    refused = " (not answered)" if answer.refused else ""
    name = shortened(answer.policy, 16 if refused else 28)
    ax.set_title(
        name + refused,
        loc="left",
        fontsize=10,
        fontweight="bold",
        color=style.readable(own_colour),
        parse_math=False,
    )


def _name_families(ax: "Axes", names: Sequence[str]) -> None:
    """The kinds of weights, upright left of the estimators' names."""
    for family, label in FAMILIES.items():
        places = [place for place, name in enumerate(names) if _family(name) == family]
        if places:
            ax.annotate(
                label,
                (0, (places[0] + places[-1]) / 2),
                (-86, 0),
                xycoords=("axes fraction", "data"),
                textcoords="offset points",
                rotation=90,
                ha="center",
                va="center",
                fontsize=8.5,
                color=style.QUIET,
            )


def _interval(
    ax: "Axes",
    estimate: Estimate,
    place: float,
    limits: tuple[float, float],
    colour: str,
    faint: bool,
    width: float = 2.2,
) -> None:
    """The interval of the lift in percent as a line, cut at the limits; nothing where undefined."""
    low, high = 100 * estimate.change_low, 100 * estimate.change_high
    if math.isnan(low) or math.isnan(high) or low > limits[1] or high < limits[0]:
        return
    ends = [max(low, limits[0]), min(high, limits[1])]
    ax.plot(ends, [place, place], color=colour, linewidth=width, alpha=0.45 if faint else 0.9, solid_capstyle="butt")


def _limits(estimates: Sequence[Estimate], intervals: Sequence[Estimate]) -> tuple[float, float]:
    """Limits in percent that hold 0, the estimates, the truths, and the `intervals` of what was answered."""
    places = [0.0]
    for estimate in estimates:
        places += [100 * change for change in (estimate.change, estimate.true_change) if math.isfinite(change)]
    for estimate in intervals:
        if estimate.verdict != UNANSWERABLE:
            places += [100 * end for end in (estimate.change_low, estimate.change_high) if math.isfinite(end)]
    low, high = min(places), max(places)
    room = 0.08 * (high - low) if high > low else 1.0
    return low - room, high + room


def _by_family(names: Sequence[str]) -> list[str]:
    """The estimators in the order of their weights: one-step, cumulative, cap-marginal, others."""
    order = list(FAMILIES)
    return sorted(names, key=lambda name: order.index(_family(name)) if _family(name) in order else len(order))


def _family(estimator: str) -> str:
    return estimator.rpartition("_")[2]

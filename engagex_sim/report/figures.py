"""The figure that answers the question: cumulative interests of every policy."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from engagex_sim.columns import FloatArray
from engagex_sim.report import style
from engagex_sim.report.answers import answers
from engagex_sim.report.formats import number
from engagex_sim.report.sentences import title, winner
from engagex_sim.result import CURRENT, Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CROWD = 8  # policies, above which their bands would hide one another
HIGHEST = 3  # policies of a crowd that are shown in full


def plot_cumulative_interest(result: Result, ax: "Axes | None" = None) -> "Axes":
    """Interests per 1,000 users up to each day: one line and one simultaneous 95 % band per policy.

    A policy that cannot be answered from the log is a faint dashed line without a band; a known truth is dotted. Of
    more than `CROWD` policies only the current one, the one that the title names and the highest keep band and truth.
    Without `ax` a pyplot figure is made, so that a notebook shows it.
    """
    if ax is None:
        from matplotlib import pyplot as plt

        ax = plt.subplots(figsize=(9, 5.2), layout="constrained")[1]
    colours = style.policy_colours(result)
    refused = {answer.policy for answer in answers(result) if answer.refused}
    policies = [str(name) for name in result.curves["policy"].unique()]
    full = _drawn_in_full(result, policies)
    # What matters is drawn on top of the rest, and the current strategy on top of all.
    policies.sort(key=lambda name: (name == CURRENT, name in full, name not in refused))
    ends = []
    for policy in policies:
        curve = result.curves[result.curves["policy"] == policy].sort_values("day")
        colour, day = colours[policy], _from_zero(curve["day"])
        height = _from_zero(curve["cumulative_interests_per_1000"])
        if policy in refused:
            ax.plot(day, height, color=colour, linewidth=1.1, linestyle=(0, (5, 4)), alpha=0.4)
        elif policy not in full:
            ax.plot(day, height, color=colour, linewidth=1.0, alpha=0.6)
        else:
            ax.fill_between(
                day, _from_zero(curve["ci_low"]), _from_zero(curve["ci_high"]), color=colour, alpha=0.13, linewidth=0
            )
            ax.plot(day, height, color=colour, linewidth=2.4 if policy == CURRENT else 1.9)
        if policy in full and "truth" in curve and curve["truth"].notna().any():
            alpha = 0.5 if policy in refused else 0.9
            ax.plot(day, _from_zero(curve["truth"]), color=colour, linewidth=1.4, linestyle=":", alpha=alpha)
        told = "(cannot be answered)" if policy in refused else f" {number(height[-1])}"
        ends.append((height[-1], f"{style.name_of(policy)} {told}", colour))
    ax.set_ylim(0, _top(result.curves, refused))
    ax.margins(x=0)
    start = f"{result.facts.evaluation_start:%Y-%m-%d}"
    ax.set(xlabel=f"Days of the evaluation, from {start} on", ylabel="Interests per 1,000 users, cumulative")
    style.quiet(ax)
    style.say(ax, title(result), _curve_detail(result, refused, len(full) < len(policies)))
    style.label_line_ends(ax, [end for end in ends if not math.isnan(end[0])])
    return ax


def cumulative_interest_figure(result: Result) -> "Figure":
    """`plot_cumulative_interest` on a figure of its own, tied to no window system."""
    figure = style.new_figure(9, 5.2)
    plot_cumulative_interest(result, figure.add_subplot())
    return figure


def _from_zero(column: "pd.Series[float]") -> FloatArray:
    """The column after a first 0: nothing has happened before the first day."""
    return np.concatenate([[0.0], column.to_numpy(dtype=np.float64)])


def _top(curves: pd.DataFrame, refused: set[str]) -> float:
    """The height that holds every band that was answered, and refused lines up to half as high again."""
    answered = curves[~curves["policy"].isin(refused)]
    columns = [c for c in ("cumulative_interests_per_1000", "ci_high", "truth") if c in curves]
    top = float(np.nanmax(answered[columns].to_numpy(dtype=np.float64), initial=0.0))
    lines = curves.loc[curves["policy"].isin(refused), "cumulative_interests_per_1000"].to_numpy(dtype=np.float64)
    highest = float(np.nanmax(lines, initial=0.0))
    return 1.06 * (max(top, min(highest, 1.5 * top)) or highest or 1.0)


def _drawn_in_full(result: Result, policies: Sequence[str]) -> set[str]:
    """The policies that are drawn with band and truth: all, or of a crowd the few that the reader looks for."""
    if len(policies) <= CROWD:
        return set(policies)
    told = [answer for answer in answers(result) if answer.is_estimated and not answer.refused]
    told.sort(key=lambda answer: -answer.primary.value)
    best = winner(result)
    return {CURRENT, *(answer.policy for answer in told[:HIGHEST]), *([best.policy] if best is not None else [])}


def _curve_detail(result: Result, refused: set[str], crowded: bool) -> str:
    parts = ["Bands: 95 %, valid for the whole curve."]
    if crowded:
        best = winner(result)
        named = "" if best is None else f", {best.policy}"
        parts[0] = f"Bands, of the current strategy{named} and the highest {HIGHEST}: 95 %, valid for the whole curve."
    if refused:
        parts.append("Dashed: cannot be answered from this log.")
    if "truth" in result.curves and result.curves["truth"].notna().any():
        parts.append("Dotted: the known truth.")
    return " ".join(parts)

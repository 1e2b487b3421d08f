"""The figure of `policy_zoo`: every policy's change against the current strategy, the best first."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from engagex_sim.ope.verdict import BETTER, WORSE
from engagex_sim.report import style
from engagex_sim.report.formats import percent

CONTACTS_AT, REFUSED_AT = 8, 64  # points right of the axes


def zoo_figure(ranking: pd.DataFrame, title: str, bound: float) -> Figure:
    """Change in interests with simultaneous intervals; a known truth is a ring, `bound` (a share) the most to be had.

    `ranking` is the table that `policy_zoo` writes. A refused policy has its name, its contacts and at most its truth.
    """
    figure = style.new_figure(10.5, 1.5 + 0.36 * len(ranking))
    ax = figure.add_subplot()
    place = np.arange(len(ranking))[::-1]
    answered = ranking["lift_percent_low"].notna() & ~ranking["refused"] & ~ranking["exact"]
    rows = ranking[answered]
    y = place[answered.to_numpy()]
    middle = rows["lift_percent"].to_numpy()
    low, high = rows["lift_percent_low"].to_numpy(), rows["lift_percent_high"].to_numpy()
    ax.axvline(0, color=style.INK, linewidth=1.0)
    ax.hlines(y, low, high, color=style.PALETTE[0], linewidth=2.2)
    told = rows["verdict"].isin([BETTER, WORSE]).to_numpy()
    ax.plot(middle[told], y[told], "o", color=style.PALETTE[0], markersize=6)
    ax.plot(middle[~told], y[~told], "o", color=style.PALETTE[0], mfc="white", mew=1.6, markersize=6)
    truth = ranking["true_lift_percent"].to_numpy(dtype=np.float64)
    known = np.isfinite(truth) & ~ranking["exact"].to_numpy()
    if known.any():
        ax.plot(truth[known], place[known], "o", mfc="none", mec=style.PALETTE[1], mew=1.6, markersize=9)
    if np.isfinite(bound):
        ax.axvline(100 * bound, color=style.PALETTE[2], linewidth=1.4, linestyle=(0, (5, 3)))
    exact = ranking["exact"].to_numpy()
    ax.plot(ranking["lift_percent"].to_numpy()[exact], place[exact], "D", color=style.NEVER_COLOUR, markersize=5)
    ax.set(ylim=(-0.7, len(ranking) - 0.1), xlabel="Change in interests per user, percent")
    _beside(ax, "contacts", len(ranking) - 0.4, CONTACTS_AT)
    for at, change, refused in zip(place, ranking["contacts_lift_percent"], ranking["refused"], strict=True):
        _beside(ax, percent(change / 100, signed=True), at, CONTACTS_AT)
        if refused:
            _beside(ax, "cannot be answered", at, REFUSED_AT)
    ax.set_yticks(place, [style.name_of(name) for name in ranking["policy"]])
    style.quiet(ax, grid="x")
    detail = "Lines: 95 %, for all policies at once; open dots: no difference shown. Diamonds are exact."
    if known.any():
        detail += " Rings: the known truth."
    if np.isfinite(bound):
        detail += f" Dashed: what hindsight would have had, {percent(bound, signed=True)}."
    style.say(ax, title, detail, 90)
    return figure


def _beside(ax: Axes, text: str, at: float, column: float) -> None:
    """Small words in a column right of the axes, at the height of a row."""
    ax.annotate(
        text,
        (1.0, at),
        (column, 0),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        va="center",
        fontsize=9,
        color=style.QUIET,
        annotation_clip=False,
    )

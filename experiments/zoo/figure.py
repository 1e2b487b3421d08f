"""The figure of `policy_zoo`: every policy's change against the current strategy, the best first."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from engagex_sim.ope.verdict import BETTER, WORSE
from engagex_sim.report import style
from engagex_sim.report.formats import percent


def zoo_figure(ranking: pd.DataFrame, title: str, bound: float) -> Figure:
    """Change in interests with simultaneous intervals; a known truth is a ring, `bound` (a share) the most to be had.

    `ranking` is the table that `policy_zoo` writes. A refused policy has its name only.
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
        ax.annotate(
            f"with hindsight: {percent(bound, signed=True)}",
            (100 * bound, len(ranking) - 0.45),
            xytext=(-5, 0),
            textcoords="offset points",
            ha="right",
            va="center",
            fontsize=9,
            color=style.readable(style.PALETTE[2]),
        )
    exact = ranking["exact"].to_numpy()
    ax.plot(ranking["lift_percent"].to_numpy()[exact], place[exact], "D", color=style.NEVER_COLOUR, markersize=5)
    left, right = ax.get_xlim()
    for at in place[ranking["refused"].to_numpy()]:
        words = "cannot be answered from this log"
        ax.annotate(words, (left, at), (6, 0), textcoords="offset points", va="center", fontsize=9, color=style.QUIET)
    ax.set(xlim=(left, right), ylim=(-0.7, len(ranking) - 0.2), xlabel="Change in interests per user, percent")
    for at, change in zip(place, ranking["contacts_lift_percent"], strict=True):
        ax.annotate(
            percent(change / 100, signed=True),
            (1.0, at),
            (8, 0),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            va="center",
            fontsize=9,
            color=style.QUIET,
            annotation_clip=False,
        )
    ax.annotate(
        "contacts",
        (1.0, 1.0),
        (8, 2),
        xycoords="axes fraction",
        textcoords="offset points",
        fontsize=9,
        color=style.QUIET,
        annotation_clip=False,
    )
    ax.set_yticks(place, [style.name_of(name) for name in ranking["policy"]])
    style.quiet(ax, grid="x")
    detail = "Lines: 95 %, for all policies at once; open dots: no difference shown. Diamonds are exact."
    if known.any():
        detail += " Rings: the known truth."
    style.say(ax, title, detail)
    return figure

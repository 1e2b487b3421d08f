"""The study of imbalance as one figure: a row per log, a column per question."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from engagex_sim.columns import FloatArray
from engagex_sim.ope.verdict import UNANSWERABLE
from engagex_sim.report import style
from engagex_sim.report.style import INK, PALETTE, QUIET
from engagex_sim.result import HEADLINE
from experiments.imbalance.measure import AS_TRAINED, HELD_OUT, LIFT, RECALIBRATED
from experiments.imbalance.summary import Found

COLOURS = {AS_TRAINED: PALETTE[1], RECALIBRATED: PALETTE[0]}


def draw(summary: pd.DataFrame, path: Path) -> None:
    """Write the figure."""
    imbalance_figure(Found(summary)).savefig(path, dpi=style.DPI, metadata={"Software": None})


def imbalance_figure(found: Found) -> Figure:
    """Ranking, calibration, interests, profit and error of every strategy; without truth, the estimated lift."""
    known = ~np.isnan(
        [found(log, found.strategies[0], RECALIBRATED, "xgb_greedy", "true_interests_per_user") for log in found.logs]
    )
    columns = _QUESTIONS if known.all() else _WITHOUT_TRUTH
    height = 1.5 + len(found.logs) * (0.55 + 0.3 * len(found.strategies))
    figure = style.new_figure(2.0 + 2.5 * len(columns), height)
    panels = figure.subplots(len(found.logs), len(columns), squeeze=False, sharey=True)
    place = np.arange(len(found.strategies))
    for number, (row, log) in enumerate(zip(panels, found.logs, strict=True), start=1):
        for ax, (_, detail, question) in zip(row, columns, strict=True):
            question(ax, found, log)
            ax.set_ylim(len(place) - 0.5, -0.5)
            ax.tick_params(axis="y", length=0)
            if number == len(panels):
                ax.set_xlabel(detail)
        row[0].set_yticks(place, found.strategies)
        row[0].set_ylabel(log, color=INK, fontsize=10.5, fontweight="bold")
    for ax, (title, _, _) in zip(panels[0], columns, strict=True):
        style.say(ax, title, "", 40, 10.5)
    handles = [
        Line2D([], [], marker="o", linestyle="", color=COLOURS[stage], label=stage, markerfacecolor=_fill(stage))
        for stage in COLOURS
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return figure


def _fill(stage: str) -> str:
    return "white" if stage == AS_TRAINED else COLOURS[stage]


def _ends(found: Found, log: str, key: tuple[str, str, str]) -> tuple[FloatArray, FloatArray]:
    """Of lines around the means: two standard errors of the difference to none, or its range over splits of one log."""
    mean, difference, error, least, greatest = (
        np.array([found(log, s, *key, column) for s in found.strategies])
        for column in ("mean", "difference", "difference_error", "difference_least", "difference_greatest")
    )
    if log in found.split_logs:
        return mean + least - difference, mean + greatest - difference
    reach = 2 * np.nan_to_num(error)
    return mean - reach, mean + reach


def _dots(ax: Axes, values: list[float], stage: str) -> None:
    place = np.arange(len(values))
    size = 6.5 if stage == AS_TRAINED else 5
    ax.plot(values, place, "o", color=COLOURS[stage], markerfacecolor=_fill(stage), markersize=size, clip_on=False)


def _quiet(ax: Axes) -> None:
    ax.xaxis.set_major_locator(MaxNLocator(4))
    style.quiet(ax, grid="x")


def _roc_auc(ax: Axes, found: Found, log: str) -> None:
    key = (RECALIBRATED, HELD_OUT, "roc_auc")
    values = [found(log, s, *key) for s in found.strategies]
    low, high = _ends(found, log, key)
    ax.hlines(np.arange(len(values)), low, high, color=COLOURS[RECALIBRATED], linewidth=1.3)
    _dots(ax, values, RECALIBRATED)
    if np.ptp([low, high]) < 0.02:  # small differences are not to look large
        middle = float(np.mean(values))
        ax.set_xlim(middle - 0.02, middle + 0.02)
    _quiet(ax)


def _predicted(ax: Axes, found: Found, log: str) -> None:
    for stage in COLOURS:
        _dots(ax, [found(log, s, stage, HELD_OUT, "predicted_per_interest") for s in found.strategies], stage)
    ax.axvline(1, color=QUIET, linewidth=0.9)
    ax.set_xscale("log")
    style.quiet(ax, grid="x")
    ax.set_xlim(0.5, 40)
    ax.set_xticks([0.5, 1, 3, 10, 30], ["0.5", "1", "3", "10", "30"])
    ax.minorticks_off()


def _interests(ax: Axes, found: Found, log: str) -> None:
    key = (RECALIBRATED, "xgb_greedy", "true_interests_per_contact")
    values = [1000 * found(log, s, *key) for s in found.strategies]
    low, high = _ends(found, log, key)
    ax.hlines(np.arange(len(values)), 1000 * low, 1000 * high, color=COLOURS[RECALIBRATED], linewidth=1.3)
    _dots(ax, values, RECALIBRATED)
    if np.ptp(values) < 0.2 * np.mean(values):
        middle = float(np.mean(values))
        ax.set_xlim(0.9 * middle, 1.1 * middle)
    _quiet(ax)


def _profit(ax: Axes, found: Found, log: str) -> None:
    for stage in COLOURS:
        values = [1000 * found(log, s, stage, "xgb_profit", "true_profit_per_user") for s in found.strategies]
        _dots(ax, values, stage)
    ax.axvline(0, color=QUIET, linewidth=0.9)
    _quiet(ax)


def _error(ax: Axes, found: Found, log: str) -> None:
    for stage in COLOURS:
        _dots(ax, [found(log, s, stage, "uniform", HEADLINE, "rmse") for s in found.strategies], stage)
    ax.set_xlim(left=0)
    _quiet(ax)


def _lift(ax: Axes, found: Found, log: str) -> None:
    place = np.arange(len(found.strategies))
    for stage, off in ((AS_TRAINED, 0.12), (RECALIBRATED, -0.12)):
        middle, low, high = (
            np.array([found(log, s, stage, "xgb_greedy", LIFT, c) for s in found.strategies])
            for c in ("mean", "low", "high")
        )
        for line, s in enumerate(found.strategies):
            if found.verdict(log, s, stage, "xgb_greedy") == UNANSWERABLE:  # its number would be believed
                ax.text(0, line + off, " cannot be answered", va="center", fontsize=8, color=COLOURS[stage])
                middle[line] = low[line] = high[line] = np.nan
        ax.hlines(place + off, low, high, color=COLOURS[stage], linewidth=1.5)
        ax.plot(middle, place + off, "o", color=COLOURS[stage], markerfacecolor=_fill(stage), markersize=5)
    ax.axvline(0, color=QUIET, linewidth=0.9)
    _quiet(ax)


_QUESTIONS: tuple[tuple[str, str, Callable[[Axes, Found, str], None]], ...] = (
    ("Does it rank better?", "ROC AUC, held-out users", _roc_auc),
    ("Are its chances right?", "Interests predicted\nper actual one", _predicted),
    ("Does it choose better?", "True interests of xgb_greedy\nper 1,000 contacts", _interests),
    ("Does it pay?", "True profit of xgb_profit\nper 1,000 users", _profit),
    ("Is the answer right?", f"RMSE of {HEADLINE} for uniform,\n% of the truth", _error),
)
_WITHOUT_TRUTH = (
    *_QUESTIONS[:2],
    ("Does it choose better?", "Estimated change by xgb_greedy,\n%, with interval", _lift),
)

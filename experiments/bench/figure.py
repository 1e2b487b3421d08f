"""One picture: where a run's time goes at each size, and how many times as fast it is as the naive way."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from engagex_sim.report import style
from engagex_sim.report.formats import number
from engagex_sim.report.style import INK, PALETTE, QUIET
from experiments.bench.stages import BLOCKS, LEARNING, READING, SURVEY
from experiments.bench.tables import COLD, WHOLE, shares

OTHERS = "all else"
COLOURS = {READING: PALETTE[0], SURVEY: PALETTE[5], LEARNING: PALETTE[4], BLOCKS: PALETTE[2], OTHERS: "#b8b8b8"}
NARROW = 0.06  # of the panel's width: a part this small gets no number


def bench_figure(stages: pd.DataFrame, ratios: pd.DataFrame, machine: str) -> Figure:
    """Stages per million rows, one bar per size and run; ratios on a log scale."""
    runs = shares(stages)
    figure = style.new_figure(13, 2.2 + 0.46 * max(len(runs), len(ratios)))
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    _bars(left, runs, stages, machine)
    _ratios(right, ratios)
    handles = [left.barh(0, 0, color=colour, label=stage) for stage, colour in COLOURS.items()]
    legend = figure.legend(handles=handles, loc="outside lower left", ncols=len(handles), frameon=False, fontsize=9)
    for text in legend.get_texts():
        text.set_color(INK)
    return figure


def _bars(ax: Axes, runs: pd.DataFrame, stages: pd.DataFrame, machine: str) -> None:
    named = runs.reindex(columns=[stage for stage in COLOURS if stage != OTHERS], fill_value=0.0)
    parts = named.assign(**{OTHERS: runs.sum(axis=1) - named.sum(axis=1)})
    whole = stages[stages["stage"] == WHOLE].set_index(["rows", "run"])
    largest = stages["rows"].max()
    longest = float(parts.sum(axis=1).max())
    labels = []
    for place, (key, row) in enumerate(parts.iterrows()):
        rows, run = key if isinstance(key, tuple) else (key, "")
        begin = 0.0
        for stage, colour in COLOURS.items():
            width = float(row[stage])
            ax.barh(place, width, left=begin, height=0.66, color=colour)
            if width > NARROW * longest:
                ax.text(begin + width / 2, place, number(width, 2), ha="center", va="center", color="white", fontsize=9)
            begin += width
        total = whole.loc[(rows, run)]
        told = f"{_span(float(total['seconds']))}, {number(float(total['peak_gib']), 2)} GiB"
        ax.text(begin + 0.012 * longest, place, told, va="center", color=INK, fontsize=9.5)
        labels.append(f"{_millions(int(rows))} rows, {'first time' if run == COLD else 'again'}")
    ax.set_yticks(range(len(labels)), labels)
    ax.set_ylim(len(labels) - 0.4, -0.6)
    ax.set_xlim(0, 1.24 * longest)
    ax.set_xlabel("Seconds per million rows")
    style.quiet(ax, grid="x")
    ax.tick_params(axis="y", length=0)
    style.say(
        ax,
        f"{_millions(int(largest))} rows take {_span(float(whole.loc[(largest, COLD), 'seconds']))}",
        f"baseline_vs_xgb, from two files to the report. {machine}. Where bars are of equal length, time grows as the"
        " log does.",
        width=88,
    )


def _ratios(ax: Axes, ratios: pd.DataFrame) -> None:
    names = []
    for place, row in enumerate(ratios.to_dict("records")):
        ratio = float(row["ratio"])
        ax.barh(place, ratio - 1, left=1, height=0.66, color=PALETTE[0] if ratio >= 1 else PALETTE[1])
        rates = f"{_rate(row['ours'])} beside {_rate(row['naive'])} {row['unit']}/s"
        ax.text(max(ratio, 1.0) * 1.15, place - 0.16, f"{number(ratio, 2)} ×", va="center", color=INK, fontsize=9.5)
        ax.text(max(ratio, 1.0) * 1.15, place + 0.2, rates, va="center", color=QUIET, fontsize=8)
        names.append(f"{row['what']}\n{row['naive_way']}")
    ax.axvline(1, color=QUIET, linewidth=0.9)
    ax.set_xscale("log")
    ax.set_xlim(min(0.5, 0.8 * float(ratios["ratio"].min())), 2000 * float(ratios["ratio"].max()))
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.4, -0.6)
    style.quiet(ax, grid="x")
    ax.set_xticks([10.0**power for power in range(6) if 10.0**power < 10 * ratios["ratio"].max()])
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlabel("Log scale")
    ax.tick_params(axis="y", length=0)
    style.say(ax, "Times as fast as the naive way", "Named below each piece of work; same rows, same run.", width=46)


def _rate(per_second: float) -> str:
    if per_second >= 1e6:
        return f"{number(per_second / 1e6, 2)} M"
    return f"{number(per_second / 1e3, 2)} k" if per_second >= 1e3 else number(per_second, 2)


def _millions(rows: int) -> str:
    return f"{rows / 1e6:.3g} M" if rows >= 1_000_000 else f"{rows:,}"


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{number(seconds, 2)} s"
    return f"{int(seconds // 60)} min {int(seconds % 60)} s"

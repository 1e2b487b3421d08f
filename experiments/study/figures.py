"""The study's figures: does the headline cover, and how far off is each estimator."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullFormatter

from engagex_sim.report import style
from engagex_sim.report.style import CURRENT_COLOUR, GRID, INK, PALETTE, QUIET
from engagex_sim.result import CURRENT, HEADLINE, PRIMARY
from experiments.study.cells import EQUAL, cells_of
from experiments.study.claims import SUPPORTED
from experiments.study.score import COVERS, headline, records

WANTED = (94.0, 96.5)  # percent of runs, pooled over a world's policies
FAMILIES = {"step": "one-step weights", "traj": "cumulative weights", "cap": "cap-marginal weights"}
FAMILY_COLOURS = dict(zip(FAMILIES, (PALETTE[1], PALETTE[4], PALETTE[0]), strict=True))
SMALLEST = 0.2  # percent: what is nearer to 0 is drawn here
LINE = 0.165  # inches
MOST = 9  # cells in the figure of coverage


def draw(accuracy: pd.DataFrame, directory: Path) -> None:
    """Write `coverage.png` and `estimators.png`, where there is anything to show."""
    for name, figure in (("coverage", coverage_figure(accuracy)), ("estimators", estimator_figure(accuracy))):
        if figure is not None:
            figure.savefig(directory / f"{name}.png", dpi=style.DPI)


def coverage_figure(accuracy: pd.DataFrame) -> Figure | None:
    """Coverage of the headline by world and policy, and on which side it misses; worlds whose assumptions hold."""
    holding = [name for small in (True, False) for name, cell in cells_of(small).items() if cell.holds]
    own = headline(accuracy)
    told = (own["runs"] > 1) & (own["answered"] >= SUPPORTED) & own["coverage"].notna()
    own = own[own["cell"].isin(holding) & told]
    cells = [name for name in dict.fromkeys(holding) if (own["cell"] == name).any()][:MOST]
    if not cells:
        return None
    policies = [str(name) for name in own["policy"].unique()]
    colours = {CURRENT: CURRENT_COLOUR} | dict(zip([p for p in policies if p != CURRENT], PALETTE, strict=False))
    lines = own[own["cell"].isin(cells)].copy()
    lines["place"] = _places(lines, cells, policies)
    figure = style.new_figure(11, 1.7 + LINE * (len(lines) + 0.8 * len(cells)))
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    left.axvspan(*WANTED, color="#0072B2", alpha=0.10, linewidth=0)
    left.axvline(95, color=QUIET, linewidth=0.9)
    right.axvline(0, color=QUIET, linewidth=0.9)
    for line in records(lines):
        colour = colours[line["policy"]]
        reach = 1.96 * line["coverage_error"]
        ends = [max(line["coverage"] - reach, 0.0), min(line["coverage"] + reach, 100.0)]
        left.plot(ends, [line["place"]] * 2, color=colour, linewidth=1.4, alpha=0.6, solid_capstyle="butt")
        left.plot(line["coverage"], line["place"], "o", color=colour, markersize=5)
        right.barh(line["place"], line["truth_above"], height=0.62, color=colour, alpha=0.85)
        right.barh(line["place"], -line["truth_below"], height=0.62, color=colour, alpha=0.45)
    ticks = {cell: lines.loc[lines["cell"] == cell, "place"].mean() for cell in cells}
    left.set_yticks(list(ticks.values()), list(ticks))
    left.set_ylim(lines["place"].max() + 1, lines["place"].min() - 1)
    left.set_xlim(max(0.0, min(90.0, np.floor(lines["coverage"].min() - 1.5))), 100)
    limit = max(6.0, 1.1 * float(lines[["truth_above", "truth_below"]].to_numpy().max()))
    right.set_xlim(-limit, limit)
    right.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{abs(value):g}"))
    left.set_xlabel("Runs whose 95 % interval holds the truth, %, ± 2 standard errors")
    right.set_xlabel("← truth below the interval, %      truth above, % →")
    for ax in (left, right):
        style.quiet(ax, grid="x")
        ax.tick_params(axis="y", length=0)
        for cell in cells[1:]:
            ax.axhline(lines.loc[lines["cell"] == cell, "place"].min() - 0.9, color=GRID, linewidth=0.8)
    style.say(
        left,
        f"How often the interval of {HEADLINE} holds the truth",
        "Interests per user, runs with an answer. The band is what is wanted of the pooled coverage of a world.",
        width=78,
    )
    handles = [Line2D([], [], marker="o", linestyle="", color=colours[p], label=p) for p in policies]
    legend = figure.legend(handles=handles, loc="outside lower center", ncols=len(policies), frameon=False, fontsize=9)
    for text in legend.get_texts():
        text.set_color(INK)
    return figure


def _places(lines: pd.DataFrame, cells: Sequence[str], policies: Sequence[str]) -> list[float]:
    """The height of each line: by cell, then by policy, with a gap between cells."""
    keys = sorted({(cells.index(c), policies.index(p)) for c, p in zip(lines["cell"], lines["policy"], strict=True)})
    height = {key: i + 0.8 * key[0] for i, key in enumerate(keys)}
    return [height[cells.index(c), policies.index(p)] for c, p in zip(lines["cell"], lines["policy"], strict=True)]


def estimator_figure(accuracy: pd.DataFrame, cell: str = "visits") -> Figure | None:
    """Root mean squared error and bias of every estimator, one panel per policy, on a log scale."""
    own = accuracy[
        (accuracy["cell"] == cell)
        & (accuracy["metric"] == PRIMARY)
        & (accuracy["policy"] != CURRENT)
        & (accuracy["runs"] > 1)
    ]
    policies = [str(name) for name in own["policy"].unique() if name != EQUAL][:4]
    if not policies:
        return None
    names = sorted(own["estimator"].unique(), key=lambda name: list(FAMILIES).index(_family(name)))
    place = {name: i + 0.9 * list(FAMILIES).index(_family(name)) for i, name in enumerate(names)}
    figure = style.new_figure(2.6 * len(policies) + 1.8, 2.0 + 0.165 * len(names))
    axes = np.atleast_1d(np.asarray(figure.subplots(1, len(policies), sharey=True, sharex=True)))
    for ax, policy in zip(axes, policies, strict=True):
        _estimators(ax, own[own["policy"] == policy], place)
        ax.text(
            0.98, 1.01, policy, transform=ax.transAxes, ha="right", va="bottom", color=INK, fontsize=10.5, weight="bold"
        )
    axes[0].set_yticks(list(place.values()), list(place))
    axes[0].set_ylim(max(place.values()) + 0.8, -0.8)
    for label in axes[0].get_yticklabels():
        label.set(fontsize=8, fontweight="bold" if label.get_text() == HEADLINE else "normal")
    figure.text(0.01, 0.985, "How far off each estimator is", va="top", color=INK, fontsize=12.5, weight="bold")
    detail = (
        f"{cell}, interests per user, % of the truth, log scale. Dot: root mean squared error; filled where at least"
        f" {COVERS:g} % of the intervals hold the truth. Tick: bias."
    )
    figure.text(0.01, 0.985 - 0.27 / figure.get_figheight(), detail, va="top", color=QUIET, fontsize=9.5)
    engine = figure.get_layout_engine()
    assert isinstance(engine, ConstrainedLayoutEngine)  # new_figure gives it
    engine.set(rect=(0, 0, 1, 1 - 0.55 / figure.get_figheight()))
    handles = [
        Line2D([], [], marker="o", linestyle="", color=FAMILY_COLOURS[family], label=label)
        for family, label in FAMILIES.items()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=9)
    return figure


def _estimators(ax: Axes, rows: pd.DataFrame, place: dict[str, float]) -> None:
    for row in records(rows):
        y, colour = place[row["estimator"]], FAMILY_COLOURS[_family(row["estimator"])]
        rmse, bias = max(row["rmse"], SMALLEST), max(abs(row["bias"]), SMALLEST)
        covers = row["coverage"] >= COVERS
        if row["estimator"] == HEADLINE:
            ax.axhspan(y - 0.5, y + 0.5, color=GRID, alpha=0.8, linewidth=0)
        ax.plot([bias, rmse], [y, y], color=colour, linewidth=0.8, alpha=0.35)
        ax.plot(bias, y, "|", color=colour, markersize=8, markeredgewidth=1.6)
        ax.plot(rmse, y, "o", color=colour, markersize=5.5, markerfacecolor=colour if covers else "white")
    ax.set_xscale("log")
    style.quiet(ax, grid="x")
    ax.set_xticks([0.2, 1, 10, 100], ["≤ 0.2", "1", "10", "100"])
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.tick_params(axis="y", length=0)


def _family(estimator: str) -> str:
    return estimator.rsplit("_", 1)[1]

"""The figures of what the reward model looks at: how much each feature matters, and what its values do."""

import math
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from engagex_sim.columns import FloatArray
from engagex_sim.report import style
from engagex_sim.report.formats import shortened
from engagex_sim.result import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOUR, FAINT = "#0072B2", "#5b6b7a"
MOST = 12  # features in the figure of importance
PANELS = 6  # features whose values are shown
NONE = "none"  # a missing value


def importance_figure(result: Result) -> "Figure":
    """The most important features by three measures, in the order of the last one."""
    table = result.feature_importance.head(MOST)
    place = np.arange(len(table), dtype=np.float64)
    figure = style.new_figure(10, 1.7 + 0.27 * len(table))
    panels = figure.subplots(1, 3, sharey=True)
    shap, permutation, gain = panels
    _bars(shap, place, table["shap"], COLOUR, "Moves the log odds by, on average")
    _bars(permutation, place, 100 * table["permutation"], FAINT, "ROC AUC lost when shuffled, points")
    spread = 100 * table["permutation_sd"].to_numpy(dtype=np.float64)
    permutation.errorbar(
        100 * table["permutation"], place, xerr=spread, fmt="none", ecolor=style.INK, elinewidth=1, capsize=2
    )
    _bars(gain, place, 100 * table["gain"], FAINT, "Share of the gain in training, %")
    shap.set_yticks(place, [shortened(str(name), 24) for name in table["feature"]], parse_math=False)
    shap.set_ylim(len(table) - 0.4, -0.6)
    style.say(shap, "SHAP value", "Held-out users", 40, 10.5)
    style.say(permutation, "Permutation", "Held-out users; bar: spread of repeats", 40, 10.5)
    style.say(gain, "Gain", "Users that it learned from", 40, 10.5)
    return figure


def _bars(ax: "Axes", place: FloatArray, column: "pd.Series[float]", colour: str, label: str) -> None:
    ax.barh(place, np.nan_to_num(column.to_numpy(dtype=np.float64)), color=colour, height=0.66)
    ax.set_xlabel(label)
    ax.xaxis.set_major_locator(MaxNLocator(5))
    style.quiet(ax, grid="x")
    ax.tick_params(axis="y", length=0)
    if column.isna().all():
        ax.text(0.5, 0.5, "undefined", transform=ax.transAxes, ha="center", color=style.QUIET)


def effects_figure(result: Result) -> "Figure":
    """What the values of the most important features do to the odds of interest, one panel each."""
    table = result.feature_effects
    features = list(dict.fromkeys(table["feature"]))[:PANELS]
    columns = min(3, len(features))
    lines = math.ceil(len(features) / columns)
    figure = style.new_figure(10, 0.6 + 2.5 * lines)
    panels = figure.subplots(lines, columns, sharey=True, squeeze=False)
    for ax, feature in zip(panels.flat, features, strict=False):
        _effect_panel(ax, table[table["feature"] == feature])
        style.say(ax, shortened(feature, 28), "", 40, 10.5)
    for ax in panels.flat[len(features) :]:
        ax.set_visible(False)
    ends = table.loc[table["feature"].isin(features), ["effect_low", "effect_high"]].to_numpy(dtype=np.float64)
    reach = max(float(np.abs(ends).max(initial=0.0)), math.log(1.25))
    panels[0, 0].set_ylim(-1.08 * reach, 1.08 * reach)
    _odds_ticks(panels[0, 0], reach)
    for ax in panels[:, 0]:
        ax.set_ylabel("Odds of interest, times")
    return figure


def _effect_panel(ax: "Axes", rows: pd.DataFrame) -> None:
    """Numbers as a line over their values, text as dots; the range holds 8 of 10 contacts."""
    rows = rows.sort_values("effect") if _is_text(rows) else rows
    effect, low, high = (rows[name].to_numpy(dtype=np.float64) for name in ("effect", "effect_low", "effect_high"))
    missing = rows["value"].isna().to_numpy()
    ax.axhline(0, color="#9a9a9a", linewidth=1, linestyle=(0, (4, 3)))
    if _is_text(rows):
        place = np.arange(len(rows), dtype=np.float64)
        names = [NONE if gap else shortened(str(value), 10) for value, gap in zip(rows["value"], missing, strict=True)]
        ax.set_xticks(place, names, parse_math=False)
        if len(rows) > 5:
            ax.tick_params(axis="x", rotation=60)
        dots = np.ones(len(rows), dtype=np.bool_)
    else:
        values = rows["value"].astype(float).to_numpy()
        span = float(np.ptp(values[~missing])) if (~missing).any() else 1.0
        place = np.where(missing, np.nanmax(values, initial=0.0) + 0.15 * (span or 1.0), values)
        ax.fill_between(place[~missing], low[~missing], high[~missing], color=COLOUR, alpha=0.18, linewidth=0)
        ax.plot(place[~missing], effect[~missing], "o-", color=COLOUR, markersize=3.5, linewidth=1.4)
        if missing.any():
            ax.annotate(
                NONE,
                (place[missing][0], high[missing][0]),
                (0, 4),
                textcoords="offset points",
                ha="center",
                fontsize=8.5,
                color=style.QUIET,
            )
        dots = missing
    ax.vlines(place[dots], low[dots], high[dots], color=COLOUR, alpha=0.35, linewidth=5)
    ax.plot(place[dots], effect[dots], "o", color=COLOUR, markersize=5)
    style.quiet(ax)


def _is_text(rows: pd.DataFrame) -> bool:
    return any(isinstance(value, str) for value in rows["value"])


def _odds_ticks(ax: "Axes", reach: float) -> None:
    """Ticks of log odds at round factors of the odds, as many as fit."""
    factors = [f for f in (1.05, 1.1, 1.25, 1.5, 2, 3, 5, 10, 30, 100, 1000) if math.log(f) <= reach]
    kept: list[float] = []
    for factor in sorted(factors, reverse=True):
        if not kept or (math.log(kept[-1] / factor) > 0.3 * reach and math.log(factor) > 0.25 * reach):
            kept.append(factor)
    ticks = [1 / f for f in kept] + [1.0] + sorted(kept)
    ax.set_yticks([math.log(f) for f in ticks], [f"{f:.2g}" for f in ticks])

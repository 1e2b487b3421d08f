"""The figures behind the answer: overlap of strategies, the two models' calibration."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from engagex_sim.columns import FloatArray
from engagex_sim.report import style
from engagex_sim.report.answers import Answer, answers
from engagex_sim.report.formats import count, number, percent, shortened
from engagex_sim.result import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

REWARD_COLOUR = "#333333"
LOWEST_WEIGHT, HIGHEST_WEIGHT = -3, 4  # powers of ten that the weights figure can show


def weights_figure(result: Result) -> "Figure":
    """Importance weights of the logged contacts on a log scale, one row per policy, with the ESS."""
    found = {answer.policy: answer for answer in answers(result)}
    shown = [(found.get(name, Answer(name)), weights) for name, weights in result.weights.items() if weights.any()]
    figure = style.new_figure(9, 1.35 + 0.92 * max(len(shown), 1))
    colours = style.policy_colours(result)
    if not shown:
        style.say(figure.add_subplot(), "There are no weighted contacts", "")
        return figure
    edges, left = _weight_bins([weights for _, weights in shown])
    panels = figure.subplots(len(shown), 1, sharex=True, squeeze=False)[:, 0]
    for ax, (answer, weights) in zip(panels, shown, strict=True):
        _weights_panel(ax, answer, weights, edges, left, colours[answer.policy])
    powers = np.arange(math.ceil(edges[0]), math.floor(edges[-1]) + 1)
    labels = [f"{'≤' if power == LOWEST_WEIGHT else ''}{10.0**power:g}" for power in powers]
    panels[-1].set_xticks([left, *powers], ["0", *labels])
    panels[-1].set_xlabel("Importance weight of a logged contact, log scale")
    style.say(
        panels[0],
        "How much of the log speaks for each strategy",
        "Around 1 the strategy would have made about the same contacts; at 0 it would not have made this contact. Few"
        " contacts with large weights make an answer uncertain.",
        98,
    )
    return figure


def _weight_bins(weights: Sequence[FloatArray]) -> tuple[FloatArray, float]:
    """Edges of the bins in powers of ten, common to all policies, and the place of the bar for zero weights."""
    positive = np.concatenate([w[w > 0] for w in weights])
    low, high = -1.0, 1.0
    if len(positive):
        logs = np.log10(positive)
        low, high = min(low, math.floor(logs.min())), max(high, math.ceil(logs.max()))
    edges = np.linspace(max(low, LOWEST_WEIGHT), min(high, HIGHEST_WEIGHT), 61)
    return edges, float(edges[0] - 0.5)


def _weights_panel(
    ax: "Axes", answer: Answer, weights: FloatArray, edges: FloatArray, left: float, colour: str
) -> None:
    logs = np.clip(np.log10(weights[weights > 0]), edges[0], edges[-1])
    shares = np.histogram(logs, edges)[0] / len(weights)
    zero = float(np.mean(weights == 0))
    ax.bar(edges[:-1], shares, width=np.diff(edges), align="edge", color=colour, alpha=0.75, linewidth=0)
    ax.bar(left, zero, width=0.2, color="#bdbdbd", linewidth=0)
    if zero > 0:
        ax.annotate(
            percent(zero),
            (left + 0.12, 0.9),
            xycoords=("data", "axes fraction"),
            fontsize=8,
            color=style.QUIET,
            va="top",
        )
    ax.axvline(0, color=style.INK, linewidth=0.9, linestyle=(0, (2, 2)))
    ax.set_ylim(0, 1.15 * float(shares.max()) if shares.max() > 0 else 1.0)
    ax.set_yticks([])
    style.quiet(ax)
    ax.tick_params(axis="x", length=0)
    ax.spines["left"].set_visible(False)
    ax.annotate(
        style.name_of(answer.policy),
        (0, 0.5),
        (-8, 0),
        xycoords="axes fraction",
        textcoords="offset points",
        ha="right",
        va="center",
        fontsize=10,
        fontweight="bold",
        color=style.readable(colour),
        parse_math=False,
    )
    estimate = answer.primary
    told = [
        f"ESS {count(estimate.ess)} of {count(len(weights))}",
        f"largest weight {number(float(weights.max()), 2)}",
        f"{percent(estimate.max_weight_share)} of all weight",
    ]
    ax.annotate("\n".join(told), (1.012, 0.5), xycoords="axes fraction", va="center", fontsize=8.5, color=style.INK)


def reliability_figure(result: Result) -> "Figure":
    """Held-out reliability of each model: observed share against predicted probability, with 95 % intervals."""
    models = [str(name) for name in result.reliability["model"].unique()]
    figure = style.new_figure(9 if len(models) > 1 else 5.2, 4.6)
    panels = figure.subplots(1, max(len(models), 1), squeeze=False)[0]
    for ax, model in zip(panels, models, strict=False):
        bins = result.reliability[result.reliability["model"] == model]
        predicted = 100 * bins["predicted"].to_numpy(dtype=np.float64)
        observed = 100 * bins["observed"].to_numpy(dtype=np.float64)
        low, high = _wilson(observed / 100, bins["n"].to_numpy(dtype=np.float64))
        top = 1.08 * max(float(np.nanmax(predicted, initial=0.1)), float(np.nanmax(observed, initial=0.1)))
        ax.plot([0, top], [0, top], color="#9a9a9a", linewidth=1, linestyle=(0, (4, 3)))
        ax.vlines(predicted, 100 * low, 100 * high, color=REWARD_COLOUR, linewidth=1.3, alpha=0.55)
        ax.plot(predicted, observed, "o-", color=REWARD_COLOUR, markersize=5, linewidth=1.2)
        ax.set(xlim=(0, top), ylim=(0, top), aspect="equal", xlabel="Predicted, %", ylabel="Observed, %")
        style.quiet(ax)
        style.say(ax, _titled(model, "predicted and observed"), "Held-out users in equal groups; bars: 95 %", 50, 11.5)
    return figure


def _titled(model: str, what: str) -> str:
    return f"{shortened(model, 24).capitalize()}: {what}"


def _wilson(share: FloatArray, n: FloatArray) -> tuple[FloatArray, FloatArray]:
    """95 % interval of a share of n, shapes (bins,) (Wilson, 1927)."""
    z = 1.959964
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return centre - half, centre + half


def calibration_figure(result: Result) -> "Figure":
    """Contacts per day in the log against those that the model of the logging policy expects."""
    table = result.calibration.sort_values("day")
    figure = style.new_figure(9, 3.4)
    ax = figure.add_subplot()
    logged, expected = table["contacts"].to_numpy(dtype=np.float64), table["expected"].to_numpy(dtype=np.float64)
    day = table["day"].to_numpy(dtype=np.float64)
    dot = 4 if len(day) <= 31 else 2
    ax.bar(day, logged, width=0.72 * np.diff(day, prepend=0.0), color="#c9cfd5", label="in the log")
    ax.plot(day, expected, color="#B3261E", marker="o", markersize=dot, linewidth=1.6, label="expected by the model")
    ax.set(xlabel=f"Day of the evaluation, from {result.facts.evaluation_start:%Y-%m-%d} on", ylabel="Contacts")
    ax.set_ylim(0, 1.22 * max(float(np.nanmax(logged, initial=1.0)), float(np.nanmax(expected, initial=1.0))))
    ax.margins(x=0.01)
    style.quiet(ax)
    ax.legend(frameon=False, loc="upper right", ncols=2, fontsize=9)
    ratio = expected.sum() / logged.sum() if logged.sum() > 0 else math.nan
    style.say(
        ax,
        "Contacts per day: the log and the model of the current strategy",
        f"Expected over all days: {percent(ratio)} of the logged contacts.",
    )
    return figure

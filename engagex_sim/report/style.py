"""The look that all figures share: one colour per policy, quiet axes, titles that state the message."""

import colorsys
import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import AutoLocator, MaxNLocator
from scipy.optimize import isotonic_regression

from engagex_sim.columns import FloatArray
from engagex_sim.report.answers import NEVER
from engagex_sim.report.formats import shortened
from engagex_sim.result import CURRENT, Result

# Okabe and Ito (2008) without yellow and black, then Paul Tol's muted scheme: told apart by colour-blind readers.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#882255", "#999933", "#332288", "#AA4499")
CURRENT_COLOUR = "#000000"
NEVER_COLOUR = "#7a7a7a"
INK = "#222222"
QUIET = "#6b6b6b"
GRID = "#e4e4e4"
DPI = 200  # twice the 100 px per inch at which the page shows a figure


def policy_colours(result: Result) -> Mapping[str, str]:
    """One colour per policy by its place in the summary; the current strategy is black, `never` grey."""
    colours = {CURRENT: CURRENT_COLOUR, NEVER: NEVER_COLOUR}
    others = [str(name) for name in result.summary["policy"].unique() if name not in colours]
    return colours | {name: _colour(place) for place, name in enumerate(others)}


def _colour(place: int) -> str:
    if place < len(PALETTE):
        return PALETTE[place]
    hue = (0.13 + 0.618034 * (place - len(PALETTE))) % 1.0  # golden ratio: no two hues are close
    red, green, blue = colorsys.hls_to_rgb(hue, 0.38, 0.6)
    return f"#{round(255 * red):02x}{round(255 * green):02x}{round(255 * blue):02x}"


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, inches, that is tied to no window system."""
    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def quiet(ax: Axes, grid: str = "y") -> None:
    """Thin spines on the left and at the bottom, a faint grid along one axis."""
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set(color="#b0b0b0", linewidth=0.8)
    ax.tick_params(colors=QUIET, labelcolor=INK, labelsize=9, length=3, width=0.8)
    ax.set_axisbelow(True)
    ax.grid(visible=True, axis="x" if grid == "x" else "y", color=GRID, linewidth=0.8)
    if isinstance(ax.xaxis.get_major_locator(), AutoLocator):
        ax.xaxis.set_major_locator(MaxNLocator(nbins="auto", integer=True))
    ax.xaxis.label.set(color=QUIET, size=9.5)
    ax.yaxis.label.set(color=QUIET, size=9.5)


def say(ax: Axes, message: str, detail: str, width: int = 112, size: float = 12.5) -> None:
    """A bold message and a quiet detail above the axes, free of math markup, in lines of `width` small letters."""
    lines = textwrap.wrap(detail, width)
    ax.set_title(
        textwrap.fill(message, round(width * 0.7)),
        loc="left",
        fontsize=size,
        fontweight="bold",
        color=INK,
        pad=9 + 13 * len(lines),
        parse_math=False,
    )
    ax.annotate(
        "\n".join(lines),
        (0, 1),
        (0, 7),
        xycoords="axes fraction",
        textcoords="offset points",
        fontsize=9.5,
        color=QUIET,
        va="bottom",
        linespacing=1.2,
        parse_math=False,
    )


def label_line_ends(ax: Axes, ends: Sequence[tuple[float, str, str]]) -> None:
    """Labels right of the axes at heights `(y, text, colour)`, moved apart just enough not to overlap."""
    low, high = ax.get_ylim()
    figure = ax.get_figure(root=True)
    assert figure is not None  # axes that are drawn on belong to one
    inches = figure.get_size_inches()[1] * 0.72
    places = spread_apart(np.array([(y - low) / (high - low) for y, _, _ in ends]), gap=0.185 / inches)
    for place, (y, text, colour) in zip(places, ends, strict=True):
        ax.annotate(
            text,
            (1.0, min(max((y - low) / (high - low), 0.0), 1.0)),
            (1.035, place),
            xycoords="axes fraction",
            textcoords="axes fraction",
            fontsize=9.5,
            color=readable(colour),
            va="center",
            parse_math=False,
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": colour,
                "linewidth": 0.7,
                "shrinkA": 1,
                "shrinkB": 0,
                "relpos": (0, 0.5),
            },
        )


def spread_apart(places: FloatArray, gap: float) -> FloatArray:
    """The places (n,) nearest to the given ones, in least squares, in [0, 1] where they fit, `gap` or more apart."""
    if len(places) == 0:
        return places
    order = np.argsort(places, kind="stable")
    steps = gap * np.arange(len(places))
    room = max(0.0, 1.0 - steps[-1])
    moved = np.empty_like(places)
    moved[order] = np.clip(isotonic_regression(places[order] - steps).x, 0.0, room) + steps
    return moved


def readable(colour: str) -> str:
    """The colour, darkened where small letters in it would be too pale on white."""
    red, green, blue = to_rgb(colour)
    shade = 1.0 if 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.42 else 0.72
    return to_hex((shade * red, shade * green, shade * blue))


def name_of(policy: str) -> str:
    """A policy's name, short enough for a label."""
    return shortened(policy, 28)

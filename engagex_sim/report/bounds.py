"""The figure of hidden causes: what lift each strength of one leaves possible, per policy."""

import math
from typing import TYPE_CHECKING

from matplotlib.colors import to_hex, to_rgb
from matplotlib.patches import Patch

from engagex_sim.ope.verdict import BETTER, WORSE
from engagex_sim.report import style
from engagex_sim.report.answers import Answer, answers
from engagex_sim.report.formats import number
from engagex_sim.result import CURRENT, PRIMARY, Result, headline

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = (1.0, 1.1, 1.25, 1.5)  # strengths, no hidden cause first; sensitivity.csv has more
PALE = (0.0, 0.45, 0.68, 0.84)  # how much white is mixed into the colour of each
GREY = "#3d3d3d"


def bounded(result: Result) -> list[Answer]:
    """The policies that were answered and whose lift has bounds."""
    known = result.sensitivity.dropna(subset=["lift_low", "lift_high"])["policy"].unique()
    return [a for a in answers(result) if a.is_estimated and not a.refused and a.policy in known]


def breaking_points(result: Result) -> dict[str, float]:
    """Policy → the strength that explains its whole lift; inf where none does, NaN where the verdict is that no
    difference is shown anyway."""
    told = {answer.policy for answer in bounded(result) if answer.primary.verdict in (BETTER, WORSE)}
    table = result.breaking_points
    points = zip(table["policy"].astype(str), table["breaking_point"].astype(float), strict=True)
    return {policy: point if policy in told else math.nan for policy, point in points}


def told_alone(result: Result) -> set[str]:
    """The policies whose own interval, without a hidden cause, leaves out 0; the verdict goes by the one for all."""
    table = result.sensitivity
    told = (table["strength"] == SHOWN[0]) & ((table["lift_low"] > 0) | (table["lift_high"] < 0))
    return set(table.loc[told, "policy"].astype(str))


def hidden_cause_figure(result: Result) -> "Figure":
    """Bars in percent of the current strategy: the lift's 95 % interval without a hidden cause, and with ever stronger
    ones."""
    shown, points, alone = bounded(result), breaking_points(result), told_alone(result)
    current, colours = float(headline(result, CURRENT, PRIMARY)["value"]), style.policy_colours(result)
    ends = {
        (str(row["policy"]), float(row["strength"])): (float(row["lift_low"]), float(row["lift_high"]))
        for row in result.sensitivity.to_dict("records")
    }
    figure = style.new_figure(9, 1.95 + 0.5 * len(shown))
    ax = figure.add_subplot()
    for row, answer in enumerate(shown):
        for strength, white in reversed(list(zip(SHOWN, PALE, strict=True))):
            low, high = (100 * end / current for end in ends[answer.policy, strength])
            ax.barh(row, high - low, left=low, height=0.5, color=_paler(colours[answer.policy], white), linewidth=0)
        ax.annotate(
            _breaks(points.get(answer.policy, math.nan), answer.policy in alone),
            (1.02, row),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=9.5,
            color=style.INK,
        )
    ax.axvline(0, color=style.CURRENT_COLOUR, linewidth=1.4)
    ax.use_sticky_edges = False
    ax.autoscale_view()
    ax.set_ylim(len(shown) - 0.4, -0.6)
    ax.set_yticks(range(len(shown)), [style.name_of(answer.policy) for answer in shown], parse_math=False)
    ax.set_xlabel("Interests per user against the current strategy, %")
    style.quiet(ax, grid="x")
    ax.tick_params(axis="y", length=0)
    labels = ["no hidden cause", *(f"up to {strength:g} times" for strength in SHOWN[1:])]
    handles = [Patch(color=_paler(GREY, white), label=label) for label, white in zip(labels, PALE, strict=True)]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=9)
    style.say(
        ax,
        _message(shown, points),
        "Darkest: 95 % interval of the change of each strategy alone. Paler: what stays possible if a cause shifts the"
        " odds of a contact by up to 1.1, 1.25 or 1.5 times.",
        104,
    )
    return figure


def _message(shown: list[Answer], points: dict[str, float]) -> str:
    """How much the gain that is hardest to explain away withstands."""
    gains = {a.policy: points[a.policy] for a in shown if a.primary.verdict == BETTER and a.policy in points}
    finite = {policy: point for policy, point in gains.items() if math.isfinite(point)}
    if not finite:
        return "What a cause that the log does not show could do to each answer"
    sturdiest = max(finite, key=lambda policy: finite[policy])
    return f"The gain of {style.name_of(sturdiest)} withstands hidden causes below strength {number(finite[sturdiest])}"


def _breaks(point: float, alone: bool) -> str:
    if math.isnan(point):
        return "not told from 0 jointly\nwith the other strategies" if alone else "not told from 0 anyway"
    return "holds for any" if math.isinf(point) else f"explained from {number(point)} on"


def _paler(colour: str, white: float) -> str:
    red, green, blue = (channel + white * (1 - channel) for channel in to_rgb(colour))
    return to_hex((red, green, blue))

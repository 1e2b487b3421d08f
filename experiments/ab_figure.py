"""One picture: the power of an A/B test by users per arm, with the plans marked."""

import math

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from engagex_sim.ab_test import Design, Outcome, power_of
from engagex_sim.report import style
from engagex_sim.report.formats import listing, percent
from engagex_sim.report.style import INK, PALETTE, QUIET

NAMES = {
    "estimate": "the estimate",
    "lower end": "the end of its interval",
    "asked for": "asked for",
    "smallest lift": "what all users can show",
}
LONG_AXIS = 1_000  # times its first value, from which the powers of ten are labels enough
COLOURS = {"estimate": PALETTE[0], "lower end": PALETTE[1], "asked for": PALETTE[0], "smallest lift": QUIET}


def power_figure(table: pd.DataFrame, control: Outcome, users: int, days: float, design: Design) -> Figure:
    """Power over the users of the smaller arm, one curve per lift; a dot where a plan reaches the power asked for.

    Scenarios of the same lift share a curve, since one would hide the other.
    """
    rows = table[(table["way"] != "as few days") & table["power"].notna()]
    share = min(design.control_share, 1 - design.control_share)
    rest = np.array([design.control_share, 1 - design.control_share]) / share  # arms, the smaller one being 1
    at = {str(row["scenario"]): float(min(row["users_control"], row["users_treatment"])) for _, row in rows.iterrows()}
    even = math.isclose(share, 0.5)
    figure = style.new_figure(9, 5.1)
    ax = figure.add_subplot()
    there_are = share * users
    last = 2.5 * max([there_are, *at.values()])
    places = np.geomspace(max(min([there_are, *at.values()]) / 12, 5), last, 300)
    for _, same in rows.groupby("lift_percent", sort=False):
        row, names = same.iloc[0], listing([NAMES[str(scenario)] for scenario in same["scenario"]])
        name, lift = str(row["scenario"]), float(row["lift_percent"]) / 100
        treatment = control.scaled(1 + lift)
        powers = [100 * power_of(control, treatment, place * rest[0], place * rest[1], design) for place in places]
        label = f"{percent(lift, signed=True)}, {names}: {at[name]:,.0f}{' per arm' if even else ''}"
        width = 1.4 if name == "smallest lift" else 2.2
        ax.plot(places, powers, color=COLOURS[name], linewidth=width, label=label)
        ax.plot(at[name], 100 * float(row["power"]), "o", color=COLOURS[name], markersize=8, zorder=3)
    ax.axhline(100 * design.power, color=INK, linewidth=0.9, linestyle=(0, (4, 3)))
    ax.axvline(there_are, color=INK, linewidth=1.2, label=f"users there are: {users:,} in all")
    figure.legend(loc="outside lower left", ncols=2, frameon=False, fontsize=9.5, labelcolor=INK)
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if last < LONG_AXIS * places[0] else (1,)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlim(places[0], last)
    ax.set_ylim(0, 102)
    smaller = "per arm" if even else f"in the smaller arm ({percent(share)} of all)"
    ax.set_xlabel(f"Users {smaller}")
    ax.set_ylabel("Power, %")
    style.quiet(ax)
    style.say(
        ax,
        _message(rows),
        f"Chance that a two-sided test at {100 * design.alpha:g} % of interests per user over {days:g} days finds the"
        f" difference, by the number of users. Dots: the plans. Broken line: the power asked for,"
        f" {100 * design.power:g} %.",
    )
    return figure


def _message(rows: pd.DataFrame) -> str:
    planned = rows[rows["scenario"] != "smallest lift"]
    if len(planned) == 0:
        return "What the users there are could confirm"
    row = planned.iloc[-1]
    total = row["users_control"] + row["users_treatment"]
    lift = percent(float(row["lift_percent"]) / 100, signed=True)
    return f"{total:,.0f} users would confirm {lift}{'' if row['possible'] else ': more than there are'}"

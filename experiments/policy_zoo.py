"""`policy_zoo`: all policies ranked by the headline estimate, with what they cost to compute and what was to be had."""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.table import Table

from engagex_sim.hindsight import hindsight
from engagex_sim.ope.verdict import BETTER
from engagex_sim.report import style
from engagex_sim.report.answers import CONTACTS, Answer, answers
from engagex_sim.report.files import write_files
from engagex_sim.report.formats import UNDEFINED, number, percent
from engagex_sim.report.tables import csv_text, write_text
from engagex_sim.whole import written_whole
from experiments.evaluate_policies import Policies, Run, evaluated, say_answers
from experiments.inputs import Options, output_directory
from experiments.terminal import Progress, Terminal, verdict_text
from experiments.zoo.ceiling import ceiling
from experiments.zoo.figure import zoo_figure
from experiments.zoo.timed import Timed, costs, timed

CEILING_USERS, SMALL_CEILING_USERS = 20_000, 2_000
NO_CEILING = (
    "Interest depends on earlier contacts here, or visits do, so no list of probabilities says what was to be had."
)

NOT_UNDER_RULES = (
    "What was to be had is not told under rules beside the cap or a capacity: the bound knows the cap alone."
)


@dataclass(frozen=True)
class Ranking:
    """A run's policies in order, the most that was to be had, and what there is to say about it."""

    table: pd.DataFrame
    ceiling: pd.DataFrame | None  # None where no truth is known
    bound: float  # what hindsight would have had above the current strategy, as a share of its interests; or NaN
    sentence: str


def policy_zoo(options: Options, command: str) -> None:
    """Evaluate the policies and write, beside the files of every run, `ranking.csv`, `ranking.png` and `ceiling.csv`.

    Raises `InputError`.
    """
    directory, terminal = output_directory(options["out"], "policy_zoo"), Terminal(options["quiet"])
    clocked: list[Timed] = []
    found: list[Ranking] = []

    def watched(policies: Policies) -> Policies:
        clocked.extend(timed(policy) for policy in policies)
        return clocked

    def write(run: Run, progress: Progress) -> None:
        progress("timing decisions, and the most that was to be had")
        ranking = ranked(run, clocked, SMALL_CEILING_USERS if options["small"] else CEILING_USERS)
        progress("writing the report")
        with written_whole(directory) as folder:
            write_files(run.result, folder, command)
            write_text(folder / "ranking.csv", csv_text(ranking.table))
            if ranking.ceiling is not None:
                write_text(folder / "ceiling.csv", csv_text(ranking.ceiling))
            picture = zoo_figure(ranking.table, _title(ranking.table), ranking.bound)
            picture.savefig(folder / "ranking.png", dpi=style.DPI)
        found.append(ranking)

    run = evaluated("policy_zoo", options, terminal, write, watched)
    terminal.show(ranking_table(found[0].table, terminal.name_width))
    say_answers(run.result, terminal)
    terminal.say(found[0].sentence)
    terminal.say(f"Ranking: {directory / 'ranking.png'}. Report: {directory / 'report.html'}", on_one_line=True)


def ranked(run: Run, clocked: Sequence[Timed], ceiling_users: int) -> Ranking:
    """The policies by their headline estimate, the refused ones last."""
    found = answers(run.result)
    current = next(answer for answer in found if answer.is_current)
    table = pd.DataFrame([_row(answer) for answer in found if not answer.is_current])
    table = table.merge(costs(clocked, run.prepared.whole), on="policy", how="left")
    table = table.sort_values(["refused", "interests_per_user"], ascending=[True, False], kind="stable")
    table = table.reset_index(drop=True)
    settings = run.result.settings
    if settings.rules_asked or settings.capacity is not None:
        return Ranking(table, None, math.nan, NOT_UNDER_RULES)
    if run.world is not None:
        most = ceiling(run.world, ceiling_users, run.result.settings.seed)
        if most is None:
            return Ranking(table, None, math.nan, NO_CEILING)
        of = most.set_index("what")["interests_per_user"]
        return Ranking(table, most, of["hindsight"] / current.primary.truth - 1, _ceiling_sentence(of))
    models = next((own.notes.reward_models for own in clocked if own.notes.reward_models), [])
    if not models:
        return Ranking(table, None, math.nan, "No policy learned, so nobody can say what was to be had.")
    whole = run.prepared.whole
    # The folds' models come in the order in which they were ready: the median knows none.
    predicted = np.median([model.predict(whole.free_context()).max(axis=1) for model in models], axis=0)
    return Ranking(table, None, math.nan, _predicted_sentence(float(hindsight(whole, predicted).mean())))


def _ceiling_sentence(of: "pd.Series[float]") -> str:
    threshold, lookahead, most = (number(1000 * of[what]) for what in ("best threshold", "lookahead", "hindsight"))
    return (
        f"With the true probabilities known, the best constant threshold has {threshold} interests per 1,000 users and"
        f" lookahead {lookahead}; no policy has more than {most}, which takes knowing the future (ceiling.csv)."
    )


def _predicted_sentence(most: float) -> str:
    return (
        f"By the word of the reward models no capped policy could have had more than {number(1000 * most)} interests"
        " per 1,000 users, every visit known beforehand; the models' own errors make that too high."
    )


def _row(answer: Answer) -> dict[str, object]:
    own = answer.primary
    return {
        "policy": answer.policy,
        "verdict": own.verdict,
        "refused": answer.refused,
        "exact": answer.makes_no_contacts,
        "contacts_per_user": answer[CONTACTS].value,
        "contacts_lift_percent": 100 * answer[CONTACTS].change,
        "interests_per_user": own.value,
        "ci_low": own.low,
        "ci_high": own.high,
        "lift_percent": 100 * own.change,
        "lift_percent_low": 100 * own.change_low,
        "lift_percent_high": 100 * own.change_high,
        "truth": own.truth,
        "true_lift_percent": 100 * own.true_change,
    }


def _title(table: pd.DataFrame) -> str:
    """The best of the policies that are better than the current one."""
    better = table[table["verdict"] == BETTER]
    if better.empty:
        return "No policy is shown to be better than the current strategy"
    best = better.iloc[0]
    change, contacts = (percent(best[name] / 100, signed=True) for name in ("lift_percent", "contacts_lift_percent"))
    return f"{best['policy']} is better, with {change} interests and {contacts} contacts"


def ranking_table(table: pd.DataFrame, name_width: int) -> Table:
    """The ranking for the terminal: numbers of refused policies are not shown, for they would be believed."""
    shown = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    shown.add_column("policy", no_wrap=True)
    known = table["truth"].notna().any()
    numbers = ["contacts\nper user", "interests\nper user", *(["truth"] if known else [])]
    for header in [*numbers, "change,\n95 % CI", "learn\nper M, s"]:
        shown.add_column(header, justify="right", no_wrap=True)
    shown.add_column("verdict")
    for row in table.to_dict("records"):
        hidden = row["refused"]
        change = _change(row)
        shown.add_row(
            fill(row["policy"], name_width),
            number(row["contacts_per_user"]),
            UNDEFINED if hidden else number(row["interests_per_user"]),
            *([number(row["truth"])] if known else []),
            UNDEFINED if hidden else change,
            f"{_seconds(row['training_seconds'])}\n{_seconds(row['seconds_per_million'])}",
            verdict_text(row["verdict"]),
        )
    return shown


def _change(row: Mapping[Hashable, Any]) -> str:
    names = ("lift_percent", "lift_percent_low", "lift_percent_high")
    middle, low, high = (percent(row[name] / 100, signed=True) for name in names)
    return middle if row["exact"] else f"{middle}\n{low.removesuffix(' %')} … {high}"


def _seconds(spent: float) -> str:
    return "< 0.01" if spent < 0.01 else number(spent, 2)

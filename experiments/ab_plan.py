"""`ab_plan`: how many users and days the A/B test takes that would confirm a lift."""

import math
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from engagex_sim.ab_test import (
    LARGEST_LIFT,
    LONGEST,
    Design,
    Outcome,
    arms,
    power_of,
    smallest_lift,
    time_needed,
    users_needed,
)
from engagex_sim.cap import DAY
from engagex_sim.errors import InputError
from engagex_sim.log import read_blocks
from engagex_sim.ope.verdict import UNANSWERABLE
from engagex_sim.preparation import prepare
from engagex_sim.report.formats import counted, percent
from engagex_sim.report.style import DPI
from engagex_sim.report.tables import csv_text, write_text
from engagex_sim.result import CURRENT, HEADLINE, PRIMARY, Facts
from engagex_sim.settings import LogSettings
from engagex_sim.whole import written_whole
from engagex_sim.worlds import WORLDS, tables
from experiments.ab_check import run_check
from experiments.ab_figure import power_figure
from experiments.inputs import Options, blocks_from, check_world, files_from, output_directory, settings_from
from experiments.registry import WORLD_USERS
from experiments.terminal import Terminal
from experiments.wording import invented

ESTIMATE, LOWER_END, ASKED, SMALLEST = "estimate", "lower end", "asked for", "smallest lift"
WHERE = {
    ESTIMATE: "At the estimate",
    LOWER_END: "At the end of its interval nearest to 0",
    ASKED: "For the lift asked for",
}
WORLD = "visits"  # where neither run nor log is given
# The options that play a part in what is asked, and those that play none without --check and --run.
ALWAYS = frozenset({"control", "power", "alpha", "seed", "threads", "no_cache", "quiet"})
FOR_CHECK = ALWAYS | {"check", "tests", "policy", "world"}
FOR_RUN = ALWAYS | {"run", "policy", "n_users", "days", "out"}
NOT_FOR_LIFT = {
    "tests": "--tests says how many tests --check carries out: give --check too.",
    "policy": "--policy names a policy of a run, or of --check: give --run DIR or --check too.",
}


@dataclass(frozen=True)
class Situation:
    """What there is for a test: interests per user under the current strategy, users, and days."""

    control: Outcome  # over `days`
    users: int
    days: float
    cap_days: float
    no_longer: bool = False  # whether `days` are all there are, too


def write_plan(options: Options, given: Collection[str]) -> None:
    """Plan the test, write `ab_plan.csv` and `power.png`, and say what it takes. Raises `InputError`.

    `given` are the options that stand in the command: those that play no part in what is asked are refused.
    """
    _check_parts(options, given)
    design = _design(options)
    if options["check"]:
        world = options["world"] or WORLD
        run_check(world, options["policy"], options["tests"], design, int(options["seed"]), options["quiet"])
        return
    directory = output_directory(options["out"], "ab_plan")
    terminal = Terminal(options["quiet"])
    if options["run"] is not None:
        situation, lifts = _from_run(Path(options["run"]), options["policy"], terminal)
    else:
        lift = _lift(options["lift"])
        situation, lifts = _from_log(options, terminal), {ASKED: lift}
    situation = _as_told(situation, options)
    table = plan(situation, lifts, design)
    with written_whole(directory) as folder:
        write_text(folder / "ab_plan.csv", csv_text(table))
        figure = power_figure(table, situation.control, situation.users, situation.days, design)
        figure.savefig(folder / "power.png", dpi=DPI)
    for sentence in sentences(table, situation, design):
        terminal.say(sentence)
    terminal.say(f"Plan: {directory / 'ab_plan.csv'} and {directory / 'power.png'}", on_one_line=True)


def plan(situation: Situation, lifts: Mapping[str, float], design: Design) -> pd.DataFrame:
    """Two ways for each lift, by scenario, and what all users over the whole time could confirm.

    One way takes as long as there is time, and so many users; the other takes all users, and so many days: never fewer
    than the cap, since many users are blocked by earlier contacts when the test begins.
    """
    rows = []
    everybody, least_days = _split(situation.users, design), math.ceil(situation.cap_days)
    for scenario, lift in lifts.items():
        needed = users_needed(situation.control, lift, design)
        few = None if math.isinf(needed) else arms(needed, design)
        rows.append(_row(scenario, "as few users", lift, few, situation.days, situation, design))
        factor = time_needed(situation.control, lift, situation.users, design)
        enough = math.ceil(factor * situation.days) if math.isfinite(factor) else math.inf
        own = _row(scenario, "as few days", lift, everybody, max(enough, least_days), situation, design)
        rows.append(own | {"cap_decides": enough < least_days})
    least = smallest_lift(situation.control, situation.users, design)
    rows.append(_row(SMALLEST, "all users and days", least, everybody, situation.days, situation, design))
    return pd.DataFrame(rows)


def _split(users: int, design: Design) -> tuple[int, int]:
    """Whole users of control and treatment, when all of them take part."""
    control = min(max(round(design.control_share * users), 1), users - 1)
    return control, users - control


def _row(
    scenario: str,
    way: str,
    lift: float,
    sizes: tuple[int, int] | None,
    days: float,
    situation: Situation,
    design: Design,
) -> dict[str, Any]:
    """One plan; numbers that do not exist are NaN, with the reason. `sizes` are the users of control and treatment."""
    reason, power, control, treatment = "", math.nan, math.nan, math.nan
    if math.isinf(lift) or situation.control.mean == 0:
        reason = "no lift could be confirmed with so few interests"
    elif lift == 0:
        place = "the interval holds" if scenario == LOWER_END else "there is"
        reason = f"{place} no difference at all, which no test can confirm"
    elif sizes is None or math.isinf(days):
        reason = f"so few users would take more than {LONGEST:g} times the period that was observed"
    else:
        control, treatment = sizes
        own = situation.control.scaled(days / situation.days)
        power = power_of(own, own.scaled(1 + lift), control, treatment, design)
        if control + treatment > situation.users:
            reason = f"there are {situation.users:,} users only"
        elif situation.no_longer and days > situation.days:
            reason = f"there are {_days(situation.days)} only"
    return {
        "scenario": scenario,
        "way": way,
        "lift_percent": math.nan if math.isinf(lift) else 100 * lift,
        "days": math.nan if math.isnan(power) else days,
        "users_control": control,
        "users_treatment": treatment,
        "power": power,
        "cap_decides": False,  # whether fewer days would do, were a test not to last as long as the cap
        "possible": reason == "",
        "reason": reason,
    }


def sentences(table: pd.DataFrame, situation: Situation, design: Design) -> list[str]:
    """The plan in words."""
    now = situation.control.mean
    said = [
        f"Planned is a two-sided test of whole users at alpha {100 * design.alpha:g} % with power"
        f" {100 * design.power:g} %. There are {situation.users:,} users, with {1000 * now:.3g} interests per 1,000 of"
        f" them in {_days(situation.days)} (variance across users {situation.control.variance:.4g}, mean {now:.4g})."
    ]
    if situation.days < situation.cap_days:
        said.append(
            f"{_days(situation.days)} are less than the cap's {situation.cap_days:g}: many users are blocked by earlier"
            f" contacts when the test begins, so its lift may be another than later. What is said of"
            f" {_days(situation.days)} takes it to be the same."
        )
    for scenario, own in table[table["scenario"] != SMALLEST].groupby("scenario", sort=False):
        users, days = (row for _, row in own.iterrows())
        lift = percent(users["lift_percent"] / 100, signed=True)
        where = WHERE[str(scenario)]
        if math.isnan(users["power"]):
            said.append(f"{where}, {lift}: {users['reason']}.")
            continue
        treatment, control = int(users["users_treatment"]), int(users["users_control"])
        n = f"{counted(treatment, 'user')} in treatment and {control:,} in control"
        said.append(f"{where}, {lift}: {n} for {_days(users['days'])}{_but(users)}; {_of_all(days, situation)}.")
    least = table[table["scenario"] == SMALLEST].iloc[0]
    if least["reason"]:
        said.append(f"{least['reason'].capitalize()}.")
    else:
        said.append(
            f"With all users and {_days(situation.days)}, lifts from"
            f" {percent(least['lift_percent'] / 100, signed=True)} on can be confirmed."
        )
    return said


def _days(number: float) -> str:
    return f"{number:g} day{'' if number == 1 else 's'}"


def _but(row: "pd.Series[Any]") -> str:
    return "" if row["possible"] else f", but {row['reason']}"


def _of_all(row: "pd.Series[Any]", situation: Situation) -> str:
    """How long the test of all users together takes, and what decides that."""
    everybody = f"all {situation.users:,} users together"
    if math.isnan(row["power"]):
        return f"{everybody} would take more than {LONGEST:g} times the period"
    days = f"{counted(round(row['days']), 'day')} (power {percent(row['power'])}){_but(row)}"
    if row["cap_decides"]:
        return (
            f"{everybody} would find it sooner than in the cap's {_days(situation.cap_days)}, but a test of them is"
            " never planned shorter, since many are blocked by earlier contacts when it begins: it takes"
            f" {days}"
        )
    return f"{everybody} need {days}"


def _from_run(directory: Path, policy: str | None, terminal: Terminal) -> tuple[Situation, dict[str, float]]:
    """The log and the lifts of a finished run: the estimate, and the end of its interval nearest to 0."""
    try:
        summary = pd.read_csv(directory / "summary.csv")
        config = tomllib.loads((directory / "config.toml").read_text(encoding="utf-8"))
        log = config["log"]
        variance = float(log["interest_variance"])
        start, end = log["evaluation_start"], log["log_end"]
    except (OSError, KeyError, ValueError) as error:
        raise InputError(
            f"{directory} is not the directory of a finished run: summary.csv and config.toml of baseline_vs_xgb,"
            " compare or policy_zoo are needed, with the variance of interests, which older versions did not write."
        ) from error
    head = summary[(summary["estimator"] == HEADLINE) & (summary["metric"] == PRIMARY)].set_index("policy")
    names = [str(name) for name in head.index if name != CURRENT]
    if policy is None and len(names) > 1:
        raise InputError(f"Which policy is to be tested? Name it with --policy; there are: {', '.join(names)}.")
    name = names[0] if policy is None else policy
    if name not in names:
        raise InputError(f"There is no policy {name!r} in {directory}; there are: {', '.join(names)}.")
    row = next(own for own in head.reset_index().to_dict("records") if own["policy"] == name)
    situation = Situation(
        control=Outcome(log["n_interests"] / log["n_users"], variance),
        users=int(log["n_users"]) + int(log.get("n_learners", 0)),  # those who were not held out take part too
        days=(end - start).total_seconds() / DAY,
        cap_days=float(log["cap_days"]),
    )
    # An estimate may say less than no interest at all, which no test can find.
    lift, low, high = (max(float(row[f"lift_percent{end_}"]) / 100, -1.0) for end_ in ("", "_low", "_high"))
    if row["verdict"] == UNANSWERABLE or math.isnan(lift):
        why = row["reason"] if isinstance(row["reason"], str) else "its lift is not defined"
        terminal.say(
            f"WARNING: WHAT {name} WOULD CHANGE {UNANSWERABLE.upper()}: {why}. There is no lift to plan for; name the"
            " one that would be worth finding with --lift, on that log in place of --run."
        )
        return situation, {}
    terminal.say(
        f"{name}: {row['verdict']}; interests {percent(lift, signed=True)} (95 % interval {percent(low, signed=True)} …"
        f" {percent(high, signed=True)}). An estimate that was picked for its size is more likely too large than too"
        " small: plan for the lower end where you can."
    )
    nearest = 0.0 if math.isnan(low) or low <= 0 <= high else min(low, high, key=abs)
    return situation, {ESTIMATE: lift, LOWER_END: nearest}


def _check_parts(options: Options, given: Collection[str]) -> None:
    """Raise `InputError` for an option that plays no part in what is asked: it would be dropped in silence."""

    def first(parts: Collection[str]) -> str | None:
        return next((f"--{name.replace('_', '-')}" for name in options if name in given and name not in parts), None)

    if options["check"]:
        if dropped := first(FOR_CHECK):
            raise InputError(f"{dropped} plays no part in --check, which carries out tests in a world; leave it out.")
    elif options["run"] is not None:
        if dropped := first(FOR_RUN):
            raise InputError(
                f"{dropped} plays no part with --run, which takes the lift, the users and their interests from that"
                " run; leave one of the two out."
            )
    else:
        for name, sentence in NOT_FOR_LIFT.items():
            if name in given:
                raise InputError(sentence)


def _lift(percents: float | None) -> float:
    """The relative lift that --lift asks for. Raises `InputError` where there is none that a test could confirm."""
    if percents is None:
        raise InputError(
            "ab_plan needs the lift to confirm: --run DIR, a finished run's directory, or --lift PERCENT, with"
            " --triggers and --actions or, without files, on a synthetic world (--world)."
        )
    if not -100 < percents <= 100 * LARGEST_LIFT or percents == 0:
        raise InputError(
            f"--lift is a change in percent, as in 12 for +12 %: above −100, not 0, and {100 * LARGEST_LIFT:,.0f} at"
            f" most, not {percents:g}."
        )
    return percents / 100


def _from_log(options: Options, terminal: Terminal) -> Situation:
    """Users and interests of a log; nothing is trained."""
    settings = settings_from(options, LogSettings)
    files = files_from(options)
    check_world({"world": options["world"], "n_users": None}, files)  # --n-users is about the test here
    with terminal.progress() as progress:
        progress("reading the log")
        if files is not None:
            log = blocks_from(files, options, settings)
        else:
            world = options["world"] or WORLD
            terminal.say(invented(world))
            made = tables(WORLDS[world], WORLD_USERS, int(options["seed"]))
            log = read_blocks(made.triggers, made.actions, made.users, settings)
        with log:
            facts = prepare(log, settings).facts
    return _situation(facts)


def _situation(facts: Facts) -> Situation:
    return Situation(
        control=Outcome(facts.n_interests / facts.n_users, facts.interest_variance),
        users=facts.n_users,
        days=(facts.log_end - facts.evaluation_start).total_seconds() / DAY,
        cap_days=facts.cap_days,
    )


def _as_told(situation: Situation, options: Options) -> Situation:
    """With the users and days that there are for the test, where they are not those of the log."""
    users = situation.users if options["n_users"] is None else int(options["n_users"])
    days = situation.days if options["days"] is None else float(options["days"])
    control = situation.control.scaled(days / situation.days)
    return Situation(control, users, days, situation.cap_days, no_longer=options["days"] is not None)


def _design(options: Options) -> Design:
    for name in ("control", "power", "alpha"):
        if not 0 < options[name] < 1:
            raise InputError(f"--{name} is a share between 0 and 1, not {options[name]:g}.")
    if options["power"] <= options["alpha"]:
        raise InputError("--power must be above --alpha, which a test without any users has.")
    return Design(options["control"], options["power"], options["alpha"])

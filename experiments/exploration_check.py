"""`exploration_check`: does a plan of exploration keep its word? Plan it on a log, carry it out, compare intervals."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from scipy.special import logit

from engagex_sim.blockwise import cross_fit, estimate_all
from engagex_sim.columns import Column, FloatArray
from engagex_sim.exploration import chosen
from engagex_sim.exploration_plan import explore
from engagex_sim.explored_world import Exploring, explored_log
from engagex_sim.ope.verdict import UNANSWERABLE
from engagex_sim.policy import Policy, policy_name
from engagex_sim.preparation import Prepared, prepare_decisions
from engagex_sim.report.formats import UNDEFINED, counted
from engagex_sim.report.tables import csv_text, write_text
from engagex_sim.result import HEADLINE, PRIMARY
from engagex_sim.settings import Settings
from engagex_sim.tables import summary_table
from engagex_sim.whole import written_whole
from engagex_sim.worlds import World, logged_decisions, visible
from engagex_sim.worlds.deterministic import Deterministic
from experiments.inputs import output_directory
from experiments.terminal import Terminal
from policies.fixed import FirstChance

NEAR = 0.15  # by which a width may differ from the plan


@dataclass(frozen=True)
class FixedRule(Deterministic):
    """`deterministic` with the same interest of 3 % everywhere: a plan needs a reward model that holds off the rule."""

    own_name: ClassVar[str] = "fixed_rule"

    def interest_odds(self, features: Mapping[str, Column]) -> FloatArray:
        return np.full(len(features["hour"]), logit(0.03))


def run_check(n_logs: int, n_users: int, seed: int, out: Path | None, quiet: bool) -> None:
    """Check the plan for `first_chance` on `n_logs` logs of a company that contacts by a fixed rule; say what came."""
    directory = None if out is None else output_directory(out, "exploration_check")
    terminal = Terminal(quiet)
    terminal.say(f"Planning and carrying out exploration on {n_logs} logs of {n_users:,} users each, by a fixed rule.")
    rows = []
    with terminal.progress() as progress:
        for log in range(n_logs):
            progress("logs", log, n_logs)
            settings = Settings(grid="light", folds=2, n_boot=300, seed=seed + log)
            rows.append(check_exploration(FixedRule(), FirstChance(), n_users, settings))
        progress("logs", n_logs, n_logs)
    table = pd.DataFrame(rows)
    terminal.say(table.round(3).to_string(index=False, na_rep=UNDEFINED))
    planned = table[table["rate"].notna()]
    if len(planned) < n_logs:
        terminal.say(
            f"On {n_logs - len(planned)} of {counted(n_logs, 'log')} of this size no rate of exploration is enough;"
            " take more users."
        )
    for what in ("value", "lift"):
        ratio = planned[f"{what}_ratio"]
        if ratio.isna().all():  # nothing was planned, or nothing that was planned came to an interval
            continue
        terminal.say(
            f"Width of the interval of the {what} over the planned one: {ratio.mean():.2f} on average; within"
            f" {100 * NEAR:.0f} % on {(ratio.sub(1).abs() <= NEAR).sum()} of"
            f" {counted(len(planned), 'log')} with a plan."
        )
    before, after = (int(planned[f"answerable_{when}"].sum()) for when in ("before", "after"))
    terminal.say(f"Answerable before: {before}, after: {after}, of {counted(len(planned), 'log')} with a plan.")
    if directory is not None:
        with written_whole(directory) as folder:
            write_text(folder / "logs.csv", csv_text(table))
        terminal.say(f"Written: {directory}", on_one_line=True)


def check_exploration(world: World, policy: Policy, n_users: int, settings: Settings) -> dict[str, float]:
    """One replication: the plan from the world's own log, then a log of as many users with that exploration.

    `rate` (NaN where no exploration is enough, and then everything else is too), `answerable_before` and
    `answerable_after` (0 or 1), and `value_ratio` and `lift_ratio`: the width of the interval over the planned one.
    `policy` learns nothing and reads no history.
    """
    before, own = _prepared(world, None, n_users, settings), [policy]
    crossfitted = cross_fit(before, own, settings)
    found = explore(before, crossfitted.fitted, crossfitted.splitting, crossfitted.carried, 0)
    best = None if found is None else chosen(found.plan)
    if best is None:
        return dict.fromkeys(("rate", "answerable_before", "answerable_after", "value_ratio", "lift_ratio"), np.nan)
    row = _headline(before, policy, settings)
    after = _headline(
        _prepared(world, Exploring(world.logging, policy, best["rate"]), n_users, settings), policy, settings
    )
    return {
        "rate": float(best["rate"]),
        "answerable_before": float(row["verdict"] != UNANSWERABLE),
        "answerable_after": float(after["verdict"] != UNANSWERABLE),
        "value_ratio": (after["ci_high"] - after["ci_low"]) / float(best["value_width"]),
        "lift_ratio": (after["lift_high"] - after["lift_low"]) / float(best["lift_width"]),
    }


def _prepared(world: World, explorer: Policy | None, n_users: int, settings: Settings) -> Prepared:
    rng = np.random.default_rng([settings.seed, 0 if explorer is None else 1])
    log = logged_decisions(world, n_users, rng) if explorer is None else explored_log(world, explorer, n_users, rng)
    return prepare_decisions(visible(log), settings)


def _headline(prepared: Prepared, policy: Policy, settings: Settings) -> dict[str, Any]:
    observed = cross_fit(prepared, [policy], settings).observed
    table = summary_table([policy_name(policy)], estimate_all(prepared, observed, settings), observed.n_users)
    own = table[(table["estimator"] == HEADLINE) & (table["metric"] == PRIMARY)].iloc[0]
    return {str(name): value for name, value in own.items()}

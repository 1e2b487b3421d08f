"""`estimator_study`: are the answers right where the truth is known? Bias, RMSE and coverage over many seeds."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd

from engagex_sim.errors import InputError
from engagex_sim.estimate import Estimates
from engagex_sim.evaluation import cross_fit, estimate_all, policy_truths
from engagex_sim.ope.verdict import UNANSWERABLE
from engagex_sim.policy import Policy, policy_name
from engagex_sim.preparation import prepare_decisions
from engagex_sim.report.formats import listing
from engagex_sim.report.tables import csv_text
from engagex_sim.result import CURRENT, HEADLINE, PRIMARY
from engagex_sim.settings import Settings
from engagex_sim.tables import summary_table
from engagex_sim.whole import written_whole
from engagex_sim.worlds import WORLDS, logged_decisions, visible
from experiments.inputs import output_directory
from experiments.terminal import Terminal
from policies import REGISTRY

FOLDS, N_BOOT, TRUTH_USERS = 3, 300, 40_000
AT_VOLUME = ("logging", "random_matched", "xgb_greedy")  # as many contacts as the current strategy
KEPT = ("interests_per_user", "interested_users", "interests_per_contact", "contacts_per_user")


def run_study(worlds: Sequence[str], seeds: int, n_users: int, out: Path | None, workers: int, quiet: bool) -> None:
    """Run every world with seeds 0 to `seeds` − 1 and write replications.csv, accuracy.csv and claims.csv."""
    unknown = [world for world in worlds if world not in WORLDS]
    if unknown:
        raise InputError(f"There is no world {unknown[0]!r}; there are: {', '.join(WORLDS)}.")
    if seeds < 2 or n_users < 200:
        raise InputError("--seeds is at least 2 and --n-users at least 200.")
    directory = output_directory(out, "estimator_study")
    terminal = Terminal(quiet)
    terminal.say(
        f"Estimating {len(REGISTRY) + 1} policies on {seeds} logs of {n_users:,} users in each of"
        f" {listing(worlds)}, with {FOLDS} folds, light models and {N_BOOT} bootstrap replicates, on {workers} cores."
    )
    tasks = [(world, seed, n_users) for world in worlds for seed in range(seeds)]
    with terminal.progress() as progress, written_whole(directory) as folder:
        done = []
        for rows in replicate_all(tasks, workers):
            done.append(rows)
            progress(f"log {len(done)} of {len(tasks)}", len(done), len(tasks))
        replications = pd.concat(done, ignore_index=True)
        tables = {"replications": replications, "accuracy": accuracy(replications), "claims": claims(replications)}
        for name, table in tables.items():
            (folder / f"{name}.csv").write_text(csv_text(table), encoding="utf-8", newline="\n")
    head = tables["accuracy"][tables["accuracy"]["estimator"] == HEADLINE]
    terminal.say(f"{HEADLINE}, {PRIMARY}, in percent of the truth:")
    terminal.say(head.drop(columns="estimator").round(1).to_string(index=False))
    for claim in tables["claims"].itertuples(index=False):
        terminal.say(f"{claim.world}: {claim.claim}: {claim.value:.1f} %")
    terminal.say(f"Written: {directory}", on_one_line=True)


def replicate_all(tasks: Sequence[tuple[str, int, int]], workers: int) -> Iterator[pd.DataFrame]:
    """The rows of `replicate` for each task, in order, one replication per core."""
    os.environ["OMP_NUM_THREADS"] = "1"  # read when a worker loads OpenMP
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(replicate, *zip(*tasks, strict=True))


def replicate(world_name: str, seed: int, n_users: int) -> pd.DataFrame:
    """Every estimate on one log of the world beside the truth, with light models.

    The rows of a run's `summary.csv`, and for the policy equal to the logging policy `alone_low` and `alone_high`: the
    interval of its lift when it is compared alone.
    """
    world = WORLDS[world_name]
    settings = Settings(grid="light", folds=FOLDS, n_boot=N_BOOT, seed=seed)
    policies: list[Policy] = [*(make() for make in REGISTRY.values()), world.logging]
    names = [policy_name(policy) for policy in policies]
    log = visible(logged_decisions(world, n_users, np.random.default_rng([seed, 1])))
    prepared = prepare_decisions(log, settings, world=world)
    crossfitted = cross_fit(prepared, policies, settings)
    estimates = estimate_all(prepared, crossfitted.observed, settings)
    truths = policy_truths(world, policies, crossfitted, settings, TRUTH_USERS)
    table = summary_table(names, estimates, log.n_users, truths)
    alone = summary_table(["logging"], _only(estimates, names.index("logging")), log.n_users, None)
    ends = alone.rename(columns={"lift_low": "alone_low", "lift_high": "alone_high"})
    keys = ["policy", "estimator", "metric"]
    table = table.merge(ends[ends["policy"] != CURRENT][[*keys, "alone_low", "alone_high"]], on=keys, how="left")
    table["true_lift"] = table["truth"] - table["metric"].map(dict(truths[CURRENT].metrics))
    return table[table["metric"].isin(KEPT)].assign(world=world_name, seed=seed)


def _only(estimates: Estimates, p: int) -> Estimates:
    return replace(
        estimates,
        value=estimates.value[[p]],
        replicates=estimates.replicates[:, [p]],
        overlap=[estimates.overlap[p]],
    )


def accuracy(rows: pd.DataFrame, metric: str = PRIMARY) -> pd.DataFrame:
    """Per policy and estimator: relative bias and RMSE in percent of the truth, coverage and its misses per side."""
    own = rows[(rows["metric"] == metric) & (rows["truth"] != 0)].copy()
    own["error"] = own["value"] / own["truth"] - 1
    own["below"] = (own["ci_high"] < own["truth"]) * 100.0
    own["above"] = (own["ci_low"] > own["truth"]) * 100.0
    own["covered"] = np.where(own["ci_low"].isna(), np.nan, 100.0 - own["below"] - own["above"])
    own["width"] = (own["ci_high"] - own["ci_low"]) / own["truth"] * 100
    own["answered"] = (own["verdict"] != UNANSWERABLE) * 100.0
    groups = own.groupby(["world", "policy", "estimator"], sort=False)
    table = groups.agg(
        seeds=("seed", "size"),
        bias=("error", lambda e: 100 * e.mean()),
        bias_error=("error", lambda e: 100 * e.std() / np.sqrt(len(e))),
        rmse=("error", lambda e: 100 * np.sqrt((e**2).mean())),
        coverage=("covered", "mean"),
        truth_above=("below", "mean"),
        truth_below=("above", "mean"),
        width=("width", "mean"),
        answered=("answered", "mean"),
    )
    return table.reset_index()


def claims(rows: pd.DataFrame) -> pd.DataFrame:
    """What the headline must keep to: pooled coverage, lift 0 where nothing differs, verdicts where nothing helps."""
    head = rows[rows["estimator"] == HEADLINE]
    found = []
    for world, own in head.groupby("world", sort=False):
        table = accuracy(own)  # exact policies, whose truth is 0, are not in it
        built_in = table[table["policy"].isin(REGISTRY)]
        n = own["seed"].nunique()
        same = own[(own["policy"] == "logging") & (own["metric"] == PRIMARY)]
        decided = own["verdict"].isin(["better", "worse"])
        volume = own[own["policy"].isin(AT_VOLUME) & (own["metric"] == PRIMARY) & decided]
        per_contact = own[(own["metric"] == "interests_per_contact") & decided]
        found += [
            (world, "pooled coverage of dr_cap over the built-in policies", built_in["coverage"].mean()),
            (world, "lowest coverage of a built-in policy", built_in["coverage"].min()),
            (
                world,
                "lift 0 inside the interval of the policy equal to logging",
                100 * ((same["alone_low"] <= 0) & (same["alone_high"] >= 0)).mean(),
            ),
            (
                world,
                "runs that call a policy at the current volume better or worse",
                100 * volume["seed"].nunique() / n,
            ),
            (
                world,
                "runs that call any policy better or worse per contact",
                100 * per_contact["seed"].nunique() / n,
            ),
        ]
    return pd.DataFrame(found, columns=["world", "claim", "value"])

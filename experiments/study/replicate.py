"""One log of a cell: every estimate on it beside the truth, in as few numbers as the scores need."""

import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from engagex_sim.blockwise import cross_fit, estimate_all, refitted
from engagex_sim.errors import InputError
from engagex_sim.estimate import NAMES as ESTIMATOR_NAMES
from engagex_sim.policy import policy_name
from engagex_sim.preparation import prepare_decisions
from engagex_sim.result import CURRENT, HEADLINE, ON_POLICY, PRIMARY
from engagex_sim.settings import Settings
from engagex_sim.tables import interval_table, summary_table
from engagex_sim.worlds import logged_decisions, visible
from experiments.study.cells import FOLDS, N_BOOT, Cell
from experiments.study.extras import hidden_cause_bounds, run_extras
from experiments.study.truth import Metrics, WorldTruth, truths

WHOLE_FAMILY = 300  # logs of a cell that all estimators answer, and on which the assumptions are tested
ALWAYS_TESTED = ("bursty",)  # cells with users of very unequal length, on whom a test may hang: tested on every log
SEEDS_APART = 1_000_000  # more than a cell has replications, so that studies with other seeds share no log
KEYS = ("policy", "estimator", "metric")
NAMES = ("values", "intervals", "policies", "runs")
NUMBERS = ("value", "ci_low", "ci_high", "lift", "lift_low", "lift_high")
SCORED_OF_ALL = NUMBERS[:3]  # of estimators beside the headline too


@dataclass(frozen=True)
class Tables:
    """The rows of some logs; every table has the columns `cell` and `replication`."""

    values: pd.DataFrame  # policy, estimator, metric, NUMBERS, truth, true_lift, verdict
    intervals: pd.DataFrame  # policy, method, ends for interests per user and its lift when compared alone, truths
    policies: pd.DataFrame  # policy, overlap of the headline's weights, extras
    runs: pd.DataFrame  # seconds of one core, interests, why the whole log was refused, extras

    @classmethod
    def join(cls, parts: Sequence["Tables"]) -> "Tables":
        """All rows, in order."""
        return cls(*(pd.concat([getattr(part, name) for part in parts], ignore_index=True) for name in NAMES))


def replicate(cell: Cell, replication: int, study_seed: int, fixed: WorldTruth) -> Tables:
    """Draw log `replication` of the cell, evaluate every policy on it with light models, and keep what is scored.

    `fixed` is what is true on every log of the world. Nothing depends on what else is run, or in which order. A
    log that the tool refuses as a whole leaves its reason and no values.
    """
    began = time.process_time()
    world, policies = cell.world, cell.policies()
    seed = study_seed * SEEDS_APART + replication
    own = zlib.crc32(cell.name.encode())  # cells that share a world share no log
    settings = Settings(
        grid="light", folds=FOLDS, n_boot=N_BOOT, seed=seed, cap_days=world.cap.days, refit_boot=cell.refits
    )
    log = visible(logged_decisions(world, cell.n_users, np.random.default_rng([study_seed, replication, own])))
    key = {"cell": cell.name, "replication": replication}
    try:
        prepared = prepare_decisions(log, settings, world=world)
        crossfitted = cross_fit(prepared, policies, settings)
        whole_family = replication < WHOLE_FAMILY
        tested = whole_family or cell.name in ALWAYS_TESTED
        only = ESTIMATOR_NAMES if whole_family else (HEADLINE,)
        estimates = estimate_all(prepared, crossfitted.observed, settings, only=only)
    except InputError as error:
        refused = pd.DataFrame([key | {"seconds": time.process_time() - began, "refused": str(error)}])
        nothing = pd.DataFrame([], columns=[*key])
        return Tables(nothing, nothing, nothing, refused)
    population = study_seed * SEEDS_APART + replication // cell.chunk
    true = truths(world, policies, crossfitted, settings, fixed, population)
    names = [policy_name(policy) for policy in policies]
    intervals = interval_table(names, estimates, refitted(prepared, policies, settings))
    table = summary_table(names, estimates, log.n_users, refusal=prepared.refusal)
    facts = [key | {"policy": name} | estimates.overlap[p]["cap"]._asdict() for p, name in enumerate(names)]
    if fixed.odds_ratio is not None:
        bounds = hidden_cause_bounds(crossfitted, estimates, fixed.odds_ratio)
        facts = [own | more for own, more in zip(facts, bounds, strict=True)]
    run = key | {
        "seconds": time.process_time() - began,
        "interests": prepared.facts.n_interests,
        "contacts": prepared.facts.n_contacts,
        "refused": None,
    }
    return Tables(
        values=_kept(table[table["estimator"].isin([*only, ON_POLICY])], true).assign(
            cell=cell.name, replication=replication
        ),
        intervals=_beside(intervals, true).assign(cell=cell.name, replication=replication),
        policies=pd.DataFrame(facts),
        runs=pd.DataFrame([run | run_extras(prepared, crossfitted, tested)]),
    )


def _kept(table: pd.DataFrame, true: Mapping[str, Metrics]) -> pd.DataFrame:
    """All estimators for the primary metric, the headline and the log itself for every metric.

    Of the other estimators only what is scored, in single precision: they make most of what a study stores.
    """
    answers = table["estimator"].isin([HEADLINE, ON_POLICY])
    own = (table["metric"] == PRIMARY) | answers
    kept, beside = table.loc[own, [*KEYS, *NUMBERS, "verdict"]], table.index[own & ~answers]
    scored = list(SCORED_OF_ALL)
    kept.loc[beside, scored] = kept.loc[beside, scored].astype(np.float32).astype(np.float64)
    kept.loc[beside, [*NUMBERS[len(scored) :], "verdict"]] = None
    kept = kept.reset_index(drop=True)
    return _beside(kept, true)


def _beside(table: pd.DataFrame, true: Mapping[str, Metrics]) -> pd.DataFrame:
    """With the columns `truth` and `true_lift`, of the primary metric where the table names none."""
    metrics = table["metric"] if "metric" in table else [PRIMARY] * len(table)
    truth = [true[policy][metric] for policy, metric in zip(table["policy"], metrics, strict=True)]
    current = [true[CURRENT][metric] for metric in metrics]
    return table.assign(truth=truth, true_lift=np.subtract(truth, current))

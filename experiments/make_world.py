"""`make_world`: a synthetic log as files, with the truth beside them."""

import json
import math
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd

from engagex_sim.decisions import Decisions
from engagex_sim.errors import InputError
from engagex_sim.implied_odds import HELD, implied_odds_ratio
from engagex_sim.log.sql import literal
from engagex_sim.report.formats import counted
from engagex_sim.result import CURRENT
from engagex_sim.whole import written_whole
from engagex_sim.worlds import (
    WORLDS,
    Confounded,
    Original,
    World,
    best_roc_auc,
    contact_chances,
    logged_decisions,
    tables,
    tables_of,
    true_value,
)
from engagex_sim.worlds.world import CHUNK
from experiments.inputs import output_directory
from experiments.registry import WORLD_USERS
from experiments.terminal import Progress, Terminal
from policies import REGISTRY

PROBE = 2_000  # users from whom triggers per user are measured
SMALLEST_POPULATION, LARGEST_POPULATION = 20_000, 100_000  # users on whom the truth is measured, by the log's size


def write_world(
    name: str, n_users: int | None, n_triggers: int | None, out: Path | None, seed: int, quiet: bool
) -> None:
    """Write `triggers.csv`, `actions.csv`, `users.csv` where users have attributes, and `truth.json`.

    All or nothing; says where they are. `visits` of so many triggers, instead of users, is the world `Original`.
    """
    if name not in WORLDS:
        raise InputError(f"There is no world {name!r}; there are: {', '.join(WORLDS)}.")
    if n_users is not None and n_triggers is not None:
        raise InputError("--n-users and --n-triggers are two ways to give the size; give one of them.")
    size = n_users if n_triggers is None else n_triggers
    if (size is not None and size < 1) or seed < 0:
        raise InputError("--n-users and --n-triggers are at least 1, and --seed at least 0.")
    directory = output_directory(out, "make_world")
    terminal = Terminal(quiet)
    with terminal.progress() as progress, written_whole(directory) as folder:
        world, users = _of_size(name, n_users, n_triggers)
        rows, best = _write_log(world, users, seed, folder, progress)
        truth = _truth(world, users, seed, progress) | {"best_roc_auc": _defined(best)}
        (folder / "truth.json").write_text(json.dumps(truth, indent=2) + "\n", encoding="utf-8")
    terminal.say(
        f"{world.name} ({world.summary}): {counted(rows['triggers'], 'trigger')} and"
        f" {counted(rows['actions'], 'contact')} of {counted(users, 'user')} are in {directory}, with the true"
        " values of some policies in truth.json."
    )
    if rows["users"]:
        terminal.say("All users and their attributes are in users.csv: give it as --users, the truth is about them.")


def _of_size(name: str, n_users: int | None, n_triggers: int | None) -> tuple[World, int]:
    """The world and the number of its users."""
    world = WORLDS[name]
    if n_triggers is None:
        return world, n_users or WORLD_USERS
    if name == "visits":
        return Original(), max(1, round(n_triggers * Original.users / Original.triggers))
    return world, max(1, round(n_triggers * PROBE / len(tables(world, PROBE, 0).triggers)))


def _write_log(
    world: World, n_users: int, seed: int, folder: Path, progress: Progress
) -> tuple[dict[str, int], dict[str, float]]:
    """Write the files, chunk by chunk; their rows, and the best ROC AUC that a model could have on their contacts."""
    rows, known = {"triggers": 0, "actions": 0, "users": 0}, []
    for done, decisions in _chunks(world, n_users, seed):
        known.append(contact_chances(world, decisions))
        log = tables_of(decisions)
        for name, table in (("triggers", log.triggers), ("actions", log.actions), ("users", log.users)):
            if table is not None:
                _append(table, folder / f"{name}.csv")
                rows[name] += len(table)
        progress(f"written: {done:,} of {n_users:,} users")
    chance, result = (np.concatenate(parts) for parts in zip(*known, strict=True))
    # Of the true probabilities, hidden traits included: on the results in the files, and whatever results are drawn.
    return rows, {"on_these_results": best_roc_auc(chance, result), "expected": best_roc_auc(chance)}


def _append(table: pd.DataFrame, file: Path) -> None:
    """Write a table's rows at the end of a file, after a header where the file is new.

    The bytes are those of `to_csv`, which takes several times as long. Raises `InputError` where there is no room.
    """
    part = file.with_suffix(".part")
    form = f"(FORMAT csv, HEADER {not file.exists()}, TIMESTAMPFORMAT '%Y-%m-%d %H:%M:%S')"
    try:
        with duckdb.connect() as connection:
            connection.register("part", table)
            connection.execute(f"COPY part TO {literal(str(part))} {form}")
        with part.open("rb") as written, file.open("ab") as whole:
            shutil.copyfileobj(written, whole)
        part.unlink()
    except (OSError, duckdb.IOException) as error:
        raise InputError(
            f"{file.name} cannot be written to the end; make room on the disk, or name another one with --out."
        ) from error


def _chunks(world: World, n_users: int, seed: int) -> Iterator[tuple[int, Decisions]]:
    """Users done so far and the next part of the log; the first chunk is what an experiment makes from `seed`."""
    seeds = [seed, *np.random.SeedSequence(seed).generate_state(math.ceil(n_users / CHUNK) - 1, np.uint64)]
    for i, chunk_seed in enumerate(seeds):
        first = i * CHUNK
        size = min(CHUNK, n_users - first)
        yield first + size, logged_decisions(world, size, np.random.default_rng(int(chunk_seed)))


def _truth(world: World, n_users: int, seed: int, progress: Progress) -> dict[str, Any]:
    """Values that a perfect evaluation would find, for the world's own strategy and the policies that need no log."""
    population = min(LARGEST_POPULATION, max(SMALLEST_POPULATION, 5 * n_users))
    known = {CURRENT: world.logging} | {
        name: policy() for name, policy in REGISTRY.items() if not hasattr(policy, "fit")
    }
    truths = {}
    for done, (name, policy) in enumerate(known.items()):
        progress(f"computing the truth of {name}", done, len(known))
        truths[name] = true_value(world, policy, n_users=population)
    return {
        "world": world.name,
        "summary": world.summary,
        "n_users": n_users,
        "seed": seed,
        "cap_days": world.cap.days,
        "days": world.days,
        "days_before_the_log": world.days_before,
        "evaluation": "from the end of the burn-in (one cap length) to the log's end, per user of a fresh population",
        "population": truths[CURRENT].n_users,
        "hidden_cause": _hidden_cause(world),
        "policies": {name: _defined(truth.metrics) for name, truth in truths.items()},
    }


def _hidden_cause(world: World) -> dict[str, float] | None:
    """How strong the unobserved common cause of contact and interest is, where there is one."""
    if not isinstance(world, Confounded):
        return None
    return {"strength": world.strength, "implied_odds_ratio": implied_odds_ratio(world), "held_for_share": HELD}


def _defined(metrics: Mapping[str, float]) -> dict[str, float | None]:
    """JSON has no NaN: what is undefined is null."""
    return {name: None if math.isnan(value) else value for name, value in metrics.items()}

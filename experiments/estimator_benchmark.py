"""`estimator_benchmark`: what seven estimators and their bootstrap cost, beside gathering rows for each replicate."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.table import Table

from engagex_sim.columns import FloatArray, IntArray, KeyArray
from engagex_sim.ope.resampling import bootstrap_sums, means
from engagex_sim.ope.terms import ESTIMATORS, Terms, per_user, value
from engagex_sim.report.tables import csv_text
from engagex_sim.whole import written_whole
from experiments.inputs import output_directory
from experiments.terminal import Terminal

NAMES = ("ips", "clipped_ips", "snips", "dm", "dr", "sndr", "switch_dr")
SHRINKAGE = 5.0  # λ, where weights are shrunk
REPEATS = 3  # the quickest counts: whatever else the machine does only adds


class Points(NamedTuple):
    """Decision points (n,) in the order of their users, as the estimators take them."""

    weight: FloatArray
    reward: FloatArray
    predicted: FloatArray
    model: FloatArray
    expected: FloatArray


def run_benchmark(n_users: int, decisions: int, n_boot: int, gathered: int, seed: int, out: Path | None = None) -> None:
    """Print how long ours and a gather per replicate take, on the same made-up decision points in the same run.

    `gathered` replicates are made by gathering, and their time is scaled to `n_boot`. With `out`, which must not exist,
    the same table is written to benchmark.csv there.
    """
    directory = None if out is None else output_directory(out, "estimator_benchmark")
    terminal = Terminal()
    points, user, key = made_up(n_users, decisions, seed)
    columns = per_user_columns(points, user, n_users)
    bootstrap_sums(columns, key, seed, 1)  # compiled before the clock runs
    point = _seconds(lambda: point_estimates(points, n_users))
    sums = _seconds(lambda: per_user_columns(points, user, n_users))
    ours = _seconds(lambda: replicates(bootstrap_sums(columns, key, seed, n_boot)))
    gather = _seconds(lambda: gathered_replicates(points, n_users, decisions, gathered, seed), repeats=1)
    scaled = gather * n_boot / gathered
    rows = [
        ("seven point estimates", point),
        ("the same as sums per user", sums),
        (f"{n_boot:,} replicates from the sums", ours),
        (f"sums and {n_boot:,} replicates", sums + ours),
        (f"{n_boot:,} replicates, gathering rows", scaled),
    ]
    found = pd.DataFrame(rows, columns=["what", "seconds"])
    found["times_ours"] = found["seconds"] / (sums + ours)
    table = Table(box=SIMPLE_HEAD)
    table.add_column("what")
    table.add_column("seconds", justify="right")
    table.add_column("times ours", justify="right")
    for what, seconds, times in found.itertuples(index=False):
        table.add_row(what, f"{seconds:.3f}", f"{times:,.2f}")
    terminal.say(f"{n_users * decisions:,} decision points of {n_users:,} users; {', '.join(NAMES)}.")
    terminal.show(table)
    terminal.say(f"The last row is measured on {gathered} replicates and scaled.")
    if directory is not None:
        with written_whole(directory) as folder:
            (folder / "benchmark.csv").write_text(csv_text(found), encoding="utf-8", newline="\n")
        terminal.say(f"Written: {directory}", on_one_line=True)


def made_up(n_users: int, decisions: int, seed: int) -> tuple[Points, IntArray, KeyArray]:
    """Decision points of `n_users` with `decisions` each, the user of each, and the users' keys."""
    rng = np.random.default_rng(seed)
    n = n_users * decisions
    points = Points(
        weight=rng.lognormal(-0.5, 1.0, n),
        reward=(rng.random(n) < 0.03).astype(np.float64),
        predicted=rng.uniform(0.0, 0.06, n),
        model=rng.uniform(0.0, 0.06, n),
        expected=np.ones(n),
    )
    return points, np.repeat(np.arange(n_users), decisions), rng.integers(0, 2**63, n_users).astype(np.uint64)


def point_estimates(points: Points, n_users: int) -> FloatArray:
    """The seven values (7,) per user, without sums per user."""
    return np.array([_value(_terms(name, points), n_users) for name in NAMES])


def per_user_columns(points: Points, user: IntArray, n_users: int) -> FloatArray:
    """A column of ones, and the columns B, Q, N, D of every estimator, (n_users, 29)."""
    own = [column for name in NAMES for column in per_user(_terms(name, points), user, n_users)]
    return np.column_stack([np.ones(n_users), *own])


def replicates(sums: FloatArray) -> FloatArray:
    """The seven values in each replicate, (n_boot, 7), from sums of the columns."""
    found = means(sums[:, 1:], sums[:, 0])
    return np.column_stack([value(*found[:, 4 * i : 4 * i + 4].T) for i in range(len(NAMES))])


def gathered_replicates(points: Points, n_users: int, decisions: int, n_boot: int, seed: int) -> FloatArray:
    """The same by drawing users, gathering their decision points and estimating anew, for each replicate."""
    rng = np.random.default_rng(seed)
    out = np.empty((n_boot, len(NAMES)))
    for b in range(n_boot):
        drawn = rng.integers(0, n_users, n_users)
        rows = (drawn[:, None] * decisions + np.arange(decisions)).ravel()
        out[b] = point_estimates(Points(*(column[rows] for column in points)), n_users)
    return out


def _terms(name: str, points: Points) -> Terms:
    return ESTIMATORS[name](*points, SHRINKAGE)


def _value(terms: Terms, n_users: int) -> float:
    return float(value(*(np.array(column.sum() / n_users) for column in terms)))


def _seconds(work: Callable[[], object], repeats: int = REPEATS) -> float:
    taken = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return min(taken)

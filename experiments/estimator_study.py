"""`estimator_study`: are the answers right where the truth is known? Runs, continues and scores the study."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from engagex_sim.errors import InputError
from engagex_sim.report.formats import counted, listing
from engagex_sim.report.tables import csv_text, write_text
from engagex_sim.result import HEADLINE, PRIMARY
from experiments.inputs import output_directory
from experiments.study.agreement import check_agreement
from experiments.study.cells import FOLDS, N_BOOT, Cell, chosen
from experiments.study.claims import claims
from experiments.study.figures import draw
from experiments.study.page import page
from experiments.study.parallel import StudyError, Unit, finished, processes, truths_of, units_of
from experiments.study.replicate import Tables
from experiments.study.score import accuracy, headline
from experiments.study.store import Store
from experiments.study.verdict_rules import fit_rules
from experiments.terminal import Progress, Terminal

SHOWN = ["cell", "policy", "runs", "bias", "bias_error", "rmse", "coverage", "truth_above", "truth_below", "answered"]


def run_study(
    cells: Sequence[str] | None,
    replications: int | None,
    small: bool,
    seed: int | None,
    out: Path | None,
    resume: Path | None,
    workers: int,
    max_minutes: float | None,
    quiet: bool,
) -> None:
    """Run what is missing of the cells, then write tables, figures and the page over everything that is there.

    With `resume`, that is what was asked for before, and `cells` and a larger limit of `replications` add to it.
    Code and libraries that did not begin the study go on with it if they give the same numbers.
    Raises `InputError` for options that do not fit, and where the numbers are others; `StudyError` for a replication
    that failed. What was finished is kept.
    """
    stop_at = None if max_minutes is None else time.monotonic() + 60 * max_minutes
    if resume is not None and out is not None:
        raise InputError("--resume continues the study in its own directory; leave out --out.")
    if resume is None:
        own, limit, widened = chosen(cells, small), replications, ""
        store = Store.new(output_directory(out, "estimator_study"), seed or 0, small)
    else:
        store = Store.opened(resume)
        _check_same(store, small, seed)
        own, limit, widened = _continued(store.asked, cells, replications)
    terminal = Terminal(quiet)
    if store.made_with_other:
        terminal.say(f"Other {listing(store.made_with_other)} made this study: are the numbers the same now?")
        with processes(workers) as pool:
            check_agreement(pool, store)
    store.add(own, limit)
    asked = store.asked
    done = {cell.name: store.done(cell.name) for cell in own}
    missing = list(units_of(own, limit, asked["small"], asked["seed"], done))
    terminal.say(_plan(own, missing, workers) + widened)
    with terminal.progress() as progress:
        try:
            complete = _run(store, own, missing, workers, stop_at, progress)
        except StudyError as error:
            error.add_note(f"What was finished is kept; go on with --resume {store.directory}.")
            raise
    tables = store.read()
    if tables.values.empty:
        terminal.say(f"No log was finished; to be continued with --resume {store.directory}", on_one_line=True)
        return
    _write(store.directory, tables, asked)
    _tell(terminal, tables)
    if not complete:
        terminal.say(f"Stopped after {max_minutes:g} minutes; to be continued with --resume {store.directory}")
    terminal.say(f"Written: {store.directory}", on_one_line=True)


def _check_same(store: Store, small: bool, seed: int | None) -> None:
    """Raise `InputError` that names the options, of those given, with which the study was not begun."""
    own, wrong = [], []
    if seed not in (None, store.asked["seed"]):
        own.append(f"with --seed {store.asked['seed']}")
        wrong.append("--seed")
    if small and not store.asked["small"]:
        own.append("without --small")
        wrong.append("--small")
    if wrong:
        raise InputError(f"{store.directory} is a study {listing(own)}; leave out {listing(wrong)}.")


def _continued(
    asked: Mapping[str, Any], names: Sequence[str] | None, replications: int | None
) -> tuple[list[Cell], int | None, str]:
    """The cells and the limit of a study that goes on, and in words what the options add to what was asked before.

    The cells that are named now come first; no option takes away anything.
    """
    before, limit = list(asked["cells"]), asked["replications"]
    cells = chosen(list(dict.fromkeys([*(names or ()), *before])), asked["small"])
    added = [cell.name for cell in cells if cell.name not in before]
    wider = [f"also {listing(added)}"] if added else []
    if limit is not None and replications is not None and replications > limit:
        limit = replications
        wider.append(f"up to {counted(limit, 'log')} in each, where it is planned")
    if wider:
        return cells, limit, f" More than was asked for before: {listing(wider)}."
    return cells, limit, "" if names is None and replications is None else " All of it was asked for before."


def _plan(cells: Sequence[Cell], missing: Sequence[Unit], workers: int) -> str:
    logs = sum(unit.last - unit.first for unit in missing)
    return (
        f"Evaluating {counted(logs, 'log')} in {listing([cell.name for cell in cells])}: {FOLDS} folds, light models,"
        f" {N_BOOT} bootstrap replicates, {counted(workers, 'process', 'processes')}."
    )


def _run(
    store: Store, cells: Sequence[Cell], missing: list[Unit], workers: int, stop_at: float | None, progress: Progress
) -> bool:
    """Run and store the units; False where time ran out before the last."""
    if not missing:
        return True
    if stop_at is not None and time.monotonic() >= stop_at:
        return False
    total, done, began = sum(unit.last - unit.first for unit in missing), 0, time.monotonic()
    with processes(min(workers, len(missing))) as pool:
        progress("true values", 0, total)
        fixed = truths_of(pool, store, [cell for cell in cells if any(unit.cell == cell.name for unit in missing)])
        ready = [unit.with_truth(fixed[unit.cell]) for unit in missing]
        for unit, tables in finished(pool, ready, workers, stop_at):
            store.keep(unit.cell, unit.first, unit.last, tables)
            done += unit.last - unit.first
            left = (time.monotonic() - began) / done * (total - done) / 60
            progress(f"log {done:,} of {total:,}, {unit.cell}, about {left:.0f} min left", done, total)
    return done == total


def _write(directory: Path, tables: Tables, asked: dict[str, object]) -> None:
    rules = fit_rules(tables)
    scores = {"accuracy": accuracy(tables.values, tables.runs), "claims": claims(tables), "verdict_rules": rules.table}
    for name, table in scores.items():
        write_text(directory / f"{name}.csv", csv_text(table))
    draw(scores["accuracy"], directory)
    write_text(directory / "study.md", page(tables, scores["accuracy"], scores["claims"], rules, asked))


def _tell(terminal: Terminal, tables: Tables) -> None:
    terminal.say(f"{HEADLINE}, {PRIMARY}, in percent of the truth:")
    terminal.say(headline(accuracy(tables.values, tables.runs))[SHOWN].round(1).to_string(index=False))
    for claim in claims(tables).itertuples(index=False):
        terminal.say(f"{claim.cell}: {claim.claim}: {claim.value:.3g} (wanted: {claim.wanted}); holds: {claim.holds}")
    refused = tables.runs["refused"].dropna()
    if len(refused):
        terminal.say(
            f"{counted(len(refused), 'log was', 'logs were')} refused as a whole; the first: {refused.iloc[0]}"
        )

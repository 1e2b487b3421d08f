"""`imbalance_study`: what should be done about few interests? Every strategy on the same logs and splits."""

from collections.abc import Sequence
from functools import partial
from typing import Any, get_args

import pandas as pd

from engagex_sim.errors import InputError
from engagex_sim.execution import workers
from engagex_sim.report.formats import counted, listing
from engagex_sim.report.tables import csv_text, write_text
from engagex_sim.settings import Imbalance, Settings
from engagex_sim.whole import written_whole
from engagex_sim.worlds import WORLDS
from experiments.imbalance.figure import draw
from experiments.imbalance.measure import Task, measure
from experiments.imbalance.page import page
from experiments.imbalance.sentences import sentences, uncompared
from experiments.imbalance.summary import NOTHING, Found, summarised
from experiments.inputs import Options, check_own_log, files_from, output_directory, settings_from
from experiments.terminal import Terminal

STRATEGIES: tuple[str, ...] = get_args(Imbalance)
OWN_LOG = "your log"
STUDIED = ("visits", "seed_like", "null")
FULL: Options = {"repeats": 10, "n_users": 10_000, "grid": "small"}
SMALL: Options = {"repeats": 2, "n_users": 1_200, "grid": "light"}
TRUTH_USERS, SMALL_TRUTH_USERS = 20_000, 2_000
FOLDS, N_BOOT = 2, 200


def run_imbalance_study(options: Options, command: str) -> None:
    """Measure, summarise, and write tables, figure and page. Raises `InputError` before anything slow begins."""
    small = bool(options["small"])
    quick = SMALL if small else FULL
    chosen = {name: quick[name] if options[name] is None else options[name] for name in quick}
    if chosen["repeats"] < 1 or chosen["n_users"] < 1:
        raise InputError("--repeats and --n-users are at least 1.")
    given = {**options, **chosen, "folds": FOLDS if options["folds"] is None else options["folds"], "n_boot": N_BOOT}
    settings = settings_from(given, Settings)
    strategies = _known("strategies", options["strategies"], STRATEGIES, STRATEGIES)
    strategies = [NOTHING, *(name for name in strategies if name != NOTHING)]
    files = files_from(options)
    if files is not None and options["worlds"] is not None:
        raise InputError("--worlds and a log of your own are two studies; give one of them.")
    check_own_log(options, files, "n_users")
    logs = [OWN_LOG] if files else _known("worlds", options["worlds"], STUDIED, tuple(WORLDS))
    directory = output_directory(options["out"], "imbalance_study")
    tasks = [
        Task(
            log=log,
            repeat=repeat,
            settings=_of_repeat(settings, log, repeat, strategy),
            n_users=chosen["n_users"],
            truth_users=SMALL_TRUTH_USERS if small else TRUTH_USERS,
            files=files,
            options={"no_cache": options["no_cache"], "threads": 1} if files else None,
        )
        for log in logs
        for repeat in range(chosen["repeats"])
        for strategy in strategies
    ]
    terminal = Terminal(bool(options["quiet"]))
    terminal.warn_of_compilation()
    what = files.triggers.name if files else listing(logs)
    terminal.say(
        f"Comparing {listing(strategies)} on {what}: {counted(chosen['repeats'], 'repeat')},"
        f" {counted(settings.threads, 'process', 'processes')}."
    )
    parts = _measured(tasks, settings.threads, terminal)
    without = left_out(tasks, parts, chosen["repeats"])
    rows = pd.concat([part for part in parts if len(part)], ignore_index=True)
    summary = summarised(rows)
    said = [*sentences(Found(summary)), *without]
    with written_whole(directory) as folder:
        write_text(folder / "logs.csv", csv_text(rows))
        write_text(folder / "imbalance.csv", csv_text(summary))
        draw(summary, folder / "imbalance.png")
        write_text(folder / "imbalance.md", page(summary, said, settings, chosen, command, what if files else None))
    for sentence in said:
        terminal.say(sentence)
    terminal.say(f"Written: {directory}", on_one_line=True)


def _known(option: str, text: str | None, usual: Sequence[str], known: Sequence[str]) -> list[str]:
    """The names in a list, the usual ones where none are given."""
    names = list(usual) if text is None else [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in known:
            raise InputError(f"--{option} has no {name!r}; there are: {', '.join(known)}.")
    if not names:
        raise InputError(f"--{option} names nothing; there are: {', '.join(known)}.")
    return list(dict.fromkeys(names))


def _of_repeat(settings: Settings, log: str, repeat: int, strategy: str) -> Settings:
    """One thread, another seed for every repeat, and in a world its own cap; the splits depend on the seed alone."""
    change: dict[str, Any] = {"imbalance": strategy, "seed": settings.seed + repeat, "threads": 1}
    if log in WORLDS:
        change["cap_days"] = WORLDS[log].cap.days
    return settings.model_copy(update=change)


def left_out(tasks: Sequence[Task], parts: Sequence[pd.DataFrame], repeats: int) -> list[str]:
    """A sentence for every log of which repeats have no row. Raises `InputError` where all are like that."""
    missing = {task.log: set[int]() for task in tasks}
    for task, part in zip(tasks, parts, strict=True):
        if part.empty:
            missing[task.log].add(task.repeat)
    of_world = tasks[0].files is None
    if all(part.empty for part in parts):
        raise InputError(uncompared(listing(list(missing)), repeats, repeats, of_world))
    return [uncompared(log, len(without), repeats, of_world) for log, without in missing.items() if without]


def _measured(tasks: Sequence[Task], processes: int, terminal: Terminal) -> list[pd.DataFrame]:
    parts: list[pd.DataFrame] = []
    count = min(processes, len(tasks))
    with workers("processes" if count > 1 else "threads", count) as over, terminal.progress() as progress:
        progress("measuring", 0, len(tasks))
        for task, part in zip(tasks, over(partial(_nth, list(tasks)), len(tasks)), strict=True):
            parts.append(part)
            progress(f"{task.log}, repeat {task.repeat + 1}, {task.settings.imbalance}", len(parts), len(tasks))
    return parts


def _nth(tasks: Sequence[Task], number: int) -> pd.DataFrame:
    return measure(tasks[number])

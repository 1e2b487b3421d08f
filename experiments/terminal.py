"""What a run shows: sentences and a table on stdout, progress on stderr."""

import math
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from textwrap import fill
from typing import Protocol

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as ProgressBar
from rich.table import Table
from rich.text import Text

import engagex_sim
from engagex_sim.ope.verdict import BETTER, UNANSWERABLE, WORSE
from engagex_sim.report.answers import CONTACTS, Answer, Estimate
from engagex_sim.report.formats import UNDEFINED, number, number_range, percent

COLUMNS, NAME_WIDTH = 80, 14  # of a policy, so that all columns fit; a wider terminal leaves its rest to the names
STYLES = {BETTER: "green", WORSE: "red", UNANSWERABLE: "yellow"}


class Progress(Protocol):
    """Told what is being done, how many steps are done, and how many there are, if that is known."""

    def __call__(self, step: str, done: int = 0, total: int | None = None, /) -> None: ...


class Terminal:
    """Works on a terminal of 80 columns and, without control codes, in a pipe."""

    def __init__(self, quiet: bool = False) -> None:
        self._out = Console(highlight=False, markup=False, emoji=False)
        self._err = Console(stderr=True, highlight=False, markup=False, emoji=False)
        self._quiet = quiet
        self._began = time.monotonic()

    @property
    def name_width(self) -> int:
        """Letters of a policy's name on one line of a table."""
        return NAME_WIDTH + max(0, self._out.width - COLUMNS)

    def say(self, text: str, *, on_one_line: bool = False) -> None:
        """A paragraph; broken into lines on a terminal only, so that a pipe gets one line, and a path never."""
        self._out.print(Text(text), soft_wrap=on_one_line or not self._out.is_terminal)

    def show(self, table: Table) -> None:
        """A table, as wide as the terminal at most, between blank lines."""
        self._out.print("", table, "", sep="\n")

    @contextmanager
    def progress(self) -> Iterator[Progress]:
        """A function that tells what happens now: one changing line on a terminal, one line each in a log."""
        if self._quiet:
            yield lambda *_: None
        elif self._err.is_terminal:
            columns = TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn()
            with ProgressBar(*columns, console=self._err, transient=True) as bar:
                task = bar.add_task("", total=None)

                def show(step: str, done: int = 0, total: int | None = None) -> None:
                    bar.update(task, description=step, completed=done, total=total)

                yield show
        else:

            def tell(step: str, done: int = 0, total: int | None = None) -> None:
                of_total = f" ({done} of {total})" if total else ""
                self._err.print(Text(f"{time.monotonic() - self._began:6.1f} s  {step}{of_total}"), soft_wrap=True)

            yield tell

    def warn_of_compilation(self) -> None:
        """Say that the first run takes longer, where numba finds nothing compiled by an earlier one."""
        package = Path(engagex_sim.__file__).parent
        folder = Path(os.environ.get("NUMBA_CACHE_DIR") or package)
        if not self._quiet and next(folder.rglob("*.nbi"), None) is None:
            self._err.print(
                Text("First run on this machine: numerical code is compiled once, which takes up to a minute."),
                soft_wrap=True,
            )


def result_table(found: Sequence[Answer], name_width: int) -> Table:
    """One row per policy: contacts and interests per user, the lift in interests with its interval, the verdict."""
    in_a_world = any(not math.isnan(answer.primary.truth) for answer in found)
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("policy", no_wrap=True)  # only the verdict gives way on a narrow terminal
    numbers = ["contacts\nper user", "interests\nper user,\n95 % CI", *(["truth"] if in_a_world else [])]
    for header in [*numbers, "lift,\n95 % CI"]:
        table.add_column(header, justify="right", no_wrap=True)
    table.add_column("verdict")
    for answer in found:
        truth = [number(answer.primary.truth)] if in_a_world else []
        contacts = number(answer[CONTACTS].value)
        if answer.refused:  # its numbers stay in summary.csv: shown here they would be believed
            interests = lift = UNDEFINED
        else:
            interests, lift = _interests(answer.primary), "" if answer.is_current else _lift(answer.primary)
        verdict = verdict_text(answer.primary.verdict)
        table.add_row(fill(answer.policy, name_width), contacts, interests, *truth, lift, verdict)
    return table


def _interests(estimate: Estimate) -> str:
    return _with_interval(number(estimate.value), number_range(estimate.low, estimate.high))


def _lift(estimate: Estimate) -> str:
    """As a share of the current strategy's interests; in absolute numbers where it has none."""
    if math.isnan(estimate.change):
        return _with_interval(number(estimate.lift), number_range(estimate.lift_low, estimate.lift_high))
    low, high = (percent(end, signed=True) for end in (estimate.change_low, estimate.change_high))
    return _with_interval(percent(estimate.change, signed=True), f"{low.removesuffix(' %')} … {high}")


def _with_interval(middle: str, interval: str) -> str:
    return f"{middle}\n{interval}"


def verdict_text(verdict: str) -> Text:
    """The verdict in its colour."""
    return Text(verdict, style=STYLES.get(verdict, ""))

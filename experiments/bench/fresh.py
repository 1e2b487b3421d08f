"""A measurement in a process of its own: its peak of memory is its own, and what it loads slows no other."""

import sys
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TypeVar

from engagex_sim.errors import InputError
from experiments.terminal import Progress

T = TypeVar("T")
_ANSWER, _STEP, _REFUSED = "answer", "step", "refused"


def fresh(work: Callable[[Progress], T], progress: Progress) -> T:
    """The answer of `work`, which is picklable and told through its argument what to show, in a new process.

    Raises `InputError` where the work does, and where the process ends without an answer.
    """
    context = get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(sender, work))
    process.start()
    sender.close()
    try:
        while True:
            kind, content = receiver.recv()
            if kind == _STEP:
                progress(*content)
            elif kind == _REFUSED:
                raise InputError(content)
            else:
                answer: T = content
                return answer
    except EOFError:
        process.join()
        raise InputError(
            f"A measurement ended without an answer (exit code {process.exitcode}); if it was killed, most likely for"
            " lack of memory: measure fewer --rows."
        ) from None
    finally:
        receiver.close()
        process.join()


def _work(sender: Connection, work: Callable[[Progress], object]) -> None:
    def tell(step: str, done: int = 0, total: int | None = None, /) -> None:
        sender.send((_STEP, (step, done, total)))

    try:
        sender.send((_ANSWER, work(tell)))
    except InputError as error:
        sender.send((_REFUSED, str(error)))


def forget_peak() -> None:
    """Let this process's peak of memory begin anew, where the system can do that (Linux)."""
    with suppress(OSError):  # the peak is then that of the process so far
        Path("/proc/self/clear_refs").write_text("5")


def peak() -> int:
    """The most memory that this process held, in bytes."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):  # `ru_maxrss` is second best: it may be that of the process that started this one
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

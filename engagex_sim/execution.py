"""Running a function over the blocks of a log, in this process or elsewhere."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Protocol, TypeVar

T = TypeVar("T")


class OverBlocks(Protocol):
    """Something that runs a function of a block's number over all blocks, and gives the answers in order."""

    def __call__(self, function: Callable[[int], T], count: int) -> Iterable[T]: ...


def in_turn(function: Callable[[int], T], count: int) -> Iterable[T]:
    """One block after the other, each when its answer is asked for."""
    return map(function, range(count))


@dataclass(frozen=True)
class Concurrently:
    """Several blocks at a time, by an executor of `concurrent.futures` with so many workers.

    No more than a few answers wait to be taken. Where the executor runs in other processes, function and answers must
    be picklable.
    """

    executor: Executor
    workers: int

    def __call__(self, function: Callable[[int], T], count: int) -> Iterator[T]:
        pending: deque[Future[T]] = deque()
        for block in range(count):
            pending.append(self.executor.submit(function, block))
            if len(pending) > self.workers + 1:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()

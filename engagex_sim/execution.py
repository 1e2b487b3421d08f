"""Running a function over the blocks of a log: here, in threads, in processes, or on a Dask cluster.

Whatever computes knows nothing of this: it is handed something that runs a function over all blocks.
"""

import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from multiprocessing import get_context, parent_process
from typing import Generic, Literal, Protocol, TypeVar

import cloudpickle
from threadpoolctl import threadpool_limits

from engagex_sim.errors import InputError

Kind = Literal["threads", "processes", "dask"]
KINDS: tuple[Kind, ...] = ("threads", "processes", "dask")
T = TypeVar("T")
LOSSES = 3  # how often workers may be lost before a run is given up
_LOST = "Worker processes were killed again and again, most likely for lack of memory; use fewer --threads."
_PRELOADED = "engagex_sim.evaluation"  # imported once for all worker processes


class OverBlocks(Protocol):
    """Something that runs a function of a block's number over all blocks, and gives the answers in order."""

    def __call__(self, function: Callable[[int], T], count: int) -> Iterable[T]: ...


def in_turn(function: Callable[[int], T], count: int) -> Iterable[T]:
    """One block after the other, each when its answer is asked for."""
    return map(function, range(count))


class Concurrently:
    """Several blocks at a time, by an executor of `concurrent.futures` that `start` makes, here or `elsewhere`.

    No more than a few answers wait to be taken. Lost worker processes are replaced, and only the blocks that they held
    are computed again.
    """

    def __init__(self, start: Callable[[], Executor], workers: int, elsewhere: bool) -> None:
        self._start = start
        self._elsewhere = elsewhere
        self._workers = workers
        self._executor = start()
        self._losses = 0

    def __call__(self, function: Callable[[int], T], count: int) -> Iterator[T]:
        """Raises `InputError` where workers are lost again and again."""
        if self._elsewhere:
            function = _Sent(function)
        pending: deque[Future[T]] = deque()
        done = 0
        while done < count:
            try:
                while done + len(pending) < count and len(pending) <= self._workers:
                    pending.append(self._executor.submit(function, done + len(pending)))
                answer = pending[0].result()
            except BrokenProcessPool:  # what was pending is lost with the workers
                self._replace_workers()
                pending.clear()
                continue
            pending.popleft()
            done += 1
            yield answer

    def close(self) -> None:
        """Let go of the workers, what they have not begun included."""
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _replace_workers(self) -> None:
        self.close()
        self._losses += 1
        if self._losses > LOSSES:
            raise InputError(_LOST)
        self._executor = self._start()


class _Sent(Generic[T]):
    """A function for other processes, with the code of policies that no other process could import."""

    def __init__(self, function: Callable[[int], T]) -> None:
        self._payload: bytes = cloudpickle.dumps(function)

    def __call__(self, block: int) -> T:
        answer: T = cloudpickle.loads(self._payload)(block)
        return answer


@contextmanager
def workers(kind: Kind, count: int, scheduler: str | None = None) -> Iterator[OverBlocks]:
    """`count` workers of a kind; a Dask cluster is the one at address `scheduler`, or begun on this machine.

    Raises `InputError` where Dask is not installed, or no cluster answers.
    """
    # One thread for each product of matrices, all the while: limits that are set and lifted by threads side by side
    # would leave any number behind, and the last digits of an answer depend on it.
    with threadpool_limits(1, user_api="blas"):
        if kind == "dask":
            with _dask(count, scheduler) as over:
                yield over
        elif count == 1 and kind == "threads":
            yield in_turn
        else:
            over = Concurrently(lambda: _pool(kind, count), count, elsewhere=kind == "processes")
            try:
                yield over
            finally:
                over.close()


def _pool(kind: Kind, count: int) -> Executor:
    if kind == "threads":
        return ThreadPoolExecutor(count)
    context = get_context("forkserver")  # a fork of this process would copy the locks of its threads
    context.set_forkserver_preload([_PRELOADED])
    return ProcessPoolExecutor(count, mp_context=context, initializer=leave_with_parent)


def leave_with_parent() -> None:
    """To be called first in a worker process: it ends with the one it works for, even where that one was killed."""
    parent = parent_process()
    assert parent is not None  # this is a worker

    def watch() -> None:
        parent.join()
        os._exit(1)  # nobody is left to be told why

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def _dask(count: int, scheduler: str | None) -> Iterator[OverBlocks]:
    """The workers of a Dask cluster, which replaces lost ones itself."""
    try:
        from distributed import Client, KilledWorker, LocalCluster
    except ImportError as error:
        raise InputError("--executor dask needs Dask: pip install 'engagex-sim[dask]'.") from error
    with ExitStack() as stack:
        if scheduler is None:
            local = LocalCluster(count, threads_per_worker=1, dashboard_address=":0", silence_logs=logging.ERROR)
            client = stack.enter_context(Client(stack.enter_context(local)))
        else:
            try:
                client = stack.enter_context(Client(scheduler, timeout=10))
            except (OSError, ValueError) as error:
                raise InputError(f"No Dask scheduler answers at {scheduler}: {error}.") from error
            count = max(sum(client.nthreads().values()), 1)
        try:
            yield Concurrently(lambda: client.get_executor(retries=LOSSES), count, elsewhere=True)
        except KilledWorker as error:
            raise InputError(_LOST) from error

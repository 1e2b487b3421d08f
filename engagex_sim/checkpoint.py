"""What an evaluation has finished, kept so that a run that was stopped can be continued."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol, Self

import numpy as np

from engagex_sim.columns import FloatArray
from engagex_sim.execution import OverBlocks
from engagex_sim.models.learned import Learned
from engagex_sim.observed import Observed
from engagex_sim.observed_files import load_observed, save_observed
from engagex_sim.store import Store

Judged = tuple[Observed | None, FloatArray]  # a block, None without judged users, and how many of them each fold has
_OBSERVED, _USERS = "observed.npz", "users.npy"


class Checkpoint(Protocol):
    """Asked for whatever takes long, and given the way to compute it."""

    def models(self, fold: int, threads: int, learn: Callable[[], Learned]) -> Learned:
        """The models of a fold, which predict with so many threads."""
        ...

    def blocks(self, over: OverBlocks, observe: Callable[[int], Judged], count: int) -> Iterable[Judged]:
        """`observe` of every block, in order; `over` goes through those that are to be observed."""
        ...

    def part(self, name: str) -> Self:
        """The checkpoint of another evaluation within the same run."""
        ...


class NothingKept:
    """Computes everything and keeps nothing."""

    def models(self, fold: int, threads: int, learn: Callable[[], Learned]) -> Learned:
        del fold, threads
        return learn()

    def blocks(self, over: OverBlocks, observe: Callable[[int], Judged], count: int) -> Iterable[Judged]:
        return over(observe, count)

    def part(self, name: str) -> Self:
        del name
        return self


NOTHING_KEPT = NothingKept()


@dataclass(frozen=True)
class Kept:
    """Keeps everything in a store, and computes what is not there or damaged."""

    store: Store
    prefix: str = ""

    def models(self, fold: int, threads: int, learn: Callable[[], Learned]) -> Learned:
        name = f"{self.prefix}fold-{fold}"
        found = self.store.found(name, lambda folder: Learned.load(folder, threads))
        if found is None:
            found = learn()
            self.store.keep(name, found.save)
        return found

    def blocks(self, over: OverBlocks, observe: Callable[[int], Judged], count: int) -> Iterator[Judged]:
        names = [f"{self.prefix}block-{block:05d}" for block in range(count)]
        missing = [block for block, name in enumerate(names) if name not in self.store]
        observed = iter(over(partial(_chosen, observe, missing), len(missing)))
        for block, name in enumerate(names):
            found = None if block in missing else self.store.found(name, _load)
            if found is None:
                found = next(observed) if block in missing else observe(block)
                self.store.keep(name, partial(_save, found))
            yield found

    def part(self, name: str) -> Self:
        return type(self)(self.store, f"{self.prefix}{name}-")


def _chosen(observe: Callable[[int], Judged], blocks: list[int], number: int) -> Judged:
    return observe(blocks[number])


def _save(judged: Judged, folder: Path) -> None:
    observed, users = judged
    np.save(folder / _USERS, users)
    if observed is not None:
        save_observed(observed, folder / _OBSERVED)


def _load(folder: Path) -> Judged:
    path = folder / _OBSERVED
    return load_observed(path) if path.exists() else None, np.load(folder / _USERS)

"""Balancing the classes with written rows: an alternative to SMOTE that a pipeline can resample by."""

import hashlib
from collections import Counter
from threading import Lock
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from engagex_sim.augment.account import Account
from engagex_sim.augment.generator import Batch, Examples, RowGenerator
from engagex_sim.augment.realism import two_sample_auc
from engagex_sim.augment.rows import Columns, MatrixArray, shown
from engagex_sim.augment.validation import checked
from engagex_sim.columns import BoolArray, IntArray
from engagex_sim.errors import InputError

COPY = "a copy of a real row"
REPEATED = "a row that was written before"
SURPLUS = "more than was asked for"


def augmented(
    matrix: MatrixArray,
    label: IntArray,
    *,
    columns: Columns,
    ratio: float,
    seed: int,
    generator: RowGenerator,
) -> tuple[MatrixArray, IntArray, Account | None]:
    """The rows, and written ones of the rarer class until it has `ratio` times as many rows as the other.

    The generator sees the rarer class of these rows and nothing else. What it writes is checked; copies of those rows,
    to the digits that a language model is shown, are dropped, and so are written rows that are equal though some number
    is not whole. Where too few rows are left, rows of the rarer class, real and written, are repeated evenly, so that
    the classes are as balanced as was asked for. None is the account where nothing was needed.
    """
    counts = np.bincount(label, minlength=2)
    wanted = round(ratio * counts.max()) - int(counts.min())
    if counts.min() == 0 or wanted <= 0:
        return matrix, label, None
    rarer = int(counts.argmin())
    taking = _Taking(columns, matrix[label == rarer], wanted)
    examples = Examples(taking.named, taking.features, interested=rarer == 1)
    for batch in generator.batches(examples, taking.missing, seed):
        taking.take(batch)
        if taking.missing() == 0:
            break
    grown = np.vstack([matrix, taking.used])
    labels = np.concatenate([label, np.full(len(taking.used), rarer, dtype=label.dtype)])
    again = np.random.default_rng(seed).permutation(np.flatnonzero(labels == rarer))
    again = np.resize(again, taking.missing())
    account = taking.account(len(matrix), seed)
    return np.vstack([grown, grown[again]]), np.concatenate([labels, labels[again]]), account


class _Taking:
    """What is taken of the written rows that could have been among the `real` ones (m, p), and what of the others."""

    def __init__(self, columns: Columns, real: MatrixArray, wanted: int) -> None:
        self.columns = columns
        self.real = real
        self.wanted = wanted
        self.named = columns.named(real)
        self.features = columns.features(self.named)
        # Where a number is not whole, rows are not equal by chance; where all is text and counts, they often are.
        self.is_unlike = any(f.categories is None and not f.whole for f in self.features)
        self.used = real[:0]
        self.rejected: Counter[str] = Counter()
        self.troubles: Counter[str] = Counter()
        self.asked = self.received = self.requests = 0

    def missing(self) -> int:
        return self.wanted - len(self.used)

    def take(self, batch: Batch) -> None:
        self.asked += batch.asked
        self.received += batch.received
        self.requests += batch.request
        self.rejected.update(batch.rejected)
        if batch.trouble is not None:
            self.troubles[batch.trouble] += 1
        good, why = checked(batch.rows[: batch.asked], self.features)
        new = self.columns.encoded(good)
        copied = _among(new, self.real)
        again = ~copied & self.is_unlike & (_among(new, self.used) | _seen_above(new))
        kept = new[~copied & ~again][: self.missing()]
        surplus = max(len(batch.rows) - batch.asked, 0) + int((~copied & ~again).sum()) - len(kept)
        self.rejected.update(why)
        self.rejected.update({COPY: int(copied.sum()), REPEATED: int(again.sum()), SURPLUS: surplus})
        self.used = np.vstack([self.used, kept])

    def account(self, n_rows: int, seed: int) -> Account:
        return Account(
            rows=n_rows,
            examples=len(self.real),
            wanted=self.wanted,
            requests=self.requests,
            asked=self.asked,
            received=self.received,
            rejected={reason: count for reason, count in sorted(self.rejected.items()) if count},
            troubles=dict(sorted(self.troubles.items())),
            used=len(self.used),
            auc=two_sample_auc(self.real, self.used, self.columns.categorical, seed),
        )


def _as_bytes(matrix: MatrixArray) -> NDArray[Any]:
    """Each row as one value (n,) that is equal where the rows look the same: as shown, and one way to write NaN."""
    plain = np.ascontiguousarray(np.where(np.isnan(matrix), np.float32(np.nan), shown(matrix)))
    return plain.view(np.dtype((np.void, plain.dtype.itemsize * plain.shape[1])))[:, 0]


def _among(new: MatrixArray, old: MatrixArray) -> BoolArray:
    """(n,) which rows of `new` look like a row of `old`."""
    known = {row.tobytes() for row in _as_bytes(old)}
    return np.array([row.tobytes() in known for row in _as_bytes(new)], dtype=np.bool_)


def _seen_above(new: MatrixArray) -> BoolArray:
    """(n,) which rows stand further up already."""
    rows = pd.Series([row.tobytes() for row in _as_bytes(new)], dtype=object)
    return rows.duplicated().to_numpy()


class Augmenter:
    """Resamples as `augmented` does, once for each training set: whoever asks again gets the same rows.

    A grid search tries many settings on the same few training sets; a server is asked for each set once.
    """

    def __init__(self, columns: Columns, generator: RowGenerator) -> None:
        self._columns = columns
        self._generator = generator
        self._known: dict[tuple[int, str], tuple[MatrixArray, IntArray, Account | None]] = {}
        self._lock = Lock()

    def __call__(
        self, matrix: MatrixArray, label: IntArray, *, ratio: float, seed: int
    ) -> tuple[MatrixArray, IntArray]:
        """The rows and written ones. Raises `InputError` where a server gave none that can be used."""
        content = hashlib.sha256(np.ascontiguousarray(matrix).tobytes() + label.tobytes())
        key = (len(matrix), content.hexdigest() + f" {ratio} {seed}")
        with self._lock:
            if key not in self._known:
                found = augmented(
                    matrix, label, columns=self._columns, ratio=ratio, seed=seed, generator=self._generator
                )
                self._known[key] = found
                self._check(found[2])
            grown, labels, _ = self._known[key]
        return grown, labels

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Itself: a grid search copies its pipeline for every fit, and all copies share what is known."""
        return self

    @property
    def accounts(self) -> tuple[Account, ...]:
        """One per training set that needed rows, the smallest first."""
        return tuple(account for _, (_, _, account) in sorted(self._known.items()) if account is not None)

    def _check(self, account: Account | None) -> None:
        """Raise `InputError` where a server was asked, and there has not been a single row to use yet."""
        if account is None or not account.requests or any(known.used for known in self.accounts):
            return
        reasons = [f"{count} × {reason}" for reason, count in {**account.troubles, **account.rejected}.items()]
        raise InputError(
            f"The language model gave no row that can be used, in {account.requests} requests"
            f" ({'; '.join(reasons)}); see to the server, or leave --llm-url out: rows are then made without one."
        )

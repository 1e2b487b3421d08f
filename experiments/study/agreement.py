"""Whether the code and the libraries there are now give the numbers of a study that others began.

A study takes hours, and a version that only computes faster may go on with it. One log of every cell that is continued
is evaluated again for that, and every number of it compared.
"""

from collections.abc import Collection, Mapping
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
import pandas as pd

from engagex_sim.columns import BoolArray
from engagex_sim.errors import InputError
from engagex_sim.report.formats import listing
from experiments.study.parallel import Unit, run_unit
from experiments.study.replicate import NAMES, Tables
from experiments.study.store import Store
from experiments.study.truth import WorldTruth

CLOSE = 1e-6  # relative: what rounding may add up to in another order of additions, and far below any error of a score


def check_agreement(
    pool: ProcessPoolExecutor, store: Store, cells: Collection[str], truths: Mapping[str, WorldTruth]
) -> None:
    """Raise `InputError` that names the first number of a stored log that comes out otherwise now."""
    asked, stored = store.asked, store.read()
    first = {cell: min(store.done(cell)) for cell in cells}
    again = {
        cell: pool.submit(run_unit, Unit(cell, asked["small"], log, log + 1, asked["seed"], truths[cell]))
        for cell, log in first.items()
    }
    for cell, log in first.items():
        problem = difference(_of_log(stored, cell, log), again[cell].result())
        if problem is not None:
            differing = [name for name, now in store.made_now.items() if asked.get(name) != now]
            raise InputError(
                f"{store.directory} was made with other {listing(differing)} than there is now, and the numbers are"
                f" others too, in log {log} of {cell}: {problem}. One study must not mix the two; go back to what made"
                " it, or give --out for a new one."
            )


def difference(before: Tables, now: Tables) -> str | None:
    """In words the first number of a log that is not the same in both, `CLOSE` as it is; None if there is none."""
    for name in NAMES:
        old, new = (getattr(tables, name).reset_index(drop=True) for tables in (before, now))
        if len(old) != len(new):
            return f"{len(new):,} rows of {name} instead of {len(old):,}"
        for column in [own for own in new.columns if own != "seconds"]:
            kept = old[column] if column in old else pd.Series([None] * len(old))
            unlike = _unlike(kept, new[column])
            if unlike.any():
                row = int(unlike.argmax())
                return f"{column} in row {row + 1} of {name} is {new[column][row]} instead of {kept[row]}"
    return None


def _unlike(old: "pd.Series[Any]", new: "pd.Series[Any]") -> BoolArray:
    if pd.api.types.is_numeric_dtype(new):
        before, now = (pd.to_numeric(own, errors="coerce").to_numpy(dtype=np.float64) for own in (old, new))
        return np.asarray(~np.isclose(before, now, rtol=CLOSE, atol=1e-12, equal_nan=True))
    missing = old.isna().to_numpy() & new.isna().to_numpy()
    return np.asarray((old.astype(object).to_numpy() != new.astype(object).to_numpy()) & ~missing, dtype=np.bool_)


def _of_log(tables: Tables, cell: str, log: int) -> Tables:
    def own(table: pd.DataFrame) -> pd.DataFrame:
        return table[(table["cell"] == cell) & (table["replication"] == log)]

    return Tables(*(own(getattr(tables, name)) for name in NAMES))

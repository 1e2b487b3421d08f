"""Whether the code and the libraries there are now give the numbers of a study that others began.

A study takes hours, and a version that only computes faster may go on with it. Of every cell that has logs the first
and the last one are evaluated again for that, and every number of them compared.
"""

from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
import pandas as pd

from engagex_sim.columns import BoolArray
from engagex_sim.errors import InputError
from engagex_sim.report.formats import listing
from experiments.study.cells import find
from experiments.study.parallel import Unit, run_unit, truth_name
from experiments.study.replicate import NAMES, Tables
from experiments.study.store import Store

CLOSE = 1e-6  # relative: what rounding may add up to in another order of additions, and far below any error of a score


def check_agreement(pool: ProcessPoolExecutor, store: Store) -> None:
    """Raise `InputError` that names the first number of a stored log that comes out otherwise now.

    Nothing is stored but that it agrees; true values that no log was compared with are forgotten.
    """
    asked, stored = store.asked, store.read()
    small, seed = asked["small"], asked["seed"]
    done = {cell: logs for cell in asked["cells"] if (logs := store.done(cell))}
    names = {cell: truth_name(find(cell, small), small) for cell in done}
    again = {
        (cell, log): pool.submit(run_unit, Unit(cell, small, log, log + 1, seed, store.truth(names[cell])))
        for cell, logs in done.items()
        for log in sorted({min(logs), max(logs)})
    }
    for (cell, log), found in again.items():
        problem = difference(_of_log(stored, cell, log), found.result())
        if problem is not None:
            raise InputError(
                f"{store.directory} was made with other {listing(store.made_with_other)} than there is now, and the"
                f" numbers are others too, in log {log} of {cell}: {problem}. One study must not mix the two; go back"
                " to what made it, or give --out for a new one."
            )
    store.forget_truths(but=set(names.values()))
    store.note_agreement()


def difference(before: Tables, now: Tables) -> str | None:
    """In words the first number of a log that is not the same in both, `CLOSE` as it is; None if there is none."""
    for name in NAMES:
        old, new = (getattr(tables, name).reset_index(drop=True) for tables in (before, now))
        if len(old) != len(new):
            return f"{len(new):,} rows of {name} instead of {len(old):,}"
        for column in [own for own in dict.fromkeys([*new.columns, *old.columns]) if own != "seconds"]:
            was, comes = (own[column] if column in own else pd.Series([None] * len(own)) for own in (old, new))
            unlike = _unlike(was, comes)
            if unlike.any():
                row = int(unlike.argmax())
                return f"{column} in row {row + 1} of {name} is {comes[row]} instead of {was[row]}"
    return None


def _unlike(old: "pd.Series[Any]", new: "pd.Series[Any]") -> BoolArray:
    missing = old.isna().to_numpy(), new.isna().to_numpy()
    one_missing: BoolArray = np.asarray(missing[0] != missing[1], dtype=np.bool_)
    if all(pd.api.types.is_numeric_dtype(own) for own in (old, new)):
        before, now = (own.to_numpy(dtype=np.float64, na_value=np.nan) for own in (old, new))
        return np.asarray(one_missing | ~np.isclose(before, now, rtol=CLOSE, atol=1e-12, equal_nan=True))
    same = old.astype(object).to_numpy() == new.astype(object).to_numpy()
    return np.asarray(one_missing | (~same & ~missing[0] & ~missing[1]), dtype=np.bool_)


def _of_log(tables: Tables, cell: str, log: int) -> Tables:
    def own(table: pd.DataFrame) -> pd.DataFrame:
        return table[(table["cell"] == cell) & (table["replication"] == log)]

    return Tables(*(own(getattr(tables, name)) for name in NAMES))

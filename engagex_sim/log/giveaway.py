"""Columns that say which kind was chosen, as the type does and an id of a campaign may."""

from collections.abc import Iterable

import pandas as pd

from engagex_sim.columns import Column, IntArray


def gives_away(blocks: Iterable[tuple[Column, IntArray]]) -> bool:
    """Whether a value of the column (n,) says the kind (n,) of the contact, over all blocks.

    A column whose values hardly ever repeat says nothing, and one that leaves more than one kind open is context.
    """
    rows = 0
    found: list[pd.DataFrame] = []
    for column, kind in blocks:
        rows += len(column)
        pairs = pd.DataFrame({"value": column.values, "kind": kind}).drop_duplicates()
        if len(pairs) > pairs["value"].nunique():
            return False
        found.append(pairs)
    pairs = pd.concat(found, ignore_index=True).drop_duplicates()
    values = pairs["value"].nunique()
    return len(pairs) == values <= rows / 2 and bool((pairs["kind"] != pairs["kind"].iloc[0]).any())

"""What users.csv says of each user, as features; texts that only tell users apart are left out."""

import numpy as np

from engagex_sim.columns import Column, IntArray
from engagex_sim.log.coding import Table

MOST_VALUES = 1 / 5  # distinct texts per user that has one; a model learns the users themselves from more
MOST_VALUES_OF_FEW, FEW_USERS = 1 / 2, 50  # below so many users even a fair number of texts is a large share


def attributes_of(users: Table | None, population: IntArray) -> tuple[dict[str, Column], list[str]]:
    """Attributes (n_users,) of everybody, missing for those who are not listed, and sentences on those left out."""
    if users is None:
        return {}, []
    row = np.searchsorted(users.user, population)
    row[row == len(users)] = 0
    missing = users.user[row] != population
    attributes, said = {}, []
    for name, column in users.columns.items():
        if (counts := _identities(column)) is not None:
            said.append(
                f"The attribute {name} tells users apart rather than describing them ({counts[0]:,} values for"
                f" {counts[1]:,} users), so it is no feature."
            )
            continue
        values = column.values[row]
        if missing.any():
            values = values if column.is_text else values.astype(np.float64)
            values[missing] = -1 if column.is_text else np.nan
        attributes[name] = Column(values, column.categories)
    return attributes, said


def _identities(column: Column) -> tuple[int, int] | None:
    """Distinct texts and users that have one, where these are so alike in number that a text stands for a user."""
    if not column.is_text:
        return None
    known = column.values[column.values >= 0]
    distinct = len(np.unique(known))
    share = MOST_VALUES_OF_FEW if len(known) < FEW_USERS else MOST_VALUES
    return (distinct, len(known)) if distinct > share * len(known) else None

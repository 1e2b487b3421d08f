"""Which attributes of users.csv are features; texts that only tell users apart are left out."""

from collections.abc import Iterable, Sequence

import numpy as np

from engagex_sim.log.assemble import Tally

MOST_VALUES = 1 / 5  # distinct texts per user that has one; a model learns the users themselves from more
MOST_VALUES_OF_FEW, FEW_USERS = 1 / 2, 50  # below so many users even a fair number of texts is a large share


def identities(names: Iterable[str], tallies: Sequence[Tally]) -> dict[str, str]:
    """The attributes that are no features, and a sentence on each, from the tallies of all blocks."""
    said = {}
    for name in names:
        if name not in tallies[0].used_texts:
            continue
        distinct = int(np.logical_or.reduce([tally.used_texts[name] for tally in tallies]).sum())
        known = sum(tally.known_texts[name] for tally in tallies)
        share = MOST_VALUES_OF_FEW if known < FEW_USERS else MOST_VALUES
        if distinct > share * known:
            said[name] = (
                f"The attribute {name} tells users apart rather than describing them ({distinct:,} values for"
                f" {known:,} users), so it is no feature."
            )
    return said

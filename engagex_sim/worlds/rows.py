"""Some of the decision points of a block."""

from dataclasses import replace

import numpy as np

from engagex_sim.columns import BoolArray
from engagex_sim.decisions import Decisions, starts


def rows_of(d: Decisions, keep: BoolArray, only_who_came: bool = False) -> Decisions:
    """The rows where `keep` (n,) holds, and their triggers where triggers are the rows; all users, or who has a row."""
    counts = np.bincount(d.user_of_row[keep], minlength=d.n_users)
    users = counts > 0 if only_who_came else np.ones(d.n_users, dtype=np.bool_)
    user_start = starts(counts[users])
    time = d.time[keep]
    if d.activity_known:
        d = replace(d, trigger_start=user_start, trigger_time=time, trigger_code=d.trigger_code[keep])
    return replace(
        d,
        user_start=user_start,
        user_key=d.user_key[users],
        user_id=d.user_id[users],
        evaluation_start=d.evaluation_start[users],
        time=time,
        known_at=d.known_at[keep],
        action=d.action[keep],
        reward=d.reward[keep],
        propensity=d.propensity[keep],
        columns={name: column.take(keep) for name, column in d.columns.items()},
        other_start=np.zeros(int(users.sum()) + 1, dtype=np.int64),
    )

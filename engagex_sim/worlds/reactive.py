"""`reactive`: contacts bring further visits."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from scipy.special import expit

from engagex_sim.cap import DAY
from engagex_sim.columns import Column, FloatArray
from engagex_sim.decisions import Decisions, starts
from engagex_sim.policy import Context, Policy
from engagex_sim.worlds.reaction import CAUSE
from engagex_sim.worlds.visits import ACTIVE_DAYS, Visits, VisitsLogging, draw_resources

WITHIN = 7  # days after a contact in which the visits fall that it brings


@dataclass(frozen=True)
class Reactive(Visits):
    """`visits`, but a contact brings `strength` more visits in the mean, within seven days after it.

    Stresses: a timeline that reacts to contacts, against the assumption that every evaluation of a log makes. The
    further visits fall where the cap forbids contacts, but they are in the log and move activity, on which interest
    and policies depend. The company's own strategy does not look at activity. Needs a cap of at least 14 days, so that
    all visits on which interest in the evaluation depends are in the log.
    """

    strength: float = 1.0

    own_name: ClassVar[str] = "reactive"
    summary: ClassVar[str] = "like visits, but contacts bring further visits"
    reacts: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.cap_days < ACTIVE_DAYS:
            raise ValueError(f"interest depends on the visits of {ACTIVE_DAYS} days, so the cap must be as long")

    @cached_property
    def logging(self) -> Policy:
        return VisitsLogging(self.contact_odds + 0.5, by_activity=0.0)  # about as many contacts as in `visits`

    def lay_out(self, n_users: int, rng: np.random.Generator) -> Decisions:
        """Every visit that comes anyway and every one that a contact may bring."""
        base = super().lay_out(n_users, rng)
        parent = np.repeat(np.arange(len(base)), rng.poisson(self.strength, len(base)))
        cause = np.concatenate([np.full(len(base), -1), base.time[parent]])
        later = base.time[parent] + rng.integers(3_600, WITHIN * DAY, len(parent))
        user = np.concatenate([base.user_of_row, base.user_of_row[parent]])
        time = np.concatenate([base.time, later])
        order = np.lexsort((cause, time, user))
        order = order[time[order] < base.log_end]
        together = (np.diff(time[order], prepend=-1) == 0) & (np.diff(user[order], prepend=-1) == 0)
        order = order[~together]  # a user never comes twice at once; what comes anyway stands first
        brought = draw_resources(len(parent), rng)
        columns = {}
        for name, column in base.columns.items():
            more = brought[name].values if name in brought else column.values[parent]
            columns[name] = Column(np.concatenate([column.values, more])[order], column.categories)
        columns[CAUSE] = Column(cause[order])
        user_start = starts(np.bincount(user[order], minlength=n_users))
        return self.at_visits(user_start, time[order], columns, base.user_id)

    def reward_probabilities(self, context: Context) -> FloatArray:
        """(n, 1) from features as they are after the contacts made."""
        names = ("type", "hour", f"triggers_{ACTIVE_DAYS}d", "trigger", "_taste")
        features: Mapping[str, Column] = {name: context.column(name) for name in names}
        return np.asarray(expit(self.interest_odds(features)), dtype=np.float64)[:, None]

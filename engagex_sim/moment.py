"""The users of a log as they stand at one moment: what a policy is asked to decide there and then."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from engagex_sim.cap import DAY, NEVER, Cap, action_mask
from engagex_sim.columns import BoolArray, IntArray, KeyArray, TextArray
from engagex_sim.decision_points import decisions_of
from engagex_sim.features import History, calendar, history_features
from engagex_sim.log import Log
from engagex_sim.policy import Context
from engagex_sim.rules import Rules
from engagex_sim.settings import Settings
from engagex_sim.timeline import Timeline


@dataclass(frozen=True)
class Moment:
    """Users of a block after everything that the block holds. Times are seconds."""

    at: int  # when it is
    time: int  # of the decision: midnight where decisions are by day
    clock: int  # what calendar features show
    cap: Cap
    rules: Rules
    user_id: TextArray  # (n,)
    user_key: KeyArray  # (n,)
    history: History  # (n,) of each user's contacts, those that belong to no decision point included
    latest: Timeline  # each user's last decision point; users without one have no row
    by_day: bool

    @classmethod
    def of(cls, log: Log, settings: Settings, at: int) -> Self:
        """The users of `log`, no row of which is later than `at`, seconds.

        The cap counts from the contact itself, which may be later than the decision point that it belongs to, and from
        the midnight before it where decisions are by day; where only the kind is chosen it plays no part. A contact
        whose kind is unknown counts as one of every kind. Raises `InputError` for rules that do not suit the log.
        """
        timeline = Timeline.of(decisions_of(log, settings), Cap(settings.cap_days))
        is_last = np.zeros(len(timeline), dtype=np.bool_)
        is_last[timeline.user_start[1:][np.diff(timeline.user_start) > 0] - 1] = True
        by_day = log.decision_points == "day"
        made = np.where(log.orphan | (not by_day), log.action_time, log.action_time // DAY * DAY)
        rules = Rules.of(settings, log.kinds, log.facts.contact_is_a_choice, by_day)
        last = np.full(log.n_users, NEVER)
        np.maximum.at(last, log.action_user, made)
        of_kind = np.full((log.n_users, len(log.kinds)), NEVER)
        for kind in range(len(log.kinds)):
            own = np.isin(log.action_kind, (0, kind + 1))
            np.maximum.at(of_kind[:, kind], log.action_user[own], made[own])
        contacts = np.bincount(log.action_user, minlength=log.n_users)
        interests = np.bincount(log.action_user, log.action_reward, minlength=log.n_users).astype(np.int64)
        time = at // DAY * DAY if by_day else at
        return cls(
            at=at,
            time=time,
            clock=time if log.facts.is_grid else at,
            cap=timeline.cap,
            rules=rules,
            user_id=log.user_id,
            user_key=log.user_key,
            history=History(last, contacts, interests, of_kind),
            latest=timeline.rows(is_last),
            by_day=by_day,
        )

    @property
    def came(self) -> BoolArray:
        """(n,) whose context is known: users with a decision point so far."""
        return np.diff(self.latest.user_start) > 0

    @property
    def open_kinds(self) -> BoolArray:
        """(n, K) which kinds the cap and the rules allow now."""
        time = np.full(len(self.user_id), self.time)
        return self.rules.allowed(time, self.history, self.cap, len(self.latest.kinds))

    @property
    def free(self) -> BoolArray:
        """(n,) who may be contacted now, with some kind."""
        return np.asarray(self.open_kinds.any(axis=1), dtype=np.bool_)

    @property
    def settled(self) -> BoolArray:
        """(n,) who is not contacted again after an interest."""
        return np.asarray((self.history.interests > 0) & self.rules.stop, dtype=np.bool_)

    @property
    def next_eligible(self) -> IntArray:
        """(n,) from when a contact is allowed: now, or when the first decision can be at which it is.

        Interests aside: `settled` is who is not contacted again.
        """
        begins = self.rules.opens(np.full(len(self.user_id), self.time), self.history, self.cap)
        if self.by_day:
            begins = -(-begins // DAY) * DAY
        return np.where(self.free, self.at, begins)

    def context(self, users: IntArray) -> Context:
        """What a policy is given for the users at these positions (m,), who are known and free.

        Exogenous features are those of the user's last decision point, the calendar is that of the moment, and history
        is all that was logged.
        """
        m, t = len(users), self.latest
        rows = (np.cumsum(self.came) - 1)[users]
        columns = {name: column.take(rows) for name, column in t.columns.items()}
        columns |= calendar(np.full(m, self.clock, dtype=np.int64), t.log_start)
        return Context(
            action_mask(self.open_kinds[users], len(t.kinds), t.contact_is_a_choice),
            t.kinds,
            columns,
            history_features(np.full(m, self.time, dtype=np.int64), self.history.take(users)),
        )

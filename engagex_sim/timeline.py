"""The timeline of a block of users with its features: what is replayed when a policy is tried."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np

from engagex_sim.cap import DAY, NEVER, Cap, action_mask
from engagex_sim.columns import AnyArray, BoolArray, Column, FloatArray, IntArray, KeyArray, TextArray
from engagex_sim.decisions import Decisions, starts
from engagex_sim.features import History, exogenous_features, history_features, replay, replay_kinds
from engagex_sim.policy import Context
from engagex_sim.rules import NO_RULES, Rules
from engagex_sim.settings import Settings


@dataclass(frozen=True)
class Timeline:
    """Decision points of whole users with exogenous features and the logged contacts, sorted by (user, time)."""

    cap: Cap
    user_start: IntArray  # (n_users + 1,)
    user_key: KeyArray  # (n_users,)
    user_id: TextArray  # (n_users,)
    evaluation_start: IntArray  # (n_users,) seconds; a policy under trial decides from here on
    initial: History  # (n_users,) logged history just before `evaluation_start`
    time: IntArray  # (n,) seconds
    action: IntArray  # (n,) logged; 0 = no contact
    reward: FloatArray  # (n,) logged; 0 where no contact
    propensity: FloatArray  # (n,) logged, NaN where not
    logged: History  # (n,) logged history just before each decision
    columns: Mapping[str, Column]  # (n,) each: exogenous features by name
    other_user: IntArray  # (o,) position of the user of each contact that belongs to no decision point
    other_time: IntArray  # (o,)
    other_reward: FloatArray  # (o,)
    kinds: tuple[str, ...]
    log_start: int  # midnight of the log's first day
    log_end: int  # midnight after its last
    contact_is_a_choice: bool
    rules: Rules = NO_RULES  # beside the cap, for policies under trial; the log kept to its own

    @classmethod
    def of(cls, decisions: Decisions, cap: Cap) -> Self:
        """Every decision point of the block, burn-in included, with features computed from the block itself."""
        d = decisions
        cap = cap if d.contact_is_a_choice else Cap(0)  # where only the kind is chosen, the cap plays no part
        nobody = History.none(d.n_users)
        others = (d.other_start, d.other_time, d.other_reward)
        before = (nobody.last_contact, nobody.contacts, nobody.interests)
        logged = History(*replay(d.user_start, d.time, d.action, d.reward, *others, *before))
        # One imaginary decision per user at the start of the evaluation sees exactly the history before it.
        contact = d.action > 0
        other_user = np.repeat(np.arange(d.n_users), np.diff(d.other_start))
        user = np.concatenate([d.user_of_row[contact], other_user])
        time = np.concatenate([d.time[contact], d.other_time])
        reward = np.concatenate([d.reward[contact], d.other_reward])
        order = np.lexsort((time, user))
        events = (starts(np.bincount(user, minlength=d.n_users)), time[order], reward[order])
        one_each = np.arange(d.n_users + 1)
        no_action = np.zeros(d.n_users, dtype=np.int64)
        initial = replay(one_each, d.evaluation_start, no_action, no_action.astype(float), *events, *before)
        last_of_kind = np.full((d.n_users, len(d.kinds)), NEVER)
        early = contact & (d.time < d.evaluation_start[d.user_of_row])
        np.maximum.at(last_of_kind, (d.user_of_row[early], d.action[early] - 1), d.time[early])
        early = d.other_time < d.evaluation_start[other_user]
        np.maximum.at(last_of_kind, other_user[early], d.other_time[early][:, None])  # of every kind
        return cls(
            cap=cap,
            user_start=d.user_start,
            user_key=d.user_key,
            user_id=d.user_id,
            evaluation_start=d.evaluation_start,
            initial=replace(History(*initial), last_of_kind=last_of_kind),
            time=d.time,
            action=d.action,
            reward=d.reward,
            propensity=d.propensity,
            logged=logged,
            columns=exogenous_features(d),
            other_user=other_user,
            other_time=d.other_time,
            other_reward=d.other_reward,
            kinds=d.kinds,
            log_start=d.log_start,
            log_end=d.log_end,
            contact_is_a_choice=d.contact_is_a_choice,
        )

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """One timeline of the users of all parts, in that order; the parts share cap, kinds and the log's start."""
        if len(parts) == 1:
            return parts[0]
        users = np.cumsum([0, *(part.n_users for part in parts[:-1])])

        def joined(name: str) -> Any:
            return np.concatenate([getattr(part, name) for part in parts])

        names = ("user_key", "user_id", "evaluation_start", "time", "action", "reward", "propensity", "other_time")
        return replace(
            parts[0],
            **{name: joined(name) for name in (*names, "other_reward")},
            user_start=starts(np.concatenate([np.diff(part.user_start) for part in parts])),
            initial=History.join([part.initial for part in parts]),
            logged=History.join([part.logged for part in parts]),
            columns={
                name: Column(np.concatenate([part.columns[name].values for part in parts]), column.categories)
                for name, column in parts[0].columns.items()
            },
            other_user=np.concatenate([part.other_user + first for part, first in zip(parts, users, strict=True)]),
        )

    @property
    def n_users(self) -> int:
        return len(self.user_key)

    def __len__(self) -> int:
        return len(self.time)

    @property
    def user_of_row(self) -> IntArray:
        """(n,) the position of each row's user."""
        return np.repeat(np.arange(self.n_users), np.diff(self.user_start))

    @property
    def free(self) -> BoolArray:
        """(n,) where the cap allowed a contact, given the logged contacts."""
        return self.cap.allows(self.time, self.logged.last_contact)

    @property
    def breaks_cap(self) -> BoolArray:
        """(n,) logged contacts that the cap forbade."""
        return (self.action > 0) & ~self.free

    @property
    def gaps_between_contacts(self) -> FloatArray:
        """(g,) days from each logged contact back to the same user's one before, all contacts counted."""
        since = (self.time - self.logged.last_contact)[(self.action > 0) & (self.logged.contacts > 0)]
        return since / DAY

    def unexplained(self, cap_modelled: bool) -> IntArray:
        """(n,) time of the user's last contact that no policy at these decision points explains; `NEVER` if none.

        Contacts of the evaluation period that belong to no decision point; and where the logging policy is modelled
        with the cap, those that broke it.
        """
        others = starts(np.bincount(self.other_user, minlength=self.n_users)), self.other_time, self.other_reward
        broken = np.where(self.breaks_cap & cap_modelled, self.action, 0), self.reward
        nobody = History.none(self.n_users)
        before = nobody.last_contact, nobody.contacts, nobody.interests
        return History(*replay(self.user_start, self.time, *broken, *others, *before)).last_contact

    def evaluation(self) -> Self:
        """Only the rows on which policies are compared, and the other contacts of that period."""
        inside = self.other_time >= self.evaluation_start[self.other_user]
        kept = self.rows(self.time >= self.evaluation_start[self.user_of_row])
        return replace(
            kept,
            other_user=self.other_user[inside],
            other_time=self.other_time[inside],
            other_reward=self.other_reward[inside],
        )

    def rules_of(self, settings: Settings) -> Rules:
        """The rules that the settings ask for in this log. Raises `InputError` for one that does not suit it."""
        by_day = bool((self.time % DAY == 0).all())
        return Rules.of(settings, self.kinds, self.contact_is_a_choice, by_day)

    def under(self, rules: Rules) -> Self:
        """As policies under trial see it that keep to `rules`; of an evaluation period, see `evaluation`.

        The logged history then tells the last contact of each kind, where the rules ask for it.
        """
        if rules == self.rules:
            return self
        of_kind = self.logged.last_of_kind
        if rules.by_kind and len(of_kind) == 0:
            others = starts(np.bincount(self.other_user, minlength=self.n_users)), self.other_time
            of_kind = replay_kinds(self.user_start, self.time, self.action, *others, self.initial.last_of_kind)
        return replace(self, rules=rules, logged=replace(self.logged, last_of_kind=of_kind))

    def contacts(self) -> Self:
        """Only the rows with a logged contact."""
        return self.rows(self.action > 0)

    def rows(self, keep: BoolArray) -> Self:
        """The rows where `keep` (n,) holds; all users stay."""
        counts = np.bincount(self.user_of_row[keep], minlength=self.n_users)
        return replace(
            self,
            user_start=starts(counts),
            time=self.time[keep],
            action=self.action[keep],
            reward=self.reward[keep],
            propensity=self.propensity[keep],
            logged=self.logged.take(keep),
            columns={name: column.take(keep) for name, column in self.columns.items()},
        )

    def users(self, keep: BoolArray) -> Self:
        """The users where `keep` (n_users,) holds, with all their rows."""
        return self.drawn(np.flatnonzero(keep))

    def drawn(self, users: IntArray) -> Self:
        """The users at positions `users` (m,), in that order and as often as they stand there."""
        rows, counts = _ranges(self.user_start, users)
        others, other_counts = _ranges(starts(np.bincount(self.other_user, minlength=self.n_users)), users)
        return replace(
            self,
            user_start=starts(counts),
            user_key=self.user_key[users],
            user_id=self.user_id[users],
            evaluation_start=self.evaluation_start[users],
            initial=self.initial.take(users),
            time=self.time[rows],
            action=self.action[rows],
            reward=self.reward[rows],
            propensity=self.propensity[rows],
            logged=self.logged.take(rows),
            columns={name: column.take(rows) for name, column in self.columns.items()},
            other_user=np.repeat(np.arange(len(users)), other_counts),
            other_time=self.other_time[others],
            other_reward=self.other_reward[others],
        )

    def context(
        self, rows: AnyArray | slice = slice(None), *, history: History | None = None, free: BoolArray | None = None
    ) -> Context:
        """What a policy is given at `rows`: by default the logged history and the mask that follows from it.

        `history` replaces the logged one (one entry per row asked for); `free`, (n,) or by kind (n, K), replaces the
        word of the cap and of the rules by kind on where a contact is allowed.
        """
        time = self.time[rows]
        history = self.logged.take(rows) if history is None else history
        return Context(
            self._mask(time, history) if free is None else self._mask_where(free, self.rules.beside_cap(time, history)),
            self.kinds,
            {name: column.take(rows) for name, column in self.columns.items()},
            history_features(time, history),
        )

    def _mask(self, time: IntArray, history: History) -> BoolArray:
        kinds = len(self.kinds)
        return action_mask(self.rules.allowed(time, history, self.cap, kinds), kinds, self.contact_is_a_choice)

    def _mask_where(self, free: BoolArray, may: BoolArray) -> BoolArray:
        """The action mask where the cap leaves `free` (n,) or (n, K), and the other rules do so in `may` (n,)."""
        return action_mask((free.T & may).T, len(self.kinds), self.contact_is_a_choice)

    def free_context(self, free: BoolArray | None = None) -> Context:
        """Every row as if the user were free there: what the contact probabilities start from.

        Outside quiet hours, that is, and with no interest so far. `free` (K,): as if these kinds were open alone.
        """
        opened = np.ones(len(self.kinds), dtype=np.bool_) if free is None else free
        return Context(
            self._mask_where(np.tile(opened, (len(self), 1)), self.rules.awake(self.time)),
            self.kinds,
            self.columns,
            history_features(self.time, self.logged),
            self._memo,
        )

    @cached_property
    def _memo(self) -> dict[str, Any]:
        """Shared by the free contexts, which several models and policies are asked about in turn."""
        return {}


def _ranges(start: IntArray, users: IntArray) -> tuple[IntArray, IntArray]:
    """The rows of `users` one after another, and how many each has, where those of user i are start[i]:start[i + 1]."""
    counts = np.diff(start)[users]
    first = np.repeat(start[:-1][users] - starts(counts)[:-1], counts)
    return np.arange(counts.sum()) + first, counts

"""A small random log with every standard feature, to try a policy on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from engagex_sim.cap import DAY, Cap
from engagex_sim.columns import Column, FloatArray
from engagex_sim.decisions import Decisions, starts
from engagex_sim.models.reward import RewardModel
from engagex_sim.policy import Context
from engagex_sim.timeline import Timeline
from engagex_sim.training import Training
from engagex_sim.worlds.rows import rows_of

USERS = 60
DAYS = 30
FIRST_DAY = 19_844 * DAY  # 2024-05-01
MIDDLE = FIRST_DAY + 18 * DAY  # seconds; half of the evaluation lies before it
FEATURES: Mapping[str, Sequence[Any]] = {"trigger": (1, 2, 3, 4), "type": ("cart", "search", "view")}


@dataclass(frozen=True)
class ExampleLog:
    """The log of 60 users in May. Who is contacted does not heed the cap, so that some decision points are masked."""

    n_kinds: int = 1
    is_a_choice: bool = True  # False: contacting is not a choice, only the kind is
    features: Mapping[str, Sequence[Any]] = field(default_factory=dict)  # values of further columns
    seed: int = 0

    @property
    def cap(self) -> Cap:
        return Cap(7 if self.is_a_choice else 0)

    @cached_property
    def timeline(self) -> Timeline:
        """The evaluation period of the log's users."""
        return Timeline.of(self._decisions, self.cap).evaluation()

    def cut_off(self) -> Timeline:
        """The same log if it had ended at `MIDDLE`."""
        decisions = self._decisions
        return Timeline.of(rows_of(decisions, decisions.time < MIDDLE), self.cap).evaluation()

    def continued_otherwise(self) -> Timeline:
        """The same log up to `MIDDLE`; from there on, half as many triggers, and others."""
        d, rng = self._decisions, np.random.default_rng([self.seed, 1])
        late = d.time >= MIDDLE
        order = np.arange(len(d))
        order[late] = rng.permutation(order[late])
        other = replace(
            d,
            action=d.action[order],
            reward=d.reward[order],
            columns={name: column.take(order) for name, column in d.columns.items()},
            trigger_code=d.trigger_code[order],
        )
        return Timeline.of(rows_of(other, ~late | (rng.random(len(d)) < 0.5)), self.cap).evaluation()

    def training(self) -> Training:
        """What a policy that learns is given, with a small reward model that was fitted on this log."""
        t, rng = self.timeline, np.random.default_rng(self.seed)
        return Training(t, self._reward_model, _AnyKind(), self.cap, value=5.0, cost=1.0, ends=t.log_end, rng=rng)

    @cached_property
    def _reward_model(self) -> RewardModel:
        contacts = self.timeline.contacts()
        return RewardModel.fit(
            contacts.context(),
            contacts.action,
            contacts.reward,
            contacts.user_key[contacts.user_of_row],
            contacts.time,
            grid="light",
            seed=self.seed,
        )

    @cached_property
    def _decisions(self) -> Decisions:
        rng = np.random.default_rng(self.seed)
        counts = rng.integers(1, 20, USERS)
        n = int(counts.sum())
        user = np.repeat(np.arange(USERS), counts)
        time = np.sort(rng.choice(DAYS * DAY, size=n, replace=False)) + FIRST_DAY
        time = time[rng.permutation(n)]
        time = time[np.lexsort((time, user))]
        contacted = rng.random(n) < (0.3 if self.is_a_choice else 1.0)
        action = np.where(contacted, rng.integers(1, self.n_kinds + 1, n), 0)
        columns = {
            name: Column.from_values([values[i] for i in rng.integers(0, len(values), n)])
            for name, values in {**FEATURES, **self.features}.items()
        }
        liked = rng.random(n) < np.where(time // 3600 % 24 >= 12, 0.4, 0.1)
        nobody = np.zeros(USERS + 1, dtype=np.int64)
        return Decisions(
            user_start=starts(counts),
            user_key=rng.permutation(USERS).astype(np.uint64),
            user_id=np.array([f"user {i:03}" for i in range(USERS)], dtype=object),
            evaluation_start=np.full(USERS, FIRST_DAY + self.cap.seconds),
            time=time,
            known_at=time,
            action=action,
            reward=np.where(contacted & liked, 1.0, 0.0),
            propensity=np.full(n, np.nan),
            columns=columns,
            trigger_start=starts(counts),
            trigger_time=time,
            trigger_code=rng.integers(0, 4, n).astype(np.int32),
            other_start=nobody,
            other_time=np.zeros(0, dtype=np.int64),
            other_reward=np.zeros(0),
            kinds=tuple(str(kind + 1) for kind in range(self.n_kinds)) if self.n_kinds > 1 else ("contact",),
            log_start=FIRST_DAY,
            log_end=FIRST_DAY + DAYS * DAY,
            contact_is_a_choice=self.is_a_choice,
            activity_known=True,
        )


class _AnyKind:
    """The small log's own strategy."""

    name = "logging"

    def action_probabilities(self, context: Context) -> FloatArray:
        wanted = np.column_stack([np.full(len(context), 0.7), np.full((len(context), len(context.kinds)), 0.3)])
        wanted[:, 1:] /= len(context.kinds)
        allowed = wanted * context.mask
        return np.asarray(allowed / allowed.sum(axis=1, keepdims=True), dtype=np.float64)

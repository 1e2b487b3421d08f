"""The contract that every policy keeps, as a check for anybody's test suite.

from engagex_sim.testing import check_policy

def test_my_policy_keeps_the_contract():
    check_policy(MyPolicy)
"""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast

import numpy as np

from engagex_sim.cap import DAY, Cap
from engagex_sim.columns import Column, FloatArray, IntArray
from engagex_sim.decisions import Decisions, starts
from engagex_sim.models.reward import RewardModel
from engagex_sim.policy import Context, Policy, checked_probabilities, policy_name
from engagex_sim.timeline import Timeline
from engagex_sim.training import Training

USERS = 60
DAYS = 30
FIRST_DAY = 19_844 * DAY  # 2024-05-01
TOLERANCE = 1e-9
FEATURES: Mapping[str, Sequence[Any]] = {"trigger": (1, 2, 3, 4), "type": ("cart", "search", "view")}


def check_policy(
    policy: Policy | Callable[[], Policy],
    *,
    features: Mapping[str, Sequence[Any]] | None = None,
    contact_may_be_forced: bool = True,
    seed: int = 0,
) -> None:
    """Check a policy, or a class or function that makes one, on small random logs with one kind and with three.

    Checked: shape (n, K + 1), rows sum to 1, nothing on masked actions; the same answer to the same question, in any
    order of rows and in parts; the context is left as it was; where it learns, `fit` returns a policy and the same
    training gives the same policy. `features` gives values of further columns that the policy reads, or other
    values of `trigger` and `type`: {"city": ["Bern", "Graz"]}. `contact_may_be_forced=False` leaves out logs in
    which contacting is not a choice (only the kind is).

    Raises `AssertionError` or `InputError` with one sentence that says what is wrong.
    """
    kinds_and_choice = [(1, True), (3, True)] + ([(3, False)] if contact_may_be_forced else [])
    for n_kinds, is_a_choice in kinds_and_choice:
        log = ExampleLog(n_kinds, is_a_choice, features or {}, seed)
        ready = _ready(policy, log)
        _check_answers(ready, log)
        if hasattr(ready, "fit"):
            _check_training_repeats(policy, ready, log)


def _ready(policy: Policy | Callable[[], Policy], log: "ExampleLog") -> Policy:
    """A fresh copy of the policy, trained if it learns."""
    is_one = hasattr(policy, "action_probabilities") and not isinstance(policy, type)
    made: Any = deepcopy(policy) if is_one else cast("Callable[[], Policy]", policy)()
    assert callable(getattr(made, "action_probabilities", None)), (
        f"{policy_name(made)} has no method action_probabilities(context)."
    )
    if not hasattr(made, "fit"):
        return cast("Policy", made)
    fitted = made.fit(log.training())
    assert callable(getattr(fitted, "action_probabilities", None)), (
        f"fit of {policy_name(made)} must return self, not {type(fitted).__name__}."
    )
    return cast("Policy", fitted)


def _check_answers(policy: Policy, log: "ExampleLog") -> None:
    name = policy_name(policy)
    n = len(log.timeline)
    shuffled = np.random.default_rng(log.seed).permutation(n)
    for free in (None, np.ones(n, dtype=np.bool_)):

        def ask(rows: IntArray, free: Any = free) -> FloatArray:
            context = log.timeline.context(rows, free=None if free is None else free[rows])
            before = _contents(context)
            answer = checked_probabilities(policy, context).copy()
            for feature, values in _contents(context).items():
                unchanged = np.array_equal(before[feature], values, equal_nan=True)
                assert unchanged, f"{name} changes the context ({feature})."
            return answer

        everything = np.arange(n)
        answer = ask(everything)
        _assert_same(
            answer,
            ask(everything),
            f"{name} answers the same question in two ways; answer with the probabilities, do not draw.",
        )
        _assert_same(answer[shuffled], ask(shuffled), f"{name} depends on the order of the rows.")
        parts = [ask(part) for part in np.split(everything, [1, n // 3])]
        _assert_same(answer, np.concatenate(parts), f"{name} depends on which rows are asked about together.")


def _check_training_repeats(policy: Policy | Callable[[], Policy], ready: Policy, log: "ExampleLog") -> None:
    answers = [checked_probabilities(trained, log.timeline.context()) for trained in (ready, _ready(policy, log))]
    _assert_same(
        answers[0],
        answers[1],
        f"{policy_name(ready)} learns something else from the same training; draw from training.rng only.",
    )


def _assert_same(answer: FloatArray, other: FloatArray, sentence: str) -> None:
    assert np.allclose(answer, other, rtol=0, atol=TOLERANCE), sentence


def _contents(context: Context) -> dict[str, Any]:
    """Copies of everything that a policy could change by mistake."""
    return {"mask": context.mask.copy()} | {name: context.column(name).values.copy() for name in context.exogenous}


@dataclass(frozen=True)
class ExampleLog:
    """A small random log with every standard feature, to try a policy on.

    Who is contacted does not heed the cap, so that some decision points are masked.
    """

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
        return Timeline.of(self._decisions(), self.cap).evaluation()

    def training(self) -> Training:
        """What a policy that learns is given, with a small reward model that was fitted on this log."""
        timeline = self.timeline
        contacts = timeline.contacts()
        model = RewardModel.fit(
            contacts.context(),
            contacts.action,
            contacts.reward,
            contacts.user_key[contacts.user_of_row],
            contacts.time,
            grid="light",
            seed=self.seed,
        )
        rng = np.random.default_rng(self.seed)
        return Training(timeline, model, _AnyKind(), self.cap, value=5.0, cost=1.0, ends=timeline.log_end, rng=rng)

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

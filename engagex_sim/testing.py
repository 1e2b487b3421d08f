"""The contract that every policy keeps, as a check for anybody's test suite.

from engagex_sim.testing import check_policy

def test_my_policy_keeps_the_contract():
    check_policy(MyPolicy)
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar, cast

import numpy as np

from engagex_sim.columns import FloatArray
from engagex_sim.contract import broken_contract, same
from engagex_sim.errors import InputError
from engagex_sim.example_log import MIDDLE, ExampleLog
from engagex_sim.policy import Context, Policy, checked_probabilities, policy_name
from engagex_sim.timeline import Timeline

__all__ = ["ExampleLog", "check_policy"]

Answer = TypeVar("Answer")
PolicyOrMaker = Policy | Callable[[], Policy]


def check_policy(
    policy: PolicyOrMaker,
    *,
    features: Mapping[str, Sequence[Any]] | None = None,
    n_kinds: Sequence[int] = (1, 3),
    contact_may_be_forced: bool = True,
    seed: int = 0,
) -> None:
    """Check a policy, or a class or function that makes one, on small random logs.

    Checked of the answer: shape (n, K + 1), for no row too; rows sum to 1; nothing on masked actions; the same to the
    same question, in any order of rows and in parts; the context is left as it was. No look-ahead: what comes after a
    decision, and who else is asked about, does not change the answer. Made and trained once more, the policy answers
    the same. Where it learns, `fit` returns a policy and leaves the training as it was; it learns from other users than
    it is asked about. It can be copied.

    `features` gives values of further columns that the policy reads, or other values of `trigger` and `type`:
    {"city": ["Bern", "Graz"]}. `n_kinds` gives the numbers of kinds of contact to try. `contact_may_be_forced=False`
    leaves out logs in which contacting is not a choice (only the kind is).

    Raises `AssertionError` or `InputError` with one sentence that says what is wrong.
    """
    logs = [(number, True) for number in n_kinds] + ([(max(n_kinds), False)] if contact_may_be_forced else [])
    for number, is_a_choice in logs:
        log = ExampleLog(number, is_a_choice, features or {}, seed)
        others = replace(log, seed=seed + 1)
        ready = _ready(policy, others)
        fresh = _copied(ready)
        fault = _carried_out(
            f"{policy_name(ready)} fails in action_probabilities", partial(broken_contract, ready, log.timeline, seed)
        )
        assert fault is None, fault
        _check_no_look_ahead(fresh, log)
        _check_same_again(policy, fresh, log, others)


def _ready(policy: PolicyOrMaker, others: ExampleLog) -> Policy:
    """A fresh copy of the policy, trained on the log of `others` if it learns."""
    is_one = not isinstance(policy, type) and (hasattr(policy, "action_probabilities") or not callable(policy))
    made: Any = _copied(cast("Policy", policy)) if is_one else _made(cast("Callable[[], Policy]", policy))
    assert callable(getattr(made, "action_probabilities", None)), (
        f"{policy_name(made)} has no method action_probabilities(context)."
    )
    if not hasattr(made, "fit"):
        return cast("Policy", made)
    training = others.training()
    before = _contents_of_log(training.timeline)
    fitted = _carried_out(f"{policy_name(made)} fails in fit", lambda: made.fit(training))
    _assert_unchanged(before, _contents_of_log(training.timeline), f"fit of {policy_name(made)} changes the training")
    assert callable(getattr(fitted, "action_probabilities", None)), (
        f"fit of {policy_name(made)} must return self, not {type(fitted).__name__}."
    )
    return cast("Policy", fitted)


def _made(maker: Callable[[], Policy]) -> Policy:
    name = getattr(maker, "__name__", repr(maker))
    try:
        inspect.signature(maker).bind()
    except TypeError as error:
        raise AssertionError(
            f"{name} cannot be made without arguments ({error}), as a run makes policies; give them defaults, or check"
            " an object, or a function that makes one."
        ) from error
    return _carried_out(f"{name} cannot be made", maker)


def _carried_out(what_fails: str, call: Callable[[], Answer], advice: str = "") -> Answer:
    """The call's answer; a fault inside the policy becomes a finding that begins with `what_fails`."""
    try:
        return call()
    except InputError:
        raise  # says itself what is wrong
    except Exception as error:
        raise AssertionError(f"{what_fails}: {type(error).__name__}: {error}{advice}.") from error


def _copied(policy: Policy) -> Policy:
    return _carried_out(
        f"{policy_name(policy)} cannot be copied, as it is for each group of users",
        lambda: deepcopy(policy),
        "; open files and connections where they are needed",
    )


def _asked(policy: Policy, context: Context) -> FloatArray:
    return _carried_out(
        f"{policy_name(policy)} fails in action_probabilities", lambda: checked_probabilities(policy, context)
    )


def _check_no_look_ahead(policy: Policy, log: ExampleLog) -> None:
    """Each question goes to a copy that was never asked before, so that none remembers what it must not know."""
    name, whole = policy_name(policy), log.timeline

    def ask(timeline: Timeline) -> FloatArray:
        return _asked(_copied(policy), timeline.free_context())

    answer, early = ask(whole), whole.time < MIDDLE
    for other in (log.cut_off(), log.continued_otherwise()):
        _assert_same(
            answer[early],
            ask(other)[other.time < MIDDLE],
            f"{name} looks ahead: its answer at a decision point changes with what comes later.",
        )
    some = np.arange(whole.n_users) % 3 == 0
    _assert_same(
        answer[some[whole.user_of_row]],
        ask(whole.users(some)),
        f"{name} learns from the users that it is asked about: its answer changes with who else is asked about.",
    )


def _check_same_again(policy: PolicyOrMaker, fresh: Policy, log: ExampleLog, others: ExampleLog) -> None:
    answers = [_asked(own, log.timeline.context()) for own in (fresh, _ready(policy, others))]
    learns = hasattr(fresh, "fit")
    _assert_same(
        answers[0],
        answers[1],
        f"{policy_name(fresh)} learns something else from the same training; draw from training.rng only."
        if learns
        else f"{policy_name(fresh)} answers something else when it is made again; draw with a seed of its own.",
    )


def _assert_same(answer: FloatArray, other: FloatArray, sentence: str) -> None:
    assert same(answer, other), sentence


def _assert_unchanged(before: Mapping[str, Any], after: Mapping[str, Any], what: str) -> None:
    for name, values in after.items():
        assert np.array_equal(before[name], values, equal_nan=values.dtype.kind == "f"), f"{what} ({name})."


def _contents_of_log(timeline: Timeline) -> dict[str, Any]:
    """Likewise of what it learns from."""
    logged = {name: getattr(timeline, name).copy() for name in ("time", "action", "reward", "propensity")}
    return logged | {name: column.values.copy() for name, column in timeline.columns.items()}

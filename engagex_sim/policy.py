"""What a policy is given (Context) and what it must answer (the Policy protocol)."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from engagex_sim.columns import AnyArray, BoolArray, Column, FloatArray, IntArray
from engagex_sim.errors import InputError


class Context:
    """What is known at n decision points before the decision.

    `context["hour"]` gives a feature by name, shape (n,), with values as in the file. `context.mask` (n, K + 1)
    says which actions are allowed: column 0 is "no contact", columns 1..K are the kinds labelled in
    `context.kinds`. `context.history_read` names the history features that were looked at so far: they depend on
    the policy's own past, so an evaluation must know about them.
    """

    def __init__(
        self,
        mask: BoolArray,
        kinds: Sequence[str],
        exogenous: Mapping[str, Column],
        history: Mapping[str, FloatArray],
        memo: dict[str, Any] | None = None,
    ) -> None:
        self.mask = mask
        self.kinds = tuple(kinds)
        self.history_read: set[str] = set()
        self._exogenous = exogenous
        self._history = history
        self.memo = {} if memo is None else memo  # what was computed from the exogenous features of these rows before

    def __len__(self) -> int:
        return len(self.mask)

    def __getitem__(self, name: str) -> AnyArray:
        return self.column(name).decoded()

    def __contains__(self, name: object) -> bool:
        return name in self._exogenous or name in self._history

    @property
    def exogenous(self) -> tuple[str, ...]:
        """Names of the features that do not depend on what a policy does; those that begin with "_" are not shown."""
        return tuple(name for name in self._exogenous if not name.startswith("_"))

    def column(self, name: str) -> Column:
        """A feature as a coded column: cheaper than `context[name]` for text.

        Raises `InputError` for an unknown name, with the names that there are.
        """
        if name in self._exogenous:
            return self._exogenous[name]
        if name in self._history:
            self.history_read.add(name)
            return Column(self._history[name])
        known = ", ".join((*self.exogenous, *self._history))
        raise InputError(f"There is no feature {name!r} in this log; there are: {known}.")


@runtime_checkable
class Policy(Protocol):
    """A contact strategy. No base class is needed: one method makes a class a policy."""

    def action_probabilities(self, context: Context) -> FloatArray:
        """Probabilities (n, K + 1) of no contact and of each kind; rows sum to 1, zero where masked."""
        ...


def policy_name(policy: object) -> str:
    """The policy's `name`, else its class name in snake_case."""
    name = getattr(policy, "name", None)
    if isinstance(name, str) and name:
        return name
    letters = type(policy).__name__
    return "".join(
        "_" + c.lower() if c.isupper() and i and not letters[i - 1].isupper() else c.lower()
        for i, c in enumerate(letters)
    )


def checked_probabilities(policy: Policy, context: Context) -> FloatArray:
    """The policy's answer, shape (n, K + 1), after checking it.

    Raises `InputError` that names the policy where the shape is wrong, a row does not sum to 1 (to 1e-6), a value is
    negative or not a number, or a masked action gets probability.
    """
    answer = np.asarray(policy.action_probabilities(context), dtype=np.float64)
    name = policy_name(policy)
    if answer.shape != context.mask.shape:
        raise InputError(
            f"Policy {name} answered with shape {answer.shape}; one row per decision point and one column per action,"
            f" {context.mask.shape}, is needed."
        )
    if len(answer) == 0:
        return answer
    if not np.isfinite(answer).all() or answer.min() < 0:
        raise InputError(f"Policy {name} answered with probabilities that are negative or not numbers.")
    if (answer[~context.mask] > 0).any():
        raise InputError(
            f"Policy {name} gives probability to a masked action; multiply by context.mask and give the rest to"
            " column 0."
        )
    sums = answer.sum(axis=1)
    worst = int(np.abs(sums - 1).argmax())
    if abs(sums[worst] - 1) > 1e-6:
        raise InputError(f"Policy {name} answered with a row that sums to {sums[worst]:.6g} instead of 1.")
    return answer


def action_scores(policy: Policy, context: Context, answer: FloatArray) -> FloatArray:
    """What the policy ranks contacts by (n, K): its `action_scores`, or its probabilities where it has none.

    `answer` (n, K + 1) are these probabilities. Raises `InputError` that names the policy where it scores wrongly.
    """
    own = getattr(policy, "action_scores", None)
    if own is None:
        return answer[:, 1:].copy()
    scores = np.asarray(own(context), dtype=np.float64)
    if scores.shape != answer[:, 1:].shape or np.isnan(scores).any():
        raise InputError(
            f"Policy {policy_name(policy)} scored actions with shape {scores.shape}, or with what is no number; one"
            f" number per decision point and kind, {answer[:, 1:].shape}, is needed."
        )
    return scores


def draw_actions(probabilities: FloatArray, uniforms: FloatArray) -> IntArray:
    """One action per row, shape (n,), by inverting the cumulative probabilities (n, K + 1) at `uniforms` (n,)."""
    cumulative = np.cumsum(probabilities, axis=1)
    drawn = (uniforms[:, None] >= cumulative / cumulative[:, -1:]).sum(axis=1)
    return np.asarray(drawn, dtype=np.int64)

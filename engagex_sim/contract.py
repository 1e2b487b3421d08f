"""What every policy keeps to, whichever log it is asked about: an answer depends on its row alone."""

from collections.abc import Iterator

import numpy as np

from engagex_sim.columns import AnyArray, BoolArray, FloatArray, IntArray
from engagex_sim.errors import InputError
from engagex_sim.policy import Context, Policy, checked_probabilities, policy_name
from engagex_sim.timeline import Timeline

TOLERANCE = 1e-6  # a network in single precision answers to seven digits, which depend on the batch


def broken_contract(policy: Policy, timeline: Timeline, seed: int = 0) -> str | None:
    """What the policy does at these decision points that no policy may do, in a sentence; None where all is well.

    It is asked about all rows twice, in another order, in parts and about none, with the mask that the log leaves and
    as if everybody were free. Raises `InputError` where a single answer is wrong (`checked_probabilities`).
    """
    return next(_faults(policy, timeline, seed), None)


def check_contract(policy: Policy, timeline: Timeline) -> None:
    """Raise `InputError` where the policy breaks the contract at these decision points: no answer could be believed."""
    fault = broken_contract(policy, timeline)
    if fault is not None:
        raise InputError(f"{fault} So it cannot be valued; engagex_sim.testing.check_policy tests all that is asked.")


def _faults(policy: Policy, timeline: Timeline, seed: int) -> Iterator[str]:
    name, n = policy_name(policy), len(timeline)
    everything, shuffled = np.arange(n), np.random.default_rng(seed).permutation(n)
    for free in (None, np.ones(n, dtype=np.bool_)):

        def ask(rows: IntArray, free: BoolArray | None = free) -> FloatArray:
            return checked_probabilities(
                policy, timeline.context(rows, free=None if free is None else free[rows])
            ).copy()

        context = timeline.context(free=free)
        before = _contents(context)
        answer = checked_probabilities(policy, context).copy()
        for column, values in _contents(context).items():
            if not np.array_equal(before[column], values, equal_nan=values.dtype.kind == "f"):
                yield f"{name} changes the context ({column})."
        if not same(answer, ask(everything)):
            yield f"{name} answers the same question in two ways; answer with the probabilities, do not draw."
        if not same(answer[shuffled], ask(shuffled)):
            yield f"{name} depends on the order of the rows."
        if not same(answer, np.concatenate([ask(part) for part in np.split(everything, [1, n // 3])])):
            yield f"{name} depends on which rows are asked about together."
        try:
            ask(everything[:0])
        except Exception as error:
            yield (
                f"{name} cannot be asked about no row, as happens where nobody came by:"
                f" {type(error).__name__}: {error}; answer with shape (0, K + 1)."
            )


def same(answer: FloatArray, other: FloatArray) -> bool:
    """Whether two answers, of one shape, agree as far as single precision does."""
    return np.allclose(answer, other, rtol=0, atol=TOLERANCE)


def _contents(context: Context) -> dict[str, AnyArray]:
    """Copies of everything that a policy could change by mistake."""
    return {"mask": context.mask.copy()} | {name: context.column(name).values.copy() for name in context.exogenous}

"""A guard around other people's policies: a fault inside one is told with the plug-in's own lines."""

import traceback
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np

from engagex_sim.columns import FloatArray
from engagex_sim.errors import InputError
from engagex_sim.policy import Context

if TYPE_CHECKING:
    from engagex_sim.training import Training

Answer = TypeVar("Answer")
_LOADERS = frozenset({"importlib", "importlib_metadata"})  # the latter, where installed, also reads entry points


class GuardedPolicy:
    """Somebody else's policy: a fault inside it becomes an `InputError` with the plug-in's own lines."""

    def __init__(self, policy: Any, name: str, source: Path) -> None:
        self.policy = policy
        self.name = name
        self.source = source

    def action_probabilities(self, context: Context) -> FloatArray:
        """The policy's answer as an array, not yet checked for its shape and sums."""
        return self._guarded(
            "failed in action_probabilities",
            lambda: np.asarray(self.policy.action_probabilities(context), dtype=np.float64),
        )

    @property
    def action_scores(self) -> Callable[[Context], FloatArray]:
        """What the policy ranks contacts by, if it says so; else there is no such attribute."""
        own = self.policy.action_scores
        return lambda context: self._guarded(
            "failed in action_scores", lambda: np.asarray(own(context), dtype=np.float64)
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        copied = self._guarded("cannot be copied for a fold", lambda: deepcopy(self.policy, memo))
        return type(self)(copied, self.name, self.source)

    def _guarded(self, what: str, call: Callable[[], Answer]) -> Answer:
        return guarded(f"Policy {self.name} {what}", self.source, call)


class GuardedLearner(GuardedPolicy):
    """The same for a policy that learns."""

    def fit(self, training: "Training") -> Self:
        """Fit the policy. Raises `InputError` where its `fit` does not return a policy."""
        fitted = self._guarded("failed in fit", lambda: self.policy.fit(training))
        if not callable(getattr(fitted, "action_probabilities", None)):
            raise InputError(f"Policy {self.name}: fit must return self, not {type(fitted).__name__}.")
        self.policy = fitted
        return self


def guarded(what: str, source: Path | None, call: Callable[[], Answer]) -> Answer:
    """The call's answer. Raises `InputError` that begins with `what` for any fault inside the plug-in.

    `source` is the plug-in's file; None where it is not known yet, and then every line but the loader's is told.
    """
    try:
        return call()
    except (Exception, SystemExit) as error:
        raise InputError(f"{what}: {_what_happened(error)}{_own_lines(error, source)}") from error


def _what_happened(error: BaseException) -> str:
    if isinstance(error, InputError):
        return str(error)
    lines = traceback.format_exception_only(error)
    if isinstance(error, SyntaxError):  # its place in the file comes first; the sentence is to begin with what it is
        lines = [lines[-1], *lines[:-1]]
    return "".join(lines).rstrip()


def _own_lines(error: BaseException, source: Path | None) -> str:
    """The traceback's lines that belong to the plug-in, each call on two lines; empty where there are none."""
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if _belongs(frame.filename, source)]
    return "\n" + "".join(traceback.format_list(own)).rstrip() if own else ""


def _belongs(filename: str, source: Path | None) -> bool:
    path = Path(filename)
    if source is not None:
        return path.resolve() == source.resolve()
    loader = not _LOADERS.isdisjoint(path.parts) or path.resolve().parent == Path(__file__).resolve().parent
    return not (loader or filename.startswith("<"))

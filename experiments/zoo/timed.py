"""A stopwatch around policies: seconds of training, and copies to time decisions with."""

import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd

from engagex_sim.columns import FloatArray
from engagex_sim.models.reward import RewardModel
from engagex_sim.policy import Context, Policy, policy_name
from engagex_sim.timeline import Timeline

if TYPE_CHECKING:
    from engagex_sim.training import Training

ROWS = 50_000  # decision points that decisions are timed on


@dataclass
class Notes:
    """What the copies of one policy leave behind."""

    training: list[float] = field(default_factory=list)  # seconds
    trained: list[Policy] = field(default_factory=list)
    reward_models: list[RewardModel] = field(default_factory=list)


class Timed:
    """A policy that takes notes; its answers are those of the policy inside."""

    def __init__(self, policy: Any, notes: Notes) -> None:
        self.policy = policy
        self.notes = notes
        self.name = policy_name(policy)

    def action_probabilities(self, context: Context) -> FloatArray:
        """The policy's answer, (n, K + 1)."""
        answer: FloatArray = self.policy.action_probabilities(context)
        return answer

    @property
    def action_scores(self) -> Callable[[Context], FloatArray]:
        """The policy's own; not there where it has none."""
        scores: Callable[[Context], FloatArray] = self.policy.action_scores
        return scores

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return type(self)(deepcopy(self.policy, memo), self.notes)


class TimedLearner(Timed):
    """The same for a policy that learns."""

    def fit(self, training: "Training") -> Self:
        """Fit the policy, and note the processor time of this thread: others may be at work beside it."""
        began = time.thread_time()
        self.policy = self.policy.fit(training)
        self.notes.training.append(time.thread_time() - began)
        self.notes.trained.append(self.policy)
        self.notes.reward_models.append(training.reward_model)
        return self


def timed(policy: Policy) -> Timed:
    """The policy with a stopwatch."""
    notes = Notes()
    return TimedLearner(policy, notes) if hasattr(policy, "fit") else Timed(policy, notes)


def costs(policies: Sequence[Timed], timeline: Timeline) -> pd.DataFrame:
    """One row per policy: `policy`, `training_seconds` (mean over folds, without the shared models; 0 where nothing is
    learned) and `seconds_per_million` decisions, the reward model's prediction included where it is asked for."""
    rows = timeline.rows(np.arange(len(timeline)) < ROWS)
    found = []
    for own in policies:
        policy = own.notes.trained[0] if own.notes.trained else own.policy
        began = time.perf_counter()
        policy.action_probabilities(rows.context(free=np.ones(len(rows), dtype=np.bool_)))  # a context without memory
        spent = time.perf_counter() - began
        training = float(np.mean(own.notes.training)) if own.notes.training else 0.0
        found.append((own.name, training, spent / max(len(rows), 1) * 1e6))
    return pd.DataFrame(found, columns=["policy", "training_seconds", "seconds_per_million"])

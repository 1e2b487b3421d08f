"""What is learned from one set of users before any policy is: who is interested, and whom the current strategy asks."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from engagex_sim.columns import FloatArray
from engagex_sim.models.calibrate import log_odds, sigmoid
from engagex_sim.models.propensity import PropensityModel
from engagex_sim.models.reward import RewardModel
from engagex_sim.models.state_effects import StateEffects
from engagex_sim.policy import Context

_SIDECAR = "effects.json"


@dataclass(frozen=True)
class Learned:
    """The models of one set of users."""

    reward_model: RewardModel
    reward_effects: StateEffects  # what the carried contact history adds to its log odds
    score_edges: FloatArray  # where classes of predicted interest begin, about equally many contacts in each
    logging: PropensityModel  # reads exogenous features and the carried history

    def interest_by_state(self, context: Context) -> FloatArray:
        """q̂ (n, S, K) in every state that is carried."""
        plain = self.reward_model.predict(context)
        if self.reward_effects.states.size == 1:
            return plain[:, None, :]
        return sigmoid(self.reward_effects.log_odds(log_odds(plain)))

    def interest(self, context: Context) -> FloatArray:
        """q̂ (n, K) in the state that the context's history features tell."""
        by_state = self.interest_by_state(context)
        state = self.reward_effects.states.of_features(context)
        return np.asarray(by_state[np.arange(len(context)), state])

    def save(self, directory: Path) -> None:
        """Write the models into an existing directory: JSON, and XGBoost's own format."""
        self.reward_model.save(directory)
        self.logging.save(directory)
        stored = {"reward_effects": self.reward_effects.to_json(), "score_edges": self.score_edges.tolist()}
        (directory / _SIDECAR).write_text(json.dumps(stored), encoding="utf-8")

    @classmethod
    def load(cls, directory: Path, threads: int = 1) -> Self:
        """The models that `save` wrote; they predict the same to the last bit."""
        stored = json.loads((directory / _SIDECAR).read_text(encoding="utf-8"))
        return cls(
            RewardModel.load(directory, threads),
            StateEffects.from_json(stored["reward_effects"]),
            np.array(stored["score_edges"]),
            PropensityModel.load(directory, threads),
        )

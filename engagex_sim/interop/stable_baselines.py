"""A trained MaskablePPO of sb3-contrib as a policy. PyTorch is imported only by who has such a model."""

from threading import Lock
from typing import Any, Self

import numpy as np
from gymnasium import spaces

from engagex_sim.columns import FloatArray
from engagex_sim.errors import InputError
from engagex_sim.observations import Observations
from engagex_sim.policy import Context

ROWS_AT_ONCE = 65_536  # decision points that the network is asked about together
_ONE_AT_A_TIME = Lock()  # a network keeps its last answer in itself, where another thread would overwrite it


class MaskablePPOPolicy:
    """What a model that learned in `EngageXEnv` would do, as probabilities; nothing more is learned.

    A model trained with `VecNormalize` is given observations normalised as at the end of its training.

    Arguments:
        model: a `sb3_contrib.MaskablePPO` that observes the environment's `Dict`, or what gymnasium's
            `FlattenObservation` makes of it.
        observations: the environment's `observations`.
        deterministic: always the likeliest action, instead of the probabilities that the model draws from. Drawing is
            easier to evaluate from a log.
        name: what tables call the policy.

    Raises `InputError` where model and observations do not belong together.
    """

    def __init__(
        self,
        model: Any,
        observations: Observations,
        *,
        deterministic: bool = False,
        name: str = "maskable_ppo",
    ) -> None:
        flat = spaces.flatten_space(observations.space)
        if model.observation_space not in (observations.space, flat):
            raise InputError(
                f"Policy {name}: the model learned from other observations; give those of its own environment,"
                " env.unwrapped.observations."
            )
        self.name = name
        self.observations = observations
        self.deterministic = deterministic
        self._flat = model.observation_space == flat
        self._n_actions = int(model.action_space.n)
        self._network = model.policy
        self._normalize = model.get_vec_normalize_env()  # None where there is none

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Itself: nothing here changes any more, and PyTorch cannot copy a network fresh from training."""
        return self

    def action_probabilities(self, context: Context) -> FloatArray:
        """(n, K + 1). Raises `InputError` where the log has other actions or features than the model learned with."""
        import torch

        if context.mask.shape[1] != self._n_actions:
            raise InputError(
                f"Policy {self.name} learned to choose among {self._n_actions} actions;"
                f" this log has {context.mask.shape[1]}."
            )
        observed = self.observations.observe(context)
        probabilities = np.zeros(context.mask.shape)
        self._network.set_training_mode(False)
        for first in range(0, len(context), ROWS_AT_ONCE):
            rows = slice(first, first + ROWS_AT_ONCE)
            batch: Any = {name: values[rows] for name, values in observed.items()}
            if self._flat:
                batch = self.observations.flat(batch)
            if self._normalize is not None:
                batch = self._normalize.normalize_obs(batch)
            with _ONE_AT_A_TIME, torch.no_grad():
                tensors, _ = self._network.obs_to_tensor(batch)
                chosen = self._network.get_distribution(tensors, action_masks=context.mask[rows])
                probabilities[rows] = chosen.distribution.probs.cpu().numpy()
        if self.deterministic:
            probabilities = np.eye(self._n_actions)[np.where(context.mask, probabilities, -1.0).argmax(axis=1)]
        allowed = np.where(context.mask, probabilities, 0.0)
        return np.asarray(allowed / allowed.sum(axis=1, keepdims=True), dtype=np.float64)

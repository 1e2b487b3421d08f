"""Contacts that are likelier the higher the predicted interest, and never certain."""

from typing import TYPE_CHECKING, Self

import numpy as np
from scipy.special import expit

from engagex_sim.columns import FloatArray
from engagex_sim.kinds import soft_choice, spread
from engagex_sim.policy import Context
from engagex_sim.volume import matching_offset

if TYPE_CHECKING:
    from engagex_sim.training import Training

COLDEST = 1e-9  # τ where all predictions are equal: any would do


class XgbSoftmax:
    """Kind k in proportion to exp(q̂_k / τ), no contact to exp(c), with the current strategy's number of contacts.

    Boltzmann exploration (Luce 1959; Sutton 1990). τ is `temperature` standard deviations of the predictions on the
    training users: a prediction that is one of them higher multiplies a kind's odds by exp(1 / `temperature`). c is
    found so that the expected number of contacts per user equals the current strategy's.

    Learned: `reward_model_`, `temperature_` (τ) and `offset_` (−c).
    """

    name = "xgb_softmax"

    def __init__(self, temperature: float = 0.5) -> None:
        self.temperature = temperature

    def fit(self, training: "Training") -> Self:
        """Take over the reward model, and find τ and c."""
        context = training.timeline.free_context()
        self.reward_model_ = training.reward_model
        predictions = self.reward_model_.predict(context)
        self.temperature_ = max(self.temperature * float(predictions.std()), COLDEST)
        odds, _ = soft_choice(predictions / self.temperature_, context.mask)
        choice = context.mask[:, 0]
        self.offset_ = matching_offset(
            lambda offset: training.contacts_of(np.where(choice, expit(odds + offset), 1.0)),
            odds,
            training.current_contacts_per_user,
        )
        return self

    def action_probabilities(self, context: Context) -> FloatArray:
        """(n, K + 1), all allowed actions possible."""
        odds, shares = soft_choice(self.reward_model_.predict(context) / self.temperature_, context.mask)
        return spread(expit(odds + self.offset_), shares, context.mask)

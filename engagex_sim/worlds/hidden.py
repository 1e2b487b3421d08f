"""`frailty`: a hidden trait drives how often a user is contacted. `confounded`: it drives interest as well."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from engagex_sim.columns import Column, FloatArray
from engagex_sim.policy import Context, Policy
from engagex_sim.worlds.visits import Visits, VisitsLogging

TRAIT = "_trait"


@dataclass(frozen=True)
class TraitLogging(VisitsLogging):
    """`VisitsLogging` that also knows a trait of the user, which no log shows."""

    def log_odds(self, context: Context) -> FloatArray:
        return super().log_odds(context) + context[TRAIT]


@dataclass(frozen=True)
class Frailty(Visits):
    """`visits`, but a hidden trait of the user, normal with deviation `spread`, adds to the log odds of a contact.

    Stresses: contact rates that differ for no visible reason. Interest does not depend on the trait, so nothing is
    confounded, but past contacts tell who is contacted often, and a model that reads them misleads the recursion.
    """

    spread: float = 0.8

    own_name: ClassVar[str] = "frailty"
    summary: ClassVar[str] = "like visits, but a hidden trait drives how often a user is contacted, and nothing else"
    logging_is_visible: ClassVar[bool] = False

    @cached_property
    def logging(self) -> Policy:
        return TraitLogging(self.contact_odds)

    def hidden_causes(self, n_users: int, rng: np.random.Generator) -> dict[str, FloatArray]:
        return super().hidden_causes(n_users, rng) | {TRAIT: rng.normal(0.0, self.spread, n_users)}


@dataclass(frozen=True)
class Confounded(Visits):
    """`visits`, but half the users have a hidden trait that adds `strength` to the log odds of contact and interest.

    With the trait: + strength / 2 on both, without: − strength / 2. Stresses: an unobserved common cause, against
    which only a sensitivity bound helps; `hidden_cause.implied_odds_ratio` says which one is due.
    """

    strength: float = 1.0

    own_name: ClassVar[str] = "confounded"
    summary: ClassVar[str] = "like visits, but a hidden binary trait drives both contact and interest"
    logging_is_visible: ClassVar[bool] = False

    @cached_property
    def logging(self) -> Policy:
        return TraitLogging(self.contact_odds)

    @property
    def trait_values(self) -> tuple[float, float]:
        """What the trait adds to both log odds, without it and with it; each half of the users."""
        return -self.strength / 2, self.strength / 2

    def hidden_causes(self, n_users: int, rng: np.random.Generator) -> dict[str, FloatArray]:
        return super().hidden_causes(n_users, rng) | {TRAIT: rng.choice(self.trait_values, n_users)}

    def interest_odds(self, features: Mapping[str, Column]) -> FloatArray:
        return super().interest_odds(features) + features[TRAIT].values

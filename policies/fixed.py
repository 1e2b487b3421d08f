"""Strategies that know nothing about anybody: the yardsticks."""

import numpy as np

from engagex_sim.columns import FloatArray
from engagex_sim.errors import InputError
from engagex_sim.kinds import spread
from engagex_sim.policy import Context


class Never:
    """Contacts nobody."""

    name = "never"

    def action_probabilities(self, context: Context) -> FloatArray:
        """(n, K + 1), all on "no contact". Raises `InputError` where contacting is not a choice."""
        if not context.mask[:, 0].all():
            raise InputError("Policy never cannot be tried where contacting is not a choice: leave it out.")
        probabilities = np.zeros(context.mask.shape)
        probabilities[:, 0] = 1.0
        return probabilities


class FirstChance:
    """Contacts whenever the cap allows it; the kinds are equally likely."""

    name = "first_chance"

    def action_probabilities(self, context: Context) -> FloatArray:
        """(n, K + 1), nothing on "no contact" where a contact is allowed."""
        return spread(np.ones(len(context)), np.ones(len(context.kinds)), context.mask)


class Uniform:
    """Every allowed action is equally likely, "no contact" included where it is one."""

    name = "uniform"

    def action_probabilities(self, context: Context) -> FloatArray:
        """(n, K + 1), 1 / (number of allowed actions) each."""
        return np.asarray(context.mask / context.mask.sum(axis=1, keepdims=True), dtype=np.float64)

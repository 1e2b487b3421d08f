"""How strong a world's hidden cause is, in the terms of the sensitivity bounds."""

from dataclasses import dataclass, replace

import numpy as np

from engagex_sim.columns import Column, FloatArray
from engagex_sim.occupancy import contact_probabilities
from engagex_sim.policy import checked_probabilities
from engagex_sim.timeline import Timeline
from engagex_sim.worlds import Confounded, whole_history
from engagex_sim.worlds.hidden import TRAIT
from engagex_sim.worlds.world import LOG_START

HELD = 0.99  # share of the contacts for which the ratio is to hold


@dataclass(frozen=True)
class Marginals:
    """Contact probabilities of the logging policy at the decision points of the evaluation period, by trait."""

    timeline: Timeline  # of n decision points
    trait: FloatArray  # (2, n) P(U = u | X) of the row's user
    contact: FloatArray  # (2, n) P(a_t = contact | X, U = u)

    @property
    def visible(self) -> FloatArray:
        """(n,) P(a_t = contact | X)."""
        return np.asarray((self.trait * self.contact).sum(axis=0))


def contact_marginals(world: Confounded, n_users: int, seed: int) -> Marginals:
    """By the exact recursion, given what the log shows (X): the timeline and the contact of the burn-in, if any.

    P(U | X) follows from the burn-in's contact by Bayes' rule: within one cap length contacts exclude one another, so
    its likelihood is q_s(u) for a contact at s and 1 − Σ_s q_s(u) for none.
    """
    history = whole_history(world, n_users, np.random.default_rng([seed, 2]))
    from_the_start = replace(history, evaluation_start=np.full(n_users, history.log_start))
    whole = Timeline.of(from_the_start, world.logging_cap)
    evaluation = Timeline.of(history, world.logging_cap).evaluation()
    under_trial = history.time >= LOG_START + world.cap.seconds
    burn_in = (history.time >= LOG_START) & ~under_trial
    user = history.user_of_row
    made = np.bincount(user[burn_in & (history.action > 0)], minlength=n_users) > 0
    likelihood, contact = [], []
    for value in world.trait_values:
        known = replace(whole, columns={**whole.columns, TRAIT: Column(np.full(len(whole), value))})
        when_free = checked_probabilities(world.logging, known.free_context())[:, None, 1:]
        shown = np.where(burn_in, contact_probabilities(known, when_free)[:, 0, 0], 0.0)
        at_contact = np.bincount(user, shown * (history.action > 0), minlength=n_users)
        likelihood.append(np.where(made, at_contact, 1 - np.bincount(user, shown, minlength=n_users)))
        contact.append(contact_probabilities(evaluation, when_free[under_trial])[:, 0, 0])
    trait = np.array(likelihood) / np.sum(likelihood, axis=0)
    return Marginals(evaluation, trait[:, evaluation.user_of_row], np.array(contact))


def implied_odds_ratio(world: Confounded, n_users: int = 20_000, seed: int = 0, held: float = HELD) -> float:
    """Λ of a world with a binary hidden trait U: the smallest for which the odds of P(a_t = contact | X, U) over those
    of P(a_t = contact | X) are within [1/Λ, Λ] at a share `held` of the contacts of the evaluation period.

    Both probabilities are marginal over earlier contacts (`contact_marginals`). Contacts are weighed by their expected
    number, and both values of the trait count with their probability. The model is that of Tan (2006), there for a
    single decision.
    """
    marginals = contact_marginals(world, n_users, seed)
    possible = marginals.visible > 0
    visible = _odds(marginals.visible[possible])
    ratio = np.abs(np.log(_odds(marginals.contact[:, possible]) / visible)).ravel()
    weight = (marginals.trait * marginals.contact)[:, possible].ravel()
    order = np.argsort(ratio)
    share = np.cumsum(weight[order]) / weight.sum()
    return float(np.exp(ratio[order][np.searchsorted(share, held)]))


def _odds(probability: FloatArray) -> FloatArray:
    return probability / (1 - probability)

"""The exploration that would make a log answer for one policy, from the models of a cross-fit."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from engagex_sim.block import Recursion
from engagex_sim.columns import FloatArray
from engagex_sim.crossfit import Fitted
from engagex_sim.dependence import Carried
from engagex_sim.exploration import Sums, block_sums, lacks_support, plan, sentence
from engagex_sim.policy import policy_name
from engagex_sim.policy_states import policy_by_state
from engagex_sim.preparation import Prepared
from engagex_sim.rules import NO_RULES, Rules
from engagex_sim.splitting import Splitting
from engagex_sim.states import States
from engagex_sim.support import SupportRows, support_rows, where
from engagex_sim.timeline import Timeline

ROWS_AT_ONCE = 200_000


class Exploration(NamedTuple):
    """What exploration a policy needs."""

    plan: pd.DataFrame  # one row per rate, see `exploration.plan`
    where: str  # which decisions lack support, in words
    lacking_share: float  # of the policy's contacts
    sentence: str


def explore(
    prepared: Prepared,
    fitted: Sequence[Fitted],
    splitting: Splitting,
    carry: Carried,
    policy: int,
    rules: Rules = NO_RULES,
) -> Exploration | None:
    """The plan for the policy at position `policy` of each of `fitted`, which keeps to `rules` beside the cap.

    None where it reads its own past results, or where the rules need more of a user's history than the last contact.
    From the sampled users of a large log, scaled to all of them.
    """
    if rules.need_history:
        return None
    evaluation = prepared.whole
    block = evaluation.user_start[:-1] // (ROWS_AT_ONCE // carry.logging.size)
    sums, rows, rng = [], [], np.random.default_rng(0)
    for judged, models in zip(splitting.judged(evaluation.user_key), fitted, strict=True):
        for b in np.unique(block[judged]):
            users = evaluation.users(judged & (block == b))
            found = _block(users, models, carry, policy, prepared.cap_modelled, rules, rng)
            if found is None:
                return None
            sums.append(found[0])
            rows.append(found[1])
    part, words = Sums.join(sums), where(SupportRows.join(rows))
    total = part.scaled(prepared.facts.n_users / float(part.users))
    table = plan(total)
    name = policy_name(fitted[0].policies[policy])
    current = prepared.facts.n_interests / prepared.facts.n_users
    lacking = float(total.lacking / total.target) if total.target > 0 else float("nan")
    return Exploration(table, words, lacking, sentence(name, table, words, current, lacking))


def _block(
    t: Timeline,
    models: Fitted,
    carry: Carried,
    policy: int,
    cap_modelled: bool,
    rules: Rules,
    rng: np.random.Generator,
) -> tuple[Sums, SupportRows] | None:
    _, by_state = policy_by_state(models.policies[policy], t.under(rules), carry.weights)
    if by_state is None:
        return None
    context = t.free_context()
    predicted = models.interest_by_state(context)
    states = by_state.states.joined(carry.logging)
    logging = _refined(models.logging.when_free(context), carry.logging, states)
    target = _refined(by_state.when_free, by_state.states, states)
    probability = Recursion(states, carry.weights, True, None, predicted).run(t, target)
    # Twice the kinds: the current strategy's own contacts, and those by chance.
    own = Recursion(states, carry.weights, cap_modelled, t.unexplained(cap_modelled), np.tile(predicted, 2))
    lacking = np.asarray(lacks_support(logging, target).any(axis=(1, 2)), dtype=np.bool_)
    return (
        block_sums(t.user_of_row, t.n_users, logging, target, probability, predicted, lambda h: own.run(t, h)),
        support_rows(t, probability.sum(axis=(1, 2)), lacking, rng),
    )


def _refined(when_free: FloatArray, coarse: States, fine: States) -> FloatArray:
    """Hazards by the states of `coarse` (n, S, K) at those of `fine`; as they are where they are the same for all."""
    return when_free if when_free.shape[1] == 1 else when_free[:, fine.within(coarse)]

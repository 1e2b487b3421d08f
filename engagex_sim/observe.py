"""One block of users, reduced to what the estimators need.

Everything that is linear in the decision points happens here, once, block by block.
"""

from functools import partial

import numpy as np

from engagex_sim.block import Block, Recursion, at_logged_states, of_pairs, sums_by_day
from engagex_sim.columns import FloatArray, IntArray, sums_by
from engagex_sim.crossfit import Fitted
from engagex_sim.days import Days
from engagex_sim.dependence import Carried
from engagex_sim.margins import MAX_LEVELS, Margins
from engagex_sim.observed import Observed, ObservedPolicy
from engagex_sim.ope.resampling import Resampling, resampled_sums
from engagex_sim.policy_states import with_no_contact
from engagex_sim.policy_terms import UserSums, policy_terms
from engagex_sim.rules import NO_RULES, Rules
from engagex_sim.timeline import Timeline


def observe(
    evaluation: Timeline,
    fitted: Fitted,
    days: Days,
    margins: Margins,
    cap_modelled: bool,
    carry: Carried,
    resampling: Resampling,
    rules: Rules = NO_RULES,
) -> Observed:
    """Reduce one block of users, whose models and policies were fitted on other users.

    The policies keep to `rules` beside the cap; the current strategy is modelled as the log shows it.

    Every block of an evaluation takes the same `resampling`. Raises `InputError` for a policy that answers wrongly.
    """
    t = evaluation
    user, day = t.user_of_row, days.of(t.time)
    contact = np.flatnonzero(t.action > 0)
    taken = t.action[contact] - 1
    free = t.free_context()
    state = carry.weights.of(t.time, t.logged)
    predicted = fitted.interest_by_state(free)
    own = carry.logging.of(t.time, t.logged)
    hazard = _with_logged_propensity(fitted.logging.when_free(free), t, own)
    first, second = _pairs(user[contact], t.reward[contact])
    recursion = Recursion(carry.logging, carry.weights, cap_modelled, t.unexplained(cap_modelled), predicted)
    logging = recursion.run(t, hazard)
    # A contact that broke a cap which the log otherwise keeps is no doing of the policy that is modelled.
    explained = ~t.breaks_cap[contact] if cap_modelled else np.ones(len(contact), dtype=np.bool_)
    block = Block(
        timeline=t,
        rules=rules,
        trial=t.under(rules.without_stop),
        fitted=fitted,
        days=days,
        day=day,
        carry=carry,
        cap_modelled=cap_modelled,
        contact=contact,
        taken=taken,
        state=state,
        predicted=predicted,
        logging=logging,
        at_logged=at_logged_states(with_no_contact(hazard[np.arange(len(t)), own]), t, cap_modelled),
        first=contact[first],
        second=contact[second],
    )
    levels = [day, *margins.levels(t.columns).values()]
    size = max(days.count, len(t.kinds), MAX_LEVELS, carry.weights.size)
    everything = logging.sum(axis=(1, 2))
    expected = [sums_by(level, everything, size) for level in levels]
    expected.append(sums_by(np.arange(len(t.kinds)), logging.sum(axis=(0, 1)), size))
    expected.append(sums_by(np.arange(carry.weights.size), logging.sum(axis=(0, 2)), size))
    score = np.searchsorted(fitted.score_edges, predicted, side="right")
    expected.append(sums_by(score.ravel(), logging.ravel(), size))
    own_score = score[contact, state[contact], taken]
    made = np.bincount(user[contact], minlength=t.n_users)
    contacts = made + np.bincount(t.other_user, minlength=t.n_users)
    current = sums_by_day(
        np.concatenate([user, t.other_user]),
        np.concatenate([day, days.of(t.other_time)]),
        np.concatenate([t.reward, t.other_reward]),
        (t.n_users, days.count),
    )
    active = contacts > 0
    terms = [policy_terms(policy, block) for policy in fitted.policies]
    general = np.column_stack([np.ones(t.n_users), np.diff(t.user_start) - made])
    columns = np.hstack([general, *(np.column_stack([*own.users, own.by_day]) for own in terms)])
    sums = resampled_sums(columns, t.user_key, resampling)  # one product for all policies
    width = len(UserSums._fields) + days.count
    return Observed(
        resampling=resampling,
        users=sums[:, 0],
        no_contact=sums[:, 1],
        expected=np.stack(expected),
        user_key=t.user_key[active],
        current=current[active],
        current_contacts=contacts[active].astype(np.float64),
        user=(np.cumsum(active) - 1)[user[contact]],
        day=day[contact],
        reward=t.reward[contact],
        predicted=block.of_contacts(predicted),
        logging=np.where(explained, block.of_contacts(logging), 0.0),
        propensity_logged=np.isfinite(t.propensity[contact]),
        levels=np.column_stack([*(level[contact] for level in levels), taken, state[contact], own_score]),
        first=first,
        second=second,
        pair_logging=np.where(explained[second], of_pairs(block, partial(recursion.after, t, hazard)), 0.0),
        policies=tuple(
            ObservedPolicy.of(own, active, sums[:, 2 + p * width : 2 + (p + 1) * width]) for p, own in enumerate(terms)
        ),
    )


def _with_logged_propensity(hazard: FloatArray, t: Timeline, state: IntArray) -> FloatArray:
    """The modelled hazard (n, S, K), with the logged propensity at the contacts that have one."""
    known = np.flatnonzero((t.action > 0) & np.isfinite(t.propensity))
    if len(known) == 0:
        return hazard
    hazard = hazard.copy()
    own = state[known]
    here, taken = hazard[known, own], t.action[known] - 1
    rest = 1.0 - here[np.arange(len(known)), taken]
    scale = np.divide(1.0 - t.propensity[known], rest, out=np.zeros(len(known)), where=rest > 0)
    here *= scale[:, None]
    here[np.arange(len(known)), taken] = t.propensity[known]
    hazard[known, own] = here
    return hazard


def _pairs(user: IntArray, reward: FloatArray) -> tuple[IntArray, IntArray]:
    """Positions of every two interests of one user, the earlier and the later contact, ordered by the earlier."""
    liked = np.flatnonzero(reward > 0)
    last = np.searchsorted(user[liked], user[liked], side="right")
    later = last - np.arange(len(liked)) - 1
    first = np.repeat(np.arange(len(liked)), later)
    offset = np.arange(len(first)) - np.repeat(np.cumsum(later) - later, later)
    return liked[first], liked[first + 1 + offset]

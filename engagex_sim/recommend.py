"""Whom to contact at one moment: a policy's decision about every user of a log, within the cap and within limits."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from engagex_sim.cap import DAY
from engagex_sim.columns import BoolArray, FloatArray, KeyArray
from engagex_sim.crossfit import Fitted, fit
from engagex_sim.dependence import carried
from engagex_sim.execution import OverBlocks, in_turn
from engagex_sim.hashing import seed_of, uniforms
from engagex_sim.log import LogBlocks
from engagex_sim.moment import Moment
from engagex_sim.policy import Policy, action_scores, checked_probabilities, draw_actions, policy_name
from engagex_sim.preparation import Prepared
from engagex_sim.recommended import Decided, Limit, Recommended, recommended
from engagex_sim.rules import NO_RULES
from engagex_sim.settings import Settings


@dataclass(frozen=True)
class Recommender:
    """Decides about the users of one block after the other; a function of the block's number for whoever runs it.

    `control` is the share of users about whom the current strategy, as modelled, decides; who they are depends on
    `salt` and the guid alone. What is drawn at random depends on the seed, the moment and the guid.
    """

    log: LogBlocks
    fitted: Fitted
    settings: Settings
    at: int  # seconds
    control: float = 0.0
    salt: str = ""

    def __call__(self, block: int) -> Decided:
        return decide(Moment.of(self.log.load(block), self.settings, self.at), self)

    @property
    def policy(self) -> Policy:
        """The one that decides about everybody but the controls, trained."""
        return self.fitted.policies[0]

    def draws(self, user_key: KeyArray) -> FloatArray:
        """(2, n) uniform numbers: for what is drawn, and to break ties."""
        return uniforms(user_key, seed_of(f"draw {self.settings.seed} {self.at}"), 0, 2)

    def in_control(self, user_key: KeyArray) -> BoolArray:
        """(n,) who is in the control group."""
        return np.asarray(uniforms(user_key, seed_of(f"group {self.salt}"))[0] < self.control, dtype=np.bool_)


def learn(prepared: Prepared, policy: Policy, settings: Settings, at: int) -> Fitted:
    """The models and the policy, learned from all users of a log.

    What is earned counts until as long after `at` as the evaluation period is. Raises `InputError` where there is
    nothing to learn from.
    """
    return fit(
        prepared.timeline,
        prepared.sampled,
        [policy],
        settings,
        seed=settings.seed,
        cap_modelled=prepared.cap_modelled,
        carry=carried(prepared.evaluation, prepared.whole, prepared.cap_modelled, settings),
        represented=prepared.represented,
        ends=at + prepared.days.total * DAY,
    )


def recommendations(
    recommender: Recommender, limit: Limit | None = None, over: OverBlocks = in_turn
) -> Iterator[Recommended]:
    """The recommendations of each block, in the order of guids.

    With a limit the best candidates by score are contacted, ties broken by hashed guid; a control group and the others
    have their shares of the limit each. Blocks are then gone through twice, so that memory holds two numbers per
    candidate, and never the log. Raises `InputError` for a policy that answers wrongly.
    """
    n_blocks = len(recommender.log)
    chosen: Sequence[BoolArray | None] = [None] * n_blocks
    if limit is not None:
        chosen = best(list(over(partial(_ranks, recommender), n_blocks)), limit.contacts, recommender.control)
    kinds, name, grouped = recommender.log.kinds, policy_name(recommender.policy), recommender.control > 0
    for decided, kept in zip(over(recommender, n_blocks), chosen, strict=True):
        yield recommended(decided, kinds, name, recommender.at, grouped=grouped, limit=limit, kept=kept)


def decide(moment: Moment, by: Recommender) -> Decided:
    """Ask the policy, or for controls the current strategy, about everybody who is known and free.

    Rules beside the cap bind the policy alone: what the current strategy does with the controls is to stay as it is.
    """
    n, kinds = len(moment.user_id), len(moment.latest.kinds)
    control, draws = by.in_control(moment.user_key), by.draws(moment.user_key)
    usual = replace(moment, rules=NO_RULES)
    asked = moment.came & np.where(control, usual.free, moment.free)
    action, probability = np.zeros(n, dtype=np.int64), np.full(n, np.nan)
    score, interest = np.full((n, kinds), np.nan), np.full((n, kinds), np.nan)
    for policy, own, group in ((by.policy, moment, asked & ~control), (by.fitted.logging, usual, asked & control)):
        users = np.flatnonzero(group)
        if len(users) == 0:
            continue
        context = own.context(users)
        answer = checked_probabilities(policy, context)
        action[users] = draw_actions(answer, draws[0, users])
        probability[users] = answer[:, 1:].sum(axis=1)
        score[users] = action_scores(policy, context, answer)
        interest[users] = by.fitted.interest(context)
    return Decided(
        user_id=moment.user_id,
        control=control,
        last_contact=moment.history.last_contact,
        next_eligible=np.where(control, usual.next_eligible, moment.next_eligible),
        came=moment.came,
        asked=asked,
        settled=moment.settled & ~control,
        awake=control | moment.rules.awake(np.array([moment.time])),
        open_kinds=np.where(control[:, None], usual.open_kinds, moment.open_kinds),
        action=action,
        probability=probability,
        score=score,
        interest=interest,
        tie=draws[1],
    )


@dataclass(frozen=True)
class _Ranks:
    """What the limit needs to know of a block's candidates (c,)."""

    score: FloatArray
    tie: FloatArray
    control: BoolArray


def _ranks(recommender: Recommender, block: int) -> _Ranks:
    decided = recommender(block)
    rows = decided.candidates
    return _Ranks(decided.own_score[rows], decided.tie[rows], decided.control[rows])


def best(blocks: Sequence[_Ranks], most: int, control: float = 0.0) -> list[BoolArray]:
    """For each block, which candidates are among the `most` best of all; controls and others share `most`."""
    score, tie = np.concatenate([b.score for b in blocks]), np.concatenate([b.tie for b in blocks])
    is_control = np.concatenate([b.control for b in blocks])
    kept = np.zeros(len(score), dtype=np.bool_)
    of_control = round(control * most)
    for group, places in ((is_control, of_control), (~is_control, most - of_control)):
        rows = np.flatnonzero(group)
        kept[rows[np.lexsort((tie[rows], -score[rows]))][:places]] = True
    return np.split(kept, np.cumsum([len(b.score) for b in blocks])[:-1])

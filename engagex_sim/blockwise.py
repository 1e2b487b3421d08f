"""Cross-fitting over the blocks of a log: learn from the other folds' users, observe each block, estimate."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import numpy as np

from engagex_sim.blocks import Blocks, Redrawn, drawn_users
from engagex_sim.checkpoint import NOTHING_KEPT, Checkpoint, Judged
from engagex_sim.columns import FloatArray
from engagex_sim.crossfit import Fitted, fit
from engagex_sim.days import Days
from engagex_sim.dependence import Carried, carried
from engagex_sim.errors import InputError
from engagex_sim.estimate import METRICS, NAMES, Estimates, estimate
from engagex_sim.execution import OverBlocks, in_turn, workers
from engagex_sim.margins import Margins
from engagex_sim.observe import observe
from engagex_sim.observed import Observed
from engagex_sim.ope.resampling import Resampling
from engagex_sim.policy import Policy
from engagex_sim.policy_states import states_carried
from engagex_sim.preparation import Prepared
from engagex_sim.result import HEADLINE, PRIMARY
from engagex_sim.rules import Rules
from engagex_sim.settings import Settings
from engagex_sim.splitting import Splitting

T = TypeVar("T")
ROWS_AT_ONCE = 1_000_000  # times the states of the contact history that are carried


@dataclass(frozen=True)
class CrossFitted:
    """What cross-fitting leaves: the observed blocks, and each fold's models and policies."""

    observed: Observed
    carried: Carried  # of the contact history
    fitted: tuple[Fitted, ...]
    splitting: Splitting
    fold_shares: FloatArray  # (folds,) share of the judged users that each fold's models judge
    rules: Rules  # that the policies keep to, beside the cap


@dataclass(frozen=True, repr=False)  # Dask names tasks by it
class _Observation:
    """What is made of a block: a function of its number, for whoever runs it."""

    blocks: Blocks
    splitting: Splitting
    fitted: tuple[Fitted, ...]
    rows_at_once: tuple[int, ...]  # by fold
    days: Days
    margins: Margins
    cap_modelled: bool
    carry: Carried
    resampling: Resampling
    rules: Rules

    def __call__(self, block: int) -> Judged:
        """The block observed, None if it has no judged user, and how many users each fold's models judge."""
        t = self.blocks.timeline(block).evaluation()
        judged = self.splitting.judged(t.user_key)
        common = (self.days, self.margins, self.cap_modelled, self.carry, self.resampling, self.rules)
        observed = []
        for own, models, rows in zip(judged, self.fitted, self.rows_at_once, strict=True):
            part = t.user_start[:-1] // rows
            observed += [observe(t.users(own & (part == p)), models, *common) for p in np.unique(part[own])]
        return Observed.join(observed) if observed else None, np.array([own.sum() for own in judged], dtype=np.float64)


def cross_fit(
    prepared: Prepared,
    policies: Sequence[Policy],
    settings: Settings,
    step: Callable[[str], None] = lambda _: None,
    over: OverBlocks = in_turn,
    checkpoint: Checkpoint = NOTHING_KEPT,
) -> CrossFitted:
    """Fit on the other folds' users, observe each fold's users in blocks; `step` is told what comes next.

    Folds are fitted side by side in threads, because all of them learn from the same rows; blocks as `over` says.
    What `checkpoint` has already is not computed again.
    """
    evaluation, whole, cap_modelled = prepared.evaluation, prepared.whole, prepared.cap_modelled
    rules = evaluation.rules_of(settings)
    splitting = splitting_of(prepared, settings)
    splits = splitting.judged(evaluation.user_key)
    if any(not judged.any() or judged.all() for judged in splits):
        raise InputError(f"{evaluation.n_users} users are too few for {settings.folds} folds; use fewer --folds.")
    taught = whole
    if splitting.holdout is not None:
        (held_out,) = splits
        evaluation = evaluation.users(~held_out)
        taught = whole.users(~held_out[prepared.sampled])
    carry = carried(evaluation, taught, cap_modelled, settings)
    at_once = min(settings.threads, splitting.count)
    own = settings.model_copy(update={"threads": max(settings.threads // at_once, 1)})

    extra = None if prepared.extra is None else prepared.extra.contacts

    def fit_fold(fold: int) -> Fitted:
        judged = splits[fold]
        # Who is judged is a function of the user's key, so that it holds for the users of any other log too.
        more = None if extra is None else extra.users(~splitting.judged(extra.user_key)[fold])
        return fit(
            prepared.timeline.users(~judged),
            prepared.sampled[~judged],
            policies,
            own,
            seed=settings.seed + fold,
            cap_modelled=cap_modelled,
            carry=carry,
            represented=prepared.represented,
            kept=partial(checkpoint.models, fold, own.threads),
            extra=more,
            capacity=None if settings.capacity is None else settings.capacity / prepared.facts.n_users,
        )

    with workers("threads", at_once) as side_by_side:
        fitted = list(_counting(side_by_side(fit_fold, splitting.count), splitting.count, "learning", step))
    trial = prepared.trial.under(rules.without_stop)
    carried_by = [[states_carried(policy, trial, carry.weights) for policy in models.policies] for models in fitted]
    observation = _Observation(
        prepared.blocks,
        splitting,
        tuple(fitted),
        tuple(ROWS_AT_ONCE // max(carry.logging.size, *states, 1) for states in carried_by),
        prepared.days,
        Margins.of(evaluation.contacts()),
        cap_modelled,
        carry,
        Resampling.of(prepared.facts.n_users, settings.seed, settings.n_boot),
        rules,
    )
    n_blocks = len(prepared.blocks)
    blocks = checkpoint.blocks(over, observation, n_blocks)
    observed, sizes = zip(*_counting(blocks, n_blocks, "evaluating", step), strict=True)
    judged_users = np.sum(sizes, axis=0)
    return CrossFitted(
        Observed.join([block for block in observed if block is not None]),
        carry,
        tuple(fitted),
        splitting,
        judged_users / judged_users.sum(),
        rules,
    )


def _counting(answers: Iterable[T], count: int, what: str, step: Callable[[str], None]) -> Iterator[T]:
    """The answers, with word of each that is waited for."""
    waiting = iter(answers)
    for number in range(1, count + 1):
        step(f"{what}, {number} of {count}")
        yield next(waiting)


def splitting_of(prepared: Prepared, settings: Settings) -> Splitting:
    """Who judges whom: folds, or the users held out."""
    return Splitting(settings.seed, settings.folds) if prepared.holdout is None else prepared.holdout


def refitted(
    prepared: Prepared,
    policies: Sequence[Policy],
    settings: Settings,
    step: Callable[[str], None] = lambda _: None,
    over: OverBlocks = in_turn,
    checkpoint: Checkpoint = NOTHING_KEPT,
) -> FloatArray:
    """Replicates (refit_boot, p + 1) of `interests_per_user` under the headline estimator, the current strategy last.

    Each draws users with replacement (Poisson counts) and fits every model and policy again, so that their spread
    contains the error of the models, which the ordinary bootstrap takes as given.
    """
    replicates, own = [], settings.model_copy(update={"n_boot": 0})
    for r in range(settings.refit_boot):
        step(f"learning again, {r + 1} of {settings.refit_boot}")
        users = drawn_users(prepared.evaluation.user_key, settings.seed + 1, r)
        drawn = replace(
            prepared,
            blocks=Redrawn(prepared.blocks, settings.seed + 1, r),
            timeline=prepared.timeline.drawn(users),
            evaluation=prepared.evaluation.drawn(users),
            sampled=prepared.sampled[users],
        )
        again = cross_fit(drawn, policies, own, over=over, checkpoint=checkpoint.part(f"refit-{r}"))
        estimates = estimate_all(drawn, again.observed, own, (HEADLINE,))
        headline = estimates.value[:, NAMES.index(HEADLINE), METRICS.index(PRIMARY)]
        replicates.append([*headline, estimates.current[METRICS.index(PRIMARY)]])
    return np.array(replicates, dtype=np.float64).reshape(-1, len(policies) + 1)


def estimate_all(
    prepared: Prepared, observed: Observed, settings: Settings, only: Collection[str] = NAMES
) -> Estimates:
    """Every estimate, or those of `only` some estimators, from the observed blocks."""
    return estimate(
        observed,
        recalibrate=not prepared.facts.propensity_logged,
        interest_value=settings.value,
        contact_cost=settings.cost,
        stop_after_interest=settings.stop_after_interest,
        only=only,
    )

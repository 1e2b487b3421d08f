"""The whole evaluation: a log and policies in, a result out."""

import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from pydantic import ValidationError

from engagex_sim.augment.choice import row_generator
from engagex_sim.blocks import Blocks, Redrawn, drawn_users
from engagex_sim.checkpoint import NOTHING_KEPT, Checkpoint, Judged
from engagex_sim.columns import FloatArray
from engagex_sim.confounding import hidden_cause
from engagex_sim.crossfit import Fitted, fit
from engagex_sim.days import Days
from engagex_sim.dependence import Carried, carried
from engagex_sim.errors import InputError
from engagex_sim.estimate import METRICS, NAMES, Estimates, estimate
from engagex_sim.execution import OverBlocks, in_turn, workers
from engagex_sim.exploration import plan_of_nothing
from engagex_sim.exploration_plan import explore
from engagex_sim.extra import settings_like
from engagex_sim.flags import flags, overlap_table
from engagex_sim.importance_tables import importance_tables
from engagex_sim.leaks import leak_flag
from engagex_sim.log import DataQuality, TableSource, read_blocks
from engagex_sim.margins import Margins
from engagex_sim.model_tables import Scored, augmentation, classification_report, model_metrics
from engagex_sim.models.device import on_usable_device
from engagex_sim.models.metrics import reliability_table
from engagex_sim.observe import observe
from engagex_sim.observed import Observed
from engagex_sim.ope.resampling import Resampling
from engagex_sim.ope.verdict import BETTER, UNANSWERABLE, WORSE
from engagex_sim.policy import Policy, policy_name
from engagex_sim.policy_states import states_carried
from engagex_sim.preparation import Prepared, prepare, refusal, with_extra
from engagex_sim.result import CURRENT, HEADLINE, PRIMARY, Result
from engagex_sim.rules import Rules, rule_notes
from engagex_sim.settings import Settings, first_problem
from engagex_sim.splitting import Splitting, held_out
from engagex_sim.tables import curve_table, interval_table, summary_table
from engagex_sim.worlds import Truth, World, true_value

T = TypeVar("T")
Progress = Callable[[str, int, int], None]  # what is being done, steps done, steps in all
ROWS_AT_ONCE = 1_000_000  # times the states of the contact history that are carried
TRIAL_ROWS = 1_000


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


def evaluate_prepared(
    prepared: Prepared,
    quality: DataQuality,
    policies: Sequence[Policy],
    settings: Settings,
    world: World | None = None,
    truth_users: int = 100_000,
    progress: Progress = lambda *_: None,
    over: OverBlocks = in_turn,
    checkpoint: Checkpoint = NOTHING_KEPT,
) -> Result:
    """Cross-fit, weigh, bootstrap and judge `policies` against the current strategy.

    In a world the truth stands beside the estimates, measured on `truth_users` fresh users: for policies that learn,
    the mean over the folds' policies.
    """
    names = _distinct_names(policies)
    fits = _splitting(prepared, settings).count
    total = fits + len(prepared.blocks) + 2 + settings.refit_boot + (world is not None)
    done = itertools.count()

    def step(what: str) -> None:
        progress(what, next(done), total)

    crossfitted = cross_fit(prepared, policies, settings, step, over, checkpoint)
    observed, days = crossfitted.observed, prepared.days.last_days
    step("estimates")
    estimates = estimate_all(prepared, observed, settings)
    refits = refitted(prepared, policies, settings, step, over, checkpoint)
    truths = None
    if world is not None:
        step("true values")
        truths = policy_truths(world, policies, crossfitted, settings, truth_users)
    step("diagnostics")
    refused = prepared.refusal or refusal(prepared.timeline, crossfitted.rules)
    summary = summary_table(names, estimates, prepared.facts.n_users, truths, refused)
    causes = hidden_cause(observed, estimates.weights, names, estimates.stopped)
    overlaps = [own["cap"] for own in estimates.overlap]
    contacts, splitting = prepared.timeline.contacts(), crossfitted.splitting
    train = [
        Scored.on(contacts.users(~judged), models)
        for models, judged in zip(crossfitted.fitted, splitting.judged(contacts.user_key), strict=True)
    ]
    scored = Scored.held_out(observed, crossfitted.fitted)
    found = flags(prepared, crossfitted.fitted, splitting, crossfitted.carried)
    exploration = _exploration(prepared, crossfitted, names, summary, refused)
    importance, effects = importance_tables(
        prepared.evaluation.contacts(), crossfitted.fitted, splitting, np.random.default_rng(settings.seed)
    )
    written = augmentation(crossfitted.fitted, settings)
    progress("done", total, total)
    return Result(
        summary=summary,
        curves=curve_table(names, estimates, days, prepared.facts.n_users, truths),
        model_metrics=model_metrics(train, scored, settings.imbalance),
        classification_report=classification_report(train, scored),
        feature_importance=importance,
        feature_effects=effects,
        reliability=reliability_table(observed.reward, observed.predicted).assign(model="reward model"),
        calibration=pd.DataFrame(
            {
                "day": days,
                "contacts": np.bincount(observed.day, minlength=len(days)).astype(np.float64),
                "expected": observed.expected[0, : len(days)],
            }
        ),
        intervals=interval_table(names, estimates, refits),
        flags=pd.concat([found.table, pd.DataFrame([leak_flag(contacts)])], ignore_index=True),
        calibration_cells=found.calibration,
        overlap=overlap_table(names, overlaps),
        sensitivity=causes.bounds,
        breaking_points=_told(causes.breaking, summary),
        exploration=exploration,
        weights=dict(zip(names, estimates.weights, strict=True)),
        quality=quality,
        extra_quality=None if prepared.extra is None else prepared.extra.quality,
        facts=prepared.facts,
        notes=(
            *prepared.notes,
            *rule_notes(settings),
            *crossfitted.carried.notes,
            *([] if written is None else [written["sentence"]]),
        ),
        settings=settings,
        augmentation=written,
    )


def _told(breaking: pd.DataFrame, summary: pd.DataFrame) -> pd.DataFrame:
    """Breaking points of the lifts that the verdict tells from 0; of the others there is nothing to explain."""
    head = summary[(summary["estimator"] == HEADLINE) & (summary["metric"] == PRIMARY)].set_index("policy")["verdict"]
    told = breaking["policy"].map(head.to_dict()).isin([BETTER, WORSE])
    nothing = "the verdict tells no lift from 0, so there is none to explain"
    return breaking.assign(
        breaking_point=breaking["breaking_point"].where(told),
        reason=breaking["reason"].where(told, nothing),
        sentence=breaking["sentence"].where(told, breaking["policy"] + f": {nothing}."),
    )


def _exploration(
    prepared: Prepared, crossfitted: CrossFitted, names: Sequence[str], summary: pd.DataFrame, refused: str | None
) -> pd.DataFrame:
    """The exploration plans of the policies that this log cannot answer for."""
    plans = [plan_of_nothing()]
    head = summary[(summary["estimator"] == HEADLINE) & (summary["metric"] == PRIMARY)].set_index("policy")
    for p, name in enumerate(names):
        if refused is not None or head.loc[name, "verdict"] != UNANSWERABLE:
            continue
        found = explore(prepared, crossfitted.fitted, crossfitted.splitting, crossfitted.carried, p, crossfitted.rules)
        if found is not None:
            words = found.plan.assign(policy=name, where=found.where, sentence=found.sentence)
            plans.append(words.assign(lacking_share=found.lacking_share))
    return plans[0] if len(plans) == 1 else pd.concat(plans[1:], ignore_index=True)[list(plans[0].columns)]


def evaluate(
    triggers: TableSource,
    actions: TableSource,
    policies: Sequence[Policy],
    users: TableSource | None = None,
    extra: tuple[TableSource, TableSource] | None = None,
    **settings: Any,
) -> Result:
    """Evaluate policies on a log from a notebook: data frames or paths in, a result with `.table` and `.plot()` out.

    `extra`, the triggers and actions of another log, is data for the reward model alone. `settings` are the fields of
    `Settings` (cap_days=14, folds=5, seed=0, …). Raises `InputError` for bad input.
    """
    try:
        own = Settings(**settings)
    except ValidationError as error:
        raise InputError(first_problem(error)) from error
    for policy in policies:
        if not isinstance(policy, Policy) or isinstance(policy, type):
            raise InputError(
                f"{policy!r} is no policy: give objects with a method action_probabilities, such as"
                " policies.REGISTRY['uniform']()."
            )
    row_generator(own)
    own, said = on_usable_device(own)
    with (
        read_blocks(triggers, actions, users, own, threads=own.threads) as log,
        workers("threads", own.threads) as over,
    ):
        prepared = prepare(log, own, holdout=held_out(own), over=over)
        if extra is not None:
            like = settings_like(log.facts, own)
            with read_blocks(*extra, users, like, threads=own.threads) as more:
                prepared = with_extra(prepared, more, like)
        if said is not None:
            prepared = replace(prepared, notes=(*prepared.notes, said))
        return evaluate_prepared(prepared, log.quality, policies, own, over=over)


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
    splitting = _splitting(prepared, settings)
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
        )

    with workers("threads", at_once) as side_by_side:
        fitted = list(_counting(side_by_side(fit_fold, splitting.count), splitting.count, "learning", step))
    trial = whole.under(rules.without_stop).rows(np.arange(len(whole)) < TRIAL_ROWS)
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


def _splitting(prepared: Prepared, settings: Settings) -> Splitting:
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


def _distinct_names(policies: Sequence[Policy]) -> list[str]:
    names = [policy_name(policy) for policy in policies]
    twice = {name for name in names if names.count(name) > 1} | ({CURRENT} & set(names))
    if twice:
        raise InputError(f"Two policies are called {sorted(twice)[0]!r}; give one of them another attribute `name`.")
    return names


def policy_truths(
    world: World, policies: Sequence[Policy], crossfitted: CrossFitted, settings: Settings, n_users: int
) -> dict[str, Truth]:
    """The true value of every policy and of the current strategy, by name, over a population of `n_users`.

    Of a policy that learns: the mean over its folds' versions, weighted by the users that each was evaluated on.
    """
    share, rules = crossfitted.fold_shares, crossfitted.rules
    truths = {CURRENT: true_value(world, world.logging, settings.value, settings.cost, n_users)}
    for i, policy in enumerate(policies):
        versions = [f.policies[i] for f in crossfitted.fitted] if hasattr(policy, "fit") else [policy]
        each = [true_value(world, version, settings.value, settings.cost, n_users, rules=rules) for version in versions]
        weight = share if len(each) > 1 else np.ones(1)
        truths[policy_name(policy)] = Truth(
            metrics={m: float(np.dot(weight, [t.metrics[m] for t in each])) for m in each[0].metrics},
            curve=np.tensordot(weight, [t.curve for t in each], axes=1),
            n_users=each[0].n_users,
        )
    return truths

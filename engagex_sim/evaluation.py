"""The whole evaluation: a log and policies in, a result out."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from pydantic import ValidationError

from engagex_sim.augment.choice import row_generator
from engagex_sim.blockwise import CrossFitted, cross_fit, estimate_all, refitted, splitting_of
from engagex_sim.checkpoint import NOTHING_KEPT, Checkpoint
from engagex_sim.confounding import hidden_cause
from engagex_sim.contract import check_contract
from engagex_sim.errors import InputError
from engagex_sim.execution import OverBlocks, in_turn, workers
from engagex_sim.exploration import plan_of_nothing
from engagex_sim.exploration_plan import explore
from engagex_sim.extra import check_there, settings_like
from engagex_sim.flags import column_flags, flags, overlap_table
from engagex_sim.importance_tables import importance_tables
from engagex_sim.log import DataQuality, TableSource, read_blocks
from engagex_sim.model_tables import Scored, augmentation, classification_report, model_metrics
from engagex_sim.models.device import on_usable_device
from engagex_sim.models.metrics import reliability_table
from engagex_sim.ope.intervals import refit_notes
from engagex_sim.ope.verdict import BETTER, UNANSWERABLE, WORSE
from engagex_sim.policy import Policy, policy_name
from engagex_sim.preparation import Prepared, prepare, refusal, with_extra
from engagex_sim.result import CURRENT, HEADLINE, PRIMARY, Result
from engagex_sim.rules import rule_notes
from engagex_sim.settings import Settings, first_problem
from engagex_sim.splitting import held_out
from engagex_sim.tables import curve_table, interval_table, summary_table
from engagex_sim.worlds import Truth, World, true_value

Progress = Callable[[str, int, int], None]  # what is being done, steps done, steps in all


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
    fits = splitting_of(prepared, settings).count
    total = fits + len(prepared.blocks) + 2 + settings.refit_boot + (world is not None)
    done = itertools.count()

    def step(what: str) -> None:
        progress(what, next(done), total)

    crossfitted = cross_fit(prepared, policies, settings, step, over, checkpoint)
    for policy in crossfitted.fitted[0].policies:
        check_contract(policy, prepared.trial.under(crossfitted.rules.without_stop))
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
        flags=pd.concat([found.table, pd.DataFrame(column_flags(prepared))], ignore_index=True),
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
            *refit_notes(settings.refit_boot, prepared.facts.n_interests, prepared.facts.contact_is_a_choice),
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
    nothing = "the verdict, for all strategies at once, tells no lift from 0, so there is none to explain"
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
    if extra is not None:
        check_there(*extra)
    row_generator(own)
    own, said = on_usable_device(own)
    with (
        read_blocks(triggers, actions, users, own, threads=own.threads) as log,
        workers("threads", own.threads) as over,
    ):
        prepared = prepare(log, own, holdout=held_out(own), over=over)
        if extra is not None:
            like = settings_like(log.facts, own)
            with read_blocks(*extra, users, like, threads=own.threads, strangers=True) as more:
                prepared = with_extra(prepared, more, like)
        if said is not None:
            prepared = replace(prepared, notes=(*prepared.notes, said))
        return evaluate_prepared(prepared, log.quality, policies, own, over=over)


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
        learns = hasattr(policy, "fit") or settings.capacity is not None
        versions = [f.policies[i] for f in crossfitted.fitted] if learns else [policy]
        each = [true_value(world, version, settings.value, settings.cost, n_users, rules=rules) for version in versions]
        weight = share if len(each) > 1 else np.ones(1)
        truths[policy_name(policy)] = Truth(
            metrics={m: float(np.dot(weight, [t.metrics[m] for t in each])) for m in each[0].metrics},
            curve=np.tensordot(weight, [t.curve for t in each], axes=1),
            n_users=each[0].n_users,
        )
    return truths

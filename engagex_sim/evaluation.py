"""The whole evaluation: a log and policies in, a result out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from pydantic import ValidationError

from engagex_sim.crossfit import Fitted, fit
from engagex_sim.errors import InputError
from engagex_sim.estimate import Estimates, estimate
from engagex_sim.hashing import fold_of
from engagex_sim.log import DataQuality, TableSource, read_log
from engagex_sim.margins import Margins
from engagex_sim.model_tables import feature_importance, model_metrics, train_metrics
from engagex_sim.models.metrics import reliability_table
from engagex_sim.observe import Observed, observe
from engagex_sim.policy import Policy, policy_name
from engagex_sim.preparation import Prepared, prepare
from engagex_sim.result import CURRENT, Result
from engagex_sim.settings import Settings, first_problem
from engagex_sim.tables import curve_table, summary_table
from engagex_sim.worlds import Truth, World, true_value

Progress = Callable[[str, int, int], None]  # what is being done, steps done, steps in all
ROWS_AT_ONCE = 1_000_000


@dataclass(frozen=True)
class CrossFitted:
    """What cross-fitting leaves: the observed blocks, and each fold's models and policies."""

    observed: Observed
    fitted: tuple[Fitted, ...]
    fold_sizes: tuple[int, ...]
    train_metrics: tuple[Mapping[str, float], ...]


def evaluate_prepared(
    prepared: Prepared,
    quality: DataQuality,
    policies: Sequence[Policy],
    settings: Settings,
    world: World | None = None,
    truth_users: int = 100_000,
    progress: Progress = lambda *_: None,
) -> Result:
    """Cross-fit, weigh, bootstrap and judge `policies` against the current strategy.

    In a world the truth stands beside the estimates, measured on `truth_users` fresh users: for policies that learn,
    the mean over the folds' policies.
    """
    names = _distinct_names(policies)
    steps = settings.folds + 1 + (world is not None)
    crossfitted = cross_fit(prepared, policies, settings, lambda done: progress("cross-fitting", done, steps))
    progress("bootstrap", settings.folds, steps)
    estimates = estimate_all(prepared, crossfitted.observed, settings)
    truths = None
    if world is not None:
        progress("true values", settings.folds + 1, steps)
        truths = policy_truths(world, policies, crossfitted, settings, truth_users)
    progress("done", steps, steps)
    observed, days = crossfitted.observed, prepared.days.last_days
    return Result(
        summary=summary_table(names, estimates, len(observed.user_key), truths, prepared.refusal),
        curves=curve_table(names, estimates, days, len(observed.user_key), truths),
        model_metrics=model_metrics(crossfitted.fitted, crossfitted.train_metrics, observed, settings.imbalance),
        feature_importance=feature_importance(crossfitted.fitted),
        reliability=reliability_table(observed.reward, observed.predicted).assign(model="reward model"),
        calibration=pd.DataFrame(
            {
                "day": days,
                "contacts": np.bincount(observed.day, minlength=len(days)).astype(np.float64),
                "expected": observed.expected[0, : len(days)],
            }
        ),
        weights=dict(zip(names, estimates.weights, strict=True)),
        quality=quality,
        facts=prepared.facts,
        notes=prepared.notes,
        settings=settings,
    )


def evaluate(
    triggers: TableSource,
    actions: TableSource,
    policies: Sequence[Policy],
    users: TableSource | None = None,
    **settings: Any,
) -> Result:
    """Evaluate policies on a log from a notebook: data frames or paths in, a result with `.table` and `.plot()` out.

    `settings` are the fields of `Settings` (cap_days=14, folds=5, seed=0, …). Raises `InputError` for bad input.
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
    log = read_log(triggers, actions, users, own, threads=own.threads)
    return evaluate_prepared(prepare(log, own), log.quality, policies, own)


def cross_fit(
    prepared: Prepared,
    policies: Sequence[Policy],
    settings: Settings,
    progress: Callable[[int], None] = lambda _: None,
) -> CrossFitted:
    """Fit on the other folds' users, observe each fold's users in blocks."""
    evaluation, days = prepared.evaluation, prepared.days
    margins = Margins.of(evaluation.contacts())
    fold = fold_of(evaluation.user_key, settings.seed, settings.folds)
    block = evaluation.user_start[:-1] // ROWS_AT_ONCE
    fitted, observed, train = [], [], []
    for f in range(settings.folds):
        progress(f)
        if not (fold == f).any() or (fold == f).all():
            raise InputError(f"{evaluation.n_users} users are too few for {settings.folds} folds; use fewer --folds.")
        models = fit(prepared.timeline, fold != f, policies, settings, settings.seed + f, prepared.cap_modelled)
        train.append(train_metrics(prepared.timeline.users(fold != f).contacts(), models))
        observed += [
            observe(evaluation.users((fold == f) & (block == b)), models, days, margins, prepared.cap_modelled)
            for b in np.unique(block[fold == f])
        ]
        fitted.append(models)
    sizes = tuple(int((fold == f).sum()) for f in range(settings.folds))
    return CrossFitted(Observed.join(observed), tuple(fitted), sizes, tuple(train))


def estimate_all(prepared: Prepared, observed: Observed, settings: Settings) -> Estimates:
    """Every estimate, from the observed blocks."""
    return estimate(
        observed,
        recalibrate=not prepared.facts.propensity_logged,
        interest_value=settings.value,
        contact_cost=settings.cost,
        seed=settings.seed,
        n_boot=settings.n_boot,
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
    share = np.array(crossfitted.fold_sizes) / sum(crossfitted.fold_sizes)
    truths = {CURRENT: true_value(world, world.logging, settings.value, settings.cost, n_users)}
    for i, policy in enumerate(policies):
        versions = [f.policies[i] for f in crossfitted.fitted] if hasattr(policy, "fit") else [policy]
        each = [true_value(world, version, settings.value, settings.cost, n_users) for version in versions]
        weight = share if len(each) > 1 else np.ones(1)
        truths[policy_name(policy)] = Truth(
            metrics={m: float(np.dot(weight, [t.metrics[m] for t in each])) for m in each[0].metrics},
            curve=np.tensordot(weight, [t.curve for t in each], axes=1),
            n_users=each[0].n_users,
        )
    return truths

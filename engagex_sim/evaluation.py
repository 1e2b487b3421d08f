"""The whole evaluation: a log and policies in, a result out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from engagex_sim.cap import DAY, Cap
from engagex_sim.columns import sums_by
from engagex_sim.crossfit import Fitted, cap_is_kept, fit
from engagex_sim.decision_points import decisions_of
from engagex_sim.decisions import Decisions
from engagex_sim.errors import InputError
from engagex_sim.estimate import Estimates, estimate
from engagex_sim.hashing import fold_of
from engagex_sim.log import DataQuality, Log, TableSource, read_log
from engagex_sim.margins import Margins
from engagex_sim.models.metrics import classification_metrics, reliability_table
from engagex_sim.observe import Days, Observed, observe
from engagex_sim.ope.intervals import smallest_lift
from engagex_sim.policy import Policy, policy_name
from engagex_sim.result import CURRENT, Facts, Result
from engagex_sim.settings import LogSettings, Settings
from engagex_sim.tables import curve_table, summary_table
from engagex_sim.timeline import Timeline
from engagex_sim.worlds import Truth, World, true_value

Progress = Callable[[str, int, int], None]  # what is being done, steps done, steps in all
MAX_CURVE_POINTS = 62
ROWS_AT_ONCE = 1_000_000


@dataclass(frozen=True)
class Prepared:
    """A log ready for evaluation, and what can be said about it before any training."""

    timeline: Timeline  # burn-in included
    evaluation: Timeline  # the rows on which policies are compared
    log_end: int  # midnight after the log's last day
    cap_modelled: bool
    quality: DataQuality | None  # None where the decision points come from no files
    notes: tuple[str, ...]
    facts: Facts


@dataclass(frozen=True)
class CrossFitted:
    """What cross-fitting leaves: the observed blocks, and each fold's models and policies."""

    observed: Observed
    fitted: tuple[Fitted, ...]
    fold_sizes: tuple[int, ...]
    train_metrics: tuple[Mapping[str, float], ...]


def prepare(log: Log, settings: LogSettings, world: World | None = None) -> Prepared:
    """Decision points, features and masks of a log. `world` is the synthetic world it comes from, if it does."""
    return prepare_decisions(decisions_of(log, settings), settings, log.quality, log.notes, world)


def prepare_decisions(
    decisions: Decisions,
    settings: LogSettings,
    quality: DataQuality | None = None,
    notes: Sequence[str] = (),
    world: World | None = None,
) -> Prepared:
    """Likewise from decision points. Raises `InputError` where the evaluation period holds no contact."""
    timeline = Timeline.of(decisions, Cap(settings.cap_days))
    evaluation = timeline.evaluation()
    contact = evaluation.action > 0
    if not contact.any():
        raise InputError(
            "No contact falls into the evaluation period, so nothing can be said about any policy; lower"
            " --burn-in-days, or say --start free if nobody had been contacted before the log begins."
        )
    who = np.concatenate([evaluation.user_of_row, evaluation.other_user])
    liked = np.concatenate([evaluation.reward, evaluation.other_reward])
    interests = sums_by(who, liked, evaluation.n_users)
    cap_modelled = cap_is_kept(timeline)
    facts = Facts(
        n_users=evaluation.n_users,
        n_decisions=len(evaluation),
        n_contacts=int(contact.sum()) + len(evaluation.other_time),
        n_interests=int(interests.sum()),
        smallest_lift=smallest_lift(interests),
        log_start=_moment(decisions.log_start),
        log_end=_moment(decisions.log_end),
        evaluation_start=_moment(int(evaluation.evaluation_start.min())),
        cap_days=timeline.cap.days,
        kinds=evaluation.kinds,
        contact_is_a_choice=evaluation.contact_is_a_choice,
        propensity_logged=bool(np.isfinite(evaluation.propensity[contact]).all()),
        cap_modelled=cap_modelled,
        world=None if world is None else world.name,
    )
    return Prepared(timeline, evaluation, decisions.log_end, cap_modelled, quality, tuple(notes), facts)


def evaluate_prepared(
    prepared: Prepared,
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
    if prepared.quality is None:
        raise ValueError("a result reports the quality of the log it comes from: use prepare()")
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
    observed, days = crossfitted.observed, _days(prepared).last_days
    return Result(
        summary=summary_table(names, estimates, len(observed.user_key), truths),
        curves=curve_table(names, estimates, days, len(observed.user_key), truths),
        model_metrics=_model_metrics(crossfitted, settings),
        feature_importance=_importance(crossfitted.fitted),
        reliability=reliability_table(observed.reward, observed.predicted).assign(model="reward model"),
        calibration=pd.DataFrame(
            {
                "day": days,
                "contacts": np.bincount(observed.day, minlength=len(days)).astype(np.float64),
                "expected": observed.expected[0, : len(days)],
            }
        ),
        weights=dict(zip(names, estimates.weights, strict=True)),
        quality=prepared.quality,
        facts=prepared.facts,
        notes=(*prepared.notes, *_notes(prepared)),
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
    own = Settings(**settings)
    log = read_log(triggers, actions, users, own, threads=own.threads)
    return evaluate_prepared(prepare(log, own), policies, own)


def cross_fit(
    prepared: Prepared,
    policies: Sequence[Policy],
    settings: Settings,
    progress: Callable[[int], None] = lambda _: None,
) -> CrossFitted:
    """Fit on the other folds' users, observe each fold's users in blocks."""
    evaluation, days = prepared.evaluation, _days(prepared)
    margins = Margins.of(evaluation.contacts())
    fold = fold_of(evaluation.user_key, settings.seed, settings.folds)
    block = evaluation.user_start[:-1] // ROWS_AT_ONCE
    fitted, observed, train_metrics = [], [], []
    for f in range(settings.folds):
        progress(f)
        if not (fold == f).any() or (fold == f).all():
            raise InputError(f"{evaluation.n_users} users are too few for {settings.folds} folds; use fewer --folds.")
        models = fit(prepared.timeline, fold != f, policies, settings, settings.seed + f, prepared.cap_modelled)
        train_metrics.append(_train_metrics(prepared.timeline.users(fold != f).contacts(), models))
        observed += [
            observe(evaluation.users((fold == f) & (block == b)), models, days, margins, prepared.cap_modelled)
            for b in np.unique(block[fold == f])
        ]
        fitted.append(models)
    sizes = tuple(int((fold == f).sum()) for f in range(settings.folds))
    return CrossFitted(Observed.join(observed), tuple(fitted), sizes, tuple(train_metrics))


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


def _days(prepared: Prepared) -> Days:
    first = int(prepared.evaluation.evaluation_start.min()) // DAY * DAY
    return Days(first, -(-(prepared.log_end - first) // DAY), MAX_CURVE_POINTS)


def _moment(seconds: int) -> datetime:
    return datetime(1970, 1, 1) + timedelta(seconds=int(seconds))


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


def _train_metrics(contacts: Timeline, fitted: Fitted) -> dict[str, float]:
    predicted = fitted.reward_model.predict(contacts.free_context())
    own = predicted[np.arange(len(contacts)), contacts.action - 1]
    return classification_metrics(contacts.reward, own, fitted.reward_model.threshold)


def _model_metrics(crossfitted: CrossFitted, settings: Settings) -> pd.DataFrame:
    """Train metrics as the mean over folds; held-out metrics on all users' contacts, each predicted by other users."""
    threshold = float(np.mean([f.reward_model.threshold for f in crossfitted.fitted]))
    held_out = classification_metrics(crossfitted.observed.reward, crossfitted.observed.predicted, threshold)
    train = pd.DataFrame(crossfitted.train_metrics).mean().to_dict()
    rows = [{"split": "train"} | train, {"split": "held-out"} | held_out]
    table = pd.DataFrame(rows)
    table.insert(0, "model", "reward model")
    table.insert(1, "imbalance", settings.imbalance)
    return table


def _importance(fitted: Sequence[Fitted]) -> pd.DataFrame:
    each = pd.concat([f.reward_model.feature_importance() for f in fitted])
    mean = each.groupby("feature", sort=True)["importance"].mean().sort_values(ascending=False, kind="stable")
    table = mean.reset_index()
    table.insert(0, "model", "reward model")
    return table


def _notes(prepared: Prepared) -> list[str]:
    notes = []
    broken = int(prepared.timeline.breaks_cap.sum())
    if broken:
        how = "with" if prepared.cap_modelled else "without"
        notes.append(
            f"{broken:,} logged contacts came within {prepared.facts.cap_days:g} days of the user's previous one; they"
            f" are kept as they are, the current strategy is modelled {how} the cap, and every other policy obeys it."
        )
    others = len(prepared.evaluation.other_time)
    if others:
        notes.append(
            f"{others:,} contacts of the evaluation period belong to no decision point: they count for the current"
            " strategy, and no other policy could have made them."
        )
    return notes

"""A log made ready for evaluation, and what can be said about it before any training."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from engagex_sim.cap import DAY, Cap
from engagex_sim.columns import BoolArray, sums_by
from engagex_sim.crossfit import cap_is_kept
from engagex_sim.days import Days
from engagex_sim.decision_points import decisions_of
from engagex_sim.decisions import Decisions
from engagex_sim.errors import InputError
from engagex_sim.hashing import uniforms
from engagex_sim.log import Log
from engagex_sim.ope.intervals import smallest_lift
from engagex_sim.result import Facts
from engagex_sim.settings import LogSettings
from engagex_sim.timeline import Timeline
from engagex_sim.worlds import World

MIN_GAPS = 30  # with fewer repeated contacts nothing is known about their succession
RARE_GAPS = 0.01  # share of the gaps that is rare


@dataclass(frozen=True)
class Prepared:
    """A log ready for evaluation, and what can be said about it before any training."""

    timeline: Timeline  # burn-in included
    evaluation: Timeline  # the rows on which policies are compared
    judged: BoolArray  # (n_users,) users on whom they are compared; all of them unless some are held out
    days: Days
    cap_modelled: bool  # False: the log breaks the cap, so the logging policy is modelled without it
    refusal: str | None  # why no policy that contacts anybody can be judged on this log under this cap
    notes: tuple[str, ...]
    facts: Facts


def prepare(log: Log, settings: LogSettings, world: World | None = None) -> Prepared:
    """Decision points, features and masks of a log. `world` is the synthetic world it comes from, if it does."""
    decisions = decisions_of(log, settings)
    notes = list(log.notes)
    if not decisions.contact_is_a_choice:
        notes += [
            f"The column {name} says which kind was chosen, so it is no feature."
            for name in log.trigger_columns
            if name not in (*decisions.columns, "type")
        ]
    return prepare_decisions(decisions, settings, notes, world)


def prepare_decisions(
    decisions: Decisions,
    settings: LogSettings,
    notes: Sequence[str] = (),
    world: World | None = None,
) -> Prepared:
    """Likewise from decision points. Raises `InputError` where the evaluation period holds no contact."""
    timeline = Timeline.of(decisions, Cap(settings.cap_days))
    cap_modelled = cap_is_kept(timeline)
    evaluation = timeline.evaluation()
    if not (evaluation.action > 0).any():
        raise InputError(
            "No contact falls into the evaluation period, so nothing can be said about any policy; lower"
            " --burn-in-days, or say --start free if nobody had been contacted before the log begins."
        )
    first_day = int(evaluation.evaluation_start.min()) // DAY * DAY
    days = Days(first_day, -(-(decisions.log_end - first_day) // DAY))
    return Prepared(
        timeline=timeline,
        evaluation=evaluation,
        judged=np.ones(evaluation.n_users, dtype=np.bool_),
        days=days,
        cap_modelled=cap_modelled,
        refusal=_refusal(timeline),
        notes=(*notes, *_notes(timeline, evaluation, cap_modelled)),
        facts=_facts(evaluation, decisions, cap_modelled, world),
    )


def held_out(prepared: Prepared, share: float, seed: int) -> Prepared:
    """The same log with `share` of its users to judge policies on; the others are there to learn from.

    Raises `InputError` where no judged user was contacted in the evaluation period.
    """
    judged = uniforms(prepared.evaluation.user_key, seed)[0] < share
    users = prepared.evaluation.users(judged)
    if not (users.action > 0).any():
        raise InputError(
            f"With --holdout {share:g} no held-out user was contacted in the evaluation period; hold out more."
        )
    note = (
        f"Policies and models learn from {int((~judged).sum()):,} users and are judged on the {users.n_users:,} others:"
        " the values are those of the very policies that were trained, and current is the mean of the held-out users."
    )
    return replace(
        prepared,
        judged=judged,
        notes=(note, *prepared.notes),
        facts=replace(prepared.facts, **_counts(users)),
    )


def _facts(evaluation: Timeline, decisions: Decisions, cap_modelled: bool, world: World | None) -> Facts:
    contact = evaluation.action > 0
    return Facts(
        **_counts(evaluation),
        log_start=_moment(decisions.log_start),
        log_end=_moment(decisions.log_end),
        evaluation_start=_moment(int(evaluation.evaluation_start.min())),
        cap_days=evaluation.cap.days,
        kinds=evaluation.kinds,
        contact_is_a_choice=evaluation.contact_is_a_choice,
        propensity_logged=bool(np.isfinite(evaluation.propensity[contact]).all()),
        cap_modelled=cap_modelled,
        world=None if world is None else world.name,
    )


def _counts(evaluation: Timeline) -> dict[str, Any]:
    who = np.concatenate([evaluation.user_of_row, evaluation.other_user])
    liked = np.concatenate([evaluation.reward, evaluation.other_reward])
    interests = sums_by(who, liked, evaluation.n_users)
    return {
        "n_users": evaluation.n_users,
        "n_decisions": len(evaluation),
        "n_contacts": int((evaluation.action > 0).sum()) + len(evaluation.other_time),
        "n_interests": int(interests.sum()),
        "smallest_lift": smallest_lift(interests),
    }


def _refusal(timeline: Timeline) -> str | None:
    """Policies may contact in quicker succession than the log ever did: what that does to interest it cannot show."""
    gaps = timeline.gaps_between_contacts
    if not timeline.contact_is_a_choice or len(gaps) < MIN_GAPS:
        return None
    usual = float(np.quantile(gaps, RARE_GAPS))
    if timeline.cap.days >= 0.9 * usual or usual < 1:
        return None
    return (
        f"the log hardly ever contacts a user again within {usual:.3g} days, so it does not show what contacts"
        f" {timeline.cap.days:g} days apart would do (the cap that it keeps can be asked about: --cap-days {usual:.3g})"
    )


def _notes(timeline: Timeline, evaluation: Timeline, cap_modelled: bool) -> list[str]:
    notes = []
    broken = int(timeline.breaks_cap.sum())
    if broken:
        how = "with" if cap_modelled else "without"
        notes.append(
            f"{broken:,} logged contacts came within {timeline.cap.days:g} days of the user's previous one; they"
            f" are kept as they are, the current strategy is modelled {how} the cap, and every other policy obeys it."
        )
    others = len(evaluation.other_time)
    if others:
        notes.append(
            f"{others:,} contacts of the evaluation period belong to no decision point: they count for the current"
            " strategy, and no other policy could have made them."
        )
    return notes


def _moment(seconds: int) -> datetime:
    return datetime(1970, 1, 1) + timedelta(seconds=int(seconds))

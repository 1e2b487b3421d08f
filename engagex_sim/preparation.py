"""A log made ready for evaluation, and what can be said about it before any training."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

import numpy as np

from engagex_sim.blocks import Blocks, InMemory, OfLog
from engagex_sim.cap import DAY, Cap
from engagex_sim.columns import BoolArray, sums_by
from engagex_sim.crossfit import cap_is_kept
from engagex_sim.days import Days
from engagex_sim.decision_points import check_decisions, decisions_of
from engagex_sim.decisions import Decisions
from engagex_sim.errors import InputError
from engagex_sim.execution import OverBlocks, in_turn
from engagex_sim.extra import Extra
from engagex_sim.log import Log, LogBlocks
from engagex_sim.ope.intervals import smallest_lift
from engagex_sim.result import Facts
from engagex_sim.rules import NO_RULES, Rules
from engagex_sim.settings import LogSettings
from engagex_sim.splitting import Splitting
from engagex_sim.survey import SAMPLE_ROWS, Survey
from engagex_sim.timeline import Timeline
from engagex_sim.worlds import World

MIN_GAPS = 30  # with fewer repeated contacts nothing is known about their succession
RARE_GAPS = 0.01  # share of the gaps that is rare
TRIAL_ROWS = 1_000


@dataclass(frozen=True)
class Prepared:
    """A log ready for evaluation, and what can be said about it before any training."""

    blocks: Blocks  # the whole log
    timeline: Timeline  # what is learned from, see `survey`; burn-in included
    evaluation: Timeline  # the same without the burn-in
    sampled: BoolArray  # (n_users,) of whom both hold every decision point, not the contacts alone
    represented: float  # share of the log's decisions without contact, where one was possible, that both hold
    holdout: Splitting | None  # where policies are judged on a share of the users alone
    days: Days
    cap_modelled: bool  # False: the log breaks the cap, so the logging policy is modelled without it
    refusal: str | None  # why no policy that contacts anybody can be judged on this log under this cap
    notes: tuple[str, ...]
    facts: Facts
    extra: Extra | None = None  # another log, from which the reward model learns too

    @property
    def whole(self) -> Timeline:
        """The evaluation period of the sampled users: every decision point of theirs."""
        return self.evaluation if self.sampled.all() else self.evaluation.users(self.sampled)

    @property
    def trial(self) -> Timeline:
        """A few of these decision points, on which to try out in no time what a policy answers."""
        whole = self.whole
        return whole.rows(np.arange(len(whole)) < TRIAL_ROWS)


def prepare(
    log: Log | LogBlocks,
    settings: LogSettings,
    world: World | None = None,
    holdout: Splitting | None = None,
    over: OverBlocks = in_turn,
) -> Prepared:
    """Decision points, features and masks of a log, a whole one or in blocks, which `over` goes through.

    `world` is the synthetic world it comes from, if it does. Raises `InputError` where the log is too short.
    """
    check_decisions(log.facts, settings)
    notes = [
        *log.notes,
        *(
            f"The column {name} says which kind was chosen, so it is no feature."
            for name in log.facts.giveaways
            if name != "type"
        ),
    ]
    if isinstance(log, LogBlocks) and len(log) > 1:
        return prepare_blocks(OfLog(log, settings), notes, world, holdout, over)
    whole = log.load(0) if isinstance(log, LogBlocks) else log
    return prepare_decisions(decisions_of(whole, settings), settings, notes, world, holdout)


def with_extra(prepared: Prepared, log: Log | LogBlocks, settings: LogSettings) -> Prepared:
    """The reward model learns from another log too, which was read with `settings`.

    Raises `InputError` where its columns are not those of the log itself.
    """
    extra = Extra.of(log, prepared.timeline, settings)
    return replace(prepared, extra=extra, notes=(*prepared.notes, extra.sentence))


def prepare_decisions(
    decisions: Decisions,
    settings: LogSettings,
    notes: Sequence[str] = (),
    world: World | None = None,
    holdout: Splitting | None = None,
) -> Prepared:
    """Likewise from decision points."""
    blocks = InMemory(Timeline.of(decisions, Cap(settings.cap_days)))
    return prepare_blocks(blocks, notes, world, holdout)


def prepare_blocks(
    blocks: Blocks,
    notes: Sequence[str] = (),
    world: World | None = None,
    holdout: Splitting | None = None,
    over: OverBlocks = in_turn,
) -> Prepared:
    """Likewise from blocks; `over` runs a function over all of them.

    Raises `InputError` where the evaluation period holds no contact.
    """
    share = min(1.0, SAMPLE_ROWS / max(blocks.n_rows, 1))
    survey = Survey.join(over(partial(_survey, blocks, share, holdout), len(blocks)))
    timeline = survey.learning
    cap_modelled = cap_is_kept(timeline)
    evaluation = timeline.evaluation()
    if not (evaluation.action > 0).any():
        raise InputError(
            "No contact falls into the evaluation period, so nothing can be said about any policy; lower"
            " --burn-in-days, or say --start free if nobody had been contacted before the log begins."
        )
    judged = evaluation if holdout is None else evaluation.users(holdout.anywhere(evaluation.user_key))
    if holdout is not None:
        if not (judged.action > 0).any():
            raise InputError(
                f"With --holdout {holdout.holdout:g} no held-out user was contacted in the evaluation period; hold out"
                " more."
            )
        notes = [
            f"Policies and models learn from {survey.n_learners:,} users and are judged on the {survey.n_users:,}"
            " others: the values are those of the very policies that were trained, and current is the mean of the"
            " held-out users.",
            *notes,
        ]
    first_day = survey.evaluation_start // DAY * DAY
    return Prepared(
        blocks=blocks,
        timeline=timeline,
        evaluation=evaluation,
        sampled=survey.sampled,
        represented=survey.represented(only_free=cap_modelled),
        holdout=holdout,
        days=Days(first_day, -(-(timeline.log_end - first_day) // DAY)),
        cap_modelled=cap_modelled,
        refusal=refusal(timeline),
        notes=(*notes, *_notes(timeline, evaluation, cap_modelled)),
        facts=_facts(judged, survey, cap_modelled, world),
    )


def _survey(blocks: Blocks, share: float, holdout: Splitting | None, block: int) -> Survey:
    return Survey.of(blocks.timeline(block), share, holdout)


def _facts(judged: Timeline, survey: Survey, cap_modelled: bool, world: World | None) -> Facts:
    contact = judged.action > 0
    who = np.concatenate([judged.user_of_row, judged.other_user])
    liked = np.concatenate([judged.reward, judged.other_reward])
    interests = np.zeros(survey.n_users)  # also of those who were never contacted
    interests[: judged.n_users] = sums_by(who, liked, judged.n_users)
    return Facts(
        n_users=survey.n_users,
        n_decisions=survey.n_decisions,
        n_contacts=int(contact.sum()) + len(judged.other_time),
        n_interests=int(interests.sum()),
        smallest_lift=smallest_lift(interests),
        log_start=_moment(judged.log_start),
        log_end=_moment(judged.log_end),
        evaluation_start=_moment(survey.evaluation_start),
        cap_days=judged.cap.days,
        kinds=judged.kinds,
        contact_is_a_choice=judged.contact_is_a_choice,
        propensity_logged=bool(np.isfinite(judged.propensity[contact]).all()),
        cap_modelled=cap_modelled,
        world=None if world is None else world.name,
        interest_variance=float(np.mean(interests**2) - np.mean(interests) ** 2),  # sums of whole numbers: in any order
        n_learners=survey.n_learners,
    )


def refusal(timeline: Timeline, rules: Rules = NO_RULES) -> str | None:
    """Policies may contact in quicker succession than the log ever did: what that does to interest it cannot show."""
    gaps, shortest = timeline.gaps_between_contacts, rules.shortest(timeline.cap) / DAY
    if not timeline.contact_is_a_choice or len(gaps) < MIN_GAPS:
        return None
    usual = float(np.quantile(gaps, RARE_GAPS))
    if shortest >= 0.9 * usual or usual < 1:
        return None
    kept = f"the cap that it keeps can be asked about: --cap-days {usual:.3g}"
    return (
        f"the log hardly ever contacts a user again within {usual:.3g} days, so it does not show what contacts"
        f" {shortest:g} days apart would do ({'leave out --exempt' if shortest < timeline.cap.days else kept})"
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

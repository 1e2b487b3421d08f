"""The log as sorted columns of numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from engagex_sim.columns import BoolArray, CodeArray, Column, FloatArray, IntArray, KeyArray, TextArray
from engagex_sim.log.quality import DataQuality


class ReadAs:
    """What the triggers and the decision points of a log are, and what follows from it."""

    triggers_are: Literal["opportunities", "contacts"]
    decision_points: Literal["trigger", "day"]

    @property
    def is_grid(self) -> bool:
        """Whether the decision points are every day with contacts × every user."""
        return self.triggers_are == "contacts" and self.decision_points == "day"

    @property
    def contact_is_a_choice(self) -> bool:
        """False where the decision points are the logged contacts: then only their kind is."""
        return self.is_grid or self.triggers_are == "opportunities"


@dataclass(frozen=True)
class LogFacts(ReadAs):
    """What holds for the whole log, in however many blocks of users it comes.

    Times are seconds since 1970 in the log's own clock, days are days since 1970.
    """

    n_users: int
    kinds: tuple[str, ...]  # labels of kinds 1..K
    triggers_are: Literal["opportunities", "contacts"]
    decision_points: Literal["trigger", "day"]
    log_start: int  # midnight of the first day
    log_end: int  # midnight after the last day
    quality: DataQuality
    notes: tuple[str, ...]  # plain sentences a reader must know
    trigger_columns: tuple[str, ...]  # names
    attributes: tuple[str, ...]  # names
    all_listed: bool  # whether users.csv names every user
    contact_days: IntArray  # (d,) the days with a contact that belongs to a decision point, ascending
    first_entry: int  # from when on the first user can be decided about
    last_decision: int  # time of the last decision point
    grid_points: int  # decision points where they are a grid of days, else 0
    giveaways: tuple[str, ...]  # trigger columns that say which kind was chosen, where only the kind is a choice


class WithFacts:
    """Access to what holds for the whole log; `LogFacts` says what each is."""

    facts: LogFacts

    @property
    def kinds(self) -> tuple[str, ...]:
        return self.facts.kinds

    @property
    def triggers_are(self) -> Literal["opportunities", "contacts"]:
        return self.facts.triggers_are

    @property
    def decision_points(self) -> Literal["trigger", "day"]:
        return self.facts.decision_points

    @property
    def log_start(self) -> int:
        return self.facts.log_start

    @property
    def log_end(self) -> int:
        return self.facts.log_end

    @property
    def quality(self) -> DataQuality:
        return self.facts.quality

    @property
    def notes(self) -> tuple[str, ...]:
        return self.facts.notes


@dataclass(frozen=True)
class Log(WithFacts):
    """What was read, after validation: all users of the log, or a block of them. Times as in `LogFacts`.

    Triggers and actions are sorted by (user, time), rows at one instant in file order; users by guid.
    """

    facts: LogFacts
    user_id: TextArray  # (n_users,) the guid
    user_key: KeyArray  # (n_users,) hash of the guid
    user_listed: BoolArray  # (n_users,) True where users.csv names the user
    attributes: Mapping[str, Column]  # (n_users,) each
    trigger_user: IntArray  # (m,) position of the user
    trigger_time: IntArray  # (m,)
    trigger_code: CodeArray  # (m,) which resource, as a code; -1 where missing
    trigger_columns: Mapping[str, Column]  # (m,) each: trigger, type, extra columns
    action_user: IntArray  # (k,)
    action_time: IntArray  # (k,)
    action_kind: IntArray  # (k,) 1..K; 0 where an orphan's kind is unknown
    action_reward: FloatArray  # (k,) 1 = interested, 0 = not
    action_propensity: FloatArray  # (k,) NaN where not logged
    action_trigger: IntArray  # (k,) row of the trigger whose decision point this contact belongs to; -1 for an orphan

    @property
    def n_users(self) -> int:
        """Users of this block; `facts.n_users` counts all."""
        return len(self.user_id)

    @property
    def orphan(self) -> BoolArray:
        """(k,) contacts that belong to no decision point."""
        return self.action_trigger < 0

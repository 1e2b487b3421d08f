"""The log as sorted columns of numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from engagex_sim.columns import BoolArray, CodeArray, Column, FloatArray, IntArray, KeyArray, TextArray
from engagex_sim.log.quality import DataQuality


@dataclass(frozen=True)
class Log:
    """What was read, after validation. Times are seconds since 1970 in the log's own clock.

    Triggers and actions are sorted by (user, time), rows at one instant in file order; users by guid.
    """

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
    kinds: tuple[str, ...]  # labels of kinds 1..K
    triggers_are: Literal["opportunities", "contacts"]
    decision_points: Literal["trigger", "day"]
    log_start: int  # midnight of the first day
    log_end: int  # midnight after the last day
    quality: DataQuality
    notes: tuple[str, ...]  # plain sentences a reader must know

    @property
    def n_users(self) -> int:
        return len(self.user_id)

    @property
    def orphan(self) -> BoolArray:
        """(k,) contacts that belong to no decision point."""
        return self.action_trigger < 0

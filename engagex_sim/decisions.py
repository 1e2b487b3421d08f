"""Decision points of a block of whole users, as the log has them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from engagex_sim.columns import AnyArray, CodeArray, Column, FloatArray, IntArray, KeyArray, TextArray


@dataclass(frozen=True)
class Decisions:
    """One block of whole users; rows sorted by (user, time). Times are seconds since 1970 in the log's own clock.

    Rows of user i are `user_start[i]:user_start[i + 1]`; the same holds for triggers and for other contacts.
    """

    user_start: IntArray  # (n_users + 1,)
    user_key: KeyArray  # (n_users,) hash of the guid
    user_id: TextArray  # (n_users,) the guid
    evaluation_start: IntArray  # (n_users,) decisions before it are history only
    time: IntArray  # (n,) of the decision: what the cap and history go by
    known_at: IntArray  # (n,) what features show: `time`, or the day's first trigger where a day is one decision
    action: IntArray  # (n,) 0 = no contact, 1..K = the kind
    reward: FloatArray  # (n,) 1 = interested; 0 where no contact
    propensity: FloatArray  # (n,) logged probability of this contact given free; NaN where not logged
    columns: Mapping[str, Column]  # (n,) each: trigger, type, extra columns, attributes of the user
    trigger_start: IntArray  # (n_users + 1,) the trigger timeline that activity features look at
    trigger_time: IntArray  # (m,)
    trigger_code: CodeArray  # (m,) which resource, as a code
    other_start: IntArray  # (n_users + 1,) contacts of the log that belong to no decision point
    other_time: IntArray  # (o,)
    other_reward: FloatArray  # (o,)
    kinds: tuple[str, ...]  # labels of actions 1..K
    log_start: int  # midnight of the log's first day
    log_end: int  # midnight after the log's last day
    contact_is_a_choice: bool  # False: only the kind is (there is no action 0)
    activity_known: bool  # False where the triggers are the contacts: activity would give the decision away

    @property
    def n_users(self) -> int:
        return len(self.user_key)

    def __len__(self) -> int:
        return len(self.time)

    @property
    def user_of_row(self) -> IntArray:
        """(n,) the position of each row's user."""
        return np.repeat(np.arange(self.n_users), np.diff(self.user_start))


def starts(counts: AnyArray) -> IntArray:
    """Where each user's rows begin, shape (n_users + 1,), from the number of rows of each."""
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)

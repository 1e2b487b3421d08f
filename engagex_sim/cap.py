"""The contact cap: a rolling window, and the action mask that follows from it."""

from dataclasses import dataclass

import numba
import numpy as np

from engagex_sim.columns import BoolArray, IntArray

DAY = 86_400
NEVER = np.int64(-(2**60))  # the time of the last contact of somebody who never had one


@numba.njit(cache=True, nogil=True)
def allows(time: int, last_contact: int, window: int) -> bool:
    """Whether a contact at `time` is allowed after one at `last_contact`; all in seconds.

    The only statement of the cap: log, simulator, recursion and environment call it. A contact exactly one
    window later is allowed; a window of 0 forbids nothing.
    """
    return time - last_contact >= window


@dataclass(frozen=True)
class Cap:
    """At most one contact per user in any `days` × 24 h; 0 means no cap."""

    days: float = 14.0

    def __post_init__(self) -> None:
        if not 0 <= self.days < 36_525:
            raise ValueError(f"the contact cap is between 0 and 36,525 days, not {self.days}")

    @property
    def seconds(self) -> int:
        return round(self.days * DAY)

    def allows(self, time: IntArray, last_contact: IntArray) -> BoolArray:
        """Where a contact is allowed, shape (n,), given the time of each user's last contact (`NEVER` if none)."""
        return np.asarray(allows.py_func(time, last_contact, self.seconds), dtype=np.bool_)


def action_mask(allowed: BoolArray, n_kinds: int, contact_is_a_choice: bool) -> BoolArray:
    """The action mask, shape (n, n_kinds + 1).

    Column 0 (no contact) is open unless contacting is not a choice; columns 1..K are open where `allowed`, which is
    (n,), or (n, n_kinds) where it differs by kind.
    """
    mask = np.empty((len(allowed), n_kinds + 1), dtype=np.bool_)
    mask[:, 0] = contact_is_a_choice
    mask[:, 1:] = allowed if allowed.ndim == 2 else allowed[:, None]
    return mask

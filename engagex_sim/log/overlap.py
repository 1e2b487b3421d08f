"""Whether the two files are about the same users and the same time at all."""

import numpy as np

from engagex_sim.columns import IntArray, TextArray
from engagex_sim.errors import InputError
from engagex_sim.log.coding import Table


def check_overlap(user_id: TextArray, triggers: Table, actions: Table, window: float) -> None:
    """Raise `InputError` where the files share no guid, or no contact is within `window` seconds of any trigger.

    Neither a clock that runs late nor a longer window explains that; the files do not belong together.
    """
    if len(triggers) == 0 or len(actions) == 0:
        return
    if not np.isin(actions.user, triggers.user).any():
        raise InputError(
            f"No guid of {actions.name} (such as {user_id[actions.user[0]]!r}) is in {triggers.name} (such as"
            f" {user_id[triggers.user[0]]!r}); both files must write the guid of a user alike."
        )
    if actions.time.min() > triggers.time.max() + window or actions.time.max() < triggers.time.min():
        raise InputError(
            f"The dates of the two files do not overlap: {triggers.name} covers {_period(triggers.time)},"
            f" {actions.name} {_period(actions.time)}; give both files of the same time."
        )


def _period(time: IntArray) -> str:
    first, last = (np.datetime64(int(second), "s").astype("datetime64[D]") for second in (time.min(), time.max()))
    return f"{first} to {last}"

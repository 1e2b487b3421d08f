"""Policies that read the results of their own contacts: what can be said about them, and that it is no verdict."""

import math

from engagex_sim.report.answers import by_estimator
from engagex_sim.report.formats import count, percent, percent_range
from engagex_sim.result import ROLL_OUT, Result

WHOLE_HISTORIES = "dr_traj"  # needs no contact probabilities


def what_other_estimators_say(policy: str, result: Result) -> str:
    """A sentence on a policy for which there is a roll-out, since the recursion cannot serve it; else empty."""
    found = by_estimator(result).get(policy, {})
    if ROLL_OUT not in found:
        return ""
    simulated = f"Histories simulated with the reward model ({ROLL_OUT}) say {_change(found[ROLL_OUT].change)}"
    weighed = found.get(WHOLE_HISTORIES)
    if weighed is None or math.isnan(weighed.change):
        return f"{simulated}: model-based, and no verdict."
    interval = "no interval"
    if not math.isnan(weighed.change_low):
        interval = f"95 % CI {percent_range(weighed.change_low, weighed.change_high)}"
    return (
        f"Without a verdict: weighing whole histories ({WHOLE_HISTORIES}) says {_change(weighed.change)} interests per"
        f" user ({interval}; worth {count(weighed.ess)} contacts). {simulated}, which is only as good as that model."
    )


def _change(change: float) -> str:
    return percent(change, signed=True)

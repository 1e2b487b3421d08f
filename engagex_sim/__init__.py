"""EngageX-Sim: an offline simulator and evaluator of contact policies.

`evaluate` values policies on a log; `gymnasium.make("engagex_sim:EngageX-v0")` replays a log as an environment.
"""

from importlib import import_module
from typing import Any

import gymnasium

_HOMES = {
    "Context": "engagex_sim.policy",
    "EngageXEnv": "engagex_sim.env",
    "InputError": "engagex_sim.errors",
    "Policy": "engagex_sim.policy",
    "Result": "engagex_sim.result",
    "Settings": "engagex_sim.settings",
    "evaluate": "engagex_sim.evaluation",
    "plot_cumulative_interest": "engagex_sim.report.figures",
}
__all__ = sorted(_HOMES)

gymnasium.register("EngageX-v0", entry_point="engagex_sim.env:EngageXEnv")


def __getattr__(name: str) -> Any:
    """Public names are imported when they are first used: xgboost and matplotlib take a second."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)

"""Does an exploration plan keep its word? Plan it on one log of a world, carry it out, and compare the intervals."""

from typing import Any

import numpy as np

from engagex_sim.columns import BoolArray
from engagex_sim.evaluation import cross_fit, estimate_all
from engagex_sim.exploration import chosen
from engagex_sim.explore import explore
from engagex_sim.exploring import Exploring, explored_log
from engagex_sim.hashing import fold_of
from engagex_sim.ope.verdict import UNANSWERABLE
from engagex_sim.policy import Policy, policy_name
from engagex_sim.preparation import Prepared, prepare_decisions
from engagex_sim.result import HEADLINE, PRIMARY
from engagex_sim.settings import Settings
from engagex_sim.tables import summary_table
from engagex_sim.worlds import World, logged_decisions, visible


def check_exploration(world: World, policy: Policy, n_users: int, settings: Settings) -> dict[str, float]:
    """One replication: the plan from the world's own log, then a log of as many users with that exploration.

    `rate` (NaN where no exploration is enough, and then everything else is too), `answerable_before` and
    `answerable_after` (0 or 1), and `value_ratio` and `lift_ratio`: the width of the interval over the planned one.
    `policy` learns nothing and reads no history.
    """
    before, own = _prepared(world, None, n_users, settings), [policy]
    crossfitted = cross_fit(before, own, settings)
    found = explore(before, crossfitted.fitted, _judged(before, settings), crossfitted.carried, 0)
    best = None if found is None else chosen(found.plan)
    if best is None:
        return dict.fromkeys(("rate", "answerable_before", "answerable_after", "value_ratio", "lift_ratio"), np.nan)
    row = _headline(before, policy, settings)
    after = _headline(
        _prepared(world, Exploring(world.logging, policy, best["rate"]), n_users, settings), policy, settings
    )
    return {
        "rate": float(best["rate"]),
        "answerable_before": float(row["verdict"] != UNANSWERABLE),
        "answerable_after": float(after["verdict"] != UNANSWERABLE),
        "value_ratio": (after["ci_high"] - after["ci_low"]) / float(best["value_width"]),
        "lift_ratio": (after["lift_high"] - after["lift_low"]) / float(best["lift_width"]),
    }


def _prepared(world: World, explorer: Policy | None, n_users: int, settings: Settings) -> Prepared:
    rng = np.random.default_rng([settings.seed, 0 if explorer is None else 1])
    log = logged_decisions(world, n_users, rng) if explorer is None else explored_log(world, explorer, n_users, rng)
    return prepare_decisions(visible(log), settings)


def _judged(prepared: Prepared, settings: Settings) -> list[BoolArray]:
    fold = fold_of(prepared.evaluation.user_key, settings.seed, settings.folds)
    return [fold == f for f in range(settings.folds)]


def _headline(prepared: Prepared, policy: Policy, settings: Settings) -> dict[str, Any]:
    observed = cross_fit(prepared, [policy], settings).observed
    table = summary_table([policy_name(policy)], estimate_all(prepared, observed, settings), len(observed.user_key))
    own = table[(table["estimator"] == HEADLINE) & (table["metric"] == PRIMARY)].iloc[0]
    return {str(name): value for name, value in own.items()}

"""What the diagnostics say about a log and about the policies on it, as numbers beside the estimates."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import t as student

from engagex_sim.columns import FloatArray
from engagex_sim.estimate import METRICS, NAMES, Estimates
from engagex_sim.evaluation import CrossFitted
from engagex_sim.flags import flags
from engagex_sim.ope.intervals import bootstrap_means
from engagex_sim.ope.sensitivity import exposure, outer_interval
from engagex_sim.preparation import Prepared
from engagex_sim.result import HEADLINE, PRIMARY
from engagex_sim.settings import Settings


def run_extras(prepared: Prepared, crossfitted: CrossFitted, flagged: bool) -> dict[str, float]:
    """Name → number, of the whole log; flags, where `flagged` asks for them, are called `flag_…`, 1 where raised."""
    raised, carry = {}, crossfitted.carried
    if flagged:
        found = flags(prepared, crossfitted.fitted, crossfitted.splits, carry).table
        raised = {f"flag_{name}": float(one) for name, one in zip(found["flag"], found["flagged"], strict=True)}
    return raised | {
        "breaks_cap": float(not prepared.cap_modelled),
        "carried": float(carry.weights.size),
        "carried_for_logging": float(carry.logging.size),
    }


def refit_intervals(names: Sequence[str], estimates: Estimates, replicates: FloatArray) -> pd.DataFrame:
    """Rows like those of `interval_table`, method `refit`, from replicates (r, p + 1) with every model fitted again.

    Symmetric, from the replicates' standard error and Student's quantile, since refits are few.
    """
    e, m = NAMES.index(HEADLINE), METRICS.index(PRIMARY)
    quantile = float(student.ppf(0.975, len(replicates) - 1))
    rows = []
    for p, name in enumerate(names):
        row: dict[str, object] = {"policy": name, "estimator": HEADLINE, "method": "refit"}
        value = float(estimates.value[p, e, m])
        for what, centre, own in (
            ("value", value, replicates[:, p]),
            ("lift", value - float(estimates.current[m]), replicates[:, p] - replicates[:, -1]),
        ):
            reach = quantile * float(own.std(ddof=1))
            row |= {f"{what}_low": centre - reach, f"{what}_high": centre + reach}
        rows.append(row)
    return pd.DataFrame(rows)


def hidden_cause_bounds(
    crossfitted: CrossFitted, estimates: Estimates, settings: Settings, odds_ratio: float
) -> list[dict[str, float]]:
    """Per policy, what a hidden cause of strength Λ = `odds_ratio` leaves possible for the lift, and one of Λ = 1.

    The outer 95 % intervals `bound_low` to `bound_high`, and `unbounded_low` to `unbounded_high` at Λ = 1.
    """
    o, e, m = crossfitted.observed, NAMES.index(HEADLINE), METRICS.index(PRIMARY)
    exposed = [
        exposure(weight, policy.contact_probability, o.reward, o.user, len(o.user_key))
        for weight, policy in zip(estimates.weights, o.policies, strict=True)
    ]
    means = bootstrap_means(np.column_stack(exposed), o.user_key, settings.seed, settings.n_boot)
    found = []
    for p in range(len(o.policies)):
        lift = estimates.replicates[:, p, e, m] - estimates.current_replicates[:, m]
        low, high = outer_interval(lift, means[:, p], odds_ratio)
        plain_low, plain_high = outer_interval(lift, means[:, p], 1.0)
        found.append({"bound_low": low, "bound_high": high, "unbounded_low": plain_low, "unbounded_high": plain_high})
    return found

"""What the diagnostics say about a log and about the policies on it, as numbers beside the estimates."""

from engagex_sim.blockwise import CrossFitted
from engagex_sim.confounding import hidden_cause
from engagex_sim.estimate import Estimates
from engagex_sim.flags import flags
from engagex_sim.preparation import Prepared


def run_extras(prepared: Prepared, crossfitted: CrossFitted, flagged: bool) -> dict[str, float]:
    """Name → number, of the whole log; flags, where `flagged` asks for them, are called `flag_…`, 1 where raised."""
    raised, carry = {}, crossfitted.carried
    if flagged:
        found = flags(prepared, crossfitted.fitted, crossfitted.splitting, carry).table
        raised = {f"flag_{name}": float(one) for name, one in zip(found["flag"], found["flagged"], strict=True)}
    return raised | {
        "breaks_cap": float(not prepared.cap_modelled),
        "carried": float(carry.weights.size),
        "carried_for_logging": float(carry.logging.size),
    }


def hidden_cause_bounds(crossfitted: CrossFitted, estimates: Estimates, odds_ratio: float) -> list[dict[str, float]]:
    """Per policy, what a hidden cause of strength Λ = `odds_ratio` leaves possible for the lift, and one of Λ = 1.

    The outer 95 % intervals `bound_low` to `bound_high`, and `unbounded_low` to `unbounded_high` at Λ = 1.
    """
    o = crossfitted.observed
    names = [str(p) for p in range(len(o.policies))]
    causes = hidden_cause(o, estimates.weights, names, strengths=(odds_ratio, 1.0))
    ends = causes.bounds[["lift_low", "lift_high"]].to_numpy().reshape(-1, 4)
    columns = ("bound_low", "bound_high", "unbounded_low", "unbounded_high")
    return [dict(zip(columns, own, strict=True)) for own in ends.tolist()]

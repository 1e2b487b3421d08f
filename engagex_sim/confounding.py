"""What an unobserved cause of both contact and interest could do to each answer, as tables and sentences."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from engagex_sim.columns import FloatArray, sums_by
from engagex_sim.observed import Observed
from engagex_sim.ope.resampling import bootstrap_sums, means
from engagex_sim.ope.sensitivity import STRENGTHS, BreakingPoint, breaking_point, exposure, outer_interval


class HiddenCause(NamedTuple):
    """Tables of the sensitivity analysis for `interests_per_user`."""

    bounds: pd.DataFrame  # policy, strength, value_low, value_high, lift_low, lift_high
    breaking: pd.DataFrame  # policy, breaking_point (NaN or inf with a reason), reason, sentence


def hidden_cause(
    observed: Observed,
    weights: Sequence[FloatArray],
    names: Sequence[str],
    stopped: Sequence[FloatArray] | None = None,
    *,
    strengths: Sequence[float] = STRENGTHS,
) -> HiddenCause:
    """Bounds by strength Λ, one row per policy and each of `strengths`, and the breaking point of every policy.

    `weights` are the recalibrated cap-marginal weights (c,) of each policy; `stopped` (c,) the weighted interests that
    a stop after the first one prevents, which the bounds take as they are. The bootstrap draws the users that the
    headline's does, so that at Λ = 1 the bounds are the percentile interval of `dr_cap`.
    """
    o, n_active, resampling = observed, len(observed.user_key), observed.resampling
    stopped = [np.zeros(len(o.user))] * len(weights) if stopped is None else stopped
    columns = [o.current.sum(axis=1)]
    for policy, weight, prevented in zip(o.policies, weights, stopped, strict=True):
        columns.append(sums_by(o.user, weight * (o.reward - o.predicted) - prevented, n_active))
        columns.append(exposure(weight, policy.logged.contact_probability, o.reward, o.user, n_active))
    sums = bootstrap_sums(np.column_stack(columns), o.user_key, resampling.seed, resampling.n_boot)
    for p, policy in enumerate(o.policies):
        sums[:, 1 + 2 * p] += resampling.split(policy.sums.model)[1]
    replicates = means(sums, resampling.split(o.users)[1])
    rows, points = [], []
    for p, name in enumerate(names):
        value, exposed = replicates[:, 1 + 2 * p], replicates[:, 2 + 2 * p]
        lift = value - replicates[:, 0]
        if not np.isfinite(lift).any():
            rows += [(name, strength, *[math.nan] * 4) for strength in strengths]
            undefined = BreakingPoint(math.nan, "no contact probabilities are known, so no bounds are either")
            points.append((name, undefined.strength, undefined.reason, sentence(name, undefined)))
            continue
        for strength in strengths:
            ends = (*outer_interval(value, exposed, strength), *outer_interval(lift, exposed, strength))
            rows.append((name, strength, max(ends[0], 0.0), *ends[1:]))
        point = breaking_point(lift, exposed)
        points.append((name, point.strength, point.reason, sentence(name, point)))
    return HiddenCause(
        pd.DataFrame(rows, columns=["policy", "strength", "value_low", "value_high", "lift_low", "lift_high"]),
        pd.DataFrame(points, columns=["policy", "breaking_point", "reason", "sentence"]),
    )


def sentence(policy: str, point: BreakingPoint) -> str:
    """The breaking point in plain words."""
    if not math.isfinite(point.strength):
        return f"{policy}: {point.reason}."
    return (
        f"{policy}: a cause that the log does not show, and that multiplies the odds of a contact by"
        f" {point.strength:.2f} for users who are more (or less) interested anyway, could explain the whole lift."
        " With rare interests this is roughly 1 + the end of the relative lift's interval nearest to 0, so it is no"
        " independent news."
    )

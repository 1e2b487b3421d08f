"""The made-up tables of a result that say how far its answers can be trusted."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from engagex_sim.diagnostics import JointTest, flag
from engagex_sim.exploration import RATES
from engagex_sim.ope.sensitivity import STRENGTHS

Lifts = Mapping[str, tuple[float, float, float]]  # policy → lift, and the ends of its own interval, per user


def intervals(lifts: Lifts) -> pd.DataFrame:
    """The bootstrap's and the normal one agree; the finite-sample one is ten times as wide, or undefined."""
    rows = []
    for policy, (lift, low, high) in lifts.items():
        wide = (lift - 10 * (lift - low), lift + 10 * (high - lift))
        unbounded = policy == "first_chance"
        for method, ends in (("bootstrap", (low, high)), ("influence", (low, high)), ("bernstein", wide)):
            undefined = unbounded and method == "bernstein"
            own = (math.nan, math.nan) if undefined else ends
            rows.append(
                {"policy": policy, "estimator": "ips_cap" if method == "bernstein" else "dr_cap", "method": method}
                | {"value_low": own[0] + 0.0251, "value_high": own[1] + 0.0251, "lift_low": own[0], "lift_high": own[1]}
                | {"reason": "nothing bounds the weights" if undefined else None}
            )
    return pd.DataFrame(rows)


def flags(raised: Sequence[str] = ()) -> pd.DataFrame:
    names = ("reaction", "drift", "calibration")
    return pd.DataFrame([flag(n, JointTest(31.0, 3, 7e-7) if n in raised else JointTest(2.0, 3, 0.57)) for n in names])


def overlap(ess: Mapping[str, float]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"policy": policy, "ess": own, "max_weight_share": 0.01, "effective_positives": own / 40}
            | {"expected_contacts": 17_000.0, "imbalance": 0.01, "balance_z": 0.4}
            for policy, own in ess.items()
        ]
    )


def sensitivity(lifts: Lifts) -> pd.DataFrame:
    rows = []
    for policy, (lift, low, high) in lifts.items():
        for strength in STRENGTHS:
            ends = (low - (1 - 1 / strength) * 0.025, high + (strength - 1) * 0.025)
            rows.append((policy, strength, ends[0] + lift, ends[1] + lift, *ends))
    return pd.DataFrame(rows, columns=["policy", "strength", "value_low", "value_high", "lift_low", "lift_high"])


def breaking_points(lifts: Lifts) -> pd.DataFrame:
    """A point where the interval leaves out 0, none where it does not; nothing breaks what is exact."""
    rows = []
    for policy, (lift, low, high) in lifts.items():
        told = low > 0 or high < 0
        point = math.inf if low == high else 1.3 if told else math.nan
        rows.append((policy, point, None if math.isfinite(point) else "a reason", f"{policy}: {lift:.2f}"))
    return pd.DataFrame(rows, columns=["policy", "breaking_point", "reason", "sentence"])


def exploration(policies: Sequence[str], feasible: bool = True) -> pd.DataFrame:
    """A plan per refused policy; exploration in 2 % of the decisions and more makes it answerable."""
    table = pd.DataFrame({"rate": RATES})
    plans = [
        table.assign(
            extra_contacts_per_1000=900 * table["rate"],
            random_contacts_per_1000=1000 * table["rate"],
            lift_width=0.02 / np.sqrt(table["rate"].clip(lower=0.001)) * 0.1,
            answerable=feasible & (table["rate"] >= 0.02),
            foretold=feasible & (table["rate"] >= 0.02),
            policy=policy,
            where="where hour ≥ 18",
            sentence=f"To answer for {policy}: contact at random where hour ≥ 18.",
        )
        for policy in policies
    ]
    return pd.concat(plans, ignore_index=True) if plans else pd.DataFrame({"policy": [], "where": [], "sentence": []})

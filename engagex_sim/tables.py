"""Estimates as the tables that a run writes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from engagex_sim.columns import FloatArray, IntArray
from engagex_sim.estimate import METRICS, NAMES, Estimates
from engagex_sim.ope.intervals import interval
from engagex_sim.ope.verdict import UNANSWERABLE, judge
from engagex_sim.result import CURRENT, HEADLINE, ON_POLICY, PRIMARY, SUMMARY_COLUMNS
from engagex_sim.worlds import Truth

VOLUME = "contacts_per_user"  # a volume is neither better nor worse
PROFIT = "profit_per_user"
INTERESTED = "interested_users"
MIN_INTERESTS = 10  # a curve's band begins on the first day by which the log holds this many

_NO_INTERVAL = "a reward model's own error has no interval"
_NOT_DEFINED = "this estimator cannot tell how many users have at least one interest"
_IMPOSSIBLE = "too few users with several interests: the estimated share lies outside what is possible"
_NO_CONTACT = "the policy makes no contact"
_NO_OVERLAP = "no logged contact carries weight"


def summary_table(
    names: Sequence[str],
    estimates: Estimates,
    n_users: int,
    truths: Mapping[str, Truth] | None = None,
    refusal: str | None = None,
) -> pd.DataFrame:
    """One row per policy × estimator × metric, the log itself first; undefined is NaN with a reason.

    `ci_low` and `ci_high` hold with 95 % for the one value; `lift_low` and `lift_high` jointly for all policies
    compared (those that make any contact). A verdict stands on the headline rows; `refusal` is the reason why no policy
    that makes contacts can have one.
    """
    rows = []
    for m, metric in enumerate(METRICS):
        low, high = interval(estimates.current[[m]], estimates.current_replicates[:, [m]])
        low = low if metric == PROFIT else np.maximum(low, 0.0)
        rows.append(
            {"policy": CURRENT, "estimator": ON_POLICY, "metric": metric, "value": estimates.current[m]}
            | {"ci_low": low[0], "ci_high": high[0], "lift": 0.0, "lift_low": 0.0, "lift_high": 0.0}
            | {"lift_percent": 0.0, "lift_percent_low": 0.0, "lift_percent_high": 0.0, "n_users": n_users}
        )
    now, then = estimates.current, estimates.current_replicates[:, None, None, :]
    lifts = _joint_intervals(estimates, estimates.value - now, estimates.replicates - then)
    relative = 100 * _joint_intervals(estimates, _relative(estimates.value, now), _relative(estimates.replicates, then))
    relative[1] = np.fmax(relative[1], np.fmin(-100.0, relative[0]))  # nothing falls by more than all of it
    for p, name in enumerate(names):
        for e in range(len(NAMES)):
            rows += [
                _row(estimates, p, e, m, lifts[:, p, e, m], relative[:, p, e, m], refusal)
                | {"policy": name, "n_users": n_users}
                for m in range(len(METRICS))
            ]
    table = pd.DataFrame(rows).reindex(columns=list(SUMMARY_COLUMNS))
    if truths is not None:
        table["truth"] = [
            truths[policy].metrics[metric] for policy, metric in zip(table["policy"], table["metric"], strict=True)
        ]
    return table


def curve_table(
    names: Sequence[str], estimates: Estimates, days: IntArray, n_users: int, truths: Mapping[str, Truth] | None
) -> pd.DataFrame:
    """Cumulative interests per 1,000 users up to the end of each of `days` (d,), with a band that holds jointly.

    The band begins on the first day by which the log holds enough interests to speak of.
    """
    shown = estimates.curve[-1] * n_users >= MIN_INTERESTS
    tables = []
    for p, name in enumerate([*names, CURRENT]):
        low, high = np.full(len(days), np.nan), np.full(len(days), np.nan)
        low[shown], high[shown] = interval(estimates.curve[p, shown], estimates.curve_replicates[:, p, shown])
        table = pd.DataFrame(
            {"policy": name, "day": days, "cumulative_interests_per_1000": estimates.curve[p] * 1000}
            | {"ci_low": low * 1000, "ci_high": high * 1000}
        )
        if truths is not None:
            table["truth"] = truths[name].curve[np.minimum(days, len(truths[name].curve)) - 1]
        tables.append(table)
    return pd.concat([tables[-1], *tables[:-1]], ignore_index=True)


def _relative(value: FloatArray, now: FloatArray) -> FloatArray:
    """value / now − 1 (…, m); NaN for profit, whose sign may change, and where `now` is 0."""
    ratio: FloatArray = np.divide(value, now, out=np.full(value.shape, np.nan), where=now != 0) - 1
    ratio[..., METRICS.index(PROFIT)] = np.nan
    return ratio


def _joint_intervals(estimates: Estimates, lift: FloatArray, replicates: FloatArray) -> FloatArray:
    """(3, p, e, m): a lift and the ends of its interval, jointly over policies for each estimator and metric."""
    out = np.stack([lift, np.full_like(lift, np.nan), np.full_like(lift, np.nan)])
    active = np.array([own["cap"].expected_contacts > 0 for own in estimates.overlap], dtype=np.bool_)
    families: list[IntArray] = [np.flatnonzero(active), *np.flatnonzero(~active)[:, None]]
    for e, estimator in enumerate(NAMES):
        if estimator.startswith("dm"):
            continue
        for m in range(len(METRICS)):
            for family in families:
                out[1, family, e, m], out[2, family, e, m] = interval(lift[family, e, m], replicates[:, family, e, m])
    return out


def _row(
    estimates: Estimates, p: int, e: int, m: int, lift: FloatArray, relative: FloatArray, refusal: str | None
) -> dict[str, Any]:
    estimator, metric = NAMES[e], METRICS[m]
    own = estimates.overlap[p][estimator.split("_")[1]]
    interests = float(estimates.value[p, e, METRICS.index(PRIMARY)])
    value = float(estimates.value[p, e, m])
    low, high = float("nan"), float("nan")
    if not estimator.startswith("dm"):
        ends = interval(estimates.value[p, e, [m]], estimates.replicates[:, p, e, [m]])
        # No metric but profit can be negative, so no interval needs to reach below 0.
        low, high = max(float(ends[0][0]), min(0.0, value) if metric != PROFIT else -np.inf), float(ends[1][0])
    verdict, reason = None, _why_undefined(estimator, metric, value, own.expected_contacts)
    if estimator == HEADLINE and metric != VOLUME and reason is None:
        verdict, reason = judge(own, *_nearest_to_zero(lift, relative))
        if refusal is not None and own.expected_contacts > 0:
            verdict, reason = UNANSWERABLE, refusal
        elif metric == INTERESTED and not 0 <= value <= min(1.0, interests) + 1e-12:
            verdict, reason = UNANSWERABLE, _IMPOSSIBLE
    return {
        "estimator": estimator,
        "metric": metric,
        "value": value,
        "ci_low": low,
        "ci_high": high,
        "lift": lift[0],
        "lift_low": lift[1],
        "lift_high": lift[2],
        "lift_percent": relative[0],
        "lift_percent_low": relative[1],
        "lift_percent_high": relative[2],
        "ess": own.ess,
        "max_weight_share": own.max_weight_share,
        "verdict": verdict,
        "reason": reason,
    }


def _nearest_to_zero(lift: FloatArray, relative: FloatArray) -> tuple[float, float]:
    """The ends to judge by: a lift must differ from 0 both in itself and relative to the current strategy."""
    if not np.isfinite(relative[1:]).all():
        return lift[1], lift[2]
    return min(lift[1], relative[1]), max(lift[2], relative[2])


def _why_undefined(estimator: str, metric: str, value: float, expected_contacts: float) -> str | None:
    if np.isfinite(value):
        return _NO_INTERVAL if estimator.startswith("dm") else None
    if expected_contacts == 0:
        return _NO_CONTACT
    return _NOT_DEFINED if metric == INTERESTED else _NO_OVERLAP

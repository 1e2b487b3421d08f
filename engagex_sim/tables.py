"""Estimates as the tables that a run writes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from engagex_sim.columns import FloatArray, IntArray
from engagex_sim.estimate import METRICS, NAMES, Estimates
from engagex_sim.ope.intervals import influence_interval, interval, refit_interval
from engagex_sim.ope.terms import ESTIMATORS
from engagex_sim.ope.verdict import UNANSWERABLE, judge
from engagex_sim.result import CURRENT, HEADLINE, ON_POLICY, PRIMARY, ROLL_OUT, SUMMARY_COLUMNS
from engagex_sim.worlds import Truth

VOLUME = "contacts_per_user"  # a volume is neither better nor worse
PROFIT = "profit_per_user"
INTERESTED = "interested_users"
MIN_INTERESTS = 10  # a curve's band begins on the first day by which the log holds this many

_NO_INTERVAL = "a reward model's own error has no interval"
_NOT_DEFINED = "this estimator cannot tell how many users have at least one interest"
_SHRUNK = "this estimator's weights are shrunk for interests, and say nothing of contacts"
_IMPOSSIBLE = "too few users with several interests: the estimated share lies outside what is possible"
_NO_BOUND = "the policy may contact where the log never does, so nothing bounds the weights"
_NO_CONTACT = "the policy makes no contact"
_READS_RESULTS = "the policy reads the results of its own contacts, so how often it contacts cannot be computed"
_STOPS = "contacts stop after an interest, and this estimator cannot tell how many users have one"
_MODEL_BASED = "model-based: simulated histories whose results the reward model makes up, so it has no interval"
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
    low, high = interval(estimates.current, estimates.current_replicates, estimates.current_jackknife, jointly=False)
    for m, metric in enumerate(METRICS):
        rows.append(
            {"policy": CURRENT, "estimator": ON_POLICY, "metric": metric, "value": estimates.current[m]}
            | {"ci_low": low[m] if metric == PROFIT else max(low[m], 0.0), "ci_high": high[m]}
            | {"lift": 0.0, "lift_low": 0.0, "lift_high": 0.0}
            | {"lift_percent": 0.0, "lift_percent_low": 0.0, "lift_percent_high": 0.0, "n_users": n_users}
        )
    ends = _own_intervals(estimates)
    lifts = _joint_intervals(estimates, *(own - now for own, now in _beside_current(estimates)))
    relative = 100 * _joint_intervals(estimates, *(_relative(own, now) for own, now in _beside_current(estimates)))
    relative[1] = np.maximum(relative[1], np.fmin(-100.0, relative[0]))  # nothing falls by more than all of it
    for p, name in enumerate(names):
        for e in range(len(NAMES)):
            rows += [
                _row(estimates, p, e, m, ends[:, p, e, m], lifts[:, p, e, m], relative[:, p, e, m], refusal)
                | {"policy": name, "n_users": n_users}
                for m in range(len(METRICS))
            ]
        if np.isfinite(estimates.rollout[p, METRICS.index(PRIMARY)]):
            rows += [row | {"policy": name, "n_users": n_users} for row in _rolled_out(estimates, p)]
    table = pd.DataFrame(rows).reindex(columns=list(SUMMARY_COLUMNS))
    if truths is not None:
        table["truth"] = [
            truths[policy].metrics[metric] for policy, metric in zip(table["policy"], table["metric"], strict=True)
        ]
    return table


def interval_table(names: Sequence[str], estimates: Estimates, refitted: FloatArray | None = None) -> pd.DataFrame:
    """What other ways to an interval say: per policy some methods, for interests per user and its lift.

    Each interval holds with 95 % for the one number, not jointly. `bootstrap` is the one that the summary uses, of the
    headline estimator; `influence` the normal one, of the same. `bernstein` holds for a log of any size, for `ips_cap`
    with its weights taken as known; NaN with a reason where nothing bounds them. `refit`, where `refitted` (r, p + 1)
    is given with two replicates or more, has its standard error from the policies' and the current strategy's headline
    values whose models were fitted anew, and Student's quantile, since those are few. Columns: policy, estimator,
    method, value_low, value_high, lift_low, lift_high, reason.
    """
    e, m = NAMES.index(HEADLINE), METRICS.index(PRIMARY)
    columns = [
        "policy",
        "estimator",
        "method",
        *(f"{what}_{end}" for what in ("value", "lift") for end in ("low", "high")),
    ]
    both = [  # the value and its lift, side by side
        np.stack([own[..., e, m], own[..., e, m] - now[..., m]], axis=-1)
        for own, now in (
            (estimates.value, estimates.current[None]),
            (estimates.replicates, estimates.current_replicates[:, None]),
            (estimates.jackknife, estimates.current_jackknife[:, None]),
        )
    ]
    rows: list[tuple[Any, ...]] = []
    for p, name in enumerate(names):
        value, replicates, jackknife = both[0][p], both[1][:, p], both[2][:, p]
        influence = np.column_stack(influence_interval(value, jackknife)).ravel()
        bernstein = estimates.bernstein[p]
        rows += [
            (name, HEADLINE, "bootstrap", *_each(value, replicates, jackknife), None),
            (name, HEADLINE, "influence", *influence, None),
            (name, "ips_cap", "bernstein", *bernstein, None if np.isfinite(bernstein).all() else _NO_BOUND),
        ]
        if refitted is not None and len(refitted) > 1:
            anew = np.column_stack([refitted[:, p], refitted[:, p] - refitted[:, -1]])
            rows.append((name, HEADLINE, "refit", *np.column_stack(refit_interval(value, anew)).ravel(), None))
    return pd.DataFrame(rows, columns=[*columns, "reason"])


def _each(value: FloatArray, replicates: FloatArray, jackknife: FloatArray) -> list[float]:
    """Low and high ends of one entry after the other (j,), each on its own."""
    return [float(end) for end in np.column_stack(interval(value, replicates, jackknife, jointly=False)).ravel()]


def curve_table(
    names: Sequence[str], estimates: Estimates, days: IntArray, n_users: int, truths: Mapping[str, Truth] | None
) -> pd.DataFrame:
    """Cumulative interests per 1,000 users up to the end of each of `days` (d,), with a band that holds jointly.

    The band begins on the first day by which the log holds enough interests to speak of. Interests never fall, so what
    bounds them later from above or earlier from below does so here too.
    """
    shown = estimates.curve[-1] * n_users >= MIN_INTERESTS
    tables = []
    for p, name in enumerate([*names, CURRENT]):
        low, high = np.full(len(days), np.nan), np.full(len(days), np.nan)
        low[shown], high[shown] = interval(
            estimates.curve[p, shown], estimates.curve_replicates[:, p, shown], estimates.curve_jackknife[:, p, shown]
        )
        low[shown] = np.minimum(np.maximum.accumulate(low[shown]), estimates.curve[p, shown])
        high[shown] = np.maximum(np.minimum.accumulate(high[shown][::-1])[::-1], estimates.curve[p, shown])
        table = pd.DataFrame(
            {"policy": name, "day": days, "cumulative_interests_per_1000": estimates.curve[p] * 1000}
            | {"ci_low": low * 1000, "ci_high": high * 1000}
        )
        if truths is not None:
            table["truth"] = truths[name].curve[np.minimum(days, len(truths[name].curve)) - 1]
        tables.append(table)
    return pd.concat([tables[-1], *tables[:-1]], ignore_index=True)


def _beside_current(estimates: Estimates) -> list[tuple[FloatArray, FloatArray]]:
    """Values beside the current strategy's: estimated, in each replicate, and with each group left out."""
    return [
        (estimates.value, estimates.current),
        (estimates.replicates, estimates.current_replicates[:, None, None, :]),
        (estimates.jackknife, estimates.current_jackknife[:, None, None, :]),
    ]


def _relative(value: FloatArray, now: FloatArray) -> FloatArray:
    """value / now − 1 (…, m); NaN for profit, whose sign may change, and where `now` is 0."""
    ratio: FloatArray = np.divide(value, now, out=np.full(value.shape, np.nan), where=now != 0) - 1
    ratio[..., METRICS.index(PROFIT)] = np.nan
    return ratio


def _joint_intervals(
    estimates: Estimates, lift: FloatArray, replicates: FloatArray, jackknife: FloatArray
) -> FloatArray:
    """(3, p, e, m): a lift and the ends of its interval, jointly over policies for each estimator and metric."""
    out = np.stack([lift, np.full_like(lift, np.nan), np.full_like(lift, np.nan)])
    active = np.array([own["cap"].expected_contacts > 0 for own in estimates.overlap], dtype=np.bool_)
    families: list[IntArray] = [np.flatnonzero(active), *np.flatnonzero(~active)[:, None]]
    for e, estimator in enumerate(NAMES):
        if estimator.startswith("dm"):
            continue
        for m in range(len(METRICS)):
            for family in families:
                out[1, family, e, m], out[2, family, e, m] = interval(
                    lift[family, e, m], replicates[:, family, e, m], jackknife[:, family, e, m]
                )
    return out


def _own_intervals(estimates: Estimates) -> FloatArray:
    """(2, p, e, m): the ends of every value's interval on its own."""
    shape = estimates.value.shape
    flat = [own.reshape(-1, estimates.value.size) for own in (estimates.replicates, estimates.jackknife)]
    return np.reshape(interval(estimates.value.ravel(), *flat, jointly=False), (2, *shape))


def _row(
    estimates: Estimates,
    p: int,
    e: int,
    m: int,
    ends: FloatArray,
    lift: FloatArray,
    relative: FloatArray,
    refusal: str | None,
) -> dict[str, Any]:
    estimator, metric = NAMES[e], METRICS[m]
    own = estimates.overlap[p][estimator.rsplit("_", 1)[1]]
    interests = float(estimates.value[p, e, METRICS.index(PRIMARY)])
    value = float(estimates.value[p, e, m])
    low, high = float("nan"), float("nan")
    if not estimator.startswith("dm"):
        # No metric but profit can be negative, so no interval needs to reach below 0.
        low, high = max(float(ends[0]), min(0.0, value) if metric != PROFIT else -np.inf), float(ends[1])
    stops = estimates.stop_after_interest
    verdict, reason = None, _why_undefined(estimator, metric, value, own.expected_contacts, stops)
    if estimator == HEADLINE and metric != VOLUME and reason is None:
        verdict, reason = judge(own, *_nearest_to_zero(lift, relative))
        if refusal is not None and own.expected_contacts > 0:
            verdict, reason = UNANSWERABLE, refusal
        elif (metric == INTERESTED or (stops and metric == PRIMARY)) and not 0 <= value <= min(1.0, interests) + 1e-12:
            verdict, reason = UNANSWERABLE, _IMPOSSIBLE
    elif estimator == HEADLINE and metric != VOLUME and np.isnan(own.expected_contacts):
        verdict = UNANSWERABLE
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
        "shrinkage": estimates.shrinkage[p, e],
        "verdict": verdict,
        "reason": reason,
    }


def _rolled_out(estimates: Estimates, p: int) -> list[dict[str, Any]]:
    relative = 100 * _relative(estimates.rollout[p], estimates.current)
    return [
        {"estimator": ROLL_OUT, "metric": metric, "value": estimates.rollout[p, m], "reason": _MODEL_BASED}
        | {"lift": estimates.rollout[p, m] - estimates.current[m], "lift_percent": relative[m]}
        for m, metric in enumerate(METRICS)
    ]


def _nearest_to_zero(lift: FloatArray, relative: FloatArray) -> tuple[float, float]:
    """The ends to judge by: a lift must differ from 0 both in itself and relative to the current strategy."""
    if not np.isfinite(relative[1:]).all():
        return lift[1], lift[2]
    return min(lift[1], relative[1]), max(lift[2], relative[2])


def _why_undefined(
    estimator: str, metric: str, value: float, expected_contacts: float, stops: bool = False
) -> str | None:
    if np.isfinite(value):
        return _NO_INTERVAL if estimator.startswith("dm") else None
    if np.isnan(expected_contacts) and estimator.endswith("_cap"):
        return _READS_RESULTS
    if expected_contacts == 0:
        return _NO_CONTACT
    if metric == INTERESTED:
        return _NOT_DEFINED
    if stops and estimator.endswith("_cap"):
        return _STOPS
    shrunk = estimator != ROLL_OUT and ESTIMATORS[estimator.rsplit("_", 1)[0]].shrinkage is not None
    return _SHRUNK if shrunk and metric != PRIMARY else _NO_OVERLAP

"""Whether a feature counts visits that are still to come: one that was computed over the whole log, or from its end.

A strategy that reads it cannot be run, since nobody knows it at the decision, and the replay would not notice.
"""

import math

import numpy as np
from scipy.stats import norm, spearmanr

from engagex_sim.cap import DAY
from engagex_sim.columns import FloatArray
from engagex_sim.feature_names import COMPUTED, WINDOWS
from engagex_sim.hashing import seed_of, uniforms
from engagex_sim.leaks import LEVEL, flag_row
from engagex_sim.timeline import Timeline

NAME = "look_ahead"
MAX_CORRELATION = 0.99  # with a count of later visits, whose chance no honest feature can know that well
MAX_KNOWN = 0.9  # rank correlation with what is known at the decision, above which a count tells nothing new
MIN_USERS = 50
MAX_ROWS = 50_000  # decision points that are looked at, about: of more, whole users are sampled
_SAMPLE_SEED = seed_of("users searched for look-ahead")


def look_ahead_flag(timeline: Timeline) -> dict[str, object]:
    """One row of the table of flags, from every decision point of some users, burn-in included.

    Of every column of numbers, the largest rank correlation with the number of visits of the same user in the next 1,
    7, 14 and 28 days, after this one, and in the whole log; the p-value is that of a correlation of `MAX_CORRELATION`,
    with users as the unit (Fisher's z), times the number of correlations looked at.
    """
    t = timeline.users(np.asarray(uniforms(timeline.user_key, _SAMPLE_SEED)[0] < MAX_ROWS / max(len(timeline), 1)))
    found = _correlations(t) if t.n_users >= MIN_USERS else {}
    if not found:
        return flag_row(NAME, math.nan, 0, math.nan, False, "This was not tested: no feature could count later visits.")
    (feature, count), largest = max(found.items(), key=lambda item: item[1])
    z = (np.arctanh(min(largest, 1 - 1e-12)) - np.arctanh(MAX_CORRELATION)) * math.sqrt(t.n_users - 3)
    p_value = min(1.0, float(norm.sf(z)) * len(found))
    if p_value >= LEVEL:
        return flag_row(NAME, largest, 1, p_value, False, "No feature seems to count visits that are still to come.")
    return flag_row(
        NAME,
        largest,
        1,
        p_value,
        True,
        f"{feature} seems to know the future: its rank correlation with the number of visits {count} is {largest:.4f}."
        " Compute it from what was known before each visit, or leave the column out, and run again: nobody could run a"
        " strategy that reads it.",
    )


def _correlations(t: Timeline) -> dict[tuple[str, str], float]:
    """By column of the log and count, where both vary and neither the time nor the visits so far tell the count."""
    so_far = np.arange(len(t)) - t.user_start[:-1][t.user_of_row]
    known = [t.time.astype(np.float64), so_far.astype(np.float64)]
    counts = {
        name: count
        for name, count in _later_visits(t).items()
        if max(abs(_rank_correlation(count, past)) for past in known) < MAX_KNOWN
    }
    found: dict[tuple[str, str], float] = {}
    for name, column in t.columns.items():
        if name not in COMPUTED and not column.is_text:
            values = np.asarray(column.values, dtype=np.float64)
            found |= {(name, what): _rank_correlation(values, count) for what, count in counts.items()}
    return {names: correlation for names, correlation in found.items() if not math.isnan(correlation)}


def _later_visits(t: Timeline) -> dict[str, FloatArray]:
    """(n,) visits of the same user after each decision point, by words for when."""
    user = t.user_of_row
    span = int(t.time.max() - t.time.min()) + max(WINDOWS) * DAY + 1
    moment = user * span + t.time - t.time.min()  # sorted, so that one search does for all users
    row = np.arange(len(t))
    visits = np.diff(t.user_start)
    counts = {
        f"in the {days} days after it": np.searchsorted(moment, moment + days * DAY, side="right") - row - 1
        for days in WINDOWS
    }
    counts |= {"after it": t.user_start[1:][user] - row - 1, "in the whole log": visits[user]}
    return {name: count.astype(np.float64) for name, count in counts.items()}


def _rank_correlation(first: FloatArray, second: FloatArray) -> float:
    """Spearman's, over rows where both are known; NaN where one does not vary."""
    known = np.isfinite(first) & np.isfinite(second)
    first, second = first[known], second[known]
    if len(first) < MIN_USERS or np.ptp(first) == 0 or np.ptp(second) == 0:
        return math.nan
    return float(spearmanr(first, second).statistic)

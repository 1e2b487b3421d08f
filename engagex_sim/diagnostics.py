"""Flags on what an answer assumes: one joint chi-square test each, with users as the independent unit.

Scores are summed per user first; under the assumption their sums have mean 0, so S' V⁻¹ S is chi-square with S the
total over users and V the sum of their outer products (a Wald statistic, robust to whatever happens within a user).
Estimated models enter scores only after these were made orthogonal to what the models may have missed (Neyman 1959;
Robinson 1988; Chernozhukov et al. 2018), so that small errors of a model do not raise a flag.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import NamedTuple, Self

import numba
import numpy as np
import pandas as pd
from scipy.stats import chi2

from engagex_sim.cap import DAY
from engagex_sim.columns import BoolArray, Column, FloatArray, IntArray, KeyArray, sums_by
from engagex_sim.hashing import seed_of, uniforms
from engagex_sim.models.calibrate import log_odds, sigmoid
from engagex_sim.timeline import Timeline

LEVEL = 0.01
HORIZONS = (1, 3, 7)  # days over which later triggers are counted
CELLS = 8  # groups of days, and groups of activity
PARTS = 4  # equal parts of the period between which interest may drift
MAX_ROWS = 40_000  # decision points that the reaction test looks at, about: of more, whole users are sampled
ACTIVITY = ("triggers_1d", "triggers_7d", "triggers_28d", "triggers_so_far", "days_since_trigger")
_SAMPLE_SEED = seed_of("users of the flags")


class JointTest(NamedTuple):
    """A joint test: chi-square `statistic` with `df` degrees of freedom."""

    statistic: float
    df: int
    p_value: float


def joint_test(scores: FloatArray) -> JointTest:
    """Whether sums over users of `scores` (n_users, d) have mean 0; NaN without any variation."""
    total = scores.sum(axis=0)
    scale = np.sqrt((scores**2).sum(axis=0))
    used = scale > 0
    if not used.any():
        return JointTest(float("nan"), 0, float("nan"))
    unit = scores[:, used] / scale[used]
    variances, directions = np.linalg.eigh(unit.T @ unit)
    kept = variances > 1e-8 * variances.max()  # scores that add up to a constant leave a direction without variance
    z = (total[used] / scale[used]) @ directions[:, kept] / np.sqrt(variances[kept])
    statistic, df = float(z @ z), int(kept.sum())
    return JointTest(statistic, df, float(chi2.sf(statistic, df)))


def left_over(outcome: FloatArray, basis: FloatArray, weight: FloatArray) -> FloatArray:
    """`outcome` (n, d) less its weighted least-squares fit on `basis` (n, f), with weights (n,)."""
    weighted = basis * weight[:, None]
    gram = weighted.T @ basis
    ridge = 1e-9 * np.trace(gram) / max(len(gram), 1)
    fit = np.linalg.solve(gram + ridge * np.eye(len(gram)), weighted.T @ outcome)
    return np.asarray(outcome - basis @ fit, dtype=np.float64)


# Does the timeline react to contacts?


@dataclass(frozen=True)
class ReactionRows:
    """Decision points where the user was free, of a sample of users that does not depend on what was done."""

    user_key: KeyArray  # (n,)
    surprise: FloatArray  # (n,) a − h: contact or not, less its probability given the past
    hazard: FloatArray  # (n,) h
    later: FloatArray  # (n, horizons) log(1 + triggers in (t, t + horizon])
    known: FloatArray  # (n, f) activity at t, in logs
    levels: IntArray  # (n, g) the class of each feature at t

    @classmethod
    def join(cls, blocks: Sequence[Self]) -> Self:
        return cls(*(np.concatenate([getattr(block, field.name) for block in blocks]) for field in fields(cls)))


def reaction_sample(t: Timeline, free: BoolArray, log_end: int) -> BoolArray:
    """Users (n_users,) of a whole log whose rows number about `MAX_ROWS`, chosen whatever was done to them."""
    rows = int((free & (t.time + HORIZONS[-1] * DAY < log_end)).sum())
    return np.asarray(uniforms(t.user_key, _SAMPLE_SEED)[0] * max(rows, 1) < MAX_ROWS, dtype=np.bool_)


def reaction_rows(
    t: Timeline, hazard: FloatArray, free: BoolArray, levels: Sequence[IntArray], log_end: int
) -> ReactionRows:
    """A block's contribution; later triggers are later decision points, that is rows of the timeline.

    `hazard` (n,): cross-fitted probability of any contact, given free and the logged history. `free` (n,): where a
    contact was possible. `levels` class each row by its features, (n,) each. Rows in the last days of the log are left
    out, for what comes after them is not seen.
    """
    rows = np.flatnonzero(free & (t.time + HORIZONS[-1] * DAY < log_end))
    later = [np.log1p(_later(t.user_start, t.time, days * DAY)[rows]) for days in HORIZONS]
    known = [np.log1p(np.minimum(t.columns[name].values[rows], 1e6)) for name in ACTIVITY if name in t.columns]
    h = np.clip(hazard[rows], 1e-6, 1.0 - 1e-6)
    return ReactionRows(
        user_key=t.user_key[t.user_of_row[rows]],
        surprise=(t.action[rows] > 0) - h,
        hazard=h,
        later=np.column_stack(later),
        known=np.column_stack([np.zeros((len(rows), 0)), *known]),
        levels=np.column_stack([np.zeros((len(rows), 0), dtype=np.int64), *(level[rows] for level in levels)]),
    )


def reaction_test(rows: ReactionRows) -> JointTest:
    """Do contacts predict later triggers, beyond what was known before them?

    Scores Σ_t (a_t − h_t)(Y_t − Ŷ_t), one per horizon (partialling out: Robinson 1988). Ŷ is fitted with weights
    h (1 − h), which makes the score insensitive to errors of h that are linear in the same functions of the past.
    """
    user = np.unique(rows.user_key, return_inverse=True)[1]
    size = int(user.max(initial=-1)) + 1
    classes = [level[:, None] == np.unique(level)[1:] for level in rows.levels.T]
    h = rows.hazard[:, None]
    basis = np.column_stack([np.ones_like(h), h, np.log(h), rows.known, rows.known**2, *classes])
    rest = left_over(rows.later, basis, rows.hazard * (1.0 - rows.hazard))
    return joint_test(np.column_stack([sums_by(user, rows.surprise * column, size) for column in rest.T]))


@numba.njit(cache=True, nogil=True)
def _later(user_start: IntArray, time: IntArray, window: int) -> IntArray:
    """Rows of the same user in (t, t + window] after each row, shape (n,)."""
    out = np.zeros(len(time), dtype=np.int64)
    for user in range(len(user_start) - 1):
        head = user_start[user]
        for row in range(user_start[user], user_start[user + 1]):
            while head < user_start[user + 1] and time[head] <= time[row] + window:
                head += 1
            out[row] = head - row - 1
    return out


# Does interest drift over the period?


def with_day_fixed(contacts: Timeline, day: float) -> Timeline:
    """The same rows with the feature `day` set to `day`, so that a model's own trend over days is taken out."""
    fixed = Column(np.full(len(contacts), day))
    return replace(contacts, columns={**contacts.columns, "day": fixed})


def drift_test(
    user_key: KeyArray, time: IntArray, reward: FloatArray, predicted: FloatArray, adjust: FloatArray | None = None
) -> JointTest:
    """Does interest differ between equal parts of the period by more than the reward model explains without the day?

    Over logged contacts (c,); `predicted` are cross-fitted and know no day. They are refitted first, by a logistic
    regression on their log-odds and on `adjust` (c, f): to errors in the directions of these, the scores are then
    orthogonal.
    """
    margin = log_odds(predicted)[:, None]
    basis = np.column_stack([np.ones(len(reward)), margin, *([] if adjust is None else [adjust])])
    chance = _logistic(basis, reward)
    edges = np.linspace(time.min(), time.max() + 1, PARTS + 1)[1:-1]
    part = np.searchsorted(edges, time, side="right")[:, None] == np.arange(PARTS)
    scores = (reward - chance)[:, None] * left_over(part.astype(np.float64), basis, chance * (1.0 - chance))
    user = np.unique(user_key, return_inverse=True)[1]
    size = int(user.max(initial=-1)) + 1
    return joint_test(np.column_stack([sums_by(user, column, size) for column in scores.T]))


def _logistic(basis: FloatArray, outcome: FloatArray) -> FloatArray:
    """Probabilities (n,) of a logistic regression on `basis` (n, f), all but free of shrinkage, by Newton's method."""
    scale = np.maximum(np.abs(basis).max(axis=0), 1e-12)
    x = basis / scale
    coefficients = np.zeros(x.shape[1])
    for _ in range(50):
        p = sigmoid(x @ coefficients)
        hessian = (x * (p * (1.0 - p))[:, None]).T @ x + 1e-6 * np.eye(x.shape[1])
        step = np.linalg.solve(hessian, x.T @ (outcome - p) - 1e-6 * coefficients)
        coefficients += step / max(1.0, np.abs(step).max() / 5.0)
        if np.abs(step).max() < 1e-8:
            break
    return sigmoid(x @ coefficients)


# Does the model of the logging policy add up?


def calibration_cells(
    action: IntArray, occupied: FloatArray, user: IntArray, group: IntArray, groups: int, n_users: int
) -> tuple[FloatArray, FloatArray]:
    """Contacts made and expected, shape (n_users, at most `CELLS`) each, by neighbouring values of `group` (n,).

    `occupied` (n,) is Σ_k q^b before any recalibration, `group` lies in 0..groups − 1: a day or a class of activity.
    """
    cells = min(CELLS, groups)
    position = user * cells + group * cells // groups
    size = n_users * cells
    return (
        sums_by(position, (action > 0).astype(np.float64), size).reshape(n_users, cells),
        sums_by(position, occupied, size).reshape(n_users, cells),
    )


def calibration_table(by: str, made: FloatArray, expected: FloatArray) -> pd.DataFrame:
    """Columns `by, cell, contacts, expected, ratio`, from contacts and expectations (n_users, cells)."""
    contacts, total = made.sum(axis=0), expected.sum(axis=0)
    ratio = np.divide(contacts, total, out=np.full(len(total), np.nan), where=total > 0)
    return pd.DataFrame(
        {"by": by, "cell": np.arange(len(total)), "contacts": contacts, "expected": total, "ratio": ratio}
    )


# In words


_SENTENCES: Mapping[str, tuple[str, str]] = {
    "reaction": (
        "Users come back more or less often after a contact, so other contacts would have changed the triggers; the"
        " answers replay the timeline as if it did not react.",
        "Contacts do not predict later triggers.",
    ),
    "drift": (
        "Interest changes over the period by more than the features explain; the answers hold for this period, not for"
        " the next.",
        "Interest does not drift over the period.",
    ),
    "calibration": (
        "The model of how the current strategy contacts is off on some days or for some classes of activity before it"
        " is recalibrated; the answers lean on that recalibration.",
        "The model of how the current strategy contacts adds up by day and by activity.",
    ),
}


def flag(name: str, test: JointTest | None, why_not: str = "there is nothing to test") -> dict[str, object]:
    """One row of the table of flags: `flag, statistic, df, p_value, flagged, sentence`.

    `name` is "reaction", "drift" or "calibration"; without a test, `why_not` completes "This was not tested: …".
    """
    if test is None or test.df == 0:
        nothing = float("nan")
        sentence = f"This was not tested: {why_not}."
        return {"flag": name, "statistic": nothing, "df": 0, "p_value": nothing, "flagged": False, "sentence": sentence}
    flagged = test.p_value < LEVEL
    return {"flag": name, **test._asdict(), "flagged": flagged, "sentence": _SENTENCES[name][0 if flagged else 1]}

"""What a log says against the assumptions of an evaluation: the tests of `diagnostics` on cross-fitted models."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from engagex_sim.block import Recursion
from engagex_sim.cap import DAY
from engagex_sim.columns import BoolArray, FloatArray
from engagex_sim.crossfit import Fitted
from engagex_sim.dependence import Carried
from engagex_sim.diagnostics import (
    JointTest,
    ReactionRows,
    calibration_cells,
    calibration_table,
    drift_test,
    flag,
    joint_test,
    reaction_rows,
    reaction_sample,
    reaction_test,
    with_day_fixed,
)
from engagex_sim.leaks import leak_flag
from engagex_sim.look_ahead import look_ahead_flag
from engagex_sim.margins import MAX_LEVELS, Margins
from engagex_sim.ope.weights import Overlap
from engagex_sim.preparation import Prepared
from engagex_sim.splitting import Splitting
from engagex_sim.timeline import Timeline

ACTIVITY = "triggers_7d"
COUNTS, GAPS = 3, 8  # classes of the count of earlier contacts and of the time since the last, for the test of drift


class Flags(NamedTuple):
    """The flags and what stands behind one of them."""

    table: pd.DataFrame  # flag, statistic, df, p_value, flagged, sentence: one row each
    calibration: pd.DataFrame  # by, cell, contacts, expected, ratio: before any recalibration, on the sampled users


def flags(prepared: Prepared, fitted: Sequence[Fitted], splitting: Splitting, carry: Carried) -> Flags:
    """One joint test per assumption, from the models of each split on the users that it judges.

    All look at the evaluation period; all but drift, which needs every contact, at a sample of users.
    """
    drift = _drift(prepared, fitted, splitting, carry)
    if not prepared.evaluation.contact_is_a_choice:
        why = "contacting was no choice in this log, only the kind was"
        rows = [flag("reaction", None, why), flag("drift", drift), flag("calibration", None, why)]
        return Flags(pd.DataFrame(rows), pd.DataFrame(columns=["by", "cell", "contacts", "expected", "ratio"]))
    whole = prepared.whole
    sample = reaction_sample(whole, _free(whole, prepared), prepared.evaluation.log_end)
    blocks = [
        (whole.users(judged & sample), models)
        for judged, models in zip(splitting.judged(whole.user_key), fitted, strict=True)
        if (judged & sample).any()
    ]
    calibration, table = _calibration(prepared, blocks, carry)
    reaction, why = None, "the triggers are the contacts, so the log shows no other visits"
    if ACTIVITY in prepared.evaluation.columns:
        reaction, why = (
            _reaction(prepared, blocks, carry),
            "the evaluation period is too short to see what follows a contact",
        )
    rows = [flag("reaction", reaction, why), flag("drift", drift), flag("calibration", calibration)]
    return Flags(pd.DataFrame(rows), table)


def column_flags(prepared: Prepared) -> list[dict[str, object]]:
    """What is odd about the log's own columns, which takes no model: rows of the table of flags."""
    every_decision = prepared.timeline.users(prepared.sampled)
    return [leak_flag(prepared.timeline.contacts()), look_ahead_flag(every_decision)]


def overlap_table(names: Sequence[str], overlaps: Sequence[Overlap]) -> pd.DataFrame:
    """One row per policy: `policy`, and the fields of its cap-marginal `Overlap`."""
    return pd.DataFrame([{"policy": n, **o._asdict()} for n, o in zip(names, overlaps, strict=True)])


def _free(t: Timeline, prepared: Prepared) -> BoolArray:
    return t.free if prepared.cap_modelled else np.ones(len(t), dtype=np.bool_)


def _reaction(prepared: Prepared, blocks: Sequence[tuple[Timeline, Fitted]], carry: Carried) -> JointTest | None:
    margins = Margins.of(prepared.evaluation.contacts())
    found = []
    for t, models in blocks:
        by_state = models.logging.when_free(t.free_context()).sum(axis=2)
        hazard = by_state[np.arange(len(t)), carry.logging.of(t.time, t.logged)]
        levels = [prepared.days.of(t.time), *margins.levels(t.columns).values()]
        found.append(reaction_rows(t, hazard, _free(t, prepared), levels, prepared.evaluation.log_end))
    rows = ReactionRows.join(found)
    return reaction_test(rows) if len(rows.surprise) else None


def _drift(prepared: Prepared, fitted: Sequence[Fitted], splitting: Splitting, carry: Carried) -> JointTest:
    """Over the contacts of the evaluation period, for before it the log does not know whom it had contacted earlier.

    How many contacts a user had, and how long ago, is adjusted for: both grow into a trend over the log. Where interest
    depends on how long ago the last contact was, so is the smooth trend of users never seen contacted: theirs was
    before the log, longer ago every day.
    """
    parts = []
    contacted = prepared.evaluation.contacts()
    for judged, models in zip(splitting.judged(contacted.user_key), fitted, strict=True):
        c = contacted.users(judged)
        middle = (prepared.evaluation.log_end - c.log_start) // (2 * DAY)
        by_kind = models.interest(with_day_fixed(c, float(middle)).free_context())
        gap = (c.time - c.logged.last_contact).astype(np.float64)
        predicted = by_kind[np.arange(len(c)), c.action - 1]
        parts.append((c.user_key[c.user_of_row], c.time, c.reward, predicted, c.logged.contacts, gap))
    key, time, reward, predicted, contacts, gap = (np.concatenate(column) for column in zip(*parts, strict=True))
    before = gap[contacts > 0]
    edges = np.unique(np.quantile(before, np.arange(1, GAPS) / GAPS)) if len(before) else np.zeros(0)
    recency = np.where(contacts > 0, np.searchsorted(edges, gap, side="right"), len(edges) + 1)
    classes = [group[:, None] == np.unique(group)[1:] for group in (np.minimum(contacts, COUNTS), recency)]
    adjust = np.column_stack(classes).astype(np.float64)
    if carry.weights.edges:
        unseen = np.where(contacts > 0, 0.0, (time - prepared.days.first) / DAY)
        adjust = np.column_stack([adjust, unseen, unseen**2])
    return drift_test(key, time, reward, predicted, adjust)


def _calibration(
    prepared: Prepared, blocks: Sequence[tuple[Timeline, Fitted]], carry: Carried
) -> tuple[JointTest, pd.DataFrame]:
    """Contacts made and expected before recalibration, by day and by activity."""
    margins = Margins.of(prepared.evaluation.contacts())
    by = [("day", prepared.days.count), *([(ACTIVITY, MAX_LEVELS)] if ACTIVITY in margins.names else [])]
    made: list[list[FloatArray]] = [[] for _ in by]
    expected: list[list[FloatArray]] = [[] for _ in by]
    for t, models in blocks:
        context, modelled = t.free_context(), prepared.cap_modelled
        recursion = Recursion(
            carry.logging, carry.weights, modelled, t.unexplained(modelled), models.interest_by_state(context)
        )
        occupied = recursion.run(t, models.logging.when_free(context)).sum(axis=(1, 2))
        action = np.where(t.breaks_cap, 0, t.action) if modelled else t.action
        groups = {"day": prepared.days.of(t.time)} | margins.levels(t.columns)
        for i, (name, count) in enumerate(by):
            cells = calibration_cells(action, occupied, t.user_of_row, groups[name], count, t.n_users)
            made[i].append(cells[0])
            expected[i].append(cells[1])
    totals = [(np.concatenate(m), np.concatenate(e)) for m, e in zip(made, expected, strict=True)]
    tables = [calibration_table(name, *cells) for (name, _), cells in zip(by, totals, strict=True)]
    scores = np.hstack([cells[0] - cells[1] for cells in totals])
    return joint_test(scores), pd.concat(tables, ignore_index=True)

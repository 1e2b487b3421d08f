"""The levels over which contact probabilities are recalibrated."""

import numpy as np
from blocks import decisions

from engagex_sim.cap import Cap
from engagex_sim.columns import Column
from engagex_sim.margins import MAX_LEVELS, Margins
from engagex_sim.timeline import Timeline


def contacts(**columns: Column) -> Timeline:
    n = len(next(iter(columns.values())))
    block = decisions([[float(i)] for i in range(n)], [[1]] * n, columns=columns)
    return Timeline.of(block, Cap(0)).contacts()


def test_numbers_are_cut_where_contacts_are_even_and_missing_ones_stand_with_the_largest() -> None:
    score = Column(np.append(np.arange(1200.0), np.nan))
    margins = Margins.of(contacts(score=score))
    level = margins.levels({**contacts(score=score).columns})["score"]
    assert np.bincount(level[:-1]).tolist() == [100] * MAX_LEVELS
    assert level[-1] == MAX_LEVELS - 1


def test_a_number_with_few_values_keeps_them_apart() -> None:
    flag = Column(np.repeat([0, 1], [900, 100]))
    margins = Margins.of(contacts(flag=flag))
    assert margins.levels(contacts(flag=flag).columns)["flag"].tolist() == flag.values.tolist()


def test_rare_and_unknown_text_shares_level_zero() -> None:
    labels = np.array([f"l{i:02}" for i in range(15)], dtype=object)
    codes = np.repeat(np.arange(15), np.arange(30, 15, -1)).astype(np.int32)
    margins = Margins.of(contacts(type=Column(codes, labels)))
    elsewhere = Column(np.array([0, 1, 2, -1], dtype=np.int32), np.array(["l00", "l14", "new"], dtype=object))
    rows = contacts(type=elsewhere)
    assert (margins.levels(rows.columns)["type"] > 0).tolist() == [True, False, False, False]


def test_constant_features_and_the_day_are_no_margins_of_their_own() -> None:
    margins = Margins.of(contacts(same=Column(np.ones(50))))
    assert "same" not in margins.names
    assert "day" not in margins.names
    assert "weekday" in margins.names

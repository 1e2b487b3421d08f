"""Written rows: what may be used of them, how real they look, and that only training sees them."""

import json
from copy import deepcopy

import numpy as np
import pandas as pd
import pytest

from engagex_sim.augment import Augmenter, Batch, Columns, TreeSynthesis, augmented
from engagex_sim.augment.account import Account, report, total
from engagex_sim.augment.realism import two_sample_auc
from engagex_sim.augment.rows import shown
from engagex_sim.augment.validation import checked

COLUMNS = Columns(("hour", "share", "site"), (None, None, ("a", "b")))


def log_rows(n, seed, positives=60):
    """Hours that go with the site, a share with gaps, sites with some that are neither a nor b and some missing."""
    rng = np.random.default_rng(seed)
    site = rng.choice([0.0, 1.0, 2.0, np.nan], n, p=[0.5, 0.3, 0.1, 0.1])
    hour = np.where(site == 0, rng.integers(0, 12, n), rng.integers(12, 24, n))
    share = np.where(rng.random(n) < 0.2, np.nan, rng.random(n))
    label = (rng.permutation(n) < positives).astype(np.int64)
    return np.column_stack([hour, share, site]).astype(np.float32), label


class Scripted:
    """Gives the batches that it is told to, whoever asks, and remembers what it was shown."""

    def __init__(self, *batches):
        self.described = {"generator": "scripted"}
        self.script = batches
        self.shown = []

    def batches(self, examples, missing, seed):
        self.shown.append((examples, missing(), seed))
        yield from self.script


def batch(rows, asked=None, **other):
    frame = pd.DataFrame(rows, columns=["hour", "share", "site"], dtype=object)
    return Batch(frame, len(frame) if asked is None else asked, **other)


# --- rows with names


def test_an_encoded_matrix_comes_back_from_its_named_rows():
    matrix, _ = log_rows(200, 0)
    named = COLUMNS.named(matrix)
    np.testing.assert_array_equal(COLUMNS.encoded(named), matrix)
    assert set(named["site"].dropna()) == {"a", "b", "other"}
    assert COLUMNS.named(matrix[:0]).shape == (0, 3)


def test_the_word_for_other_text_is_none_of_the_categories():
    columns = Columns(("site",), (("other", "a"),))
    codes = np.array([[0], [1], [2], [np.nan]], dtype=np.float32)
    named = columns.named(codes)["site"]
    assert named.nunique() == 3
    np.testing.assert_array_equal(columns.encoded(columns.named(codes)), codes)


def test_features_tell_what_the_rows_hold():
    matrix = np.array([[3, 0.5, 1], [7, np.nan, 1]], dtype=np.float32)
    hour, share, site = COLUMNS.features(COLUMNS.named(matrix))
    assert (hour.low, hour.high, hour.whole, hour.may_be_missing) == (3.0, 7.0, True, False)
    assert (share.low, share.high, share.whole, share.may_be_missing) == (0.5, 0.5, False, True)
    assert (site.categories, site.may_be_missing) == (("b",), False)


# --- what may be used


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ((5, 0.5, "a"), None),
        ((5.0, None, "b"), None),
        (("5", 0.5, "a"), "wrong type"),
        ((True, 0.5, "a"), "wrong type"),
        (([5], 0.5, "a"), "wrong type"),
        ((5, 0.5, 1), "wrong type"),
        ((5, 0.5, ["a"]), "wrong type"),
        ((None, 0.5, "a"), "a value is missing"),
        ((5.5, 0.5, "a"), "not a whole number"),
        ((24, 0.5, "a"), "outside the range of the log"),
        ((-1, 0.5, "a"), "outside the range of the log"),
        ((5, 1.5, "a"), "outside the range of the log"),
        ((5, float("inf"), "a"), "outside the range of the log"),
        ((10**400, 0.5, "a"), "outside the range of the log"),
        ((5, 0.5, "c"), "a category that the log does not know"),
        ((5, 0.5, "\ud800"), "a category that the log does not know"),
        ((5, 0.5, "=cmd()"), "a category that the log does not know"),
    ],
)
def test_a_row_that_could_not_be_in_the_log_is_rejected_by_its_first_fault(row, reason):
    matrix = np.array([[0, 0.25, 0], [23, np.nan, 1], [4, 1.0, 0]], dtype=np.float32)
    features = COLUMNS.features(COLUMNS.named(matrix))
    good, rejected = checked(batch([row]).rows, features)
    assert rejected == ({} if reason is None else {reason: 1})
    assert len(good) == (reason is None)


def test_counts_that_contradict_themselves_are_rejected():
    names = ("triggers_1d", "triggers_7d")
    columns = Columns(names, (None, None))
    named = columns.named(np.array([[0, 0], [9, 9]], dtype=np.float32))
    rows = pd.DataFrame([[1, 2], [3, 2], [2, 2]], columns=list(names))
    good, rejected = checked(rows, columns.features(named))
    assert good["triggers_1d"].tolist() == [1, 2]
    assert rejected == {"more triggers in a short time than in a longer one": 1}


def test_a_column_of_text_may_have_the_name_of_a_count():
    columns = Columns(("triggers_1d", "triggers_7d"), (("few", "many"), None))
    matrix = np.column_stack([np.arange(80) % 2, np.arange(80) / 7]).astype(np.float32)
    label = (np.arange(80) < 30).astype(np.int64)
    _, labels, account = augmented(matrix, label, columns=columns, ratio=1.0, seed=0, generator=TreeSynthesis())
    assert np.bincount(labels).tolist() == [50, 50]
    assert account.used == 20


def test_numbers_shown_with_six_digits_are_in_the_range_they_came_from():
    columns = Columns(("x",), (None,))
    features = columns.features(columns.named(np.array([[1 / 3], [20 / 3]], dtype=np.float32)))
    good, rejected = checked(pd.DataFrame({"x": [0.333333, 6.66667]}), features)
    assert (len(good), rejected) == (2, {})


def test_rows_as_shown_have_the_six_digits_that_text_would_give_them():
    rng = np.random.default_rng(0)
    spread = rng.choice([-1, 1], 3_000) * 10.0 ** rng.uniform(-15, 25, 3_000)
    edges = [0.0, -0.0, 1000.0, 999.9999, 9.999999e-5, 0.001953125, 100000.5, 999999, 1234567, 1e-45, 3.4e38]
    matrix = np.concatenate([spread, edges]).astype(np.float32)[:, None]
    text = np.array([f"{value:.6g}" for value in matrix[:, 0].astype(np.float64)], dtype=np.float32)
    np.testing.assert_array_equal(shown(matrix)[:, 0], text)
    np.testing.assert_array_equal(shown(text[:, None])[:, 0], text)  # what comes back looks the same
    np.testing.assert_array_equal(shown(np.float32([[np.nan, np.inf]])), np.float32([[np.nan, np.inf]]))


# --- balancing


def test_classes_are_balanced_with_written_rows_and_then_by_repeating():
    matrix, label = log_rows(200, 1, positives=20)
    new = [(h, None, "a") for h in range(12)]
    generator = Scripted(batch(new))
    grown, labels, account = augmented(matrix, label, columns=COLUMNS, ratio=1.0, seed=0, generator=generator)
    assert np.bincount(labels).tolist() == [180, 180]
    np.testing.assert_array_equal(grown[:200], matrix)
    assert account.wanted == 160
    assert account.received == account.used + sum(account.rejected.values()) == 12
    assert account.repeated == 160 - account.used
    everybody = np.unique(grown[labels == 1], axis=0, return_counts=True)[1]
    assert everybody.max() - everybody.min() <= 1 + 20  # evenly, save for real rows that occur more than once
    _, labels, _ = augmented(matrix, label, columns=COLUMNS, ratio=0.5, seed=0, generator=Scripted(batch(new)))
    assert np.bincount(labels).tolist() == [180, 90]


@pytest.mark.parametrize(("positives", "ratio"), [(0, 1.0), (100, 1.0), (30, 0.17)])
def test_nothing_is_written_where_nothing_is_needed(positives, ratio):
    matrix, label = log_rows(200, 2, positives)
    generator = Scripted()
    grown, _, account = augmented(matrix, label, columns=COLUMNS, ratio=ratio, seed=0, generator=generator)
    assert (grown is matrix, account, generator.shown) == (True, None, [])


def test_the_generator_sees_the_rarer_class_of_the_given_rows_and_nothing_else():
    matrix, label = log_rows(150, 3, positives=110)  # the rarer class are those without interest
    generator = Scripted()
    augmented(matrix, label, columns=COLUMNS, ratio=1.0, seed=7, generator=generator)
    ((examples, missing, seed),) = generator.shown
    pd.testing.assert_frame_equal(examples.rows, COLUMNS.named(matrix[label == 0]))
    assert (examples.interested, missing, seed) == (False, 70, 7)


def test_copies_of_real_rows_repetitions_and_surplus_rows_are_dropped_and_counted():
    matrix = np.array([[h, 0.5, 0] for h in range(10)] + [[h, 0.7, 1] for h in range(4)], dtype=np.float32)
    label = np.repeat([0, 1], [10, 4])
    generator = Scripted(batch([(2, 0.7, "b"), (1.0, 0.7, "b"), (0, 0.7, "b")]))
    _, _, account = augmented(matrix, label, columns=COLUMNS, ratio=1.0, seed=0, generator=generator)
    assert account.rejected == {"a copy of a real row": 3}

    matrix[-1, 1] = np.nan  # rows may then have gaps
    written = [(0, None, "b"), (0, None, "b"), (1, None, "b"), (2, None, "b"), (2, None, "b")]
    generator = Scripted(batch(written[:2]), batch(written[2:], asked=2))
    grown, _, account = augmented(matrix, label, columns=COLUMNS, ratio=1.0, seed=0, generator=generator)
    assert account.rejected == {"a row that was written before": 1, "more than was asked for": 1}
    assert (account.received, account.used, account.repeated) == (5, 3, 3)
    assert np.isnan(grown[14:17, 1]).all()


def test_equal_rows_of_counts_and_text_are_no_repetition():
    """Real rows of a few whole numbers are often equal: to drop written ones would make the rare ones too frequent."""
    matrix = np.array([[h, 5, 0] for h in range(10)] + [[h, 7, 1] for h in range(4)], dtype=np.float32)
    generator = Scripted(batch([(0, 7, "b"), (3, 7, "b"), (3, 7, "b")]), batch([(3, 7, "b")]))
    matrix[-1, 0] = 4
    label = np.repeat([0, 1], [10, 4])
    _, _, account = augmented(matrix, label, columns=COLUMNS, ratio=1.0, seed=0, generator=generator)
    assert (account.used, account.rejected) == (3, {"a copy of a real row": 1})


# --- the local generator


def test_trees_write_values_that_could_occur_and_keep_what_goes_together():
    matrix, label = log_rows(3_000, 4, positives=600)
    size = np.random.default_rng(4).lognormal(0, 1, 3_000)
    matrix = np.column_stack([matrix, size]).astype(np.float32)
    columns = Columns((*COLUMNS.names, "size"), (*COLUMNS.categories, None))
    grown, _, account = augmented(matrix, label, columns=columns, ratio=1.0, seed=0, generator=TreeSynthesis())
    assert (account.used, account.repeated, account.requests) == (1_800, 0, 0)
    new, real = grown[3_000:], matrix[label == 1]
    for i in (0, 2):
        assert set(np.nan_to_num(new[:, i], nan=-1)) == set(np.nan_to_num(real[:, i], nan=-1))
    for i in (1, 3):
        assert np.nanmin(real[:, i]) <= np.nanmin(new[:, i]) <= np.nanmax(new[:, i]) <= np.nanmax(real[:, i])
    assert (new[new[:, 2] == 0, 0] < 12).mean() > 0.99
    assert np.isnan(new[:, 1]).mean() == pytest.approx(np.isnan(real[:, 1]).mean(), abs=0.03)
    assert account.auc == pytest.approx(0.5, abs=0.08)


def test_trees_write_counts_that_contain_one_another():
    rng = np.random.default_rng(5)
    day = rng.poisson(1.0, 400) + 1
    week = day + rng.poisson(3.0, 400)
    matrix = np.column_stack([day, week, rng.integers(1, week + 1)]).astype(np.float32)
    columns = Columns(("triggers_1d", "triggers_7d", "distinct_triggers_7d"), (None, None, None))
    label = (np.arange(400) < 100).astype(np.int64)
    grown, _, account = augmented(matrix, label, columns=columns, ratio=1.0, seed=0, generator=TreeSynthesis())
    assert "more triggers in a short time than in a longer one" not in account.rejected
    assert (grown[:, 0] <= grown[:, 1]).all()
    assert (grown[:, 2] <= grown[:, 1]).all()


@pytest.mark.parametrize("examples", [1, 2, 7])
def test_trees_make_do_with_a_handful_of_examples_and_with_columns_that_are_all_missing(examples):
    matrix = np.full((60, 3), np.nan, dtype=np.float32)
    matrix[:, 0] = np.arange(60)
    label = (np.arange(60) < examples).astype(np.int64)
    grown, labels, account = augmented(matrix, label, columns=COLUMNS, ratio=1.0, seed=0, generator=TreeSynthesis())
    assert np.bincount(labels).tolist() == [60 - examples] * 2
    assert account.used == 0  # one column that varies: every row would be a copy
    assert set(grown[labels == 1, 0]) <= set(range(examples))


def test_the_same_seed_writes_the_same_rows():
    matrix, label = log_rows(300, 6)
    twice = [
        augmented(matrix, label, columns=COLUMNS, ratio=1.0, seed=s, generator=TreeSynthesis())[0] for s in (1, 1, 2)
    ]
    np.testing.assert_array_equal(twice[0], twice[1])
    assert not np.array_equal(twice[0], twice[2], equal_nan=True)


# --- how real they look


def test_the_classifier_tells_other_rows_and_not_rows_of_the_same_log():
    one, _ = log_rows(900, 7)
    same, _ = log_rows(700, 8)
    other = same.copy()
    other[:, 0] = 23 - other[:, 0]  # each column alone looks the same: only what goes together is broken
    assert two_sample_auc(one, same, COLUMNS.categorical, 0) == pytest.approx(0.5, abs=0.06)
    assert two_sample_auc(one, other, COLUMNS.categorical, 0) > 0.9
    assert np.isnan(two_sample_auc(one, same[:49], COLUMNS.categorical, 0))


def test_columns_that_say_nothing_do_not_disturb_the_classifier():
    one, _ = log_rows(300, 10)
    same, _ = log_rows(300, 11)
    for rows in (one, same):
        rows[:, 1], rows[:, 2] = np.nan, np.nan
    assert two_sample_auc(one, same, COLUMNS.categorical, 0) == pytest.approx(0.5, abs=0.1)
    one[:], same[:] = 1.0, 1.0
    assert two_sample_auc(one, same, COLUMNS.categorical, 0) == 0.5


# --- one training set, one asking


def test_a_training_set_is_written_for_once_and_copies_share_what_is_known():
    matrix, label = log_rows(120, 9, positives=30)
    generator = Scripted(batch([(5, None, "a")]))
    augmenter = Augmenter(COLUMNS, generator)
    first = deepcopy(augmenter)(matrix, label, ratio=1.0, seed=0)
    second = augmenter(matrix.copy(), label.copy(), ratio=1.0, seed=0)
    np.testing.assert_array_equal(first[0], second[0])
    assert len(generator.shown) == 1
    augmenter(matrix[:-1], label[:-1], ratio=1.0, seed=0)
    assert len(generator.shown) == 2
    assert [account.rows for account in augmenter.accounts] == [119, 120]


# --- the account


def test_an_account_comes_back_from_json_and_sums_add_up():
    one = Account(100, 10, 80, 3, 60, 50, {"wrong type": 12}, {"500 Internal Server Error": 1}, 38, 0.6)
    two = Account(90, 9, 72, 2, 40, 40, {"wrong type": 1, "a copy of a real row": 2}, {}, 37, float("nan"))
    assert Account.from_json(json.loads(json.dumps(one.to_json()))) == one
    again = Account.from_json(json.loads(json.dumps(two.to_json())))
    assert np.isnan(again.auc)
    assert again.to_json() == two.to_json()
    sums = total([one, two])
    assert sums["received"] == sums["used"] + sum(sums["rejected"].values()) == 90
    assert list(sums["rejected"].items()) == [("wrong type", 13), ("a copy of a real row", 2)]
    assert (sums["auc"], sums["repeated"]) == (0.6, 77)
    told = report({"generator": "language model", "model": "x"}, [[one], [two]])
    assert [entry["fold"] for entry in told["training_sets"]] == [0, 1]
    assert told["sentence"] == (
        "Synthetic rows for the 2 training sets of the reward model: asked for 100, the language model x wrote 90; 75"
        " were used and 15 rejected (wrong type: 13; a copy of a real row: 2); balanced classes take 152, so rows of"
        " the rarer class, real and written, are repeated for the other 77; of 5 requests these brought nothing: 500"
        " Internal Server Error: 1; a classifier tells them from real rows with a ROC AUC of 0.60 (1: always,"
        " 0.5: not at all; below, they lie close to single real ones)."
    )

"""Reward model: calibrated whatever the imbalance setting, honest folds, and an answer for any data."""

import json

import numpy as np
import pytest
import xgboost as xgb

from engagex_sim.columns import Column
from engagex_sim.grids import GridValues
from engagex_sim.models.calibrate import sigmoid
from engagex_sim.models.encoding import FeatureEncoder
from engagex_sim.models.metrics import classification_metrics
from engagex_sim.models.resample import oversample
from engagex_sim.models.reward import RewardModel, best_f1_threshold
from engagex_sim.models.search import later_split, search, user_folds
from engagex_sim.policy import Context

IMBALANCE = ("none", "scale_pos_weight", "smote", "both")


def make_context(n, seed, kinds=("contact",)):
    """Contacts with an hour, an age with gaps, days since (infinite for some) and a text with gaps."""
    rng = np.random.default_rng(seed)
    columns = {
        "hour": Column(rng.integers(0, 24, n)),
        "age": Column(np.where(rng.random(n) < 0.2, np.nan, rng.integers(18, 70, n))),
        "since": Column(np.where(rng.random(n) < 0.1, np.inf, rng.exponential(3.0, n))),
        "site": Column(rng.integers(-1, 3, n).astype(np.int32), np.array(["a", "b", "c"], dtype=object)),
    }
    return Context(np.ones((n, len(kinds) + 1), dtype=np.bool_), kinds, columns, {})


def interest(context, action=None):
    hour, site = context.column("hour").values, context.column("site").values
    log_odds = -3.2 + 0.9 * np.sin(hour / 24 * 2 * np.pi) + 0.8 * (site == 2)
    return sigmoid(log_odds if action is None else log_odds + 0.9 * (action == 2))


def draw(probability, seed):
    return (np.random.default_rng(seed).random(len(probability)) < probability).astype(np.float64)


def fit(context, reward, action=None, **settings):
    """A model of contacts by users with three contacts each, one an hour."""
    rows = np.arange(len(context))
    action = np.ones(len(context), dtype=np.int64) if action is None else action
    return RewardModel.fit(context, action, reward, (rows // 3).astype(np.uint64), rows * 3600, **settings)


@pytest.mark.parametrize("imbalance", IMBALANCE)
def test_probabilities_are_calibrated_whatever_the_resampling(imbalance):
    """On fresh users of the same world the mean prediction is the mean outcome, and the slope is near 1."""
    context, fresh = make_context(8_000, 1), make_context(100_000, 2)
    truth = interest(fresh)
    model = fit(context, draw(interest(context), 3), imbalance=imbalance, grid="light")
    predicted = model.predict(fresh)[:, 0]
    metrics = classification_metrics(draw(truth, 4), predicted, model.threshold)
    assert predicted.mean() == pytest.approx(truth.mean(), rel=0.1)
    assert metrics["calibration_slope"] == pytest.approx(1.0, abs=0.3)
    assert ((predicted - truth) ** 2).mean() < 0.5 * truth.var()


def test_the_grid_is_searched_and_the_result_explained():
    """The chosen settings come from the grid; what drives interest leads the importances, which sum to 1."""
    context = make_context(4_000, 5)
    model = fit(context, draw(interest(context), 6), grid="small")
    assert set(model.best_params) == {"max_depth", "n_estimators", "learning_rate"}
    table = model.feature_importance()
    assert set(table["feature"][:2]) == {"hour", "site"}
    assert table["importance"].sum() == pytest.approx(1.0)
    assert 0 < model.threshold < 1


def test_what_a_grid_does_not_vary_stays_as_it_is():
    """A grid of one parameter gives the model of a grid that also names what `small` has for the others."""
    context = make_context(1_500, 27)
    reward = draw(interest(context), 28)
    one, all_named = (
        fit(context, reward, grid=GridValues(reg_lambda=[20.0], **others)).predict(context).copy()
        for others in ({}, {"max_depth": [2], "learning_rate": [0.1], "min_child_weight": [5.0]})
    )
    np.testing.assert_array_equal(one, all_named)


def test_each_kind_has_its_own_prediction_found_by_its_label():
    """The second kind interests more; another order of the labels gives the columns in that order."""
    kinds = ("mail", "push")
    context = make_context(8_000, 7, kinds)
    action = np.random.default_rng(8).integers(1, 3, 8_000)
    model = fit(context, draw(interest(context, action), 9), action, grid="light")
    predicted = model.predict(context)
    assert predicted.shape == (8_000, 2)
    assert predicted[:, 1].mean() > 1.5 * predicted[:, 0].mean()
    turned = Context(context.mask, kinds[::-1], {n: context.column(n) for n in context.exogenous}, {})
    np.testing.assert_array_equal(model.predict(turned), predicted[:, ::-1])


def test_a_block_with_other_codes_gets_the_same_predictions():
    """Text decides, not its code in the log's column."""
    context = make_context(3_000, 10)
    model = fit(context, draw(interest(context), 11), grid="light")
    columns = {name: context.column(name) for name in context.exogenous}
    codes = np.where(columns["site"].values < 0, -1, columns["site"].values + 2).astype(np.int32)
    columns["site"] = Column(codes, np.array(["A", "B", "a", "b", "c"], dtype=object))
    other = Context(context.mask, context.kinds, columns, {})
    np.testing.assert_array_equal(model.predict(other), model.predict(context))


def test_same_seed_same_answer_whatever_the_threads():
    """Two fits agree to the last bit, with resampling and a grid too."""
    context = make_context(1_500, 12)
    reward = draw(interest(context), 13)
    first, second = (fit(context, reward, imbalance="both", grid="small", seed=5, threads=t) for t in (1, 2))
    np.testing.assert_array_equal(first.predict(context), second.predict(context))
    assert first.threshold == second.threshold


@pytest.mark.parametrize("imbalance", IMBALANCE)
@pytest.mark.parametrize("positives", [0, 3, 9, 12, 297, 300])
def test_few_positives_or_one_class_still_give_probabilities(positives, imbalance):
    """The mean prediction stays near the mean outcome, and strictly between 0 and 1."""
    context = make_context(300, 14)
    reward = np.zeros(300)
    reward[np.random.default_rng(15).permutation(300)[:positives]] = 1
    model = fit(context, reward, imbalance=imbalance, grid="light")
    predicted = model.predict(context)
    assert ((predicted > 0) & (predicted < 1)).all()
    assert predicted.mean() == pytest.approx(positives / 300, rel=0.3, abs=0.01)


@pytest.mark.parametrize("columns", [{}, {"flat": Column(np.zeros(600))}])
@pytest.mark.parametrize("imbalance", IMBALANCE)
def test_features_that_say_nothing_give_the_mean(columns, imbalance):
    """No feature at all, or a constant one."""
    context = Context(np.ones((600, 2), dtype=np.bool_), ("contact",), columns, {})
    model = fit(context, (np.arange(600) % 10 == 0).astype(np.float64), imbalance=imbalance, grid="light")
    np.testing.assert_allclose(model.predict(context), 0.1, rtol=0.02)
    assert (model.feature_importance()["importance"] == 0).all()


def test_written_and_read_again_it_predicts_the_same(tmp_path):
    """A pair of files, none of them a pickle; a model without trees needs only the text file."""
    context = make_context(2_000, 16)
    model = fit(context, draw(interest(context), 17), grid="light")
    model.save(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"reward_model.json", "reward_model.ubj"}
    again = RewardModel.load(tmp_path)
    np.testing.assert_array_equal(again.predict(context), model.predict(context))
    assert again.feature_importance().equals(model.feature_importance())
    assert (again.threshold, again.best_params, again.kinds) == (model.threshold, model.best_params, model.kinds)

    flat = fit(context, np.zeros(2_000))
    (tmp_path / "flat").mkdir()
    flat.save(tmp_path / "flat")
    assert not json.loads((tmp_path / "flat" / "reward_model.json").read_text())["has_trees"]
    np.testing.assert_array_equal(RewardModel.load(tmp_path / "flat").predict(context), flat.predict(context))


def test_trees_stop_where_held_out_users_gain_no_more():
    """With nothing to learn next to no tree is added; with much to learn many are, and fewer of the larger steps."""
    context = make_context(4_000, 24)
    key, time = (np.arange(4_000) // 3).astype(np.uint64), np.arange(4_000)
    matrix = FeatureEncoder.fit(context, ["hour", "age", "since"]).transform(context)

    def trees(probability, learning_rate):
        label = draw(probability, 25).astype(np.int64)
        grid = GridValues(max_depth=[2], learning_rate=[learning_rate])
        settings = {"imbalance": "none", "grid": grid, "seed": 0, "threads": 1}
        return search(matrix, ["q"] * 3, label, key, time, **settings).best_params["n_estimators"]

    hour = context.column("hour").values
    assert trees(np.full(4_000, 0.1), 0.1) <= 5
    assert trees(np.where(hour < 8, 0.8, 0.1), 0.1) > 2 * trees(np.where(hour < 8, 0.8, 0.1), 0.5)


def test_early_stopping_never_sees_a_synthetic_row(monkeypatch):
    """Resampling is asked for training rows only; the rows that stop boosting are those of the held-out users."""
    seen = []
    fit = xgb.XGBClassifier.fit

    def spy(self, X, y, **settings):
        seen.append((len(X), [len(rows) for rows, _ in settings.get("eval_set", [])]))
        return fit(self, X, y, **settings)

    monkeypatch.setattr(xgb.XGBClassifier, "fit", spy)
    label = np.arange(900) % 10 == 0
    key, time = (np.arange(900) // 3).astype(np.uint64), np.arange(900)
    matrix = np.random.default_rng(26).random((900, 2)).astype(np.float32)
    grid = GridValues(max_depth=[2])
    search(matrix, ["q", "q"], label.astype(np.int64), key, time, imbalance="smote", grid=grid, seed=0, threads=1)
    stopped = [(trained, held_out[0]) for trained, held_out in seen if held_out]
    folds = [len(held_out) for _, held_out in user_folds(key, label, 0)]
    assert [held_out for _, held_out in stopped[:3]] == folds
    assert all(trained > 1.5 * (900 - held_out) for trained, held_out in stopped[:3])


def test_folds_share_no_user_and_deal_positives_out_evenly():
    """Every row is held out once; the folds belong to the users, not to their order; later rows come later."""
    rng = np.random.default_rng(18)
    key = rng.integers(0, 2**63, 200).astype(np.uint64)[rng.integers(0, 200, 900)]
    label = (rng.random(900) < 0.05).astype(np.int64)
    folds = user_folds(key, label, seed=3)
    assert sorted(np.concatenate([held_out for _, held_out in folds])) == list(range(900))
    for train, held_out in folds:
        assert not set(key[train]) & set(key[held_out])
    users = [len(set(key[held_out][label[held_out] == 1])) for _, held_out in folds]
    assert max(users) - min(users) <= 1
    turned = user_folds(key[::-1], label[::-1], seed=3)
    for (_, held_out), (_, same) in zip(folds, turned, strict=True):
        assert set(key[held_out]) == set(key[::-1][same])

    time = rng.integers(0, 1000, 900)
    ((train, held_out),) = later_split(folds[0], label, time)
    assert time[train].max() < time[held_out].min()
    assert not set(key[train]) & set(key[held_out])


def test_held_out_predictions_come_from_models_that_never_saw_the_user():
    """A feature that names the user is worth nothing on held-out users, however strong it is in training."""
    n_users = 150
    user = np.repeat(np.arange(n_users), 6)
    label = np.random.default_rng(19).integers(0, 2, n_users)[user]  # all rows of a user agree
    found = search(
        user[:, None].astype(np.float32),
        ["q"],
        label,
        user.astype(np.uint64),
        np.arange(len(user)),
        imbalance="none",
        grid="light",
        seed=0,
        threads=1,
    )
    assert abs(classification_metrics(label, sigmoid(found.held_out_margin), 0.5)["roc_auc"] - 0.5) < 0.15


def test_synthetic_rows_could_have_been_in_the_log():
    """Whole numbers stay whole, ranges hold, categories and gaps are those of real rows, and originals are kept."""
    rng = np.random.default_rng(20)
    matrix = np.column_stack([rng.integers(0, 24, 400), rng.random(400), rng.integers(0, 3, 400)]).astype(np.float32)
    matrix[rng.random(400) < 0.2, 1] = np.nan
    matrix[rng.random(400) < 0.1, 2] = np.nan
    label = (np.arange(400) < 30).astype(np.int64)
    categorical = np.array([False, False, True])
    grown, labels = oversample(matrix, label, categorical=categorical, ratio=1.0, seed=0)
    assert np.bincount(labels).tolist() == [370, 370]
    np.testing.assert_array_equal(grown[:400], matrix)
    added = grown[400:]
    assert (added[:, 0] == np.rint(added[:, 0])).all()
    real = matrix[:30]
    for column in (0, 1):
        assert np.nanmin(real[:, column]) - 1e-6 <= np.nanmin(added[:, column])
        assert np.nanmax(added[:, column]) <= np.nanmax(real[:, column]) + 1e-6
    assert set(np.nan_to_num(added[:, 2], nan=-1)) <= set(np.nan_to_num(real[:, 2], nan=-1))
    assert np.isnan(added[:, 1]).any()


def test_synthetic_rows_lie_between_neighbours_of_their_own_category():
    """Two clouds of one class, each with a category and a gap of its own: nothing appears between or across them."""
    rng = np.random.default_rng(30)
    cloud = np.arange(40) % 2
    rarer = np.column_stack([10.0 * cloud + rng.random(40), np.where(cloud, np.nan, 5.0), cloud])
    other = np.column_stack([10.0 * rng.random(200), np.full(200, 5.0), rng.integers(0, 2, 200)])
    matrix, label = np.vstack([rarer, other]).astype(np.float32), np.repeat([1, 0], [40, 200])
    grown, _ = oversample(matrix, label, categorical=np.array([False, False, True]), ratio=1.0, seed=0)
    added = grown[240:]
    assert len(added) == 160
    in_second = added[:, 0] > 5
    assert ((added[:, 0] <= 1) | (added[:, 0] >= 10)).all()
    np.testing.assert_array_equal(added[:, 2], in_second)
    np.testing.assert_array_equal(np.isnan(added[:, 1]), in_second)


@pytest.mark.parametrize("rarer", [0, 1, 2])
def test_oversampling_next_to_nothing(rarer):
    """No row of the class: nothing to add; one or two rows, or only categories: rows are repeated or interpolated."""
    matrix = np.arange(20, dtype=np.float32)[:, None]
    label = (np.arange(20) < rarer).astype(np.int64)
    for categorical in (False, True):
        grown, labels = oversample(matrix, label, categorical=np.array([categorical]), ratio=1.0, seed=0)
        assert labels.sum() == (20 - rarer if rarer else 0)
        assert set(grown[labels == 1, 0]) <= set(matrix[:rarer, 0])


def test_the_f1_threshold_by_hand():
    """Predicting positive from 0.4 on gives F1 = 0.8, the best of the four possible thresholds."""
    assert best_f1_threshold(np.array([0.0, 1.0, 0.0, 1.0]), np.array([0.2, 0.4, 0.6, 0.8])) == 0.4

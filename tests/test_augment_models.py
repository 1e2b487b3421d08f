"""A reward model that learns from written rows: calibrated, honest folds, and judged on real rows alone."""

import json

import numpy as np
import pandas as pd
import pytest
import xgboost as xgb
from chat_server import chat_server, fails, writes

import engagex_sim
from engagex_sim.augment import Batch, LanguageModel
from engagex_sim.augment.chat import KEY, ChatServer
from engagex_sim.columns import Column
from engagex_sim.errors import InputError
from engagex_sim.models.calibrate import sigmoid
from engagex_sim.models.metrics import classification_metrics
from engagex_sim.models.reward import RewardModel
from engagex_sim.models.search import FOLDS, later_split, user_folds
from engagex_sim.policy import Context
from engagex_sim.worlds import WORLDS, frames
from experiments.run import main
from policies import REGISTRY

MARK = np.float32(0.123456)  # in no real row


def make_context(n, seed, kinds=("contact",)):
    """Contacts with an hour, a share, and a text with gaps."""
    rng = np.random.default_rng(seed)
    columns = {
        "hour": Column(rng.integers(0, 24, n)),
        "share": Column(rng.random(n)),
        "site": Column(rng.integers(-1, 3, n).astype(np.int32), np.array(["a", "b", "c"], dtype=object)),
    }
    return Context(np.ones((n, len(kinds) + 1), dtype=np.bool_), kinds, columns, {})


def interest(context):
    hour, site = context.column("hour").values, context.column("site").values
    return sigmoid(-3.2 + 0.9 * np.sin(hour / 24 * 2 * np.pi) + 0.8 * (site == 2))


def draw(probability, seed):
    return (np.random.default_rng(seed).random(len(probability)) < probability).astype(np.float64)


def users_and_times(n):
    """Three contacts of each user, one an hour."""
    return (np.arange(n) // 3).astype(np.uint64), np.arange(n) * 3600


def fit(context, reward, action=None, **settings):
    action = np.ones(len(context), dtype=np.int64) if action is None else action
    return RewardModel.fit(context, action, reward, *users_and_times(len(context)), imbalance="augment", **settings)


class Marking:
    """Copies examples with a mark in their share, and remembers what it was shown."""

    def __init__(self):
        self.described = {"generator": "marking"}
        self.shown = []

    def batches(self, examples, missing, seed):
        self.shown.append(examples.rows)
        rows = examples.rows.sample(missing(), replace=True, random_state=seed).assign(share=float(MARK))
        yield Batch(rows, len(rows))


# --- the model


def test_probabilities_are_calibrated_with_written_rows():
    context, fresh = make_context(8_000, 1), make_context(100_000, 2)
    truth = interest(fresh)
    reward = draw(interest(context), 3)
    model = fit(context, reward, grid="light")
    predicted = model.predict(fresh)[:, 0]
    assert predicted.mean() == pytest.approx(reward.mean(), rel=0.05)
    slope = classification_metrics(draw(truth, 4), predicted, model.threshold)["calibration_slope"]
    assert slope == pytest.approx(1.0, abs=0.3)
    assert ((predicted - truth) ** 2).mean() < 0.5 * truth.var()
    assert all(account.used > 0.9 * account.wanted > 0 for account in model.accounts)


@pytest.mark.parametrize("positives", [0, 3, 9, 12, 297, 300])
def test_few_positives_or_one_class_still_give_probabilities(positives):
    context = make_context(300, 14)
    reward = np.zeros(300)
    reward[np.random.default_rng(15).permutation(300)[:positives]] = 1
    predicted = fit(context, reward, grid="light").predict(context)
    assert ((predicted > 0) & (predicted < 1)).all()
    assert predicted.mean() == pytest.approx(positives / 300, rel=0.3, abs=0.01)


def test_a_constant_feature_gives_the_mean():
    context = Context(np.ones((600, 2), dtype=np.bool_), ("contact",), {"flat": Column(np.zeros(600))}, {})
    model = fit(context, (np.arange(600) % 10 == 0).astype(np.float64), grid="light")
    np.testing.assert_allclose(model.predict(context), 0.1, rtol=0.02)


def test_same_seed_same_answer_whatever_the_threads():
    context = make_context(1_500, 12)
    reward = draw(interest(context), 13)
    first, second = (fit(context, reward, grid="small", seed=5, threads=t) for t in (1, 2))
    np.testing.assert_array_equal(first.predict(context), second.predict(context))
    assert str(first.accounts) == str(second.accounts)


def test_the_kind_of_a_contact_is_a_column_with_its_labels():
    context = make_context(900, 7, ("mail", "push"))
    action = np.random.default_rng(8).integers(1, 3, 900)
    generator = Marking()
    fit(context, draw(interest(context), 9), action, grid="light", generator=generator)
    assert set(generator.shown[0]["kind_of_contact"]) == {"mail", "push"}


def test_rows_hold_no_contact_history_that_the_cap_could_forbid():
    own = make_context(900, 7)
    columns = {name: own.column(name) for name in own.exogenous}
    context = Context(own.mask, own.kinds, columns, {"days_since_contact": np.arange(900.0)})
    generator = Marking()
    fit(context, draw(interest(context), 9), grid="light", generator=generator)
    assert list(generator.shown[0]) == ["hour", "share", "site"]


def test_written_and_read_again_it_keeps_its_accounts(tmp_path):
    context = make_context(2_000, 16)
    model = fit(context, draw(interest(context), 17), grid="light")
    model.save(tmp_path)
    again = RewardModel.load(tmp_path)
    assert str(again.accounts) == str(model.accounts)
    assert len(model.accounts) == 4


# --- who sees what


def test_rows_are_written_from_the_training_rows_of_one_split_and_once_for_each():
    context = make_context(1_200, 20)
    reward = draw(interest(context), 21)
    generator = Marking()
    fit(context, reward, grid="small", generator=generator)
    label, (key, time) = reward.astype(np.int64), users_and_times(1_200)
    folds = user_folds(key, label, 0)
    trains = [train for train, _ in folds + later_split(folds[0], label, time)] + [np.arange(1_200)]
    share = context["share"].astype(np.float32)
    expected = {frozenset(share[train[label[train] == 1]].tolist()) for train in trains}
    shown = [frozenset(rows["share"].astype(np.float32).tolist()) for rows in generator.shown]
    assert len(shown) == 5
    assert set(shown) == expected


def test_written_rows_are_learned_from_and_never_predicted_for(monkeypatch):
    """Whatever is scored, calibrated or given a threshold is a real row."""
    learned, scored = [], []
    own_fit, own_predict = xgb.XGBClassifier.fit, xgb.XGBClassifier.predict_proba

    def watched_fit(self, X, y, **kwargs):
        learned.append((X[:, 1] == MARK).sum())
        scored.extend((held_out[:, 1] == MARK).sum() for held_out, _ in kwargs.get("eval_set") or [])
        return own_fit(self, X, y, **kwargs)

    def watched_predict(self, X, **kwargs):
        scored.append((X[:, 1] == MARK).sum())
        return own_predict(self, X, **kwargs)

    monkeypatch.setattr(xgb.XGBClassifier, "fit", watched_fit)
    monkeypatch.setattr(xgb.XGBClassifier, "predict_proba", watched_predict)
    context = make_context(1_200, 22)
    fit(context, draw(interest(context), 23), grid="small", generator=Marking())
    assert min(learned) > 100
    assert len(scored) >= FOLDS
    assert set(scored) == {0}


def test_an_evaluation_counts_no_written_row():
    """What the log itself says, and how many rows the model is judged on, are the same as without augmentation."""
    triggers, actions = frames(WORLDS["visits"], 800, seed=1)
    given = {"folds": 2, "n_boot": 50, "grid": "light"}
    plain, written = (
        engagex_sim.evaluate(triggers, actions, [REGISTRY["uniform"]()], **given, imbalance=imbalance)
        for imbalance in ("none", "augment")
    )
    assert plain.augmentation is None
    sums = written.augmentation["total"]
    assert sums["used"] > 500
    assert written.augmentation["sentence"] in written.notes
    for split in (0, 1):
        columns = ["split", "n", "positives"]
        pd.testing.assert_series_equal(
            plain.model_metrics.loc[split, columns], written.model_metrics.loc[split, columns]
        )
    current = [result.table[result.table["policy"] == "current"] for result in (plain, written)]
    pd.testing.assert_frame_equal(*current)
    assert plain.facts == written.facts
    assert len(plain.weights["uniform"]) == len(written.weights["uniform"])


# --- a language model


@pytest.fixture
def answering(monkeypatch):
    """A server that writes rows within the ranges that it is told."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    def row(i, columns):
        chosen = {}
        for name, column in columns.items():
            if column["type"] == "text":
                chosen[name] = column["one of"][i % len(column["one of"])]
            else:
                span = column["greatest"] - column["least"]
                chosen[name] = column["least"] + (0 if column["type"] == "whole number" else span * (i % 997) / 997)
        return chosen

    with chat_server(writes(row)) as server:
        yield server


def test_the_grid_asks_a_server_once_for_each_training_set(answering):
    context = make_context(1_200, 24)
    generator = LanguageModel(ChatServer(answering.url, "x"), 2)
    model = fit(context, draw(interest(context), 25), grid="small", threads=2, generator=generator)
    assert len(answering.requests) == 10
    assert [account.requests for account in model.accounts] == [2] * 5
    assert all(account.used + sum(account.rejected.values()) == 40 for account in model.accounts)
    assert all(account.used > 20 for account in model.accounts)


def test_a_server_that_fails_ends_a_grid_search_with_its_sentence(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    context = make_context(1_200, 26)
    with chat_server(fails(401)) as server, pytest.raises(InputError, match="401 Unauthorized"):
        fit(
            context,
            draw(interest(context), 27),
            grid="small",
            threads=2,
            generator=LanguageModel(ChatServer(server.url, "x"), 2),
        )


# --- the command line


LIGHT = ["--policies", "uniform", "--folds", "2", "--n-boot", "50", "--grid", "light", "--threads", "1", "--quiet"]


@pytest.fixture
def log(tmp_path):
    triggers, actions = frames(WORLDS["visits"], 800, seed=1)
    triggers.to_csv(tmp_path / "triggers.csv", index=False)
    actions.to_csv(tmp_path / "actions.csv", index=False)
    return ["--triggers", str(tmp_path / "triggers.csv"), "--actions", str(tmp_path / "actions.csv")]


def test_a_run_writes_what_became_of_the_rows(log, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["compare", *log, *LIGHT, "--imbalance", "augment", "--out", str(out)]) == 0
    told = json.loads((out / "augmentation.json").read_text())
    assert told["generator"]["generator"] == "local"
    assert len(told["training_sets"]) == told["total"]["training_sets"] == 8
    for entry in told["training_sets"]:
        assert entry["received"] == entry["used"] + sum(entry["rejected"].values())
        assert entry["wanted"] == entry["used"] + entry["repeated"]
    assert told["sentence"] in capsys.readouterr().out
    assert "the local generator wrote" in (out / "report.html").read_text()


def test_a_run_with_a_language_model_tells_where_rows_go_and_never_the_key(
    log, tmp_path, capfd, monkeypatch, answering
):
    secret = "sk-not-to-be-seen-anywhere"
    monkeypatch.setenv(KEY, secret)
    out = tmp_path / "out"
    llm = ["--imbalance", "augment", "--llm-url", answering.url, "--llm-model", "x", "--llm-budget", "20"]
    assert main(["compare", *log, *LIGHT, *llm, "--out", str(out)]) == 0
    shown = capfd.readouterr()
    assert f"are sent to {answering.url}, as features" in shown.out
    assert "for x to write rows like them: 20 requests at most." in shown.out
    assert "the language model x wrote" in shown.out
    assert 0 < len(answering.requests) <= 20
    assert all(request["headers"]["Authorization"] == f"Bearer {secret}" for request in answering.requests)
    for path in out.iterdir():
        assert secret.encode() not in path.read_bytes()
    assert secret not in shown.out + shown.err
    told = json.loads((out / "augmentation.json").read_text())
    assert told["generator"]["url"] == answering.url
    assert told["total"]["requests"] == len(answering.requests)


@pytest.mark.parametrize(
    ("reply", "words"),
    [(fails(404), "refuses the request: 404 Not Found"), (fails(501), "refuses the request: 501 Not Implemented")],
)
def test_a_run_that_no_server_helps_ends_with_code_2_and_one_sentence(log, tmp_path, capfd, monkeypatch, reply, words):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with chat_server(reply) as server:
        llm = ["--imbalance", "augment", "--llm-url", server.url, "--llm-model", "x"]
        assert main(["compare", *log, *LIGHT, *llm, "--out", str(tmp_path / "out")]) == 2
    shown = capfd.readouterr()
    assert words in shown.err
    assert len(shown.err.splitlines()) == 1
    assert not (tmp_path / "out").exists()

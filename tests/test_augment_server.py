"""Rows from a language model: a real server on this machine, well behaved and not, and a key that nobody ever sees."""

import json
import re
import socket

import numpy as np
import pytest
from chat_server import chat_server, cut, cut_in_chunks, drips, echoes, fails, hangs, hangs_up, says, writes

from engagex_sim.augment import Augmenter, Columns, LanguageModel, augmented
from engagex_sim.augment.chat import KEY, ChatServer
from engagex_sim.augment.choice import row_generator
from engagex_sim.augment.language_model import ROWS_PER_REQUEST
from engagex_sim.errors import InputError
from engagex_sim.settings import Settings
from experiments.options import LlmBudget

COLUMNS = Columns(("hour", "share", "site"), (None, None, ("a", "b")))
SECRET = "sk-not-to-be-seen-anywhere"


@pytest.fixture(autouse=True)
def _no_proxy_and_no_key(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv(KEY, raising=False)


def log_rows(n=300, positives=30):
    rng = np.random.default_rng(0)
    matrix = np.column_stack([rng.integers(0, 24, n), rng.random(n), rng.choice([0, 1, np.nan], n)])
    return matrix.astype(np.float32), (rng.permutation(n) < positives).astype(np.int64)


def a_row(i, _columns):
    """Distinct rows within every range of the log."""
    return {"hour": 3 + i % 10, "share": 0.3 + 0.3 * i / 1000, "site": ["a", "b", None][i % 3]}


def ask(server, requests=4, timeout=5.0, pauses=None, script_ratio=1.0):
    """What a language model at the server adds to a small log."""
    pauses = [] if pauses is None else pauses
    generator = LanguageModel(ChatServer(server.url, "x", timeout), requests, pause=0.01, sleep=pauses.append)
    matrix, label = log_rows()
    return augmented(matrix, label, columns=COLUMNS, ratio=script_ratio, seed=0, generator=generator)


# --- the protocol


def test_good_rows_are_used_and_the_request_holds_schema_examples_and_seed():
    with chat_server(writes(a_row)) as server:
        grown, labels, account = ask(server)
    assert (account.requests, account.asked, account.received, account.used) == (4, 80, 80, 80)
    assert (account.rejected, account.troubles, account.repeated) == ({}, {}, 160)
    assert np.bincount(labels).tolist() == [270, 270]
    assert set(np.round(grown[300:380, 1], 6)) == {round(np.float32(a_row(i, None)["share"]), 6) for i in range(80)}
    first = server.requests[0]
    assert first["path"] == "/v1/chat/completions"
    assert "Authorization" not in first["headers"]
    body = first["body"]
    assert body["model"] == "x"
    assert len({request["body"]["seed"] for request in server.requests}) == 4
    form = body["response_format"]
    assert (form["type"], form["json_schema"]["strict"]) == ("json_schema", True)
    row = form["json_schema"]["schema"]["properties"]["rows"]["items"]
    assert row["properties"] == {
        "hour": {"type": "integer"},
        "share": {"type": "number"},
        "site": {"type": ["string", "null"], "enum": ["a", "b", None]},
    }
    assert (row["required"], row["additionalProperties"]) == (["hour", "share", "site"], False)
    task = body["messages"][1]["content"]
    assert "that interested the user" in task
    assert "Write 20 new rows" in task
    shown = [json.loads(line) for line in task.splitlines() if line.startswith('{"hour"')]
    matrix, label = log_rows()
    assert len(shown) == 20
    for row in shown:
        assert np.isclose(matrix[label == 1, 1], row["share"], rtol=1e-5).any()


def test_the_same_seed_asks_the_same():
    asked = []
    for _ in range(2):
        with chat_server(writes(a_row)) as server:
            ask(server)
        asked.append([request["body"] for request in server.requests])
    assert asked[0] == asked[1]


def test_no_more_is_asked_than_is_missing():
    with chat_server(writes(a_row)) as server:
        _, _, account = ask(server, requests=50, script_ratio=0.2)  # 54 of the rarer class: 24 more
    assert (account.wanted, account.requests, account.asked, account.used) == (24, 2, 24, 24)
    assert account.rejected == {"more than was asked for": 16}


# --- a server that misbehaves


@pytest.mark.parametrize(
    "bad",
    [
        says("no JSON at all"),
        says('{"rows": [{"hour": 1, "sha'),
        says({"rows": "none"}),
        says([]),
        says('{"rows": [{"hour": NaN, "share": 0.5, "site": "a"}]}'),
        says("[" * 100_000),
        says('{"rows": ' + "[" * 100_000),
        fails(200, body=b"not JSON"),
        fails(200, body=b"\xff\xfe"),
        fails(200, body=b'{"choices": []}'),
        fails(200, body=b'{"choices": [{"message": {"content": null}}]}'),
    ],
)
def test_a_reply_that_cannot_be_read_costs_a_request_and_nothing_else(bad):
    with chat_server(bad, writes(a_row)) as server:
        _, _, account = ask(server, requests=3)
    assert account.troubles == {"unreadable reply": 1}
    assert (account.requests, account.used) == (3, 40)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (cut, "connection cut"),
        (cut_in_chunks, "connection cut"),
        (hangs_up, "connection cut"),
        (hangs(0.6), "no answer in time"),
        (drips(3.0), "no answer in time"),
        (fails(429), "429 Too Many Requests"),
        (fails(500, body=SECRET.encode()), "500 Internal Server Error"),
        (fails(503), "503 Service Unavailable"),
        (fails(529), "529"),
        (fails(200, body=b" " * 8_000_001), "a reply without end"),
    ],
)
def test_what_may_pass_is_tried_again(bad, reason):
    pauses = []
    with chat_server(bad, writes(a_row)) as server:
        _, _, account = ask(server, requests=3, timeout=0.3, pauses=pauses)
    assert account.troubles == {reason: 1}
    assert (account.requests, account.used) == (3, 40)
    assert pauses == [0.01]


def test_retries_wait_longer_each_time_and_as_long_as_the_server_says():
    pauses = []
    script = (fails(500), fails(429, {"Retry-After": "2"}), fails(500), writes(a_row))
    with chat_server(*script) as server:
        _, _, account = ask(server, requests=5, pauses=pauses)
    assert pauses == [0.01, 2.0, 0.04]
    assert (account.requests, account.used) == (5, 40)


def test_a_server_that_asks_to_come_back_much_later_is_asked_no_more():
    with chat_server(writes(a_row), fails(429, {"Retry-After": "Wed, 01 Jan 2200 00:00:00 GMT"})) as server:
        _, _, account = ask(server, requests=9)
    assert (account.requests, account.used) == (2, 20)


def test_it_is_given_up_after_four_requests_in_a_row_that_bring_nothing():
    with chat_server(writes(a_row), fails(500)) as server:
        _, _, account = ask(server, requests=50)
    assert (account.requests, account.used, account.troubles) == (5, 20, {"500 Internal Server Error": 4})


def test_rows_that_could_not_be_in_the_log_are_rejected_by_reason():
    good = [a_row(i, None) for i in range(6)]
    matrix, label = log_rows()
    real = COLUMNS.named(matrix[label == 1]).iloc[0]
    site = real["site"] if isinstance(real["site"], str) else None
    rows = [
        *good,
        good[0],
        {"hour": real["hour"], "share": real["share"], "site": site},
        good[0] | {"hour": "3"},
        good[0] | {"hour": 3.5},
        good[0] | {"hour": 99},
        good[0] | {"hour": 10**400},
        good[0] | {"hour": None},
        good[0] | {"site": "z"},
        {"hour": 3, "share": 0.5},
        good[0] | {"more": 1},
        "a row",
    ]
    with chat_server(says({"rows": rows})) as server:
        _, _, account = ask(server, requests=1)
    assert account.rejected == {
        "a category that the log does not know": 1,
        "a copy of a real row": 1,
        "a row that was written before": 1,
        "a value is missing": 1,
        "not a row of these columns": 3,
        "not a whole number": 1,
        "outside the range of the log": 2,
        "wrong type": 1,
    }
    assert (account.received, account.used) == (17, 6)


def test_a_server_that_echoes_the_rows_it_is_shown_writes_nothing_new():
    with chat_server(echoes) as server:
        _, _, account = ask(server)
    assert (account.received, account.used) == (80, 0)
    assert account.rejected == {"a copy of a real row": 80}


# --- what cannot get better


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (400, "400 Bad Request; it may not know the model"),
        (401, "401 Unauthorized; the key in ENGAGEX_LLM_KEY is missing or wrong"),
        (404, "404 Not Found; the address or the model's name is wrong"),
        (418, "refuses the request: 418"),
    ],
)
def test_a_refusal_ends_the_run_at_once_without_the_servers_own_words(monkeypatch, status, words):
    monkeypatch.setenv(KEY, SECRET)
    with (
        chat_server(fails(status, body=f'{{"error": "wrong key {SECRET}"}}'.encode())) as server,
        pytest.raises(InputError, match=words) as refused,
    ):
        ask(server)
    assert len(server.requests) == 1
    assert SECRET not in str(refused.value)


def test_a_redirect_is_not_followed_with_rows_and_key(monkeypatch):
    monkeypatch.setenv(KEY, SECRET)
    with (
        chat_server(writes(a_row)) as elsewhere,
        chat_server(fails(307, {"Location": f"{elsewhere.url}/chat/completions"})) as server,
        pytest.raises(InputError, match="307 Temporary Redirect; give the address that it leads to"),
    ):
        ask(server)
    assert elsewhere.requests == []


def test_no_row_to_use_is_an_error_that_names_the_reasons():
    matrix, label = log_rows()
    with chat_server(says({"rows": [{"hour": 99, "share": 0.5, "site": "a"}]}), fails(500)) as server:
        generator = LanguageModel(ChatServer(server.url, "x"), 3, pause=0.0, sleep=lambda _: None)
        with pytest.raises(InputError) as told:
            Augmenter(COLUMNS, generator)(matrix, label, ratio=1.0, seed=0)
    assert str(told.value) == (
        "The language model gave no row that can be used, in 3 requests (2 × 500 Internal Server Error; 1 × outside"
        " the range of the log); see to the server, or leave --llm-url out: rows are then made without one."
    )


def test_nobody_at_the_address_is_told_as_such():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    matrix, label = log_rows()
    generator = LanguageModel(ChatServer(f"http://127.0.0.1:{port}/v1", "x"), 2, sleep=lambda _: None)
    with pytest.raises(InputError, match="2 × nobody answers at the address"):
        Augmenter(COLUMNS, generator)(matrix, label, ratio=1.0, seed=0)


# --- the key


def test_the_key_goes_to_the_server_and_nowhere_else(monkeypatch, capfd):
    monkeypatch.setenv(KEY, f" {SECRET}\n")
    with chat_server(fails(500, body=SECRET.encode()), cut, says(SECRET), writes(a_row)) as server:
        _, _, account = ask(server, requests=5)
        generator = LanguageModel(ChatServer(server.url, "x"), 5)
    assert {request["headers"]["Authorization"] for request in server.requests} == {f"Bearer {SECRET}"}
    shown = capfd.readouterr()
    for text in (json.dumps(account.to_json()), repr(generator), json.dumps(generator.described), *shown):
        assert SECRET not in text
    assert SECRET not in json.dumps([request["body"] for request in server.requests])


@pytest.mark.parametrize("key", [f"{SECRET}\nHost: elsewhere", f"{SECRET}é"])
def test_a_key_that_cannot_be_sent_is_refused_without_being_told(monkeypatch, key):
    monkeypatch.setenv(KEY, key)
    with chat_server(writes(a_row)) as server, pytest.raises(InputError) as told:
        ask(server)
    assert str(told.value) == f"The key in {KEY} holds characters that no key has."
    assert server.requests == []


# --- settings


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"llm_url": "http://h/v1"}, "--llm-url is about written rows: give --imbalance augment too."),
        ({"llm_budget": 5}, "--llm-budget is about written rows"),
        ({"imbalance": "augment", "llm_url": "http://h/v1"}, "--llm-model is missing"),
        ({"imbalance": "augment", "llm_budget": 50}, "--llm-url is missing"),
        ({"llm_url": "h/v1"}, "--llm-url is an address such as"),
        ({"llm_url": "ftp://h/v1"}, "--llm-url is an address such as"),
        ({"llm_url": "http://h:x/v1"}, "--llm-url is an address such as"),
        ({"llm_url": "http://[h/v1"}, "--llm-url is an address such as"),
        ({"llm_url": "http://h/v 1"}, "--llm-url is an address such as"),
        ({"llm_url": f"http://me:{SECRET}@h/v1"}, "without user, password and question mark"),
        ({"llm_url": f"http://h/v1?key={SECRET}"}, "without user, password and question mark"),
        ({"llm_model": " "}, "--llm-model is the name of a model"),
        ({"llm_budget": 24}, "--llm-budget 24 is less than one request for each of the 25 training sets."),
        ({"llm_budget": 4, "holdout": 0.5}, "each of the 5 training sets"),
        ({"refit_boot": 20}, "--refit-boot would ask the language model"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings, words):
    if settings.keys().isdisjoint({"imbalance"}) and "is about" not in words:
        settings = {"imbalance": "augment", "llm_url": "http://h/v1", "llm_model": "x"} | settings
    with pytest.raises(InputError, match=re.escape(words)) as told:
        row_generator(Settings(**settings))
    assert SECRET not in str(told.value)


def test_the_budget_is_shared_out_to_all_training_sets():
    given = {"imbalance": "augment", "llm_url": "http://h/v1", "llm_model": "x"}
    assert row_generator(Settings(**given)).requests == 4
    assert row_generator(Settings(**given, llm_budget=59, folds=2)).requests == 5
    assert row_generator(Settings(**given, llm_budget=59, holdout=0.3)).requests == 11
    assert row_generator(Settings(imbalance="augment")).described["generator"] == "local"
    assert row_generator(Settings()) is None


def test_the_protocols_reply_may_wrap_the_rows_in_other_signs():
    fenced = f"```json\n{json.dumps({'rows': [a_row(0, None)]})}\n```"
    with chat_server(says(fenced)) as server:
        _, _, account = ask(server, requests=1)
    assert account.used == 1


def test_a_later_training_set_may_go_without_written_rows():
    matrix, label = log_rows()
    with chat_server(writes(a_row), fails(500)) as server:
        generator = LanguageModel(ChatServer(server.url, "x"), 1, sleep=lambda _: None)
        augmenter = Augmenter(COLUMNS, generator)
        augmenter(matrix, label, ratio=1.0, seed=0)
        _, labels = augmenter(matrix[:-1], label[:-1], ratio=1.0, seed=0)
    assert [account.used for account in augmenter.accounts] == [0, 20]
    assert np.bincount(labels)[0] == np.bincount(labels)[1]


def test_help_states_the_budget_as_it_is():
    option = LlmBudget.__metadata__[0]
    assert option.show_default == str(Settings().llm_budget)
    assert f"of {ROWS_PER_REQUEST} rows each" in option.help

"""Features that were computed from the results are found, honest ones are not, and the reader is told what to do."""

from dataclasses import replace

import numpy as np
import pytest
from blocks import decisions

import engagex_sim
from engagex_sim.cap import Cap
from engagex_sim.columns import Column
from engagex_sim.leaks import leak_flag, leak_signs
from engagex_sim.report.cautions import raised_flags
from engagex_sim.timeline import Timeline
from engagex_sim.worlds import WORLDS, logged_decisions, tables, visible
from experiments.run import main
from policies import REGISTRY


def contacts_of(world, n_users, seed=0):
    log = visible(logged_decisions(WORLDS[world], n_users, np.random.default_rng(seed)))
    return Timeline.of(log, WORLDS[world].cap).contacts()


def long_log(seed=0):
    """Twelve contacts of each of 800 users, 4 % of them with interest, more for who has the taste for it."""
    rng = np.random.default_rng(seed)
    taste = rng.normal(size=800)
    rewards = rng.random((800, 12)) < 0.03 * np.exp(0.7 * taste)[:, None]
    times, actions = [list(range(0, 180, 15))] * 800, [[1] * 12] * 800
    columns = {"taste": Column(np.repeat(taste, 12))}
    return Timeline.of(decisions(times, actions, rewards.astype(int).tolist(), columns=columns), Cap(14))


def planted(contacts, values):
    return replace(contacts, columns={**contacts.columns, "planted": Column(np.asarray(values, dtype=np.float64))})


def click_rate(contacts):
    """Of each contact's user, over the whole log."""
    user = contacts.user_of_row
    return (np.bincount(user, contacts.reward) / np.maximum(np.bincount(user), 1))[user]


def test_a_users_click_rate_is_found_by_how_well_it_ranks():
    """With the one or two contacts of a month it is nearly the result itself; the sentence says what to do."""
    contacts = contacts_of("visits", 2500)
    row = leak_flag(planted(contacts, click_rate(contacts)))
    assert row["flagged"]
    assert str(row["sentence"]).startswith("planted seems to know the result of a contact")
    assert "Compute it from what was known before each visit, or leave the column out" in str(row["sentence"])


def test_a_click_rate_over_many_contacts_is_found_by_what_it_leaves_over():
    """It ranks no better than a strong honest feature, but a user's results add up to it."""
    contacts = long_log()
    signs = leak_signs(planted(contacts, click_rate(contacts)))
    strong, spread = signs[: len(signs) // 2], signs[len(signs) // 2 :]
    assert max(sign.statistic for sign in strong) < 0.9
    of = {sign.feature: sign.statistic for sign in spread}
    assert of.pop("planted") < 0.1
    assert min(of.values()) > 0.8
    row = leak_flag(planted(contacts, click_rate(contacts)))
    assert row["flagged"]
    assert str(row["sentence"]).startswith("planted seems to be computed from the results of a user's contacts")


def test_a_missing_value_or_a_text_may_tell_too():
    """A column that is filled in once a user was interested; and one with a word for it."""
    contacts = contacts_of("visits", 2500)
    assert leak_flag(planted(contacts, np.where(contacts.reward > 0, 1.0, np.nan)))["flagged"]
    word = Column((contacts.reward > 0).astype(np.int32), np.array(["open", "won"], dtype=object))
    assert leak_flag(replace(contacts, columns={**contacts.columns, "state": word}))["flagged"]


def test_a_number_of_each_user_is_no_leak_where_users_are_few():
    """Forty users with twenty contacts each: whatever tells users apart could stand for their rates by chance."""
    users, each = 40, 20
    rng = np.random.default_rng(0)
    block = decisions(
        [np.linspace(0, 30, each).tolist() for _ in range(users)],
        [[1] * each for _ in range(users)],
        (rng.random((users, each)) < 0.2).astype(int).tolist(),
        columns={"size": Column(np.repeat(rng.random(users), each))},
    )
    signs = leak_signs(Timeline.of(block, Cap(0)).contacts())
    assert [sign.feature for sign in signs] == ["size", "size"]
    assert leak_flag(Timeline.of(block, Cap(0)).contacts())["flagged"] is False


def test_past_results_are_no_leak():
    """What was known before the contact may be read, however much it says."""
    contacts = long_log()
    assert not leak_flag(planted(contacts, contacts.logged.interests))["flagged"]
    assert not leak_flag(contacts)["flagged"]


@pytest.mark.parametrize("world", ["visits", "null", "fatigue", "frailty", "reactive", "sends"])
def test_no_feature_of_a_world_is_accused(world):
    for seed in range(3):
        row = leak_flag(contacts_of(world, 1500, seed))
        assert not row["flagged"]


def test_too_few_interests_are_no_test():
    contacts = contacts_of("visits", 100)
    row = leak_flag(contacts)
    assert not row["flagged"]
    assert "not tested" in str(row["sentence"])


@pytest.fixture(scope="module")
def leaking():
    """The triggers and actions of a log, with each user's click rate as a column of the triggers."""
    made = tables(WORLDS["visits"], 2500, 0)
    rate = made.actions.groupby("guid")["result"].mean().rename("click_rate")
    return made.triggers.merge(rate, how="left", left_on="guid", right_index=True), made.actions


def test_a_run_warns_of_a_leak_in_the_triggers(leaking):
    """The whole way from a column of triggers.csv to the cautions of the report."""
    settings = {"folds": 2, "grid": "light", "n_boot": 50}
    result = engagex_sim.evaluate(*leaking, [REGISTRY["uniform"]()], **settings)
    assert any(sentence.startswith("click_rate seems to know") for sentence in raised_flags(result))


def test_check_warns_before_anything_is_trained(leaking, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name, table in zip(("t.csv", "a.csv"), leaking, strict=True):
        table.to_csv(name, index=False)
    assert main(["check", "--triggers", "t.csv", "--actions", "a.csv"]) == 0
    assert "Caution: click_rate seems to know the result of a contact" in capsys.readouterr().out

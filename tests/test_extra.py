"""An extra log helps the reward model, nothing else, and never with the users that are judged."""

import json
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import engagex_sim
from engagex_sim import crossfit
from engagex_sim.blockwise import cross_fit
from engagex_sim.cap import DAY, Cap
from engagex_sim.columns import Column
from engagex_sim.decision_points import decisions_of
from engagex_sim.errors import InputError
from engagex_sim.extra import Extra, joined, settings_like
from engagex_sim.log import read_log
from engagex_sim.models.reward import RewardModel
from engagex_sim.preparation import prepare, with_extra
from engagex_sim.settings import Settings
from engagex_sim.splitting import Splitting
from engagex_sim.timeline import Timeline
from engagex_sim.worlds import WORLDS, logged_decisions, tables
from experiments import resuming
from experiments.run import main
from policies import REGISTRY

SETTINGS = Settings(folds=2, n_boot=50, grid="light")
WORLD = WORLDS["visits"]


@pytest.fixture(scope="module")
def logs():
    """A log, and a larger one of other users a month earlier, in which the log's first 200 users occur too."""
    main_log, extra = tables(WORLD, 800, 0), tables(WORLD, 3000, 1)
    earlier = [
        table.assign(date=pd.to_datetime(table["date"]) - pd.Timedelta(days=35))
        for table in (extra.triggers, extra.actions)
    ]
    own, others = (table.triggers["guid"].unique()[:200] for table in (main_log, extra))
    names = dict(zip(others, own, strict=True))
    return main_log, [table.assign(guid=table["guid"].replace(names)) for table in earlier]


@pytest.fixture(scope="module")
def prepared(logs):
    main_log, (triggers, actions) = logs
    log = read_log(main_log.triggers, main_log.actions, None, SETTINGS)
    like = settings_like(log.facts, SETTINGS)
    before = prepare(log, SETTINGS)
    return before, with_extra(before, read_log(triggers, actions, None, like), like)


def test_nobody_who_is_judged_has_taught_the_model(prepared, monkeypatch):
    """In no fold does the reward model see a judged user's contact, in either log; in all it sees the others'."""
    _, both = prepared
    seen = []
    fit = RewardModel.fit

    def spy(context, action, reward, user_key, time, **settings):
        seen.append((settings["seed"], set(user_key.tolist())))
        return fit(context, action, reward, user_key, time, **settings)

    monkeypatch.setattr(crossfit.RewardModel, "fit", spy)
    cross_fit(both, [], SETTINGS)
    shared = set(both.extra.contacts.user_key.tolist()) & set(both.timeline.user_key.tolist())
    assert len(shared) > 50
    splitting = Splitting(SETTINGS.seed, SETTINGS.folds)
    for fold, keys in seen:
        everybody = np.array(sorted(keys | shared), dtype=np.uint64)
        judged = set(everybody[splitting.judged(everybody)[fold - SETTINGS.seed]].tolist())
        assert not judged & keys
        assert shared - judged <= keys
    assert len(seen) == SETTINGS.folds


def test_nothing_else_changes(prepared):
    """The model of the current strategy, what is carried, the users and the contacts are the same to the last bit."""
    before, both = prepared
    first, second = (cross_fit(each, [], SETTINGS) for each in (before, both))
    context = before.evaluation.free_context()
    for one, other in zip(first.fitted, second.fitted, strict=True):
        np.testing.assert_array_equal(one.logging.when_free(context), other.logging.when_free(context))
    assert first.carried == second.carried
    np.testing.assert_array_equal(first.observed.reward, second.observed.reward)
    assert before.facts == both.facts
    assert np.abs(first.observed.predicted - second.observed.predicted).max() > 0


def test_more_data_brings_predictions_nearer_to_the_truth(prepared):
    """On fresh users of the same world, whose true probabilities are known."""
    before, both = prepared
    fresh = Timeline.of(logged_decisions(WORLD, 500, np.random.default_rng(7)), Cap(14))
    truth = WORLD.reward_probabilities(fresh.context())
    shown = replace(fresh, columns={n: c for n, c in fresh.columns.items() if not n.startswith("_")})

    def error(contacts):
        key = contacts.user_key[contacts.user_of_row]
        fit = partial(RewardModel.fit, contacts.free_context(), contacts.action, contacts.reward, key, contacts.time)
        predicted = fit(grid="light").predict(replace(shown).free_context())
        return float(((predicted - truth) ** 2).mean())

    contacts = before.timeline.contacts()
    assert error(joined(contacts, both.extra.contacts)) < 0.9 * error(contacts)


@pytest.mark.parametrize("grid", ["light", "small"])
def test_another_logs_rate_of_interest_is_not_taken_over(prepared, grid):
    """In the other log five times as many are interested; the log's own contacts are still predicted on its level."""
    before, both = prepared
    contacts, extra = before.timeline.contacts(), both.extra.contacts
    eager = (np.random.default_rng(0).random(len(extra)) < 0.12) | (extra.reward > 0)
    shown = joined(contacts, replace(extra, reward=eager.astype(np.float64)))
    own = np.arange(len(shown)) < len(contacts)
    key = shown.user_key[shown.user_of_row]
    model = RewardModel.fit(shown.free_context(), shown.action, shown.reward, key, shown.time, own=own, grid=grid)
    predicted = model.predict(shown.free_context())[:, 0]
    assert predicted[own].mean() == pytest.approx(contacts.reward.mean(), rel=0.15)
    assert predicted[~own].mean() < 0.5 * eager.mean()


def test_days_kinds_and_categories_mean_the_same_in_both():
    """An earlier log has negative days; kinds and categories are found by their labels, in whatever order."""
    main_log, extra = tables(WORLD, 300, 0), tables(WORLD, 300, 1)

    def with_kinds(table, kinds):
        return table.assign(action=np.array(kinds)[np.arange(len(table)) % len(kinds)])

    actions = with_kinds(main_log.actions, ["mail", "push"])
    more = with_kinds(extra.actions, ["push", "call"])
    triggers, more_triggers = (
        t.assign(city=np.array(cities)[np.arange(len(t)) % 2])
        for t, cities in ((main_log.triggers, ["b", "c"]), (extra.triggers, ["a", "c"]))
    )
    more, more_triggers = (
        t.assign(date=pd.to_datetime(t["date"]) - pd.Timedelta(days=40)) for t in (more, more_triggers)
    )
    log = read_log(triggers, actions, None, SETTINGS)
    like = settings_like(log.facts, SETTINGS)
    own = Timeline.of(decisions_of(log, SETTINGS), Cap(14)).contacts()
    found = Extra.of(read_log(more_triggers, more, None, like), own, like)
    assert found.left_out == pytest.approx(len(more) / 2, abs=1)
    assert found.contacts.kinds == ("mail", "push")
    assert set(found.contacts.action) == {2}
    days = (found.contacts.time - own.log_start) // DAY
    assert days.min() < 0
    np.testing.assert_array_equal(found.contacts.columns["day"].values, days)
    both = joined(own, found.contacts).free_context()
    assert list(both.column("city").categories) == ["a", "b", "c"]
    assert set(both["city"][: len(own)]) == {"b", "c"}
    assert set(both["city"][len(own) :]) == {"a", "c"}


def test_columns_that_do_not_match_are_refused(prepared, logs):
    """One sentence that names the column."""
    before, _ = prepared
    column = before.timeline.columns["type"]
    lacking = replace(before.timeline, columns={**before.timeline.columns, "city": column})
    other = replace(before.timeline, columns={**before.timeline.columns, "type": Column(column.values)})
    triggers, actions = logs[1]
    log = read_log(triggers, actions, None, SETTINGS)
    with pytest.raises(InputError, match="The extra log has no column 'city'"):
        Extra.of(log, lacking, SETTINGS)
    with pytest.raises(InputError, match="'type' is numbers in the log and text in the extra log"):
        Extra.of(log, other, SETTINGS)


def test_contacts_of_the_log_itself_do_not_count_twice(prepared, logs):
    """They are left out of the extra log; where there are no others, it is refused."""
    before, both = prepared
    main_log, (triggers, actions) = logs
    like = settings_like(read_log(main_log.triggers, main_log.actions, None, SETTINGS).facts, SETTINGS)
    everything = [pd.concat(pair) for pair in ((main_log.triggers, triggers), (main_log.actions, actions))]
    found = Extra.of(read_log(*everything, None, like), before.timeline, like)
    assert found.copies == len(before.timeline.contacts())
    assert len(found.contacts) == len(both.extra.contacts)
    assert both.extra.copies == 0
    assert f"{found.copies:,} contacts that this log has itself are left out)." in found.sentence
    some = main_log.actions.iloc[::2]
    with pytest.raises(InputError, match=f"copy: all of its {len(some)} contacts, by user and time, are in the log"):
        Extra.of(read_log(main_log.triggers, some, None, like), before.timeline, like)


def test_from_the_command_line_every_row_is_accounted_for(logs, tmp_path, monkeypatch, capsys):
    """The sentence, the account and the rejected rows of a run with an extra log."""
    monkeypatch.chdir(tmp_path)
    main_log, (triggers, actions) = logs
    broken = pd.concat([actions.astype(str), actions.iloc[:2].astype(str).assign(result="maybe")])
    files = {"t": main_log.triggers, "a": main_log.actions, "more_t": triggers, "more_a": broken}
    for name, table in files.items():
        table.to_csv(f"{name}.csv", index=False)
    log = ["baseline_vs_xgb", "--triggers", "t.csv", "--actions", "a.csv", "--policies", "uniform", "--quiet"]
    light = ["--folds", "2", "--n-boot", "50", "--grid", "light", "--threads", "1", "--out", "out"]
    assert main([*log, *light, "--extra-triggers", "more_t.csv", "--extra-actions", "more_a.csv"]) == 0
    said = capsys.readouterr().out
    assert "The reward model, and nothing else, also learns from" in said
    account = json.loads((tmp_path / "out" / "data_quality.json").read_text())["extra"]["files"]["actions"]
    assert (account["read"], account["rejected"]) == (len(broken), 2)
    assert account["read"] == account["used"] + account["duplicates"] + account["rejected"]
    assert '<th scope="row">extra actions</th>' in (tmp_path / "out" / "report.html").read_text()
    assert "extra more_a.csv" in (tmp_path / "out" / "rejected_rows.csv").read_text()

    assert main([*log, "--extra-triggers", "more_t.csv"]) == 2
    assert "--extra-actions is missing" in capsys.readouterr().err
    assert main([*log, "--extra-triggers", "./t.csv", "--extra-actions", str(tmp_path / "a.csv")]) == 2
    assert "The extra log is the log itself" in capsys.readouterr().err
    assert main(["baseline_vs_xgb", "--extra-triggers", "t", "--extra-actions", "a"]) == 2
    assert "give --triggers and --actions too" in capsys.readouterr().err
    assert main([*log, "--extra-triggers", "more_t.csv", "--extra-actions", "nope.csv"]) == 2
    assert capsys.readouterr().err == "There is no file nope.csv (for the actions of the extra log).\n"


def test_in_a_notebook(logs):
    """The same from data frames."""
    main_log, extra = logs
    result = engagex_sim.evaluate(
        main_log.triggers,
        main_log.actions,
        [REGISTRY["uniform"]()],
        extra=tuple(extra),
        folds=2,
        grid="light",
        n_boot=50,
    )
    assert result.extra_quality.actions.used > 0
    assert any("in the extra log" in note for note in result.notes)


def test_a_missing_file_is_said_to_be_the_extra_log_s_before_anything_is_read():
    with pytest.raises(InputError, match=r"There is no file nope.csv .for the triggers of the extra log.\."):
        engagex_sim.evaluate("t.csv", "a.csv", [REGISTRY["uniform"]()], extra=("nope.csv", "a.csv"))


def test_what_was_learned_without_the_extra_log_is_not_taken_up_with_it(tmp_path):
    """The key under which a stopped run is kept names all logs."""
    log, more = (SimpleNamespace(folder=tmp_path / name) for name in ("log", "more"))
    keys = {resuming._key(logs, SETTINGS, []) for logs in ([log], [log, more], [more])}
    assert len(keys) == 3

"""`policy_zoo`: a run of all policies, ranked, with costs and the most that was to be had."""

import math
import tomllib

import pandas as pd
import pytest

from engagex_sim.ope.verdict import BETTER, UNANSWERABLE
from engagex_sim.result import CURRENT, HEADLINE, PRIMARY
from experiments.policy_zoo import ranking_table
from experiments.run import main
from experiments.terminal import Terminal
from experiments.zoo.figure import zoo_figure
from policies import REGISTRY


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("zoo") / "run"
    assert main(["policy_zoo", "--small", "--grid", "light", "--quiet", "--out", str(out)]) == 0
    return out


def test_every_policy_is_ranked_by_the_headline_and_refused_ones_come_last(folder):
    ranking = pd.read_csv(folder / "ranking.csv")
    assert set(ranking["policy"]) == set(REGISTRY)
    summary = pd.read_csv(folder / "summary.csv")
    head = summary[(summary["estimator"] == HEADLINE) & (summary["metric"] == PRIMARY)].set_index("policy")
    assert ranking["interests_per_user"].tolist() == head.loc[ranking["policy"], "value"].tolist()
    answered = ranking[~ranking["refused"]]
    assert answered["interests_per_user"].is_monotonic_decreasing
    assert ranking["refused"].is_monotonic_increasing


def test_costs_are_those_of_learning_and_of_deciding(folder):
    ranking = pd.read_csv(folder / "ranking.csv").set_index("policy")
    assert (ranking["seconds_per_million"] > 0).all()
    assert ranking.loc["never", "training_seconds"] == 0 < ranking.loc["xgb_lookahead", "training_seconds"]


def test_the_stopwatch_takes_no_part_in_the_answer(folder, tmp_path):
    out = tmp_path / "run"
    named = [name for name in tomllib.loads((folder / "config.toml").read_text())["policies"] if name != CURRENT]
    arguments = ["compare", "--policies", ",".join(named), "--small", "--grid", "light", "--quiet", "--out", str(out)]
    assert main(arguments) == 0
    assert (out / "summary.csv").read_text() == (folder / "summary.csv").read_text()


def test_what_was_to_be_had_is_not_told_where_more_than_the_cap_binds(tmp_path, capsys):
    arguments = ["policy_zoo", "--small", "--grid", "light", "--policies", "xgb_greedy", "--capacity", "20", "--quiet"]
    assert main([*arguments, "--out", str(tmp_path / "run")]) == 0
    assert "What was to be had is not told" in " ".join(capsys.readouterr().out.split())
    assert not (tmp_path / "run" / "ceiling.csv").exists()


def test_no_true_value_exceeds_the_ceiling(folder):
    most = pd.read_csv(folder / "ceiling.csv").set_index("what").loc["hindsight", "interests_per_user"]
    ranking = pd.read_csv(folder / "ranking.csv")
    assert (ranking["truth"] < most).all()
    assert (folder / "ranking.png").stat().st_size > 10_000


def a_ranking(truth):
    """A better policy, and two that the log cannot answer for."""
    table = pd.DataFrame({"policy": ["uniform", "most_popular_kind", "recovering_softmax"]})
    return table.assign(
        verdict=[BETTER, UNANSWERABLE, UNANSWERABLE],
        refused=[False, True, True],
        exact=False,
        contacts_per_user=[0.9, 0.001, 12.0],
        contacts_lift_percent=[0.0, -99.9, 1234.0],
        interests_per_user=[0.0391, math.nan, math.nan],
        lift_percent=[60.0, 20.0, math.nan],
        lift_percent_low=[30.0, math.nan, math.nan],
        lift_percent_high=[90.0, math.nan, math.nan],
        truth=truth / 1000,
        true_lift_percent=truth,
        training_seconds=1.0,
        seconds_per_million=0.5,
    )


@pytest.mark.parametrize("bound", [math.nan, 0.1, 3.0])
@pytest.mark.parametrize("truth", [math.nan, 40.0])
def test_in_the_figure_no_word_lies_on_another_or_on_the_axes(bound, truth):
    """Whatever is refused, and wherever its true value lies."""
    figure = zoo_figure(a_ranking(truth), "uniform is better", bound)
    figure.draw_without_rendering()
    ax = figure.axes[0]
    words = [text.get_window_extent() for text in ax.texts]
    assert [text.get_text() for text in ax.texts].count("cannot be answered") == 2
    for i, one in enumerate(words):
        assert not one.overlaps(ax.get_window_extent())
        assert not any(one.overlaps(other) for other in words[:i])
    assert max(box.x1 for box in words) <= figure.bbox.x1


@pytest.mark.parametrize(("columns", "whole"), [(80, False), (120, True)])
def test_the_table_uses_the_width_there_is(monkeypatch, capsys, columns, whole):
    """On 120 columns every name is whole; on 80 the longer ones are broken, and nothing is cut off."""
    monkeypatch.setenv("COLUMNS", str(columns))
    terminal = Terminal()
    terminal.show(ranking_table(a_ranking(40.0), terminal.name_width))
    out = capsys.readouterr().out
    assert ("most_popular_kind" in out) == ("recovering_softmax" in out) == whole
    assert "answered" in out and "…" in out and max(map(len, out.splitlines())) <= columns

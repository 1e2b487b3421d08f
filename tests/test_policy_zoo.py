"""`policy_zoo`: a run of all policies, ranked, with costs and the most that was to be had."""

import tomllib

import pandas as pd
import pytest

from engagex_sim.result import CURRENT, HEADLINE, PRIMARY
from experiments.run import main
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

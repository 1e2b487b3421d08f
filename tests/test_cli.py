"""The command line: what each experiment prints and writes, and how bad input ends."""

import inspect
import json
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from report_example import STORIES, example_result
from report_example_tables import exploration, flags

from engagex_sim.ope.verdict import NO_DIFFERENCE, UNANSWERABLE
from engagex_sim.report.answers import CONTACTS, Answer, Estimate
from engagex_sim.result import PRIMARY
from engagex_sim.settings import Settings
from engagex_sim.worlds import WORLDS, frames
from experiments import options
from experiments.plugins import ALL
from experiments.registry import EVALUATIONS, POLICIES, SUMMARIES
from experiments.registry import WORLDS as WORLD_NAMES
from experiments.run import check, evaluate, main, recommend, recorded
from experiments.terminal import Terminal, result_table
from experiments.wording import cautions, next_step
from policies import REGISTRY

LIGHT = ["--folds", "2", "--n-boot", "50", "--grid", "light", "--threads", "1"]


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """The two options of a small log."""
    folder = tmp_path_factory.mktemp("log")
    triggers, actions = frames(WORLDS["visits"], 800, seed=1)
    triggers.to_csv(folder / "triggers.csv", index=False)
    actions.to_csv(folder / "actions.csv", index=False)
    return ["--triggers", str(folder / "triggers.csv"), "--actions", str(folder / "actions.csv")]


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Runs a command in an empty directory: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def run_command(*arguments):
        code = main([str(argument) for argument in arguments])
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return run_command


# --- finding one's way


def test_without_a_name_every_experiment_is_listed_on_one_line(run):
    code, out, _ = run()
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()[1:]] == list(SUMMARIES)


@pytest.mark.parametrize("name", SUMMARIES)
def test_every_experiment_has_help(run, name):
    code, out, _ = run(name, "--help")
    assert code == 0
    assert "--out" in out


def test_help_imports_nothing_heavy():
    """Typing --help must not wait for the numerical libraries."""
    code = "import sys, experiments.run as r; r.main(['--help']); r.main(['compare', '--help']); print(*sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    heavy = {"numpy", "pandas", "numba", "xgboost", "matplotlib", "duckdb", "gymnasium"}
    assert not heavy & set(shown.splitlines()[-1].split())


def test_the_registry_knows_every_policy_and_world():
    assert set(POLICIES) <= set(REGISTRY)
    assert tuple(WORLDS) == WORLD_NAMES
    for experiment in EVALUATIONS.values():
        assert set(experiment.policies) <= {*REGISTRY, ALL}
        assert experiment.world in WORLDS


@pytest.mark.parametrize("command", [evaluate, check, recommend])
def test_options_have_the_defaults_of_the_settings(command):
    """They are stated twice, because --help must not wait for the package; None leaves the choice to the settings."""
    given = {name: parameter.default for name, parameter in inspect.signature(command).parameters.items()}
    settings = Settings().model_dump()
    shared = given.keys() & settings.keys() - {"threads"}
    assert len(shared) >= 8
    assert {name: given[name] for name in shared} == {
        name: settings[name] if given[name] is not None else None for name in shared
    }


def test_defaults_that_help_alone_states_are_those_of_the_settings():
    for name, option in (("folds", options.Folds), ("n_boot", options.NBoot)):
        assert option.__metadata__[0].show_default == str(getattr(Settings(), name))


# --- what is refused


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nothing"], "There is no experiment 'nothing'; there are: baseline_vs_xgb, compare, policy_zoo, check,"),
        (["compare"], "compare needs --policies"),
        (["compare", "--policies", "nobody"], "There is no policy 'nobody'; there are: never, first_chance,"),
        (["compare", "--policies", "never", "--triggers", "t.csv"], "--actions is missing: a log is two files"),
        (["compare", "--policies", "never", "--actions", "a.csv"], "--triggers is missing: a log is two files"),
        (["compare", "--policies", "never", "--users", "u.csv"], "--users belongs to a log of your own"),
        (["compare", "--policies", "never", "--columns", "guid=id"], "--columns belongs to a log of your own"),
        (["compare", "--policies", "never", "--columns", "guid"], "--columns is a list of ours=yours"),
        (["compare", "--policies", "never", "--columns", "guid=a,guid=b"], "--columns is a list of ours=yours"),
        (["compare", "--policies", "never", "--cap-days", "-1"], "--cap-days should be greater than or equal to 0"),
        (["compare", "--policies", "never", "--cap-days", "two"], "'--cap-days'"),
        (["compare", "--policies", "never", "--start", "now"], "--start should be 'logged' or 'free', not 'now'."),
        (["compare", "--policies", "never", "--folds", "1"], "--folds should be greater than or equal to 2, not 1."),
        (["compare", "--policies", "never", "--holdout", "1"], "--holdout should be less than 1, not 1.0."),
        (["compare", "--policies", "never", "--refit-boot", "-1"], "--refit-boot should be greater than or equal to 0"),
        (
            ["compare", "--policies", "never", "--kind-cap", "news=sixty"],
            "--kind-cap should be a list of kind=days, each with a number of days, as in email=28,letter=60, not"
            " 'news=sixty'.",
        ),
        (["compare", "--policies", "never", "--capacity", "0"], "--capacity should be greater than 0"),
        (["compare", "--policies", "never", "--seed", "2147483648"], "--seed should be less than 2147483648"),
        (["compare", "--policies", "never", "--world", "flat"], "There is no world 'flat'; there are: visits, null"),
        (
            ["compare", "--policies", "never", "--world", "null", "--triggers", "t.csv", "--actions", "a.csv"],
            "--world is about a synthetic world; leave it out for a log of your own.",
        ),
        (["check"], "check needs a log: give --triggers and --actions."),
        (["check", "--triggers", "t.csv", "--actions", "a.csv", "--folds", "2"], "No such option: --folds"),
        (["check", "--triggers", "t.csv", "--actions", "a.csv"], "There is no file t.csv"),
        (["make_world", "--world", "flat"], "There is no world 'flat'; there are: visits, null, sends,"),
        (["make_world", "--n-users", "5", "--n-triggers", "5"], "give one of them"),
        (["make_world", "--n-users", "0"], "--n-users and --n-triggers are at least 1"),
        (["new_policy"], "Missing argument 'NAME'"),
        (["new_policy", "9lives"], "'9lives' cannot be a policy's name"),
        (["new_policy", "class"], "'class' cannot be a policy's name: it is a word of Python"),
        (["new_policy", "random"], "'random' cannot be a policy's name: a module is called so"),
        (["recommend", "--policy", "never", "--capacity", "0"], "Invalid value for '--capacity'"),
        (["recommend", "--policy", "never", "--budget", "inf"], "--budget is an amount of money, not inf"),
        (
            ["recommend", "--policy", "never", "--budget", "1", "--cost", "2"],
            "--budget 1 leaves no room for a single contact at --cost 2; raise it, or leave it out.",
        ),
        (["recommend", "--policy", "never", "--salt", "abc"], "--salt makes other groups of --assign: give --assign"),
        (["new_policy", "never"], "There is a policy 'never' already"),
    ],
)
def test_bad_input_ends_with_code_2_and_one_sentence(run, arguments, sentence):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert sentence in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("command", [["compare", "--policies", "never"], ["check"], ["make_world"]])
def test_an_existing_directory_is_never_written_into(run, tmp_path, log, command):
    (tmp_path / "here").mkdir()
    files = [] if command == ["make_world"] else log
    code, _, err = run(*command, *files, "--out", "here")
    assert code == 2
    assert "here exists already" in err
    assert list((tmp_path / "here").iterdir()) == []


# --- evaluations


def test_compare_says_what_it_will_do_and_answers_with_a_table_sentences_and_files(run, tmp_path, log):
    (tmp_path / "mine.py").write_text(
        "import numpy as np\n\n\nclass Mine:\n    def action_probabilities(self, context):\n"
        "        return context.mask / context.mask.sum(axis=1, keepdims=True)\n"
    )
    policies = "never,random_matched,mine.py:Mine"
    code, out, err = run("compare", "--policies", policies, *log, *LIGHT, "--quiet", "--out", "result")
    assert (code, err) == (0, "")
    first, *_ = out.splitlines()
    assert first.startswith("Comparing never, random_matched and mine with the current strategy on triggers.csv")
    assert "cannot be shown with this log" in first
    for sentence in ("\nnever: ", "\nrandom_matched: ", "\nmine: ", "Report: result/report.html"):
        assert sentence in out
    assert "\x1b" not in out
    assert all(len(line) <= 80 for line in out.splitlines() if line.startswith(" "))  # the table
    assert set(pd.read_csv("result/summary.csv")["policy"]) == {"current", "never", "random_matched", "mine"}
    assert not list(tmp_path.glob(".*"))  # nothing half-written is left


def test_the_table_loses_nothing_on_80_columns_and_hides_refused_numbers(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    wide = {"value": 0.00941, "low": -0.000188, "high": 0.0249, "truth": 0.0149}
    lift = {"change": 0.94, "change_low": -2.83, "change_high": 3.77}
    found = [
        Answer("current", {PRIMARY: Estimate(**wide), CONTACTS: Estimate(0.493)}),
        Answer("of_a_very_long_name", {PRIMARY: Estimate(**wide, **lift, verdict=NO_DIFFERENCE)}),
        Answer("refused", {PRIMARY: Estimate(**{**wide, "value": 0.789}, **lift, verdict=UNANSWERABLE)}),
    ]
    terminal = Terminal()
    terminal.show(result_table(found, terminal.name_width))
    out = capsys.readouterr().out
    assert all(len(line) <= 80 for line in out.splitlines())
    for text in ("−0.000188 … 0.0249", "−283 … +377 %", "of_a_very_long", "difference", "answered", "log"):
        assert text in out
    assert "0.789" not in out


def test_a_wider_terminal_leaves_names_whole(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "90")
    terminal = Terminal()
    terminal.show(result_table([Answer("of_a_very_long_name", {PRIMARY: Estimate(0.01)})], terminal.name_width))
    assert "of_a_very_long_name" in capsys.readouterr().out


def test_the_same_seed_gives_the_same_files_wherever_they_go(run, tmp_path, log):
    for out in ("one", "other"):
        assert run("compare", "--policies", "uniform", *log, *LIGHT, "--seed", 3, "--out", out)[0] == 0
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert "report.html" in files and "summary.csv" in files
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes(), name


def test_the_small_embedded_world_shows_the_truth_and_progress(run):
    code, out, err = run("baseline_vs_xgb", "--small", "--policies", "first_chance", "--grid", "light", "--out", "o")
    assert code == 0
    assert "synthetic world visits" in out and "truth" in out
    assert "learning, 2 of 2 (1 of 6)" in err
    assert pd.read_csv("o/summary.csv")["truth"].notna().any()


def test_a_held_out_share_and_refits_are_announced_and_done(run, log):
    code, _, err = run("compare", "--policies", "uniform", *log, "--holdout", 0.4, "--folds", 3)
    assert code == 2 and "leave out --folds" in err
    options = [*log, *LIGHT[2:], "--holdout", 0.4, "--refit-boot", 2, "--quiet", "--out", "result"]
    code, out, err = run("compare", "--policies", "uniform", *options)
    assert (code, err) == (0, "")
    first, *_ = out.splitlines()
    assert "Models and policies learn once, from 60 % of the users, and are evaluated on the other 40 %;" in first
    assert "All of it is fitted 2 more times, on resampled users, which takes about 2 times as long." in first
    rough = "An interval from 2 refits is rough; 20 or more tell its width."
    assert out.count(rough) == 1 and rough in Path("result/report.html").read_text(encoding="utf-8")
    assert set(pd.read_csv("result/intervals.csv")["method"]) == {"bootstrap", "influence", "bernstein", "refit"}
    config = tomllib.loads(Path("result/config.toml").read_text(encoding="utf-8"))
    assert (config["settings"]["holdout"], config["settings"]["refit_boot"]) == (0.4, 2)
    n_users = pd.read_csv("result/summary.csv")["n_users"]
    assert n_users.between(0.3 * 800, 0.5 * 800).all()


def test_a_policy_that_reads_results_is_explained_before_it_runs_and_gets_no_verdict(run, log):
    Path("mine.py").write_text(
        "import numpy as np\n\n\nclass Mine:\n    def action_probabilities(self, context):\n"
        "        contact = np.where(context['interests_so_far'] > 0, 0.2, 0.05)[:, None]\n"
        "        wanted = np.hstack([1 - contact, contact]) * context.mask\n"
        "        return wanted / wanted.sum(axis=1, keepdims=True)\n"
    )
    code, out, _ = run("compare", "--policies", "mine.py:Mine", *log, *LIGHT, "--quiet", "--out", "result")
    assert code == 0
    assert out.index("mine reads the results of its own contacts") < out.index("95 % CI")
    assert "mine: cannot be answered from this log, because the policy reads the results" in out
    assert "weighing whole histories (dr_traj) says" in out and "(dm_rollout) say" in out
    assert "a longer log" not in out  # would not help
    summary = pd.read_csv("result/summary.csv")
    assert summary.loc[summary["estimator"] == "dm_rollout", "verdict"].isna().all()


def test_what_speaks_against_an_answer_is_told() -> None:
    (told,) = cautions(replace(example_result(), flags=flags(["reaction"])))
    assert told.startswith("Caution: Users come back more or less often after a contact")
    assert cautions(example_result()) == []


def test_the_next_step_points_to_exploration_where_some_would_be_enough() -> None:
    refused = example_result(stories={"first_chance": STORIES["first_chance"]})
    assert next_step(refused)[0].endswith("stands in report.html and exploration.csv.")
    hopeless = next_step(replace(refused, exploration=exploration(["first_chance"], feasible=False)))
    assert "a longer log" in hopeless[0] and "exploration.csv" not in hopeless[0]
    assert next_step(example_result(stories={"uniform": STORIES["uniform"]})) == []


def test_a_fault_inside_a_plug_in_ends_with_code_2_and_its_own_lines_and_no_files(run, tmp_path, log):
    (tmp_path / "mine.py").write_text(
        "class Mine:\n    def action_probabilities(self, context):\n        return context['hour'] / nothing\n"
    )
    code, _, err = run("compare", "--policies", "mine.py:Mine", *log, *LIGHT, "--quiet", "--out", "result")
    assert code == 2
    assert "Policy mine failed in action_probabilities: NameError" in err
    assert 'mine.py", line 3' in err and "context['hour'] / nothing" in err
    assert "Traceback" not in err and "guard.py" not in err
    assert not Path("result").exists()


def test_where_contacting_is_no_choice_the_preset_leaves_never_out(run):
    sent = pd.DataFrame({"guid": [f"u{i:03}" for i in range(400)], "date": "2024-05-01 10:00:00"})
    sent["date"] = [f"2024-05-{1 + i % 28:02} {i % 24:02}:00:00" for i in range(400)]
    sent["trigger"], sent["type"] = 1, [i % 2 for i in range(400)]
    sent.to_csv("sent.csv", index=False)
    sent.assign(result=[int(i % 7 == 0) for i in range(400)])[["guid", "date", "result"]].to_csv("a.csv", index=False)
    options = ["--triggers", "sent.csv", "--actions", "a.csv", "--decision-points", "trigger", "--cap-days", 0]
    code, out, _ = run("baseline_vs_xgb", *options, *LIGHT, "--out", "o")
    assert code == 0
    assert out.startswith("Comparing first_chance, uniform, random_matched, xgb_greedy and xgb_profit with")
    assert out.index("The triggers are taken as contacts, ") < out.index("verdict")  # the report's note, before it
    assert "The triggers are taken as contacts, " in Path("o/report.html").read_text(encoding="utf-8")
    code, _, err = run("compare", "--policies", "never", *options, *LIGHT, "--quiet", "--out", "p")
    assert code == 2
    assert "never cannot be tried where contacting is not a choice" in err


def test_the_recorded_command_repeats_the_run_elsewhere():
    given = ["compare", "--policies", "a b", "--out", "x", "--seed", "1", "--out=y"]
    assert recorded(given) == "python -m experiments.run compare --policies 'a b' --seed 1"


# --- the tools


def test_check_accounts_for_every_row_and_says_what_could_be_shown(run, log):
    triggers = Path(log[1]).read_text().splitlines()
    damaged = [*triggers, triggers[-1], "u1,not a date,1,view"]
    Path("triggers.csv").write_text("\n".join(damaged) + "\n")
    code, out, err = run("check", "--triggers", "triggers.csv", *log[2:], "--out", "account")
    assert (code, err) == (0, "")
    account = json.loads(Path("account/data_quality.json").read_text())["files"]["triggers"]
    assert account["read"] == len(damaged) - 1 == account["used"] + 2
    assert (account["duplicates"], account["rejected"]) == (1, 1)
    assert f"{account['read']:,}" in out and f"{account['used']:,}" in out
    assert "cannot be shown with this log." in out
    assert pd.read_csv("account/rejected_rows.csv")["line"].tolist() == [len(damaged)]


def test_check_says_which_kinds_propensities_and_attributes_there_are(run):
    """Contacts as triggers, every user on every other day, two kinds, no propensities; one user is not listed."""
    sent = pd.DataFrame(
        {"guid": [f"u{i % 20:02}" for i in range(200)], "trigger": 1, "type": [i % 2 for i in range(200)]}
    )
    sent["date"] = [f"2024-05-{1 + i // 20 * 2:02} 10:00:00" for i in range(200)]
    sent.to_csv("sent.csv", index=False)
    sent.assign(result=[int(i % 7 == 0) for i in range(200)])[["guid", "date", "result"]].to_csv("a.csv", index=False)
    pd.DataFrame({"guid": [f"u{i:02}" for i in range(19)], "age": range(19)}).to_csv("users.csv", index=False)
    files = ["--triggers", "sent.csv", "--actions", "a.csv", "--cap-days", 0]
    code, out, _ = run("check", *files)
    assert code == 0
    assert "Kinds of contact: 0, 1." in out
    assert "(propensities) are not logged" in out
    assert "No user attributes." in out
    assert "The first contact of each user who is not in a users file is history only" in out
    assert "cap" not in out
    _, out, _ = run("check", *files, "--users", "users.csv")
    assert "1 user attribute: age." in out
    assert "The first contact of each user who is not in a users file" in out


def test_check_of_one_kind_names_none(run, log):
    _, out, _ = run("check", *log)
    assert "Kinds of contact" not in out and "is history only" not in out
    assert "break the cap" in out


def test_a_made_world_can_be_read_back_and_states_its_truth(run):
    code, _, err = run("make_world", "--world", "visits", "--n-users", 300, "--seed", 5, "--out", "world")
    assert code == 0
    truth = json.loads(Path("world/truth.json").read_text(), parse_constant=pytest.fail)
    assert (truth["world"], truth["n_users"], truth["seed"]) == ("visits", 300, 5)
    assert "computing the truth of first_chance" in err
    assert truth["population"] == pytest.approx(20_000, rel=0.02)  # a small log needs no large one
    assert truth["policies"]["never"]["interests_per_user"] == 0
    assert truth["policies"]["never"]["interests_per_contact"] is None
    assert truth["policies"]["current"]["contacts_per_user"] < truth["policies"]["first_chance"]["contacts_per_user"]
    expected, _ = frames(WORLDS["visits"], 300, 5)
    assert len(pd.read_csv("world/triggers.csv")) == len(expected)
    assert run("check", "--triggers", "world/triggers.csv", "--actions", "world/actions.csv")[0] == 0


def test_a_new_policy_and_its_test_run_as_they_are(run, tmp_path, log):
    code, out, _ = run("new_policy", "night_owl", "--out", "mine")
    assert code == 0
    assert "--policies mine/night_owl.py:NightOwl" in out
    test = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "mine/test_night_owl.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert test.returncode == 0, test.stdout
    policies = "mine/night_owl.py:NightOwl"
    assert run("compare", "--policies", policies, *log, *LIGHT, "--quiet", "--out", "result")[0] == 0
    code, _, err = run("new_policy", "night_owl", "--out", "mine")
    assert code == 2
    assert "exists already; it is not overwritten" in err


def test_a_policy_that_was_written_where_modules_are_looked_for_is_there_already(run, tmp_path, monkeypatch):
    """As with `python -m`, which looks for them in the current directory first."""
    monkeypatch.syspath_prepend(tmp_path)
    assert run("new_policy", "night_owl")[0] == 0
    code, _, err = run("new_policy", "night_owl")
    assert (code, err) == (2, "night_owl.py exists already; it is not overwritten.\n")

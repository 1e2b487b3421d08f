"""What the README shows works as it stands there."""

import re
import shlex
from pathlib import Path

import matplotlib as mpl
import pytest

from experiments.run import main

README = Path(__file__).parents[1] / "README.md"
TEXT = README.read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, flags=re.DOTALL)


def test_the_python_examples_run_one_after_the_other() -> None:
    mpl.use("Agg")
    names: dict[str, object] = {}
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), names)
    assert {"evening", "current"} == set(names["result"].table["policy"])
    assert names["terminated"]


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with a small log of the reader's own and the policy of the example."""
    monkeypatch.chdir(tmp_path)
    assert main(["make_world", "--n-users", "600", "--out", "mine", "--quiet"]) == 0
    for name in ("triggers.csv", "actions.csv"):
        (tmp_path / "mine" / name).rename(tmp_path / name)
    (tmp_path / "evening.py").write_text(blocks("python")[0], encoding="utf-8")
    return tmp_path


def test_the_commands_run(workplace: Path) -> None:
    """Every command but the set-up, made quick by options at its end."""
    commands = [line for block in blocks("bash") for line in block.splitlines() if line.startswith("python -m")]
    evaluates = ["--small", "--grid", "light", "--quiet"]
    quick = dict.fromkeys(("baseline_vs_xgb", "compare", "policy_zoo"), evaluates)
    quick["recommend"] = ["--no-evaluation", "--grid", "light", "--quiet"]
    assert len(commands) == 8
    for command in commands:
        words = shlex.split(command)[3:]
        words += quick.get(words[0], [])
        words = ["300" if word == "5000" else word for word in words]
        assert main(words) == 0, command
    assert (workplace / "result" / "report.html").is_file()


def test_the_names_of_options_exist(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("baseline_vs_xgb", "make_world", "estimator_study", "recommend", "ab_plan"):
        assert main([command, "--help"]) == 0
    shown = capsys.readouterr().out
    for option in set(re.findall(r"--[a-z][a-z-]+", TEXT)) - {"--help"}:
        assert option in shown, option


def test_the_files_that_are_named_are_written(workplace: Path) -> None:
    assert main(["baseline_vs_xgb", "--small", "--grid", "light", "--quiet", "--out", "run"]) == 0
    named = set(re.findall(r"`([a-z_]+\.(?:csv|json|toml|html))`", TEXT)) - {"triggers.csv", "actions.csv", "users.csv"}
    named -= {"augmentation.json", "truth.json"}  # of other runs
    written = {path.name for path in (workplace / "run").iterdir()}
    assert named <= written
    assert {name for name in written if not name.endswith(".png")} <= named


def test_pictures_and_pages_that_are_linked_exist() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert (README.parent / target).is_file(), target

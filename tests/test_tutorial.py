"""What docs/policies.md shows works as it stands there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.new_policy import POLICY, TEST
from experiments.run import main
from policies import REGISTRY

DOCS = Path(__file__).parents[1] / "docs"
TEXT = (DOCS / "policies.md").read_text(encoding="utf-8")
MARKED = re.findall(r"(?:<!-- (.*?) -->\n)?```python\n(.*?)```", TEXT, flags=re.DOTALL)
BLOCKS = [block for mark, block in MARKED if not mark.startswith("needs ")]
NEEDS_SB3 = [block for mark, block in MARKED if mark == "needs sb3_contrib"]
FILES = {mark: block for mark, block in MARKED if mark.endswith(".py")}


def run(blocks: list[str]) -> dict[str, object]:
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "policies.md", "exec"), names)
    return names


def test_the_python_examples_run_one_after_the_other(capsys: pytest.CaptureFixture[str]) -> None:
    run(BLOCKS)
    shown = capsys.readouterr().out
    for name in ("current", "evening", "carts", "good_types", "line"):
        assert re.search(rf"^ *{name} +0\.0", shown, flags=re.MULTILINE), shown


def test_the_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As they stand there, but on few users."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "line.py").write_text(FILES["line.py"], encoding="utf-8")
    commands = [
        line for block in re.findall(r"```bash\n(.*?)```", TEXT, flags=re.DOTALL) for line in block.splitlines()
    ]
    assert len(commands) == 4
    for command in commands:
        words = command.split()
        if words[:3] == ["python", "-m", "pytest"]:
            assert subprocess.run([sys.executable, *words[1:], "-p", "no:cacheprovider"], check=False).returncode == 0
        else:
            quick = ["--small", "--grid", "light", "--quiet"] if words[3] == "compare" else []
            assert main([*words[3:], *quick]) == 0, command


def test_new_policy_writes_what_the_tutorial_shows() -> None:
    assert FILES["evening.py"] == POLICY.format(class_name="Evening")
    assert "from engagex_sim.testing import check_policy" in TEST and "check_policy({class_name})" in TEST


def test_the_table_lists_every_built_in_policy_and_its_file() -> None:
    listed = dict(re.findall(r"^\| `([a-z_]+)` \|.*\| (?:`(\w+)\.py`)? ?\|$", TEXT, flags=re.MULTILINE))
    assert listed.pop("current") == ""
    assert listed == {name: policy.__module__.removeprefix("policies.") for name, policy in REGISTRY.items()}


def test_what_is_linked_is_there() -> None:
    for target in re.findall(r"\]\(([^)#]+)", TEXT):
        assert (DOCS / target).is_file(), target


# --- what needs sb3-contrib, which this package does not depend on

ABSENT = "sb3-contrib is not installed, so the MaskablePPO examples are not run (pip install sb3-contrib)"


def test_the_deep_agent_of_the_tutorial_is_a_policy(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("sb3_contrib", reason=ABSENT)
    from engagex_sim.testing import check_policy

    names = run([*BLOCKS, *NEEDS_SB3])
    assert re.search(r"^ *maskable_ppo +0\.0", capsys.readouterr().out, flags=re.MULTILINE)
    check_policy(names["agent"], n_kinds=[1])  # type: ignore[arg-type]


def test_the_example_learns_from_other_users_and_keeps_the_contract(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sb3_contrib", reason=ABSENT)
    from engagex_sim.testing import check_policy

    monkeypatch.syspath_prepend(DOCS / "examples")
    from maskable_ppo import Agent

    check_policy(lambda: Agent(steps=512, environments=2))

"""Grid files: what is in them is tried and recorded, and what is wrong with one is said in a sentence."""

import pytest

from engagex_sim.errors import InputError
from engagex_sim.grids import MOST_COMBINATIONS, read_grid
from engagex_sim.settings import Settings


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("grid.toml", "max_depth = [2, 3]\nlearning_rate = [0.1]\n"),
        ("grid.json", '{"max_depth": [2, 3], "learning_rate": [0.1]}'),
    ],
)
def test_a_file_is_a_grid_whose_values_are_recorded(tmp_path, name, text):
    """JSON and TOML say the same; the settings hold the values, so that they are known without the file."""
    (tmp_path / name).write_text(text)
    settings = Settings(grid=str(tmp_path / name))
    expected = {"max_depth": [2, 3], "learning_rate": [0.1]}
    assert settings.grid == Settings(grid=expected).grid
    resolved = settings.resolved()
    assert (resolved["grid"], resolved["grid_values"]) == ("file", expected)


def test_a_word_is_recorded_with_its_values():
    """What `small` means is not left to the reader's version of the package."""
    resolved = Settings(grid="small").resolved()
    assert (resolved["grid"], resolved["grid_values"]["max_depth"]) == ("small", [2, 4])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("max_dept = [2]", "max_dept is no parameter of a grid, which may have max_depth, "),
        ("n_estimators = [50]", "the number of trees is found by early stopping"),
        ("max_depth = [2, 0]", "a value of max_depth should be greater than or equal to 1, not 0"),
        ("max_depth = 3", "max_depth needs a list of values, as in max_depth = [2, 4], not 3"),
        ("subsample = [1.5]", "a value of subsample should be less than or equal to 1, not 1.5"),
        ("learning_rate = ['fast']", "a value of learning_rate should be a valid number"),
        ("", "has 0 combinations of values to try"),
        (f"reg_lambda = {list(range(MOST_COMBINATIONS + 1))}", "has 201 combinations of values to try"),
        ("max_depth = [2", "neither JSON (named .json) nor TOML"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path, text, said):
    path = tmp_path / "grid.toml"
    path.write_text(text)
    with pytest.raises(InputError) as raised:
        Settings(grid=path)
    assert said in str(raised.value)
    assert str(raised.value).startswith("grid.toml")
    assert str(raised.value).endswith(".")


def test_a_word_that_is_none_is_taken_for_a_file_that_is_missing(tmp_path):
    """The sentence names the words, for who mistyped one."""
    with pytest.raises(InputError, match=r"one of light, small, full, or a JSON or TOML file .* there is no such file"):
        Settings(grid="smal")
    with pytest.raises(InputError, match="it cannot be read as text"):
        read_grid(tmp_path)


def test_a_list_is_no_grid(tmp_path):
    (tmp_path / "grid.json").write_text("[1, 2]")
    with pytest.raises(InputError, match="a grid has a list of values per parameter"):
        read_grid(tmp_path / "grid.json")

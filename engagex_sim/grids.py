"""Which settings of the reward model are tried: a word, or a file with lists of XGBoost's parameters."""

import json
import math
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from engagex_sim.errors import InputError

Grid = Literal["light", "small", "full"]  # light: one fixed setting, no search
GRIDS: Mapping[Grid, Mapping[str, list[float]]] = {
    "light": {"max_depth": [2], "n_estimators": [20], "learning_rate": [0.2]},
    "small": {"max_depth": [2, 4], "learning_rate": [0.1]},
    "full": {"max_depth": [1, 2, 3, 5], "learning_rate": [0.05, 0.1], "colsample_bytree": [0.5, 1.0]},
}
MOST_COMBINATIONS = 200

_Depths = tuple[Annotated[int, Field(ge=1, le=20)], ...]
_Amounts = tuple[Annotated[float, Field(ge=0, allow_inf_nan=False)], ...]
_Shares = tuple[Annotated[float, Field(gt=0, le=1)], ...]


class GridValues(BaseModel):
    """Values of XGBoost's parameters, by its own names; every combination is tried. The others stay as in `small`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_depth: _Depths = ()
    learning_rate: _Shares = ()
    min_child_weight: _Amounts = ()
    reg_lambda: _Amounts = ()
    reg_alpha: _Amounts = ()
    gamma: _Amounts = ()
    subsample: _Shares = ()
    colsample_bytree: _Shares = ()

    @property
    def lists(self) -> dict[str, list[float]]:
        """The parameters that have values."""
        return {name: list(values) for name, values in self if values}


def values_of(grid: Grid | GridValues) -> dict[str, list[float]]:
    """What a grid tries: lists by parameter."""
    return grid.lists if isinstance(grid, GridValues) else {name: list(values) for name, values in GRIDS[grid].items()}


def read_grid(path: Path) -> GridValues:
    """The grid in a JSON or TOML file. Raises `InputError` where it is none, or a value is out of range."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = "there is no such file" if isinstance(error, FileNotFoundError) else "it cannot be read as text"
        raise InputError(
            f"The grid is one of {', '.join(GRIDS)}, or a JSON or TOML file with lists of XGBoost's parameters, not"
            f" {str(path)!r}: {why}."
        ) from error
    try:
        content = json.loads(text) if path.suffix.lower() == ".json" else tomllib.loads(text)
    except ValueError as error:
        raise InputError(f"{path.name} is neither JSON (named .json) nor TOML: {error}.") from error
    return checked_grid(content, path.name)


def checked_grid(content: Any, source: str) -> GridValues:
    """The grid that `content` is. Raises `InputError` that names `source`."""
    if not isinstance(content, Mapping):
        raise InputError(f"{source} is no grid: a grid has a list of values per parameter, as in max_depth = [2, 4].")
    try:
        grid = GridValues(**content)
    except ValidationError as error:
        raise InputError(f"{source}: {_first_problem(error)}.") from error
    combinations = math.prod(map(len, grid.lists.values())) if grid.lists else 0
    if not 0 < combinations <= MOST_COMBINATIONS:
        raise InputError(
            f"{source} has {combinations:,} combinations of values to try; there are to be 1 to {MOST_COMBINATIONS}."
        )
    return grid


def _first_problem(error: ValidationError) -> str:
    first = error.errors()[0]
    name = first["loc"][0]
    if first["type"] == "extra_forbidden":
        advice = "; the number of trees is found by early stopping" if name == "n_estimators" else ""
        return f"{name} is no parameter of a grid, which may have {', '.join(GridValues.model_fields)}{advice}"
    if len(first["loc"]) == 1:
        return f"{name} needs a list of values, as in max_depth = [2, 4], not {first['input']!r}"
    wish = first["msg"].removeprefix("Input ")
    return f"a value of {name} {wish}, not {first['input']!r}"

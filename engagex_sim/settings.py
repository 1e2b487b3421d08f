"""Everything a run can be told, validated once."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import PydanticCustomError

from engagex_sim.grids import Grid, GridValues, checked_grid, read_grid, values_of

TriggersAre = Literal["auto", "opportunities", "contacts"]
DecisionPoints = Literal["auto", "trigger", "day"]
Start = Literal["logged", "free"]
Imbalance = Literal["none", "scale_pos_weight", "smote", "both", "augment"]
Device = Literal["cpu", "cuda"]


class LogSettings(BaseModel):
    """How the two files are read and what a decision point is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    columns: dict[str, str] = Field(default_factory=dict)  # our name → the file's name
    triggers_are: TriggersAre = "auto"
    decision_points: DecisionPoints = "auto"
    cap_days: float = Field(default=14.0, ge=0, lt=36_525)
    burn_in_days: float | None = Field(default=None, ge=0, lt=36_525)  # None: the cap
    start: Start = "logged"
    match_window_hours: float = Field(default=24.0, ge=0, le=24 * 366)
    allow_rejected: float = Field(default=0.05, ge=0, le=1)
    allow_orphans: float = Field(default=0.05, ge=0, le=1)
    until: int | None = None  # seconds since 1970 in the log's own clock: later rows are as if they were not there

    @property
    def burn_in(self) -> float:
        """Days of the log that give history only."""
        if self.start == "free":
            return 0.0
        return self.cap_days if self.burn_in_days is None else self.burn_in_days

    def resolved(self) -> dict[str, Any]:
        """All settings by name; `burn_in_days` is a number, also where it follows from the others."""
        return self.model_dump() | {"burn_in_days": self.burn_in}


class Settings(LogSettings):
    """A whole evaluation."""

    folds: int = Field(default=5, ge=2, le=50)
    holdout: float | None = Field(default=None, gt=0, lt=1)  # share of users to judge on; the others train, no folds
    value: float = Field(default=5.0, ge=0)  # what an interested user earns
    cost: float = Field(default=1.0, ge=0)  # what a contact costs
    kind_cap: dict[str, float] = Field(default_factory=dict)  # days between contacts of a kind; or "email=28,…"
    exempt: tuple[str, ...] = ()  # kinds that the cap does not block, and that do not count for it; or "service,…"
    quiet_hours: tuple[int, int] | None = None  # no contact from hour … until hour …; or "22-8"
    stop_after_interest: bool = False  # nobody is contacted again after an interest
    capacity: float | None = Field(default=None, gt=0)  # contacts a day at most, of all users together
    imbalance: Imbalance = "none"
    llm_url: str | None = None  # of a server that writes the rows for "augment"; None: they are made without one
    llm_model: str | None = None
    llm_budget: int = Field(default=100, ge=1, le=1_000_000)  # requests to it at most
    grid: Grid | GridValues = "small"  # also given as a file's name, or as lists by parameter
    n_boot: int = Field(default=1000, ge=50, le=100_000)
    refit_boot: int = Field(default=0, ge=0, le=10_000)  # bootstrap replicates that fit all models and policies again

    @field_validator("grid", mode="before")
    @classmethod
    def _grid(cls, given: Any) -> Any:
        if isinstance(given, str | Path) and given not in get_args(Grid):
            return read_grid(Path(given))
        return checked_grid(given, "The grid") if isinstance(given, Mapping) else given

    @field_validator("kind_cap", mode="before")
    @classmethod
    def _kind_cap(cls, given: Any) -> Any:
        if not isinstance(given, str):
            return given
        pairs = [pair.rpartition("=") for pair in given.split(",")]
        if not all(kind.strip() and _is_number(days) for kind, _, days in pairs):
            raise PydanticCustomError(
                "rule", "Input should be a list of kind=days, each with a number of days, as in email=28,letter=60"
            )
        return {kind.strip(): days.strip() for kind, _, days in pairs}

    @field_validator("kind_cap")
    @classmethod
    def _days(cls, caps: dict[str, float]) -> dict[str, float]:
        if not all(0 < days < 36_525 for days in caps.values()):
            raise PydanticCustomError("rule", "Input should be caps of more than 0 and less than 36,525 days")
        return caps

    @field_validator("exempt", mode="before")
    @classmethod
    def _exempt(cls, given: Any) -> Any:
        return tuple(kind.strip() for kind in given.split(",") if kind.strip()) if isinstance(given, str) else given

    @field_validator("quiet_hours", mode="before")
    @classmethod
    def _quiet_hours(cls, given: Any) -> Any:
        hours = [part.strip() for part in given.split("-")] if isinstance(given, str) else given
        if hours is None:
            return None
        if len(hours) == 2 and all(str(hour).isdecimal() and int(hour) <= 24 for hour in hours):
            begin, end = (int(hour) % 24 for hour in hours)
            if begin != end:
                return begin, end
        raise PydanticCustomError("rule", "Input should be two hours of the day, as in 22-8")

    @field_validator("refit_boot")
    @classmethod
    def _more_than_one(cls, number: int) -> int:
        if number == 1:
            raise ValueError("Input should be 0, or at least 2: the spread of one refit says nothing")
        return number

    seed: int = Field(default=0, ge=0, lt=2**31)  # as far as every library goes
    device: Device = "cpu"  # where models are trained
    threads: int = Field(default=1, ge=1, le=1024)

    @property
    def rules_asked(self) -> bool:
        """Whether policies under trial keep to rules beside the cap."""
        return bool(self.kind_cap or self.exempt or self.quiet_hours or self.stop_after_interest)

    def resolved(self) -> dict[str, Any]:
        """Likewise; `grid` is a word, `grid_values` are the values that are tried, and rules are text, None if none."""
        word = self.grid if isinstance(self.grid, str) else "file"
        rules = {
            "kind_cap": ",".join(f"{kind}={days:g}" for kind, days in self.kind_cap.items()) or None,
            "exempt": ",".join(self.exempt) or None,
            "quiet_hours": None if self.quiet_hours is None else "{}-{}".format(*self.quiet_hours),
        }
        return super().resolved() | {"grid": word, "grid_values": values_of(self.grid)} | rules


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def first_problem(error: ValidationError) -> str:
    """One sentence on the first setting that is wrong."""
    first = error.errors()[0]
    wish = first["msg"].removeprefix("Input ").removeprefix("Value ")
    return f"The setting {'.'.join(map(str, first['loc']))} {wish[0].lower()}{wish[1:]}, not {first['input']!r}."

"""What the study runs, as data: which worlds, how large, how often, and what is claimed there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from engagex_sim.errors import InputError
from engagex_sim.policy import Policy
from engagex_sim.worlds import WORLDS, World
from experiments.registry import POLICIES
from policies import REGISTRY

EQUAL = "logging"  # the policy that is equal to the logging policy: its lift is 0
AT_VOLUME = (EQUAL, "random_matched", "xgb_greedy")  # as many contacts as the current strategy
SILENT = ("never", "xgb_profit")  # contact nobody in these worlds: exact, and nothing to estimate
EAGER = ("first_chance", "xgb_greedy")  # whose free decision points differ most from the logged ones
MILD = ("random_matched", EQUAL)
FOLDS = 2
N_BOOT = 300
ROWS_PER_CHUNK = 200_000  # users in one unit of work: what is lost when the study is stopped
TRUTH_USERS, SMALL_TRUTH_USERS = 200_000, 5_000  # on whom a world's truth is measured


@dataclass(frozen=True)
class Cell:
    """Logs of one world and size, drawn again and again."""

    name: str
    world: World
    n_users: int
    replications: int
    holds: bool = True  # the world meets the assumptions, so intervals must cover
    without: tuple[str, ...] = SILENT  # built-in policies that are left out
    refits: int = 0  # bootstrap replicates that fit every model again

    @property
    def chunk(self) -> int:
        """Replications in one unit of work, at most."""
        return max(1, min(25, ROWS_PER_CHUNK // (self.n_users * (1 + self.refits))))

    @property
    def has_equal(self) -> bool:
        """Whether a policy can be equal to the log's: it reads what the log shows, and keeps to the cap."""
        return self.world.logging_is_visible and self.world.logging_cap == self.world.cap

    def policies(self) -> list[Policy]:
        """The main job's policies, and where there is one, the policy equal to the log's; fresh ones at every call."""
        own = [REGISTRY[name]() for name in POLICIES if name not in self.without]
        return [*own, self.world.logging] if self.has_equal else own

    def describe(self) -> dict[str, object]:
        """What the results of one replication depend on, but for the seed."""
        return {
            "world": repr(self.world),  # a dataclass: its name and every field
            "n_users": self.n_users,
            "without": list(self.without),
            "refits": self.refits,
            "chunk": self.chunk,  # replications that share the population on which their truth is measured
            "folds": FOLDS,
            "n_boot": N_BOOT,
            "truth_users": [TRUTH_USERS, SMALL_TRUTH_USERS],
        }


def full() -> tuple[Cell, ...]:
    """The study."""
    from engagex_sim.worlds import Confounded, Visits

    cells = [Cell("visits", WORLDS["visits"], 20_000, 1_000)]
    cells += [
        Cell(name, WORLDS[name], 20_000, 1_000) for name in ("sends", "fatigue", "frailty", "bursty", "capless", "null")
    ]
    cells += [
        Cell(f"confounded_{word}", Confounded(strength=strength), 20_000, 100, holds=False)
        for word, strength in (("weak", 0.5), ("middling", 1.0), ("strong", 2.0))
    ]
    cells += [Cell(name, WORLDS[name], 20_000, 100, holds=False) for name in ("drift", "reactive")]
    cells.append(Cell("deterministic", WORLDS["deterministic"], 20_000, 50, holds=False, without=()))
    cells += [Cell(f"visits_cap_{days}", Visits(cap_days=days), 20_000, 100) for days in (0, 7, 28)]
    cells += [
        Cell(f"{name}_{n_users // 1000}k", WORLDS[name], n_users, 200)
        for name in ("visits", "null", "sends", "fatigue")
        for n_users in (2_000, 5_000)
    ]
    cells.append(Cell("visits_50k", WORLDS["visits"], 50_000, 30))
    cells.append(Cell("visits_5k_refit", WORLDS["visits"], 5_000, 50, refits=15))
    cells.append(Cell("sends_2k_refit", WORLDS["sends"], 2_000, 60, refits=20))
    return tuple(cells)


def small() -> tuple[Cell, ...]:
    """Quick: what the tests run."""
    return (Cell("visits", WORLDS["visits"], 1_000, 2), Cell("null", WORLDS["null"], 1_000, 2))


@cache
def cells_of(small_study: bool) -> Mapping[str, Cell]:
    """The cells of the study by name; every call in one process gives the same worlds."""
    return {cell.name: cell for cell in (small() if small_study else full())}


def find(name: str, small_study: bool) -> Cell:
    """The cell of this name."""
    return cells_of(small_study)[name]


def chosen(names: Sequence[str] | None, small_study: bool) -> list[Cell]:
    """The cells of these names, all where none are given. Raises `InputError` for a name that there is not."""
    known = cells_of(small_study)
    unknown = [name for name in names or () if name not in known]
    if unknown:
        raise InputError(f"There is no cell {unknown[0]!r}; there are: {', '.join(known)}.")
    return [known[name] for name in names] if names else list(known.values())

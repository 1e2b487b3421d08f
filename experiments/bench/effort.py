"""How thoroughly is measured: what the jobs are, and how large the samples on which a slow way is tried."""

from dataclasses import dataclass
from pathlib import Path

from engagex_sim.grids import Grid
from engagex_sim.policy import Policy
from engagex_sim.settings import Settings
from experiments.registry import POLICIES
from policies import REGISTRY


@dataclass(frozen=True)
class Effort:
    """The main job with its defaults, and samples that take seconds to some minutes."""

    rows: tuple[int, ...] = (1_000_000, 10_000_000)
    folds: int = 5
    n_boot: int = 1_000
    grid: Grid = "small"
    part_blocks: int = 3  # blocks on which the parts of a stage are measured
    steps: int = 20_000  # decisions in the step loop
    scored: int = 5_000  # rows scored one by one
    bootstrap_users: int = 100_000
    decisions: int = 10  # of each of these users
    gathered: int = 5  # replicates made by gathering
    curve_rows: int = 10_000_000  # the curve over workers is measured on the largest log of up to so many rows
    curve_blocks: int = 16  # in so many blocks or more

    def settings(self, threads: int) -> Settings:
        """The main job's."""
        return Settings(folds=self.folds, n_boot=self.n_boot, grid=self.grid, threads=threads)


SMALL = Effort(
    rows=(20_000,),
    folds=2,
    n_boot=50,
    grid="light",
    part_blocks=1,
    steps=300,
    scored=100,
    bootstrap_users=1_000,
    gathered=2,
    curve_blocks=4,
)


@dataclass(frozen=True)
class Files:
    """A log of the original's shape."""

    rows: int  # as asked for; the files hold about as many
    triggers: Path
    actions: Path


def policies() -> list[Policy]:
    """Those of the main job."""
    return [REGISTRY[name]() for name in POLICIES]

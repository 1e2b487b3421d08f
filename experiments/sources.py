"""Where a run's log comes from: the files that are given, or the experiment's synthetic world."""

from dataclasses import dataclass

from engagex_sim.log import Log, LogBlocks, read_log
from engagex_sim.settings import Settings
from engagex_sim.worlds import WORLDS, World, tables
from experiments.inputs import Files, Options, blocks_from
from experiments.registry import Evaluation


@dataclass(frozen=True)
class Source:
    """A log and where it comes from."""

    log: Log | LogBlocks
    name: str
    world: World | None

    def truth(self, settings: Settings) -> World | None:
        """The world, if the evaluation asks what its truth answers: same cap, same start, every trigger a chance."""
        if self.world is None:
            return None
        cap = self.world.cap.days
        asked = (
            (settings.cap_days, settings.burn_in, settings.start) == (cap, cap, "logged")
            and settings.triggers_are != "contacts"
            and settings.decision_points != "day"
            and not (self.world.reacts and settings.rules_asked)
        )
        return self.world if asked else None


def source_of(files: Files | None, options: Options, experiment: Evaluation, settings: Settings) -> Source:
    """The log of the run. Raises `InputError`."""
    if files is not None:
        log = blocks_from(files, options, settings)
        return Source(log, f"{files.triggers.name} and {files.actions.name}", None)
    world = WORLDS[options["world"] or experiment.world]
    n_users = options["n_users"] or (experiment.small.n_users if options["small"] else experiment.n_users)
    made = tables(world, n_users, settings.seed)
    log_of_world = read_log(made.triggers, made.actions, made.users, settings, threads=settings.threads)
    return Source(log_of_world, f"the synthetic world {world.name} ({world.summary})", world)

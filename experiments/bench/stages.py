"""The main job at one size, stage by stage, and the parts of the stages that go through the blocks."""

import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from engagex_sim.block import Recursion
from engagex_sim.cap import Cap
from engagex_sim.crossfit import fit
from engagex_sim.decision_points import decisions_of
from engagex_sim.dependence import carried
from engagex_sim.evaluation import evaluate_prepared
from engagex_sim.execution import workers
from engagex_sim.log import read_blocks
from engagex_sim.ope.resampling import Resampling, resampled_sums
from engagex_sim.policy_terms import UserSums
from engagex_sim.preparation import prepare
from engagex_sim.report.files import write_result
from engagex_sim.splitting import Splitting
from engagex_sim.timeline import Timeline
from experiments.bench.effort import Effort, Files, policies
from experiments.bench.fresh import forget_peak, peak
from experiments.terminal import Progress

START, READING, SURVEY, LEARNING, BLOCKS, ESTIMATES, DIAGNOSTICS, REPORT = STAGES = (
    "start",
    "reading",
    "survey",
    "learning",
    "blocks observed",
    "estimates",
    "diagnostics",
    "report",
)
_STAGE_OF_STEP = {
    "learning": LEARNING,
    "evaluating": BLOCKS,
    "estimates": ESTIMATES,
    "diagnostics": DIAGNOSTICS,
    "done": REPORT,
}
FOLD, LOADING, FEATURES = "learning, one fold", "loading blocks", "features"
SCORING, RECURSION, RESAMPLING = "scoring", "recursion", "sums in every resample"
BESIDE, _OVER = "beside the parts", ""  # what is not measured


@dataclass(frozen=True)
class Spent:
    """What one stage took."""

    stage: str
    seconds: float
    cpu_seconds: float
    peak: int  # bytes, of the whole process meanwhile
    triggers: int  # trigger rows that it was about


class Clock:
    """Says what each stage of this process took, from the moments that it was begun until the next ones were."""

    def __init__(self, first: str, began: float) -> None:
        """`began` is the moment (`time.time`) at which the first stage did."""
        self._stage, self._began, self._cpu = first, began, 0.0
        self._spent: dict[str, Spent] = {}

    def __call__(self, stage: str) -> None:
        """A stage begins, or goes on."""
        if stage == self._stage:
            return
        now, cpu = time.time(), time.process_time()
        earlier = self._spent.get(self._stage, Spent(self._stage, 0.0, 0.0, 0, 0))
        self._spent[self._stage] = replace(
            earlier,
            seconds=earlier.seconds + now - self._began,
            cpu_seconds=earlier.cpu_seconds + cpu - self._cpu,
            peak=max(earlier.peak, peak()),
        )
        self._stage, self._began, self._cpu = stage, now, cpu
        forget_peak()

    def spent(self, triggers: int) -> list[Spent]:
        """Of all stages, in order, as about so many trigger rows; the last one ends now."""
        self(_OVER)
        return [replace(own, triggers=triggers) for own in self._spent.values()]


def whole_run(files: Files, cache: Path, effort: Effort, threads: int, began: float, progress: Progress) -> list[Spent]:
    """The main job, from the files to the written report; `began` is when this process was started (`time.time`).

    Where `cache` knows the files they are not read again.
    """
    clock = Clock(START, began)
    settings = effort.settings(threads)
    clock(READING)
    progress(READING)
    with ExitStack() as stack:
        over = stack.enter_context(workers("threads", threads))
        folder = Path(stack.enter_context(TemporaryDirectory()))
        log = stack.enter_context(
            read_blocks(files.triggers, files.actions, settings=settings, threads=threads, cache=cache)
        )
        clock(SURVEY)
        progress(SURVEY)
        prepared = prepare(log, settings, over=over)

        def step(what: str, done: int, total: int) -> None:
            clock(_STAGE_OF_STEP[what.partition(",")[0]])
            progress(what, done, total)

        result = evaluate_prepared(prepared, log.quality, policies(), settings, progress=step, over=over)
        write_result(result, folder / "result", "")
        return clock.spent(int(log.triggers.sum()))


def parts(files: Files, cache: Path, effort: Effort, threads: int, progress: Progress) -> list[Spent]:
    """What is done to the blocks, one thing at a time, on a few of them; and learning, for one fold of all users.

    Scoring and recursion are done once here: in the job, recursion is done for the logging policy and for each policy
    that is evaluated.
    """
    progress("parts of the stages")
    clock = Clock(BESIDE, time.time())
    settings = effort.settings(threads)
    with read_blocks(files.triggers, files.actions, settings=settings, threads=threads, cache=cache) as log:
        prepared = prepare(log, settings)
        judged = Splitting(settings.seed, settings.folds).judged(prepared.timeline.user_key)[0]
        carry = carried(prepared.evaluation, prepared.whole, prepared.cap_modelled, settings)
        clock(FOLD)
        fitted = fit(
            prepared.timeline.users(~judged),
            prepared.sampled[~judged],
            policies(),
            settings,
            seed=settings.seed,
            cap_modelled=prepared.cap_modelled,
            carry=carry,
            represented=prepared.represented,
        )
        clock(BESIDE)
        bound = prepared.cap_modelled
        resampling = Resampling.of(prepared.facts.n_users, settings.seed, settings.n_boot)
        width = 2 + len(fitted.policies) * (len(UserSums._fields) + prepared.days.count)
        blocks = range(min(effort.part_blocks, len(log)))
        for block in blocks:
            clock(LOADING)
            own = log.load(block)
            clock(FEATURES)
            t = Timeline.of(decisions_of(own, settings), Cap(settings.cap_days))
            clock(BESIDE)
            t = t.evaluation()
            columns = np.ones((t.n_users, width))
            clock(SCORING)
            predicted, hazard = fitted.interest_by_state(t.free_context()), fitted.logging.when_free(t.free_context())
            clock(RECURSION)
            Recursion(carry.logging, carry.weights, bound, t.unexplained(bound), predicted).run(t, hazard)
            clock(RESAMPLING)
            resampled_sums(columns, t.user_key, resampling)
            clock(BESIDE)
        of_blocks, of_all = int(log.triggers[: len(blocks)].sum()), int(log.triggers.sum())
    return [
        replace(spent, triggers=of_all) if spent.stage == FOLD else spent
        for spent in clock.spent(of_blocks)
        if spent.stage != BESIDE
    ]

"""`ab_plan --check`: does a planned A/B test find the lift as often as promised? Tests are carried out in a world."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import norm

from engagex_sim.ab_test import Design, Outcome, arms, power_of, users_needed
from engagex_sim.cap import Cap
from engagex_sim.columns import FloatArray, sums_by
from engagex_sim.errors import InputError
from engagex_sim.policy import Policy, policy_name
from engagex_sim.preparation import prepare_decisions
from engagex_sim.recommend import learn
from engagex_sim.report.formats import percent
from engagex_sim.result import PRIMARY
from engagex_sim.settings import Settings
from engagex_sim.simulate import simulate
from engagex_sim.timeline import Timeline
from engagex_sim.worlds import WORLDS, World, logged_decisions, true_value, visible
from engagex_sim.worlds.world import CHUNK
from experiments.plugins import load_policy
from experiments.terminal import Progress, Terminal

NEAR = 0.02  # by which the share of rejections may miss the power that was promised
LEARNERS = 20_000  # users from whom a policy that learns does
MEASURED = 200_000  # users on whom the lift and the variance that go into the plan are measured
_TRAINING, _MEASURING, _CONTROL, _TREATMENT = range(4)


@dataclass(frozen=True)
class Checked:
    """What the tests came to beside what was promised."""

    lift: float  # true, relative
    users_control: int
    users_treatment: int
    promised: float
    rejected: float  # share of the tests
    tests: int

    @property
    def error(self) -> float:
        """Standard error of `rejected`, if the promise holds."""
        return math.sqrt(self.promised * (1 - self.promised) / self.tests)


def run_check(world_name: str, policy_spec: str | None, tests: int, design: Design, seed: int, quiet: bool) -> None:
    """Plan a test at the true lift of a policy in a world, carry it out many times, and say how often it rejects."""
    if world_name not in WORLDS:
        raise InputError(f"There is no world {world_name!r}; there are: {', '.join(WORLDS)}.")
    world, policy = WORLDS[world_name], load_policy(policy_spec or "first_chance")
    if world.reacts:
        raise InputError(f"In {world.name} timelines react to contacts: who is in which arm changes who comes.")
    terminal = Terminal(quiet)
    with terminal.progress() as progress:
        found = check(world, policy, tests, MEASURED, design, seed, progress)
    away = abs(found.rejected - found.promised)
    terminal.say(
        f"{policy_name(policy)} in {world.name}: a true lift of {percent(found.lift, signed=True)} takes"
        f" {found.users_treatment:,} users in treatment and {found.users_control:,} in control. Of {found.tests:,} such"
        f" tests {100 * found.rejected:.1f} % find it; promised were {100 * found.promised:.1f} %. The difference of"
        f" {100 * away:.1f} points is {'within' if away <= NEAR else 'more than'} {100 * NEAR:.0f} points (its standard"
        f" error is {100 * found.error:.1f})."
    )


def check(
    world: World, policy: Policy, tests: int, measured: int, design: Design, seed: int, progress: Progress
) -> Checked:
    """Carry out `tests` tests of new users each. Raises `InputError` where the policy changes nothing."""
    progress("the true lift", 0, tests)
    if hasattr(policy, "fit"):
        settings = Settings(seed=seed)
        log = logged_decisions(world, LEARNERS, np.random.default_rng([seed, _TRAINING]))
        prepared = prepare_decisions(visible(log), settings)
        (policy,) = learn(prepared, policy, settings, prepared.days.first).policies
    now, then = (true_value(world, p, n_users=measured).metrics[PRIMARY] for p in (world.logging, policy))
    lift = then / now - 1
    population = _interests_of(world, world.logging, world.logging_cap, np.random.default_rng([seed, _MEASURING]))
    control = Outcome(now, float(_next(population, np.zeros(0), measured).var()))
    users = users_needed(control, lift, design)
    if math.isinf(users):
        raise InputError(f"{policy_name(policy)} interests as many users as the current strategy: nothing to find.")
    sizes = arms(users, design)
    arms_of = (
        _interests_of(world, world.logging, world.logging_cap, np.random.default_rng([seed, _CONTROL])),
        _interests_of(world, policy, world.cap, np.random.default_rng([seed, _TREATMENT])),
    )
    z, rejected = norm.ppf(1 - design.alpha / 2), 0
    waiting = [np.zeros(0), np.zeros(0)]
    for done in range(tests):
        progress("tests", done, tests)
        for arm, size in enumerate(sizes):
            waiting[arm] = _next(arms_of[arm], waiting[arm], size)
        own, other = waiting[0][: sizes[0]], waiting[1][: sizes[1]]
        error = math.sqrt(own.var(ddof=1) / len(own) + other.var(ddof=1) / len(other))
        rejected += int(abs(other.mean() - own.mean()) > z * error)
        waiting = [interests[size:] for interests, size in zip(waiting, sizes, strict=True)]
    promised = power_of(control, control.scaled(1 + lift), *sizes, design)
    return Checked(lift, *sizes, promised, rejected / tests, tests)


def _next(chunks: Iterator[FloatArray], there: FloatArray, size: int) -> FloatArray:
    """At least `size` users' interests, those that are there already first."""
    parts = [there]
    while sum(map(len, parts)) < size:
        parts.append(next(chunks))
    return np.concatenate(parts)


def _interests_of(world: World, policy: Policy, cap: Cap, rng: np.random.Generator) -> Iterator[FloatArray]:
    """Interests per user of ever new users, who were contacted by the current strategy until the test begins."""
    while True:
        t = replace(Timeline.of(logged_decisions(world, CHUNK, rng), world.cap).evaluation(), cap=cap)
        reward = simulate(t, policy, world.reward_probabilities, rng).reward
        yield sums_by(t.user_of_row, reward, t.n_users)

"""The sentences with which a run begins: what the log is, what will be done, what it could show; and ends."""

from collections.abc import Sequence

from engagex_sim.exploration import chosen
from engagex_sim.log import DataQuality
from engagex_sim.report.cautions import raised_flags
from engagex_sim.report.formats import counted, listing
from engagex_sim.report.sentences import next_step_sentence, power_clause
from engagex_sim.result import Facts, Result
from engagex_sim.settings import Settings


def plan(source: str, policies: Sequence[str], quality: DataQuality, facts: Facts, settings: Settings) -> str:
    """One paragraph: the question, the size of the log, how it is evaluated and the smallest lift it could show."""
    return (
        f"Comparing {listing(policies)} with the current strategy on {source}: {rows(quality)};"
        f" {period(facts)}. {_learning(settings)}; {settings.n_boot:,} bootstrap replicates. {_refits(settings)}"
        f"{power(facts)}"
    )


def invented(world: str) -> str:
    """Where the log of a command comes from that was given none."""
    return f"No log was given, so the users are invented: those of the synthetic world {world}."


def _learning(settings: Settings) -> str:
    """Who is learned from, and on whom policies are evaluated."""
    if settings.holdout is not None:
        return (
            f"Models and policies learn once, from {100 * (1 - settings.holdout):.3g} % of the users, and are evaluated"
            f" on the other {100 * settings.holdout:.3g} %"
        )
    return (
        f"Models and policies learn from {settings.folds - 1} of {settings.folds} groups of users and are evaluated on"
        " the one left out, in turn"
    )


def _refits(settings: Settings) -> str:
    """What --refit-boot adds to the run, if it is asked for."""
    if settings.refit_boot == 0:
        return ""
    again = counted(settings.refit_boot, "more time", "more times")
    return f"All of it is fitted {again}, on resampled users, which takes about {settings.refit_boot} times as long. "


def sent_elsewhere(settings: Settings) -> list[str]:
    """Where rows of the log are sent, and how much is asked for; nothing where all stays here."""
    if settings.llm_url is None:
        return []
    return [
        f"Some contacts of the log are sent to {settings.llm_url}, as features (time, activity and your own columns, no"
        f" user ids), for {settings.llm_model} to write rows like them: {settings.llm_budget:,} requests at most."
    ]


def reads_results(policy: str) -> str:
    """What can be said about a policy whose contacts depend on the results of its earlier ones."""
    return (
        f"{policy} reads the results of its own contacts, which this log holds for other contacts only: there will be"
        " no verdict, but the answer of cumulative weights (dr_traj) and one of simulated histories (dm_rollout), which"
        " is only as good as the reward model."
    )


def cautions(result: Result) -> list[str]:
    """What the tests found against the answers."""
    return [f"Caution: {sentence}" for sentence in raised_flags(result)]


def next_step(result: Result) -> list[str]:
    """What to do where the log cannot answer; nothing where it does."""
    sentence, plans = next_step_sentence(result), result.exploration
    if sentence and any(chosen(plans[plans["policy"] == policy]) is not None for policy in plans["policy"].unique()):
        sentence += " Which random contacts would be enough, and how many, stands in report.html and exploration.csv."
    return [sentence] if sentence else []


def rows(quality: DataQuality) -> str:
    """How many rows of each file there are."""
    return listing([counted(file.read, f"{name.removesuffix('s')} row") for name, file in quality.files.items()])


def period(facts: Facts) -> str:
    """Users and decision points of the evaluation, and its days."""
    last = facts.log_end.date()
    burn_in = (facts.evaluation_start - facts.log_start).days
    history = f", after {counted(burn_in, 'day that gives', 'days that give')} history only" if burn_in else ""
    days = (last - facts.evaluation_start.date()).days
    return (
        f"{counted(facts.n_users, 'user')} and {counted(facts.n_decisions, 'decision point')} in"
        f" {counted(days, 'day')} from {facts.evaluation_start:%Y-%m-%d} on{history}"
    )


def power(facts: Facts) -> str:
    """The smallest lift that the log could show, before any training."""
    made = f"{counted(facts.n_interests, 'interest')} from {counted(facts.n_contacts, 'contact')}"
    return f"{made}: {power_clause(facts)}."

"""The sentences with which a run begins: what the log is, what will be done, what it could show."""

from collections.abc import Sequence

from engagex_sim.log import DataQuality
from engagex_sim.report.formats import counted, listing
from engagex_sim.report.sentences import power_clause
from engagex_sim.result import Facts
from engagex_sim.settings import Settings


def plan(source: str, policies: Sequence[str], quality: DataQuality, facts: Facts, settings: Settings) -> str:
    """One paragraph: the question, the size of the log, how it is evaluated and the smallest lift it could show."""
    return (
        f"Comparing {listing(policies)} with the current strategy on {source}: {rows(quality)};"
        f" {period(facts)}. Models and policies learn from {settings.folds - 1} of {settings.folds} groups of users and"
        f" are evaluated on the one left out, in turn; {settings.n_boot:,} bootstrap replicates. {power(facts)}"
    )


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

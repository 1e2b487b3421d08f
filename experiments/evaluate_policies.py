"""`baseline_vs_xgb`, `compare` and every other experiment that evaluates policies on a log or in a world."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np

from engagex_sim.augment.choice import row_generator
from engagex_sim.errors import InputError
from engagex_sim.evaluation import evaluate_prepared
from engagex_sim.execution import workers
from engagex_sim.log import Log, LogBlocks, read_log
from engagex_sim.models.device import on_usable_device
from engagex_sim.policy import Policy, policy_name
from engagex_sim.policy_states import policy_by_state
from engagex_sim.preparation import Prepared, prepare
from engagex_sim.report.answers import answers
from engagex_sim.report.files import write_result
from engagex_sim.report.sentences import economics_sentences, headline_sentence, policy_sentences
from engagex_sim.settings import Settings
from engagex_sim.splitting import held_out
from engagex_sim.states import NO_STATE
from engagex_sim.worlds import WORLDS, World, tables
from experiments.inputs import (
    Files,
    Options,
    blocks_from,
    executor_from,
    files_from,
    output_directory,
    settings_from,
)
from experiments.plugins import load_policies
from experiments.registry import EVALUATIONS, Evaluation
from experiments.resuming import check_resume, checkpoint_of
from experiments.terminal import Terminal, result_table
from experiments.wording import cautions, next_step, plan, reads_results, sent_elsewhere
from policies.fixed import Never

TRIAL_ROWS = 1_000


def evaluate_policies(name: str, options: Options, command: str) -> None:
    """Run the experiment `name`: read, evaluate, write the files, and show the answer.

    What can be refused is refused before anything slow begins. Raises `InputError`.
    """
    experiment = EVALUATIONS[name]
    settings = settings_from(_small(options, experiment) if options["small"] else options, Settings)
    if options["holdout"] is not None and options["folds"] is not None:
        raise InputError("--holdout learns once, from the users who are not held out: leave out --folds.")
    row_generator(settings)
    directory = output_directory(options["out"], name)
    policies = load_policies(_specs(name, options, experiment))
    files, kind = files_from(options), executor_from(options)
    check_resume(options, files)
    terminal = Terminal(options["quiet"])
    terminal.warn_of_compilation()
    settings, said = on_usable_device(settings)
    if said is not None:
        terminal.say(said)
    with workers(kind, settings.threads, options["scheduler"]) as over, ExitStack() as stack:
        with terminal.progress() as progress:
            progress("reading the log")
            source = _from_files(files, options, settings) if files else _from_world(options, experiment, settings)
            if isinstance(source.log, LogBlocks):
                stack.enter_context(source.log)
            progress("computing features")
            prepared = prepare(source.log, settings, source.world, held_out(settings), over)
        if options["policies"] is None and not prepared.facts.contact_is_a_choice:
            policies = [policy for policy in policies if not isinstance(policy, Never)]  # nobody can be left alone
        names = [policy_name(policy) for policy in policies]
        terminal.say(plan(source.name, names, source.log.quality, prepared.facts, settings))
        for note in [*prepared.notes, *sent_elsewhere(settings)]:
            terminal.say(note)
        for policy in _try_out(policies, prepared):
            terminal.say(reads_results(policy))
        world = source.world if source.world and _truth_is_known(source.world, settings) else None
        if world is not source.world:
            terminal.say("True values are not shown: they are known for the world's own cap and decision points only.")
        with (
            checkpoint_of(source.log, settings, policies, options["resume"], terminal.say) as checkpoint,
            terminal.progress() as progress,
        ):
            truth_users = experiment.small.truth_users if options["small"] else experiment.truth_users
            result = evaluate_prepared(
                prepared, source.log.quality, policies, settings, world, truth_users, progress, over, checkpoint
            )
            progress("writing the report")
            write_result(result, directory, command)
    terminal.show(result_table(answers(result)))
    if result.augmentation is not None:
        terminal.say(result.augmentation["sentence"])
    for sentence in [headline_sentence(result), *cautions(result), *policy_sentences(result)]:
        terminal.say(sentence)
    for sentence in [*next_step(result), *economics_sentences(result)]:
        terminal.say(sentence)
    terminal.say(f"Report: {directory / 'report.html'}", on_one_line=True)


@dataclass(frozen=True)
class Source:
    """A log and where it comes from."""

    log: Log | LogBlocks
    name: str
    world: World | None


def _from_files(files: Files, options: Options, settings: Settings) -> Source:
    return Source(blocks_from(files, options, settings), f"{files.triggers.name} and {files.actions.name}", None)


def _from_world(options: Options, experiment: Evaluation, settings: Settings) -> Source:
    world = WORLDS[experiment.world]
    n_users = experiment.small.n_users if options["small"] else experiment.n_users
    made = tables(world, n_users, settings.seed)
    log = read_log(made.triggers, made.actions, made.users, settings, threads=settings.threads)
    return Source(log, f"the synthetic world {world.name} ({world.summary})", world)


def _small(options: Options, experiment: Evaluation) -> Options:
    """The options with the quick variant's numbers where none are given."""
    quick = {"folds": experiment.small.folds, "n_boot": experiment.small.n_boot}
    return {**options, **{name: number for name, number in quick.items() if options[name] is None}}


def _specs(name: str, options: Options, experiment: Evaluation) -> Sequence[str]:
    if options["policies"] is None and not experiment.policies:
        raise InputError(
            f"{name} needs --policies: names, path/to/file.py:Class or package.module:Class, separated by commas."
        )
    if options["policies"] is None:
        return experiment.policies
    return [spec.strip() for spec in options["policies"].split(",") if spec.strip()]


def _truth_is_known(world: World, settings: Settings) -> bool:
    """Whether the evaluation asks what the world's truth answers: same cap, same start, every trigger a chance."""
    cap = world.cap.days
    return (
        (settings.cap_days, settings.burn_in, settings.start) == (cap, cap, "logged")
        and settings.triggers_are != "contacts"
        and settings.decision_points != "day"
    )


def _try_out(policies: Sequence[Policy], prepared: Prepared) -> list[str]:
    """Ask the policies that need no training about a few rows, so that a fault shows in seconds.

    Returns the names of those that read the results of their own contacts.
    """
    first = prepared.whole.rows(np.arange(len(prepared.whole)) < TRIAL_ROWS)
    trials = [policy for policy in policies if not hasattr(policy, "fit")]
    return [policy_name(policy) for policy in trials if policy_by_state(policy, first, NO_STATE)[1] is None]

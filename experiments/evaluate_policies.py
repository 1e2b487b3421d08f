"""`baseline_vs_xgb`, `compare` and every other experiment that evaluates policies on a log or in a world."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from engagex_sim.augment.choice import row_generator
from engagex_sim.contract import check_contract
from engagex_sim.errors import InputError
from engagex_sim.evaluation import evaluate_prepared
from engagex_sim.execution import workers
from engagex_sim.extra import settings_like
from engagex_sim.log import LogBlocks
from engagex_sim.models.device import on_usable_device
from engagex_sim.ope.intervals import refit_notes
from engagex_sim.policy import Policy, policy_name
from engagex_sim.policy_states import policy_by_state
from engagex_sim.preparation import Prepared, prepare, with_extra
from engagex_sim.report.answers import answers
from engagex_sim.report.files import write_result
from engagex_sim.report.sentences import economics_sentences, headline_sentence, policy_sentences
from engagex_sim.result import Result
from engagex_sim.rules import rule_notes
from engagex_sim.settings import Settings
from engagex_sim.splitting import held_out
from engagex_sim.states import NO_STATE
from engagex_sim.worlds import World
from experiments.inputs import (
    Options,
    blocks_from,
    check_world,
    executor_from,
    extra_files_from,
    files_from,
    output_directory,
    settings_from,
)
from experiments.plugins import load_policies
from experiments.registry import EVALUATIONS, Evaluation
from experiments.resuming import check_resume, checkpoint_of
from experiments.sources import source_of
from experiments.terminal import Progress, Terminal, result_table
from experiments.wording import cautions, next_step, plan, reads_results, sent_elsewhere
from policies.fixed import Never

Policies = Sequence[Policy]


@dataclass(frozen=True)
class Run:
    """An evaluation that is done: what it found, and what it was about."""

    result: Result
    prepared: Prepared
    world: World | None  # whose truth stands beside the answers
    policies: Policies


def evaluate_policies(name: str, options: Options, command: str) -> None:
    """Run the experiment `name`: read, evaluate, write the files, and show the answer. Raises `InputError`."""
    directory, terminal = output_directory(options["out"], name), Terminal(options["quiet"])

    def write(run: Run, progress: Progress) -> None:
        progress("writing the report")
        write_result(run.result, directory, command)

    run = evaluated(name, options, terminal, write)
    terminal.show(result_table(answers(run.result), terminal.name_width))
    say_answers(run.result, terminal)
    terminal.say(f"Report: {directory / 'report.html'}", on_one_line=True)


def evaluated(
    name: str,
    options: Options,
    terminal: Terminal,
    write: Callable[[Run, Progress], None],
    observed: Callable[[Policies], Policies] = lambda policies: policies,
) -> Run:
    """Read and evaluate as the options say; `write` is called while what was finished is still kept for --resume.

    What can be refused is refused before anything slow begins. `observed` may put something around the policies that
    takes no part in the answer. Raises `InputError`.
    """
    experiment = EVALUATIONS[name]
    settings = settings_from(_small(options, experiment) if options["small"] else options, Settings)
    if options["holdout"] is not None and options["folds"] is not None:
        raise InputError("--holdout learns once, from the users who are not held out: leave out --folds.")
    row_generator(settings)
    policies = load_policies(_specs(name, options, experiment))
    files, kind = files_from(options), executor_from(options)
    extra_files = extra_files_from(options, files)
    check_world(options, files)
    check_resume(options, files)
    terminal.warn_of_compilation()
    settings, said = on_usable_device(settings)
    if said is not None:
        terminal.say(said)
    with workers(kind, settings.threads, options["scheduler"]) as over, ExitStack() as stack:
        with terminal.progress() as progress:
            progress("reading the log")
            source = source_of(files, options, experiment, settings)
            if isinstance(source.log, LogBlocks):
                stack.enter_context(source.log)
            progress("computing features")
            prepared = prepare(source.log, settings, source.world, held_out(settings), over)
            extra = None
            if extra_files is not None:
                progress("reading the extra log")
                like = settings_like(source.log.facts, settings)
                extra = stack.enter_context(blocks_from(extra_files, options, like, strangers=True))
                prepared = with_extra(prepared, extra, like)
        if options["policies"] is None and not prepared.facts.contact_is_a_choice:
            policies = [policy for policy in policies if not isinstance(policy, Never)]  # nobody can be left alone
        prepared.evaluation.rules_of(settings)  # what does not suit the log is refused before anything slow begins
        names = [policy_name(policy) for policy in policies]
        terminal.say(plan(source.name, names, source.log.quality, prepared.facts, settings))
        facts = prepared.facts
        refits = refit_notes(settings.refit_boot, facts.n_interests, facts.contact_is_a_choice)
        own = [*rule_notes(settings), *refits, *sent_elsewhere(settings)]
        for note in [*prepared.notes, *own]:
            terminal.say(note)
        for policy in _try_out(policies, prepared):
            terminal.say(reads_results(policy))
        world = source.truth(settings)
        if world is not source.world:
            terminal.say("True values are not shown: they are known for the world's own cap and decision points only.")
        with (
            checkpoint_of(source.log, settings, policies, options["resume"], terminal.say, extra) as checkpoint,
            terminal.progress() as progress,
        ):
            result = evaluate_prepared(
                prepared,
                source.log.quality,
                observed(policies),
                settings,
                world,
                experiment.small.truth_users if options["small"] else experiment.truth_users,
                progress,
                over,
                checkpoint,
            )
            run = Run(result, prepared, world, policies)
            write(run, progress)
    return run


def say_answers(result: Result, terminal: Terminal) -> None:
    """The answer in sentences, the most important first."""
    if result.augmentation is not None:
        terminal.say(result.augmentation["sentence"])
    for sentence in [headline_sentence(result), *cautions(result), *policy_sentences(result)]:
        terminal.say(sentence)
    for sentence in [*next_step(result), *economics_sentences(result)]:
        terminal.say(sentence)


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


def _try_out(policies: Policies, prepared: Prepared) -> list[str]:
    """Ask the policies that need no training about a few rows, so that a fault shows in seconds.

    Returns the names of those that read the results of their own contacts.
    """
    untrained, trial = [policy for policy in policies if not hasattr(policy, "fit")], prepared.trial
    for policy in untrained:
        check_contract(policy, trial)
    return [policy_name(policy) for policy in untrained if policy_by_state(policy, trial, NO_STATE)[1] is None]

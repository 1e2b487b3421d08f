"""The command line: `python -m experiments.run NAME [OPTIONS]`. Everything heavy is imported by the commands."""

# ruff: noqa: ARG001 — typer reads a command's parameters; its body passes them on together, as `context.params`

import errno
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from experiments import options as opt
from experiments.registry import EVALUATIONS, SUMMARIES, WORLD_USERS, WORLDS

PROGRAM = "python -m experiments.run"
INTERRUPTED = 130
OF_THE_MACHINE = (errno.EACCES, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENOSPC, errno.EPERM, errno.EROFS)
UsageError: Any = typer.BadParameter.__base__  # typer has had it in two places

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Would another contact strategy have interested more users than the one you run now?",
)


def named(context: typer.Context) -> frozenset[str]:
    """The options that stand in the command, as against those that have their default."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return frozenset(name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE")


@app.callback(invoke_without_command=True)
def list_experiments(context: typer.Context) -> None:
    """Would another contact strategy have interested more users than the one you run now?"""
    if context.invoked_subcommand is None:
        width = max(map(len, SUMMARIES))
        lines = (f"  {name:{width}}  {summary}" for name, summary in SUMMARIES.items())
        typer.echo("\n".join([f"{PROGRAM} NAME [OPTIONS], where NAME is one of", *lines]))


def evaluate(
    context: typer.Context,
    triggers: opt.Triggers = None,
    actions: opt.Actions = None,
    users: opt.Users = None,
    extra_triggers: opt.ExtraTriggers = None,
    extra_actions: opt.ExtraActions = None,
    columns: opt.Columns = None,
    world: opt.World = None,
    n_users: opt.NUsers = None,
    triggers_are: opt.TriggersAre = "auto",
    decision_points: opt.DecisionPoints = "auto",
    cap_days: opt.CapDays = 14.0,
    kind_cap: opt.KindCap = None,
    exempt: opt.Exempt = None,
    quiet_hours: opt.QuietHours = None,
    stop_after_interest: opt.StopAfterInterest = False,
    capacity: opt.Capacity = None,
    burn_in_days: opt.BurnInDays = None,
    start: opt.Start = "logged",
    match_window_hours: opt.MatchWindowHours = 24.0,
    allow_rejected: opt.AllowRejected = 0.05,
    allow_orphans: opt.AllowOrphans = 0.05,
    policies: opt.Policies = None,
    folds: opt.Folds = None,
    holdout: opt.Holdout = None,
    value: opt.Value = 5.0,
    cost: opt.Cost = 1.0,
    imbalance: opt.Imbalance = "none",
    llm_url: opt.LlmUrl = None,
    llm_model: opt.LlmModel = None,
    llm_budget: opt.LlmBudget = None,
    grid: opt.Grid = "small",
    n_boot: opt.NBoot = None,
    refit_boot: opt.RefitBoot = 0,
    out: opt.OutOfRun = None,
    seed: opt.Seed = 0,
    threads: opt.Threads = opt.CORES,
    device: opt.Device = "cpu",
    executor: opt.Executor = "threads",
    scheduler: opt.Scheduler = None,
    no_cache: opt.NoCache = False,
    resume: opt.Resume = False,
    small: opt.SmallVariant = False,
    quiet: opt.Quiet = False,
) -> None:
    """Evaluate the experiment's policies."""
    if context.info_name == "policy_zoo":
        from experiments.policy_zoo import policy_zoo

        policy_zoo(context.params, str(context.obj))
        return
    from experiments.evaluate_policies import evaluate_policies

    evaluate_policies(str(context.info_name), context.params, str(context.obj))


for _name, _experiment in EVALUATIONS.items():
    app.command(_name, help=_experiment.summary)(evaluate)


@app.command("check", help=SUMMARIES["check"])
def check(
    context: typer.Context,
    triggers: opt.Triggers = None,
    actions: opt.Actions = None,
    users: opt.Users = None,
    columns: opt.Columns = None,
    triggers_are: opt.TriggersAre = "auto",
    decision_points: opt.DecisionPoints = "auto",
    cap_days: opt.CapDays = 14.0,
    burn_in_days: opt.BurnInDays = None,
    start: opt.Start = "logged",
    match_window_hours: opt.MatchWindowHours = 24.0,
    allow_rejected: opt.AllowRejected = 0.05,
    allow_orphans: opt.AllowOrphans = 0.05,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Also write data_quality.json and rejected_rows.csv; must not exist."),
    ] = None,
    threads: opt.Threads = opt.CORES,
    no_cache: opt.NoCache = False,
) -> None:
    from experiments.check import check_log

    check_log(context.params)


@app.command("recommend", help=SUMMARIES["recommend"])
def recommend(
    context: typer.Context,
    policy: Annotated[
        str, typer.Option(metavar="NAME", help="One policy, by name or as path/to/file.py:Class.")
    ] = "xgb_greedy",
    at: Annotated[
        str | None,
        typer.Option(
            metavar="DATE",
            help="When: YYYY-mm-dd, its midnight, or with HH:MM:SS. Later rows are not read.",
            show_default="the end of the log",
        ),
    ] = None,
    capacity: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="At most so many contacts, the best.", show_default="none")
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(metavar="X", min=0, help="At most so much for contacts at --cost each.", show_default="none"),
    ] = None,
    assign: Annotated[
        str | None,
        typer.Option(
            metavar="control=SHARE", help="A control group by hashed guid, for an A/B test.", show_default="off"
        ),
    ] = None,
    salt: Annotated[str, typer.Option(metavar="TEXT", help="With --assign: another one makes other groups.")] = "",
    no_evaluation: Annotated[
        bool, typer.Option("--no-evaluation", help="Do not ask whether the log supports the policy.")
    ] = False,
    triggers: opt.Triggers = None,
    actions: opt.Actions = None,
    users: opt.Users = None,
    columns: opt.Columns = None,
    triggers_are: opt.TriggersAre = "auto",
    decision_points: opt.DecisionPoints = "auto",
    cap_days: opt.CapDays = 14.0,
    kind_cap: opt.KindCap = None,
    exempt: opt.Exempt = None,
    quiet_hours: opt.QuietHours = None,
    stop_after_interest: opt.StopAfterInterest = False,
    burn_in_days: opt.BurnInDays = None,
    start: opt.Start = "logged",
    match_window_hours: opt.MatchWindowHours = 24.0,
    allow_rejected: opt.AllowRejected = 0.05,
    allow_orphans: opt.AllowOrphans = 0.05,
    folds: opt.Folds = None,
    value: opt.Value = 5.0,
    cost: opt.Cost = 1.0,
    imbalance: opt.Imbalance = "none",
    grid: opt.Grid = "small",
    n_boot: opt.NBoot = None,
    out: opt.OutOfRun = None,
    seed: opt.Seed = 0,
    threads: opt.Threads = opt.CORES,
    device: opt.Device = "cpu",
    executor: opt.Executor = "threads",
    scheduler: opt.Scheduler = None,
    no_cache: opt.NoCache = False,
    small: opt.SmallVariant = False,
    quiet: opt.Quiet = False,
) -> None:
    from experiments.recommend import write_recommendations

    write_recommendations(context.params, str(context.obj))


@app.command("make_world", help=SUMMARIES["make_world"])
def make_world(
    world: Annotated[str, typer.Option(metavar="|".join(WORLDS), help="Which world.")] = "visits",
    n_users: Annotated[
        int | None, typer.Option(metavar="N", help="How many users.", show_default=str(WORLD_USERS))
    ] = None,
    n_triggers: Annotated[
        int | None,
        typer.Option(metavar="N", help="Instead: about how many triggers; visits then have the original log's shape."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Must not exist.", show_default="runs/make_world-<time>")
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="The same seed gives the same files.")] = 0,
    quiet: opt.Quiet = False,
) -> None:
    from experiments.make_world import write_world

    write_world(world, n_users, n_triggers, out, seed, quiet)


@app.command("ab_plan", help=SUMMARIES["ab_plan"])
def ab_plan(
    context: typer.Context,
    run: Annotated[
        Path | None, typer.Option(metavar="DIR", help="A finished run, whose lift and log are taken.")
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Which policy of that run, or of --check.", show_default="the only one"),
    ] = None,
    lift: Annotated[
        float | None, typer.Option(metavar="PERCENT", help="Instead: the lift to confirm on a log, as in 12 for +12 %.")
    ] = None,
    control: Annotated[float, typer.Option(metavar="SHARE", help="Of the users, in the control group.")] = 0.5,
    power: Annotated[float, typer.Option(metavar="SHARE", help="Chance to find the lift where it is there.")] = 0.8,
    alpha: Annotated[float, typer.Option(metavar="SHARE", help="Chance to find one where there is none.")] = 0.05,
    n_users: Annotated[
        int | None, typer.Option(metavar="N", min=2, help="Users there are for the test.", show_default="the log's")
    ] = None,
    days: Annotated[
        float | None,
        typer.Option(metavar="DAYS", min=0.01, help="Time there is for the test.", show_default="the evaluation's"),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Instead: carry out tests in a world, and see how often they find the lift.")
    ] = False,
    tests: Annotated[int, typer.Option(metavar="N", min=2, help="How many, for --check.")] = 2_000,
    world: opt.World = None,
    triggers: opt.Triggers = None,
    actions: opt.Actions = None,
    users: opt.Users = None,
    columns: opt.Columns = None,
    triggers_are: opt.TriggersAre = "auto",
    decision_points: opt.DecisionPoints = "auto",
    cap_days: opt.CapDays = 14.0,
    burn_in_days: opt.BurnInDays = None,
    start: opt.Start = "logged",
    match_window_hours: opt.MatchWindowHours = 24.0,
    allow_rejected: opt.AllowRejected = 0.05,
    allow_orphans: opt.AllowOrphans = 0.05,
    out: opt.OutOfRun = None,
    seed: opt.Seed = 0,
    threads: opt.Threads = opt.CORES,
    no_cache: opt.NoCache = False,
    quiet: opt.Quiet = False,
) -> None:
    from experiments.ab_plan import write_plan

    write_plan(context.params, named(context))


@app.command("estimator_study", help=SUMMARIES["estimator_study"])
def estimator_study(
    cells: Annotated[
        str | None, typer.Option(metavar="NAME,...", help="Which parts of the study.", show_default="all")
    ] = None,
    replications: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="At most so many logs in each.", show_default="as planned")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Must not exist.", show_default="runs/estimator_study-<time>")
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Instead: continue the study that is in this directory.")
    ] = None,
    max_minutes: Annotated[
        float | None, typer.Option(metavar="M", min=0, help="Begin nothing new after so long; see --resume.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="The same seed gives the same tables.", show_default="0")
    ] = None,
    threads: opt.Threads = opt.CORES,
    small: opt.SmallVariant = False,
    quiet: opt.Quiet = False,
) -> None:
    from experiments.estimator_study import run_study

    run_study(
        None if cells is None else cells.split(","),
        replications,
        small,
        seed,
        out,
        resume,
        threads,
        max_minutes,
        quiet,
    )


@app.command("imbalance_study", help=SUMMARIES["imbalance_study"])
def imbalance_study(
    context: typer.Context,
    triggers: opt.Triggers = None,
    actions: opt.Actions = None,
    users: opt.Users = None,
    columns: opt.Columns = None,
    triggers_are: opt.TriggersAre = "auto",
    decision_points: opt.DecisionPoints = "auto",
    cap_days: opt.CapDays = 14.0,
    burn_in_days: opt.BurnInDays = None,
    start: opt.Start = "logged",
    match_window_hours: opt.MatchWindowHours = 24.0,
    allow_rejected: opt.AllowRejected = 0.05,
    allow_orphans: opt.AllowOrphans = 0.05,
    worlds: Annotated[
        str | None,
        typer.Option(metavar="NAME,...", help="Without files: which worlds.", show_default="visits,seed_like,null"),
    ] = None,
    strategies: Annotated[
        str | None, typer.Option(metavar="NAME,...", help="Values of --imbalance to compare.", show_default="all")
    ] = None,
    repeats: Annotated[
        int | None,
        typer.Option(metavar="N", help="Logs of each world, or splits of your log.", show_default="10"),
    ] = None,
    n_users: Annotated[
        int | None, typer.Option(metavar="N", help="Users of each log of a world.", show_default="10000")
    ] = None,
    folds: Annotated[
        int | None, typer.Option(metavar="N", help="Groups of users to learn and judge on in turn.", show_default="2")
    ] = None,
    grid: Annotated[
        str | None,
        typer.Option(metavar="WORD", help="Reward models to try: light, small or full.", show_default="small"),
    ] = None,
    value: Annotated[float, typer.Option(metavar="X", help="What an interest earns.")] = 25.0,
    cost: opt.Cost = 1.0,
    out: opt.OutOfRun = None,
    seed: opt.Seed = 0,
    threads: opt.Threads = opt.CORES,
    no_cache: opt.NoCache = False,
    small: opt.SmallVariant = False,
    quiet: opt.Quiet = False,
) -> None:
    from experiments.imbalance_study import run_imbalance_study

    run_imbalance_study(context.params, str(context.obj))


@app.command("bench", help=SUMMARIES["bench"])
def bench(
    context: typer.Context,
    rows: Annotated[
        str | None,
        typer.Option(metavar="N,...", help="Trigger rows of the logs.", show_default="1000000,10000000"),
    ] = None,
    workers: Annotated[
        str | None,
        typer.Option(metavar="N,...", help="Also with so many worker processes, as in 1,2,4.", show_default="off"),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where logs are, or are made and kept.", show_default="in the cache"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Must not exist.", show_default="runs/bench-<time>")
    ] = None,
    threads: opt.Threads = opt.CORES,
    small: Annotated[bool, typer.Option("--small", help="Quick: a small log, light models.")] = False,
    quiet: opt.Quiet = False,
) -> None:
    from experiments.benchmark import run_bench

    run_bench(rows, workers, data, out, threads, small, quiet, str(context.obj))


@app.command("exploration_check", help=SUMMARIES["exploration_check"])
def exploration_check(
    n_logs: Annotated[int, typer.Option("--logs", metavar="N", min=2, help="How many logs.")] = 20,
    n_users: Annotated[int, typer.Option(metavar="N", min=500, help="Users in each.")] = 20_000,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="The same seed gives the same numbers.")] = 0,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Also write logs.csv; must not exist.")] = None,
    quiet: opt.Quiet = False,
) -> None:
    from experiments.exploration_check import run_check

    run_check(n_logs, n_users, seed, out, quiet)


@app.command("kill_check", help=SUMMARIES["kill_check"])
def kill_check(
    kills: Annotated[int, typer.Option(metavar="N", min=1, help="How many runs are killed.")] = 50,
    seed: Annotated[
        int, typer.Option(metavar="N", min=0, help="The same seed gives the same log, and moments as shares of a run.")
    ] = 0,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Also write kills.csv; must not exist.")] = None,
    quiet: opt.Quiet = False,
) -> None:
    from experiments.kill_check import run_kill_check

    run_kill_check(kills, seed, out, quiet)


@app.command("new_policy", help=SUMMARIES["new_policy"])
def new_policy(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Lower case, as in my_policy.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the two files go.")] = Path(),
) -> None:
    from experiments.new_policy import write_policy

    write_policy(name, out)


def recorded(arguments: Sequence[str]) -> str:
    """The command that repeats a run, without --out and --resume: the same run elsewhere leaves the same files."""
    kept, dropped = [], False
    for argument in arguments:
        if not (dropped or argument in ("--out", "--resume") or argument.startswith("--out=")):
            kept.append(argument)
        dropped = argument == "--out"
    return shlex.join([*shlex.split(PROGRAM), *kept])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code: 0 done, 2 bad input or settings, 130 interrupted."""
    # Set before xgboost loads OpenMP: threads that wait busily slow a machine with other work down tenfold.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given and not given[0].startswith("-") and given[0] not in SUMMARIES:
        return _refuse(f"There is no experiment {given[0]!r}; there are: {', '.join(SUMMARIES)}.")
    try:
        code = app(given, prog_name=PROGRAM, standalone_mode=False, obj=recorded(given))
    except UsageError as error:
        return _refuse(f"{error.format_message().rstrip('.')}; {error.ctx.command_path} --help lists the options.")
    except typer.Abort:
        return INTERRUPTED
    except Exception as error:
        from engagex_sim.errors import InputError  # not before: --help must not wait for the package

        if isinstance(error, InputError):
            return _refuse(str(error))
        if _came_of_an_interrupt(error):
            return INTERRUPTED
        if isinstance(error, MemoryError) or "bad_alloc" in str(error):  # the latter is XGBoost's
            return _refuse("There is not enough memory for this run; use fewer --threads, or a machine with more.")
        if isinstance(error, OSError) and error.errno in OF_THE_MACHINE:
            return _refuse(f"{error.filename or 'A file'} cannot be used: {error.strerror}.")
        raise
    return int(code or 0)


def _came_of_an_interrupt(error: BaseException | None) -> bool:
    """Whether Ctrl-C met compiled code: of duckdb, which says so in words, or of numba, which names it as the cause."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt) or str(error) == "Query interrupted":
            return True
        error = error.__cause__
    return False


def _refuse(sentence: str) -> int:
    typer.echo(sentence, err=True)
    return 2


if __name__ == "__main__":
    sys.exit(main())

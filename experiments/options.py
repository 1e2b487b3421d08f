"""The options that several commands share, as types for typer."""

import os
from pathlib import Path
from typing import Annotated

import typer

from experiments.registry import WORLDS


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


CORES = cores()

_LOG, _POINTS, _STUDY, _RUN = "The log", "Decision points and the cap", "The evaluation", "The run"
_RULES = "Rules beside the cap, for every strategy but the current one"

Triggers = Annotated[Path | None, typer.Option(help="What users did: guid, date, trigger, type.", rich_help_panel=_LOG)]
Actions = Annotated[Path | None, typer.Option(help="Whom you contacted: guid, date, result.", rich_help_panel=_LOG)]
Users = Annotated[Path | None, typer.Option(help="All users and their attributes: guid, ...", rich_help_panel=_LOG)]
ExtraTriggers = Annotated[
    Path | None,
    typer.Option(help="Of another log, from which the reward model alone learns too.", rich_help_panel=_LOG),
]
ExtraActions = Annotated[Path | None, typer.Option(help="Likewise.", rich_help_panel=_LOG)]
Columns = Annotated[
    str | None,
    typer.Option(metavar="OURS=YOURS,...", help="Your names of columns: guid=user_id,date=ts.", rich_help_panel=_LOG),
]
AllowRejected = Annotated[float, typer.Option(metavar="SHARE", help="Rows that may be unusable.", rich_help_panel=_LOG)]
AllowOrphans = Annotated[
    float, typer.Option(metavar="SHARE", help="Actions that may belong to no trigger.", rich_help_panel=_LOG)
]
MatchWindowHours = Annotated[
    float,
    typer.Option(
        metavar="HOURS", help="An action belongs to the latest trigger this long before it.", rich_help_panel=_LOG
    ),
]
World = Annotated[
    str | None,
    typer.Option(
        metavar="|".join(WORLDS),
        help="Instead of files: a synthetic world, whose truth is known.",
        show_default="visits",
        rich_help_panel=_LOG,
    ),
]
NUsers = Annotated[
    int | None,
    typer.Option(metavar="N", min=1, help="Users of that world.", show_default="20000", rich_help_panel=_LOG),
]
TriggersAre = Annotated[
    str,
    typer.Option(
        metavar="WORD",
        help="A chance to contact, or a contact made: auto, opportunities or contacts.",
        rich_help_panel=_POINTS,
    ),
]
DecisionPoints = Annotated[
    str,
    typer.Option(metavar="WORD", help="When a strategy decides: auto, trigger or day.", rich_help_panel=_POINTS),
]
CapDays = Annotated[
    float,
    typer.Option(
        metavar="DAYS", help="At most one contact per user in so many days; 0: no cap.", rich_help_panel=_POINTS
    ),
]
KindCap = Annotated[
    str | None,
    typer.Option(
        metavar="KIND=DAYS,...",
        help="Longer caps of single kinds: email=28,letter=60.",
        show_default="none",
        rich_help_panel=_RULES,
    ),
]
Exempt = Annotated[
    str | None,
    typer.Option(
        metavar="KIND,...",
        help="Kinds that the cap does not block, and that do not count for it.",
        show_default="none",
        rich_help_panel=_RULES,
    ),
]
QuietHours = Annotated[
    str | None,
    typer.Option(
        metavar="FROM-UNTIL",
        help="Hours of the day without contacts: 22-8.",
        show_default="none",
        rich_help_panel=_RULES,
    ),
]
StopAfterInterest = Annotated[
    bool,
    typer.Option("--stop-after-interest", help="Contact nobody again who was interested.", rich_help_panel=_RULES),
]
Capacity = Annotated[
    float | None,
    typer.Option(
        metavar="N",
        help="Contacts a day at most, of all users together: those that the strategy ranks highest.",
        show_default="none",
        rich_help_panel=_RULES,
    ),
]
BurnInDays = Annotated[
    float | None,
    typer.Option(
        metavar="DAYS",
        help="First days of the log that only tell who is blocked.",
        show_default="the cap",
        rich_help_panel=_POINTS,
    ),
]
Start = Annotated[
    str,
    typer.Option(
        metavar="WORD",
        help="logged, or free: the strategy began with the log, so nobody is blocked.",
        rich_help_panel=_POINTS,
    ),
]
Policies = Annotated[
    str | None,
    typer.Option(
        metavar="A,B,FILE.py:CLASS",
        help="Names, path/to/file.py:Class or package.module:Class.",
        rich_help_panel=_STUDY,
    ),
]
Folds = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Users are split: learn on the others, evaluate on these.",
        show_default="5",
        rich_help_panel=_STUDY,
    ),
]
Holdout = Annotated[
    float | None,
    typer.Option(
        metavar="SHARE",
        help="Instead of folds: learn once, evaluate on this share of the users; for a policy to be shipped as it is.",
        show_default="off",
        rich_help_panel=_STUDY,
    ),
]
Value = Annotated[float, typer.Option(metavar="X", help="What an interest earns.", rich_help_panel=_STUDY)]
Cost = Annotated[float, typer.Option(metavar="X", help="What a contact costs.", rich_help_panel=_STUDY)]
Imbalance = Annotated[
    str,
    typer.Option(
        metavar="WORD",
        help="What the reward model does about few interests: none, scale_pos_weight, smote, both or augment.",
        rich_help_panel=_STUDY,
    ),
]
LlmUrl = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="With augment: a server that writes rows, such as http://127.0.0.1:8000/v1; its key in ENGAGEX_LLM_KEY.",
        show_default="rows are made without one",
        rich_help_panel=_STUDY,
    ),
]
LlmModel = Annotated[str | None, typer.Option(metavar="NAME", help="The language model there.", rich_help_panel=_STUDY)]
LlmBudget = Annotated[
    int | None,
    typer.Option(
        metavar="N", help="Requests to it at most, of 20 rows each.", show_default="100", rich_help_panel=_STUDY
    ),
]
Grid = Annotated[
    str,
    typer.Option(
        metavar="WORD|FILE",
        help="Reward models to try: light, small, full, or a JSON or TOML file with lists of XGBoost's parameters.",
        rich_help_panel=_STUDY,
    ),
]
NBoot = Annotated[
    int | None,
    typer.Option(metavar="N", help="Bootstrap replicates.", show_default="1000", rich_help_panel=_STUDY),
]
RefitBoot = Annotated[
    int,
    typer.Option(
        metavar="N",
        help="Replicates in which models and policies are fitted again; each takes as long as a run. 20 or more.",
        show_default="0: none",
        rich_help_panel=_STUDY,
    ),
]
OutOfRun = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Where the results go; must not exist.",
        show_default="runs/NAME-<time>",
        rich_help_panel=_RUN,
    ),
]
Seed = Annotated[int, typer.Option(metavar="N", help="The same seed gives the same files.", rich_help_panel=_RUN)]
Threads = Annotated[
    int, typer.Option(metavar="N", help="Threads to use.", show_default="all cores", rich_help_panel=_RUN)
]
Executor = Annotated[
    str,
    typer.Option(
        metavar="WORD",
        help="Who goes through the log's blocks: threads, processes, or workers of a Dask cluster (dask).",
        rich_help_panel=_RUN,
    ),
]
Scheduler = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Of a running Dask cluster, whose workers see the same files.",
        show_default="a cluster on this machine",
        rich_help_panel=_RUN,
    ),
]
Device = Annotated[str, typer.Option(metavar="cpu|cuda", help="Where XGBoost trains its models.", rich_help_panel=_RUN)]
NoCache = Annotated[
    bool, typer.Option("--no-cache", help="Read the files anew, and keep nothing of them.", rich_help_panel=_RUN)
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Continue the same command, if it was stopped, from what it had finished.",
        rich_help_panel=_RUN,
    ),
]
SmallVariant = Annotated[
    bool, typer.Option("--small", help="Quick: few synthetic users, folds, replicates.", rich_help_panel=_RUN)
]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress display.", rich_help_panel=_RUN)]

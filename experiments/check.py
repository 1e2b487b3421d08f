"""`check`: what a log is made of and what it could show, without any training."""

from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.table import Table

from engagex_sim.errors import InputError
from engagex_sim.execution import OverBlocks, workers
from engagex_sim.flags import column_flags
from engagex_sim.log import DataQuality, LogBlocks, LogFacts
from engagex_sim.log.quality import reasons
from engagex_sim.preparation import prepare
from engagex_sim.report.formats import counted, some
from engagex_sim.report.tables import write_account
from engagex_sim.result import Facts
from engagex_sim.settings import LogSettings
from engagex_sim.whole import written_whole
from experiments.inputs import Options, blocks_from, files_from, output_directory, settings_from
from experiments.terminal import Terminal
from experiments.wording import period, power

COMMONEST = 10  # reasons shown


def check_log(options: Options) -> None:
    """Print the account of every row, what is odd about the contacts, and the smallest lift that could be shown.

    With --out the account is written too, before anything else is judged. Raises `InputError`.
    """
    settings = settings_from(options, LogSettings)
    files = files_from(options)
    if files is None:
        raise InputError("check needs a log: give --triggers and --actions.")
    directory = None if options["out"] is None else output_directory(options["out"], "check")
    terminal = Terminal()
    with blocks_from(files, options, settings) as log, workers("threads", int(options["threads"])) as over:
        _tell(log, settings, directory, terminal, over)


def _tell(log: LogBlocks, settings: LogSettings, directory: Path | None, terminal: Terminal, over: OverBlocks) -> None:
    quality = log.quality
    terminal.show(_files_table(quality))
    if len(quality.rejected):
        terminal.show(_reasons_table(quality))
    if directory is not None:
        with written_whole(directory) as folder:
            write_account(quality, folder)
        terminal.say(f"Written: {directory / 'data_quality.json'} and {directory / 'rejected_rows.csv'}")
    terminal.say(_contacts(quality, settings))
    prepared = prepare(log, settings, over=over)
    for note in [*prepared.notes, *_what_there_is(log.facts, prepared.facts)]:
        terminal.say(note)
    for flag in column_flags(prepared):
        if flag["flagged"]:
            terminal.say(f"Caution: {flag['sentence']}")
    terminal.say(f"{period(prepared.facts)}.")
    terminal.say(power(prepared.facts))


def _contacts(quality: DataQuality, settings: LogSettings) -> str:
    matched = counted(quality.matched, "contact belongs", "contacts belong")
    text = f"{matched} to a decision point, {quality.orphans:,} to none (orphans)"
    if settings.cap_days == 0:
        return f"{text}."
    broken = counted(quality.cap_violations, "breaks", "break")
    return f"{text}; {broken} the cap, coming within {settings.cap_days:g} days of the same user's contact before."


def _what_there_is(log: LogFacts, facts: Facts) -> list[str]:
    """What the evaluation can use: kinds of contact, propensities, attributes, and whose first contact is history."""
    told = []
    if facts.contact_is_a_choice and log.triggers_are == "contacts" and not log.all_listed:
        told.append(
            "The first contact of each user who is not in a users file is history only: it tells that there is such a"
            " user, and so counts neither as a decision nor for the current strategy."
        )
    if len(facts.kinds) > 1:
        told.append(f"Kinds of contact: {some(facts.kinds)}.")
    told.append(
        "The probabilities of the contacts (propensities) are logged."
        if facts.propensity_logged
        else "The probabilities of the contacts (propensities) are not logged; they will be estimated."
    )
    attributes = counted(len(log.attributes), "user attribute")
    told.append(f"{attributes}: {some(log.attributes)}." if log.attributes else "No user attributes.")
    return told


def _files_table(quality: DataQuality) -> Table:
    table = Table("file", box=SIMPLE_HEAD, pad_edge=False)
    for header in ("rows read", "used", "exact duplicates", "rejected"):
        table.add_column(header, justify="right")
    for name, file in quality.files.items():
        table.add_row(name, *(f"{n:,}" for n in (file.read, file.used, file.duplicates, file.rejected)))
    return table


def _reasons_table(quality: DataQuality) -> Table:
    table = Table("file", "why rejected", box=SIMPLE_HEAD, pad_edge=False)
    for header in ("rows", "first in line"):
        table.add_column(header, justify="right")
    for row in reasons(quality.rejected).head(COMMONEST).itertuples(index=False):
        table.add_row(str(row.file), str(row.reason), f"{row.rows:,}", str(row.first_line))
    return table

"""`check`: what a log is made of and what it could show, without any training."""

from rich.box import SIMPLE_HEAD
from rich.table import Table

from engagex_sim.errors import InputError
from engagex_sim.log import DataQuality, read_log
from engagex_sim.log.quality import reasons
from engagex_sim.preparation import prepare
from engagex_sim.report.tables import write_account
from engagex_sim.settings import LogSettings
from engagex_sim.whole import written_whole
from experiments.inputs import Options, files_from, output_directory, settings_from
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
    log = read_log(files.triggers, files.actions, files.users, settings, threads=options["threads"])
    quality = log.quality
    terminal.show(_files_table(quality))
    if len(quality.rejected):
        terminal.show(_reasons_table(quality))
    if directory is not None:
        with written_whole(directory) as folder:
            write_account(quality, folder)
        terminal.say(f"Written: {directory / 'data_quality.json'} and {directory / 'rejected_rows.csv'}")
    terminal.say(
        f"{quality.matched:,} contacts belong to a decision point, {quality.orphans:,} to none (orphans);"
        f" {quality.cap_violations:,} came within {settings.cap_days:g} days of the user's contact before and so break"
        " the cap."
    )
    prepared = prepare(log, settings)
    for note in prepared.notes:
        terminal.say(note)
    terminal.say(f"{period(prepared.facts)}.")
    terminal.say(power(prepared.facts))


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

"""From the command line's options to settings and a log."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, count
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from engagex_sim.errors import InputError
from engagex_sim.execution import KINDS, Kind
from engagex_sim.extra import check_there
from engagex_sim.log import LogBlocks, read_blocks
from engagex_sim.settings import LogSettings
from engagex_sim.whole import check_new
from experiments.registry import WORLDS

Options = Mapping[str, Any]
AnySettings = TypeVar("AnySettings", bound=LogSettings)


def settings_from(options: Options, model: type[AnySettings]) -> AnySettings:
    """The options that are fields of `model`, validated; those not given (None) keep its defaults.

    Raises `InputError` that names the option.
    """
    given = {name: options[name] for name in model.model_fields if options.get(name) is not None}
    if "columns" in given:
        given["columns"] = column_names(given["columns"])
    try:
        return model(**given)
    except ValidationError as error:
        first = error.errors()[0]
        wish = first["msg"].removeprefix("Input ").removeprefix("Value ")
        raise InputError(f"--{str(first['loc'][0]).replace('_', '-')} {wish}, not {first['input']!r}.") from error


def column_names(text: str) -> dict[str, str]:
    """{our name: the file's name} from "guid=user_id,date=ts"."""
    names: dict[str, str] = {}
    for pair in text.split(","):
        ours, equals, yours = (part.strip() for part in pair.partition("="))
        if not (ours and equals and yours) or ours in names:
            raise InputError(
                f"--columns is a list of ours=yours, each of ours once, as in guid=user_id,date=ts, not {text!r}."
            )
        names[ours] = yours
    return names


@dataclass(frozen=True)
class Files:
    """The log's files."""

    triggers: Path
    actions: Path
    users: Path | None


def files_from(options: Options) -> Files | None:
    """The log's files, None where none is given. Raises `InputError` where one of the two is missing."""
    triggers, actions = options["triggers"], options["actions"]
    if triggers is None and actions is None:
        alone = next((name for name in ("users", "columns") if options[name] is not None), None)
        if alone is None:
            return None
        raise InputError(f"--{alone} belongs to a log of your own: give --triggers and --actions too.")
    if triggers is None or actions is None:
        missing, given = ("triggers", "actions") if triggers is None else ("actions", "triggers")
        raise InputError(f"--{missing} is missing: a log is two files, and only --{given} is given.")
    users = options["users"]
    # Older releases of typer leave the options of `context.params` as text.
    return Files(Path(triggers), Path(actions), None if users is None else Path(users))


def extra_files_from(options: Options, main: Files | None) -> Files | None:
    """The files of the extra log, which shares the attributes of users; None where none is given.

    Raises `InputError` where one of the two is not given or not there, or the log itself is not given.
    """
    triggers, actions = options["extra_triggers"], options["extra_actions"]
    if triggers is None and actions is None:
        return None
    if main is None:
        raise InputError("An extra log belongs to a log of your own: give --triggers and --actions too.")
    if triggers is None or actions is None:
        missing, given = ("triggers", "actions") if triggers is None else ("actions", "triggers")
        raise InputError(f"--extra-{missing} is missing: a log is two files, and only --extra-{given} is given.")
    check_there(triggers, actions)
    extra = Files(Path(triggers), Path(actions), main.users)
    if all(a.resolve() == b.resolve() for a, b in ((extra.triggers, main.triggers), (extra.actions, main.actions))):
        raise InputError("The extra log is the log itself; give another one, or leave the --extra options out.")
    return extra


def check_world(options: Options, files: Files | None) -> None:
    """Raise `InputError` where a world is asked for that there is not, or beside files."""
    if options["world"] not in (None, *WORLDS):
        raise InputError(f"There is no world {options['world']!r}; there are: {', '.join(WORLDS)}.")
    check_own_log(options, files, "world", "n_users")


def check_own_log(options: Options, files: Files | None, *of_worlds: str) -> None:
    """Raise `InputError` where an option that only a world has a use for is given beside files."""
    about = next((name for name in of_worlds if options[name] is not None), None)
    if about is not None and files is not None:
        raise InputError(f"--{about.replace('_', '-')} is about a synthetic world; leave it out for a log of your own.")


def blocks_from(files: Files, options: Options, settings: LogSettings, strangers: bool = False) -> LogBlocks:
    """The log in blocks, kept in the cache unless --no-cache says otherwise."""
    return read_blocks(
        files.triggers,
        files.actions,
        files.users,
        settings,
        threads=int(options["threads"]),
        cache=None if options["no_cache"] else cache_directory(),
        strangers=strangers,
    )


def executor_from(options: Options) -> Kind:
    """Who does the work. Raises `InputError` for a word that names nobody."""
    for kind in KINDS:
        if options["executor"] == kind:
            if options["scheduler"] is not None and kind != "dask":
                raise InputError("--scheduler is the address of a Dask cluster: give --executor dask too.")
            return kind
    raise InputError(f"--executor is one of {', '.join(KINDS)}, not {options['executor']!r}.")


def cache_directory() -> Path:
    """Where logs that were read are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "engagex-sim"


def output_directory(out: Path | str | None, name: str) -> Path:
    """`--out`, which must not exist yet, since results are never mixed with older ones; else runs/NAME-<time>."""
    if out is None:
        first = Path("runs", f"{name}-{datetime.now():%Y%m%d-%H%M%S}")
        later = (Path(f"{first}-{number}") for number in count(2))  # runs that start in the same second
        return next(path for path in chain([first], later) if not path.exists())
    check_new(Path(out))
    return Path(out)

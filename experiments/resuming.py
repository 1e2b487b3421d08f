"""`--resume`: where a run keeps what it has finished, and whether that is there."""

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import engagex_sim
import policies as built_in
from engagex_sim.checkpoint import NOTHING_KEPT, Checkpoint, Kept
from engagex_sim.errors import InputError
from engagex_sim.log import Log, LogBlocks
from engagex_sim.policy import Policy, policy_name
from engagex_sim.report.files import versions
from engagex_sim.report.formats import counted
from engagex_sim.settings import Settings
from engagex_sim.store import Store
from engagex_sim.whole import held
from experiments.guard import GuardedPolicy
from experiments.inputs import Files, Options, cache_directory

_ABANDONED = 14 * 86_400  # seconds after which nobody continues a run


def check_resume(options: Options, files: Files | None) -> None:
    """Raise `InputError` where --resume cannot find anything, whatever ran before."""
    if options["resume"] and (options["no_cache"] or files is None):
        why = "leave out --no-cache" if files else "give --triggers and --actions: a synthetic world is made anew"
        raise InputError(f"--resume continues from what a run on files has left in the cache; {why}.")


@contextmanager
def checkpoint_of(
    log: Log | LogBlocks,
    settings: Settings,
    policies: Sequence[Policy],
    resume: bool,
    say: Callable[[str], None],
    extra: LogBlocks | None = None,
) -> Iterator[Checkpoint]:
    """A checkpoint in the cache, which is removed once the run has finished; none for a log that is not kept there.

    With `resume` it holds what the same run had finished when it was stopped. Raises `InputError` where that cannot be.
    """
    runs = cache_directory() / "runs"
    try:
        if not isinstance(log, LogBlocks) or log.folder.parent != cache_directory():
            raise FileNotFoundError
        runs.mkdir(exist_ok=True)
        with suppress(OSError):
            _sweep(runs)
        folder = runs / _key([log] if extra is None else [log, extra], settings, policies)
        lock = folder.with_suffix(".lock")
        lock.touch()
    except OSError as error:
        if resume:
            raise InputError(f"--resume needs the folder {runs}, which cannot be used.") from error
        yield NOTHING_KEPT
        return
    with held(lock) as own:
        if not own:
            say("The same run is under way elsewhere, so this one starts from the beginning and keeps nothing.")
            yield NOTHING_KEPT
            return
        if not resume:
            shutil.rmtree(folder, ignore_errors=True)
        elif folder.is_dir():
            finished = [path.name for path in folder.iterdir()]
            folds, blocks = (sum(part in name for name in finished) for part in ("fold-", "block-"))
            parts = f"{counted(folds, 'fold', 'folds')} and {counted(blocks, 'block', 'blocks')}"
            say(f"Resuming: {parts} are finished already.")
        else:
            say("There is nothing to resume, so the run starts from the beginning.")
        store = Store(folder)
        yield Kept(store)
        if store.trouble is not None:
            say(f"Not everything could be kept for --resume: {store.trouble.strerror}.")
        shutil.rmtree(folder, ignore_errors=True)
        lock.unlink(missing_ok=True)


def _key(logs: Sequence[LogBlocks], settings: Settings, policies: Sequence[Policy]) -> str:
    """What the finished parts depend on: the logs, the settings, the policies, and the code."""
    code = hashlib.sha256()
    for package in (engagex_sim, built_in):
        folder = Path(str(package.__file__)).parent
        for path in sorted(folder.rglob("*.py")):
            code.update(f"{path.relative_to(folder)}\n".encode() + path.read_bytes())
    decides = [
        [log.folder.name for log in logs],  # named by what is in the files, and by how they were read
        settings.model_dump(exclude={"threads"}),
        [_identity(policy) for policy in policies],
        code.hexdigest(),
        versions(),
    ]
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:40]


def _identity(policy: Policy) -> list[str]:
    """A policy by its name and class, and a plug-in by what is in its file; not by what it imports."""
    if not isinstance(policy, GuardedPolicy):
        return [policy_name(policy), type(policy).__qualname__]
    content = hashlib.sha256(policy.source.read_bytes()).hexdigest()
    return [policy.name, type(policy.policy).__qualname__, content]


def _sweep(runs: Path) -> None:
    """Remove what runs left behind that nobody continued."""
    for path in runs.iterdir():
        if time.time() - path.stat().st_mtime > _ABANDONED:
            shutil.rmtree(path) if path.is_dir() else path.unlink()

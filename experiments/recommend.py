"""`recommend`: whom to contact at a date, and how well the log supports the policy that says so."""

import json
import math
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from engagex_sim.cap import DAY
from engagex_sim.contract import check_contract
from engagex_sim.errors import InputError
from engagex_sim.evaluation import evaluate_prepared
from engagex_sim.execution import OverBlocks, workers
from engagex_sim.log import LogBlocks, read_blocks
from engagex_sim.models.device import on_usable_device
from engagex_sim.ope.verdict import UNANSWERABLE
from engagex_sim.policy import Policy, policy_name
from engagex_sim.preparation import Prepared, prepare
from engagex_sim.recommend import Recommender, learn, recommendations
from engagex_sim.recommended import CONTACT, Limit, Recommended
from engagex_sim.report.answers import answers
from engagex_sim.report.files import versions
from engagex_sim.report.formats import counted
from engagex_sim.report.tables import csv_text, write_account, write_text
from engagex_sim.result import CURRENT
from engagex_sim.rules import rule_notes
from engagex_sim.settings import Settings
from engagex_sim.whole import written_whole
from engagex_sim.worlds import WORLDS, tables
from experiments.inputs import Files, Options, blocks_from, executor_from, files_from, output_directory, settings_from
from experiments.plugins import load_policy
from experiments.recommend_words import Tally, sentences, shown, why_table
from experiments.registry import WORLD_USERS, Small
from experiments.terminal import Progress, Terminal
from experiments.wording import invented

WORLD = "visits"  # where no files are given


def write_recommendations(options: Options, command: str) -> None:
    """Read the log up to the date, learn, evaluate, decide about every user, and write it. Raises `InputError`."""
    quick = {"folds": Small.folds, "n_boot": Small.n_boot} if options["small"] else {}
    numbers = {**options, **{name: n for name, n in quick.items() if options[name] is None}}
    settings = settings_from(numbers | {"capacity": None}, Settings)  # learned is what it is worth to contact anybody
    at, control = _moment(options["at"]), _control_share(options)
    limit = _limit(options, settings)
    directory = output_directory(options["out"], "recommend")
    policy = _policy(options["policy"].strip())
    terminal = Terminal(options["quiet"])
    terminal.warn_of_compilation()
    settings, said = on_usable_device(settings)
    if said is not None:
        terminal.say(said)
    kind = executor_from(options)
    files = files_from(options)
    if files is None:
        terminal.say(invented(WORLD))
    with workers(kind, settings.threads, options["scheduler"]) as over, ExitStack() as stack:
        with terminal.progress() as progress:
            progress("reading the log")
            if at is not None:
                settings = settings.model_copy(update={"until": at})
            log = stack.enter_context(_log(files, options, settings))
            at = log.log_end if at is None else at
            progress("computing features")
            prepared = _prepared(log, settings, over, options["at"])
        prepared.evaluation.rules_of(settings)  # what does not suit the log is refused before anything slow begins
        for note in [*prepared.notes, *rule_notes(settings)[:1], *_about_the_date(log, at), *_about_the_choice(log)]:
            terminal.say(note)
        with terminal.progress() as progress:
            progress("learning from all users")
            fitted = learn(prepared, policy, settings, at)
            check_contract(fitted.policies[0], prepared.trial)
            recommender = Recommender(log, fitted, settings, at, control, options["salt"])
            evaluation = None
            if not options["no_evaluation"]:
                evaluation = _evaluate(prepared, log, policy, settings, limit, over, progress)
            tally = Tally()
            with written_whole(directory) as folder:
                blocks = recommendations(recommender, limit, over)
                _write_table(folder / "recommendations.csv", blocks, tally, progress, len(log))
                facts = _facts(policy_name(policy), at, options, limit, tally, evaluation, settings, command)
                write_text(folder / "recommendation.json", json.dumps(facts, indent=2, ensure_ascii=False) + "\n")
                write_account(log.quality, folder)
    terminal.show(why_table(tally))
    for sentence in sentences(policy_name(policy), at, tally, evaluation):
        terminal.say(sentence)
    terminal.say(f"Recommendations: {directory / 'recommendations.csv'}", on_one_line=True)


def _write_table(path: Path, blocks: Iterable[Recommended], tally: Tally, progress: Progress, count: int) -> None:
    """One block after the other, so that memory holds no more than one of them."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for number_, block in enumerate(blocks):
            progress("recommending", number_, count)
            text = csv_text(block.table)
            file.write(text if number_ == 0 else text.partition("\n")[2])
            tally.add(block)


def _log(files: Files | None, options: Options, settings: Settings) -> LogBlocks:
    if files is not None:
        return blocks_from(files, options, settings)
    made = tables(WORLDS[WORLD], Small.n_users if options["small"] else WORLD_USERS, settings.seed)
    return read_blocks(made.triggers, made.actions, made.users, settings, threads=settings.threads)


def _policy(spec: str) -> Policy:
    if spec == CURRENT:
        raise InputError(
            "--policy current: the log shows whom the current strategy contacted, not how it decides, so it cannot be"
            " asked about others; --assign control=SHARE lists what a model of it expects for a control group."
        )
    return load_policy(spec)


def _prepared(log: LogBlocks, settings: Settings, over: OverBlocks, at: str | None) -> Prepared:
    try:
        return prepare(log, settings, over=over)
    except InputError as error:
        if at is None:
            raise
        raise InputError(f"Up to --at {at.strip()}: {error}") from error


def _moment(text: str | None) -> int | None:
    """Seconds of a date in the log's own clock."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise InputError(f"--at is a date as in 2024-05-31 or '2024-05-31 10:00:00', not {text!r}.") from error
    if moment.tzinfo is not None:
        raise InputError(f"--at is a time of the log's own clock, without a time zone, not {text!r}.")
    return int(moment.replace(tzinfo=UTC).timestamp())


def _control_share(options: Options) -> float:
    """The share of the users in the control group, 0 where there is to be none. Raises `InputError`."""
    text = options["assign"]
    if text is None:
        if options["salt"]:
            raise InputError("--salt makes other groups of --assign: give --assign control=SHARE too.")
        return 0.0
    name, _, share = text.partition("=")
    try:
        found = float(share)
    except ValueError:
        found = 0.0
    if name.strip() != "control" or not 0 < found < 1:
        raise InputError(f"--assign is control= and a share between 0 and 1, as in control=0.1, not {text!r}.")
    return found


def _limit(options: Options, settings: Settings) -> Limit | None:
    """The stricter of capacity and budget. Raises `InputError` where a budget allows no contact."""
    limits = []
    if options["capacity"] is not None:
        capacity = int(options["capacity"])
        limits.append(
            Limit(capacity, f"the capacity of {counted(capacity, 'contact')} is used up by those who rank higher")
        )
    if options["budget"] is not None and not math.isfinite(options["budget"]):
        raise InputError(f"--budget is an amount of money, not {options['budget']}; leave it out where there is none.")
    if options["budget"] is not None and settings.cost > 0:
        budget = float(options["budget"])
        paid = int(budget / settings.cost * (1 + 1e-12))
        if paid < 1:
            raise InputError(
                f"--budget {budget:g} leaves no room for a single contact at --cost {settings.cost:g}; raise it, or"
                " leave it out."
            )
        said = f"the budget of {budget:g} at {settings.cost:g} per contact is used up by those who rank higher"
        limits.append(Limit(paid, said))
    return min(limits, key=lambda limit: limit.contacts, default=None)


def _about_the_date(log: LogBlocks, at: int) -> list[str]:
    missing = (at - log.log_end) // DAY
    if missing < 1:
        return []
    return [
        f"The log ends {counted(missing, 'day')} before the date of the recommendations: what happened since is not"
        " known, and a contact made meanwhile would break the cap."
    ]


def _about_the_choice(log: LogBlocks) -> list[str]:
    if log.facts.contact_is_a_choice:
        return []
    return ["In this log contacting is not a choice: the list says with which kind, and whom first."]


def _evaluate(
    prepared: Prepared,
    log: LogBlocks,
    policy: Policy,
    settings: Settings,
    limit: Limit | None,
    over: OverBlocks,
    progress: Progress,
) -> Mapping[str, Any]:
    """What the headline says of the policy with so many contacts a day; a log that cannot be evaluated says nothing."""
    daily = limit.contacts if limit is not None and prepared.facts.contact_is_a_choice else None
    settings = settings.model_copy(update={"capacity": daily})
    try:
        result = evaluate_prepared(prepared, log.quality, [policy], settings, progress=progress, over=over)
    except InputError as error:
        return {"verdict": UNANSWERABLE, "reason": str(error)}
    found = next(answer for answer in answers(result) if not answer.is_current).primary
    shown = {
        "contacts_a_day_at_most": daily,
        "verdict": found.verdict,
        "reason": found.reason,
        "lift_percent": 100 * found.change,
        "lift_percent_low": 100 * found.change_low,
        "lift_percent_high": 100 * found.change_high,
        "interests_per_user": found.value,
        "lift": found.lift,
        "lift_low": found.lift_low,
        "lift_high": found.lift_high,
        "ess": found.ess,
        "max_weight_share": found.max_weight_share,
    }
    return {name: None if value != value else value for name, value in shown.items()}  # JSON has no NaN


def _facts(
    policy: str,
    at: int,
    options: Options,
    limit: Limit | None,
    tally: Tally,
    evaluation: Mapping[str, Any] | None,
    settings: Settings,
    command: str,
) -> dict[str, Any]:
    """What recommendation.json holds."""
    return {
        "command": command,
        "policy": policy,
        "at": shown(at),
        "users": tally.users,
        "contacts": tally.why[CONTACT],
        "contacts_by_kind": dict(sorted(tally.kinds.items())),
        "expected_interests": tally.expected_interests,
        "expected_interests_by_kind": dict(sorted(tally.interests.items())),
        "waiting": {why: n for why, n in sorted(tally.why.items()) if why != CONTACT},
        "most_contacts": None if limit is None else limit.contacts,
        "groups": {f"{group} {decision}": n for (group, decision), n in sorted(tally.groups.items())},
        "salt": options["salt"],
        "evaluation": evaluation,
        "settings": settings.resolved() | {"capacity": options["capacity"]},
        "versions": versions(),
    }

"""Every row of a file, judged: used so far, or rejected with a reason; the columns found by our names."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import duckdb
import numpy as np

from engagex_sim.errors import InputError
from engagex_sim.feature_names import COMPUTED, HISTORY_FEATURES, KIND_OF_CONTACT
from engagex_sim.log.dates import check_date_type, check_dates, date_reasons, seconds
from engagex_sim.log.quality import Rejected
from engagex_sim.log.source import Source
from engagex_sim.log.sql import one_row

REQUIRED = {"triggers": ("guid", "date", "trigger", "type"), "actions": ("guid", "date", "result"), "users": ("guid",)}
OPTIONAL = {"triggers": (), "actions": ("action", "propensity"), "users": ()}
NO_RESULT = "result is neither 0 nor 1"  # until the values that are there instead are known
SHOWN = 3  # of these values


@dataclass(frozen=True)
class Rows:
    """The judged rows of one file, as table `role` of the connection.

    Its columns are line, reason (NULL where the row is good), then what the role needs: guid, time (seconds), reward,
    propensity and, as text, x0, x1, … for the columns in `text_columns`.
    """

    role: str
    name: str
    text_columns: tuple[str, ...]
    ignored: tuple[str, ...]  # columns that nothing reads
    read: int
    rejected: tuple[Rejected, ...]

    @property
    def good(self) -> int:
        """How many rows are used so far."""
        return self.read - sum(len(group.line) for group in self.rejected)


def judge(
    connection: duckdb.DuckDBPyConnection,
    role: str,
    source: Source,
    mapping: Mapping[str, str],
    until: int | None = None,
) -> Rows:
    """Find our columns in a source and judge each of its rows; those later than `until`, seconds, are not read.

    Raises `InputError` where a column is missing or its name clashes, or where the dates are of another format.
    """
    fields = _find(role, source, mapping)
    needed = (*REQUIRED[role], *OPTIONAL[role])
    more = [name for name in fields if name not in needed]
    text: tuple[str, ...] = tuple(name for name in ("trigger", "type", "action") if name in fields and name in needed)
    ignored = ["(no name)"] if "" in source.columns else []
    if role == "actions":
        ignored += more
    else:
        text += tuple(more)
    dated = "date" in needed
    if dated:
        check_date_type(source.name, source.types[fields["date"]])
    query = _judgement(role, fields, text, dated)
    early = f" WHERE time IS NULL OR time <= {until}" if dated and until is not None else ""
    try:
        connection.execute(f"CREATE TABLE {role} AS {query} FROM ({source.relation})){early}")
    except (duckdb.InvalidInputException, duckdb.OperationalError) as error:
        raise InputError(f"{source.name} cannot be read: {str(error).splitlines()[0]}") from error
    (read,) = one_row(connection, f"SELECT count(*) FROM {role}")
    if dated:
        check_dates(connection, role, source.name, read)
    return Rows(role, source.name, text, tuple(ignored), read, tuple(_rejected(connection, role)))


def _judgement(role: str, fields: Mapping[str, int], text: tuple[str, ...], dated: bool) -> str:
    """SQL, up to the relation it reads, for the columns of `Rows` and `unreadable`, a date that is none."""
    found = [f"c{fields['guid']} AS guid", *(f"c{fields[name]} AS x{i}" for i, name in enumerate(text))]
    kept = ["guid", *(f"x{i}" for i in range(len(text)))]
    reasons = ["fault IS NOT NULL THEN fault", "guid IS NULL THEN 'guid is missing'"]
    unreadable = "NULL"
    if dated:
        found += [f"c{fields['date']} AS date", f"{seconds('date')} AS time"]
        kept.append("time")
        reasons += date_reasons("date", "time")
        unreadable = "CASE WHEN fault IS NULL AND time IS NULL THEN date END"
    if role == "actions":
        propensity = f"c{fields['propensity']}" if "propensity" in fields else "NULL::VARCHAR"
        found += [f"c{fields['result']} AS result", "TRY_CAST(result AS DOUBLE) AS reward"]
        found += [f"{propensity} AS written", "TRY_CAST(written AS DOUBLE) AS propensity"]
        wrong = "reward IS NULL OR reward NOT IN (0, 1)"
        kept += ["reward", "propensity", f"CASE WHEN {wrong} THEN result END AS wrong_result"]
        reasons.append("result IS NULL THEN 'result is missing: write 0 where the user was not interested'")
        reasons.append(f"{wrong} THEN '{NO_RESULT}'")
        possible = "propensity IS NOT NULL AND propensity > 0 AND propensity <= 1"
        reasons.append(f"written IS NOT NULL AND NOT ({possible}) THEN 'propensity is not above 0 and at most 1'")
    if "action" in text:
        reasons.append(f"x{text.index('action')} IS NULL THEN 'action is missing'")
    reason = "CASE " + " ".join(f"WHEN {branch}" for branch in reasons) + " END AS reason"
    return (
        f"SELECT line, {reason}, {', '.join(kept)}, {unreadable} AS unreadable"
        f" FROM (SELECT line, fault, {', '.join(found)}"
    )


def _rejected(connection: duckdb.DuckDBPyConnection, role: str) -> Iterator[Rejected]:
    """The rejected rows by reason."""
    found = connection.execute(
        f"SELECT DISTINCT reason FROM {role} WHERE reason IS NOT NULL ORDER BY reason"
    ).fetchall()
    for (reason,) in found:
        lines = connection.execute(f"SELECT line FROM {role} WHERE reason = ? ORDER BY line", [reason]).fetchnumpy()
        shown = _wrong_results(connection) if reason == NO_RESULT else reason
        yield Rejected(shown, np.array(lines["line"], dtype=np.int64))


def _wrong_results(connection: duckdb.DuckDBPyConnection) -> str:
    """The reason that names the commonest values given as results, and what to write instead."""
    found = connection.execute(
        f"SELECT wrong_result FROM actions WHERE reason = '{NO_RESULT}' GROUP BY wrong_result"
        f" ORDER BY count(*) DESC, wrong_result LIMIT {SHOWN + 1}"
    ).fetchall()
    shown = [repr(value if len(value) <= 30 else f"{value[:30]}…") for (value,) in found]
    if len(shown) > SHOWN:
        shown[SHOWN] = "something else"
    listed = " or ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)
    return f"result is {listed}: write 1 for interested and 0 for not"


def _find(role: str, source: Source, mapping: Mapping[str, str]) -> dict[str, int]:
    """Position of each column under our name for it; raises `InputError` where one is missing."""
    theirs = {name: ours for ours, name in mapping.items() if name in source.columns}
    ours = [theirs.get(name, name) for name in source.columns]
    clash = sorted({name for name in theirs.values() if ours.count(name) > 1})
    if clash:
        raise InputError(
            f"{source.name} has a column {clash[0]!r} and --columns maps {mapping[clash[0]]!r} to the same name;"
            " drop one of them."
        )
    missing = [name for name in REQUIRED[role] if name not in ours]
    if missing:
        raise InputError(_missing(role, source, missing, ours, mapping))
    return {name: position for position, name in enumerate(ours) if name}


def _missing(role: str, source: Source, missing: list[str], names: list[str], mapping: Mapping[str, str]) -> str:
    """What to say of missing columns: which there are, and the whole option that would name them."""
    other = {"triggers": "actions", "actions": "triggers", "users": ""}[role]
    if other and all(name in names for name in REQUIRED[other]):
        return f"{source.name}, given as {role}, has the columns of {other}; exchange the two files."
    lacking = " and ".join(repr(name) for name in missing)
    there = ", ".join(name or "(no name)" for name in source.columns)
    if any(_looks_like_data(name) for name in source.columns):
        return (
            f"{source.name}: the first line ({there}) looks like data; a header line that names the columns"
            f" {', '.join(REQUIRED[role])} is needed."
        )
    alike = {name.casefold(): name for name in source.columns}
    pairs = dict(mapping) | {name: alike.get(name, "NAME") for name in missing}
    option = ",".join(f"{ours}={theirs}" for ours, theirs in pairs.items())
    other_name = "it has another name" if len(missing) == 1 else "they have other names"
    return (
        f"{source.name} (the {role}) has no column {lacking}; there are: {there}. If {other_name}, say so:"
        f" --columns {option}."
    )


def _looks_like_data(name: str) -> bool:
    return name[:1].isdigit() and sum(letter.isdigit() for letter in name) >= 4


def check_clashes(triggers: Rows, users: Rows | None) -> None:
    """Raise `InputError` where a column cannot become a feature because its name is taken."""
    for rows in (triggers, *([] if users is None else [users])):
        for name in rows.text_columns:
            if name in (*COMPUTED, *HISTORY_FEATURES, KIND_OF_CONTACT):
                raise InputError(
                    f"{rows.name} has a column {name!r}, which is the name of a computed feature; rename it"
                    f" (--columns my_{name}={name}) or drop it."
                )
    for name in () if users is None else users.text_columns:
        if name in triggers.text_columns:
            assert users is not None
            raise InputError(f"{triggers.name} and {users.name} both have a column {name!r}; rename or drop one.")

"""The study as a page: what was run, what is demanded and seen, and what each estimator gets wrong."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from engagex_sim.report.formats import listing
from engagex_sim.result import CURRENT, HEADLINE, PRIMARY
from experiments.study.cells import FOLDS, N_BOOT, cells_of
from experiments.study.replicate import ALWAYS_TESTED, WHOLE_FAMILY, Tables
from experiments.study.score import headline, methods, records
from experiments.study.verdict_rules import ENOUGH, MISSES, RULES, SURE, Fitted, is_fitted_on

HEADLINE_COLUMNS = {
    "policy": "policy",
    "runs": "runs",
    "bias": "bias",
    "bias_error": "± s.e.",
    "rmse": "RMSE",
    "coverage": "coverage",
    "coverage_error": "± s.e.",
    "truth_above": "truth above",
    "truth_below": "truth below",
    "width": "width",
    "answered": "answered",
}

RULE_COLUMNS = {
    "fit_n": "chosen on",
    "fit_misses": "misses",
    "fit_error": "± s.e.",
    "other_n": "tried on",
    "other_misses": "misses ",
    "other_error": "± s.e. ",
    "other_answered": "answered",
}

ESTIMATORS_WORDS = f"""\
* **One-step weights (`…_step`)** credit a strategy with contacts that the cap forbids: they weigh each decision
  alone, at the moments at which the *current* strategy left users free. The more eagerly a strategy contacts, the
  further off: it is paid for every moment at which it would contact, though after the first it could not. More data
  makes the interval narrower around the wrong number, and a better reward model does not help: `dr_step` and
  `dm_step` ask the same wrong question.
* **Cumulative weights (`…_traj`)** ask the right question and are nearly unbiased, but they multiply the ratios of
  all of a user's decisions so far, those without a contact included. The products spread over many powers of ten, so
  fewer users carry the answer, and the longer the period, the fewer. They are the only ones that serve a policy which
  reads past results.
* **Cap-marginal weights (`…_cap`)** ask the right question with one ratio per contact: how likely is *this* contact
  under the policy, over how likely it was under the current strategy, both with the cap in force. What the policy did
  before enters through the probability and not through a product.
* **`ips_…`** rests on the propensities alone, and passes on each of their errors. **`dm_…`** rests on the reward
  model alone: it is steady, it is off by what the model cannot see, and nothing in the data tells by how much, so it
  has no interval. **`dr_…`** starts at the model and lets the weighted contacts correct it: an error of either of the
  two is forgiven where the other one is right.
* **`snips_…`, `sndr_…`** divide by the sum of the weights. That helps where weights are heavy, and costs a little
  bias in small logs.
* **`clipped_…`, `switch_dr_…`, `dros_…`, `subgaussian_…`** shrink heavy weights, each in its way: less spread for
  some bias. How much is chosen from the data (SLOPE). An interval knows nothing of the bias that was bought, so it
  covers less often than it says.

The headline is `{HEADLINE}`: it asks the right question, needs only one of the two models to be right, has no constant
to choose, and buys no bias that its interval would not know of. How its error compares with its rivals' stands among
the demands above."""

FILES_WORDS = """\
Beside this page: `accuracy.csv` (every estimator, policy and metric), `claims.csv` (the demands) and
`verdict_rules.csv` (the limits). One of the cells is called `null`, which pandas takes for a missing value unless
told otherwise: `pandas.read_csv("accuracy.csv", keep_default_na=False, na_values=[""])`."""

INTERVAL_WORDS = """\
`bootstrap` is the interval of the tables above when a policy is compared alone; `influence` the symmetric one from
the same estimate's influence function, whose misses all lie on one side where interests are few and the estimate is
skewed; `bernstein` holds for a log of any size and any distribution (for `ips_cap`), and pays for it with its width;
where weights have no bound, it says nothing."""

WITHOUT_CAP = "visits_cap_0"
WITHOUT_CAP_WORDS = f"""\
In `{WITHOUT_CAP}` lifts are covered less often, which is a fault of the truth and not of the interval: without a cap
there is no burn-in, so in its first week the log does not know all of the earlier visits by which its strategy decided.
That strategy made more contacts than the same strategy on what the log knows, which is the truth of `current` there."""


def page(
    tables: Tables,
    accuracy: pd.DataFrame,
    claims: pd.DataFrame,
    rules: Fitted,
    asked: Mapping[str, object],
) -> str:
    """The page in Markdown, from the tables of a study."""
    planned = cells_of(bool(asked["small"]))
    cells = [name for name in planned if (tables.runs["cell"] == name).any()]
    parts = [
        "# How right the answers are, where the truth is known",
        _what_was_run(tables, cells, asked),
        FILES_WORDS,
        "## What is demanded, and what was seen",
        _claims(claims),
        f"## The headline, `{HEADLINE}`, interests per user",
        "Over runs with an answer, in percent of the truth: bias and root mean squared error; coverage of the 95 %"
        " interval with its Monte-Carlo error (one standard error; the lines in the figure are two to either side),"
        " runs that miss with the truth above and below the interval, mean width. `answered`: percent of all runs in"
        " which the tool gives an answer. `current` is the log's own mean. Policies that contact nobody are exact and"
        " not shown.",
        "![Coverage of the headline](coverage.png)",
        *(_headline(accuracy, cell) for cell in cells),
        "## What each estimator gets wrong",
        "![Error of every estimator](estimators.png)",
        *_estimators(accuracy, "visits"),
        ESTIMATORS_WORDS,
        "## Other intervals",
        _intervals(tables.intervals, cells),
        INTERVAL_WORDS,
        WITHOUT_CAP_WORDS if WITHOUT_CAP in cells else "",
        "## When an answer is refused",
        _rules(rules, cells),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _what_was_run(tables: Tables, cells: Sequence[str], asked: Mapping[str, object]) -> str:
    versions = asked["versions"]
    made_with = listing([f"{name} {number}" for name, number in versions.items()]) if isinstance(versions, dict) else ""
    known = cells_of(bool(asked["small"]))
    counts = tables.runs.groupby("cell")["replication"].nunique()
    options = ["--small"] if asked["small"] else []
    if len(cells) < len(known):
        options.append(f"--cells {','.join(cells)}")
    if any(counts[name] < known[name].replications for name in cells):
        options.append(f"--replications {counts.max()}")
    command = " ".join(["python -m experiments.run estimator_study", *options, f"--seed {asked['seed']} --out study"])
    rows = [
        {
            "cell": name,
            "world": known[name].world.summary,
            "users": f"{known[name].n_users:,}",
            "cap, days": f"{known[name].world.cap.days:g}",
            "logs": f"{counts[name]:,}",
            "refused": f"{int(tables.runs.loc[tables.runs['cell'] == name, 'refused'].notna().sum()):,}",
        }
        for name in cells
    ]
    seconds = float(tables.runs["seconds"].sum()) / 3600
    always = listing([f"`{name}`" for name in ALWAYS_TESTED])
    changed = (
        " Later versions of the code went on with it, after they had given the same numbers for two logs of every cell."
        if asked.get("earlier")
        else ""
    )
    return (
        f"    {command}\n\n"
        "In each cell logs are drawn from a synthetic world again and again; the built-in policies, and where there"
        " is one the policy equal to the logging policy (`logging`), are evaluated on every log and compared with the"
        f" truth: the same policies on fresh users. {FOLDS} folds, light models, {N_BOOT} bootstrap replicates; on the"
        f" first {WHOLE_FAMILY} logs of a cell all estimators and the flags, on the others `{HEADLINE}` alone (of"
        f" {always} the flags on every log); seed {asked['seed']}; {made_with}. About"
        f" {seconds:.1f} hours on one core. Of policies that learn the truth is that of the versions learned on that"
        f" very log.{changed} `refused`: logs about which the tool gave no answers at all.\n\n"
        + _markdown(pd.DataFrame(rows), text=("cell", "world"))
    )


def _claims(claims: pd.DataFrame) -> str:
    table = pd.DataFrame(
        {
            "cell": claims["cell"],
            "demand": claims["claim"],
            "wanted": claims["wanted"],
            "seen": [_number(value, 2) for value in claims["value"]],
            "± s.e.": [_number(value, 2) for value in claims["error"]],
            "logs": claims["runs"],
            "holds": [own if own != "no" else "**no**" for own in claims["holds"]],
        }
    )
    return _markdown(table, text=("cell", "demand", "wanted", "holds"))


def _headline(accuracy: pd.DataFrame, cell: str) -> str:
    own = headline(accuracy)
    own = own[own["cell"] == cell]
    table = pd.DataFrame({i: own[name] for i, name in enumerate(HEADLINE_COLUMNS)})
    table.columns = pd.Index(list(HEADLINE_COLUMNS.values()))
    return f"### `{cell}`\n\n{_markdown(table, text=('policy',))}"


def _estimators(accuracy: pd.DataFrame, cell: str) -> list[str]:
    own = accuracy[
        (accuracy["cell"] == cell)
        & (accuracy["metric"] == PRIMARY)
        & (accuracy["policy"] != CURRENT)
        & (accuracy["runs"] > 0)
    ]
    if own.empty:
        return []
    found = []
    for name, title, unit in (
        ("bias", "Bias", "truth"),
        ("rmse", "Root mean squared error", "truth"),
        ("coverage", "Coverage of the 95 % interval", "runs"),
    ):
        numbers: dict[str, dict[str, float]] = {}
        for row in records(own):
            numbers.setdefault(row["estimator"], {})[row["policy"]] = row[name]
        table = pd.DataFrame.from_dict(numbers, orient="index").rename_axis("estimator").reset_index()
        found.append(f"{title}, `{cell}`, percent of the {unit}:\n\n{_markdown(table, text=('estimator',))}")
    return found


def _intervals(intervals: pd.DataFrame, cells: Sequence[str]) -> str:
    table = methods(intervals)
    rows = []
    for cell in cells:
        for method, own in table[table["cell"] == cell].groupby("method", sort=False):
            rows.append(
                {
                    "cell": cell,
                    "interval": str(method),
                    "covers the value": float(own["value_coverage"].mean()),
                    "its width": float(own["value_width"].median()),
                    "covers the lift": float(own["lift_coverage"].mean()),
                    "its width ": float(own["lift_width"].median()),
                }
            )
    return (
        "Every interval is of one policy alone. Coverage is the mean over policies, in percent of the runs; width the"
        f" median, in percent of the true value.\n\n{_markdown(pd.DataFrame(rows), text=('cell', 'interval'))}"
    )


def _rules(rules: Fitted, cells: Sequence[str]) -> str:
    halves = [[f"`{name}`" for name in cells if is_fitted_on(name) == half] for half in (True, False)]
    fit, other = (listing(names) if names else "none" for names in halves)
    table = rules.table
    limits = pd.DataFrame(
        {
            "fact": [rule.fact for rule in RULES],
            "limit": ["at least" if rule.at_least else "at most" for rule in RULES],
            "in use": [f"{rule.now:g}" for rule in RULES],
            "chosen here": [f"{rules.limits[rule.fact]:g}" for rule in RULES],
        }
    )
    filled = table[(table["fit_n"] > 0) | (table["other_n"] > 0)]
    together = filled[filled["fact"] == "together"].drop(columns=["fact", "limit"])
    bins = filled[filled["fact"] != "together"].drop(columns=["other_answered", "limit"])
    return (
        "An estimate that rests on too little gets no verdict. Each limit is the loosest that lets no policy of any"
        f" cell through whose 95 % interval is seen to miss more than {MISSES:g} % of the truths, by {SURE:g} standard"
        f" errors, in {ENOUGH} estimates or more; where none is seen, the limit stays as it is. Limits are chosen one"
        " after the other, each among the estimates that the earlier ones let through."
        f" Chosen on {fit}; tried on {other}."
        f"\n\n{_markdown(limits, text=('fact', 'limit'))}\n\n"
        "All estimates that the limits let through, on the cells they were chosen on and on the others; misses in"
        f" percent:\n\n{_markdown(together.rename(columns=RULE_COLUMNS), text=('estimates',))}\n\n"
        f"Estimates by what they rest on:\n\n{_markdown(bins.rename(columns=RULE_COLUMNS), text=('fact', 'estimates'))}"
    )


def _markdown(table: pd.DataFrame, text: Sequence[str] = ()) -> str:
    """The table in Markdown; numbers to one decimal, undefined as nothing."""
    names = [str(name) for name in table.columns]
    lines = [
        "| " + " | ".join(name.strip() for name in names) + " |",
        "|" + "|".join("---" if name in text else "--:" for name in names) + "|",
    ]
    lines += ["| " + " | ".join(_cell(value) for value in row) + " |" for row in table.to_numpy(dtype=object)]
    return "\n".join(lines)


def _cell(value: object) -> str:
    if isinstance(value, str):
        return value.replace("|", "\\|")
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return ""
    return _number(value, 1) if isinstance(value, float) else f"{value:,}"


def _number(value: float, decimals: int) -> str:
    return "" if np.isnan(value) else f"{value:.{decimals}f}".replace("-", "−")

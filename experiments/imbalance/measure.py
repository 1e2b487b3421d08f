"""One log, one strategy against imbalance: the reward model, the policies chosen with it, and the estimates."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from engagex_sim.blockwise import CrossFitted, cross_fit, estimate_all
from engagex_sim.checkpoint import NothingKept
from engagex_sim.estimate import METRICS, NAMES
from engagex_sim.evaluation import policy_truths
from engagex_sim.model_tables import Scored, model_metrics
from engagex_sim.models.calibrate import Calibration, log_odds, sigmoid
from engagex_sim.models.learned import Learned
from engagex_sim.models.metrics import NAMES as METRIC_NAMES
from engagex_sim.models.metrics import classification_metrics
from engagex_sim.policy import Policy, policy_name
from engagex_sim.preparation import Prepared, prepare, prepare_decisions
from engagex_sim.result import HEADLINE, PRIMARY
from engagex_sim.settings import Settings
from engagex_sim.tables import summary_table
from engagex_sim.worlds import WORLDS, World, logged_decisions, visible
from experiments.inputs import Files, Options, blocks_from
from policies import REGISTRY

AS_TRAINED, RECALIBRATED = "as trained", "recalibrated"
HELD_OUT, TRAIN = "held-out", "train"
LIFT = "lift_percent"
POLICIES = ("first_chance", "uniform", "xgb_greedy", "xgb_profit")
SHOWN = (PRIMARY, "contacts_per_user", "interests_per_contact", "profit_per_user")
ESTIMATORS = (HEADLINE, "dm_cap")
ROUNDING = 1e-6  # relative, by which a border is lowered, so that a prediction that lies on it stays above
COLUMNS = [
    *("log", "repeat", "strategy", "stage", "subject", "measure"),
    *("value", "low", "high", "truth", "verdict"),
]


@dataclass(frozen=True)
class Task:
    """A world and its users, or the files of a log; which repeat; and the strategy in the settings."""

    log: str
    repeat: int
    settings: Settings
    n_users: int = 0
    truth_users: int = 0
    files: Files | None = None
    options: Options | None = None

    @cached_property
    def world(self) -> World | None:
        """The world, None where the log is a file's."""
        return None if self.files else WORLDS[self.log]

    @contextmanager
    def prepared(self) -> Iterator[Prepared]:
        """The log: another one of the world in every repeat, or always the same of the files, split anew."""
        if self.world is not None:
            made = logged_decisions(self.world, self.n_users, np.random.default_rng(self.settings.seed))
            yield prepare_decisions(visible(made), self.settings, world=self.world)
        else:
            assert self.files is not None and self.options is not None  # a log is one or the other
            with blocks_from(self.files, self.options, self.settings) as log:
                yield prepare(log, self.settings)


class Remembering(NothingKept):
    """Keeps each fold's models."""

    def __init__(self) -> None:
        self.learned: dict[int, Learned] = {}

    def models(self, fold: int, threads: int, learn: Callable[[], Learned]) -> Learned:
        self.learned[fold] = super().models(fold, threads, learn)
        return self.learned[fold]


class Uncalibrated(NothingKept):
    """Answers with models that were learned before, as they were before their recalibration."""

    def __init__(self, learned: Mapping[int, Learned]) -> None:
        self.learned = learned

    def models(self, fold: int, threads: int, learn: Callable[[], Learned]) -> Learned:
        del threads, learn
        return uncalibrated(self.learned[fold])


def uncalibrated(learned: Learned) -> Learned:
    """The same trees with the probabilities that they give themselves; thresholds and classes move along."""
    model = learned.reward_model
    if model.booster is None or model.calibration.slope <= 0:  # nothing was learned that could be put back
        return learned
    a, b = model.calibration.intercept, model.calibration.slope
    borders = log_odds(np.array([model.threshold, *learned.score_edges]))
    threshold, *edges = (1 - ROUNDING) * sigmoid((borders - a) / b)
    raw = replace(model, calibration=Calibration(0.0, 1.0), threshold=float(threshold))
    return replace(learned, reward_model=raw, score_edges=np.array(edges))


def measure(task: Task) -> pd.DataFrame:
    """Everything that is compared, one number a row; no row where a log has too few interests to compare anything.

    The subject is a part of the users (train or held-out) or a policy. Of a policy in a world the true values are rows,
    and the estimates stand beside their truth.
    """
    with task.prepared() as prepared:
        table = _measured(task, prepared)
    own = table.assign(log=task.log, repeat=task.repeat, strategy=task.settings.imbalance)
    return own.reindex(columns=COLUMNS)


def _measured(task: Task, prepared: Prepared) -> pd.DataFrame:
    policies = [REGISTRY[name]() for name in POLICIES]
    if not prepared.facts.contact_is_a_choice:
        policies = [policy for policy in policies if policy_name(policy) != "xgb_profit"]
    remembering = Remembering()
    fitted = cross_fit(prepared, policies, task.settings, checkpoint=remembering)
    if not _comparable(fitted):
        return pd.DataFrame(columns=COLUMNS)
    raw = cross_fit(prepared, policies, task.settings, checkpoint=Uncalibrated(remembering.learned))
    rows = []
    for stage, found in ((AS_TRAINED, raw), (RECALIBRATED, fitted)):
        own = [*_model_rows(prepared, found, task.settings), *_policy_rows(task, prepared, found, policies)]
        rows += [{"stage": stage} | row for row in own]
    return pd.DataFrame(rows)


def _comparable(found: CrossFitted) -> bool:
    """Whether anything was learned, and held-out users can be ranked; no strategy changes that."""
    learned = any(fitted.reward_model.booster is not None for fitted in found.fitted)
    return learned and len(np.unique(found.observed.reward)) > 1


def _model_rows(prepared: Prepared, found: CrossFitted, settings: Settings) -> list[dict[str, Any]]:
    contacts, observed = prepared.timeline.contacts(), found.observed
    train = [
        Scored.on(contacts.users(~judged), models)
        for models, judged in zip(found.fitted, found.splitting.judged(contacts.user_key), strict=True)
    ]
    table = model_metrics(train, Scored.held_out(observed, found.fitted), settings.imbalance)
    by_split = dict(zip(table["split"], table[list(METRIC_NAMES)].to_numpy(dtype=np.float64), strict=True))
    rows: list[dict[str, Any]] = [
        {"subject": split, "measure": name, "value": value}
        for split in (TRAIN, HELD_OUT)
        for name, value in zip(METRIC_NAMES, by_split[split], strict=True)
    ]
    interests = float(observed.reward.sum())
    own = {
        "f1_at_half": classification_metrics(observed.reward, observed.predicted, 0.5)["f1"],
        "predicted_per_interest": float(observed.predicted.sum()) / interests if interests else float("nan"),
    }
    return rows + [{"subject": HELD_OUT, "measure": name, "value": value} for name, value in own.items()]


def _policy_rows(
    task: Task, prepared: Prepared, found: CrossFitted, policies: Sequence[Policy]
) -> list[dict[str, Any]]:
    names = [policy_name(policy) for policy in policies]
    estimates = estimate_all(prepared, found.observed, task.settings, ESTIMATORS)
    table = summary_table(names, estimates, prepared.facts.n_users, refusal=prepared.refusal)
    head = table[(table["estimator"] == HEADLINE) & (table["metric"] == PRIMARY)].set_index("policy")
    lifts = head[[LIFT, f"{LIFT}_low", f"{LIFT}_high"]]
    truths = None
    if task.world is not None:
        truths = policy_truths(task.world, policies, found, task.settings, task.truth_users)
    rows: list[dict[str, Any]] = []
    for p, name in enumerate(names):
        true = {} if truths is None else truths[name].metrics
        for estimator in ESTIMATORS:
            value = float(estimates.value[p, NAMES.index(estimator), METRICS.index(PRIMARY)])
            row = {"subject": name, "measure": estimator, "value": value, "truth": true.get(PRIMARY, float("nan"))}
            rows.append(row | ({"verdict": head.loc[name, "verdict"]} if estimator == HEADLINE else {}))
        lift, low, high = lifts.loc[name].to_numpy(dtype=np.float64)
        rows.append({"subject": name, "measure": LIFT, "value": lift, "low": low, "high": high})
        contacts = float(estimates.value[p, NAMES.index(HEADLINE), METRICS.index("contacts_per_user")])
        rows.append({"subject": name, "measure": "estimated_contacts_per_user", "value": contacts})
        rows += [{"subject": name, "measure": f"true_{metric}", "value": true[metric]} for metric in SHOWN if true]
    return rows

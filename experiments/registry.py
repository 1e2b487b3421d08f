"""The experiments as data: what each is for, and what it runs on when nothing is said."""

from collections.abc import Mapping
from dataclasses import dataclass

POLICIES = (
    "never",
    "first_chance",
    "uniform",
    "random_matched",
    "xgb_greedy",
    "xgb_profit",
)  # of the main job and of the study
WORLDS = (
    "visits",
    "null",
    "sends",
    "fatigue",
    "confounded",
    "frailty",
    "drift",
    "deterministic",
    "bursty",
    "reactive",
    "capless",
    "seed_like",
)
WORLD_USERS = 20_000  # of a synthetic world, where no number is given


@dataclass(frozen=True)
class Small:
    """The quick variant (`--small`): fewer synthetic users, folds and bootstrap replicates."""

    n_users: int = 2_000
    folds: int = 2
    n_boot: int = 200
    truth_users: int = 20_000


@dataclass(frozen=True)
class Evaluation:
    """An experiment that evaluates policies."""

    summary: str
    policies: tuple[str, ...] = ()  # where --policies is not given, "all": every built-in one; empty: it must be
    world: str = "visits"  # where no files are given
    n_users: int = WORLD_USERS  # of that world
    truth_users: int = 100_000  # on whom true values are measured
    small: Small = Small()


EVALUATIONS: Mapping[str, Evaluation] = {
    "baseline_vs_xgb": Evaluation(
        summary="Would choosing whom and when to contact by predicted interest beat the current strategy?",
        policies=POLICIES,
    ),
    "compare": Evaluation(summary="Compare any policies, your own included, with the current strategy."),
    "policy_zoo": Evaluation(
        summary="All built-in policies, ranked, with what they cost to compute, and the most that was to be had.",
        policies=("all",),
    ),
}

TOOLS: Mapping[str, str] = {
    "check": "Data quality of a log, and the smallest lift that it could show; no training, seconds.",
    "make_world": "Write the files of a synthetic world, users.csv too where it has attributes, and truth.json.",
    "recommend": "Whom to contact at a date, with which kind and why: one row per user, within cap and capacity.",
    "ab_plan": "How many users and days does the A/B test take that would confirm a lift?",
    "estimator_study": "Are the answers right? Bias, RMSE and coverage of every estimator in worlds of known truth.",
    "imbalance_study": "What should be done about few interests? Every strategy, its policies and its errors.",
    "bench": "What does each stage of baseline_vs_xgb cost as the log grows, and what would the naive way cost?",
    "exploration_check": "Does a plan of exploration keep its word? Plan it, carry it out, and compare the intervals.",
    "kill_check": "Does a run that is killed leave the finished output or none, and resumed the same files?",
    "new_policy": "Write a ten-line policy of your own and its contract test.",
}

SUMMARIES: Mapping[str, str] = {name: experiment.summary for name, experiment in EVALUATIONS.items()} | dict(TOOLS)

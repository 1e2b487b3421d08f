"""Cross-fitting: models and policies learn from some users and are evaluated on the others."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engagex_sim.columns import BoolArray
from engagex_sim.errors import InputError
from engagex_sim.models.propensity import PropensityModel
from engagex_sim.models.reward import RewardModel
from engagex_sim.policy import Policy, policy_name
from engagex_sim.settings import Settings
from engagex_sim.timeline import Timeline
from engagex_sim.training import Training

CAP_BROKEN = 0.01  # share of the logged contacts that break the cap, above which the log is not bound by it


@dataclass(frozen=True)
class Fitted:
    """Everything learned from one set of users."""

    reward_model: RewardModel
    logging: PropensityModel  # reads exogenous features: for contact probabilities
    logging_with_history: PropensityModel  # reads history too: for cumulative weights
    policies: tuple[Policy, ...]


def cap_is_kept(timeline: Timeline) -> bool:
    """Whether the log obeys the cap closely enough for the logging policy to be modelled with it."""
    return int(timeline.breaks_cap.sum()) <= CAP_BROKEN * int((timeline.action > 0).sum())


def fit(
    timeline: Timeline, train: BoolArray, policies: Sequence[Policy], settings: Settings, seed: int, cap_modelled: bool
) -> Fitted:
    """Fit models and policies on the users where `train` (n_users,) holds; `timeline` includes the burn-in.

    The reward model learns from every contact, the burn-in's included; the logging policy and the policies from the
    evaluation period. Raises `InputError` where there is nothing to learn from.
    """
    users = timeline.users(train)
    contacts, evaluation = users.contacts(), users.evaluation()
    if len(contacts) == 0 or not (evaluation.action > 0).any():
        raise InputError(
            "Too few contacts to cross-fit: one group of training users was never contacted in the evaluation period;"
            " use fewer --folds or a longer log."
        )
    reward_model = RewardModel.fit(
        contacts.free_context(),
        contacts.action,
        contacts.reward,
        contacts.user_key[contacts.user_of_row],
        contacts.time,
        imbalance=settings.imbalance,
        grid=settings.grid,
        seed=seed,
        threads=settings.threads,
    )
    choices = evaluation.rows(evaluation.free) if cap_modelled else evaluation
    free, light = choices.free_context(), settings.grid == "light"
    logging, with_history = (
        PropensityModel.fit(free, choices.action, history=h, seed=seed, threads=settings.threads, light=light)
        for h in (False, True)
    )
    training = Training(
        timeline=evaluation,
        reward_model=reward_model,
        logging=logging,
        cap=timeline.cap,
        value=settings.value,
        cost=settings.cost,
        rng=np.random.default_rng(seed),
    )
    return Fitted(reward_model, logging, with_history, tuple(_trained(p, training) for p in policies))


def _trained(policy: Policy, training: Training) -> Policy:
    """A copy of the policy, trained if it learns."""
    own = copy.deepcopy(policy)
    learn = getattr(own, "fit", None)
    if learn is None:
        return own
    trained = learn(training)
    if not isinstance(trained, Policy):
        raise InputError(f"Policy {policy_name(policy)} returned {type(trained).__name__} from fit; return self.")
    return trained

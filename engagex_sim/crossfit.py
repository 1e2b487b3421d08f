"""Cross-fitting: models and policies learn from some users and are evaluated on the others."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from engagex_sim.augment.choice import row_generator
from engagex_sim.capacity import rationed
from engagex_sim.columns import BoolArray, FloatArray
from engagex_sim.dependence import Carried
from engagex_sim.errors import InputError
from engagex_sim.extra import joined
from engagex_sim.margins import MAX_LEVELS
from engagex_sim.models.calibrate import log_odds, sigmoid
from engagex_sim.models.learned import Learned
from engagex_sim.models.propensity import PropensityModel
from engagex_sim.models.reward import RewardModel
from engagex_sim.models.state_effects import StateEffects
from engagex_sim.policy import Policy, policy_name
from engagex_sim.settings import Settings
from engagex_sim.states import States
from engagex_sim.timeline import Timeline
from engagex_sim.training import Training

CAP_BROKEN = 0.01  # share of the logged contacts that break the cap, above which the log is not bound by it


@dataclass(frozen=True)
class Fitted(Learned):
    """Everything learned from one set of users: the models, and the policies that learned from them."""

    policies: tuple[Policy, ...]


def cap_is_kept(timeline: Timeline) -> bool:
    """Whether the log obeys the cap closely enough for the logging policy to be modelled with it."""
    return int(timeline.breaks_cap.sum()) <= CAP_BROKEN * int((timeline.action > 0).sum())


def fit(
    timeline: Timeline,
    sampled: BoolArray,
    policies: Sequence[Policy],
    settings: Settings,
    *,
    seed: int,
    cap_modelled: bool,
    carry: Carried,
    represented: float = 1.0,
    ends: int | None = None,
    kept: Callable[[Callable[[], Learned]], Learned] = lambda learn: learn(),
    extra: Timeline | None = None,
    capacity: float | None = None,
) -> Fitted:
    """Fit models and policies on all users of `timeline`, which includes the burn-in.

    It holds the contacts of every user, and all decision points of those where `sampled` (n_users,) holds, who make
    `represented` of all decisions without contact. The reward model learns from every contact, the burn-in's included;
    the logging policy from the evaluation period; the policies from that of the sampled users, for the time until
    `ends` (seconds; by default the log's end). `kept` is given what learns the models, and may know them already.
    The reward model also learns from the contacts of another log, `extra`. With a `capacity`, in contacts per user and
    day, the policies ration what they do.
    Raises `InputError` where there is nothing to learn from.
    """
    contacts, evaluation = timeline.contacts(), timeline.evaluation()
    if len(contacts) == 0 or not (evaluation.action > 0).any():
        raise InputError(
            "Too few contacts to cross-fit: one group of training users was never contacted in the evaluation period;"
            " use fewer --folds (or a smaller --holdout) or a longer log."
        )

    def learn() -> Learned:
        shown = contacts if extra is None else joined(contacts, extra)
        own = np.arange(len(shown)) < len(contacts)
        return _learn(shown, own, evaluation, settings, seed, cap_modelled, carry, represented)

    models = kept(learn)
    training = Training(
        timeline=(evaluation if sampled.all() else evaluation.users(sampled)).under(evaluation.rules_of(settings)),
        reward_model=models.reward_model,
        logging=models.logging,
        cap=timeline.cap,
        value=settings.value,
        cost=settings.cost,
        ends=timeline.log_end if ends is None else ends,
        rng=np.random.default_rng(seed),
    )
    trained = tuple(_trained(p, training) for p in policies)
    if capacity is not None:
        trained = tuple(rationed(p, training, capacity) for p in trained)
    return Fitted(**vars(models), policies=trained)


def _learn(
    contacts: Timeline,
    own: BoolArray,
    evaluation: Timeline,
    settings: Settings,
    seed: int,
    cap_modelled: bool,
    carry: Carried,
    represented: float,
) -> Learned:
    """The models, from all contacts, of which those of the log itself are its `own`, and from the evaluation period."""
    reward_model = RewardModel.fit(
        contacts.free_context(),
        contacts.action,
        contacts.reward,
        contacts.user_key[contacts.user_of_row],
        contacts.time,
        own=own,
        imbalance=settings.imbalance,
        grid=settings.grid,
        seed=seed,
        threads=settings.threads,
        device=settings.device,
        generator=row_generator(settings),
    )
    choices = evaluation.rows(evaluation.free) if cap_modelled else evaluation
    logging = PropensityModel.fit(
        choices.free_context(),
        choices.action,
        seed=seed,
        states=carry.logging,
        represented=represented,
        threads=settings.threads,
        light=settings.grid == "light",
        device=settings.device,
    )
    effects, score_edges = _effects_and_edges(reward_model, evaluation.contacts(), carry.weights)
    return Learned(reward_model, effects, score_edges, logging)


def _effects_and_edges(model: RewardModel, contacts: Timeline, states: States) -> tuple[StateEffects, FloatArray]:
    """What the contact history adds to the reward model's log odds, and the classes of the predictions with it."""
    own = log_odds(model.predict(contacts.free_context())[np.arange(len(contacts)), contacts.action - 1])
    state, effects = states.of(contacts.time, contacts.logged), StateEffects.none(states)
    if states.size > 1:
        effects = StateEffects.fit(states, state, own, contacts.reward)
    scores = sigmoid(own + effects.effect[state])
    return effects, np.unique(np.quantile(scores, np.arange(1, MAX_LEVELS) / MAX_LEVELS))


def _trained(policy: Policy, training: Training) -> Policy:
    """A copy of the policy, trained if it learns; what one draws leaves the numbers of the next as they are."""
    own, training = copy.deepcopy(policy), replace(training, rng=copy.deepcopy(training.rng))
    learn = getattr(own, "fit", None)
    if learn is None:
        return own
    trained = learn(training)
    if not isinstance(trained, Policy):
        raise InputError(f"Policy {policy_name(policy)} returned {type(trained).__name__} from fit; return self.")
    return trained

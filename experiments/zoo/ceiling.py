"""The most that was to be had: what a policy could earn in a world if it knew the true probabilities of interest."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from engagex_sim.columns import FloatArray
from engagex_sim.hindsight import hindsight
from engagex_sim.models.reward import RewardModel
from engagex_sim.occupancy import contact_probabilities
from engagex_sim.policy import Context, Policy
from engagex_sim.timeline import Timeline
from engagex_sim.training import Training
from engagex_sim.worlds import World, logged_decisions
from policies.fixed import FirstChance
from policies.lookahead import XgbLookahead

THRESHOLDS = 100  # constant thresholds that are tried
COLUMNS = ("what", "interests_per_user", "contacts_per_user", "share_of_hindsight", "sentence")


@dataclass(frozen=True)
class TrueScores:
    """A world's own probabilities of interest in a reward model's place."""

    world: World

    def predict(self, context: Context) -> FloatArray:
        """(n, K)."""
        return self.world.reward_probabilities(context)


def ceiling(world: World, n_users: int, seed: int) -> pd.DataFrame | None:
    """With true scores: first chance, the best constant threshold, lookahead, and the bound with hindsight.

    The policies are for `n_users` fresh users and learn from as many others; interests and contacts are expected ones,
    by the recursion. The threshold is the best one for the very users it is judged on. None where interest depends on
    earlier contacts or the timeline reacts to them: then no list of scores says what could have been had.
    """
    learning, judged = (_population(world, n_users, part) for part in ([seed, 1], [seed, 2]))
    context = judged.free_context()
    scores = world.reward_probabilities(context)
    if context.history_read or world.reacts:
        return None
    best = scores.max(axis=1)
    lookahead = XgbLookahead().fit(_training(world, learning, seed))
    levels = np.quantile(best, np.arange(THRESHOLDS) / THRESHOLDS)
    tried = [_earned(judged, (best >= level)[:, None] * _of_best(scores), scores) for level in levels]
    most = float(hindsight(judged, best).mean())
    found = [
        (
            "first chance",
            *_of(FirstChance(), judged, scores),
            "contacts whenever the cap allows one",
        ),
        ("best threshold", *max(tried), "contacts above the best constant threshold of the true probability"),
        (
            "lookahead",
            *_of(lookahead, judged, scores),
            "contacts where the true probability exceeds what waiting is worth",
        ),
        ("hindsight", most, np.nan, "knows every user's future: no policy can have more"),
    ]
    rows = [(what, interests, contacts, interests / most, told) for what, interests, contacts, told in found]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _population(world: World, n_users: int, seed: list[int]) -> Timeline:
    """Evaluation timelines, hidden causes included."""
    return Timeline.of(logged_decisions(world, n_users, np.random.default_rng(seed)), world.cap).evaluation()


def _training(world: World, timeline: Timeline, seed: int) -> Training:
    knows: RewardModel = TrueScores(world)  # type: ignore[assignment]  # policies ask for predictions alone
    return Training(
        timeline=timeline,
        reward_model=knows,
        logging=world.logging,
        cap=timeline.cap,
        value=5.0,
        cost=1.0,
        ends=timeline.log_end,
        rng=np.random.default_rng(seed),
    )


def _of_best(scores: FloatArray) -> FloatArray:
    """(n, K): 1 for the first of the best kinds."""
    chosen = np.zeros(scores.shape)
    chosen[np.arange(len(scores)), scores.argmax(axis=1)] = 1.0
    return chosen


def _of(policy: Policy, timeline: Timeline, scores: FloatArray) -> tuple[float, float]:
    return _earned(timeline, policy.action_probabilities(timeline.free_context())[:, 1:], scores)


def _earned(timeline: Timeline, when_free: FloatArray, scores: FloatArray) -> tuple[float, float]:
    """Expected interests and contacts per user of contact probabilities (n, K), given free."""
    q = contact_probabilities(timeline, when_free[:, None, :])[:, 0, :]
    return float((q * scores).sum()) / timeline.n_users, float(q.sum()) / timeline.n_users

"""The most interests that pay for their contacts: the largest turnover at a balance of at least 0."""

from typing import TYPE_CHECKING, Self

import numpy as np

from engagex_sim.columns import FloatArray
from engagex_sim.kinds import best_kind
from engagex_sim.volume import contact_probability
from policies.xgb import XgbGreedy

if TYPE_CHECKING:
    from engagex_sim.training import Training

ROUNDING = 1e-9  # of a balance that is exactly 0
POINTS, ROUNDS = 33, 4  # shares of the decision points that are tried, each round between the neighbours of the best


class XgbTurnover(XgbGreedy):
    """Contacts with the best kind above the threshold of predicted interest that gives the most interests at no loss.

    Over thresholds z, and a share of the decisions exactly at z,

        maximise I(z)  subject to  value × I(z) − cost × C(z) ≥ 0

    where expected contacts C and interests I follow from the reward model through the recursion under the cap. Nobody
    is contacted where no threshold pays. `xgb_profit` stops at the last contact that earns its own cost; this spends
    what the good contacts earn on further ones until nothing is left. Under a cap it may stop before that: a poor
    contact blocks a better one for as long as the cap lasts, so that more contacts can mean fewer interests.

    Learned: `reward_model_`, `threshold_` (inf: nobody), and `tie_probability_` of a contact exactly at it.
    """

    name = "xgb_turnover"

    def fit(self, training: "Training") -> Self:
        """Take over the reward model and search for the threshold: a grid of shares, refined around its best."""
        context = training.timeline.free_context()
        self.reward_model_ = training.reward_model
        scores, _ = best_kind(self.reward_model_.predict(context), context.mask)
        interest = np.where(np.isfinite(scores), scores, 0.0)
        ascending, choice = np.sort(scores), context.mask[:, 0]

        def interests_at_no_loss(share: float) -> float:
            contact = contact_probability(scores, *_top(ascending, share))
            q = training.contact_probability(np.where(choice, contact, 1.0))
            interests, contacts = float(q @ interest), float(q.sum())
            return interests if training.value * interests >= training.cost * contacts * (1 - ROUNDING) else -np.inf

        shares = np.linspace(0.0, 1.0, POINTS)
        for _ in range(ROUNDS):
            best = int(np.argmax([interests_at_no_loss(share) for share in shares]))
            best_share = float(shares[best])
            shares = np.linspace(shares[max(best - 1, 0)], shares[min(best + 1, POINTS - 1)], POINTS)
        self.threshold_, self.tie_probability_ = _top(ascending, best_share)
        return self


def _top(ascending: FloatArray, share: float) -> tuple[float, float]:
    """The threshold, and the probability exactly at it, that take this share of the sorted scores, the highest."""
    n = len(ascending)
    if share == 0.0 or n == 0:
        return np.inf, 0.0
    wanted = share * n
    threshold = float(ascending[n - 1 - min(int(wanted), n - 1)])
    above = n - np.searchsorted(ascending, threshold, side="right")
    upto = n - np.searchsorted(ascending, threshold, side="left")
    return threshold, float((wanted - above) / (upto - above))

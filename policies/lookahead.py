"""Contact now, or stay free for a better moment: the value of waiting, learned backwards in time.

Under a cap a contact costs the contacts that it forbids; that is why contacting greedily loses where contexts differ
(blocking bandits: Basu, Sen, Sanghavi and Shakkottai 2019). With V_t the interests to come for a user who is free just
before decision point t, and C the cap, a contact is worth it where

    q̂(x_t) > θ(x_t) = E[V_{t+1} − V_{first decision point from time τ_t + C on} | x_t]

The programme goes backwards along the timelines of the training users, and the expectation is a regression on what is
known at t (least-squares Monte Carlo: Longstaff and Schwartz 2001), so that no user is assumed to be like another.
"""

from typing import TYPE_CHECKING, Self

import numba
import numpy as np
import xgboost as xgb

from engagex_sim.cap import DAY, allows
from engagex_sim.columns import BoolArray, FloatArray, IntArray
from engagex_sim.kinds import best_kind, rounded, spread
from engagex_sim.models.encoding import FeatureEncoder, MatrixArray
from engagex_sim.policy import Context

if TYPE_CHECKING:
    from engagex_sim.training import Training

ROUNDS = 4  # of policy and value in turn; more change little
PRIOR_DAYS = 7.0  # a user's own rate of triggers counts as if the mean rate had been seen for so long
ROWS = 500_000  # decision points that the regression sees at most
TREES = 200
PARAMETERS = {
    "tree_method": "hist",
    "max_depth": 5,
    "learning_rate": 0.1,
    "min_child_weight": 200,  # the value that follows from a moment is mostly chance
    "nthread": 1,
}


class XgbLookahead:
    """Contacts with the best kind where its predicted interest exceeds the value of staying free.

    That value is told from the features at hand, the predicted interest, the user's rate of triggers so far, and how
    many days are left until the end of the period that counts; the log's future is looked at for training users only.

    Learned: `reward_model_`; `waiting_`, the trees that tell the value of staying free, in interests; `encoder_` and
    `mean_rate_`, which their features need; `ends_`, in days since the log's start.
    """

    name = "xgb_lookahead"

    def fit(self, training: "Training") -> Self:
        """Learn the value of staying free from what the training users' timelines went on to offer."""
        timeline = training.timeline
        context = timeline.free_context()
        self.reward_model_ = training.reward_model
        self.encoder_ = FeatureEncoder.fit(context, [name for name in context.exogenous if name != "day"])
        seen = (timeline.log_end - timeline.evaluation_start).sum() / DAY
        self.mean_rate_ = len(timeline) / max(float(seen), 1.0)
        self.ends_ = (timeline.log_end - timeline.log_start) / DAY  # of what is learned from
        scores, _ = best_kind(self.reward_model_.predict(context), context.mask)
        matrix = self._matrix(context, scores)
        rows = np.flatnonzero(training.rng.random(len(timeline)) * len(timeline) < ROWS)
        types = [*self.encoder_.feature_types, "q", "q", "q"]
        contact = np.isfinite(scores)
        for _ in range(ROUNDS):
            gain = gain_from_waiting(timeline.user_start, timeline.time, scores, contact, training.cap.seconds)
            learned_from = xgb.QuantileDMatrix(matrix[rows], gain[rows], feature_types=types, enable_categorical=True)
            self.waiting_ = xgb.train(PARAMETERS, learned_from, num_boost_round=TREES)
            contact = scores > self.waiting_.inplace_predict(matrix)
        self.ends_ = (training.ends - timeline.log_start) / DAY
        return self

    def action_probabilities(self, context: Context) -> FloatArray:
        """(n, K + 1): all on the best kind where its prediction exceeds the value of staying free."""
        scores, kinds = best_kind(self.reward_model_.predict(context), context.mask)
        return spread((scores > self._waiting(context, scores)).astype(np.float64), kinds, context.mask)

    def action_scores(self, context: Context) -> FloatArray:
        """(n, K): predicted interest less the value of staying free: who comes first where not all can be contacted."""
        predictions = self.reward_model_.predict(context)
        scores, _ = best_kind(predictions, context.mask)
        return np.asarray(rounded(predictions) - self._waiting(context, scores)[:, None])

    def _waiting(self, context: Context, scores: FloatArray) -> FloatArray:
        """(n,) the value of staying free, in interests."""
        return np.asarray(self.waiting_.inplace_predict(self._matrix(context, scores)), dtype=np.float64)

    def _matrix(self, context: Context, scores: FloatArray) -> MatrixArray:
        """Features (n, p + 3): the log's own, the predicted interest, the rate of triggers, and the days left."""
        day = context["day"] + context["hour"] / 24
        so_far = context["triggers_so_far"] if "triggers_so_far" in context else np.zeros(len(context))
        matrix = self.encoder_.transform(context, extra=3)
        matrix[:, -3] = np.where(np.isfinite(scores), scores, np.nan)
        matrix[:, -2] = (so_far + self.mean_rate_ * PRIOR_DAYS) / (day + PRIOR_DAYS)
        matrix[:, -1] = np.maximum(self.ends_ - day, 0.0)
        return matrix


@numba.njit(cache=True, nogil=True)
def gain_from_waiting(
    user_start: IntArray, time: IntArray, scores: FloatArray, contact: BoolArray, window: int
) -> FloatArray:
    """(n,) the interests that a user who stays free at a decision point goes on to have, less those after a contact.

    `scores` (n,) are the interests of a contact, `contact` (n,) says where one is made if the user is free. One
    backward pass.
    """
    gain = np.empty(len(time))
    value = np.zeros(len(time) + 1)  # of being free just before the row
    for user in range(len(user_start) - 1):
        end = user_start[user + 1]
        after = end  # the first row at which a contact at the present one no longer blocks
        for row in range(end - 1, user_start[user] - 1, -1):
            while after - 1 > row and allows(time[after - 1], time[row], window):
                after -= 1
            blocked = value[after] if after < end else 0.0
            waits = value[row + 1] if row + 1 < end else 0.0
            gain[row] = waits - blocked
            value[row] = scores[row] + blocked if contact[row] else waits
    return gain

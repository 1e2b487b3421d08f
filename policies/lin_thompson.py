"""Linear Thompson sampling: as often as a contact is believed to be the best."""

from typing import TYPE_CHECKING, Self

import numpy as np
from scipy.special import ndtr, ndtri

from engagex_sim.columns import BoolArray, FloatArray
from engagex_sim.kinds import spread
from engagex_sim.policy import Context
from engagex_sim.volume import CERTAIN, matching_offset
from policies.linear import LinearModels

if TYPE_CHECKING:
    from engagex_sim.training import Training


class LinThompson:
    """Linear Thompson sampling (Agrawal and Goyal 2013), learned from the log and then kept.

    The algorithm draws each kind's weights from N(θ_k, v² A_k⁻¹), v = `scale` × σ, and contacts with the kind of the
    highest drawn score where that exceeds a threshold z. Given x the scores are independent, normal with means m_k and
    standard deviations s_k, so the probabilities of what it does follow without drawing, from the row alone:

        a contact    1 − Π_k Φ((z − m_k) / s_k)
        with kind k  ∫ Π_{j ≠ k} Φ((u − m_j) / s_j) dΦ((u − m_k) / s_k) over u > z, at `points` quantiles of that part

    z makes the current strategy's number of contacts.

    Learned: `models_` and `threshold_`.
    """

    name = "lin_thompson"

    def __init__(self, scale: float = 1.0, points: int = 16) -> None:
        self.scale = scale
        self.points = points

    def fit(self, training: "Training") -> Self:
        """Learn the linear models and find the threshold."""
        context = training.timeline.free_context()
        self.models_ = LinearModels.fit(training)
        mean, deviation = self._scores(context)
        choice = context.mask[:, 0]
        self.threshold_ = -matching_offset(
            lambda offset: training.contacts_of(
                np.where(choice, 1.0 - _none_above(-offset, mean, deviation, context.mask[:, 1:]), 1.0)
            ),
            mean,
            training.current_contacts_per_user,
            reach=CERTAIN * deviation.max(initial=0.0),
        )
        return self

    def action_probabilities(self, context: Context) -> FloatArray:
        """(n, K + 1): how probable it is that no kind's score exceeds the threshold, and that each is the highest."""
        mean, deviation = self._scores(context)
        allowed = context.mask[:, 1:]
        contact = 1.0 - _none_above(self.threshold_, mean, deviation, allowed)
        return spread(contact, self._highest_above(mean, deviation, allowed), context.mask)

    def _scores(self, context: Context) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation (n, K) of the drawn scores."""
        mean, deviation = self.models_.predict(context)
        return mean, self.scale * deviation

    def _highest_above(self, mean: FloatArray, deviation: FloatArray, allowed: BoolArray) -> FloatArray:
        """(n, K) the probability that kind k's score exceeds the threshold and those of all other allowed kinds."""
        above = np.asarray(ndtr((mean - self.threshold_) / deviation))
        if mean.shape[1] == 1:
            return above
        shares = np.zeros(mean.shape)
        for k in range(mean.shape[1]):
            others = allowed.copy()
            others[:, k] = False
            for point in range(self.points):
                upper_tail = above[:, k] * (point + 0.5) / self.points
                score = mean[:, k] - deviation[:, k] * ndtri(upper_tail)
                shares[:, k] += _none_above(score[:, None], mean, deviation, others)
        return above * shares


def _none_above(level: float | FloatArray, mean: FloatArray, deviation: FloatArray, allowed: BoolArray) -> FloatArray:
    """(n,) the probability that no allowed kind's score exceeds `level`, a number or (n, 1)."""
    return np.asarray(np.where(allowed, ndtr((level - mean) / deviation), 1.0).prod(axis=1))

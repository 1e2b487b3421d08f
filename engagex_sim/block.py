"""A block of users with everything that does not depend on the policy under trial."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from engagex_sim.columns import FloatArray, IntArray, sums_by
from engagex_sim.crossfit import Fitted
from engagex_sim.days import Days
from engagex_sim.dependence import Carried
from engagex_sim.occupancy import contact_probabilities, contact_probabilities_after
from engagex_sim.rules import Rules
from engagex_sim.states import States
from engagex_sim.timeline import Timeline


@dataclass(frozen=True)
class Block:
    """A block of n decision points of u users: c logged contacts, p pairs of interests, S states of the weights."""

    timeline: Timeline
    rules: Rules  # that the target policies keep to, beside the cap
    trial: Timeline  # the timeline as target policies see it: under the rules, but for what follows an interest
    fitted: Fitted
    days: Days
    day: IntArray  # (n,)
    carry: Carried
    cap_modelled: bool  # the logging policy is modelled with the cap
    contact: IntArray  # (c,) rows with a contact
    taken: IntArray  # (c,) its kind, from 0
    state: IntArray  # (n,) the logged state, as far as weights tell states apart
    predicted: FloatArray  # (n, S, K) q̂
    logging: FloatArray  # (n, S, K) q^b
    at_logged: FloatArray  # (n, K + 1) b(a | x, logged state)
    first: IntArray  # (p,)
    second: IntArray  # (p,)

    @property
    def kind_of_second(self) -> IntArray:
        return self.timeline.action[self.second] - 1

    def of_contacts(self, by_state: FloatArray) -> FloatArray:
        """(c,) of the logged contacts, at their logged states, from (n, S, K)."""
        return np.asarray(by_state[self.contact, self.state[self.contact], self.taken])

    def by_day(self, amount: FloatArray) -> FloatArray:
        """(u, d) sums of `amount` (n,) by user and day."""
        t = self.timeline
        return sums_by_day(t.user_of_row, self.day, amount, (t.n_users, self.days.count))

    def here(self, by_state: FloatArray) -> FloatArray:
        """(n, K) at the logged states."""
        return np.asarray(by_state[np.arange(len(self.state)), self.state])


@dataclass(frozen=True)
class Recursion:
    """The recursion in fine states, its answers summed to the states that weights tell apart."""

    states: States
    weights: States
    bound: bool  # by the cap
    unexplained: IntArray | None
    predicted: FloatArray  # (n, S, K) q̂ by the states of the weights

    @property
    def _interest(self) -> FloatArray | None:
        return self.predicted[:, self.states.within(self.weights)] if self.states.interests else None

    def run(self, t: Timeline, when_free: FloatArray) -> FloatArray:
        """q (n, S, K) by the states of the weights, from h (n, S or 1, K)."""
        return self._summed(
            contact_probabilities(
                t,
                when_free,
                self.states,
                bound=self.bound,
                unexplained=self.unexplained,
                interest=self._interest,
            )
        )

    def after(self, t: Timeline, when_free: FloatArray, first: IntArray) -> tuple[IntArray, FloatArray]:
        """Likewise given a contact of interest at row `first[j]`, for the user's later rows.

        Returns where the answers of each of `first` (j,) begin (j + 1,), and q (m, S, K).
        """
        start, _, q = contact_probabilities_after(
            t,
            when_free,
            self.states,
            first,
            bound=self.bound,
            unexplained=self.unexplained,
            interest=self._interest,
        )
        return start, self._summed(q)

    def _summed(self, q: FloatArray) -> FloatArray:
        if self.states == self.weights:
            return q
        out = np.zeros((len(q), self.weights.size, q.shape[2]))
        for fine, coarse in enumerate(self.states.within(self.weights)):
            out[:, coarse] += q[:, fine]
        return out


def of_pairs(block: Block, after: Callable[[IntArray], tuple[IntArray, FloatArray]]) -> FloatArray:
    """q(second | contact and interest at first), shape (p,), from q after a contact, see `Recursion.after`."""
    early, position = np.unique(block.first, return_inverse=True)
    start, q = after(early)
    row = start[position] + block.second - block.first - 1
    return np.asarray(q[row, block.state[block.second], block.kind_of_second])


def at_logged_states(when_free: FloatArray, t: Timeline, bound: bool) -> FloatArray:
    """Probabilities (n, K + 1) where the logged contacts have left the user: no contact where the cap forbids one."""
    here = when_free.copy()
    blocked = ~t.free if t.contact_is_a_choice and bound else np.zeros(len(t), dtype=np.bool_)
    here[blocked] = 0.0
    here[blocked, 0] = 1.0
    return here


def sums_by_day(user: IntArray, day: IntArray, amount: FloatArray, shape: tuple[int, int]) -> FloatArray:
    return sums_by(user * shape[1] + day, amount, shape[0] * shape[1]).reshape(shape)

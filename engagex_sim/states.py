"""What of a user's contact history the recursion carries: how long ago the last contact was, how many, any interest."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from engagex_sim.cap import DAY, NEVER
from engagex_sim.columns import FloatArray, IntArray
from engagex_sim.features import History
from engagex_sim.policy import Context

NEVER_SEEN = 2**59  # seconds: the recency edge beyond which lies only "no contact seen"


@dataclass(frozen=True)
class States:
    """Classes of contact histories, numbered 0 to `size` − 1; what is not carried has one class.

    Recency is the time since the last contact, in classes that begin at 0 and at each of `edges`; the count of contacts
    has the classes 0, 1, …, `counts` − 1, the last one open; `interests` tells whether any contact interested the user.
    """

    edges: tuple[int, ...] = ()  # seconds, ascending
    counts: int = 1
    interests: bool = False

    @property
    def size(self) -> int:
        return (len(self.edges) + 1) * self.groups

    @property
    def groups(self) -> int:
        """Classes of what only a contact changes: the count and the interest."""
        return self.counts * (2 if self.interests else 1)

    def group(self, contacts: IntArray, interests: IntArray) -> IntArray:
        """The class (n,) of the count and the interest."""
        count = np.minimum(contacts, self.counts - 1)
        return count * 2 + (interests > 0) if self.interests else count

    def of(self, time: IntArray, history: History) -> IntArray:
        """The state (n,) at `time` after `history`."""
        recency = np.searchsorted(np.array(self.edges, dtype=np.int64), time - history.last_contact, side="right")
        return np.asarray(recency * self.groups + self.group(history.contacts, history.interests), dtype=np.int64)

    def of_features(self, context: Context) -> IntArray:
        """The state (n,) from a context's history features, of which only those that tell states apart are read."""
        nothing = np.zeros(len(context), dtype=np.int64)
        recency, contacts, interests = nothing, nothing, nothing
        if self.edges:
            days = context["days_since_contact"]
            gap = np.where(np.isinf(days), NEVER_SEEN, np.round(np.where(np.isinf(days), 0.0, days) * DAY))
            recency = np.searchsorted(np.array(self.edges, dtype=np.int64), gap, side="right")
        if self.counts > 1:
            contacts = context["contacts_so_far"].astype(np.int64)
        if self.interests:
            interests = context["interests_so_far"].astype(np.int64)
        return np.asarray(recency * self.groups + self.group(contacts, interests), dtype=np.int64)

    def recency(self, state: int) -> tuple[int, int]:
        """Where the state's class of recency begins and ends, seconds; the end of the last class is beyond all."""
        borders = (0, *self.edges, 4 * NEVER_SEEN)
        return borders[state // self.groups], borders[state // self.groups + 1]

    def days(self, state: int) -> float:
        """Days since the last contact in the middle of the state's class; inf where no contact was seen."""
        ago = -int(self.example(state, np.zeros(1, dtype=np.int64)).last_contact[0])
        return np.inf if ago == -NEVER else ago / DAY

    def joined(self, other: Self) -> Self:
        """The coarsest states that tell apart whatever one of the two does."""
        return type(self)(
            edges=tuple(sorted({*self.edges, *other.edges})),
            counts=max(self.counts, other.counts),
            interests=self.interests or other.interests,
        )

    def within(self, coarse: Self) -> IntArray:
        """For each of these states (size,) the one of `coarse` that it lies in; `coarse` tells nothing more apart."""
        state = np.arange(self.size)
        liked = state % 2 if self.interests else np.zeros(self.size, dtype=np.int64)
        count = state // (2 if self.interests else 1) % self.counts
        begin = np.array([0, *self.edges])[state // self.groups]
        recency = np.searchsorted(np.array(coarse.edges, dtype=np.int64), begin, side="right")
        return np.asarray(recency * coarse.groups + coarse.group(count, liked), dtype=np.int64)

    def example(self, state: int, time: IntArray) -> History:
        """A history (n,) that lies in `state` at each `time`: the middle of its recency, the least of its count.

        The class before "no contact seen" has no middle: half a day after it begins.
        """
        edges = (0, *self.edges)
        recency = state // self.groups
        if recency == len(self.edges):  # the last class is open
            last = np.full(len(time), NEVER) if edges[-1] >= NEVER_SEEN else time - edges[-1]
        else:
            open_ended = edges[recency + 1] >= NEVER_SEEN
            end = edges[recency] + DAY if open_ended else edges[recency + 1]
            last = time - (edges[recency] + end) // 2
        both = 2 if self.interests else 1
        count, liked = state // both % self.counts, state % both
        return History(last, np.full(len(time), count), np.full(len(time), liked))


NO_STATE = States()


def recency_edges(gaps: FloatArray, shortest: int, classes: int) -> tuple[int, ...]:
    """Edges (seconds) that divide `gaps` (seconds, finite) into about equal classes; the first begins at `shortest`.

    A last class holds who was never seen contacted.
    """
    inside = gaps[gaps >= shortest]
    if len(inside) == 0:
        return (NEVER_SEEN,)
    cuts = np.unique(np.quantile(inside, np.arange(1, classes) / classes, method="higher").astype(np.int64))
    return (*(int(c) for c in cuts if c > shortest), NEVER_SEEN)


def whole_days(shortest: int, longest: int, limit: int = 60) -> tuple[int, ...]:
    """Edges (seconds) at every whole day from `shortest` to `longest` after a contact, `limit` of them at most."""
    step = DAY * max(1, -(-(longest - shortest) // (limit * DAY)))
    return (*range(max(shortest, DAY), longest, step), NEVER_SEEN)

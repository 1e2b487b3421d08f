"""One pass over a log's blocks: what it holds, and the part of it that models, policies and tests learn from.

That part is every contact, and every decision point of a sample of users, drawn whatever they did. Of a log of ordinary
size the sample is everybody; of a large one it bounds the memory that learning takes.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np

from engagex_sim.columns import BoolArray, FloatArray
from engagex_sim.hashing import seed_of, uniforms
from engagex_sim.splitting import Splitting
from engagex_sim.timeline import Timeline

SAMPLE_ROWS = 2_000_000  # decision points of the sampled users, about: 0.4 GB with their features
_SEED = seed_of("users to learn from")


@dataclass(frozen=True)
class Survey:
    """What a part of a log holds; `learning` holds no user who was neither sampled nor ever contacted."""

    learning: Timeline  # burn-in included: all rows of sampled users, of others those with a contact
    sampled: BoolArray  # (learning's users,)
    n_users: int  # that are judged
    n_learners: int  # that are not
    n_decisions: int  # of the judged, in the evaluation period
    evaluation_start: int  # the earliest
    without_contact: (
        FloatArray  # (2, 2) decisions of the evaluation: of all users and of the sampled; anywhere, if free
    )

    @classmethod
    def of(cls, timeline: Timeline, share: float, splitting: Splitting | None) -> Self:
        """Survey one block; `share` of the users are sampled. Without a splitting everybody is judged."""
        t = timeline
        sampled = np.asarray(uniforms(t.user_key, _SEED)[0] < share, dtype=np.bool_)
        judged = np.ones(t.n_users, dtype=np.bool_) if splitting is None else splitting.anywhere(t.user_key)
        user = t.user_of_row
        inside = t.time >= t.evaluation_start[user]
        quiet = inside & (t.action == 0)
        counts = [[float(rows.sum()), float((rows & t.free).sum())] for rows in (quiet, quiet & sampled[user])]
        learning = t
        if not sampled.all():
            touched = np.bincount(user[t.action > 0], minlength=t.n_users) > 0
            touched[t.other_user] = True
            kept = sampled | touched
            learning, sampled = t.rows(sampled[user] | (t.action > 0)).users(kept), sampled[kept]
        return cls(
            learning=learning,
            sampled=sampled,
            n_users=int(judged.sum()),
            n_learners=int((~judged).sum()),
            n_decisions=int((inside & judged[user]).sum()),
            evaluation_start=int(t.evaluation_start.min()),
            without_contact=np.array(counts),
        )

    @classmethod
    def join(cls, parts: Iterable[Self]) -> Self:
        """The survey of all blocks, from those of each."""
        found = list(parts)
        return cls(
            learning=Timeline.join([part.learning for part in found]),
            sampled=np.concatenate([part.sampled for part in found]),
            n_users=sum(part.n_users for part in found),
            n_learners=sum(part.n_learners for part in found),
            n_decisions=sum(part.n_decisions for part in found),
            evaluation_start=min(part.evaluation_start for part in found),
            without_contact=np.sum([part.without_contact for part in found], axis=0),
        )

    def represented(self, only_free: bool) -> float:
        """Share of the decisions without contact that sampled users made; when free, if `only_free`."""
        everybody, sampled = self.without_contact[:, 1 if only_free else 0]
        return float(sampled / everybody) if everybody else 1.0

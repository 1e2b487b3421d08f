"""Who is judged by whose models: folds, or one share of the users who are held out."""

from dataclasses import dataclass

import numpy as np

from engagex_sim.columns import BoolArray, KeyArray
from engagex_sim.hashing import fold_of, uniforms
from engagex_sim.settings import Settings


@dataclass(frozen=True)
class Splitting:
    """Cross-fitting splits users into `folds`; with `holdout`, a share, there is one split instead.

    A function of the user's key alone, so that blocks and their order do not matter.
    """

    seed: int
    folds: int = 1
    holdout: float | None = None

    @property
    def count(self) -> int:
        """How many sets of models are fitted."""
        return self.folds if self.holdout is None else 1

    def judged(self, user_key: KeyArray) -> list[BoolArray]:
        """Whom each set of models has not learned from, but judges: (n_users,) for each."""
        if self.holdout is not None:
            return [np.asarray(uniforms(user_key, self.seed)[0] < self.holdout, dtype=np.bool_)]
        fold = fold_of(user_key, self.seed, self.folds)
        return [fold == f for f in range(self.folds)]

    def anywhere(self, user_key: KeyArray) -> BoolArray:
        """(n_users,) who is judged at all."""
        judged: BoolArray = np.logical_or.reduce(self.judged(user_key))
        return judged


def held_out(settings: Settings) -> Splitting | None:
    """The one split where the settings ask for a holdout; None where there are folds."""
    return None if settings.holdout is None else Splitting(settings.seed, holdout=settings.holdout)

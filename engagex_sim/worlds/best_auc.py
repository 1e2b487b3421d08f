"""How well interest could be told at best: what no reward model can beat, but for the luck of the draw."""

import math

import numpy as np
from sklearn.metrics import roc_auc_score

from engagex_sim.columns import FloatArray
from engagex_sim.decisions import Decisions
from engagex_sim.timeline import Timeline
from engagex_sim.worlds.world import World


def contact_chances(world: World, log: Decisions) -> tuple[FloatArray, FloatArray]:
    """(c,) true probability of interest at each contact of the evaluation period, and (c,) its logged result.

    `log` is the world's own, with its hidden columns.
    """
    evaluation = Timeline.of(log, world.cap).evaluation()
    made = np.flatnonzero(evaluation.action)
    by_kind = world.reward_probabilities(evaluation.context(made))
    return np.asarray(by_kind[np.arange(len(made)), evaluation.action[made] - 1]), evaluation.reward[made]


def best_roc_auc(chance: FloatArray, outcome: FloatArray | None = None) -> float:
    """The ROC AUC of the true probabilities (n,) themselves; NaN where undefined. Nothing else ranks better.

    Against the `outcome` (n,) that was drawn: what a model's ROC AUC on the same rows is to be compared with. Without
    it, in expectation: each row counts as 1 with weight p and as 0 with weight 1 − p.
    """
    positives = chance.sum() if outcome is None else outcome.sum()
    if not 0 < positives < len(chance):
        return math.nan
    if outcome is not None:
        return float(roc_auc_score(outcome, chance))
    label = np.repeat([1, 0], len(chance))
    return float(roc_auc_score(label, np.tile(chance, 2), sample_weight=np.concatenate([chance, 1 - chance])))

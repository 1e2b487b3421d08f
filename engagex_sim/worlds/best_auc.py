"""How well interest could be told at best: what no reward model can beat."""

import math

import numpy as np
from sklearn.metrics import roc_auc_score

from engagex_sim.columns import FloatArray
from engagex_sim.decisions import Decisions
from engagex_sim.timeline import Timeline
from engagex_sim.worlds.world import World


def contact_chances(world: World, log: Decisions) -> FloatArray:
    """(c,) true probability of interest at each contact of the evaluation period; `log` with its hidden columns."""
    evaluation = Timeline.of(log, world.cap).evaluation()
    made = np.flatnonzero(evaluation.action)
    by_kind = world.reward_probabilities(evaluation.context(made))
    return np.asarray(by_kind[np.arange(len(made)), evaluation.action[made] - 1])


def best_roc_auc(chance: FloatArray) -> float:
    """The ROC AUC of the true probabilities (n,) themselves, results being drawn from them; NaN where undefined.

    Each row counts as interested with weight p and as not interested with weight 1 − p, so that no luck of one draw is
    in it. Nothing ranks better (Neyman and Pearson 1933).
    """
    if not 0 < chance.sum() < len(chance):
        return math.nan
    label = np.repeat([1, 0], len(chance))
    return float(roc_auc_score(label, np.tile(chance, 2), sample_weight=np.concatenate([chance, 1 - chance])))

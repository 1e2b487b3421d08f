"""Finding the threshold or the probability at which a strategy makes a given number of contacts.

Under a contact cap the expected number of contacts never falls when contacts become more likely anywhere (contacting
at the first chance packs the most contacts into any set of chances), so a search for the root finds the volume.
"""

from collections.abc import Callable

import numpy as np
from scipy.optimize import brentq

from engagex_sim.columns import FloatArray

CERTAIN = 40.0  # log odds, or standard deviations, beyond which a probability is 0 or 1 to the last bit


def matching_probability(contacts_at: Callable[[float], float], target: float) -> float:
    """The probability in [0, 1] at which `contacts_at` (which never falls) reaches `target`; 1 where it never does."""
    if contacts_at(1.0) <= target:
        return 1.0
    if contacts_at(0.0) >= target:
        return 0.0
    return float(brentq(lambda probability: contacts_at(probability) - target, 0.0, 1.0, xtol=1e-9))


def matching_threshold(
    scores: FloatArray, contacts_of: Callable[[FloatArray], float], target: float
) -> tuple[float, float]:
    """The threshold, and the contact probability exactly at it, that make `target` contacts per user.

    `scores` is (n,), one per decision point; `contacts_of` maps contact probabilities (n,) to contacts per user.
    Where even contacting always makes no more than `target`, that is the answer: the lowest score with probability 1.
    """
    levels = np.unique(scores)
    if len(levels) == 0:
        return 0.0, 1.0
    low, high = 0, len(levels) - 1  # the marginal level lies in [low, high]
    while low < high:
        middle = (low + high + 1) // 2
        if contacts_of(contact_probability(scores, levels[middle], 1.0)) < target:
            high = middle - 1
        else:
            low = middle
    threshold = float(levels[low])
    return threshold, matching_probability(lambda tie: contacts_of(contact_probability(scores, threshold, tie)), target)


def matching_offset(
    contacts_at: Callable[[float], float], scores: FloatArray, target: float, reach: float = CERTAIN
) -> float:
    """What must be added to `scores`, of any shape, for `contacts_at` (that offset) to reach `target`.

    `contacts_at` never falls and takes ±inf too. A score plus offset of ±`reach` makes a contact certain, or as good as
    impossible. inf where even that offset makes no more than `target`, −inf where that makes no fewer.
    """
    if contacts_at(np.inf) <= target:
        return np.inf
    if contacts_at(-np.inf) >= target:
        return -np.inf
    low, high = -reach - scores.max(initial=0.0), reach - scores.min(initial=0.0)
    return float(brentq(lambda offset: contacts_at(offset) - target, low, high, xtol=1e-9))


def contact_probability(scores: FloatArray, threshold: float, tie: float) -> FloatArray:
    """(n,): 1 above the threshold, `tie` exactly at it, 0 below."""
    return np.where(scores > threshold, 1.0, np.where(scores == threshold, tie, 0.0))

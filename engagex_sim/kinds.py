"""From "contact or not" and "which kind" to the probabilities of every action."""

import numpy as np

from engagex_sim.columns import BoolArray, FloatArray

DECIMALS = 12


def rounded(predictions: FloatArray) -> FloatArray:
    """The predictions, same shape, rounded so that equal ones stay equal whichever batch they were computed in."""
    return np.round(predictions, DECIMALS)


def best_kind(predictions: FloatArray, mask: BoolArray) -> tuple[FloatArray, BoolArray]:
    """The highest predicted interest among allowed kinds (n,), and which kinds have it (n, K).

    `predictions` is (n, K), `mask` (n, K + 1). Where no kind is allowed the prediction is −inf.
    """
    allowed = np.where(mask[:, 1:], rounded(predictions), -np.inf)
    best = allowed.max(axis=1)
    return best, allowed == best[:, None]


def spread(contact: FloatArray, shares: FloatArray | BoolArray, mask: BoolArray) -> FloatArray:
    """Action probabilities (n, K + 1): contact with probability `contact`, kinds in the proportions of `shares`.

    `contact` is (n,) in [0, 1]; `shares` is (n, K) or (K,), non-negative, and need not sum to 1; `mask` is (n, K + 1).
    Shares of masked kinds go to the allowed ones; where all allowed kinds have share 0 they are equally likely.
    Where no kind is allowed nobody is contacted; where "no contact" is not allowed everybody is.
    """
    allowed = mask[:, 1:]
    weights = allowed * shares
    weights = np.where(weights.sum(axis=1, keepdims=True) > 0, weights, allowed)
    totals = weights.sum(axis=1, keepdims=True)
    contacted = np.where(mask[:, 0], contact, 1.0)[:, None]
    kinds = contacted * np.divide(weights, totals, out=np.zeros(weights.shape), where=totals > 0)
    return np.column_stack([np.where(mask[:, 0], np.maximum(1.0 - kinds.sum(axis=1), 0.0), 0.0), kinds])


def soft_choice(scores: FloatArray, mask: BoolArray) -> tuple[FloatArray, FloatArray]:
    """log Σ_k exp(score) over the allowed kinds (n,), and the kinds' shares (n, K) in proportion to exp(score).

    `scores` is (n, K), `mask` (n, K + 1). Where no kind is allowed both are 0.
    """
    allowed = np.where(mask[:, 1:], scores, -np.inf)
    highest = allowed.max(axis=1)
    highest = np.where(np.isfinite(highest), highest, 0.0)
    shares = np.exp(allowed - highest[:, None])
    total = shares.sum(axis=1)
    return highest + np.log(np.where(total > 0, total, 1.0)), shares

"""From a lift's interval and the overlap to a verdict in words."""

import math
from typing import NamedTuple

from engagex_sim.ope.weights import Overlap

BETTER, WORSE = "better", "worse"
NO_DIFFERENCE = "no difference shown"
UNANSWERABLE = "cannot be answered from this log"

MIN_ESS = 50.0  # logged contacts, in effect
MIN_EXPECTED_POSITIVES = 10.0  # interests that so many contacts bring at the log's own share
MIN_POSITIVES = 10.0  # interests behind the number, in effect
MAX_WEIGHT_SHARE = 0.10  # of all weight on one contact
MAX_BALANCE_Z = 3.0  # standard errors by which Σw may miss its expectation …
MAX_IMBALANCE = 0.10  # … where it misses it by more than this share: the doubly robust estimate forgives a little


class Verdict(NamedTuple):
    verdict: str
    reason: str


def refusal(overlap: Overlap) -> str | None:
    """Why the log cannot answer for a policy with this overlap; None where it can."""
    if math.isnan(overlap.ess):
        return "the log holds no contact that this policy would have made"
    if overlap.max_weight_share > MAX_WEIGHT_SHARE:
        return (
            f"a single logged contact carries {100 * overlap.max_weight_share:.0f} % of all weight"
            f" (effective sample size {overlap.ess:,.0f} contacts)"
        )
    if overlap.ess < MIN_ESS:
        return (
            f"the logged contacts that fit this policy are worth only {below(overlap.ess):,.1f} contacts;"
            f" {MIN_ESS:.0f} are needed"
        )
    if overlap.expected_positives < MIN_EXPECTED_POSITIVES:
        return (
            f"the logged contacts that fit this policy are worth only {overlap.ess:,.0f} contacts, which bring"
            f" {below(overlap.expected_positives):.1f} interests at the log's share of them;"
            f" {MIN_EXPECTED_POSITIVES:.0f} are needed"
        )
    if overlap.effective_positives < MIN_POSITIVES:
        return (
            f"only {below(overlap.effective_positives):.1f} interests, in effect, stand behind the number;"
            f" {MIN_POSITIVES:.0f} are needed"
        )
    if abs(overlap.balance_z) > MAX_BALANCE_Z and abs(overlap.imbalance) > MAX_IMBALANCE:
        return (
            "the model of how the current strategy contacts does not fit where this policy would contact: it is off by"
            f" {100 * abs(overlap.imbalance):.0f} % there"
        )
    return None


def below(value: float) -> float:
    """To one decimal downwards: 9.96 is less than 10, and must not be shown as 10.0."""
    return math.floor(10 * value) / 10


def judge(overlap: Overlap, lift_low: float, lift_high: float) -> Verdict:
    """The verdict on a lift, with its reason in words."""
    reason = refusal(overlap) if overlap.expected_contacts > 0 else None
    if reason is not None:
        return Verdict(UNANSWERABLE, reason)
    if math.isnan(lift_low) or math.isnan(lift_high):
        return Verdict(UNANSWERABLE, "its interval is undefined")
    if lift_low > 0:
        return Verdict(BETTER, "the whole interval of the lift lies above 0")
    if lift_high < 0:
        return Verdict(WORSE, "the whole interval of the lift lies below 0")
    return Verdict(NO_DIFFERENCE, "the interval of the lift contains 0")

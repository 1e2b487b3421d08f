"""Verdicts: what overlap and an interval allow to be said."""

import pytest

from engagex_sim.ope.verdict import BETTER, NO_DIFFERENCE, UNANSWERABLE, WORSE, judge
from engagex_sim.ope.weights import Overlap

GOOD = Overlap(
    ess=500,
    max_weight_share=0.01,
    expected_positives=30,
    effective_positives=40,
    expected_contacts=900,
    imbalance=0.02,
    balance_z=0.5,
)


@pytest.mark.parametrize(
    ("own", "ends", "verdict", "words"),
    [
        (GOOD, (0.1, 0.2), BETTER, "above 0"),
        (GOOD, (-0.2, -0.1), WORSE, "below 0"),
        (GOOD, (-0.1, 0.2), NO_DIFFERENCE, "contains 0"),
        (GOOD._replace(ess=12), (0.1, 0.2), UNANSWERABLE, "12.0 contacts"),
        (GOOD._replace(max_weight_share=0.69), (0.1, 0.2), UNANSWERABLE, "69 %"),
        (GOOD._replace(expected_positives=9.96), (0.1, 0.2), UNANSWERABLE, "500 contacts, which bring 9.9 interests"),
        (GOOD._replace(effective_positives=3), (0.1, 0.2), UNANSWERABLE, "3.0 interests"),
        (GOOD._replace(effective_positives=9.96), (0.1, 0.2), UNANSWERABLE, "only 9.9 interests"),
        (GOOD._replace(balance_z=-4.2, imbalance=-0.3), (0.1, 0.2), UNANSWERABLE, "off by 30 %"),
        (GOOD._replace(balance_z=-4.2), (0.1, 0.2), BETTER, "above 0"),
        (GOOD._replace(ess=float("nan")), (0.1, 0.2), UNANSWERABLE, "no contact"),
        (GOOD._replace(ess=float("nan"), expected_contacts=0.0), (-0.2, -0.1), WORSE, "below 0"),
    ],
)
def test_verdicts(own: Overlap, ends: tuple[float, float], verdict: str, words: str) -> None:
    found = judge(own, *ends)
    assert found.verdict == verdict
    assert words in found.reason

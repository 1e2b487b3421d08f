"""Off-policy estimators, intervals and verdicts: pure functions of arrays."""

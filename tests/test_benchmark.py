"""The benchmark of the estimators: both ways estimate the same, and the command shows them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from engagex_sim.ope.resampling import bootstrap_sums
from experiments.estimator_benchmark import (
    gathered_replicates,
    made_up,
    per_user_columns,
    point_estimates,
    replicates,
    run_benchmark,
)


def test_sums_per_user_and_gathered_rows_estimate_the_same() -> None:
    points, user, key = made_up(2_000, 3, 0)
    columns = per_user_columns(points, user, 2_000)
    values = point_estimates(points, 2_000)
    np.testing.assert_allclose(replicates(columns.sum(axis=0, keepdims=True))[0], values)
    ours = replicates(bootstrap_sums(columns, key, 0, 400))
    gathered = gathered_replicates(points, 2_000, 3, 400, 0)
    random = values != values[3]  # the direct method hardly varies
    np.testing.assert_allclose(gathered.std(axis=0)[random], ours.std(axis=0)[random], rtol=0.2)


def test_the_benchmark_shows_both_ways_and_says_that_one_is_scaled(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run_benchmark(50, 2, 20, 2, 0, tmp_path / "run")
    shown = capsys.readouterr().out
    assert "20 replicates, gathering rows" in shown
    assert len(pd.read_csv(tmp_path / "run" / "benchmark.csv")) == 5
    assert "measured on 2 replicates and scaled" in shown

"""The study of the estimators: its arithmetic by hand, and that it runs."""

from pathlib import Path

import pandas as pd
import pytest

from experiments.estimator_study import accuracy, claims
from experiments.run import main


def rows(policy: str, found: list[tuple[float, float, float, str]], metric: str = "interests_per_user") -> pd.DataFrame:
    """One row per seed from (value, low, high, verdict); the truth is 10."""
    table = pd.DataFrame(found, columns=["value", "ci_low", "ci_high", "verdict"])
    return table.assign(
        world="made_up",
        policy=policy,
        estimator="dr_cap",
        metric=metric,
        truth=10.0,
        seed=range(len(found)),
        alone_low=table["ci_low"] - 10,
        alone_high=table["ci_high"] - 10,
    )


def test_golden_accuracy() -> None:
    table = accuracy(
        rows("uniform", [(11, 9, 13, "better"), (9, 8, 9.5, "worse"), (10, 10.5, 11, "better"), (12, 9, 14, "x")])
    ).iloc[0]
    assert table["bias"] == pytest.approx(5)
    assert table["rmse"] == pytest.approx((1 + 1 + 0 + 4) ** 0.5 / 2 * 10)
    assert (table["coverage"], table["truth_above"], table["truth_below"]) == (50, 25, 25)
    assert table["width"] == pytest.approx((4 + 1.5 + 0.5 + 5) / 4 * 10)
    assert table["answered"] == 100


def test_golden_claims() -> None:
    none = "no difference shown"
    table = pd.concat(
        [
            rows("uniform", [(11, 9, 13, "better"), (9, 8, 11, none)]),
            rows("xgb_greedy", [(11, 9, 13, none), (9, 8, 9.5, "worse")]),
            rows("logging", [(10, 9, 11, none), (11, 10.5, 12, none)]),
            rows("uniform", [(10, 9, 11, none), (10, 9, 11, none)], metric="interests_per_contact"),
        ]
    )
    assert claims(table)["value"].tolist() == [75, 50, 50, 50, 0]


def test_the_small_study_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "study"
    arguments = ["estimator_study", "--small", "--worlds", "null", "--threads", "1", "--quiet", "--out", str(out)]
    assert main(arguments) == 0
    assert "null: lift 0 inside the interval" in capsys.readouterr().out
    assert {path.name for path in out.iterdir()} == {"replications.csv", "accuracy.csv", "claims.csv"}
    replications = pd.read_csv(out / "replications.csv")
    assert set(replications["seed"]) == {0, 1}
    assert (replications.loc[replications["policy"] == "logging", "true_lift"].dropna().abs() < 1e-12).all()


def test_an_unknown_world_is_refused() -> None:
    assert main(["estimator_study", "--worlds", "moon"]) == 2

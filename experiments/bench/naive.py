"""The way that first comes to mind, for what the main job does: pandas, a step loop, one row or one draw at a time."""

import numpy as np
import pandas as pd
import xgboost as xgb

from engagex_sim.env import EngageXEnv
from engagex_sim.feature_names import WINDOWS
from engagex_sim.models.encoding import MatrixArray
from experiments.bench.effort import Files

MATCH_WINDOW = pd.Timedelta(hours=24)


def read(files: Files) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Triggers sorted by (guid, date), and actions with the latest trigger of their user before them.

    No row is checked, and nothing is kept for the next time.
    """
    triggers = pd.read_csv(files.triggers, parse_dates=["date"]).sort_values(["guid", "date"], kind="stable")
    actions = pd.read_csv(files.actions, parse_dates=["date"])
    there = triggers.assign(triggered=triggers["date"]).sort_values("date", kind="stable")
    matched = pd.merge_asof(
        actions.sort_values("date", kind="stable"), there, on="date", by="guid", tolerance=MATCH_WINDOW
    )
    return triggers.reset_index(drop=True), matched


def features(triggers: pd.DataFrame) -> pd.DataFrame:
    """The features that pandas has a word for, one row per instant: all but `distinct_triggers_7d` and the history."""
    t = triggers[["guid", "date"]].assign(one=1.0)
    by_user = t.groupby("guid", sort=False)
    t["triggers_so_far"] = by_user.cumcount() + 1
    for days in WINDOWS:
        t[f"triggers_{days}d"] = by_user.rolling(f"{days}D", on="date")["one"].sum().to_numpy()
    t = t.drop_duplicates(["guid", "date"], keep="last")
    t["days_since_trigger"] = t.groupby("guid", sort=False)["date"].diff().dt.total_seconds() / 86_400
    t["hour"], t["weekday"] = t["date"].dt.hour, t["date"].dt.day_of_week
    t["day"] = (t["date"].dt.normalize() - triggers["date"].min().normalize()).dt.days
    return t.drop(columns="one").reset_index(drop=True)


def step_loop(env: EngageXEnv, steps: int, seed: int) -> int:
    """Contacts in so many decisions of a policy that draws among what is allowed."""
    rng = np.random.default_rng(seed)
    contacts = 0
    _, info = env.reset(seed=seed)
    for _ in range(steps):
        action = rng.choice(np.flatnonzero(info["action_mask"]))
        contacts += int(action > 0)
        _, _, terminated, _, info = env.step(action)
        if terminated:
            _, info = env.reset()
    return contacts


def score(booster: xgb.Booster, matrix: MatrixArray) -> MatrixArray:
    """Predictions (n,) for the rows of a matrix, one after the other."""
    return np.array([booster.inplace_predict(matrix[i : i + 1])[0] for i in range(len(matrix))])

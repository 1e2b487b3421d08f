"""Synthetic worlds whose truth is known, by name."""

from engagex_sim.worlds.best_auc import best_roc_auc, contact_chances
from engagex_sim.worlds.bursty import Bursty
from engagex_sim.worlds.capless import Capless
from engagex_sim.worlds.deterministic import Deterministic
from engagex_sim.worlds.drift import Drift
from engagex_sim.worlds.fatigue import Fatigue
from engagex_sim.worlds.hidden import Confounded, Frailty
from engagex_sim.worlds.original import Original
from engagex_sim.worlds.reactive import Reactive
from engagex_sim.worlds.seed_like import SeedLike
from engagex_sim.worlds.sends import Sends
from engagex_sim.worlds.truth import Truth, true_value
from engagex_sim.worlds.visits import Null, Visits
from engagex_sim.worlds.world import (
    Tables,
    World,
    evaluation_days,
    frames,
    logged_decisions,
    tables,
    tables_of,
    true_history,
    visible,
    whole_history,
)

_ALL: tuple[World, ...] = (
    Visits(),
    Null(),
    Sends(),
    Fatigue(),
    Confounded(),
    Frailty(),
    Drift(),
    Deterministic(),
    Bursty(),
    Reactive(),
    Capless(),
    SeedLike(),
)
WORLDS: dict[str, World] = {world.name: world for world in _ALL}

__all__ = [
    "WORLDS",
    "Bursty",
    "Capless",
    "Confounded",
    "Deterministic",
    "Drift",
    "Fatigue",
    "Frailty",
    "Null",
    "Original",
    "Reactive",
    "SeedLike",
    "Sends",
    "Tables",
    "Truth",
    "Visits",
    "World",
    "best_roc_auc",
    "contact_chances",
    "evaluation_days",
    "frames",
    "logged_decisions",
    "tables",
    "tables_of",
    "true_history",
    "true_value",
    "visible",
    "whole_history",
]

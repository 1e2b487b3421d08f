"""Synthetic worlds whose truth is known, by name."""

from engagex_sim.worlds.visits import Null, Visits
from engagex_sim.worlds.world import Truth, World, evaluation_days, frames, logged_decisions, true_value, visible

WORLDS: dict[str, World] = {world.name: world for world in (Visits(), Null())}

__all__ = ["WORLDS", "Truth", "World", "evaluation_days", "frames", "logged_decisions", "true_value", "visible"]

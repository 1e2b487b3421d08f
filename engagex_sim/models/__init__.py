"""Nuisance models: what interests a user (reward), and whom the logging policy contacts (propensity)."""

from engagex_sim.models.propensity import PropensityModel
from engagex_sim.models.reward import RewardModel

__all__ = ["PropensityModel", "RewardModel"]

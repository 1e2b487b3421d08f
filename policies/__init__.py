"""The built-in contact policies, by name."""

from collections.abc import Mapping

from engagex_sim.policy import Policy
from policies.fixed import FirstChance, Never, Uniform
from policies.random_matched import RandomMatched
from policies.xgb import XgbGreedy, XgbProfit

__all__ = ["REGISTRY", "FirstChance", "Never", "RandomMatched", "Uniform", "XgbGreedy", "XgbProfit"]

REGISTRY: Mapping[str, type[Policy]] = {
    "never": Never,
    "first_chance": FirstChance,
    "uniform": Uniform,
    "random_matched": RandomMatched,
    "xgb_greedy": XgbGreedy,
    "xgb_profit": XgbProfit,
}

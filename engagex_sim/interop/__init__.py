"""Models of other libraries as policies: a scikit-learn classifier, a MaskablePPO of sb3-contrib."""

from engagex_sim.interop.scikit_learn import ClassifierPolicy
from engagex_sim.interop.stable_baselines import MaskablePPOPolicy

__all__ = ["ClassifierPolicy", "MaskablePPOPolicy"]

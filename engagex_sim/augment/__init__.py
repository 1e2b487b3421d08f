"""Synthetic rows of the rarer class: written by a generator, never trusted, and used for training alone."""

from engagex_sim.augment.account import Account
from engagex_sim.augment.augmenter import Augmenter, augmented
from engagex_sim.augment.generator import Batch, Examples, RowGenerator
from engagex_sim.augment.language_model import LanguageModel
from engagex_sim.augment.rows import Columns, Feature
from engagex_sim.augment.trees import TreeSynthesis

__all__ = [
    "Account",
    "Augmenter",
    "Batch",
    "Columns",
    "Examples",
    "Feature",
    "LanguageModel",
    "RowGenerator",
    "TreeSynthesis",
    "augmented",
]

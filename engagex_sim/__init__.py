"""EngageX-Sim: an offline simulator and evaluator of contact policies."""

"""Pictures of a classifier: where it decides what, and which points it is trained on."""

from mixsk.plots.decision import DecisionDisplay
from mixsk.plots.mixed_points import MixedPointsDisplay

__all__ = ["DecisionDisplay", "MixedPointsDisplay"]

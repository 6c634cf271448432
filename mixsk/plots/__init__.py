"""Pictures of a classifier: where it decides what, which points it is trained on, how sure it should be."""

from mixsk.plots.decision import DecisionDisplay
from mixsk.plots.mixed_loss import MixedLossDisplay
from mixsk.plots.mixed_points import MixedPointsDisplay
from mixsk.plots.reliability import ReliabilityDisplay

__all__ = ["DecisionDisplay", "MixedLossDisplay", "MixedPointsDisplay", "ReliabilityDisplay"]

"""Pictures of a classifier: where it decides what, what it is trained on, how sure it should be and why."""

from mixsk.plots.activation_map import ActivationMapDisplay
from mixsk.plots.confidence import ConfidenceDisplay
from mixsk.plots.decision import DecisionDisplay
from mixsk.plots.mixed_images import MixedImagesDisplay
from mixsk.plots.mixed_loss import MixedLossDisplay
from mixsk.plots.mixed_points import MixedPointsDisplay
from mixsk.plots.reliability import ReliabilityDisplay
from mixsk.plots.soft_targets import SoftTargets, SoftTargetsDisplay

__all__ = [
    "ActivationMapDisplay",
    "ConfidenceDisplay",
    "DecisionDisplay",
    "MixedImagesDisplay",
    "MixedLossDisplay",
    "MixedPointsDisplay",
    "ReliabilityDisplay",
    "SoftTargets",
    "SoftTargetsDisplay",
]

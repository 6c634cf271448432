"""The scikit-learn classifiers."""

from mixsk.classifiers.adamixup import AdaMixupClassifier
from mixsk.classifiers.amp import AMPClassifier
from mixsk.classifiers.generative import GenerativeClassifier
from mixsk.classifiers.genlabel import GenLabelClassifier
from mixsk.classifiers.infinite import InfiniteMixupClassifier
from mixsk.classifiers.lamix import LaMixClassifier
from mixsk.classifiers.mixup import MixupClassifier

__all__ = [
    "AMPClassifier",
    "AdaMixupClassifier",
    "GenLabelClassifier",
    "GenerativeClassifier",
    "InfiniteMixupClassifier",
    "LaMixClassifier",
    "MixupClassifier",
]

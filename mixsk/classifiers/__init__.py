"""The scikit-learn classifiers."""

from mixsk.classifiers.genlabel import GenLabelClassifier
from mixsk.classifiers.infinite import InfiniteMixupClassifier
from mixsk.classifiers.mixup import MixupClassifier

__all__ = ["GenLabelClassifier", "InfiniteMixupClassifier", "MixupClassifier"]

"""The scikit-learn classifiers."""

from mixsk.classifiers.genlabel import GenLabelClassifier
from mixsk.classifiers.mixup import MixupClassifier

__all__ = ["GenLabelClassifier", "MixupClassifier"]

"""scikit-learn classifiers for mixup training."""

from mixsk.classifiers import GenLabelClassifier, InfiniteMixupClassifier, MixupClassifier

__version__ = "0.1.0.dev0"
__all__ = ["GenLabelClassifier", "InfiniteMixupClassifier", "MixupClassifier"]

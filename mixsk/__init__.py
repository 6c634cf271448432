"""scikit-learn classifiers for mixup training."""

from mixsk.classifiers import (
    AMPClassifier,
    GenLabelClassifier,
    InfiniteMixupClassifier,
    LaMixClassifier,
    MixupClassifier,
)

__version__ = "0.1.0.dev0"
__all__ = [
    "AMPClassifier",
    "GenLabelClassifier",
    "InfiniteMixupClassifier",
    "LaMixClassifier",
    "MixupClassifier",
]

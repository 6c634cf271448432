"""scikit-learn classifiers for mixup training."""

from mixsk.classifiers import (
    AdaMixupClassifier,
    AMPClassifier,
    GenerativeClassifier,
    GenLabelClassifier,
    InfiniteMixupClassifier,
    LaMixClassifier,
    MixupClassifier,
)

__version__ = "0.1.0.dev0"
__all__ = [
    "AMPClassifier",
    "AdaMixupClassifier",
    "GenLabelClassifier",
    "GenerativeClassifier",
    "InfiniteMixupClassifier",
    "LaMixClassifier",
    "MixupClassifier",
]

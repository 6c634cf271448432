"""scikit-learn classifiers for mixup training."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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


def __getattr__(name: str) -> Any:
    """Import the classifiers when the first is asked for: `mixsk bench status` answers without torch."""
    if name in __all__:
        return getattr(import_module("mixsk.classifiers"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])

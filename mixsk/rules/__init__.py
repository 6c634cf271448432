"""The axes of mixup training, as pure batch functions on `(M, B, ...)` tensors."""

from mixsk.rules.draw import BetaDraw, Draw
from mixsk.rules.genlabel import GenLabel
from mixsk.rules.infinite import InfiniteClass
from mixsk.rules.intrusion import DropIntrusions
from mixsk.rules.loss import LOSSES, cross_entropy
from mixsk.rules.mask import MASKS, Columns, Half, Linear
from mixsk.rules.recipe import ILLEGAL, Batch, Mixture, Phase, Recipe, Spec, Step, mixing_sites
from mixsk.rules.state import Rows, State
from mixsk.rules.target import TARGETS, LinearLabel, Logistic, Remix, smooth

__all__ = [
    "ILLEGAL",
    "LOSSES",
    "MASKS",
    "TARGETS",
    "Batch",
    "BetaDraw",
    "Columns",
    "Draw",
    "DropIntrusions",
    "GenLabel",
    "Half",
    "InfiniteClass",
    "Linear",
    "LinearLabel",
    "Logistic",
    "Mixture",
    "Phase",
    "Recipe",
    "Remix",
    "Rows",
    "Spec",
    "State",
    "Step",
    "cross_entropy",
    "mixing_sites",
    "smooth",
]

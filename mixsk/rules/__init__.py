"""The axes of mixup training, as pure batch functions on `(M, B, ...)` tensors."""

from mixsk.rules.adamixup import AdaMixup
from mixsk.rules.amp import AdversarialLam
from mixsk.rules.cutmix import CutMix
from mixsk.rules.draw import BetaDraw, Draw
from mixsk.rules.genlabel import GenLabel, PosteriorLabel
from mixsk.rules.infinite import InfiniteClass
from mixsk.rules.intrusion import DropIntrusions
from mixsk.rules.lamix import LaMix
from mixsk.rules.latent import LatentGenLabel
from mixsk.rules.loss import LOSSES, cross_entropy
from mixsk.rules.mask import MASKS, Columns, Half, Linear
from mixsk.rules.nonlinear import Nonlinear, NonlinearLabel
from mixsk.rules.objective import OBJECTIVES
from mixsk.rules.online import OnlineGenLabel
from mixsk.rules.phase import Phase
from mixsk.rules.puzzle import PuzzleMix
from mixsk.rules.recipe import Recipe, mixing_sites
from mixsk.rules.spec import ILLEGAL, INPUTS, Parts, Sizes, Spec
from mixsk.rules.state import Rows, State
from mixsk.rules.step import Batch, Mixture, Step
from mixsk.rules.target import TARGETS, LinearLabel, Logistic, Remix, smooth

__all__ = [
    "ILLEGAL",
    "INPUTS",
    "LOSSES",
    "MASKS",
    "OBJECTIVES",
    "TARGETS",
    "AdaMixup",
    "AdversarialLam",
    "Batch",
    "BetaDraw",
    "Columns",
    "CutMix",
    "Draw",
    "DropIntrusions",
    "GenLabel",
    "Half",
    "InfiniteClass",
    "LaMix",
    "LatentGenLabel",
    "Linear",
    "LinearLabel",
    "Logistic",
    "Mixture",
    "Nonlinear",
    "NonlinearLabel",
    "OnlineGenLabel",
    "Parts",
    "Phase",
    "PosteriorLabel",
    "PuzzleMix",
    "Recipe",
    "Remix",
    "Rows",
    "Sizes",
    "Spec",
    "State",
    "Step",
    "cross_entropy",
    "mixing_sites",
    "smooth",
]

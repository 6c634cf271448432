"""Class-conditional log densities, behind one protocol: `fit(Z, y)` and `log_prob(z) -> (n, C)`."""

from mixsk.densities.base import Density
from mixsk.densities.categories import CategoryFrequencies
from mixsk.densities.gaussian import GM
from mixsk.densities.kde import KDE
from mixsk.densities.neighbors import NN, NNLabel
from mixsk.densities.protocol import DensityLike, fit_density, log_prob_tensor
from mixsk.densities.table import TableDensity

DENSITIES: dict[str, type[Density]] = {"gm": GM, "kde": KDE, "nn": NN, "nn-label": NNLabel}

__all__ = [
    "DENSITIES",
    "GM",
    "KDE",
    "NN",
    "CategoryFrequencies",
    "Density",
    "DensityLike",
    "NNLabel",
    "TableDensity",
    "fit_density",
    "log_prob_tensor",
]

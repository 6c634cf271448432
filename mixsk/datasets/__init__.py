"""Data to try the classifiers on: the papers' toy problems and scikit-learn's real tables."""

from mixsk.datasets.builtin import load_builtin
from mixsk.datasets.toys import (
    make_circles,
    make_cubes,
    make_four_circles,
    make_moons,
    make_nine_gaussians,
)

__all__ = [
    "load_builtin",
    "make_circles",
    "make_cubes",
    "make_four_circles",
    "make_moons",
    "make_nine_gaussians",
]

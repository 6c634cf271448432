"""Data: the papers' toy problems and texts, scikit-learn's real tables, those of OpenML, and your files."""

from mixsk.datasets.builtin import load_builtin
from mixsk.datasets.files import load_file
from mixsk.datasets.openml import load_openml, load_openml_task
from mixsk.datasets.text import load_text, take_share, text_splits
from mixsk.datasets.toys import (
    make_circles,
    make_cubes,
    make_four_circles,
    make_moons,
    make_nine_gaussians,
)

__all__ = [
    "load_builtin",
    "load_file",
    "load_openml",
    "load_openml_task",
    "load_text",
    "make_circles",
    "make_cubes",
    "make_four_circles",
    "make_moons",
    "make_nine_gaussians",
    "take_share",
    "text_splits",
]

"""Data: the papers' toy problems, texts and images, scikit-learn's and OpenML's real tables, your files."""

from mixsk.datasets.builtin import load_builtin
from mixsk.datasets.files import load_file
from mixsk.datasets.images import load_images
from mixsk.datasets.openml import load_openml, load_openml_task
from mixsk.datasets.samples import long_tail, take_share
from mixsk.datasets.text import load_text, text_splits
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
    "load_images",
    "load_openml",
    "load_openml_task",
    "load_text",
    "long_tail",
    "make_circles",
    "make_cubes",
    "make_four_circles",
    "make_moons",
    "make_nine_gaussians",
    "take_share",
    "text_splits",
]

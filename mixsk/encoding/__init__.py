"""From X as the user has it to what networks and densities see."""

from mixsk.encoding.augment import Augment
from mixsk.encoding.image import ImageEncoder
from mixsk.encoding.image_input import check_image_type, open_images
from mixsk.encoding.image_layout import ImageLayout
from mixsk.encoding.image_rows import DatasetImages
from mixsk.encoding.layout import Layout
from mixsk.encoding.passthrough import PassthroughEncoder
from mixsk.encoding.table import TableEncoder
from mixsk.encoding.text import TextEncoder
from mixsk.encoding.text_layout import TextLayout
from mixsk.encoding.text_rows import check_text_type
from mixsk.encoding.types import check_table_type
from mixsk.encoding.vectors import read_vectors, vectors_dimension

__all__ = [
    "Augment",
    "DatasetImages",
    "ImageEncoder",
    "ImageLayout",
    "Layout",
    "PassthroughEncoder",
    "TableEncoder",
    "TextEncoder",
    "TextLayout",
    "check_image_type",
    "check_table_type",
    "check_text_type",
    "open_images",
    "read_vectors",
    "vectors_dimension",
]

"""From X as the user has it to what networks and densities see."""

from mixsk.encoding.layout import Layout
from mixsk.encoding.passthrough import PassthroughEncoder
from mixsk.encoding.table import TableEncoder
from mixsk.encoding.text import TextEncoder
from mixsk.encoding.text_layout import TextLayout
from mixsk.encoding.text_rows import check_text_type
from mixsk.encoding.types import check_table_type
from mixsk.encoding.vectors import read_vectors, vectors_dimension

__all__ = [
    "Layout",
    "PassthroughEncoder",
    "TableEncoder",
    "TextEncoder",
    "TextLayout",
    "check_table_type",
    "check_text_type",
    "read_vectors",
    "vectors_dimension",
]

"""From X as the user has it to the table that networks and densities see."""

from mixsk.encoding.layout import Layout
from mixsk.encoding.passthrough import PassthroughEncoder
from mixsk.encoding.table import TableEncoder
from mixsk.encoding.types import check_table_type

__all__ = ["Layout", "PassthroughEncoder", "TableEncoder", "check_table_type"]

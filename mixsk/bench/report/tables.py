"""Tables of a report: what a cell shows, and by what it is sorted."""

from dataclasses import dataclass

import numpy as np

MISSING, MINUS = "\N{EN DASH}", "\N{MINUS SIGN}"


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes
    ----------
    text : str
    order : float or str
        By what the column is sorted; NaN comes last.
    note : str, default=""
        In small print, below.
    best : bool, default=False
        Whether it is among the best.
    bar : tuple of float, default=()
        Shares of wins, ties and losses, to be drawn.
    """

    text: str
    order: object = None
    note: str = ""
    best: bool = False
    bar: tuple = ()

    @property
    def sort(self):
        """The attribute that the page sorts by."""
        if isinstance(self.order, str) or self.order is None:
            return self.order or self.text
        return "" if np.isnan(self.order) else f"{self.order:.10g}"


@dataclass(frozen=True)
class Table:
    """A table of a page.

    Attributes
    ----------
    heads : list of Head
    rows : list of list of Cell
    """

    heads: list
    rows: list


@dataclass(frozen=True)
class Head:
    """The heading of a column.

    Attributes
    ----------
    text : str
    numeric : bool, default=True
    hint : str, default=""
        In small print: which way is better, or the unit.
    low : bool, default=False
        Whether low numbers are of interest, which a first click brings to the top.
    """

    text: str
    numeric: bool = True
    hint: str = ""
    low: bool = False


def number(value, digits=3, *, sign=False, scale=1, note="", best=False):
    """Return the cell of a number, a dash if it is missing.

    Examples
    --------
    >>> number(0.12345).text, number(0.012, 1, sign=True, scale=100).text
    ('0.123', '+1.2')
    """
    if value is None or np.isnan(value):
        return Cell(MISSING, np.nan)
    return Cell(_written(value * scale, digits, sign), value, note, best)


def _written(value, digits, sign):
    return f"{value:{'+' if sign else ''}.{digits}f}".replace("-", MINUS)


def numbers(values, digits, best=None):
    """Return the cells of numbers that compare, the best of them marked: all that read as it does.

    Parameters
    ----------
    values : iterable of float
    digits : int
    best : {"max", "min"} or None, default=None
    """
    values = np.array(list(values), dtype=float)
    winner = None
    if best is not None and np.isfinite(values).any():
        winner = number(np.nanmax(values) if best == "max" else np.nanmin(values), digits).text
    cells = [number(value, digits) for value in values]
    return [Cell(cell.text, cell.order, best=cell.text == winner) for cell in cells]


def columns(heads, cells):
    """Return the table of columns of cells."""
    return Table(heads, [list(row) for row in zip(*cells, strict=True)])


def interval(low, high, digits, *, sign=False, scale=1):
    """Write an interval, nothing if it has no ends.

    Examples
    --------
    >>> interval(0.123, 0.456, 0, scale=100), interval(0.01, 0.02, 1, sign=True, scale=100)
    ('12 to 46', '+1.0 to +2.0')
    """
    if np.isnan(low) or np.isnan(high):
        return ""
    return " to ".join(_written(end * scale, digits, sign) for end in (low, high))


def p_value(p):
    """Write a p-value.

    Examples
    --------
    >>> p_value(0.03214), p_value(0.00003), p_value(1)
    ('0.032', '< 0.001', '1.000')
    """
    return "< 0.001" if p < 0.001 else f"{p:.3f}"

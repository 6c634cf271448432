"""What every rule object has in common: stored parameters, and how they are checked.

A rule is chosen by name (`label="remix"`) or as an object (`label=Remix(kappa=2)`). The object is a
scikit-learn `BaseEstimator` for one reason: `clone`, `get_params` and `GridSearchCV` then reach its
parameters (`label__kappa`). Nothing else of scikit-learn is used in the rules.
"""

from __future__ import annotations

import math
from numbers import Integral, Real

from sklearn.base import BaseEstimator


class Choice(BaseEstimator):
    """A named alternative on one axis; the constructor stores, `check` validates."""

    def check(self) -> None:
        """Raise ValueError if a parameter is outside its range."""


def check_stage(owner: object, name: str) -> None:
    """Raise ValueError unless `owner.name` is "last" or the number of a stage."""
    value = getattr(owner, name)
    if value != "last" and (isinstance(value, bool) or not isinstance(value, Integral) or value < 0):
        raise ValueError(
            f"The {name!r} parameter of {type(owner).__name__} must be 'last' or the number of a stage, "
            f"from 0, the input. Got {value!r} instead."
        )


def check_number(owner: object, name: str, low: float, high: float, *, open_low: bool = False) -> None:
    """Raise ValueError unless `owner.name` is a real number in [low, high] (or (low, high])."""
    value = getattr(owner, name)
    number = isinstance(value, Real) and not isinstance(value, bool) and not math.isnan(value)
    if not number or not (low < value if open_low else low <= value) or value > high:
        bracket = "(" if open_low else "["
        raise ValueError(
            f"The {name!r} parameter of {type(owner).__name__} must be a number in "
            f"{bracket}{low}, {high}]. Got {value!r} instead."
        )

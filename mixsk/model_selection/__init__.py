"""Searches and cross-validation that train many networks as one program."""

from mixsk.model_selection._search import BatchedGridSearchCV, BatchedRandomizedSearchCV
from mixsk.model_selection._validate import batched_cross_validate

__all__ = ["BatchedGridSearchCV", "BatchedRandomizedSearchCV", "batched_cross_validate"]

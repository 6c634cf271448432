"""How a network is trained where the user leaves it open: what is best for one is not for another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Training:
    """Settings of a fit.

    Attributes
    ----------
    optimizer : str or torch.optim.Optimizer class
    lr, weight_decay : float
        Of that optimiser: with another, those of `Training()` are usual.
    options : mapping
        Further parameters of that optimiser, by name; none with another.
    decay_rows : float or None
        If not None, the weight decay is at most `decay_rows` over the number of training rows: the more rows,
        the less is to be smoothed.
    schedule : str, callable or None
    batch_size : int
    max_epochs : int
    max_batches : int or None
        If not None, `batch_size` is doubled until an epoch has no more steps than these.
    steps : int or None
        If not None, `max_epochs` is what makes about as many steps, whatever the number of rows; all of them
        are run with `early_stopping="auto"`, and the best epoch's weights restored.
    min_epochs : int
        Of `steps`: however many rows there are, unless they make more than `max_steps`.
    max_steps : int
        Of `min_epochs`.
    stop_from : int or None
        Number of rows from which `early_stopping="auto"` holds some out. None: never.
    mix : str
        How its input is mixed.
    alpha : float or None
        With that mask. None: the method's own.
    alpha_rows : float or None
        If not None, with more training rows than these alpha is multiplied by the square root of `alpha_rows`
        over their number: many rows say by themselves what lies between them.
    n_cv : int
        Folds of `n_cv="auto"`. Of a `module` that is given by name: others have no model axis.
    n_cv_until : int or None
        Up to this many rows, those held out for early stopping among them; of more, one network is trained on
        all. None: always.
    many_rows : int or None
        Number of training rows from which the settings in `with_many` take the place of these.
    with_many : mapping
    """

    optimizer: Any = "adam"
    lr: float = 1e-3
    weight_decay: float = 1e-4
    options: Mapping[str, Any] = field(default_factory=dict)
    decay_rows: float | None = None
    schedule: Any = None
    batch_size: int = 128
    max_epochs: int = 100
    max_batches: int | None = None
    steps: int | None = None
    min_epochs: int = 1
    max_steps: int = 20_000
    stop_from: int | None = 1000  # rows from which a tenth of them is worth more as validation rows
    mix: str = "linear"
    alpha: float | None = None
    alpha_rows: float | None = None
    n_cv: int = 1
    n_cv_until: int | None = None
    many_rows: int | None = None
    with_many: Mapping[str, Any] = field(default_factory=dict)

    def is_many(self, n_rows: int | None) -> bool:
        """Whether a training has so many rows that `with_many` holds; None: it does not know all of them."""
        return None not in (self.many_rows, n_rows) and n_rows >= self.many_rows

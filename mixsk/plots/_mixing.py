"""The rows that a classifier is trained on, made by the code that trains it."""

from __future__ import annotations

from itertools import chain, islice, repeat
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.base import clone

from mixsk.rules import Step


class MixedRows(NamedTuple):
    """Mixed rows and where they come from.

    Attributes
    ----------
    encoder : transformer
        Fitted; made `x` from X.
    classes : ndarray of shape (C,)
    x : ndarray of shape (n, F)
        Encoded mixed rows.
    parents : ndarray of shape (n, 2, F)
        The encoded rows that each was mixed from.
    targets : ndarray of shape (n, C)
        Labels that they are trained on; rows sum to 1.
    kept : bool ndarray of shape (n,)
        False for what the target drops.
    """

    encoder: Any
    classes: np.ndarray
    x: np.ndarray
    parents: np.ndarray
    targets: np.ndarray
    kept: np.ndarray


def mixed_rows(estimator: Any, X: Any, y: Any, n_rows: int, random_state: Any) -> MixedRows:
    """The first row of each of the first `n_rows` batches of `estimator.fit(X, y)`.

    One row a batch, so that lam varies from row to row also where a batch shares one. Nothing is
    trained but what `gamma="auto"` needs, and the estimator is left as it is. With `n_cv` it is a fit on all
    rows.

    Raises
    ------
    ValueError
        For input or parameters that fit would refuse; if rows are not mixed at the input.
    """
    clf = clone(estimator).set_params(n_cv=1)
    if random_state is not None:
        clf.set_params(random_state=random_state)
    train, _, net = clf._prepare(X, y)
    recipe = net.criterion
    if recipe.spec.sites != (0,) or any(recipe.taps):
        raise ValueError(
            f"Only rows that are mixed and labelled at the input can be shown, but mix_at={clf.mix_at!r} "
            f"mixes at stages {recipe.spec.sites} of the network and the label reads stages "
            f"{recipe.taps}. Use mix_at='input'."
        )
    (batches,) = clf._batches(train, [recipe], net.plan.batch_size, net.max_epochs)
    found = []
    with clf._threads(), torch.no_grad():
        for batch in islice(chain.from_iterable(repeat(batches)), n_rows):
            found.append(_first_row(Step(recipe, net.module, batch)))
    x, parents, targets, kept = (torch.stack(part).numpy() for part in zip(*found, strict=True))
    return MixedRows(clf.encoder_, clf.classes_, x, parents, targets, kept)


def _first_row(step: Step) -> tuple[torch.Tensor, ...]:
    """Mixed row, its two parents, target, and whether it is kept."""
    kept = torch.tensor(True)
    if step.draw is None:  # mix=None: trained on the rows as they are
        x, target, partner = step.h, step.clean_target()[0], 0
    else:
        x, share = step.mixed(step.draw.lam)
        target, _, keep = step.target(share, {0: x})
        partner = step.draw.perm[0, 0]
        if keep is not None:
            kept = keep[0, 0] > 0
    return x[0, 0], torch.stack([step.h[0, 0], step.h[0, partner]]), target[0, 0], kept

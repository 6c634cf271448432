"""The rows that a classifier is trained on, made by the code that trains it."""

from __future__ import annotations

from copy import deepcopy
from itertools import chain, islice, repeat
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.base import clone

from mixsk.backbones import seeded
from mixsk.classifiers._prepare import AUGMENT, DRAWS, ORDER
from mixsk.engine import Part, TrainingBatches
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


class Seen(NamedTuple):
    """Mixed images, one from each of several batches, as a fitted classifier's objective asked for them.

    Attributes
    ----------
    x, partners, mixed : Tensor of shape (n, ...)
        First images, partners and mixed ones, as the network sees them.
    targets : Tensor of shape (n, C)
    labels : int64 Tensor of shape (n, 2)
        Class codes of the first image and of its partner.
    lam, share : Tensor of shape (n,)
        The first image's share as drawn, and of the label as the mask says.
    kept : bool Tensor of shape (n,)
    """

    x: torch.Tensor
    partners: torch.Tensor
    mixed: torch.Tensor
    targets: torch.Tensor
    labels: torch.Tensor
    lam: torch.Tensor
    share: torch.Tensor
    kept: torch.Tensor


def seen_in_training(estimator: Any, part: Part, lam: np.ndarray | None, n_rows: int, seed: int) -> Seen:
    """The first row of each of `n_rows` mixed batches, as `estimator`, which is fitted, trains on them.

    Its objective is run on each batch, in training mode, and what it mixes on the way is written down: so it
    is the drawn lam as AMP or a policy has moved it. Both its network and its rules are copies.

    Parameters
    ----------
    estimator : classifier of mixsk
    part : Part
        Rows to take batches from.
    lam : float array of shape (n_rows,) or None
        Takes the place of the drawn lam.
    n_rows : int
    seed : int
        Of streams as `fit` has them: with the estimator's own seed and rows the batches are its first ones.
    """
    net, device = deepcopy(estimator.net_.module_).train(), part.rows.device
    recipe = _copied_recipe(estimator, part)
    keys = [((member,) if member else ()) for member in range(net.n_models)]
    order, draws, augments = (
        [np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0, kind, *key))) for key in keys]
        for kind in (ORDER, DRAWS, AUGMENT)
    )
    size = estimator.net_.plan.batch_size
    batches = TrainingBatches(part, recipe, size, order, draws, augments=augments)
    found = []
    with estimator._threads(), seeded(seed, device), estimator.net_._autocast():
        for k, batch in enumerate(islice(chain.from_iterable(repeat(batches)), n_rows)):
            draw = batch.draw
            if lam is not None:
                draw = draw._replace(lam=torch.full_like(draw.lam, float(lam[k])))
            step = _Watched(recipe, net, batch._replace(draw=draw, mixture=None))
            recipe.objective(step)
            found.append(step.seen())
    return Seen(*(torch.stack(column).detach().cpu() for column in zip(*found, strict=True)))


def _copied_recipe(estimator: Any, part: Part) -> Any:
    """The recipe, to be run without a trace in the estimator: it mixes every batch, at the input."""
    recipe = deepcopy(estimator.net_.criterion_)
    if not recipe.bound_:  # a pickle has not the training rows
        if hasattr(recipe.label, "phases"):
            raise ValueError(
                f"label={estimator._label()!r} learnt from features of rows that are gone after a pickle. "
                "Fit anew, or draw before pickling."
            )
        recipe.bind(part.copied, estimator._weigh(part, first=False))
    recipe.draw.sites, recipe.draw.alternate = (0,), False
    recipe.hyper.update(mix_prob=1.0, mix_until=np.inf)
    return recipe


class _Watched(Step):
    """A step that writes down the last rows that were mixed, and their targets."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.log: dict[str, Any] = {}  # of a copy, such as half a batch, too

    def mixed(self, lam: torch.Tensor, h: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """As it is, and written down."""
        rows, share = super().mixed(lam, h)
        partner = self.draw.perm[0, 0]
        y = self.batch.y[0].argmax(-1)
        self.log["x"], self.log["partner"] = self.h[0, 0], self.h[0, partner]
        self.log["labels"] = torch.stack((y[0], y[partner]))
        self.log["mixed"], self.log["lam"], self.log["share"] = rows[0, 0], lam[0, 0], share[0, 0]
        return rows, share

    def target(self, share: torch.Tensor, taps: Any) -> tuple[torch.Tensor, Any, Any]:
        """As it is, and written down."""
        t, w, keep = super().target(share, taps)
        self.log["target"] = t[0, 0]
        self.log["kept"] = torch.tensor(True) if keep is None else keep[0, 0] > 0
        return t, w, keep

    def seen(self) -> tuple[torch.Tensor, ...]:
        """The first row, in the order of `Seen`."""
        names = ("x", "partner", "mixed", "target", "labels", "lam", "share", "kept")
        return tuple(self.log[name] for name in names)

"""A user's own network and rules, run on a few rows before any training."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from mixsk.backbones import seeded
from mixsk.engine import MixNet, Part, TrainingBatches
from mixsk.rules import Step
from mixsk.rules.amp import NO_SLOPE

CONTRACT = (
    "A mask is mask(h, lam, noise, extra) -> (m, share), a label is label(y, perm, share, lam, taps, state) "
    "-> (t, w)."
)


@torch.no_grad()
def try_module(backbone: nn.Module, example: torch.Tensor, n_classes: int) -> None:
    """Raise ValueError if a module does not map example rows (n, F) to logits (n, n_classes)."""
    backbone.eval()
    try:
        logits = backbone(example.unsqueeze(0))
    except Exception as error:  # whatever a user's forward raises
        raise ValueError(
            f"The module failed on {len(example)} encoded rows of shape {tuple(example.shape)}: {error}. It "
            f"must map ({', '.join(['B', *map(str, example.shape[1:])])}) to logits (B, {n_classes})."
            + _other_channels(backbone, example)
        ) from error
    if logits.shape != (1, len(example), n_classes):
        raise ValueError(
            f"The module gave {tuple(logits.shape[1:])} for {len(example)} rows of {n_classes} classes: its "
            f"output must be logits of shape (B, {n_classes}), one column a class. Let its constructor take "
            "n_classes, or set the width by module__*."
        )


def _other_channels(module: nn.Module, images: torch.Tensor) -> str:
    """What to do if a network's first convolution takes other channels than the images have; else nothing."""
    wanted = next((part.in_channels for part in module.modules() if isinstance(part, nn.Conv2d)), None)
    if images.ndim != 4 or wanted in (None, images.shape[1]):
        return ""
    given = images.shape[1]
    remedy = f"grey images: np.repeat(X[..., None], {wanted}, -1)" if given == 1 else "convert them"
    return (
        f" Its first convolution takes {wanted} channel{'s' * (wanted > 1)}, and X has {given}: {remedy}, or "
        f"give that convolution {given}."
    )


@torch.no_grad()
def try_recipe(net: MixNet, train: Part, n_models: int, name: str) -> None:
    """Raise ValueError if a mask or a label fails on some rows, or gives what cannot be trained on.

    Parameters
    ----------
    net : MixNet
        Its recipe is bound.
    train : Part
        The training rows; the first few are mixed.
    n_models : int
    name : str
        What the message calls the mask and the label.
    """
    few = Part(train.rows, train.index[:4])
    rngs = [[np.random.default_rng(m) for m in range(n_models)] for _ in range(2)]
    batch = next(iter(TrainingBatches(few, net.criterion, len(few), *rngs)))
    net.module.eval()
    aux = {name: value.clone() for name, value in net.criterion.aux.state_dict().items()}
    try:
        with seeded(0):
            step = Step(net.criterion, net.module, batch)
            moves_lam = getattr(net.criterion.objective, "moves_lam", False)
            with torch.set_grad_enabled(moves_lam):
                h, share = step.mixed(step.draw.lam.clone().requires_grad_(moves_lam))
            t, w, keep = step.target(share, step.upper(h)[1])
    except Exception as error:  # whatever a user's rule raises
        raise ValueError(f"{name} failed on a batch of {len(few)} rows: {error}. {CONTRACT}") from error
    if moves_lam and not h.requires_grad:
        raise ValueError(f"{name}: {NO_SLOPE}")
    net.criterion.aux.load_state_dict(aux)  # a label that follows the batches has seen none yet
    rows = (n_models, len(few))
    parts = {"mixed rows": (h, step.clean().shape), "share": (share, rows), "labels": (t, batch.y.shape)}
    parts |= {"label weights": (w, rows), "kept rows": (keep, rows)}
    for what, (value, shape) in parts.items():
        if value is None:
            continue
        if tuple(value.shape) != tuple(shape):
            given = tuple(value.shape)
            raise ValueError(f"{name} gave {what} of shape {given}, not {tuple(shape)}. {CONTRACT}")
        if not value.isfinite().all() or (what != "mixed rows" and (value < 0).any()):
            raise ValueError(f"{name} gave {what} that are not finite or below 0. {CONTRACT}")

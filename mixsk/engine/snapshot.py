"""Copies of a network's weights in memory: the best epoch's, the last finite ones.

In memory and not in files: parallel workers of a search would overwrite each other's.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Snapshot:
    """A copy of the parameters and buffers of some modules, kept per model.

    Parameters
    ----------
    modules : sequence of nn.Module
        Their state is copied at once; it stays on its device.
    """

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        self.live = [tensor for module in modules for tensor in module.state_dict().values()]
        self.kept = [tensor.clone() for tensor in self.live]

    @torch.no_grad()
    def update(self, better: Tensor | None = None) -> None:
        """Copy the live weights, of all models or of those where `better` (M,) is true."""
        if better is None or (len(better) == 1 and bool(better)):
            for kept, live in zip(self.kept, self.live, strict=True):
                kept.copy_(live)
        elif len(better) > 1:
            for kept, live in zip(self.kept, self.live, strict=True):
                where = better.reshape((-1,) + (1,) * (live.ndim - 1))
                kept.copy_(torch.where(where, live, kept))

    @torch.no_grad()
    def restore(self) -> None:
        """Put the kept weights back into the modules."""
        for kept, live in zip(self.kept, self.live, strict=True):
            live.copy_(kept)


class Patience:
    """Best validation loss of each model, and how long ago it was.

    Parameters
    ----------
    modules : sequence of nn.Module
        What is restored in the end.
    n_iter_no_change : int or None
        Epochs without improvement after which a model is finished; None never stops.
    """

    def __init__(self, modules: Sequence[nn.Module], n_iter_no_change: int | None) -> None:
        self.best_weights = Snapshot(modules)
        self.n_iter_no_change = n_iter_no_change
        self.best_loss: Tensor | None = None
        self.waited: Tensor | None = None
        self.epochs: Tensor | int = 0  # that each model has trained before it was finished, (M,)

    def restore(self) -> None:
        """Put back the weights of each model's best epoch; without any, the last ones stay."""
        if self.best_loss is not None and bool(self.best_loss.isfinite().all()):
            self.best_weights.restore()

    def update(self, loss: Tensor) -> bool:
        """Take one epoch's validation loss (M,); return whether every model is finished."""
        loss = loss.detach().cpu()
        if self.best_loss is None or self.waited is None:
            self.best_loss, self.waited = torch.full_like(loss, torch.inf), torch.zeros_like(loss)
        running = ~self._finished()
        self.epochs = self.epochs + running
        better = (loss < self.best_loss) & running  # a finished model would have stopped alone
        self.best_loss = torch.where(better, loss, self.best_loss)
        self.waited = torch.where(better, 0.0, self.waited + 1)
        self.best_weights.update(better.to(self.best_weights.live[0].device))
        return bool(self._finished().all())

    def finished(self, like: Tensor) -> Tensor:
        """Which models have waited long enough, bool as `like` (M,)."""
        return torch.zeros_like(like) if self.waited is None else self._finished().to(like.device)

    def _finished(self) -> Tensor:
        assert self.waited is not None
        if self.n_iter_no_change is None:
            return torch.zeros_like(self.waited, dtype=torch.bool)
        return self.waited >= self.n_iter_no_change

"""GenLabel online: class means and variances of features, moved along with the network.

Source: GenLabel paper, Algorithm 3 (its setting for images).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mixsk.rules._choice import check_number, check_stage
from mixsk.rules._shape import per_model
from mixsk.rules.genlabel import PosteriorLabel, log_prior, posterior

FLOOR = 1e-6  # of a class's variance: one row of a class has none


class OnlineGenLabel(PosteriorLabel):
    """Target `gamma * p + (1 - gamma) * linear`, p from isotropic Gaussians that follow the features.

    Each batch, for each class in it, over the features f of its clean rows (without gradient):
    `mu <- (1 - memory) mean(f) + memory mu`, then `s <- (1 - memory) mean(|f - mu|^2) / d + memory s` around
    the new mean. A class that is not in the batch keeps its own, and has p = 0 until it is first seen. Then
    `log p_c = -(d / 2) log s_c - |f(x_mix) - mu_c|^2 / (2 s_c)`.

    NOTE[DIFF]: Algorithm 3 prints the distance without its 1/2; that would be the Gaussian of half the
    variance. It starts every class at mean 0 and variance 1, which its first batches are blended with; here
    a class starts at its first batch, so that its density is of features from then on.

    Parameters
    ----------
    gamma : float or Tensor of shape (M,), default=0.5
        Weight of the posterior, in [0, 1].
    top_k : int or None, default=None
        How many of the likeliest classes stay; None: the paper's 2.
    class_prior : {"train", "uniform"}, default="train"
        Class frequencies of the training rows, or equal ones.
    density_at : {"last"} or int, default="last"
        Stage whose output is described.
    memory : float or Tensor of shape (M,), default=0.9
        Weight of the old value (beta of Algorithm 3), in [0, 1); 0 looks at the last batch alone.

    Examples
    --------
    >>> from mixsk import GenLabelClassifier
    >>> clf = GenLabelClassifier(density_at="last", density_schedule="online", mix_at="any")
    >>> clf._label()
    OnlineGenLabel(gamma=0.2)
    """

    def __init__(
        self,
        gamma: float | Tensor = 0.5,
        top_k: int | None = None,
        class_prior: str = "train",
        density_at: str | int = "last",
        memory: float | Tensor = 0.9,
    ) -> None:
        self.gamma = gamma
        self.top_k = top_k
        self.class_prior = class_prior
        self.density_at = density_at
        self.memory = memory

    state_: Any = None

    @property
    def tap(self) -> str | int:
        """The density's site."""
        return self.density_at

    def check(self) -> None:
        """Raise ValueError for a parameter out of range."""
        super().check()
        check_stage(self, "density_at")
        if not isinstance(self.memory, Tensor):
            check_number(self, "memory", 0, 1)
            if self.memory == 1:
                raise ValueError("memory=1 would keep the first batch for ever. Use a number in [0, 1).")

    def aux(self, sizes: Any) -> nn.Module:
        """Running means and variances: saved and restored with the network's weights."""
        stage = len(sizes.widths) - 1 if self.density_at == "last" else int(self.density_at)
        return Running(sizes.models, sizes.classes, sizes.widths[stage], stage)

    def attach(self, aux: nn.Module) -> None:
        """Take the statistics that the recipe saves."""
        self.running_: Any = aux

    def update(self, features: Tensor, y: Tensor, real: Tensor | None) -> None:
        """Move the classes' statistics by one batch.

        Parameters
        ----------
        features : Tensor of shape (M, B, ...)
            Of clean rows.
        y : Tensor of shape (M, B, C)
            One-hot labels times weights.
        real : Tensor of shape (M, B) or None
            0 for a padding row.
        """
        self.running_.update(features.flatten(2), y if real is None else y * real.unsqueeze(-1), self.memory)

    def posterior(self, x: Tensor) -> Tensor:
        """Class probabilities of features x (M, B, ...), float64 (M, B, C)."""
        top_k = 2 if self.top_k is None else self.top_k
        return posterior(self.running_.log_prob(x.flatten(2)), self.log_prior_, top_k)

    def __call__(self, y: Tensor, perm: Tensor, share: Tensor, lam: Tensor, taps: Any, state: Any) -> Any:
        if state is not self.state_:
            self.state_, self.log_prior_ = state, log_prior(state.class_counts, self.class_prior)
        return super().__call__(y, perm, share, lam, taps, state)


class Running(nn.Module):
    """Means (M, C, d) and variances (M, C) of the classes' features, and whether a class was seen (M, C)."""

    mean: Tensor
    variance: Tensor
    seen: Tensor

    def __init__(self, models: int, classes: int, width: int, stage: int) -> None:
        super().__init__()
        # What is described: statistics of another stage must not go on.
        self.register_buffer("stage", torch.full((models,), float(stage)))
        self.register_buffer("mean", torch.zeros(models, classes, width).double())
        self.register_buffer("variance", torch.ones(models, classes).double())
        self.register_buffer("seen", torch.zeros(models, classes).double())

    def update(self, f: Tensor, y: Tensor, memory: float | Tensor) -> None:
        """Move towards features f (M, B, d) with labels y (M, B, C)."""
        f, y = f.double(), y.double()  # the variance below is a small difference of squares
        sums = y.transpose(1, 2) @ torch.cat((f, f.square().sum(-1, keepdim=True)), -1)
        rows = y.sum(1)
        means = sums / rows.clamp_min(torch.finfo(y.dtype).tiny).unsqueeze(-1)
        batch_mean, squares = means[..., :-1], means[..., -1]
        present = (rows > 0).double()
        # An absent class keeps all of its own; there is nothing to remember before it is first seen.
        move = present * (1 - per_model(memory, 2) * self.seen)
        self.mean.lerp_(batch_mean, move.unsqueeze(-1))
        around = squares + (self.mean * (self.mean - 2 * batch_mean)).sum(-1)
        self.variance.lerp_(around / f.shape[-1], move).clamp_min_(FLOOR)
        torch.maximum(self.seen, present, out=self.seen)

    def log_prob(self, x: Tensor) -> Tensor:
        """Log densities of features x (M, B, d), up to a constant, float64 (M, B, C); -inf if unseen."""
        x = x.double()
        # |x - mu|^2 / s as one product of (x, |x|^2) with (-2 mu / s, 1 / s), and a constant a class.
        precision = (1 / self.variance).unsqueeze(-1)
        scaled = self.mean * precision
        constant = x.shape[-1] * self.variance.log() + (scaled * self.mean).sum(-1)
        weights = torch.cat((scaled, -0.5 * precision), -1).transpose(1, 2)
        rows = torch.cat((x, x.square().sum(-1, keepdim=True)), -1)
        return torch.baddbmm((self.seen.log() - 0.5 * constant).unsqueeze(1), rows, weights)

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        """Move to a device, but stay in float64: distances are small differences of squares."""
        super()._apply(fn, recurse)
        for name, buffer in self.named_buffers():
            setattr(self, name, buffer.double())
        return self

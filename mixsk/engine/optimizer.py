"""Optimisers of stacked models, each with a learning rate and a weight decay of its own.

torch's optimisers take one learning rate for a whole tensor. Here all weights lie in one (M, P) matrix, of
which the network's tensors are views: an update is a few operations on it, with a rate for each row.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


class StackedOptimizer(Optimizer):
    """Base: gradients in one matrix, rates and decays one a model.

    Parameters
    ----------
    params : iterable of nn.Parameter or dict
        Tensors with a leading model axis.
    rates, decays : Tensor of shape (M,)
        Learning rate and weight decay of each model.
    lr : float, default=1
        Factor on all rates: what a learning-rate schedule moves.
    **options : dict
        Further numbers of the method.
    """

    def __init__(self, params: Any, rates: Tensor, decays: Tensor, lr: float = 1.0, **options: Any) -> None:
        super().__init__(params, {"lr": lr, **options})
        self.weights = [p for group in self.param_groups for p in group["params"]]
        like, n_models = self.weights[0], len(rates)
        self.rates = rates.to(like).unsqueeze(1)
        self.decays = decays.to(like).unsqueeze(1)
        self.matrix = torch.cat([p.detach().reshape(n_models, -1) for p in self.weights], 1)
        start = 0
        for p in self.weights:
            width = p[0].numel()
            p.data = self.matrix[:, start : start + width].view_as(p)
            start += width
        self.count = 0
        self.moments = [torch.zeros_like(self.matrix) for _ in range(self.n_moments())]

    def n_moments(self) -> int:
        """How many matrices of running values the method keeps."""
        return 0

    def retire(self, models: Tensor) -> None:
        """Stop some models (bool (M,)) for good, at weights of zero, which no operation makes infinite."""
        self.rates[models] = 0
        for matrix in (self.matrix, *self.moments):
            matrix[models] = 0

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Update all weights from their gradients; weights without one stay as they are."""
        n_models = len(self.matrix)
        still = [p for p in self.weights if p.grad is None]
        kept = [p.detach().clone() for p in still]
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in self.weights]
        gradient = torch.cat([g.reshape(n_models, -1) for g in grads], 1)
        self.count += 1
        group = self.param_groups[0]
        self.update(gradient, self.rates * group["lr"], group)
        for p, value in zip(still, kept, strict=True):
            p.copy_(value)

    def update(self, gradient: Tensor, rates: Tensor, options: dict[str, Any]) -> None:
        """Change `self.matrix` by a gradient (M, P) at rates (M, 1)."""
        raise NotImplementedError(f"{type(self).__name__} must implement update.")


class StackedSGD(StackedOptimizer):
    """`torch.optim.SGD`: weight decay as L2, momentum with or without Nesterov's step."""

    def __init__(
        self, params: Any, rates: Tensor, decays: Tensor, lr: float = 1.0, momentum: float = 0.0,
        nesterov: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(params, rates, decays, lr, momentum=momentum, nesterov=nesterov)

    def n_moments(self) -> int:
        """The velocity, if there is momentum."""
        return int(self.param_groups[0]["momentum"] > 0)

    def update(self, gradient: Tensor, rates: Tensor, options: dict[str, Any]) -> None:
        """One step of gradient descent."""
        gradient.addcmul_(self.decays, self.matrix)
        momentum = options["momentum"]
        if momentum:
            velocity = self.moments[0].mul_(momentum).add_(gradient)
            gradient = gradient.add(velocity, alpha=momentum) if options["nesterov"] else velocity
        self.matrix.addcmul_(rates, gradient, value=-1)


class StackedAdam(StackedOptimizer):
    """`torch.optim.Adam`: weight decay as L2."""

    decoupled = False

    def __init__(
        self, params: Any, rates: Tensor, decays: Tensor, lr: float = 1.0,
        betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
    ) -> None:  # fmt: skip
        super().__init__(params, rates, decays, lr, betas=betas, eps=eps)

    def n_moments(self) -> int:
        """Means of gradients and of their squares."""
        return 2

    def update(self, gradient: Tensor, rates: Tensor, options: dict[str, Any]) -> None:
        """One step of Adam."""
        if self.decoupled:
            self.matrix.mul_(1 - rates * self.decays)
        else:
            gradient.addcmul_(self.decays, self.matrix)
        (beta1, beta2), (mean, square) = options["betas"], self.moments
        mean.lerp_(gradient, 1 - beta1)
        square.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        deviation = (square / (1 - beta2**self.count)).sqrt_().add_(options["eps"])
        self.matrix.addcmul_(rates / (1 - beta1**self.count), mean / deviation, value=-1)


class StackedAdamW(StackedAdam):
    """`torch.optim.AdamW`: decoupled weight decay."""

    decoupled = True


STACKED = {"adam": StackedAdam, "adamw": StackedAdamW, "sgd": StackedSGD}

"""GenLabel in latent space: the density of features, fitted once, under a head that is trained on it.

Source: GenLabel paper, Algorithm 2 and section A.1. Plain warm-up epochs; the density is fitted to what the
network makes of the clean training rows; then the body is frozen and the head trained on mixed rows with the
density's labels.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mixsk.backbones import renew
from mixsk.densities import DENSITIES, Density
from mixsk.rules._choice import check_number, check_stage
from mixsk.rules.genlabel import GenLabel, log_prior, posterior
from mixsk.rules.objective import Clean
from mixsk.rules.phase import Phase
from mixsk.rules.state import Rows

HEADS = ("fresh", "keep")


class LatentGenLabel(GenLabel):
    """Target `gamma * p + (1 - gamma) * linear`, p the posterior of the mixed row's features.

    Parameters
    ----------
    density : {"gm", "kde", "nn", "nn-label"} or object, default="gm"
        Class-conditional density of features, otherwise as for `GenLabel`.
    gamma : float or Tensor of shape (M,), default=0.5
        Weight of the posterior, in [0, 1].
    top_k : int or None, default=None
        Keep the k likeliest classes only.
    class_prior : {"train", "uniform"}, default="train"
        Class frequencies of the training rows, or equal ones.
    density_at : {"last"} or int, default="last"
        Stage whose output the density describes; what lies above it is the head.
    warmup : float, default=0.2
        Share of all epochs that is trained plainly first, in (0, 1).
    head : {"fresh", "keep"}, default="fresh"
        Whether the head starts anew after the warm-up, as the released code has it, or goes on, as the
        paper's section A.1 has it. The optimiser starts anew with either.

    Examples
    --------
    >>> [(phase.name, phase.epochs) for phase in LatentGenLabel().phases(100)]
    [('warm-up', 20), ('head', 80)]
    """

    site_ = 0

    @property
    def ahead(self) -> bool:  # type: ignore[override]
        """Whether many steps may be labelled at once: with a density, which comes after the warm-up."""
        return hasattr(self, "densities_")

    def __init__(
        self,
        density: Any = "gm",
        gamma: float | Tensor = 0.5,
        top_k: int | None = None,
        class_prior: str = "train",
        density_at: str | int = "last",
        warmup: float = 0.2,
        head: str = "fresh",
    ) -> None:
        super().__init__(density, gamma, top_k, class_prior)
        self.density_at = density_at
        self.warmup = warmup
        self.head = head

    @property
    def tap(self) -> str | int:  # type: ignore[override]
        """The density's site."""
        return self.density_at

    def check(self) -> None:
        """Raise ValueError for a parameter out of range."""
        super().check()
        check_number(self, "warmup", 0, 1, open_low=True)
        if self.warmup == 1:
            raise ValueError("warmup=1 leaves no epoch for the head. Use a number in (0, 1).")
        check_stage(self, "density_at")
        if self.head not in HEADS:
            raise ValueError(f"head must be one of {HEADS}. Got {self.head!r}.")

    def place(self, n_stages: int) -> None:
        """Learn how many stages the network has."""
        self.site_ = n_stages if self.density_at == "last" else int(self.density_at)

    def bind(self, rows: Any) -> None:
        """Check the density: there are no features to fit before the warm-up."""
        chosen = DENSITIES[self.density]() if isinstance(self.density, str) else self.density
        if isinstance(chosen, Density):
            chosen._validate_params()

    def phases(self, max_epochs: int) -> list[Phase]:
        """Warm-up, then the head."""
        warm = min(max(1, round(self.warmup * max_epochs)), max_epochs - 1)
        if warm < 1:
            raise ValueError(
                f"max_epochs={max_epochs} leaves no epoch for both the warm-up and the head. Use 2 or more."
            )
        first = Phase(warm, "warm-up", objective=Clean())
        epochs, site = max_epochs - warm, self.site_
        return [first, Phase(epochs, "head", site, trainable=self._in_head, on_start=self._start)]

    def _start(self, net: Any) -> None:
        """Fit the density to the features that the network gives the clean training rows."""
        part = net.train_part_
        rows = part.rows.take(part.index)
        self.learn(net.features(part, self.site_), rows)
        if self.head == "fresh":
            renew(net.module_.above(self.site_), net.criterion_.seeds)

    def learn(self, features: Tensor, rows: Rows) -> None:
        """Fit one density for each model.

        Parameters
        ----------
        features : Tensor of shape (M, n, ...)
        rows : Rows
            Their labels and weights.
        """
        features = features.flatten(2)
        layout = _Numbers(features.shape[-1])
        each = [Rows(f, rows.y, rows.w, rows.n_classes, layout) for f in features]
        self.densities_ = [self._fitted(one) for one in each]
        self.density_ = self.densities_[0] if len(each) == 1 else self.densities_
        counts = torch.as_tensor(self.densities_[0].class_counts_, device=features.device)
        self.log_prior_ = log_prior(counts, self.class_prior)

    def posterior(self, x: Tensor) -> Tensor:
        """Class probabilities of features x (M, B, ...), float64 (M, B, C)."""
        each = [density.log_prob(f) for density, f in zip(self.densities_, x.flatten(2), strict=True)]
        log_prob = torch.stack(each)
        return posterior(log_prob, self.log_prior_, self.top_k)

    def _in_head(self, name: str) -> bool:
        part, *rest = name.split(".")
        return part == "head" or (part == "stages" and int(rest[0]) >= self.site_)


class _Numbers:
    """The layout of features: numbers all."""

    def __init__(self, width: int) -> None:
        self.numeric = self.column = range(width)
        self.blocks: list[tuple[int, int]] = []

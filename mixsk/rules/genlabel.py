"""GenLabel: relabel a mixed row by what class-conditional densities say of it.

Source: Sohn et al., "GenLabel: Mixup Relabeling using Generative Models" (ICML 2022), Algorithm 1 and
Eq. 1. The algorithm's loss, gamma * CE(y_gen) + (1 - gamma) * CE(y_mix), is linear in the target, so
it is cross entropy against `gamma * p + (1 - gamma) * linear` exactly.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor

from mixsk.densities import DENSITIES, TableDensity
from mixsk.rules._choice import Choice, check_number
from mixsk.rules._shape import per_model
from mixsk.rules.target import Taps, linear_label

PRIORS = ("train", "uniform")
HARD = "nn-label"  # the name of a density that is a label already: weighed by 1, nothing else to choose


class PosteriorLabel(Choice):
    """Target `gamma * p + (1 - gamma) * linear`; a subclass says what p, the posterior, is.

    p has no gradient; pairs of one class are relabelled too.
    """

    gamma: float | Tensor
    top_k: int | None
    class_prior: str

    def check(self) -> None:
        """Raise ValueError for a parameter out of range."""
        if not isinstance(self.gamma, Tensor):
            check_number(self, "gamma", 0, 1)
        whole = isinstance(self.top_k, int) and not isinstance(self.top_k, bool)
        if self.top_k is not None and not (whole and self.top_k >= 1):
            raise ValueError(f"The 'top_k' parameter must be None or an int >= 1. Got {self.top_k!r}.")
        if self.class_prior not in PRIORS:
            raise ValueError(f"class_prior must be one of {PRIORS}. Got {self.class_prior!r}.")

    @property
    def weight(self) -> float | Tensor:
        """Of the posterior in the target."""
        return self.gamma

    def posterior(self, x: Tensor) -> Tensor:
        """Class probabilities of mixed rows or their features x (M, B, ...), float64 (M, B, C)."""
        raise NotImplementedError(f"{type(self).__name__} must implement posterior.")

    def __call__(
        self, y: Tensor, perm: Tensor, share: Tensor, lam: Tensor, taps: Taps, state: Any
    ) -> tuple[Tensor, None]:
        with torch.no_grad():
            p = self.posterior(taps[max(taps)]).to(y.dtype)
        t = linear_label(y, perm, share)
        if state.weighted:  # p has no owner: it weighs what the two rows weigh together
            p = p * t.sum(-1, keepdim=True)
        return torch.lerp(t, p, per_model(self.weight, t.ndim)), None


class GenLabel(PosteriorLabel):
    """Target `gamma * p + (1 - gamma) * linear`, p the posterior of the mixed row.

    `p = softmax_c(log p_c(x_mix) + log prior_c)` over all classes, in float64 and log space, without
    gradient; pairs of one class are relabelled too.

    Parameters
    ----------
    density : {"gm", "kde", "nn", "nn-label"} or object, default="gm"
        Class-conditional density on the encoded, standardised numeric columns, fitted once on the
        clean training rows; any object with `fit(Z, y)` and `log_prob(z) -> (n, C)`. Categories add
        smoothed class frequencies (`mixsk.densities.TableDensity`). By name, "nn-label" is the target itself,
        the nearest training row's label, as in the paper's "GenLabel (NN)": `gamma` is 1, and the other
        parameters do nothing. `NNLabel()` is an object like any other.
    gamma : float or Tensor of shape (M,), default=0.5
        Weight of the posterior, in [0, 1]; 0 is plain mixup.
    top_k : int or None, default=None
        Keep the k likeliest classes only (Algorithm 3: 2).
    class_prior : {"train", "uniform"}, default="train"
        Class frequencies of the training rows, or equal ones.
        NOTE[DIFF]: "uniform" is the paper's form (its tables are balanced); on 9:1 data it labels
        most mixed rows with the rare class.

    Examples
    --------
    >>> from mixsk import MixupClassifier
    >>> MixupClassifier(label=GenLabel(gamma=1.0)).get_params()["label__gamma"]
    1.0
    """

    tap = 0
    ahead = True

    def __init__(
        self,
        density: Any = "gm",
        gamma: float | Tensor = 0.5,
        top_k: int | None = None,
        class_prior: str = "train",
    ) -> None:
        self.density = density
        self.gamma = gamma
        self.top_k = top_k
        self.class_prior = class_prior

    def check(self) -> None:
        """Raise ValueError for a parameter out of range or an unknown density."""
        super().check()
        if not isinstance(self.density, str):
            if not (hasattr(self.density, "fit") and hasattr(self.density, "log_prob")):
                raise ValueError(
                    f"density must be one of {sorted(DENSITIES)} or an object with fit(Z, y) and "
                    f"log_prob(z). Got {self.density!r}."
                )
        elif self.density not in DENSITIES:
            raise ValueError(
                f"density={self.density!r} is unknown. Use one of {sorted(DENSITIES)}, or an object "
                "with fit(Z, y) and log_prob(z)."
            )
        if self._hard:
            for name, idle in {"gamma": (0.5, 1), "top_k": (None,), "class_prior": ("train",)}.items():
                value = getattr(self, name)
                if isinstance(value, Tensor) or value not in idle:
                    raise ValueError(
                        f"{name}={value!r} has no effect with density={HARD!r}, the label of the nearest "
                        f"row alone: leave {name} at its default, or use density=NNLabel()."
                    )

    @property
    def _hard(self) -> bool:
        return isinstance(self.density, str) and self.density == HARD

    @property
    def weight(self) -> float | Tensor:
        """Of the posterior in the target."""
        return 1.0 if self._hard else self.gamma

    def bind(self, rows: Any) -> None:
        """Fit the density and the prior on the clean training rows."""
        self.density_: Any = self._fitted(rows)
        self._set_prior(rows.X.device)
        self.posterior(rows.X[:2])  # a density that cannot be evaluated says so before any training

    def _fitted(self, rows: Any) -> TableDensity:
        chosen = DENSITIES[self.density]() if isinstance(self.density, str) else deepcopy(self.density)
        return TableDensity(chosen, rows.layout).fit(rows.X, rows.y, rows.w, rows.n_classes)

    def extend(self, rows: Any) -> None:
        """Go on fitting the density and the prior with more rows."""
        self.density_.partial_fit(rows.X, rows.y, rows.w, rows.n_classes)
        self._set_prior(rows.X.device)

    def _set_prior(self, device: torch.device) -> None:
        self.log_prior_ = log_prior(
            torch.as_tensor(self.density_.class_counts_, device=device), self.class_prior
        )

    def posterior(self, x: Tensor) -> Tensor:
        """Class probabilities of encoded rows x (..., F), float64 (..., C)."""
        return posterior(self.density_.log_prob(x), self.log_prior_, self.top_k)


def log_prior(counts: Tensor, class_prior: str) -> Tensor:
    """Logarithm of the class frequencies, or of equal ones: (C,), of each model's own (M, C) as (M, 1, C).

    A class without rows has log prior -inf and density -inf: posterior 0, never NaN.
    """
    if class_prior == "uniform":
        counts = torch.ones_like(counts)
    prior = torch.log(counts / counts.sum(-1, keepdim=True))
    return prior if prior.ndim == 1 else prior.unsqueeze(1)


def posterior(log_prob: Tensor, prior: Tensor, top_k: int | None) -> Tensor:
    """`softmax(log_prob + prior)` over the `top_k` likeliest classes, (..., C).

    A softmax of logs, not a ratio of densities: far from the data every density underflows to 0.
    """
    joint = log_prob + prior
    if top_k is not None and top_k < joint.shape[-1]:
        least = joint.topk(top_k, dim=-1).values[..., -1:]
        joint = joint.masked_fill(joint < least, -torch.inf)
    return torch.softmax(joint, -1)

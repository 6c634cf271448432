"""Non-linear mixup: a share for each entry of a row, and labels mixed as far as the mixed row says.

After Guo, "Nonlinear Mixup: Out-Of-Manifold Data Augmentation for Text Classification" (AAAI 2020). No code
of it is public and the equations are ours, so no parity is claimed. Two choices, each of use without the
other: the mask `mix="nonlinear"` and the label `label="nonlinear"`.
"""

from __future__ import annotations

import math
import sys
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mixsk.rules._choice import Choice, check_number
from mixsk.rules._shape import like, mix, partner

SEED = 2**24  # float32 uniforms are multiples of its inverse
# Of the finaliser of MurmurHash3 (public domain) and of the golden ratio, as int32.
GOLDEN, FIRST, SECOND = -1640531535, -2048144789, -1028477387


class Nonlinear(Choice):
    """Mix each entry with a share of its own: `Lambda * h + (1 - Lambda) * h[perm]`.

    Lambda has the shape of h and independent entries ~ Beta(alpha, alpha); lam is not used. The label's share
    is Lambda's mean over the row's entries: about 1/2, the closer the more entries there are.

    Of words, (M, B, L, E + 1) with the mask of words as the last channel, the mean is that over the positions
    where either row has a word, and the mask is mixed half and half: above 0 exactly there, in any dtype.

    Not at the input of a table, where the columns of a category would be torn apart.

    Lambda is not drawn on the host, where B x L x E draws would take most of a step's time (50 sentences of
    10 words of 300 numbers: 18 ms, here 1), but hashed from two numbers a row and the entry's place: it does
    not depend on padding, on other rows, on other models or on the device.

    Examples
    --------
    >>> mask, lam = Nonlinear(), torch.ones(1, 2)
    >>> noise = torch.from_numpy(mask.draw_noise(np.random.default_rng(0), lam.numpy()))
    >>> m, share = mask(torch.zeros(1, 2, 3), lam, noise)
    >>> m.shape, torch.equal(share, m.mean(-1))
    (torch.Size([1, 2, 3]), True)
    """

    ahead = True
    fixed = True
    by_entry = True
    sees_partner = True
    alpha_ = 1.0
    words_ = False

    def configure(self, spec: Any) -> None:
        """Take alpha, and whether features of three axes are words."""
        self.alpha_ = spec.hyper.get("alpha", 1.0)
        self.words_ = spec.input_site > 0

    def draw_noise(self, rng: np.random.Generator, lam: np.ndarray) -> np.ndarray:
        """Two uniforms a row, and alpha, which differs between stacked models: (S, B, 3)."""
        seeds = rng.random((*lam.shape, 2), dtype=np.float32)
        return np.concatenate((seeds, np.full((*lam.shape, 1), self.alpha_, np.float32)), -1)

    def __call__(
        self, h: Tensor, lam: Tensor, noise: Tensor | None = None, extra: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return Lambda of shape (M, B, ...) and share, its mean; `extra` are the partners."""
        assert noise is not None
        m = betas(noise, h.shape[2:].numel()).view(h.shape)
        if not (self.words_ and h.ndim == 4):
            return m.to(h.dtype), m.flatten(2).mean(-1).to(lam.dtype)
        m[..., -1] = 0.5
        real = h[..., -1] > 0
        if extra is not None:
            real = real | (extra[..., -1] > 0)
        of_word = m[..., :-1].mean(-1).to(lam.dtype)
        return m.to(h.dtype), (of_word * real).sum(-1) / real.sum(-1)


def betas(noise: Tensor, n: int) -> Tensor:
    """Numbers ~ Beta(alpha, alpha), n for each row, from its two seeds and its alpha.

    Source: Bailey, "Polar Generation of Random Variates with the t-Distribution" (1994): sqrt(2 a (U^(-1/a) -
    1)) cos(2 pi V) is Student's t with 2 a degrees of freedom, and t / sqrt(2 a + t^2) is 2 Beta(a, a) - 1.

    Parameters
    ----------
    noise : float32 Tensor of shape (M, B, 3)
        Two uniforms in [0, 1), and alpha > 0.
    n : int

    Returns
    -------
    float32 Tensor of shape (M, B, n)
        In [0, 1]. U and V are of 16 bits each. The first numbers are the same for any n.
    """
    bits = hashed(noise[..., :2], n)
    u = (bits & 0xFFFF).to(torch.float32).add_(0.5).mul_(2.0**-16)
    cosine = (bits >> 16).to(torch.float32).add_(0.5).mul_(math.pi * 2.0**-15).cos_()  # never 0
    root = u.log_().mul_(1 / noise[..., 2:]).exp_()  # U^(1/a)
    rest = 1 - root
    scale = cosine.square().mul_(rest).add_(root).sqrt_()
    # Half of that plus 1/2; rounding may step over the ends.
    return cosine.mul_(rest.sqrt_()).div_(scale).mul_(0.5).add_(0.5).clamp_(0, 1)


def hashed(seeds: Tensor, n: int) -> Tensor:
    """32 random bits for each place 0 ... n - 1 of each row: uniforms (M, B, 2) to int32 (M, B, n).

    Integers that wrap are the same on every device, and nothing waits for one, as a generator's seed would.
    """
    first, second = (seeds * SEED - SEED / 2).to(torch.int32).mul_(256).unsqueeze(-1).unbind(-2)
    # The second seed enters twice: rows that begin alike, or overlap, part after the first product.
    x = torch.arange(n, dtype=torch.int32, device=seeds.device) * GOLDEN + (first + second * FIRST)
    _fold(x, 16)
    _fold(x.mul_(FIRST).add_(second), 13)
    return _fold(x.mul_(SECOND), 16)


def _fold(x: Tensor, bits: int) -> Tensor:
    """`x ^= x >> bits` in place, where zeros come in from the left."""
    return x.bitwise_xor_((x >> bits).bitwise_and_((1 << (32 - bits)) - 1))


class NonlinearLabel(Choice):
    """The linear label, and mixed rows near a mixture of label vectors that is learnt.

    Each class has a vector u_c. The mixed row's features s, those that the network's head sees, give shares
    `w = sigmoid(A s)` for the entries of its label vector `v = w * u_a + (1 - w) * u_b`, a and b the classes
    of both rows. To the row's loss is added `weight` times the cross entropy of finding v among the label
    vectors of the batch by the softmax over `-|s P - v|^2`. u, A and P are trained with the network and are
    absent from `predict`. A batch that is not mixed has the cross entropy of its labels alone.

    Pairs of rows of one class all have its vector, whatever w is: a floor of the loss. Dropped rows are no
    candidates.

    NOTE[DIFF]: the cross entropy against the linear label is that of the network's logits, where the method
    has scores `<s P, u_c>`. Both are linear in s, and of one family if vectors are no narrower than there are
    classes. So the head that predicts is the one that was trained, any loss will do, and probabilities stay
    clear of the softmax over the batch, which knows nothing of how frequent classes are.

    Parameters
    ----------
    width : int, default=100
        Of the label vectors, >= 1.
    weight : float, default=1.0
        Of the added term, >= 0; at 0 this is the linear label.

    Examples
    --------
    >>> from mixsk import MixupClassifier
    >>> clf = MixupClassifier(module="textcnn", mix="nonlinear", label=NonlinearLabel(width=50))
    >>> clf.get_params()["label__width"]
    50
    """

    tap = "last"
    trained = True

    def __init__(self, width: int = 100, weight: float = 1.0) -> None:
        self.width = width
        self.weight = weight

    def check(self) -> None:
        """width >= 1 and weight >= 0."""
        if isinstance(self.width, bool) or not isinstance(self.width, Integral) or self.width < 1:
            raise ValueError(
                f"The 'width' parameter of NonlinearLabel must be an int >= 1. Got {self.width!r} instead."
            )
        check_number(self, "weight", 0, sys.float_info.max)

    def aux(self, sizes: Any) -> nn.Module:
        """The label vectors and what mixes them."""
        return LabelVectors(sizes.features, sizes.classes, int(self.width), sizes.models)

    def attach(self, aux: nn.Module) -> None:
        """Take the networks that the recipe trains."""
        self.vectors_ = aux

    def __call__(
        self, y: Tensor, perm: Tensor, share: Tensor, lam: Tensor, taps: dict[int, Tensor], state: Any
    ) -> tuple[Tensor, None]:
        return mix(y, like(share, y), partner(y, perm)), None

    def penalty(self, y: Tensor, perm: Tensor, taps: dict[int, Tensor], present: Tensor | None) -> Tensor:
        """What is added to the loss of each mixed row, (M, B)."""
        code = (y > 0).to(y.dtype)  # without the rows' weights
        distance = self.vectors_(taps[max(taps)].flatten(2), code, partner(code, perm))
        if present is not None:
            own_place = torch.eye(distance.shape[1], dtype=torch.bool, device=distance.device)
            distance = distance.masked_fill((present == 0).unsqueeze(1) & ~own_place, torch.inf)
        return -self.weight * torch.log_softmax(-distance, -1).diagonal(dim1=1, dim2=2)


class LabelVectors(nn.Module):
    """u, A and P of M models: how far each mixed row is from each label vector of its batch."""

    def __init__(self, n_features: int, n_classes: int, width: int, n_models: int = 1) -> None:
        super().__init__()
        self.vectors = _uniform(n_models, n_classes, width, fan_in=width)
        self.gate = _uniform(n_models, n_features, width, fan_in=n_features)
        self.projection = _uniform(n_models, n_features, width, fan_in=n_features)

    def forward(self, s: Tensor, first: Tensor, second: Tensor) -> Tensor:
        """Map features (M, B, H) and both rows' classes, one-hot (M, B, C), to (M, B, B).

        Squared, without the rows' own |s P|^2, which are no part of a softmax over the batch.
        """
        w = torch.sigmoid(s @ self.gate)
        v = mix(first @ self.vectors, w, second @ self.vectors)
        place = s @ self.projection
        return v.square().sum(-1).unsqueeze(1) - 2 * place @ v.transpose(1, 2)


def _uniform(*shape: int, fan_in: int) -> nn.Parameter:
    bound = 1 / math.sqrt(fan_in)
    return nn.Parameter(torch.empty(shape).uniform_(-bound, bound))

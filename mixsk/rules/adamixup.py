"""AdaMixUp: one network learns how far each pair may be mixed, another tells mixed rows from real ones.

Source: Guo et al., "MixUp as Locally Linear Out-of-Manifold Regularization" (AAAI 2019), and the code
released with it. A mixed row that looks real but has a mixed label is a manifold intrusion: the policy gets
away from it, since all networks minimise one loss, to which such a row adds twice.
"""

from __future__ import annotations

from contextlib import nullcontext
from copy import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from mixsk.backbones import StackedLinear
from mixsk.rules._choice import Choice
from mixsk.rules._shape import partner
from mixsk.rules.loss import cross_entropy
from mixsk.rules.step import Batch, statistics_kept

HIDDEN = 100  # units of the policy, as in the released code


class AdaMixup(Choice):
    """Cross entropy of half a batch, mixed and as it is, plus the cross entropy of real against mixed rows.

    `lam = a + b u`, with u the drawn lam (U(0, 1) if alpha = 1) and (a, b, 1 - a - b) the policy's softmax
    for the pair: lam lies in [a, a + b]. The gradient reaches the policy through lam in the mixed row and
    in its label. The discriminator is one logit on the features that the classifier's head sees, so that
    its gradient reaches the shared body.

    The first half of the batch (of an odd batch the larger part) is mixed within itself; the classifier
    learns it mixed and as it is. The discriminator sees the second half, too: for it, real are all rows of
    the batch, false the mixed ones. Both losses are means over their rows and count alike: the first over
    mixed and clean half (of dropped intrusions: the mean of both halves' means), the second over the three
    parts. Weights of labels count in both, in the second without gradient. Batches that are not mixed are
    trained on whole and by cross entropy alone.

    The policy reads the encoded rows wherever they are mixed: `softmax(MLP((m1 x1 + m2 x2) / 2))`; of images
    the features that the classifier's body finds in that sum, `softmax(W s((m1 x1 + m2 x2) / 2))`. Only the
    discriminator holds lam off 0 and 1, where labels cost nothing: if it learns too slowly, mixing all but
    ends (on scikit-learn's digits, with default parameters, in three of three runs).

    NOTE[DIFF]: m1 and m2 are learnt, sigmoids of one number a column each; the released code draws them
    anew from a truncated normal at every step. They start at random: equal ones could not tell the first
    row of a pair from the second. The policy is one hidden layer of 100 ReLU, or a linear layer on the
    classifier's own body; theirs is a copy of that body under two linear layers.

    NOTE[DIFF]: partners come from the same half; the released code takes them from the whole batch, unseen
    rows too. Row k meets the row of the half whose drawn partner is the k-th of theirs: a uniform
    permutation, as the drawn one is. With `pair="same_class"` or `"other_class"` the drawn partner stays if
    it lies in the half; if not, its place modulo the half is where the search for a fitting row starts.

    NOTE[DIFF]: one forward serves both losses, where the released code runs the body once for each; without
    dropout and batch normalisation that is the same.

    Examples
    --------
    >>> from mixsk import AdaMixupClassifier
    >>> AdaMixupClassifier()._objective()
    AdaMixup()
    """

    moves_lam = True
    learns_lam = True

    def aux(self, sizes: Any) -> nn.Module:
        """The policy and the discriminator."""
        if sizes.reads == "image":
            policy: nn.Module = SharedPolicy(sizes.inputs, sizes.features, sizes.models)
        else:
            policy = Policy(sizes.inputs, sizes.models)
        return nn.ModuleDict(
            {"policy": policy, "discriminator": StackedLinear(sizes.features, 1, sizes.models)}
        )

    def attach(self, aux: Any) -> None:
        """Take the networks that the recipe trains."""
        self.policy_, self.discriminator_ = aux["policy"], aux["discriminator"]

    def __call__(self, step: Any) -> Tensor:
        half = first_half(step)
        size = half.h.shape[1]
        a, b, _ = self.policy_(half.batch.x, partner(half.batch.x, half.draw.perm), step.net).unbind(-1)
        lam = a + b * half.draw.lam
        half.draw = half.draw._replace(lam=lam)
        h, share = half.mixed(lam)
        last = step.recipe.spec.n_stages
        rows = torch.cat((h, step.clean()), 1)
        logits, taps = step.net.upper(rows, step.top, tuple({*step.recipe.taps, last}))
        half.clean_taps = {tap: taps[tap][:, size : 2 * size] for tap in step.recipe.taps}

        t, w, keep = half.target(share, {tap: taps[tap][:, :size] for tap in step.recipe.taps})
        mixed = half.mean(half.loss(logits[:, :size], t, keep), w, keep)
        t, w_real = step.clean_target()
        each = cross_entropy(logits[:, size:], t)
        clean = half.mean(each[:, :size], None if w_real is None else w_real[:, :size])
        realness = self.discriminator_(taps[last].flatten(2)).squeeze(-1)
        false = half.mean(softplus(realness[:, :size]), None if w is None else w.detach())
        real = step.mean(softplus(-realness[:, size:]), w_real)
        n_false, n_real = _count(half.batch), _count(step.batch)
        loss = (mixed + clean) / 2 + (n_false * false + n_real * real) / (n_false + n_real)
        if step.draw.mixed is None:
            return loss
        return torch.where(step.draw.mixed, loss, step.mean(each, w_real))


class Policy(nn.Module):
    """(a, b, 1 - a - b) of each pair of rows, from their gated sum."""

    def __init__(self, n_inputs: int, n_models: int = 1) -> None:
        super().__init__()
        self.gates = nn.Parameter(torch.randn(n_models, 2, 1, n_inputs))
        self.hidden = StackedLinear(n_inputs, HIDDEN, n_models)
        self.head = StackedLinear(HIDDEN, 3, n_models)

    def forward(self, first: Tensor, second: Tensor, net: Any = None) -> Tensor:
        """Map encoded rows (M, B, F) and their partners to probabilities (M, B, 3)."""
        gated = gated_sum(self.gates, first, second)
        return torch.softmax(self.head(torch.relu(self.hidden(gated))), -1)


class SharedPolicy(nn.Module):
    """(a, b, 1 - a - b) of each pair of images: a head on what the classifier's body finds in their sum.

    The body is trained by this, too. Gated sums leave the running statistics of its batch normalisation
    alone, which are those of images.
    """

    def __init__(self, n_inputs: int, n_features: int, n_models: int = 1) -> None:
        super().__init__()
        self.gates = nn.Parameter(torch.randn(n_models, 2, 1, n_inputs))
        self.head = StackedLinear(n_features, 3, n_models)

    def forward(self, first: Tensor, second: Tensor, net: Any) -> Tensor:
        """Map images (M, B, C, H, W) and their partners to probabilities (M, B, 3)."""
        gated = gated_sum(self.gates, first, second)
        with statistics_kept(net) if net.rows_interact else nullcontext():
            features = net.lower(gated, net.n_stages)
        return torch.softmax(self.head(features.flatten(2)), -1)


def gated_sum(gates: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """`(m1 * first + m2 * second) / 2` of rows (M, B, ...), the gates sigmoids of two numbers an entry."""
    m1, m2 = torch.sigmoid(gates).unflatten(-1, first.shape[2:]).unbind(1)
    return (m1 * first + m2 * second) / 2


def first_half(step: Any) -> Any:
    """The first half of a step's rows as a step of their own, each with a partner among them."""
    x, y, draw, real, _ = step.batch
    n_rows = x.shape[1]
    size = (n_rows + 1) // 2
    position = torch.arange(size, device=x.device)
    # Padding is at the end of a batch; a model with padding has a smaller half.
    taken = 2 * position < (n_rows if real is None else real.sum(-1, keepdim=True))
    pair = _ranked if step.recipe.spec.pair == "any" else _of_class
    perm = pair(draw.perm[:, :size], taken, y[:, :size], step.recipe.spec.pair == "same_class")
    noise = None if draw.noise is None else draw.noise[:, :size]
    half = copy(step)
    half.h = step.h[:, :size]
    half.draw = draw._replace(perm=perm, lam=draw.lam[:, :size], noise=noise)
    half.batch = Batch(x[:, :size], y[:, :size], half.draw, None if real is None else taken.to(real.dtype))
    return half


def _ranked(perm: Tensor, taken: Tensor, y: Tensor, same: bool) -> Tensor:
    """The permutation of the half that orders its rows as `perm` does; each is equally likely."""
    position = torch.arange(perm.shape[1], device=perm.device)
    # Rows that are not taken come last and in order, and so stay where they are.
    return torch.where(taken, perm, 2 * len(position) + position).argsort(1)


def _of_class(perm: Tensor, taken: Tensor, y: Tensor, same: bool) -> Tensor:
    """The drawn partner, or from its place on the next row of the half whose class fits, or the row alone."""
    position = torch.arange(perm.shape[1], device=perm.device)
    code = y.argmax(-1)
    fits = (code.unsqueeze(-1) == code.unsqueeze(-2)) == same
    n_taken = taken.sum(-1, keepdim=True).clamp_min(1).unsqueeze(-1)
    distance = (position - perm.unsqueeze(-1)) % n_taken
    nearest = torch.where(fits & taken.unsqueeze(-2), distance, len(position)).min(-1)
    return torch.where(taken & (nearest.values < len(position)), nearest.indices, position)


def _count(batch: Batch) -> Any:
    """Rows of a batch that are no padding."""
    return batch.x.shape[1] if batch.real is None else batch.real.sum(-1).clamp_min(1)

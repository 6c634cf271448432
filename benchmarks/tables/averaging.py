"""Whether the mean of the weights along a training is better than those at its end.

    mixsk bench run --suite benchmarks/tables/ablation.toml --methods benchmarks/tables/averaging.py \\
        --out runs/averaging
    python benchmarks/tables/compare.py runs/averaging --pairs second-half:at-the-end ema:at-the-end

Single networks. From 5 000 rows on "at-the-end" would have the weights of the best epoch on rows held out,
and the means would take their place.
"""

from __future__ import annotations

import torch
from skorch.callbacks import Callback

from mixsk.bench import Method


class Averaged(Callback):
    """Gives the network the mean of its weights after each epoch.

    Parameters
    ----------
    since : float, default=0.5
        Share of the epochs before the first that counts.
    memory : float or None, default=None
        None: all epochs count alike. Else the weight of an epoch falls by a factor e in this share of all.
    """

    def __init__(self, since=0.5, memory=None):
        self.since = since
        self.memory = memory

    def on_train_begin(self, net, **kwargs):
        """Begin anew."""
        self.mean_, self.count_ = None, 0

    @torch.no_grad()
    def on_epoch_end(self, net, **kwargs):
        """Move the mean."""
        if len(net.history) <= self.since * net.max_epochs:
            return
        now = [parameter.detach() for parameter in net.module_.parameters()]
        self.count_ += 1
        if self.mean_ is None:
            self.mean_ = [value.clone() for value in now]
        move = 1 / self.count_
        if self.memory is not None:
            move = max(move, 1 / (1 + self.memory * net.max_epochs))
        torch._foreach_lerp_(self.mean_, now, move)

    @torch.no_grad()
    def on_train_end(self, net, **kwargs):
        """Take the mean."""
        for parameter, value in zip(net.module_.parameters(), self.mean_ or [], strict=False):
            parameter.copy_(value)


def _method(**own):
    return Method("mixsk.MixupClassifier", {"n_cv": 1, "calibrate": False} | own)


METHODS = {
    "at-the-end": _method(),
    "second-half": _method(callbacks=[("average", Averaged())]),
    "ema": _method(callbacks=[("average", Averaged(since=0.0, memory=0.1))]),
}

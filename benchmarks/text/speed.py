"""Speed of training on text, as ratios from one run: TREC, TextCNN, batches of 50, Adam, one thread.

    python benchmarks/text/speed.py [--data-home FOLDER] [--turns 5]

Each turn trains every variant for one epoch, so that a slow minute of the machine falls on all alike; a
ratio is the median of the ratios within a turn. The loop written by hand has torch's own convolutions and
the very batches of our fit: what differs is what an estimator brings.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from unittest import mock

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from mixsk import AMPClassifier, MixupClassifier
from mixsk.datasets import load_text
from mixsk.encoding import TextEncoder
from mixsk.engine import iterator

torch.set_num_threads(1)

BATCH, WIDTH, SIZES, FILTERS = 50, 300, (3, 4, 5), 100


class HandWritten(nn.Module):
    """Kim's CNN as one would write it."""

    def __init__(self, n_words: int, n_classes: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(n_words, WIDTH, padding_idx=0)
        self.filters = nn.ModuleList(nn.Conv1d(WIDTH, FILTERS, size) for size in SIZES)
        self.head = nn.Linear(FILTERS * len(SIZES), n_classes)

    def forward(self, e: torch.Tensor) -> torch.Tensor:
        """Logits from embedded words."""
        e = F.pad(e, (0, 0, 0, max(0, max(SIZES) - e.shape[1]))).transpose(1, 2)
        h = torch.cat([F.relu(conv(e)).amax(2) for conv in self.filters], 1)
        return self.head(F.dropout(h, 0.5, self.training))


def hand_written(codes: np.ndarray, y: np.ndarray, mixes: bool) -> float:
    """Seconds of an epoch of a plain loop, on batches of like lengths as ours."""
    rng = np.random.default_rng(0)
    lengths = np.count_nonzero(codes, axis=1)
    net = HandWritten(codes.max() + 1, y.max() + 1)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, weight_decay=1e-8, fused=True)
    words, labels = torch.from_numpy(codes), torch.from_numpy(y)
    start = time.perf_counter()
    order = rng.permutation(len(y))
    pools = [order[k : k + 20 * BATCH] for k in range(0, len(order), 20 * BATCH)]
    pools = [pool[np.argsort(lengths[pool], kind="stable")] for pool in pools]
    batches = [pool[k : k + BATCH] for pool in pools for k in range(0, len(pool), BATCH)]
    for k in rng.permutation(len(batches)):
        rows = torch.from_numpy(batches[k])
        e, label = net.embedding(words[rows, : lengths[batches[k]].max()]), labels[rows]
        if mixes:
            lam, perm = float(rng.beta(1, 1)), torch.randperm(len(rows))
            logits = net(lam * e + (1 - lam) * e[perm])
            loss = lam * F.cross_entropy(logits, label) + (1 - lam) * F.cross_entropy(logits, label[perm])
        else:
            loss = F.cross_entropy(net(e), label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return time.perf_counter() - start


def ours(cls: type, X: object, y: np.ndarray, **params: object) -> float:
    """Seconds of an epoch of one of our classifiers, without its preparation."""
    settings = {"module": "textcnn", "batch_size": BATCH, "max_epochs": 1, "early_stopping": False}
    clf = cls(**settings, optimizer="adam", lr=1e-3, weight_decay=1e-8, random_state=0, **params).fit(X, y)
    return float(clf.history_["dur"].sum())


def whole_fit(X: object, y: np.ndarray) -> float:
    """Seconds of a whole fit of one epoch, vocabulary and all."""
    start = time.perf_counter()
    ours(MixupClassifier, X, y, mix=None)
    return time.perf_counter() - start


def without_pools(run: Callable[[], float]) -> float:
    """Seconds where a batch's rows have any lengths."""
    with mock.patch.object(iterator, "POOL", 1):
        return run()


def all_padded(X: object, y: np.ndarray) -> float:
    """Seconds where every row is as long as the longest."""
    encoder = TextEncoder().fit(X)
    longest = encoder.transform(X).shape[1]
    with mock.patch.object(np, "count_nonzero", lambda codes, axis: np.full(len(codes), longest)):
        return ours(MixupClassifier, X, y, mix=None)


def main() -> None:
    """Print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data-home")
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()
    X, y = load_text("trec", subset="train", data_home=options.data_home, return_X_y=True)
    codes = TextEncoder().fit_transform(X)
    runs: dict[str, Callable[[], float]] = {
        "hand": lambda: hand_written(codes, y, mixes=False),
        "hand-mixup": lambda: hand_written(codes, y, mixes=True),
        "vanilla": lambda: ours(MixupClassifier, X, y, mix=None),
        "whole-fit": lambda: whole_fit(X, y),
        "word": lambda: ours(MixupClassifier, X, y, mix_at="embedding"),
        "sent": lambda: ours(MixupClassifier, X, y, mix_at="last"),
        "word-amp": lambda: ours(AMPClassifier, X, y, mix_at="embedding"),
        "sent-amp": lambda: ours(AMPClassifier, X, y, mix_at="last"),
        "any-length": lambda: without_pools(lambda: ours(MixupClassifier, X, y, mix=None)),
        "all-padded": lambda: all_padded(X, y),
    }
    seconds = {name: np.array([]) for name in runs}
    for _ in range(options.turns):
        for name, run in runs.items():
            seconds[name] = np.append(seconds[name], run())
    for name, beside in [
        ("vanilla", "hand"), ("word", "hand-mixup"), ("whole-fit", "vanilla"), ("word-amp", "word"),
        ("sent-amp", "sent"), ("vanilla", "any-length"), ("vanilla", "all-padded"),
    ]:  # fmt: skip
        ratios = seconds[name] / seconds[beside]
        print(
            f"{name:10} / {beside:10} {np.median(ratios):5.2f}  ({ratios.min():.2f} to {ratios.max():.2f};"
            f" {np.median(seconds[name]):.2f} s an epoch of {len(y)} rows)"
        )


if __name__ == "__main__":
    main()

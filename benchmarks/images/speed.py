"""Speed of training on images, as ratios from one run, with one thread.

    python benchmarks/images/speed.py [--data-home FOLDER] [--turns 7] [--out TABLE.csv]
    python benchmarks/images/speed.py --nets resnet18-64 --only hand --turns 3
    python benchmarks/images/speed.py --nets lenet resnet18-64 --device cuda --amp bf16 --steps 100

Each turn trains every variant for one epoch of `--steps` steps, so that a slow minute of the machine falls
on all alike; a ratio is the median of the ratios within a turn, after one turn that does not count. On a CPU
seconds are those of the process, so that others on the machine hardly matter. Pixels are random, uint8 in
memory: 1 x 28 x 28 in batches of 128 for LeNet, 3 x 32 x 32 in batches of 64, cropped and flipped, for
ResNet-18 of 16 or 64 channels. With `--data-home FOLDER` they are MNIST's, and CIFAR-10's as JPEG had them.

The loop written by hand has the very network, augmentation and optimiser of our fit: what differs is
what an estimator brings. Steps of each method are beside those of mixup.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from skorch.callbacks import Callback

from mixsk import (
    AMPClassifier,
    GenLabelClassifier,
    InfiniteMixupClassifier,
    LaMixClassifier,
    MixupClassifier,
)
from mixsk.backbones import BACKBONES
from mixsk.datasets import load_images
from mixsk.encoding import Augment, ImageEncoder

torch.set_num_threads(1)

CLASSES = 10
SGD = {"lr": 0.01, "momentum": 0.9, "nesterov": True, "weight_decay": 5e-4}


@dataclass(frozen=True)
class Net:
    """A network, and the images that it is trained on."""

    module: str
    data: str
    shape: tuple[int, ...]
    batch: int
    steps: int  # of an epoch
    augment: Augment | None = None
    options: dict[str, int] = field(default_factory=dict)


CROP_FLIP = Augment(crop=4, flip=True)
CIFAR = ("cifar-10-jpeg-subset", (32, 32, 3), 64)
NETS = {
    "lenet": Net("lenet", "mnist", (28, 28), 128, 40),
    "resnet18-16": Net("resnet18", *CIFAR, 4, CROP_FLIP, {"width": 16}),
    "resnet18-64": Net("resnet18", *CIFAR, 2, CROP_FLIP, {"width": 64}),
}


class Stopwatch(Callback):
    """Seconds of an epoch: of the process on a CPU, else of the wall."""

    def __init__(self, device: str) -> None:
        self.clock = time.process_time if device == "cpu" else time.perf_counter

    def on_epoch_begin(self, net: Any = None, **_: Any) -> None:
        self.seconds = -self.clock()

    def on_epoch_end(self, net: Any = None, **_: Any) -> None:
        self.seconds += self.clock()


ONLINE = {"mix": "linear", "density_at": "last", "density_schedule": "online"}
METHODS: dict[str, tuple[type, dict[str, Any]]] = {
    "plain": (MixupClassifier, {"mix": None}),
    "mixup": (MixupClassifier, {"mix": "linear"}),
    "CutMix": (MixupClassifier, {"mix": "cutmix"}),
    "manifold": (MixupClassifier, {"mix": "linear", "mix_at": "any"}),
    "RegMixup": (MixupClassifier, {"mix": "linear", "clean_weight": 1}),
    "Infinite": (InfiniteMixupClassifier, {}),
    "LaMix": (LaMixClassifier, {}),
    "AMP": (AMPClassifier, {}),
    "GenLabel online": (GenLabelClassifier, ONLINE),
    "GenLabel online, clean rows": (GenLabelClassifier, ONLINE | {"clean_weight": 1}),
    "PuzzleMix": (MixupClassifier, {"mix": "puzzle"}),
}
# (method, beside which, at most so many times its seconds)
BESIDE = [
    ("plain", "mixup", None),
    ("CutMix", "mixup", 1.05),
    ("manifold", "mixup", None),
    ("RegMixup", "mixup", None),
    ("Infinite", "mixup", 1.05),
    ("LaMix", "mixup", 1.1),
    ("AMP", "mixup", 2.4),
    ("GenLabel online", "mixup", 1.4),
    ("GenLabel online, clean rows", "RegMixup", 1.1),
    ("PuzzleMix", "mixup", 2.5),
]


def images(net: Net, n_rows: int, data_home: str | None) -> tuple[np.ndarray, np.ndarray]:
    """So many images and labels at random, repeated if there are fewer."""
    rng = np.random.default_rng(0)
    if data_home is None:
        return rng.integers(256, size=(n_rows, *net.shape), dtype=np.uint8), np.arange(n_rows) % CLASSES
    X, y = load_images(net.data, subset="train", data_home=data_home, return_X_y=True)
    rows = np.resize(rng.permutation(len(y)), n_rows)
    return X[rows], y[rows]


def hand_written(
    net: Net, X: np.ndarray, y: np.ndarray, device: str, amp: str | None, mixes: bool = False
) -> float:
    """Seconds of an epoch of a plain loop, images and labels on the device."""
    pixels = torch.from_numpy(X).reshape(len(X), *X.shape[1:3], -1).permute(0, 3, 1, 2).contiguous()
    network = BACKBONES[net.module](pixels.shape[1], CLASSES, shape=tuple(pixels.shape[1:]), **net.options)
    network.to(device)
    optimizer = torch.optim.SGD(network.parameters(), fused=True, **SGD)
    mean = pixels.float().mean((0, 2, 3), keepdim=True).to(device)
    scale = 1 / pixels.float().std((0, 2, 3), keepdim=True).to(device)
    pixels, labels = pixels.to(device), torch.from_numpy(y).to(device)
    rng, total = np.random.default_rng(0), torch.zeros((), device=device)
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16, None: None}[amp]
    watch = Stopwatch(device)
    watch.on_epoch_begin()
    for rows in torch.randperm(len(y), device=device).split(net.batch):
        x, label = pixels[rows].float(), labels[rows]
        if net.augment is not None:
            x = net.augment(x.unsqueeze(0), torch.rand(1, len(rows), 4, device=device)).squeeze(0)
        x = x.sub_(mean).mul_(scale)
        if mixes:
            lam, perm = float(rng.beta(1, 1)), torch.randperm(len(rows), device=device)
            x = x[perm].lerp_(x, lam)
        with torch.autocast(torch.device(device).type, dtype, enabled=amp is not None):
            logits = network(x.unsqueeze(0)).squeeze(0)
            loss = F.cross_entropy(logits, label)
            if mixes:
                loss = lam * loss + (1 - lam) * F.cross_entropy(logits, label[perm])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.detach()
    total.item()  # waits for the device
    watch.on_epoch_end()
    return watch.seconds


def ours(name: str, net: Net, X: np.ndarray, y: np.ndarray, device: str, amp: str | None) -> float:
    """Seconds of an epoch of one of our classifiers, without its preparation."""
    cls, params = METHODS[name]
    settings = {f"module__{option}": value for option, value in net.options.items()}
    settings |= {"encoder": ImageEncoder(augment=net.augment), "batch_size": net.batch, "max_epochs": 1}
    settings |= {"optimizer": "sgd", "lr": SGD["lr"], "weight_decay": SGD["weight_decay"], "schedule": None}
    settings |= {f"optimizer__{option}": SGD[option] for option in ("momentum", "nesterov")}
    settings |= {"module": net.module, "device": device, "amp": amp, "random_state": 0}
    clf = cls(callbacks=[("watch", Stopwatch(device))], **settings, **params).fit(X, y)
    return dict(clf.net_.callbacks_)["watch"].seconds


def whole_fit(net: Net, X: np.ndarray, y: np.ndarray, device: str, amp: str | None) -> float:
    """Seconds of a whole fit of one epoch, encoder and all."""
    watch = Stopwatch(device)
    watch.on_epoch_begin()
    ours("plain", net, X, y, device, amp)
    watch.on_epoch_end()
    return watch.seconds


def take_turns(runs: dict[str, Callable[[], float]], turns: int) -> dict[str, np.ndarray]:
    """Seconds of each run in each turn, after one turn that does not count."""
    seconds = [[run() for run in runs.values()] for _ in range(turns + 1)]
    return dict(zip(runs, np.array(seconds[1:]).T, strict=True))


def compare(name: str, net: Net, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Ratios of one network, printed as they come."""
    n_rows = net.batch * (options.steps or net.steps)
    here = (net, *images(net, n_rows, options.data_home), options.device, options.amp)
    runs = {"hand": partial(hand_written, *here), "plain": partial(ours, "plain", *here)}
    if options.only != "hand":
        runs |= {method: partial(ours, method, *here) for method in METHODS}
        runs |= {"hand, mixup": partial(hand_written, *here, mixes=True), "fit": partial(whole_fit, *here)}
    seconds = take_turns(runs, options.turns)
    pairs = [("hand", "plain", None), ("hand, mixup", "mixup", None), ("fit", "plain", None), *BESIDE]
    rows = []
    for first, second, bar in pairs:
        if not {first, second} <= seconds.keys():
            continue
        ratios = seconds[first] / seconds[second]
        rows.append(
            {"device": options.device, "net": name, "first": first, "second": second}
            | {"ratio": np.median(ratios), "low": ratios.min(), "high": ratios.max()}
            | {"bar": 0.95 if first.startswith("hand") else bar}
            | {"images_per_second": n_rows / np.median(seconds[second])}
        )
        line = "{net:12} {first:28}/ {second:9}{ratio:6.2f} ({low:.2f} to {high:.2f}; bar {bar}; {second}: "
        print((line + "{images_per_second:.0f} images/s)").format(**rows[-1]), flush=True)
    return rows


def main() -> None:
    """Print the ratios, and write them if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--nets", nargs="+", choices=NETS, default=["lenet", "resnet18-16"])
    parser.add_argument("--only", choices=["hand"], help="no methods but plain training")
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--steps", type=int, help="of an epoch; default: 40 of lenet, 4 and 2 of resnet18")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--amp", choices=["bf16", "fp16"])
    parser.add_argument("--data-home")
    parser.add_argument("--out", type=Path, help="a CSV file to add the ratios to")
    options = parser.parse_args()
    rows = [row for name in options.nets for row in compare(name, NETS[name], options)]
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        before = [pd.read_csv(options.out)] if options.out.exists() else []
        pd.concat([*before, pd.DataFrame(rows)]).round(3).to_csv(options.out, index=False)


if __name__ == "__main__":
    main()

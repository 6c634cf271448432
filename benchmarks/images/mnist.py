"""LeNet on MNIST: test accuracy and seconds.

    python benchmarks/images/mnist.py --data-home FOLDER [--seeds 1] [--threads 2]
    python benchmarks/images/mnist.py --data-home FOLDER --small

The first trains on all 60 000 images with untouched defaults, with mixup and without. `--small` trains every
method on 2000 of them (`mnist_small.npz`). CPU seconds are of a fit alone, `wall` those that a clock shows.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from mixsk import (
    AdaMixupClassifier,
    AMPClassifier,
    GenLabelClassifier,
    InfiniteMixupClassifier,
    LaMixClassifier,
    MixupClassifier,
)
from mixsk.datasets import load_images

BARS = {"mnist": "bar: 99.0 % within 300 s on 2 cores", "mnist-small": "bar: 20 s"}
LENET = {"module": "lenet"}
LINEAR = LENET | {"mix": "linear"}
LAST = {"density_at": "last"}

DEFAULTS = {"default": MixupClassifier(**LENET), "plain": MixupClassifier(**LENET, mix=None)}
METHODS = DEFAULTS | {
    "mixup": MixupClassifier(**LINEAR, alpha=1),
    "manifold mixup": MixupClassifier(**LINEAR, mix_at="any"),
    "non-linear mixup": MixupClassifier(**LENET, mix="nonlinear", label="nonlinear", mix_at="last"),
    "half": MixupClassifier(**LENET, mix="half"),
    "CutMix": MixupClassifier(**LENET, mix="cutmix", mix_prob=0.5),
    "PuzzleMix": MixupClassifier(**LENET, mix="puzzle"),
    "RegMixup": MixupClassifier(**LINEAR, clean_weight=1),
    "Remix": MixupClassifier(**LINEAR, label="remix"),
    "logistic labels": MixupClassifier(**LINEAR, label="logistic"),
    "label smoothing": MixupClassifier(**LENET, mix=None, label_smoothing=0.1),
    "intrusions dropped": MixupClassifier(**LINEAR, drop_intrusions="last"),
    "AdaMixUp": AdaMixupClassifier(**LENET),
    "GenLabel, latent": GenLabelClassifier(**LINEAR, **LAST, density_schedule="warmup"),
    "GenLabel, online": GenLabelClassifier(**LINEAR, **LAST, density_schedule="online"),
    "GenLabel, online, manifold": GenLabelClassifier(
        **LINEAR, **LAST, density_schedule="online", mix_at="any"
    ),
    "AMP": AMPClassifier(**LENET),
    "AMP, last hidden stage": AMPClassifier(**LENET, mix_at="last"),
    "IC-Mixup": InfiniteMixupClassifier(**LENET),
    "IC-RegMixup": InfiniteMixupClassifier(**LENET, clean_weight=1),
    "IC-Remix": InfiniteMixupClassifier(**LENET, label="remix"),
    "LaMix": LaMixClassifier(**LENET),
    "LaMix on PuzzleMix": LaMixClassifier(**LENET, mix="puzzle"),
}


def measure(clf: MixupClassifier, train: tuple, test: tuple, seed: int) -> dict[str, float]:
    """Test accuracy in percent, CPU seconds and wall seconds of a fit."""
    wall, cpu = time.perf_counter(), time.process_time()
    clf.set_params(random_state=seed).fit(*train)
    seconds = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
    return {"accuracy": 100 * clf.score(*test), **seconds, "epochs": clf.n_iter_}


def main() -> None:
    """Print a line a fit, and write them if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data-home")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--only", nargs="+", choices=METHODS, metavar="METHOD")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    name = "mnist-small" if options.small else "mnist"
    train, test = (
        load_images(name, subset=part, data_home=options.data_home, return_X_y=True)
        for part in ("train", "test")
    )
    print(f"{len(train[1])} images, threads: {options.threads}; {BARS[name]}")
    rows = []
    for method in options.only or (METHODS if options.small else DEFAULTS):
        found = [measure(METHODS[method], train, test, seed) for seed in range(options.seeds)]
        mean = {key: np.mean([row[key] for row in found]) for key in found[0]}
        rows.append({"method": method, **mean, "seeds": options.seeds})
        line = "{method:28}{accuracy:7.2f} %{cpu:8.1f} CPU s{wall:8.1f} s wall{epochs:6.0f} epochs"
        print(line.format(**rows[-1]), flush=True)
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame(rows).round(3).to_csv(options.out, index=False)


if __name__ == "__main__":
    main()

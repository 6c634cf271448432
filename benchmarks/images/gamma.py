"""GenLabel's gamma, online, on images of MNIST's training set: 3000 to train LeNet on, 5000 to judge.

python benchmarks/images/gamma.py --data-home FOLDER
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from few import METHODS

from mixsk.datasets import load_images

GAMMAS, SEEDS = (0.2, 0.5), (0, 1)
ROWS, HELD_OUT = 3000, 5000


def main() -> None:
    """Print the error rate of each gamma and seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data-home")
    options = parser.parse_args()
    torch.set_num_threads(1)
    X, y = load_images("mnist", subset="train", data_home=options.data_home, return_X_y=True)
    rows = np.random.default_rng(1).permutation(len(y))
    train, held_out = rows[:ROWS], rows[-HELD_OUT:]
    for gamma in GAMMAS:
        clf = METHODS["lenet-genlabel-online"].build().set_params(gamma=gamma)
        for seed in SEEDS:
            fitted = clf.set_params(random_state=seed).fit(X[train], y[train])
            error = 100 * (1 - fitted.score(X[held_out], y[held_out]))
            print(f"gamma {gamma}, seed {seed}: {error:.1f} % errors", flush=True)


if __name__ == "__main__":
    main()

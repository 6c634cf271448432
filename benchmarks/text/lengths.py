"""Whether batches of sentences of like length cost accuracy: the CNN on TREC with and without them.

    python benchmarks/text/lengths.py [--data-home FOLDER] [--seeds 5]

Without them a batch has any rows, and is padded to its longest one.
"""

from __future__ import annotations

import argparse
import os
from unittest import mock

os.environ["OMP_NUM_THREADS"] = "1"

import torch
from scipy import stats

from mixsk import MixupClassifier
from mixsk.datasets import load_text
from mixsk.engine import iterator

torch.set_num_threads(1)


def main() -> None:
    """Print both error rates for each seed, and the interval of their difference."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data-home")
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    trec = load_text("trec", data_home=options.data_home)
    train, test = trec.subsets["train"], trec.subsets["test"]
    gains = []
    for seed in range(options.seeds):
        errors = []
        for pool in (iterator.POOL, 1):
            clf = MixupClassifier(
                module="textcnn", mix=None, early_stopping=True, n_iter_no_change=5, random_state=seed
            )
            with mock.patch.object(iterator, "POOL", pool):
                clf.fit(trec.data.iloc[train], trec.target[train])
            errors.append(100 * (1 - clf.score(trec.data.iloc[test], trec.target[test])))
        print("seed {}: {:.1f} % of like length, {:.1f} % of any".format(seed, *errors), flush=True)
        gains.append(errors[1] - errors[0])
    interval = stats.ttest_1samp(gains, 0).confidence_interval()
    mean = sum(gains) / len(gains)
    print(f"any less like: {mean:+.2f} points ({interval.low:+.2f} to {interval.high:+.2f})")


if __name__ == "__main__":
    main()

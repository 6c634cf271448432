"""What tests of several folds share: the network classifiers, brief settings and a small table."""

import numpy as np

from mixsk import (
    AdaMixupClassifier,
    AMPClassifier,
    GenLabelClassifier,
    InfiniteMixupClassifier,
    LaMixClassifier,
    MixupClassifier,
)

CLASSIFIERS = [
    MixupClassifier,
    GenLabelClassifier,
    AMPClassifier,
    InfiniteMixupClassifier,
    LaMixClassifier,
    AdaMixupClassifier,
]
SMALL = {"hidden": (5,), "max_epochs": 3, "batch_size": 16, "random_state": 0, "encoder": "passthrough"}


def rows(n=90, seed=0):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 3
    return (rng.normal(size=(n, 4)) + y[:, None]).astype(np.float32), y

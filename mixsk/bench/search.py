"""How the GenLabel paper trains on tables, and how it chooses a method's parameters."""

import warnings

import numpy as np
from sklearn.model_selection import StratifiedKFold

from mixsk.classifiers._holdout import stratified_folds
from mixsk.model_selection import BatchedGridSearchCV

# How the code of the GenLabel paper trains on tables. Its lam ~ Beta(1, 1), one a batch, is what alpha=None
# means for its methods; those of other papers keep theirs. Its network with two hidden layers has no
# activation; ours has ReLUs, as the paper says.
PAPER = {
    "optimizer": "adam",
    "weight_decay": 1e-4,
    "schedule": None,
    "batch_size": 128,
    "max_epochs": 100,
    "early_stopping": False,
    "class_prior": "uniform",  # its tables are balanced within about 2:1
}

# What its protocol chooses by cross-validation, jointly, for each network that it has an effect on.
GRID = {"lr": [0.1, 0.01, 0.001, 0.0001], "gamma": [0, 0.2, 0.4, 0.6, 0.8, 1]}


class InnerFolds(StratifiedKFold):
    """`StratifiedKFold` for any labels: fewer folds for a small table, and each class always trained on.

    Examples
    --------
    >>> for train, test in InnerFolds(5, shuffle=True, random_state=0).split(None, [0, 0, 1, 1, 1, 2]):
    ...     print(train, test)
    [0 2 4 5] [1 3]
    [1 2 3 5] [0 4]
    [0 1 3 4 5] [2]
    """

    def split(self, X, y, groups=None):
        """Yield the training and test rows of each fold; of all rows, should no class have two."""
        folds = stratified_folds(y, self.random_state, self.n_splits)
        if not folds:
            rows = np.arange(len(y))
            warnings.warn(
                f"No class has two of the {len(rows)} rows, so none can be held out: parameters are chosen "
                "by the rows that they are trained on.",
                UserWarning,
                stacklevel=2,
            )
            folds = [(rows, rows)]
        yield from folds


class Search(BatchedGridSearchCV):
    """A search that is silent about its folds; what is wrong with the rows, the last fit says of all of them.

    Fits that fail are told of still.
    """

    def _run_search(self, *args, **kwargs):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            super()._run_search(*args, **kwargs)

"""Whether GenLabel's density does better in another space than that of the encoded columns.

    mixsk bench run --suite benchmarks/tables/density_spaces.toml --protocol holdout \\
        --methods benchmarks/tables/density_spaces.py --out runs/density_spaces
    python benchmarks/tables/compare.py runs/density_spaces --pairs pca:auto ...

All single networks without a temperature: a density of features after a warm-up has no cross-fitted form.
"""

from __future__ import annotations

import torch
from sklearn.base import BaseEstimator
from sklearn.decomposition import PCA

from mixsk.bench import Method
from mixsk.densities import GM


class Projected(BaseEstimator):
    """A Gaussian for each class, of the principal components that hold 95 % of the columns' variance.

    Parameters
    ----------
    whiten : bool, default=False
        Whether each component is scaled to variance 1, which matters where the covariance is shrunk.
    categorical : {"frequencies", "onehot"}, default="onehot"
        Whether one-hot columns are among the columns, or counted beside them.
    """

    def __init__(self, whiten=False, categorical="onehot"):
        self.whiten = whiten
        self.categorical = categorical

    def fit(self, Z, y, sample_weight=None, n_classes=None):
        """Learn the components and the Gaussians."""
        self.components_ = PCA(0.95, whiten=self.whiten, svd_solver="full").fit(Z)
        Z = self.components_.transform(Z)
        self.gaussians_ = GM().fit(Z, y, sample_weight=sample_weight, n_classes=n_classes)
        return self

    def log_prob(self, z):
        """Log density of each row under each class, (n, C), in the space of the components."""
        return self.gaussians_.log_prob(torch.as_tensor(self.components_.transform(z))).numpy()


SINGLE = {"n_cv": 1, "calibrate": False}


def _method(**own):
    return Method("mixsk.GenLabelClassifier", SINGLE | own)


METHODS = {
    "without": Method("mixsk.MixupClassifier", SINGLE),
    "auto": _method(),
    "pca": _method(density=Projected()),
    "pca-whitened": _method(density=Projected(whiten=True)),
    "pca-of-numbers": _method(density=Projected(categorical="frequencies")),
    "last-warmup": _method(density_at="last", density_schedule="warmup"),
    "last-online": _method(density_at="last", density_schedule="online", gamma=0.5),  # .2 is usual since
}

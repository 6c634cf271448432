"""How mixing should treat categories: what each way of doing it reaches on tables that have many.

    mixsk bench run --suite benchmarks/tables/categories.toml --methods benchmarks/tables/categories.py \\
        --out runs/categories
    python benchmarks/tables/compare.py runs/categories
"""

from embedding import Embedded, EmbeddedClassifier
from sklearn.base import BaseEstimator, TransformerMixin

from mixsk.bench import Method
from mixsk.encoding import TableEncoder


class NumbersOnly(TransformerMixin, BaseEstimator):
    """The columns of numbers, encoded as usual; of a table without any, their number in each row, 0."""

    def fit(self, X, y=None):
        """Learn the numbers' scales."""
        self.columns_ = X.select_dtypes("number").columns
        self.encoder_ = TableEncoder().fit(self._numbers(X), y)
        self.layout_ = self.encoder_.layout_
        return self

    def transform(self, X):
        """Encode the numbers."""
        return self.encoder_.transform(self._numbers(X))

    def _numbers(self, X):
        return X[self.columns_] if len(self.columns_) else X.iloc[:, :0].assign(none=0.0)


SINGLE = {"n_cv": 1, "calibrate": False}


def _method(**own):
    return Method("mixsk.MixupClassifier", SINGLE | own)


METHODS = {
    "whole-columns": _method(),
    "one-hot-shares": _method(mix="linear"),
    "numbers-only": _method(encoder=NumbersOnly()),
    "embedded": Method(EmbeddedClassifier, SINGLE | {"module": Embedded}),
    "no-mixing": _method(mix=None),
}

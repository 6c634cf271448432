"""The defaults on tables of many rows, beside scikit-learn's gradient boosting, and what they are made of.

    mixsk bench run --suite benchmarks/tables/large.toml --methods boosting,benchmarks/tables/large.py \\
        --protocol holdout --out runs/large
"""

from mixsk.bench import Method


def _method(**own):
    return Method("mixsk.MixupClassifier", own)


METHODS = {
    "default": _method(),
    "without-bins": _method(module__bins=0),
    "without-mixing": _method(mix=None),
    "more-mixing": _method(alpha=0.05),
    "lr-.01": _method(lr=0.01),
}

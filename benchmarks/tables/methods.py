"""Each class's default for tables, beside the likeliest others.

    mixsk bench run --suite benchmarks/tables/ablation.toml --methods benchmarks/tables/methods.py \\
        --folds 3 --out runs/methods
    python benchmarks/tables/compare.py runs/methods --pairs infinite-columns:infinite-default ...

A "-default" is a class untouched. AMP and AdaMixUp need a mask that is smooth in lam, so swapped columns are
not for them. `methods_more.py` has what was tried on fewer tables.
"""

from mixsk.bench import Method


def method(name, **own):
    return Method(f"mixsk.{name}Classifier", own)


METHODS = {
    "mixup-default": method("Mixup"),
    "plain-default": method("Mixup", mix=None),
    "infinite-default": method("InfiniteMixup"),
    "infinite-columns": method("InfiniteMixup", mix="columns", alpha=0.4),
    "lamix-default": method("LaMix"),
    "lamix-columns": method("LaMix", mix="columns"),
    "adamixup-default": method("AdaMixup"),
    "amp-default": method("AMP"),
}

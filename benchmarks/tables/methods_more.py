"""Other defaults for the classes of `methods.py`, tried on seven tables; none was better.

    mixsk bench run --suite benchmarks/tables/ablation-7.toml --folds 3 --out runs/methods-more \\
        --methods benchmarks/tables/methods.py,benchmarks/tables/methods_more.py
    python benchmarks/tables/compare.py runs/methods-more --pairs amp-at-last:amp-default ...
"""

from methods import method

METHODS = {
    "infinite-clean": method("InfiniteMixup", clean_weight=1),
    "infinite-columns-clean": method("InfiniteMixup", mix="columns", alpha=0.4, clean_weight=1),
    "lamix-local-.8": method("LaMix", mix="columns", local_share=0.8),
    "adamixup-at-last": method("AdaMixup", mix_at="last"),
    "amp-alpha-.4": method("AMP", alpha=0.4),
    "amp-at-last": method("AMP", mix_at="last", alpha=0.4),
}

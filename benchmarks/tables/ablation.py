"""What some of the choices behind the defaults for tables are worth.

    mixsk bench run --suite benchmarks/tables/ablation.toml --methods benchmarks/tables/ablation.py \\
        --out runs/ablation
"""

from mixsk.bench import Method


def _method(**own):
    return Method("mixsk.MixupClassifier", own)


METHODS = {
    "default": _method(),
    "without-mixing": _method(mix=None),
    "linear": _method(mix="linear", alpha=0.4),
    "any-site": _method(mix="linear", mix_at="any", alpha=0.4),
    "clean-term": _method(clean_weight=1, alpha=0.4),
    "alpha-.4": _method(alpha=0.4),  # whatever the number of rows
    "decay-.3": _method(weight_decay=0.3),
    "decay-3": _method(weight_decay=3.0),
    "lr-.003": _method(lr=0.003),
    "silu": _method(activation="silu"),
    "bins": _method(module__bins=48),
    "one-network": _method(n_cv=1, calibrate=False),
    "not-calibrated": _method(calibrate=False),
}

"""The defaults for tables, to be set beside other classifiers' defaults.

    mixsk bench run --suite benchmarks/tables/confirm.toml --methods benchmarks/tables/defaults.py \\
        --out runs/confirm
    python benchmarks/tables/compare.py runs/confirm --peers FOLDER
"""

from mixsk.bench import Method

SINGLE = {"n_cv": 1, "calibrate": False}

METHODS = {
    "genlabel-default": Method("mixsk.GenLabelClassifier"),
    "mixup-default": Method("mixsk.MixupClassifier"),
    "plain-default": Method("mixsk.MixupClassifier", {"mix": None}),
    "genlabel-single": Method("mixsk.GenLabelClassifier", SINGLE),
    "mixup-single": Method("mixsk.MixupClassifier", SINGLE),
}

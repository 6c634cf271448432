"""What we advise for tables, to be set beside other classifiers' defaults.

    mixsk bench run --suite benchmarks/tables/confirm.toml --methods benchmarks/tables/defaults.py \\
        --out runs/confirm
    python benchmarks/tables/compare.py runs/confirm --peers FOLDER
"""

from mixsk.bench import Method

BAGGED = {"n_cv": 5, "calibrate": True}  # what is "auto" up to 10 000 rows
SINGLE = {"n_cv": 1, "calibrate": False}

METHODS = {
    "genlabel-bagged": Method("mixsk.GenLabelClassifier", BAGGED),
    "mixup-bagged": Method("mixsk.MixupClassifier", BAGGED),
    "plain-bagged": Method("mixsk.MixupClassifier", BAGGED | {"mix": None}),
    "genlabel-single": Method("mixsk.GenLabelClassifier", SINGLE),
    "mixup-single": Method("mixsk.MixupClassifier", SINGLE),
}

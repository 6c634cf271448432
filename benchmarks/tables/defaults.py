"""What we advise for tables, to be set beside other classifiers' defaults.

    mixsk bench run --suite benchmarks/tables/confirm.toml --methods benchmarks/tables/defaults.py \\
        --out runs/confirm
    python benchmarks/tables/compare.py runs/confirm --peers FOLDER
"""

from mixsk.bench import Method

TABLE = {"module": "table"}

METHODS = {
    "mixup-table": Method("mixsk.MixupClassifier", TABLE),
    "mixup-table-calibrated": Method("mixsk.MixupClassifier", TABLE | {"calibrate": True}),
    "mixup-table-4-members": Method("mixsk.MixupClassifier", TABLE | {"n_members": 4}),
    "genlabel-table": Method("mixsk.GenLabelClassifier", TABLE),
    "plain-table": Method("mixsk.MixupClassifier", TABLE | {"mix": None}),
    "mixup-mlp": Method("mixsk.MixupClassifier"),
}

"""The defaults on tables of many rows, beside scikit-learn's gradient boosting.

    mixsk bench run --suite benchmarks/tables/large.toml --methods boosting,benchmarks/tables/large.py \\
        --protocol holdout --out runs/large
"""

from mixsk.bench import Method

METHODS = {"mixup-single": Method("mixsk.MixupClassifier", {"n_cv": 1, "calibrate": False})}

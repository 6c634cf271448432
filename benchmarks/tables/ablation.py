"""What the default network and the default mixing for tables were chosen from.

    mixsk bench run --suite benchmarks/tables/choose.toml --methods benchmarks/tables/ablation.py \\
        --out runs/ablation
"""

from mixsk.bench import Method

SINGLE = {"n_cv": 1, "calibrate": False}
TABLE = SINGLE | {"module": "table", "activation": "silu", "mix": "linear", "weight_decay": 0.3}
COLUMNS = TABLE | {"mix": "columns", "alpha": 0.4}


def _method(base, **own):
    return Method("mixsk.MixupClassifier", base | own)


METHODS = {
    "mlp": _method({"module": "mlp"}, mix=None),
    "mlp-linear": _method({"module": "mlp"}, mix="linear"),
    "mlp-columns": _method({"module": "mlp"}, mix="columns"),
    "plain": _method(TABLE, mix=None),
    "linear-1": _method(TABLE),
    "linear-.4": _method(TABLE, alpha=0.4),
    "columns-.2": _method(COLUMNS, alpha=0.2),
    "columns-.4": _method(COLUMNS),
    "columns-1": _method(COLUMNS, alpha=1.0),
    "any-site-.4": _method(TABLE, mix_at="any", alpha=0.4),
    "columns-clean": _method(COLUMNS, clean_weight=1),
    "columns-relu": _method(COLUMNS, activation="relu"),
    "columns-decay-.1": _method(COLUMNS, weight_decay=0.1),
    "columns-decay-1": _method(COLUMNS, weight_decay=1.0),
    "columns-lr-.003": _method(COLUMNS, lr=0.003),
    "columns-256": _method(COLUMNS, hidden=(256, 256)),
    "columns-dropout": _method(COLUMNS, dropout=0.1),
    "columns-4-members": _method(COLUMNS, n_members=4),
    "columns-smoothing": _method(COLUMNS, label_smoothing=0.05),
    "columns-per-row": _method(COLUMNS, lam_per="sample"),
}

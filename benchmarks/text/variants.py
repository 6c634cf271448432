"""What parts of AMP are worth (the AMP paper's Table 4), and alpha (its Table 5), beside `amp.py`'s methods.

    mixsk bench run --suite benchmarks/text/trec.toml --methods benchmarks/text/variants.py \\
        --seeds 5 --data FOLDER --out runs/text-variants
    python benchmarks/errors.py runs/text-amp runs/text-variants

Table 4: "cnn-word" and "cnn-sent" of `amp.py` are the paper's +RandOp, "cnn-word-max" and
"cnn-sent-max" its +MaxOp.
"""

from amp import _amp, _mixup

METHODS = {"cnn-word-max": _amp("embedding", select="ascent"), "cnn-sent-max": _amp("last", select="ascent")}
for alpha in (0.2, 0.5, 1.5):
    METHODS[f"cnn-word-{alpha}"] = _mixup("embedding", alpha=alpha)
    METHODS[f"cnn-word-amp-{alpha}"] = _amp("embedding", alpha=alpha)

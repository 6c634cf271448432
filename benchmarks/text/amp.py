"""AMP and mixup on words and sentences, vanilla training beside them, as the AMP paper compares them.

    mixsk bench run --suite benchmarks/text/amp.toml --methods benchmarks/text/amp.py \\
        --seeds 5 --data FOLDER --out runs/text-amp
    mixsk bench run --suite benchmarks/text/subj.toml --methods benchmarks/text/amp.py \\
        --protocol holdout --test-size .1 --repeats 5 --data FOLDER --out runs/text-subj
    python benchmarks/errors.py runs/text-amp runs/text-subj

The network is the paper's CNN with random vectors; up to 2000 steps, which end when the log loss of the
development rows has not fallen for five epochs.
"""

from mixsk.bench import Method

SHARED = {"module": "textcnn", "early_stopping": True, "n_iter_no_change": 5}


def _mixup(site, **own):
    """Mixup as AMP draws it: lam ~ Beta(1, 1) for each row."""
    return Method("mixsk.MixupClassifier", SHARED | {"mix_at": site, "alpha": 1, "lam_per": "sample"} | own)


def _amp(site, **own):
    return Method("mixsk.AMPClassifier", SHARED | {"mix_at": site} | own)


METHODS = {
    "cnn": Method("mixsk.MixupClassifier", SHARED | {"mix": None}),
    "cnn-word": _mixup("embedding"),
    "cnn-word-amp": _amp("embedding"),
    "cnn-sent": _mixup("last"),
    "cnn-sent-amp": _amp("last"),
}

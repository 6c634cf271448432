"""ResNet-18 on 7000 images of CIFAR-10: the first methods of `few.py`, on a GPU.

    mixsk bench run --suite benchmarks/images/cifar.toml --methods benchmarks/images/cifar.py \\
        --device cuda --jobs 1 --data FOLDER --out runs/images-cifar
    python benchmarks/errors.py runs/images-cifar --against resnet18-vanilla resnet18-mixup \\
        --out benchmarks/results/images/cifar.csv

Random crops and flips, 200 epochs in bf16, the network's own optimiser and schedule. `--seeds 3` goes on
where one seed ended.
"""

from few import methods

from mixsk.encoding import Augment, ImageEncoder

FIRST = ("vanilla", "mixup", "ic-regmixup", "lamix")
METHODS = methods(
    "resnet18",
    encoder=ImageEncoder(augment=Augment(crop=4, flip=True)),
    early_stopping=False,
    max_epochs=200,
    amp="bf16",
)
METHODS = {f"resnet18-{name}": METHODS[f"resnet18-{name}"] for name in FIRST}

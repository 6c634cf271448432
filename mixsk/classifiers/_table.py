"""The parameters of every classifier: default, allowed values and documentation, each in one place.

A classifier's `__init__` lists its parameters; `document` gives it the constraints and the docstring
text from this table, so that a name means the same everywhere.
"""

from __future__ import annotations

import inspect
from numbers import Integral, Real
from os import PathLike
from typing import Any, NamedTuple, TypeVar

from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    Options,
    StrOptions,
)
from torch import nn, optim
from torch.optim import Optimizer

from mixsk.backbones import ACTIVATIONS, BACKBONES
from mixsk.densities import DENSITIES
from mixsk.encoding import ImageEncoder, PassthroughEncoder, TableEncoder, TextEncoder
from mixsk.engine import SCHEDULES
from mixsk.rules import MASKS, TARGETS
from mixsk.rules.amp import REDUCTIONS, SELECTS
from mixsk.rules.draw import PAIRS
from mixsk.rules.genlabel import PRIORS
from mixsk.rules.infinite import AXES
from mixsk.rules.latent import HEADS

ENCODERS = {"auto": TableEncoder, "passthrough": PassthroughEncoder}
# What "auto" is for a network that reads these.
OF_INPUTS = {"table": TableEncoder, "text": TextEncoder, "image": ImageEncoder}
OPTIMIZERS = {"adam": optim.Adam, "adamw": optim.AdamW, "sgd": optim.SGD}
POSITIVE = Interval(Real, 0, None, closed="neither")
NOT_NEGATIVE = Interval(Real, 0, None, closed="left")
SHARE = Interval(Real, 0, 1, closed="both")
COUNT = Interval(Integral, 1, None, closed="left")


class _SubclassOf(Options):
    """Constraint: a subclass of one class."""

    def __init__(self, base: type) -> None:
        super().__init__(type, set())
        self.base = base

    def is_satisfied_by(self, val: Any) -> bool:
        return isinstance(val, type) and issubclass(val, self.base)

    def __str__(self) -> str:
        return f"a subclass of {self.base.__module__}.{self.base.__qualname__}"


class Parameter(NamedTuple):
    """One row of the table."""

    default: Any
    allowed: list[Any]
    doc: str


def _names(table: Any) -> str:
    return "{" + ", ".join(f'"{name}"' for name in sorted(table)) + "}"


DENSITY = """Class-conditional density of the rows: a Gaussian per class, Gaussian kernels on its rows, the
    distance to its nearest row ("nn"), or the label of the nearest row alone ("nn-label"); or an object
    with `fit(Z, y)` and `log_prob(z) -> (n, n_classes)`, such as `mixsk.densities.KDE(bandwidth=0.5)`."""

PARAMETERS: dict[str, Parameter] = {
    "module": Parameter(
        "table",
        [StrOptions(set(BACKBONES)), nn.Module, _SubclassOf(nn.Module)],
        f"""{_names(BACKBONES)}, nn.Module class or instance, default="table"
    The network. For tables: logistic regression, a multi-layer perceptron, or ("table") one behind learnt
    feature scales that is trained by AdamW with much weight decay, and from 9 000 training rows on (10 000
    with those for early stopping) also sees how far each number is through its bins of equally many rows
    (`module__bins`: 128 for each number, 1024 for all; 0 none). For text: "textcnn" and "bilstm" on vectors
    of words (`module__embeddings`: a file in GloVe's format), "transformer" any encoder of Hugging Face
    (`module__name_or_path`); their parameters are those of `mixsk.backbones.TextCNN`, `BiLSTM` and
    `Transformer`, as `module__*`. For images: "lenet", and in their forms for small images residual
    networks ("resnet18", "resnet34", "resnet50", "preact_resnet18"), wide ones ("wrn16_8", "wrn28_10") and
    "densenet121". A class is called with the `module__*` parameters and, if its constructor has them,
    `n_features` (for images the channels) and `n_classes`; an instance is copied with its weights. Both map
    (B, n_features), or (B, C, H, W), to logits (B, n_classes) and are mixed at their input;
    `mixsk.backbones.Staged(module, sites=[...])` names stages of a network of images that are mixed, too.""",
    ),
    "hidden": Parameter(
        (128, 128),
        [tuple, list],
        """tuple of int, default=(128, 128)
    Widths of the hidden layers of "mlp" and "table".""",
    ),
    "activation": Parameter(
        "relu",
        [StrOptions(set(ACTIVATIONS))],
        f"""{_names(ACTIVATIONS)}, default="relu"
    Activation of the hidden layers of "mlp" and "table".""",
    ),
    "dropout": Parameter(
        0,
        [Interval(Real, 0, 1, closed="left")],
        """float in [0, 1), default=0
    Dropout after the hidden layers of "mlp" and "table".""",
    ),
    "encoder": Parameter(
        "auto",
        [StrOptions(set(ENCODERS)), HasMethods(["fit", "transform"])],
        """{"auto", "passthrough"} or transformer, default="auto"
    How X becomes numbers: `mixsk.encoding.TableEncoder()` (standardised numbers, one-hot
    categories, missing indicators) or, for a network of text, `mixsk.encoding.TextEncoder()` (codes of
    words, of the pretrained model's own tokeniser for "transformer"), for one of images
    `mixsk.encoding.ImageEncoder()` (pixels, normalised by channel), as for a module of your own where X
    has the form of images; X as it is; or a transformer of your own. It is fitted to all rows, one
    of texts without those held out for early stopping.""",
    ),
    "mix": Parameter(
        "linear",
        [StrOptions(set(MASKS)), None, callable],
        f"""{_names(MASKS)}, None or callable, default="linear"
    How the two rows of a pair are mixed: all entries alike, at one half, column by column, or
    ("nonlinear") each entry of vectors of words or of a hidden stage with a share of its own; of images
    also a box of one in the other ("cutmix") or the salient blocks of both ("puzzle").
    None trains without mixing. A callable is a mask `(h, lam, noise, extra) -> (m, share)`.""",
    ),
    "mix_at": Parameter(
        "input",
        [
            StrOptions({"input", "embedding", "hidden", "any", "last"}),
            Interval(Integral, 0, None, closed="left"),
            list,
            tuple,
        ],
        """{"input", "embedding", "hidden", "any", "last"}, int or list of int, default="input"
    Stage of the network that is mixed: "hidden" draws one hidden stage a batch, "any" one of the
    input and the hidden stages (manifold mixup; of our networks of images the first two), "last" is the last
    hidden stage; numbers count
    the stages from 0, the input. Of text the "input" is the vectors of words, "embedding", which is
    stage 1 (word mixup), and "last" the vector of the sentence (sentence mixup).""",
    ),
    "alpha": Parameter(
        None,
        [None, POSITIVE],
        """float > 0 or None, default=None
    lam ~ Beta(alpha, alpha); with `mix="nonlinear"` the share of each entry. None takes the papers'
    value: 20 with a `clean_weight` (RegMixup), 2 where a hidden stage is mixed (manifold mixup), 0.2 for
    Infinite Class Mixup, 1 otherwise; with `mix="auto"` the network's own.""",
    ),
    "lam_per": Parameter(
        None,
        [None, StrOptions({"batch", "sample"})],
        """{"batch", "sample"} or None, default=None
    One lam a batch or one a row. None takes the method's own: "sample" for AMP and AdaMixUp, else "batch".
    Without effect where each entry has its own, `mix="nonlinear"`.""",
    ),
    "pair": Parameter(
        "any",
        [StrOptions(set(PAIRS))],
        """{"any", "other_class", "same_class"}, default="any"
    Which row of the batch a row is mixed with; a row without such a partner is left alone.""",
    ),
    "mix_prob": Parameter(
        1,
        [SHARE],
        """float in [0, 1], default=1
    Share of the batches that are mixed.""",
    ),
    "mix_off": Parameter(
        0,
        [SHARE],
        """float in [0, 1], default=0
    Share of the last of `max_epochs` that are trained without mixing; early stopping may end
    training before them.""",
    ),
    "label": Parameter(
        "linear",
        [StrOptions(set(TARGETS)), callable],
        f"""{_names(TARGETS)} or callable, default="linear"
    Label of a mixed row. "nonlinear" is "linear" plus a loss that puts the row's features near a
    mixture of learnt label vectors: with `mix="nonlinear"` non-linear mixup. A callable is a target
    `(y, perm, share, lam, taps, state) -> (t, w)`, such as `mixsk.rules.Remix(kappa=2)`.""",
    ),
    "label_smoothing": Parameter(
        0,
        [Interval(Real, 0, 1, closed="left")],
        """float in [0, 1), default=0
    Share of every label that is spread evenly over the classes.""",
    ),
    "drop_intrusions": Parameter(
        False,
        ["boolean", StrOptions({"last"})],
        """bool or "last", default=False
    Drop mixed rows whose nearest training row has the label of neither parent (manifold
    intrusion, GenLabel paper, Definition 1). "last": whose nearest row among the features of the
    batch's own rows, at the last hidden stage; then rows may be mixed anywhere.""",
    ),
    "clean_weight": Parameter(
        0,
        [NOT_NEGATIVE],
        """float >= 0, default=0
    Weight of the cross entropy of the unmixed batch, added to the mixed loss (RegMixup: 1).""",
    ),
    "density": Parameter(
        "gm",
        [StrOptions(set(DENSITIES)), HasMethods(["fit", "log_prob"])],
        f"""{_names(DENSITIES)} or object, default="gm"
    {DENSITY}""",
    ),
    "density_at": Parameter(
        "input",
        [StrOptions({"input", "last"}), Interval(Integral, 0, None, closed="left")],
        """{"input", "last"} or int, default="input"
    What the density describes: the encoded rows, or the output of a stage of the network.""",
    ),
    "density_schedule": Parameter(
        "once",
        [StrOptions({"once", "warmup", "online"})],
        """{"once", "warmup", "online"}, default="once"
    When the density is fitted: once before training, to the input; once after a warm-up, to
    features, whereupon only what lies above them is trained; or with every batch, as Gaussians
    of the features.""",
    ),
    "warmup": Parameter(
        0.2,
        [Interval(Real, 0, 1, closed="neither")],
        """float in (0, 1), default=0.2
    Share of `max_epochs` trained without mixing before features are described.""",
    ),
    "head": Parameter(
        "fresh",
        [StrOptions(set(HEADS))],
        """{"fresh", "keep"}, default="fresh"
    Whether what lies above the features starts anew after the warm-up.""",
    ),
    "memory": Parameter(
        0.9,
        [Interval(Real, 0, 1, closed="left")],
        """float in [0, 1), default=0.9
    Weight of the old means and variances when an online density meets a batch.""",
    ),
    "gamma": Parameter(
        0.5,
        [SHARE],
        """float in [0, 1], default=0.5
    Weight of the density's posterior in the label; 0 is mixup. `density="nn-label"` has 1.""",
    ),
    "top_k": Parameter(
        None,
        [None, COUNT],
        """int or None, default=None
    Keep only the k likeliest classes of the posterior. None: all, or 2 if the density is online.""",
    ),
    "class_prior": Parameter(
        "train",
        [StrOptions(set(PRIORS))],
        """{"train", "uniform"}, default="train"
    Class prior of the densities' posterior, or of Infinite Class Mixup's scores: the training
    frequencies, or equal ones, which is the papers' form.""",
    ),
    "max_density_rows": Parameter(
        20_000,
        [COUNT],
        """int >= 1, default=20000
    Rows that a density of kernels or neighbours keeps, if it is given by name: of more, a random
    share of each class, with a warning.""",
    ),
    "axis": Parameter(
        "both",
        [StrOptions(set(AXES))],
        """{"class", "pair", "both"}, default="both"
    What a mixed row is told from: the classes of the batch's other rows, those rows, or both.""",
    ),
    "epsilon": Parameter(
        0.002,
        [NOT_NEGATIVE],
        """float >= 0, default=0.002
    How far lam is moved, times its clipped slope; 0 leaves it as drawn.""",
    ),
    "reduction": Parameter(
        "sum",
        [StrOptions(set(REDUCTIONS))],
        """{"mean", "sum"}, default="sum"
    Slope of each row's own loss, or of the batch mean as in the released code, which moves lam
    next to nothing.""",
    ),
    "share_noise": Parameter(
        True,
        ["boolean"],
        """bool, default=True
    Whether the losses that are compared see the same dropout masks.""",
    ),
    "select": Parameter(
        "max",
        [StrOptions(set(SELECTS))],
        """{"ascent", "max"}, default="max"
    Train each row on the larger of its losses at the drawn and at the moved lam, or always on
    the latter.""",
    ),
    "reweight": Parameter(
        False,
        ["boolean"],
        """bool, default=False
    Give more weight to the rows whose loss the move raised most, as the released code can.""",
    ),
    "local_share": Parameter(
        0.5,
        [SHARE],
        """float in [0, 1], default=0.5
    Weight of the two rows' labels in the target; the rest is the learnt label.""",
    ),
    "detach_target": Parameter(
        False,
        ["boolean"],
        """bool, default=False
    Whether the target is a constant; then the head that makes it is not trained.""",
    ),
    "global_on_clean": Parameter(
        True,
        ["boolean"],
        """bool, default=True
    Whether clean batches have their share of the learnt label too.""",
    ),
    "optimizer": Parameter(
        "auto",
        [StrOptions({"auto", *OPTIMIZERS}), _SubclassOf(Optimizer)],
        """{"auto", "adam", "adamw", "sgd"} or torch.optim.Optimizer class, default="auto"
    More of its parameters as `optimizer__*`. Here and below "auto" is the network's own: for
    "table" "adamw", lr 0.01 (0.007 from 9 000 training rows on), a weight decay of 300 over the number
    of training rows, at most 3, "onecycle", 128 rows a step (more from 128 000 rows on, so that an epoch
    has 1000 steps) and as many epochs as make 600 steps, at least 40 (of very many rows, 20 000 steps).
    For networks of images "sgd" with a momentum of 0.9 and Nesterov's step, 0.1, 0.0005, "cosine", 128 and
    100; for "lenet" "adamw", 0.01, 0.01, "onecycle", 128 and 600 steps, at least 12 epochs. For others
    "adam", 0.001, 0.0001, None, 128 and 100, or what their class says in `trained_with`, a
    `mixsk.backbones.Training`. Beside another optimiser than the network's own, lr and weight decay
    are 0.001 and 0.0001.""",
    ),
    "lr": Parameter(
        "auto",
        [POSITIVE, StrOptions({"auto"})],
        """float > 0 or "auto", default="auto"
    Learning rate.""",
    ),
    "weight_decay": Parameter(
        "auto",
        [NOT_NEGATIVE, StrOptions({"auto"})],
        """float >= 0 or "auto", default="auto"
    Weight decay of the optimiser (L2 for "adam" and "sgd", decoupled for "adamw").""",
    ),
    "schedule": Parameter(
        "auto",
        [None, StrOptions({"auto", *SCHEDULES}), callable],
        """{"auto", "cosine", "onecycle", "step"}, callable or None, default="auto"
    Learning-rate schedule over `max_epochs`; a callable gets the optimiser and returns a torch
    scheduler, stepped once an epoch.""",
    ),
    "batch_size": Parameter(
        "auto",
        [COUNT, StrOptions({"auto"})],
        """int >= 1 or "auto", default="auto"
    Rows a step, at most: the batches of an epoch are as few as this allows, and alike in size;
    of more than one row.""",
    ),
    "accumulate": Parameter(
        1,
        [COUNT],
        """int >= 1, default=1
    Batches whose gradients are averaged for one step of the optimiser, of an epoch's last the rest.
    That is a step on their mean loss, in the memory of one of them; where rows see the others of their
    batch (batch normalisation, Infinite Class Mixup, pairs and lam of the mixing itself) it is not the
    same as one larger batch. LaMix mixes every other batch, not every other step.""",
    ),
    "ema": Parameter(
        None,
        [None, Interval(Real, 0, 1, closed="neither")],
        """float in (0, 1) or None, default=None
    Decay of an exponential moving average of the network's weights, moved after each step: about the
    mean of the last 1 / (1 - ema) of them. At step n it is min(ema, (1 + n) / (10 + n)), as in
    TensorFlow's `ExponentialMovingAverage`, so that the first weights do not outlast a short training.
    Validation, early stopping and predictions use the average, running statistics of batch normalisation
    included. `partial_fit` goes on from the weights behind
    it, and with the same average; `warm_start`, or a `partial_fit` after a pickle or `set_params`,
    goes on from the average.""",
    ),
    "max_epochs": Parameter(
        "auto",
        [COUNT, StrOptions({"auto"})],
        """int >= 1 or "auto", default="auto"
    Passes over the training rows.""",
    ),
    "time_limit": Parameter(
        None,
        [None, POSITIVE],
        """float > 0 or None, default=None
    Seconds after which training stops; what is trained by then is kept.""",
    ),
    "checkpoint": Parameter(
        None,
        [None, str, PathLike],
        """str, path or None, default=None
    File into which training is written after each epoch. A `fit` with the same parameters and data
    that finds it goes on where it ends, and gives what it would have given without the interruption (on
    the CPU bit for bit); after one that was finished it gives its result at once, after one that
    `time_limit` ended it trains on from the last whole epoch. Choices and folds are made again. What only
    says where and how long (`device`, `n_threads`, `time_limit`, `verbose`, `callbacks`, and
    `max_epochs` without `schedule` and `mix_off`) may change. The file belongs to one fit: any other, as in
    a search or a cross-validation, is refused and leaves it alone. Without a seed, or with a
    RandomState, the file's seed is used. Data are compared by number, labels and some values; images of
    a Dataset, which may be read otherwise each time, by number, size and labels. A module that is no
    class but an object is compared by its structure and its weights, which must be the same anew. What
    callbacks, or rules of your own, remember is not written.
    Not for `warm_start`, `partial_fit` and `density_schedule="warmup"`.""",
    ),
    "early_stopping": Parameter(
        "auto",
        [StrOptions({"auto"}), "boolean"],
        """bool or "auto", default="auto"
    Stop when the log loss of held-out clean rows no longer falls, and restore the best epoch's
    weights. "auto": from 1000 training rows on, or if `X_val` is given; with "table" from 5000 on, with
    our networks of images only if it is. With "table", the networks of text and "lenet" all epochs run
    before the best one's weights are restored.""",
    ),
    "validation_fraction": Parameter(
        0.1,
        [Interval(Real, 0, 1, closed="neither")],
        """float in (0, 1), default=0.1
    Share of the rows held out for early stopping, stratified; every class keeps a training row.""",
    ),
    "n_iter_no_change": Parameter(
        10,
        [COUNT],
        """int >= 1, default=10
    Epochs without improvement before training stops early.""",
    ),
    "class_weight": Parameter(
        None,
        [None, StrOptions({"balanced"}), dict],
        """{"balanced"}, dict or None, default=None
    Weights of the classes, `{label: weight}`; "balanced": n / (n_classes * class count).""",
    ),
    "n_members": Parameter(
        1,
        [COUNT],
        """int >= 1, default=1
    Networks trained as one program, each with its own weights, order of rows and draws; their
    probabilities are averaged. Of our networks of tables; others have no more than 1.""",
    ),
    "n_cv": Parameter(
        "auto",
        [COUNT, StrOptions({"auto"})],
        """int >= 1 or "auto", default="auto"
    Above 1, cross-fitted bagging: the training rows are cut into as many stratified folds (fewer if
    no class has as many rows), and each network is trained on all folds but one; their
    probabilities are averaged. With `n_members`, so many networks a fold; of our networks of tables
    only. "auto" is the network's own: 5 for "table" and up to 10 000 rows of X, else 1. It is 1 also
    with `warm_start`, in a first `partial_fit`, and where a method's rules know of one set of training
    rows only. A `partial_fit` after `fit` trains every network on the new rows.""",
    ),
    "calibrate": Parameter(
        "auto",
        ["boolean", StrOptions({"auto"})],
        """bool or "auto", default="auto"
    Divide the logits by a temperature with which predictions of held-out rows have the least log
    loss. With `n_cv` above 1 the networks' own folds are held out; else it is found by 5-fold
    cross-validation, which takes another two to five times the time. "auto": with `n_cv` above 1,
    where it costs nothing.""",
    ),
    "device": Parameter(
        "auto",
        [str],
        """str, default="auto"
    "cpu", "cuda", "cuda:1", "mps"; "auto" takes CUDA if there is any, else the CPU.""",
    ),
    "dtype": Parameter(
        "float32",
        [StrOptions({"float32", "float64"})],
        """{"float32", "float64"}, default="float32"
    Of the inputs and weights.""",
    ),
    "amp": Parameter(
        None,
        [None, StrOptions({"bf16", "fp16"})],
        """{"bf16", "fp16"} or None, default=None
    Automatic mixed precision of the forward pass. `AMPClassifier`, whose losses differ in digits that it
    rounds away, refuses it.""",
    ),
    "n_threads": Parameter(
        None,
        [None, COUNT],
        """int or None, default=None
    Torch threads during fit and predict; the old number is restored. None leaves it alone.""",
    ),
    "random_state": Parameter(
        None,
        ["random_state"],
        """int, RandomState instance or None, default=None
    Seeds the weights, the order of the rows, the draws and what augments images, each its own stream.
    The global random state is never touched.""",
    ),
    "verbose": Parameter(
        0,
        ["verbose"],
        """int, default=0
    1 prints a line per epoch.""",
    ),
    "warm_start": Parameter(
        False,
        ["boolean"],
        """bool, default=False
    A further `fit` goes on from the weights (and encoder) of the one before.""",
    ),
    "callbacks": Parameter(
        None,
        [None, list],
        """list of skorch callbacks or None, default=None
    skorch callbacks, or pairs (name, callback), notified while training. They are copied:
    `net_.callbacks_` holds those that ran.""",
    ),
}


MIX_OR_AUTO = Parameter(
    "auto",
    [StrOptions({"auto", *MASKS}), None, callable],
    f"""{_names({"auto", *MASKS})}, None or callable, default="auto"
    How the two rows of a pair are mixed: all entries alike, at one half, column by column, or
    ("nonlinear") each entry of vectors of words or of a hidden stage with a share of its own; of images
    also a box of one in the other ("cutmix") or the salient blocks of both ("puzzle").
    "auto" is "columns" at the input of "table", with alpha 0.4 up to 500 training rows, the less the
    more rows there are (0.4 times the root of 500 over them) and 0.01 from 9 000 on, else "linear". None
    trains without mixing. A callable is a mask `(h, lam, noise, extra) -> (m, share)`.""",
)

# Where a class allows more than the others do: {class: {parameter: row}}.
OWN = {
    "MixupClassifier": {"mix": MIX_OR_AUTO},
    "GenLabelClassifier": {
        "mix": MIX_OR_AUTO,
        "density": Parameter(
            "auto",
            [StrOptions({*DENSITIES, "auto", "cv"}), HasMethods(["fit", "log_prob"])],
            f"""{_names({*DENSITIES, "auto", "cv"})} or object, default="auto"
    {DENSITY}
    "auto" is "gm" or "kde", whichever tells the classes of held-out rows apart with the lower log
    loss; "cv" the one that does better in cross-validation of this classifier. Of features, and in
    `partial_fit`, "auto" is "gm".""",
        ),
        "gamma": Parameter(
            "auto",
            [SHARE, StrOptions({"auto"})],
            """float in [0, 1] or "auto", default="auto"
    Weight of the density's posterior in the label; 0 is mixup. `density="nn-label"` has 1. "auto" is
    its weight in the best mixture with mixup's predictions for held-out rows (with `density="auto"` and
    no more rows than numbers in each, 0 at once); 0.2 online; 0.5 of other features, in `partial_fit`,
    with a module of your own and with `drop_intrusions="last"`.""",
        ),
    },
}


def _row(cls: type, name: str) -> Parameter:
    return OWN.get(cls.__name__, {}).get(name, PARAMETERS[name])


def _doc(row: Parameter, default: Any) -> str:
    """The parameter's text, with the class's own default where it has one."""
    usual, own = (f"default={value!r}".replace("'", '"') for value in (row.default, default))
    return row.doc if own == usual else row.doc.replace(usual, own, 1)


C = TypeVar("C", bound=type)


def document(cls: C) -> C:
    """Class decorator: constraints, and the text for `{parameters}` in the docstring, from the table."""
    signature = inspect.signature(cls)
    named = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    # scikit-learn's checks call a class with every name of its signature, `kwargs` among them.
    cls.__signature__ = signature.replace(parameters=named)
    rows = {p.name: _row(cls, p.name) for p in named}
    cls._parameter_constraints = {name: row.allowed for name, row in rows.items()}
    text = "\n".join(f"{p.name} : {_doc(rows[p.name], p.default)}" for p in named)
    cls.__doc__ = inspect.cleandoc(cls.__doc__ or "").replace("{parameters}", text)
    return cls

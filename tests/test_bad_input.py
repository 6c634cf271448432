"""Every bad input gets one clear error before any training: what was given, what is allowed, what to do.

An awkward table that can be learnt gets finite probabilities from the defaults.
"""

import datetime
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import Dataset, IterableDataset

from mixsk import (
    AdaMixupClassifier,
    AMPClassifier,
    GenerativeClassifier,
    GenLabelClassifier,
    MixupClassifier,
)
from mixsk.backbones import Staged, TextCNN, Transformer
from mixsk.densities import GM
from mixsk.encoding import Augment, ImageEncoder, TextEncoder
from mixsk.rules import GenLabel, Logistic, PuzzleMix, Remix


def rows():
    rng = np.random.default_rng(0)
    return rng.normal(size=(30, 3)), np.arange(30) % 3


X, Y = rows()
WITH_INFINITY = np.where(np.arange(90).reshape(30, 3) == 4, np.inf, X)


class Wide(nn.Module):
    """A network whose output has one column too many."""

    def __init__(self, n_features, n_classes):
        super().__init__()
        self.layer = nn.Linear(n_features, n_classes + 1)

    def forward(self, x):
        return self.layer(x)


class Broken(nn.Module):
    """A network that expects other inputs."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(7, 3)

    def forward(self, x):
        return self.layer(x)


class NotADensity:
    """Gives NaN."""

    def fit(self, Z, y):
        self.n_classes = y.max() + 1
        return self

    def log_prob(self, z):
        return np.full((len(z), self.n_classes), np.nan)


# (parameters, X, y, other arguments of fit, error, words of the message)
DATA = [
    ({}, WITH_INFINITY, Y, {}, ValueError, "infinity"),
    ({}, X[:0], Y[:0], {}, ValueError, "0 sample"),
    ({}, X[:, :0], Y, {}, ValueError, "0 feature"),
    ({}, X[:, 0], Y, {}, ValueError, "Reshape your data"),
    ({}, X, np.zeros(30), {}, ValueError, "only one class is present: every row of y is 0.0"),
    ({}, X, Y + 0.5, {}, ValueError, "Unknown label type: continuous"),
    ({}, X, None, {}, ValueError, "requires y to be passed"),
    ({}, X, Y[:-1], {}, ValueError, "inconsistent numbers of samples: [30, 29]"),
    ({}, X, np.where(Y == 1, np.nan, Y), {}, ValueError, "10 rows have no label, the first is row 1"),
    ({}, X, pd.Series(Y).astype("Int64").where(Y != 1), {}, ValueError, "Input y contains NaN"),
    ({}, X, np.eye(3)[Y], {}, ValueError, "y should be a 1d array"),
    ({}, X, Y, {"sample_weight": -np.ones(30)}, ValueError, "30 negative entries, the first at row 0"),
    ({}, X, Y, {"sample_weight": np.zeros(30)}, ValueError, "zero for every row"),
    ({}, X, Y, {"sample_weight": np.full(30, np.nan)}, ValueError, "NaN"),
    ({}, X, Y, {"sample_weight": np.ones(7)}, ValueError, "sample_weight.shape"),
    ({}, X, Y, {"y_val": Y}, ValueError, "need X_val"),
    ({}, X, Y, {"X_val": X}, ValueError, "X_val needs y_val"),
    (
        {},
        X,
        Y,
        {"X_val": X, "y_val": Y + 1},
        ValueError,
        "y_val contains labels that were not seen in fit: [3]",
    ),
    ({}, X, Y, {"X_val": X[:, :2], "y_val": Y}, ValueError, "X has 2 features"),
    ({}, X, Y, {"sample_weight": [None] * 30}, ValueError, "must hold numbers >= 0"),
    ({}, X, ["a", 1] * 15, {}, ValueError, "y mixes text and numbers"),
    ({}, X, Y, {"X_val": X, "y_val": Y.astype(str)}, ValueError, "y_val has labels of dtype <U"),
    ({}, {"a": [1]}, Y, {}, TypeError, "Use pd.DataFrame(X)"),
    ({"encoder": "passthrough"}, np.abs(X) * 1e300, Y, {}, ValueError, "which dtype='float32' cannot hold"),
    (
        {"class_weight": {0: 0.0}},
        X,
        Y,
        {"X_val": X[Y == 0], "y_val": Y[Y == 0]},
        ValueError,
        "leaves no validation row any weight",
    ),
    ({"class_weight": {7: 1.0}}, X, Y, {}, ValueError, "classes that y does not have: [7]"),
    ({"class_weight": {0: -1.0}}, X, Y, {}, ValueError, "finite and >= 0"),
    ({"early_stopping": True}, X[:3], Y[:3], {}, ValueError, "at least two rows"),
]

PARAMETERS = [
    ({"alpha": -1}, "'alpha' parameter of MixupClassifier must be"),
    ({"alpha": 0}, "'alpha' parameter"),
    ({"alpha": float("nan")}, "'alpha' parameter"),
    ({"mix": "cutmx"}, "'mix' parameter"),
    ({"mix_at": -1}, "'mix_at' parameter"),
    ({"mix_at": 3}, "use 0 (the input) to 2 (its last hidden stage)"),
    ({"mix_at": []}, "is not a list of this network's stages"),
    ({"mix_at": "embedding"}, "needs a network that embeds its input"),
    ({"lr": 0}, "'lr' parameter"),
    ({"batch_size": 0}, "'batch_size' parameter"),
    ({"label_smoothing": 1.0}, "'label_smoothing' parameter"),
    ({"hidden": (8, 0)}, "hidden must be a tuple of layer widths"),
    ({"hidden": ()}, "Use module='linear'"),
    ({"module": "mpl"}, "'module' parameter"),
    ({"module": Wide}, "gave (2, 4) for 2 rows of 3 classes"),
    ({"module": Broken}, "must map (B, 3) to logits (B, 3)"),
    ({"module__norm": "batch"}, "must be None or 'layer'"),
    ({"module__nrm": None}, "module__nrm has no effect with module='table'"),
    ({"module__hidden": (3,)}, "is the parameter 'hidden'"),
    ({"module": nn.Linear(3, 3), "module__bias": True}, "already built"),
    ({"optimizer__momentm": 0.9, "optimizer": "sgd"}, "did you mean 'optimizer__momentum'"),
    ({"optimizer": torch.optim.LBFGS}, "LBFGS evaluates the loss several times"),
    ({"label": Remix(kappa=1)}, "'kappa' parameter of Remix must be a number in (1"),
    ({"label": Logistic(s2=0)}, "'s2' parameter of Logistic"),
    ({"label": GenLabel(gamma=2)}, "'gamma' parameter of GenLabel"),
    ({"label": GenLabel(density="kd")}, "density='kd' is unknown"),
    ({"label": GenLabel(density=3)}, "an object with fit(Z, y) and log_prob(z)"),
    ({"label": GenLabel(top_k=0)}, "top_k"),
    ({"label": GenLabel(density=NotADensity())}, "NotADensity"),
    ({"device": "cuda:7"}, "was asked for, but torch sees"),
    ({"device": "gpu"}, "is no torch device"),
]


def negative(y, perm, share, lam, taps, state):
    return -y, None


def narrow(y, perm, share, lam, taps, state):
    return y[..., :1], None


def no_pair(y, perm, share, lam, taps, state):
    return y


def wrong_share(h, lam, noise, extra):
    return lam[..., None], lam[:, :1]


PARAMETERS += [
    ({"label": Remix}, "label=Remix is a class: pass an object, label=Remix()"),
    ({"label": negative}, "gave labels that are not finite or below 0"),
    ({"label": narrow}, "gave labels of shape (1, 4, 1), not (1, 4, 3)"),
    ({"label": no_pair}, "failed on a batch of 4 rows"),
    ({"label": lambda y: y}, "failed on a batch of 4 rows"),
    ({"mix": wrong_share}, "gave share of shape (1, 1), not (1, 4)"),
    ({"schedule": lambda optimizer: 3}, "must take the optimiser and return a torch scheduler"),
    ({"schedule": torch.optim.lr_scheduler.ReduceLROnPlateau}, "steps without a metric"),
    ({"callbacks": [3]}, "must be skorch callbacks or pairs"),
    ({"callbacks__stop__patience": 3}, "no callback has that name"),
    ({"module": nn.Identity()}, "has no parameters"),
    ({"batch_size": True}, "batch_size must not be a bool"),
    ({"encoder": StandardScaler}, "encoder=StandardScaler is a class"),
    ({"class_weight": {0: 0.0, 1: 0.0, 2: 0.0}}, "> 0 for a class of y"),
]
ILLEGAL_PAIRS = [
    ({"mix": "columns", "mix_at": "hidden"}, "exchanges parts of the input"),
    ({"mix": "columns", "mix_at": "any"}, "exchanges parts of the input"),
    ({"label": GenLabel(), "mix_at": "last"}, "cannot lie below the site that is mixed"),
    ({"drop_intrusions": True, "mix_at": 1}, "at the input, but mix_at asks for a later stage"),
    ({"module": "linear", "mix_at": "hidden"}, "this module has only its input"),
    ({"module": "linear", "mix_at": "any"}, "this module has only its input"),
    ({"module": "linear", "mix_at": 1}, "use 0 (the input) only"),
]

NO_EFFECT = [
    ({"mix": None, "alpha": 0.5}, "alpha=0.5 has no effect with mix=None"),
    ({"mix": None, "label": "remix"}, "label='remix' has no effect with mix=None"),
    ({"mix": None, "clean_weight": 1}, "clean_weight=1 has no effect with mix=None"),
    ({"mix": None, "drop_intrusions": True}, "drop_intrusions=True has no effect"),
    ({"mix_prob": 0, "pair": "same_class"}, "has no effect with mix_prob=0"),
    ({"mix_off": 1, "alpha": 2}, "has no effect with mix_off=1"),
    ({"mix_prob": 0, "label": "remix"}, "has no effect with mix_prob=0"),
    ({"mix_off": 1, "drop_intrusions": True}, "has no effect with mix_off=1"),
    ({"lr": 0.5, "optimizer__lr": 0.1}, "lr=0.5 has no effect with optimizer__lr"),
    ({"optimizer": torch.optim.Rprop, "weight_decay": 0.5}, "an optimizer that takes none"),
    ({"module": "linear", "dropout": 0.1}, "dropout=0.1 has no effect with a module other than 'mlp'"),
    ({"module": "linear", "hidden": (4,)}, "hidden=(4,) has no effect"),
    ({"early_stopping": False, "n_iter_no_change": 3}, "has no effect with early_stopping=False"),
    ({"optimizer__weight_decay": 0.0, "weight_decay": 0.1}, "has no effect with optimizer__weight_decay"),
]


@pytest.mark.parametrize(("params", "X", "y", "arguments", "error", "words"), DATA)
def test_bad_data(params, X, y, arguments, error, words):
    clf = MixupClassifier(**params)
    with pytest.raises(error) as raised:
        clf.fit(X, y, **arguments)
    assert words in str(raised.value)
    assert not hasattr(clf, "net_")


@pytest.mark.parametrize(("params", "words"), [*PARAMETERS, *ILLEGAL_PAIRS, *NO_EFFECT])
def test_bad_parameters(params, words):
    clf = MixupClassifier(**{"n_cv": 1, **params})
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - the words are compared
        clf.fit(X, Y)
    assert words in str(raised.value)
    assert not hasattr(clf, "net_")


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"gamma": 1.5}, "'gamma' parameter of GenLabelClassifier must be a float in the range [0.0, 1.0]"),
        ({"gamma": -0.1}, "'gamma' parameter"),
        ({"density": "gmm"}, "'density' parameter of GenLabelClassifier"),
        ({"density": GM(reg_covar=-1)}, "reg_covar"),
        ({"density": GM(n_components=0)}, "n_components"),
        ({"top_k": 0}, "'top_k' parameter"),
        ({"class_prior": "equal"}, "'class_prior' parameter"),
        ({"mix": None}, "GenLabelClassifier relabels mixed rows"),
        ({"mix_at": "any"}, "cannot lie below the site that is mixed"),
    ],
)
def test_bad_parameters_of_genlabel(params, words):
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - the words are compared
        GenLabelClassifier(**params).fit(X, Y)
    assert words in str(raised.value)


def test_a_misspelt_parameter_gets_a_suggestion():
    with pytest.raises(TypeError, match="unknown parameter 'alpah', did you mean 'alpha'"):
        MixupClassifier(alpah=1)
    with pytest.raises(TypeError, match="unknown parameter 'gama', did you mean 'gamma'"):
        GenLabelClassifier().set_params(gama=1)


def test_bad_input_to_a_fitted_model_loses_nothing():
    clf = MixupClassifier(max_epochs=2, random_state=0).fit(X, Y)
    before = clf.predict_proba(X)
    for bad_x, bad_y in [(WITH_INFINITY, Y), (X, Y + 0.5), (X, np.zeros(30)), (X[:, :2], Y[:5])]:
        with pytest.raises(ValueError):  # noqa: PT011 - any of the messages above
            clf.fit(bad_x, bad_y)
    with pytest.raises(ValueError, match="infinity"):
        clf.partial_fit(WITH_INFINITY, Y)
    assert_array_equal(clf.predict_proba(X), before)
    assert clf.classes_.tolist() == [0, 1, 2]


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_finite_weights():
    clf = MixupClassifier(lr=1e30, max_epochs=50, random_state=0)
    with pytest.raises(FloatingPointError) as raised:
        clf.fit(X, Y)
    assert "in epoch 1. The likely cause is a learning rate that is too high (lr=1e+30)" in str(raised.value)
    assert "The model keeps the initial weights" in str(raised.value)
    assert np.isfinite(clf.predict_proba(X)).all()
    assert clf.n_iter_ == 1


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"class_weight": "balanced"}, "class_weight='balanced' counts all rows"),
        ({"schedule": "cosine"}, "schedule='cosine' needs the number of epochs"),
        ({"mix_off": 0.2}, "mix_off=0.2 needs the number of epochs"),
        ({"drop_intrusions": True}, "compares with all training rows"),
    ],
)
def test_partial_fit_refuses_what_needs_the_whole_training(params, words):
    with pytest.raises(ValueError, match=words):
        MixupClassifier(**params).partial_fit(X, Y, classes=[0, 1, 2])


def test_partial_fit_needs_the_classes_first_and_the_same_ones_later():
    clf = MixupClassifier()
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        clf.partial_fit(X, Y)
    clf.partial_fit(X, Y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="is not the same as on the last call"):
        clf.partial_fit(X, Y, classes=[0, 1, 2, 3])
    with pytest.raises(ValueError, match=r"labels that were not seen in fit: \[3\]"):
        clf.partial_fit(X, Y + 1)


def test_warm_start_refuses_new_classes():
    clf = MixupClassifier(warm_start=True, max_epochs=1).fit(X, Y)
    with pytest.raises(ValueError, match="labels that were not seen in fit"):
        clf.fit(X, Y + 1)


# --- text ---------------------------------------------------------------------------------------------

TEXTS = ["a great film", "boring", "an awful film"] * 10
CODES = np.arange(60).reshape(30, 2) % 7 + 1
CNN = {"module": "textcnn", "module__n_filters": 3, "max_epochs": 1}
SMALL_CNN = {**CNN, "module__dimension": 4}
ALLOWED = "a list, array or Series of str, a data frame with one column of str, or whole-number codes"


def with_last(row):
    return [*TEXTS[:-1], row]


# (X, other arguments of fit, error, words of the message)
TEXT_DATA = [
    (with_last(None), {}, ValueError, "Row 29 of X is missing (None), but every row must be a string. Drop"),
    (with_last(np.nan), {}, ValueError, "Row 29 of X is missing (nan)"),
    (pd.Series(with_last(None)), {}, ValueError, "put '' in their place, which is a valid text"),
    (with_last(3), {}, TypeError, "Row 29 of X is '3', of type int, but every row must be a string. Convert"),
    (with_last(b"a"), {}, TypeError, "Decode it, for example row.decode('utf-8')"),
    ([text.split() for text in TEXTS], {}, TypeError, "Join a row of words with ' '.join(row)"),
    (list(range(30)), {}, ValueError, "Reshape your data"),
    (X, {}, ValueError, "codes must be whole numbers from 0, which is padding"),
    (-CODES, {}, ValueError, "Negative values in data: X has -1 in row 0, column 0"),
    (CODES / 2, {}, ValueError, "Fractions in data: X has 0.5 in row 0, column 0"),
    (pd.DataFrame({"a": TEXTS, "b": TEXTS}), {}, ValueError, "the columns ['a', 'b'], but a row must be one"),
    ("a great film", {}, ValueError, "X is one string, 'a great film', but must be " + ALLOWED),
    ("a great film", {"sample_weight": np.ones(30)}, ValueError, "For one text use [X]"),
    ({"text": TEXTS}, {}, TypeError, "not a dict. Pass its values"),
    (iter(TEXTS), {}, TypeError, "not a list_iterator. Use list(X)"),
    (set(TEXTS), {}, TypeError, "It has no order: use sorted(X)"),
    (None, {}, TypeError, "X must be " + ALLOWED),
    ([], {}, ValueError, "inconsistent numbers of samples: [0, 30]"),
    (TEXTS[:-1], {}, ValueError, "inconsistent numbers of samples: [29, 30]"),
    (TEXTS, {"sample_weight": np.ones(7)}, ValueError, "sample_weight.shape"),
    (TEXTS, {"X_val": TEXTS[:2]}, ValueError, "X_val needs y_val"),
    (TEXTS, {"X_val": TEXTS[:2], "y_val": [0]}, ValueError, "inconsistent numbers of samples: [2, 1]"),
    (TEXTS, {"X_val": ["a", None], "y_val": [0, 1]}, ValueError, "Row 1 of X is missing"),
    (TEXTS, {"X_val": CODES, "y_val": Y}, ValueError, "X is codes, but TextEncoder was fitted on text"),
    (CODES, {"X_val": CODES[:, :1], "y_val": Y}, ValueError, "X has 1 features"),
]


@pytest.mark.parametrize(("X", "arguments", "error", "words"), TEXT_DATA)
def test_bad_text(X, arguments, error, words):
    clf = MixupClassifier(**SMALL_CNN)
    with pytest.raises(error) as raised:
        clf.fit(X, Y, **arguments)
    assert words in str(raised.value)
    assert not hasattr(clf, "net_")


def test_no_text_and_no_labels_are_no_samples():
    with pytest.raises(ValueError, match=r"0 sample\(s\)"):
        MixupClassifier(**SMALL_CNN).fit([], [])


@pytest.mark.parametrize(
    ("X", "error", "words"),
    [
        ("a great film", ValueError, "For one text use [X]"),
        ([], ValueError, "0 sample(s)"),
        (["a", None], ValueError, "Row 1 of X is missing (None)"),
        (CODES, ValueError, "X is codes, but TextEncoder was fitted on text. Pass text, or fit again."),
    ],
)
def test_bad_text_to_predict(X, error, words):
    clf = MixupClassifier(**SMALL_CNN).fit(TEXTS, Y)
    with pytest.raises(error) as raised:
        clf.predict(X)
    assert words in str(raised.value)


class Alone(nn.Module):
    """A network that looks codes up itself."""

    def __init__(self, n_classes):
        super().__init__()
        self.vectors = nn.Embedding(9, n_classes)

    def forward(self, x):
        return self.vectors(x).mean(1)


OF_FEATURES = {"density_schedule": "online"}
TEXT_PARAMETERS = [
    (MixupClassifier, {"mix": "columns"}, "mix='columns' exchanges columns of a table, and this network's "),
    (MixupClassifier, {"mix_at": 0}, "use 1 (its embeddings: the codes below them cannot be mixed) to 2"),
    (MixupClassifier, {"mix_at": [0, 1]}, "mix_at=[0, 1] is not a list of this network's stages"),
    (MixupClassifier, {"mix_at": 3}, "to 2 (its last hidden stage)"),
    (MixupClassifier, {"drop_intrusions": True}, "Use drop_intrusions='last', which compares features."),
    (
        GenLabelClassifier,
        {},
        "looks at the input, which for this network is codes of words, not numbers.",
    ),
    (GenLabelClassifier, {"density": "kde"}, "Use density_at='last' with density_schedule='online' or "),
    (GenLabelClassifier, {"density": "cv"}, "label=GenLabel looks at the input"),
    (
        GenLabelClassifier,
        {"density_at": 1, **OF_FEATURES},
        "describes the vectors of words, of which",
    ),
    (
        GenLabelClassifier,
        {"density_at": 1, "density_schedule": "warmup"},
        "Use density_at='last', the",
    ),
    (AdaMixupClassifier, {}, "Use another classifier for text, such as AMPClassifier."),
    (AMPClassifier, {"mix": "half"}, "does not change smoothly with lam"),
    (MixupClassifier, {"hidden": (64,)}, "hidden=(64,) has no effect with a module other than 'mlp' and"),
    (MixupClassifier, {"hidden": (64,)}, "(others have module__* parameters)"),
    (MixupClassifier, {"dropout": 0.3}, "(others have module__* parameters)"),
    (MixupClassifier, {"activation": "tanh"}, "activation='tanh' has no effect"),
    (MixupClassifier, {"n_members": 2}, "module='textcnn' has no model axis, so 2 models of it cannot be"),
    (MixupClassifier, {"n_cv": 5}, "so 5 models of it cannot be stacked. Use n_members=1 and n_cv=1."),
    (
        MixupClassifier,
        {"module__filter": (3,)},
        "its constructor takes ['dimension', 'dropout', ",
    ),
    (MixupClassifier, {"module__n_codes": 9}, "module__n_codes has no effect with module='textcnn'"),
    (MixupClassifier, {"module__filters": 3}, "must be sizes of windows, such as (3, 4, 5). Got 3."),
    (MixupClassifier, {"module__filters": (3, 0)}, "module__filters must be an int >= 1. Got 0."),
    (MixupClassifier, {"module__dropout": 1.0}, "module__dropout must be a number in [0, 1). Got 1.0."),
    (MixupClassifier, {"module__dropout": "a"}, "module__dropout must be a number in [0, 1). Got 'a'."),
    (MixupClassifier, {"module__dimension": 0}, "module__dimension must be an int >= 1. Got 0."),
    (
        MixupClassifier,
        {"encoder": "passthrough"},
        "reads codes of words, which encoder='pass",
    ),
    (MixupClassifier, {"encoder": TextEncoder(min_count=99)}, "min_count=99 leaves no word"),
    (MixupClassifier, {"encoder__max_lenght": 9}, "Invalid parameter 'max_lenght' for estimator Text"),
    (
        MixupClassifier,
        {"module__embeddings": 3},
        "must be None, the path of a file in GloVe's",
    ),
    (
        MixupClassifier,
        {"module__embeddings": np.ones((3, 2))},
        "must be an array of numbers (6, E), with",
    ),
    (MixupClassifier, {"module__embeddings": {"great": [1, np.nan]}}, "NaN or infinite numbers. Leave those"),
    (MixupClassifier, {"module__embeddings": {"great": [1, 2], "a": [1]}}, "All must have one length."),
    (
        MixupClassifier,
        {"module__embeddings": {"Great": [1, 2]}},
        "None of the 6 words of the training",
    ),
]


@pytest.mark.parametrize(("cls", "params", "words"), TEXT_PARAMETERS)
def test_bad_parameters_for_text(cls, params, words):
    nested = {name: value for name, value in params.items() if name.startswith("encoder__")}
    clf = cls(**{**CNN, **{name: value for name, value in params.items() if name not in nested}})
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - the words are compared
        clf.set_params(**nested).fit(TEXTS, Y)
    assert words in str(raised.value)
    assert not hasattr(clf, "net_")


@pytest.mark.parametrize(
    ("params", "X", "words"),
    [
        (
            {"module": "mlp", "encoder": TextEncoder()},
            TEXTS,
            "gives codes of words, and 'mlp' does",
        ),
        (
            {"encoder": TextEncoder()},
            CODES,
            "Use module='textcnn', 'bilstm' or 'transformer', or ",
        ),
        ({"module": Alone, "encoder": TextEncoder()}, TEXTS, "gives codes of words"),
        (
            {"module": TextCNN, "encoder": StandardScaler()},
            CODES,
            "which encoder=StandardScaler() does not",
        ),
        ({"module": "mlp", "mix_at": "embedding"}, X, "needs a network that embeds its input"),
    ],
)
def test_networks_and_encoders_that_do_not_go_together(params, X, words):
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - the words are compared
        MixupClassifier(**params).fit(X, Y)
    assert words in str(raised.value)


def test_a_network_that_looks_codes_up_itself_is_trained_without_mixing():
    clf = MixupClassifier(module=Alone, encoder=TextEncoder(), mix=None, max_epochs=2, random_state=0)
    assert np.isfinite(clf.fit(TEXTS, Y).predict_proba(TEXTS)).all()


def test_densities_of_words_are_refused():
    words = r"encoder=TextEncoder\(\) gives codes of words.* Use MixupClassifier with module='textcnn'"
    with pytest.raises(ValueError, match=words):
        GenerativeClassifier(encoder=TextEncoder()).fit(TEXTS, Y)


@pytest.mark.parametrize(
    "texts",
    [TEXTS, with_last(None), tuple(TEXTS), np.array(TEXTS), np.array(TEXTS, object), pd.Series(TEXTS)],
    ids=["list", "missing", "tuple", "array", "objects", "series"],
)
@pytest.mark.parametrize(
    ("clf", "owner", "networks"),
    [
        (MixupClassifier(max_epochs=1, n_cv=1), "module='table'", "module="),
        (MixupClassifier(module="mlp", max_epochs=1), "module='mlp'", "module="),
        (MixupClassifier(encoder="passthrough", max_epochs=1, n_cv=1), "module='table'", "module="),
        (GenerativeClassifier(), "GenerativeClassifier", "MixupClassifier with module="),
    ],
)
def test_texts_to_a_network_of_tables(clf, owner, networks, texts):
    clf = clone(clf)
    words = (
        f"X holds texts, but {owner} reads rows of a table. Use {networks}'textcnn', 'bilstm' or "
        "'transformer'; for one column of categories, pd.DataFrame({'column': X})."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(words)}$"):
        clf.fit(texts, Y)
    with pytest.raises(ValueError, match=f"^{re.escape(words)}$"):
        clf.fit(X, Y).predict(texts)


def test_numbers_in_one_row_are_no_texts():
    for one_axis in (X[:, 0], X[:, 0].tolist(), pd.Series(X[:, 0])):
        with pytest.raises(ValueError, match=r"Expected 2D array|Expected a 2-dimensional container"):
            MixupClassifier().fit(one_axis, Y)


@pytest.fixture
def vectors(tmp_path):
    """A function that writes a file of word vectors and gives its path."""

    def write(content):
        path = tmp_path / "vectors.txt"
        path.write_text(content)
        return str(path)

    return write


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            "great 1 2 3\nfilm 1 2\n",
            "has 2 numbers, not 3 as at its start: 'film 1 2'... Each line must",
        ),
        ("great 1 2\nfilm 1 2 3\n", "has more numbers than the 2 at its start"),
        ("great 1 2\nfilm 1 x\n", "does not end with 2 numbers"),
        ("", "is empty: expected a word and its vector on each line"),
        ("PK\x03\x04", "is a zip archive. Unpack it"),
    ],
)
def test_a_broken_file_of_vectors(vectors, content, words):
    path = vectors(content)
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - the words are compared
        MixupClassifier(**CNN, module__embeddings=path).fit(TEXTS, Y)
    assert words in str(raised.value)
    assert path in str(raised.value)


def test_a_file_of_vectors_of_another_dimension_and_of_words_for_codes(vectors):
    path = vectors("great 1 2 3\n")
    with pytest.raises(ValueError, match=r"module__dimension=4, but .* have 3 numbers each\. Leave module"):
        MixupClassifier(**SMALL_CNN, module__embeddings=path).fit(TEXTS, Y)
    with pytest.raises(ValueError, match=r"X holds codes, whose words are not known\. Pass texts as X, or"):
        MixupClassifier(**CNN, module__embeddings=path).fit(CODES, Y)
    with pytest.raises(FileNotFoundError, match="no file at 'no such file'"):
        MixupClassifier(**CNN, module__embeddings="no such file").fit(TEXTS, Y)


@pytest.fixture
def offline(monkeypatch):
    pytest.importorskip("transformers")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    # The variable is read on import, which may have been before.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


TINY = {
    "model_type": "bert",
    "vocab_size": 3,
    "hidden_size": 4,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 4,
}
BERT = {"module": "transformer", "module__name_or_path": "no/such-model"}


@pytest.mark.parametrize(
    ("params", "X", "words"),
    [
        (BERT, TEXTS, "module__name_or_path='no/such-model' is no folder here"),
        (
            {**CNN, "encoder": TextEncoder(tokenizer="no/such-model")},
            TEXTS,
            "tokenizer='no/such-model' is neither 'words' nor a folder here",
        ),
        (BERT, TEXTS, "set HF_HUB_OFFLINE=1 in the environment to use what was downloaded before"),
        (BERT, TEXTS, "download it elsewhere (`hf download NAME --local-dir FOLDER`)"),
        (BERT, CODES, "Check the spelling"),
    ],
)
def test_a_model_that_cannot_be_downloaded(offline, params, X, words):
    with pytest.raises(OSError, match=re.escape(words)):
        MixupClassifier(**params).fit(X, Y)


@pytest.mark.parametrize(
    ("params", "given"),
    [
        ({"module__name_or_path": "/nope/bert"}, "module__name_or_path='/nope/bert'"),
        (
            {"module__name_or_path": Path("./bert").absolute()},
            f"module__name_or_path='{Path('bert').absolute()}'",
        ),
        ({"encoder": TextEncoder(tokenizer="./bert")}, "tokenizer='./bert'"),
    ],
)
def test_a_folder_that_is_none(params, given):
    pytest.importorskip("transformers")
    with pytest.raises(FileNotFoundError, match=re.escape(f"{given}: there is no such folder. Pass the f")):
        MixupClassifier(module="transformer", **params).fit(TEXTS, Y)


def test_a_network_in_a_folder_that_is_none():
    pytest.importorskip("transformers")
    words = "module__name_or_path='~/bert': there is no such folder. `~` is not replaced"
    with pytest.raises(FileNotFoundError, match=words):
        Transformer(5, 3, n_codes=9, name_or_path="~/bert")


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({}, "needs module__name_or_path, such as 'bert-base-uncased' or a folder, or module__config"),
        ({"module__config": {"hidden_size": 8}}, "module__config needs a 'model_type', such as 'bert'"),
        ({"module__config": 3}, "module__config must be a dict or a configuration of transformers. Got int."),
        ({"module__config": {"model_type": "gpt2"}}, "Use an encoder, such as a BERT"),
        ({"module__config": TINY}, "X has codes up to 7, but this network knows 3 tokens. Encode texts with"),
        ({"module__config": TINY, "module__pool": "max"}, "module__pool must be one of"),
        ({"module__auto_pool": "mean"}, "module__auto_pool has no effect with module='transformer'"),
    ],
)
def test_bad_parameters_of_a_transformer(params, words):
    pytest.importorskip("transformers")
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - the words are compared
        MixupClassifier(module="transformer", **params).fit(TEXTS, Y)
    assert words in str(raised.value)


def test_an_unknown_network_is_told_of_wherever_it_is_first_looked_at():
    clf = MixupClassifier(module="textcn")
    assert "textcn" in clf._repr_html_()
    with pytest.raises(ValueError, match="'module' parameter"):
        cross_val_score(clf, CODES, Y, cv=2, error_score="raise")


# --- images -------------------------------------------------------------------------------------------

GREYS = np.random.default_rng(0).integers(0, 256, (30, 12, 12), dtype=np.uint8)
COLOURS = np.stack([GREYS, GREYS // 2, 255 - GREYS], -1)
LENET = {"module": "lenet", "max_epochs": 1, "batch_size": 30, "random_state": 0}
SMALL_RESNET = {"module": "resnet18", "module__width": 1, "max_epochs": 1, "batch_size": 30}


class Items(Dataset):
    """A map-style dataset of what is in a list."""

    def __init__(self, items):
        self.items = list(items)

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


class OneByOne(IterableDataset):
    """A dataset whose items have no numbers."""

    def __iter__(self):
        return iter(GREYS)


# (X, other arguments of fit, error, words of the message)
IMAGE_DATA = [
    (GREYS[:, None, None], {}, ValueError, "X has shape (30, 1, 1, 12, 12), but must be images: an array of"),
    (GREYS[:, 0, 0], {}, ValueError, "X has shape (30,), but must be images"),
    (GREYS.reshape(30, -1), {}, ValueError, "X is a table of shape (30, 144). For rows of pixels say what"),
    (GREYS.reshape(30, -1), {}, ValueError, "they are: encoder=ImageEncoder(shape=(1, 12, 12))."),
    (X, {}, ValueError, "numbers that are no pixels need a network for tables"),
    (pd.DataFrame({"text": TEXTS}), {}, TypeError, "Its columns must be numbers, the pixels; text needs a"),
    (TEXTS, {}, TypeError, "Row 0 of X is 'a great film', of type str, but every row must be an image"),
    (["0.png"] * 30, {}, TypeError, "Read files first, into an array or a torch Dataset"),
    (GREYS.astype(object), {}, TypeError, "dtype object. Use X.astype('uint8') for bytes, else X.astype('fl"),
    ({"image": GREYS}, {}, TypeError, "not a dict. Pass its values, for example X['image']"),
    (None, {}, TypeError, "not a NoneType. Use an array"),
    (
        np.ones((30, 12, 12, 5)),
        {},
        ValueError,
        "none of the outer ones has 1, 3 or 4 entries, as channels do. Use encoder=ImageEncoder(channels='fi",
    ),
    (
        [*GREYS[:29], GREYS[29, :10]],
        {},
        ValueError,
        "different sizes: (12, 12) and (10, 12) at row 29: resize",
    ),
    (np.where(GREYS == GREYS[1, 2, 3], np.nan, 1.0), {}, ValueError, "Input X contains NaN: image "),
    (Items(["a cat"] * 30), {}, TypeError, "Item 0 of the dataset is a str 'a cat', but must be an image"),
    (Items([*GREYS[:29], None]), {}, TypeError, "Item 29 of the dataset is a NoneType None, but must be"),
    (Items([{"pixels": x} for x in GREYS]), {}, TypeError, "Item 0 of the dataset is a dict"),
    (Items([(x, 1, 2) for x in GREYS]), {}, TypeError, "Item 0 of the dataset has 3 parts, but must be an"),
    (
        Items([*GREYS[:29], GREYS[29, :10]]),
        {},
        ValueError,
        "Item 29 of the dataset is an image of shape (10,",
    ),
    (Items(GREYS), {"sample_weight": np.ones(7)}, ValueError, "sample_weight.shape"),
    (Items(GREYS[:-1]), {}, ValueError, "inconsistent numbers of samples: [29, 30]"),
    (OneByOne(), {}, TypeError, "not a OneByOne. Its items must have numbers: use a map-style Dataset, with"),
    (GREYS[:-1], {}, ValueError, "inconsistent numbers of samples: [29, 30]"),
    (GREYS, {"X_val": GREYS}, ValueError, "X_val needs y_val"),
    (
        GREYS,
        {"X_val": COLOURS, "y_val": Y},
        ValueError,
        "ImageEncoder was fitted on 1 channel, X has 3: take a",
    ),
    (
        GREYS,
        {"X_val": GREYS[:, 1:], "y_val": Y},
        ValueError,
        "images of 12 x 12 pixels, X has 11 x 12: resize",
    ),
]


@pytest.mark.parametrize(("X", "arguments", "error", "words"), IMAGE_DATA)
def test_bad_images(X, arguments, error, words):
    clf = MixupClassifier(**LENET)
    with pytest.raises(error) as raised:
        clf.fit(X, Y, **arguments)
    assert words in str(raised.value)
    assert not hasattr(clf, "net_")


def test_no_images_and_images_without_labels():
    with pytest.raises(ValueError, match=r"0 sample\(s\)"):
        MixupClassifier(**LENET).fit(GREYS[:0], Y[:0])
    words = "images without labels, and {0} is None: return (image, label), or pass {0}."
    with pytest.raises(ValueError, match=re.escape(words.format("y"))):
        MixupClassifier(**LENET).fit(Items(GREYS), None)
    with pytest.raises(ValueError, match=re.escape(words.format("y_val"))):
        MixupClassifier(**LENET).fit(GREYS, Y, X_val=Items(GREYS))


def test_pixels_far_out_get_a_warning_and_are_trained_on():
    with pytest.warns(
        UserWarning, match=r"X has pixels from 0 to 2\d{4}\. If that is their unit, divide by it"
    ):
        clf = MixupClassifier(**LENET).fit(GREYS * 100.0, Y)
    assert np.isfinite(clf.predict_proba(GREYS * 100.0)).all()
    with pytest.warns(UserWarning, match=r"X has whole numbers from 0 to \d+, outside 0 to 255"):
        MixupClassifier(**LENET).fit(GREYS.astype(int) * 2, Y)


def test_pixels_on_another_scale_than_those_of_fit_get_a_warning():
    clf = MixupClassifier(**LENET).fit(GREYS, Y)
    with pytest.warns(
        UserWarning, match="up to 1, but those of fit were up to 255: another scale. Pass whole"
    ):
        clf.predict(GREYS / 255)


@pytest.mark.parametrize(
    ("X", "words"),
    [
        (GREYS, "fitted on 3 channels, X has 1: grey images: np.repeat(X[..., None], 3, -1)."),
        (GREYS[..., None], "fitted on 3 channels, X has 1: grey images: np.repeat(X, 3, -1)."),
        (COLOURS[:, 1:], "fitted on images of 12 x 12 pixels, X has 11 x 12: resize them."),
        (COLOURS[0], "of 12 x 12 pixels and 3 channels, X is one such image: use X[None]."),
        (GREYS[0], "and 3 channels, and X of shape (12, 12) looks like one image: use X[None]."),
        (COLOURS.reshape(30, -1), "encoder=ImageEncoder(shape=(3, 12, 12))"),
        (
            Items(COLOURS[:, 1:]),
            "fitted on images of 12 x 12 pixels, X has 11 x 12: resize them in the dataset.",
        ),
        (Items(GREYS), "fitted on 3 channels, X has 1: grey images: repeat the channel in the dataset."),
        (GREYS[:0], "no images. Pass at least one"),
    ],
)
def test_bad_images_to_predict(X, words):
    clf = MixupClassifier(**LENET).fit(COLOURS, Y)
    with pytest.raises(ValueError, match=re.escape(words)):
        clf.predict(X)


def test_bad_images_to_a_fitted_model_lose_nothing():
    clf = MixupClassifier(**LENET).fit(COLOURS, Y)
    before = clf.predict_proba(COLOURS)
    for bad in (GREYS[:, 0], [*COLOURS[:29], GREYS[29]], COLOURS[:, :8, :8], Items(["a cat"] * 30), X, TEXTS):
        with pytest.raises((ValueError, TypeError)):
            clf.fit(bad, Y)
    for bad in (GREYS, COLOURS[:, 1:], X, TEXTS, Items(GREYS)):
        with pytest.raises((ValueError, TypeError)):
            clf.partial_fit(bad, Y)
        with pytest.raises((ValueError, TypeError)):
            clf.predict(bad)
    with pytest.raises(ValueError, match="none of blocks"):
        clf.set_params(mix="puzzle").fit(np.pad(GREYS, ((0, 0), (0, 1), (0, 1))), Y)
    assert_array_equal(clf.predict_proba(COLOURS), before)
    assert clf.classes_.tolist() == [0, 1, 2]


class OfColours(nn.Module):
    """A network whose first convolution takes three channels."""

    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.first(x).mean((2, 3)))


@pytest.mark.parametrize("module", [OfColours, OfColours(), Staged(OfColours(), sites=["first"])])
def test_grey_images_to_a_network_for_colours(module):
    clf = MixupClassifier(module=module, max_epochs=1)
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - the words are compared
        clf.fit(GREYS, Y)
    for words in (
        "failed on 2 encoded rows of shape (2, 1, 12, 12)",
        "It must map (B, 1, 12, 12) to logits (B, 3).",
        "Its first convolution takes 3 channels, and X has 1: grey images: np.repeat(X[..., None], 3, -1)",
    ):
        assert words in str(raised.value)
    assert not hasattr(clf, "net_")
    clf.fit(np.repeat(GREYS[..., None], 3, -1), Y)
    assert np.isfinite(clf.predict_proba(COLOURS)).all()


ONLINE = {"density": "gm", "density_schedule": "online"}
OF_PIXELS = (
    "describes each class by a density of the input, and those of pixels tell nothing of what an image"
)
IMAGE_PARAMETERS = [
    (
        MixupClassifier,
        {"mix": "columns"},
        "columns of a table, and this network's inputs are images. Use mix='lin",
    ),
    (
        MixupClassifier,
        {"mix": "nonlinear"},
        "or of what an image shows, belong together. Use mix_at='hidden' or",
    ),
    (
        MixupClassifier,
        {"mix": "cutmix", "mix_at": "any"},
        "exchanges parts of the input, but mix_at asks for a",
    ),
    (
        MixupClassifier,
        {"mix": "puzzle", "mix_at": 1},
        "exchanges parts of the input, but mix_at asks for a hidden",
    ),
    (MixupClassifier, {"mix": PuzzleMix(blocks=())}, "blocks must be a tuple of whole numbers from 1"),
    (MixupClassifier, {"mix": PuzzleMix(eta=-1)}, "'eta' parameter of PuzzleMix"),
    (MixupClassifier, {"mix_at": 4}, "use 0 (the input) to 3 (its last hidden stage)"),
    (MixupClassifier, {"mix_at": "embedding"}, "needs a network that embeds its input"),
    (
        MixupClassifier,
        {"drop_intrusions": True},
        "which for this network is images, not columns. Use drop_intrus",
    ),
    (AMPClassifier, {"mix": "cutmix"}, "does not change smoothly with lam"),
    (AdaMixupClassifier, {"mix": "puzzle"}, "does not change smoothly with lam"),
    (GenLabelClassifier, {}, OF_PIXELS),
    (
        GenLabelClassifier,
        {"density": "kde"},
        "Use density_at='last' with density_schedule='online' or 'warmup'",
    ),
    (MixupClassifier, {"label": GenLabel()}, OF_PIXELS),
    (GenLabelClassifier, {"density_at": 0, **ONLINE}, "the input never changes. Use density_at='last'"),
    (
        MixupClassifier,
        {"n_members": 2},
        "module='lenet' has no model axis, so 2 models of it cannot be stacked. Us",
    ),
    (MixupClassifier, {"n_cv": 5}, "so 5 models of it cannot be stacked. Use n_members=1 and n_cv=1."),
    (
        MixupClassifier,
        {"hidden": (64,)},
        "hidden=(64,) has no effect with a module other than 'mlp' and 'table'",
    ),
    (MixupClassifier, {"module__shape": (1, 12, 12)}, "module__shape has no effect with module='lenet'"),
    (MixupClassifier, {"module__width": 8}, "its constructor takes ['channels_last']"),
    (MixupClassifier, {"module__channels_last": "no"}, "module__channels_last must be 'auto', True or False"),
    (
        MixupClassifier,
        {"encoder": "passthrough"},
        "reads images, which encoder='passthrough' does not give. Use",
    ),
    (MixupClassifier, {"encoder": ImageEncoder(augment=Augment(crop=12))}, "Use Augment(crop=...) below 12"),
    (MixupClassifier, {"encoder": ImageEncoder(augment=Augment())}, "augment=Augment() changes nothing"),
    (MixupClassifier, {"encoder": ImageEncoder(shape=(1, 5, 5))}, "shape=(1, 5, 5)"),
]


@pytest.mark.parametrize(("cls", "params", "words"), IMAGE_PARAMETERS)
def test_bad_parameters_for_images(cls, params, words):
    clf = cls(**LENET | params)
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - the words are compared
        clf.fit(GREYS, Y)
    assert words in str(raised.value)
    assert not hasattr(clf, "net_")


@pytest.mark.parametrize("module", [nn.Flatten(), nn.Flatten])
@pytest.mark.parametrize(
    ("name", "encoder"), [("augment__crop", "ImageEncoder"), ("max_words", "TextEncoder")]
)
def test_parameters_of_an_encoder_that_is_not_known_yet(name, encoder, module):
    clf = MixupClassifier()
    words = (
        f"encoder__{name} is a parameter of {encoder}, and for a network of your own encoder='auto' is not "
        f"known to be one. Pass encoder={encoder}()."
    )
    with pytest.raises(ValueError, match=re.escape(words)):
        clf.set_params(module=module, **{f"encoder__{name}": 2})
    assert clf.encoder == "auto"


@pytest.mark.parametrize("mix", ["puzzle", PuzzleMix(), PuzzleMix(blocks=(3, 4))])
def test_images_that_no_number_of_blocks_divides(mix):
    clf = MixupClassifier(**SMALL_RESNET, mix=mix)
    words = (
        r"^mix='puzzle': none of blocks=\(.*\) divides the sides of images of 11 x 11 pixels\. Give .*ges\.$"
    )
    with pytest.raises(ValueError, match=words):
        clf.fit(GREYS[:, 1:, 1:], Y)
    assert not hasattr(clf, "net_")


def test_images_too_small_for_lenet():
    with pytest.raises(ValueError, match=r"at least 12 x 12 pixels\. Got 8 x 8\. Use module='resnet18'"):
        MixupClassifier(**LENET).fit(GREYS[:, :8, :8], Y)
    clf = MixupClassifier(**SMALL_RESNET).fit(GREYS[:, :8, :8], Y)
    assert np.isfinite(clf.predict_proba(GREYS[:, :8, :8])).all()


@pytest.mark.parametrize("mix", ["cutmix", "puzzle"])
@pytest.mark.parametrize(
    ("params", "X", "inputs"),
    [
        ({}, X, "rows of a table"),
        ({"module": "mlp"}, X, "rows of a table"),
        (SMALL_CNN, TEXTS, "codes of words"),
    ],
)
def test_parts_of_images_are_exchanged_in_images_alone(params, X, inputs, mix):
    clf = MixupClassifier(**params, mix=mix)
    words = f"mix='{mix}' exchanges parts of images, and this network's inputs are {inputs}. Use mix="
    with pytest.raises(ValueError, match=words):
        clf.fit(X, Y)
    assert not hasattr(clf, "net_")


@pytest.mark.parametrize(
    ("X", "what"),
    [
        (GREYS, "X has the form of images"),
        (COLOURS, "X has the form of images"),
        (Items(GREYS), "X is a torch Dataset, which is read as images"),
    ],
    ids=["grey", "colour", "dataset"],
)
@pytest.mark.parametrize(
    ("clf", "known", "words"),
    [
        (MixupClassifier(max_epochs=1, n_cv=1), rows()[0], "module='table' reads rows of a table. Use"),
        (MixupClassifier(module="mlp", max_epochs=1), rows()[0], "module='mlp' reads rows of a table. Use"),
        (MixupClassifier(**SMALL_CNN), TEXTS, "module='textcnn' reads codes of words. Use"),
        (
            GenerativeClassifier(),
            rows()[0],
            "GenerativeClassifier reads rows of a table. Use MixupClassifier with",
        ),
    ],
)
def test_images_to_a_network_of_something_else(clf, known, words, X, what):
    clf = clone(clf)
    message = re.escape(f"{what}, but {words} module='lenet', 'resnet18' or another of images")
    if isinstance(X, Dataset):
        with pytest.raises(ValueError, match=message):
            clf.fit(X, None)  # the labels are not what is missing
    with pytest.raises(ValueError, match=message):
        clf.fit(X, Y)
    before = clf.fit(known, Y).predict_proba(known)
    for call in (clf.fit, lambda X, y: clf.predict(X)):
        with pytest.raises(ValueError, match=message):
            call(X, Y)
    assert_array_equal(clf.predict_proba(known), before)


@pytest.mark.parametrize(
    ("params", "X", "words"),
    [
        (
            {"module": "mlp", "encoder": ImageEncoder()},
            GREYS,
            "gives images, and 'mlp' reads tables. Use module='l",
        ),
        (
            {"module": "textcnn", "encoder": ImageEncoder()},
            GREYS,
            "reads codes of words, which encoder=ImageEncoder",
        ),
        (
            {"module": "lenet", "encoder": TextEncoder()},
            TEXTS,
            "reads images, which encoder=TextEncoder() does not",
        ),
        (
            {"module": "lenet", "encoder": TextEncoder()},
            GREYS,
            "reads images, which encoder=TextEncoder() does not",
        ),
        (
            {"module": "lenet", "encoder": "passthrough"},
            Items(GREYS),
            "reads images, which encoder='passthrough' does not",
        ),
    ],
)
def test_encoders_of_images_and_of_text_for_other_networks(params, X, words):
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - the words are compared
        MixupClassifier(**params).fit(X, Y)
    assert words in str(raised.value)


def test_images_of_one_pixel_or_one_colour_get_finite_probabilities():
    for images in (GREYS[:, :1, :1], np.zeros_like(GREYS), GREYS > 300):
        assert_probabilities(MixupClassifier(**SMALL_RESNET, random_state=0, calibrate=True), images, Y)


# --- awkward tables ----------------------------------------------------------------------------------


def awkward():
    """Tables that a default must get through, by what is awkward about them."""
    rng = np.random.default_rng(0)
    n = 40
    X, y = pd.DataFrame(rng.normal(size=(n, 3)), columns=list("abc")), np.arange(n) % 2
    yield "constant, twice the same and empty columns", X.assign(d=1.0, e=X["a"], f=np.nan), y
    yield "constant and empty text", X.assign(d="one", e=pd.Series([None] * n, dtype=object)), y
    yield "nothing but a constant", pd.DataFrame({"a": np.ones(n)}), y
    yield "nothing but missing values", pd.DataFrame({"a": np.full(n, np.nan)}), y
    yield "as many categories as rows", X.assign(d=[f"c{i}" for i in range(n)]), y
    yield "a class of one row", X, np.where(np.arange(n) == 7, 2, y)
    yield "20 rows", X[:20], y[:20]
    yield "few rows", X[:4], y[:4]
    yield "many columns", pd.DataFrame(rng.normal(size=(n, 200))), y
    yield "numbers as text", X.astype(str), y
    yield "dates as text", X.assign(d=pd.date_range("2020", periods=n).astype(str)), y
    yield "types mixed in a column", X.assign(d=np.array([1, "x", 2.5, None, True] * 8, dtype=object)), y
    yield "an outlier", X.assign(a=np.where(np.arange(n) == 3, 1e12, X["a"])), y
    yield "one column", X[["a"]], y


AWKWARD = [pytest.param(X, y, id=name) for name, X, y in awkward()]
BRIEF = {"hidden": (8,), "max_epochs": 5, "random_state": 0}


def assert_probabilities(clf, X, y):
    p = clf.fit(X, y).predict_proba(X)
    assert p.shape == (len(X), len(np.unique(y)))
    assert np.isfinite(p).all()
    assert_allclose(p.sum(1), 1)
    assert 0.04 < clf.temperature_ < 21


@pytest.mark.parametrize("n_cv", ["auto", 1])
@pytest.mark.parametrize(("X", "y"), AWKWARD)
def test_awkward_tables_get_finite_probabilities(X, y, n_cv):
    assert_probabilities(MixupClassifier(**BRIEF, n_cv=n_cv, calibrate=True), X, y)


@pytest.mark.filterwarnings(
    "ignore:GM.covariance='auto'.:UserWarning", "ignore:KDE.covariance='auto'.:UserWarning"
)
@pytest.mark.parametrize(("X", "y"), AWKWARD)
def test_awkward_tables_get_finite_probabilities_from_densities_that_are_chosen(X, y):
    assert_probabilities(GenLabelClassifier(**BRIEF), X, y)


@pytest.mark.parametrize("classifier", [MixupClassifier, GenLabelClassifier])
def test_10_000_categories_get_finite_probabilities(classifier):
    n = 10_000
    X = pd.DataFrame({"a": np.arange(n) % 7, "d": [f"c{i}" for i in range(n)]})
    clf = classifier(**BRIEF | {"max_epochs": 1}, n_cv=1)
    assert_probabilities(clf, X, np.arange(n) % 2)
    assert clf.encoder_.layout_.n_encoded == 256  # the number, 254 categories and one for the others


def test_2_000_columns_of_100_rows_get_finite_probabilities():
    X = np.random.default_rng(0).normal(size=(100, 2_000))
    assert_probabilities(MixupClassifier(**BRIEF), X, np.arange(100) % 2)


@pytest.mark.parametrize("classifier", [MixupClassifier, GenLabelClassifier])
@pytest.mark.parametrize(
    "dates",
    [
        pd.date_range("2020", periods=30),
        pd.date_range("2020", periods=30, tz="UTC"),
        pd.to_timedelta(np.arange(30), unit="D"),
        [datetime.date(2020, 1, 1 + i) for i in range(30)],
    ],
    ids=["dates", "with a zone", "durations", "objects"],
)
def test_dates_are_an_error_that_says_how_to_make_numbers_of_them(classifier, dates):
    with pytest.raises(TypeError, match=r"In column 'when' there are dates or durations.*dt\.year"):
        classifier().fit(pd.DataFrame({"a": X[:, 0], "when": dates}), Y)

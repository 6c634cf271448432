"""Every bad input gets one clear error before any training: what was given, what is allowed, what to do."""

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_array_equal
from sklearn.preprocessing import StandardScaler
from torch import nn

from mixsk import GenLabelClassifier, MixupClassifier
from mixsk.densities import GM
from mixsk.rules import GenLabel, Logistic, Remix


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
    ({"mix": "columns", "mix_at": "hidden"}, "exchanges columns of the input"),
    ({"mix": "columns", "mix_at": "any"}, "exchanges columns of the input"),
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

"""The methods that a benchmark compares: each is a name for an estimator and its parameters.

What a method does not set stays at the estimator's default, so that two rows of a result differ by the
method alone. A run adds the seed, the network (`module="linear"` is logistic regression, "mlp" has two hidden
layers of ReLUs) and the like to each estimator that has such a parameter.

Methods of your own lie in a Python file that defines METHODS, a dict of names to classifiers or `Method`::

    from sklearn.ensemble import RandomForestClassifier
    from mixsk.bench import Method

    METHODS = {
        "forest": RandomForestClassifier(n_estimators=50),
        "mixup-2": Method("mixsk.MixupClassifier", {"alpha": 2}),
    }
"""

import re
from copy import deepcopy
from dataclasses import dataclass, field, replace
from importlib import import_module
from numbers import Integral

import numpy as np
from sklearn.base import clone
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from mixsk import GenerativeClassifier
from mixsk.bench.names import check_known
from mixsk.bench.search import GRID, PAPER, InnerFolds, Search
from mixsk.classifiers._base import MixClassifier
from mixsk.classifiers._params import NO_EFFECT
from mixsk.classifiers.genlabel import CANDIDATES
from mixsk.encoding import TableEncoder


@dataclass(frozen=True)
class Method:
    """An estimator and the parameters that make it a method.

    Parameters
    ----------
    estimator : str, class or estimator
        The estimator's class, or where to import it from when it is needed: "package.module.Class". An
        estimator is used as it is, but for seeds that it leaves open.
    params : dict, default={}
        Parameters of the estimator.
    grid : dict or None, default=None
        What `search` chooses from: parameters and their values. None is what the GenLabel paper searches:
        `GRID` for mixsk's networks, without what `params` sets or what has no effect; nothing for others.
    standardise : bool, default=False
        Put a `TableEncoder` before the estimator: numbers standardised, categories one-hot, missing values
        marked. The classifiers of mixsk bring their own.
    hidden_only : bool, default=False
        Whether it needs a network with a hidden stage.
    reads : {"table", "text", "image"} or None, default=None
        What it is for; None: whatever it is given.
    source : str, default=""
        What `load_methods` finds it by: its name, or the absolute path of its file.

    Examples
    --------
    >>> Method("sklearn.linear_model.LogisticRegression", {"C": 2}).build(random_state=0, max_epochs=5)
    LogisticRegression(C=2, random_state=0)
    >>> METHODS["remix"].build(module="linear", alpha=2)
    MixupClassifier(alpha=2, label='remix', mix='linear', module='linear')
    """

    estimator: object
    params: dict = field(default_factory=dict)
    grid: dict | None = None
    standardise: bool = False
    hidden_only: bool = False
    reads: str | None = None
    source: str = field(default="", compare=False)

    def why_not(self, module):
        """Return why the method is not for the network `module`, None if it is.

        Examples
        --------
        >>> METHODS["manifold"].why_not("linear")
        "it needs a hidden layer, and module='linear' has none; use module='mlp'"
        >>> METHODS["manifold"].why_not("mlp")
        """
        if self.hidden_only and module == "linear":
            return "it needs a hidden layer, and module='linear' has none; use module='mlp'"
        return None

    def settings(self, **overrides):
        """Return the parameters that `build` gives.

        Ours, and those of `overrides` that the class has and that the rest leaves an effect: `alpha` does
        nothing without mixing, `hidden` nothing in a linear network. An estimator that was given as it is
        takes only `random_state`, where its own is None. That also seeds the parts of an estimator, such as
        the steps of a pipeline, whose own is None.

        Examples
        --------
        >>> METHODS["vanilla"].settings(alpha=2, max_epochs=10)
        {'mix': None, 'max_epochs': 10}
        """
        return self.params | self._taken(overrides)

    def _taken(self, overrides):
        """Those of `overrides` that the estimator takes, and the seeds of its parts."""
        estimator = self._bare()
        known = estimator.get_params()
        taken = {} if self._as_it_is else {name: overrides[name] for name in overrides if name in known}
        if (seed := overrides.get("random_state")) is not None:
            seeds = [name for name in known if name == "random_state" or name.endswith("__random_state")]
            taken |= {name: seed for name in seeds if known[name] is None}
        idle = _without_effect(estimator.set_params(**taken))
        return {name: value for name, value in taken.items() if name not in idle}

    def build(self, **overrides):
        """Return an unfitted estimator; of `overrides` it takes what `settings` says."""
        estimator = self._bare().set_params(**self._taken(overrides))
        return make_pipeline(TableEncoder(), estimator) if self.standardise else estimator

    def search(self, *, seed=0, cv=5, **overrides):
        """Return an unfitted estimator that chooses its parameters as the GenLabel paper does.

        By accuracy in 5-fold cross-validation of the rows that it is fitted to, to all of which the best
        candidate is then fitted. Classifiers of mixsk are trained as `PAPER` says, unless the method or
        `overrides` say otherwise; what they set is not searched. `density="cv"` is no cross-validation within
        the other: Gaussians and kernels are candidates, as the learning rates are. Where there is nothing to
        choose, the estimator is the plain one.

        Every class is trained on in every fold, so that one of a single row is never held out; there are no
        more folds than the largest class has rows. If that is one row, nothing can be held out: with a
        warning, candidates are judged on the rows that they are fitted to. `time_limit` holds for each of the
        fits, which are then no common program.

        Parameters
        ----------
        seed : int, default=0
            Of the folds and of the fits; `random_state` among the overrides is the same.
        cv : int or splitter, default=5
            The folds.
        **overrides
            As of `settings`.

        Returns
        -------
        estimator : BatchedGridSearchCV or what `build` returns

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True)
        >>> search = METHODS["mixup"].search(module="linear", max_epochs=20)
        >>> search.param_grid
        {'lr': [0.1, 0.01, 0.001, 0.0001]}
        >>> search.fit(X, y).best_params_
        {'lr': 0.1}
        >>> METHODS["generative"].search()
        GenerativeClassifier(class_prior='uniform')
        """
        overrides = {"random_state": seed} | overrides
        set_by_us = {} if self._as_it_is or not isinstance(self._bare(), OURS) else PAPER
        set_by_us = {name: value for name, value in set_by_us.items() if name not in self.params}
        estimator = self.build(**set_by_us | overrides)
        grid = self.grid if self.grid is not None else self._usual_grid(estimator, overrides)
        if not grid:
            return estimator
        if self.standardise:
            grid = {f"{estimator.steps[-1][0]}__{name}": values for name, values in grid.items()}
        if isinstance(cv, Integral):
            cv = InnerFolds(cv, shuffle=True, random_state=overrides["random_state"])
        return Search(estimator, grid, cv=cv)

    def describe(self, *, searches=False, **overrides):
        """Return all parameters of what `build`, or `search`, returns; equal for equal methods.

        What is no plain value is described by its class and its parameters, or its text; code is not
        compared.

        Parameters
        ----------
        searches : bool, default=False
            Whether `search` is meant, not `build`.
        **overrides
            As of `settings`.

        Returns
        -------
        description : dict
            Of values that JSON gives back as they are.

        Examples
        --------
        >>> METHODS["generative"].describe()
        {'class': 'mixsk.classifiers.generative.GenerativeClassifier',
         'class_prior': 'train', 'density': 'gm', 'encoder': 'auto'}
        """
        return plain((self.search if searches else self.build)(**overrides))

    @property
    def _as_it_is(self):
        return not isinstance(self.estimator, type) and hasattr(self.estimator, "get_params")

    def _bare(self):
        """The estimator with our parameters, and nothing before it."""
        params = deepcopy(self.params)  # a part among them is seeded in its place
        if self._as_it_is:
            return clone(self.estimator).set_params(**params)
        made = self.estimator
        if isinstance(made, str):
            module, name = made.rsplit(".", 1)
            made = getattr(import_module(module), name)
        return made(**params)

    def _usual_grid(self, estimator, overrides):
        """What the paper searches of a network that was not given as it is."""
        if self._as_it_is or not isinstance(estimator, MixClassifier):
            return {}
        fixed = _without_effect(estimator) | set(self.params) | set(overrides)
        free = set(estimator.get_params(deep=False)) - fixed
        grid = {name: values for name, values in GRID.items() if name in free}
        if getattr(estimator, "density", None) == "cv":
            grid["density"] = list(CANDIDATES)
        return grid


GENLABEL, INFINITE = "mixsk.GenLabelClassifier", "mixsk.InfiniteMixupClassifier"
OURS = (MixClassifier, GenerativeClassifier)

# Our default, said here because PAPER's prior is that of GenLabel's densities. Infinite Class Mixup has equal
# classes in its own paper, too, but on images; on a table of 9:1 they cost it .91 -> .75 in accuracy.
PRIOR = {"class_prior": "train"}

LINEAR = {"mix": "linear"}  # whatever network is asked for: some would mix otherwise by themselves
GAUSSIAN = {"density": "gm"}

METHODS = {
    "vanilla": Method("mixsk.MixupClassifier", {"mix": None}),
    "mixup": Method("mixsk.MixupClassifier", LINEAR),
    "mixup-exclude-mi": Method("mixsk.MixupClassifier", LINEAR | {"drop_intrusions": True}),
    "manifold": Method("mixsk.MixupClassifier", {"mix_at": "any"}, hidden_only=True),
    "columns": Method("mixsk.MixupClassifier", {"mix": "columns"}),
    "columns+genlabel": Method(GENLABEL, GAUSSIAN | {"mix": "columns"}),
    "regmixup": Method("mixsk.MixupClassifier", LINEAR | {"clean_weight": 1}),
    "remix": Method("mixsk.MixupClassifier", LINEAR | {"label": "remix"}),
    "logistic": Method("mixsk.MixupClassifier", LINEAR | {"label": "logistic"}),
    "adamixup": Method("mixsk.AdaMixupClassifier"),
    "genlabel-gm": Method(GENLABEL, LINEAR | GAUSSIAN),
    "genlabel-kde": Method(GENLABEL, LINEAR | {"density": "kde"}),
    "genlabel-nn": Method(GENLABEL, LINEAR | {"density": "nn"}),
    "genlabel-nn-label": Method(GENLABEL, LINEAR | {"density": "nn-label"}),
    "genlabel-cv": Method(GENLABEL, LINEAR | {"density": "cv"}),
    "genlabel-latent": Method(
        GENLABEL, LINEAR | {"density_at": "last", "density_schedule": "warmup"}, hidden_only=True
    ),
    "genlabel-online": Method(
        GENLABEL, LINEAR | {"density_at": "last", "density_schedule": "online"}, hidden_only=True
    ),
    "generative": Method("mixsk.GenerativeClassifier"),
    "infinite": Method(INFINITE, PRIOR),
    "infinite-regmixup": Method(INFINITE, PRIOR | {"clean_weight": 1}),
    "infinite-remix": Method(INFINITE, PRIOR | {"label": "remix"}),
    "lamix": Method("mixsk.LaMixClassifier"),
    "amp": Method("mixsk.AMPClassifier"),
    # Two classifiers that everybody knows, so that a reader sees where the networks stand.
    "logreg": Method("sklearn.linear_model.LogisticRegression", {"max_iter": 1000}, standardise=True),
    # Encoded: by itself it refuses a column without a value, and more than 255 categories.
    "boosting": Method("sklearn.ensemble.HistGradientBoostingClassifier", standardise=True),
}

METHODS = {name: replace(method, reads="table") for name, method in METHODS.items()}

TEXT = {"module": "textcnn"}
# As the AMP paper trains: what is with AMP and without it differs by that alone.
TEXT_LINEAR = TEXT | LINEAR | {"alpha": 1, "lam_per": "sample"}

TEXT_METHODS = {
    "text-vanilla": Method("mixsk.MixupClassifier", TEXT | {"mix": None}),
    "word-mixup": Method("mixsk.MixupClassifier", TEXT_LINEAR | {"mix_at": "embedding"}),
    "word-amp": Method("mixsk.AMPClassifier", TEXT | {"mix_at": "embedding"}),
    "sent-mixup": Method("mixsk.MixupClassifier", TEXT_LINEAR | {"mix_at": "last"}),
    "sent-amp": Method("mixsk.AMPClassifier", TEXT | {"mix_at": "last"}),
    # Known to everybody, as above.
    "tfidf-logreg": Method(make_pipeline(TfidfVectorizer(), LogisticRegression(max_iter=1000))),
}
TEXT_METHODS = {name: replace(method, reads="text") for name, method in TEXT_METHODS.items()}


def pixels(X):
    """Images of bytes as rows of numbers from 0 to 1, for what reads tables."""
    return np.asarray(X, np.float32).reshape(len(X), -1) / 255


IMAGE = {"module": "lenet"}  # enough for grey images of 28 x 28; for others --module names a larger network
IMAGE_LINEAR, PUZZLE = IMAGE | LINEAR, IMAGE | {"mix": "puzzle"}
EQUAL = {"class_prior": "uniform"}  # as in its paper, whose test rows are balanced

IMAGE_METHODS = {
    "image-vanilla": Method("mixsk.MixupClassifier", IMAGE | {"mix": None}),
    "image-mixup": Method("mixsk.MixupClassifier", IMAGE_LINEAR),
    "cutmix": Method("mixsk.MixupClassifier", IMAGE | {"mix": "cutmix", "mix_prob": 0.5}),  # as for CIFAR
    "puzzle": Method("mixsk.MixupClassifier", PUZZLE),
    "image-manifold": Method("mixsk.MixupClassifier", IMAGE_LINEAR | {"mix_at": "any"}),
    "image-regmixup": Method("mixsk.MixupClassifier", IMAGE_LINEAR | {"clean_weight": 1, "alpha": 20}),
    "image-remix": Method("mixsk.MixupClassifier", IMAGE_LINEAR | {"label": "remix"}),
    "image-adamixup": Method("mixsk.AdaMixupClassifier", IMAGE),
    "image-genlabel-online": Method(
        GENLABEL, IMAGE_LINEAR | {"density_at": "last", "density_schedule": "online"}
    ),
    "ic-mixup": Method(INFINITE, IMAGE | EQUAL),
    "ic-regmixup": Method(INFINITE, IMAGE | EQUAL | {"clean_weight": 1, "alpha": 20}),
    "ic-remix": Method(INFINITE, IMAGE | EQUAL | {"label": "remix"}),
    "image-lamix": Method("mixsk.LaMixClassifier", IMAGE),
    "lamix-puzzle": Method("mixsk.LaMixClassifier", PUZZLE | {"local_share": 1}),  # as in the paper's tables
    "image-amp": Method("mixsk.AMPClassifier", IMAGE),
    # Known to everybody, as above.
    "logreg-pixels": Method(make_pipeline(FunctionTransformer(pixels), LogisticRegression(max_iter=1000))),
}
IMAGE_METHODS = {name: replace(method, reads="image") for name, method in IMAGE_METHODS.items()}

METHODS_FOR = {"table": METHODS, "text": TEXT_METHODS, "image": IMAGE_METHODS}

# Unless methods are named: one of a kind, so that `make bench` stays short. For texts and images all of them.
DEFAULT = [
    *("vanilla", "mixup", "manifold", "columns", "regmixup", "remix", "genlabel-gm"),
    *("infinite", "amp", "lamix", "adamixup", "generative", "logreg", "boosting"),
]


def load_methods(source, reads="table"):
    """Return the methods that a text names.

    Parameters
    ----------
    source : str or Path
        Names of `METHODS`, `TEXT_METHODS` and `IMAGE_METHODS`, "all" for all of one of them, and paths of
        Python files (`.py`) that define METHODS of their own, separated by commas.
    reads : {"table", "text", "image"}, default="table"
        Which of them "all" are, and which an error offers.

    Returns
    -------
    methods : dict of str to Method
        In the order of the text. The folder of a file is searched for what the file imports, last of all.

    Raises
    ------
    ValueError
        If a name is unknown or in two places, or a file cannot be run, defines no METHODS or has something
        among them that is no classifier with `predict_proba`.

    Examples
    --------
    >>> list(load_methods("vanilla,genlabel-gm"))
    ['vanilla', 'genlabel-gm']
    >>> load_methods("vanilla,mixpu")
    Traceback (most recent call last):
    ...
    ValueError: unknown method 'mixpu', did you mean 'mixup' or ...? Known: vanilla, mixup, ...
    """
    parts = dict.fromkeys(part.strip() for part in str(source).split(","))
    parts.pop("", None)
    if not parts:
        raise ValueError(
            f"no method in {str(source)!r}: give at least one name, 'all' or the path of a .py file, "
            f"separated by commas. Known: {', '.join(METHODS_FOR[reads])}."
        )
    methods = {}
    for part in parts:
        for name, method in _found(part, reads).items():
            if methods.setdefault(name, method).source != method.source:
                raise ValueError(
                    f"two methods are named {name!r}, of {methods[name].source} and of {method.source}: "
                    "rename one."
                )
    return methods


def _found(part, reads):
    """The methods of one name, of "all" or of a file."""
    if part.endswith(".py"):
        from mixsk.bench.custom import methods_of_file  # which builds on this module

        return methods_of_file(part)
    known, usual = all_methods(), METHODS_FOR[reads]
    if part not in known and part != "all":
        check_known("method", part, list(usual))  # which raises, and names those that can be meant
    return {name: replace(known[name], source=name) for name in (usual if part == "all" else [part])}


def all_methods():
    """Return {name: method} of all there are, whatever they read."""
    return {name: method for methods in METHODS_FOR.values() for name, method in methods.items()}


def _without_effect(estimator):
    """Names of parameters that do nothing with the others as they are, which mixsk's networks refuse."""
    if not isinstance(estimator, MixClassifier):
        return set()
    return {name for names, idle, _ in NO_EFFECT if idle(estimator) for name in names}


def plain(value):
    """A value as JSON gives it back."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return str(value)  # NaN is not equal to itself
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, dict):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain(entry) for entry in value]
    if hasattr(value, "__qualname__"):  # a class or a function
        return f"{value.__module__}.{value.__qualname__}"
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    if hasattr(value, "get_params"):
        return {"class": kind} | plain(value.get_params(deep=False))
    return {"class": kind, "text": re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))}

"""The methods that a benchmark compares: each is a name for an estimator and its parameters.

What a method does not set stays at the estimator's default, so that two rows of a result differ by the
method alone. `mixsk bench run` adds the seed, the device and, when asked, `max_epochs` to each estimator that
has such a parameter.
"""

from dataclasses import dataclass, field
from importlib import import_module

from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


@dataclass(frozen=True)
class Method:
    """An estimator and the parameters that make it a method.

    Parameters
    ----------
    estimator : str or callable
        The estimator's class, or where to import it from when it is needed: "package.module.Class".
    params : dict, default={}
        Parameters of the class.
    standardise : bool, default=False
        Put a StandardScaler before the estimator. The classifiers of mixsk bring their own.

    Examples
    --------
    >>> Method("sklearn.linear_model.LogisticRegression", {"C": 2}).build(random_state=0, max_epochs=5)
    LogisticRegression(C=2, random_state=0)
    """

    estimator: str | type
    params: dict = field(default_factory=dict)
    standardise: bool = False

    def settings(self, **overrides):
        """Return the parameters that `build` gives: ours, and those of `overrides` that the class has."""
        known = self._class()().get_params()
        return self.params | {name: value for name, value in overrides.items() if name in known}

    def build(self, **overrides):
        """Return an unfitted estimator; of `overrides` it takes the parameters that its class has."""
        estimator = self._class()(**self.settings(**overrides))
        return make_pipeline(StandardScaler(), estimator) if self.standardise else estimator

    def _class(self):
        if not isinstance(self.estimator, str):
            return self.estimator
        module, name = self.estimator.rsplit(".", 1)
        return getattr(import_module(module), name)


GENLABEL, INFINITE = "mixsk.GenLabelClassifier", "mixsk.InfiniteMixupClassifier"

METHODS = {
    "vanilla": Method("mixsk.MixupClassifier", {"mix": None}),
    "mixup": Method("mixsk.MixupClassifier"),
    "mixup-exclude-mi": Method("mixsk.MixupClassifier", {"drop_intrusions": True}),
    "manifold": Method("mixsk.MixupClassifier", {"mix_at": "any"}),
    "columns": Method("mixsk.MixupClassifier", {"mix": "columns"}),
    "regmixup": Method("mixsk.MixupClassifier", {"clean_weight": 1}),
    "remix": Method("mixsk.MixupClassifier", {"label": "remix"}),
    "logistic": Method("mixsk.MixupClassifier", {"label": "logistic"}),
    "genlabel-gm": Method(GENLABEL),
    "genlabel-kde": Method(GENLABEL, {"density": "kde"}),
    "genlabel-nn": Method(GENLABEL, {"density": "nn"}),
    "genlabel-nn-label": Method(GENLABEL, {"density": "nn-label"}),
    "genlabel-cv": Method(GENLABEL, {"density": "cv"}),
    "genlabel-latent": Method(GENLABEL, {"density_at": "last", "density_schedule": "warmup"}),
    "genlabel-online": Method(GENLABEL, {"density_at": "last", "density_schedule": "online"}),
    "genlabel-columns": Method(GENLABEL, {"mix": "columns"}),
    "infinite": Method(INFINITE),
    "infinite-regmixup": Method(INFINITE, {"clean_weight": 1}),
    "infinite-remix": Method(INFINITE, {"label": "remix"}),
    "amp": Method("mixsk.AMPClassifier"),
    "lamix": Method("mixsk.LaMixClassifier"),
    "adamixup": Method("mixsk.AdaMixupClassifier"),
    "generative": Method("mixsk.GenerativeClassifier"),
    # Two classifiers that everybody knows, so that a reader sees where the networks stand.
    "logreg": Method("sklearn.linear_model.LogisticRegression", {"max_iter": 1000}, standardise=True),
    "boosting": Method("sklearn.ensemble.HistGradientBoostingClassifier"),
}

# Unless methods are named: one of a kind, so that `make bench` stays short.
DEFAULT = [
    *("vanilla", "mixup", "manifold", "columns", "regmixup", "remix", "genlabel-gm"),
    *("infinite", "amp", "lamix", "adamixup", "generative", "logreg", "boosting"),
]

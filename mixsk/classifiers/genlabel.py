"""GenLabel: mixup whose labels come from class-conditional densities."""

from __future__ import annotations

import time
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.sparse import issparse

from mixsk.backbones import Training
from mixsk.classifiers._base import MixClassifier
from mixsk.classifiers._holdout import FOLDS, Fold, held_out_score, stratified_folds, taken
from mixsk.classifiers._prepare import CHOICE
from mixsk.classifiers._table import PARAMETERS, document
from mixsk.densities import DENSITIES
from mixsk.engine import MixNet, Part
from mixsk.rules import GenLabel, LatentGenLabel, OnlineGenLabel, PosteriorLabel, Rows

CANDIDATES = ("gm", "kde")  # of density="cv": the paper's GenLabel (CV)


@document
class GenLabelClassifier(MixClassifier):
    """Neural classifier trained on mixed rows that densities relabel.

    A class-conditional density is fitted on the training rows; a mixed row gets the label
    `gamma * p(. | x_mix) + (1 - gamma) * linear label`, p the density's posterior (Sohn et al.,
    "GenLabel: Mixup Relabeling using Generative Models", ICML 2022, Algorithm 1 and Eq. 1). Where a
    mixed row of two classes lies among a third, its label says so.

    With `density_at="last"` the density is one of the network's last features: fitted once after a plain
    warm-up, under a frozen body (`density_schedule="warmup"`, Algorithm 2), or following every batch
    (`"online"`, Algorithm 3).

    `density="cv"` is the paper's GenLabel (CV): this classifier is cross-validated with Gaussians ("gm") and
    with kernels ("kde"), and trained with the one of higher accuracy, or of lower log loss where they tie.
    Each is fitted in 5 stratified folds of the training rows, validation rows excluded; in fewer if a class
    has fewer rows, and a class of one row is always trained on. Weights count in fits and scores. The fits
    have one member each, the whole takes no longer than `time_limit`, and a warm start keeps the choice.

    `density="nn-label"` is what the paper's figures call GenLabel (NN): the hard label of the nearest
    training row, without `gamma`.

    Further keyword arguments go on to the parts: `module__*` to the network's constructor,
    `optimizer__*` to the optimiser, `callbacks__*` to named callbacks.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels, sorted.
    density_ : mixsk.densities.TableDensity
        The fitted density.
    density_choice_ : {"gm", "kde"}
        What `density="cv"` chose; only there with it.
    net_ : mixsk.engine.MixNet
        The trained skorch net.
    encoder_ : transformer
        The fitted encoder.
    history_ : DataFrame
        One row an epoch: losses, validation accuracy, seconds.
    n_iter_ : int
        Epochs run.
    n_features_in_ : int
        Columns of X.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, if X had string column names.

    See Also
    --------
    MixupClassifier : Mixup with labels from the two rows alone.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from mixsk import GenLabelClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = GenLabelClassifier(gamma=0.8, max_epochs=20, random_state=0).fit(X, y)
    >>> clf.predict(X[:2])
    array([0, 0])
    """

    def __init__(
        self,
        *,
        module: Any = "mlp",
        hidden: Any = (128, 128),
        activation: str = "relu",
        dropout: float = 0,
        encoder: Any = "auto",
        mix: Any = "auto",
        mix_at: Any = "input",
        alpha: float | None = None,
        lam_per: str | None = None,
        pair: str = "any",
        mix_prob: float = 1,
        mix_off: float = 0,
        label_smoothing: float = 0,
        drop_intrusions: bool | str = False,
        clean_weight: float = 0,
        density: Any = "gm",
        density_at: str | int = "input",
        density_schedule: str = "once",
        gamma: float = 0.5,
        top_k: int | None = None,
        class_prior: str = "train",
        warmup: float = 0.2,
        head: str = "fresh",
        memory: float = 0.9,
        max_density_rows: int = 20_000,
        optimizer: Any = "auto",
        lr: Any = "auto",
        weight_decay: Any = "auto",
        schedule: Any = "auto",
        batch_size: Any = "auto",
        max_epochs: Any = "auto",
        time_limit: float | None = None,
        early_stopping: Any = "auto",
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        class_weight: Any = None,
        n_members: int = 1,
        n_cv: int = 1,
        calibrate: bool = False,
        device: str = "auto",
        dtype: str = "float32",
        amp: str | None = None,
        n_threads: int | None = None,
        random_state: Any = None,
        verbose: int = 0,
        warm_start: bool = False,
        callbacks: Any = None,
        **kwargs: Any,
    ) -> None:
        self._store(locals())

    def _check_params(self) -> None:
        super()._check_params()
        if self.mix is None:
            raise ValueError(
                "GenLabelClassifier relabels mixed rows, and mix=None mixes none. Use mix='linear', "
                "'half' or 'columns', or MixupClassifier(mix=None) for plain training."
            )
        once, at_input = self.density_schedule == "once", self.density_at in ("input", 0)
        if once and not at_input:
            raise ValueError(
                f"density_at={self.density_at!r} describes features, which change while the network learns. "
                "Use density_schedule='warmup' or 'online' with it, or density_at='input'."
            )
        if at_input and not once:
            raise ValueError(
                f"density_schedule={self.density_schedule!r} waits for features, and the input never "
                "changes. Use density_at='last' with it, or density_schedule='once'."
            )

    def _check_incremental(self) -> None:
        if self.density_schedule == "warmup":
            raise ValueError(
                "density_schedule='warmup' trains in two phases, for which partial_fit has no epochs. Use "
                "fit, or density_schedule='online'."
            )
        if self.density == "cv":
            raise ValueError(
                "density='cv' chooses by cross-validation over all rows, which partial_fit never sees. Use "
                "fit, or density='gm'."
            )
        super()._check_incremental()

    def _label(self) -> PosteriorLabel:
        hard = self.density == "nn-label"
        shared = {"gamma": 1.0 if hard else self.gamma, "top_k": self.top_k, "class_prior": self.class_prior}
        if self.density_schedule == "online":
            return OnlineGenLabel(**shared, density_at=self.density_at, memory=self.memory)
        density = self._density(self.density_choice_ if self.density == "cv" else self.density)
        if self.density_schedule == "warmup":
            place = {"density_at": self.density_at, "warmup": self.warmup, "head": self.head}
            return LatentGenLabel(density, **shared, **place)
        return GenLabel(density, **shared)

    def _density(self, chosen: Any) -> Any:
        """What the rule is given: for a name of a density that keeps rows, one with our limit on them."""
        density = DENSITIES[chosen]() if isinstance(chosen, str) else None
        if density is None or "max_density_rows" not in density.get_params():
            return chosen
        return density.set_params(max_density_rows=self.max_density_rows)

    # ---- density="cv"

    _spent = 0.0  # seconds that this fit's cross-validation took

    def _choose(
        self, X: Any, y: np.ndarray, w: np.ndarray | None, train: Part, valid: Part | None, again: bool
    ) -> None:
        self._spent = 0.0
        if self.density != "cv":
            self.__dict__.pop("density_choice_", None)
        elif not (again and hasattr(self, "density_choice_")):
            start = time.perf_counter()
            if issparse(X) or not hasattr(X, "__getitem__"):
                X = X.tocsr() if issparse(X) else np.asarray(X)  # rows can be taken
            rows = taken(X, y, w, train.index)
            self.density_choice_ = self._cross_validated(*rows, stops=valid is not None)
            self._spent = time.perf_counter() - start

    def _cross_validated(self, X: Any, y: np.ndarray, w: np.ndarray | None, stops: bool) -> str:
        """The candidate that does best on held-out rows; the first if none can be held out."""
        stream = np.random.SeedSequence(self._seed, spawn_key=(0, CHOICE))
        seed, *seeds = stream.generate_state(1 + FOLDS).tolist()
        folds = stratified_folds(y, seed)
        if not folds:
            warnings.warn(
                "density='cv' holds rows out, but no class has two training rows to spare one: "
                f"{CANDIDATES[0]!r} is taken.",
                UserWarning,
                stacklevel=5,  # the caller of fit
            )
            return CANDIDATES[0]
        shared = self._shared_by_folds(folds, y, stops)
        scores = {}
        for name in CANDIDATES:
            own = shared | {"density": self._density(name)}
            fits = (type(self)(**own, random_state=seed) for seed in seeds)
            scores[name] = held_out_score(fits, folds, X, y, w)
        return min(scores, key=scores.__getitem__)

    def _shared_by_folds(self, folds: list[Fold], y: np.ndarray, stops: bool) -> dict[str, Any]:
        """Our parameters, but for what would be longer, louder or not the same in a fold."""
        fits = len(CANDIDATES) * len(folds) + 1
        # All fits stop early or none, though a fold has fewer rows.
        stops = stops and all(np.unique(y[train], return_counts=True)[1].max() > 1 for train, _ in folds)
        own = {
            "early_stopping": self.early_stopping and (stops or "auto"),
            "time_limit": self.time_limit and self.time_limit / fits,
            "max_density_rows": PARAMETERS["max_density_rows"].default,  # the density is an object by then
            "n_members": 1,
            "n_cv": 1,
            "calibrate": False,
            "verbose": 0,
            "warm_start": False,
        }
        given = self.get_params(deep=False) | own
        for name in [name for name in given if name.startswith("callbacks__print_log__")]:
            del given[name]  # of the callback that `verbose` brings
        del given["random_state"]
        return given

    def _in_a_fold(self) -> dict[str, Any]:
        """Without a cross-validation of their own: the density is the one that is chosen already."""
        own = super()._in_a_fold()
        return own | ({"density": self.density_choice_} if self.density == "cv" else {})

    def _new_net(self, rows: Rows, training: Training, keep_weights: bool) -> MixNet:
        net = super()._new_net(rows, training, keep_weights)
        if self.time_limit is not None:
            net.plan = replace(net.plan, time_limit=max(0.0, self.time_limit - self._spent))
        return net

    def _keep(self, net: MixNet, epochs: list[dict[str, Any]]) -> None:
        super()._keep(net, epochs)
        if self.density == "cv":  # what a pickle is rebuilt with
            self._fitted_params["density"] = self.density_choice_

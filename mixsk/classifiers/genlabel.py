"""GenLabel: mixup whose labels come from class-conditional densities."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from scipy.sparse import issparse

from mixsk.backbones import stacks
from mixsk.classifiers._base import MixClassifier
from mixsk.classifiers._density_choice import likeliest, sampled, weight_beside
from mixsk.classifiers._holdout import FOLDS, Fold, held_out_score, silent, stratified_folds, taken
from mixsk.classifiers._params import PREFIXES
from mixsk.classifiers._prepare import CHOICE
from mixsk.classifiers._settings import is_auto, settled
from mixsk.classifiers._table import PARAMETERS, document
from mixsk.classifiers.mixup import MixupClassifier
from mixsk.densities import DENSITIES
from mixsk.engine import Part
from mixsk.rules import GenLabel, LatentGenLabel, OnlineGenLabel, PosteriorLabel

CANDIDATES = ("gm", "kde")  # the paper's GenLabel (CV)
USUAL_GAMMA = 0.5
# While features are being learnt, a density of theirs is no better than chance at first, and sure of itself:
# at .5 LeNet may learn its mistakes for good (`benchmarks/images/gamma.py`).
USUAL_GAMMA_ONLINE = 0.2
CHOICE_SHARE = 3  # networks that gamma is chosen by are trained for one of so many epochs


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

    By default both are chosen by rows held out: `density="auto"` takes Gaussians or kernels, whichever give
    the classes of held-out rows the lower log loss, and `gamma="auto"` is the weight that the density's
    posterior has in its best mixture with plain mixup's predictions for held-out rows, for which five
    networks are trained, `MixupClassifier(n_cv=5)` for a third of the epochs; 0, which is mixup, where the
    density has nothing to add. At most 5000 rows take part. NOTE[DIFF]: the paper always has some density,
    and chooses gamma, and in GenLabel (CV) the density, by cross-validation of the whole (`GridSearchCV`).

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
        The fitted density; not there where it has no weight by choice, nor with several folds.
    density_choice_ : {"gm", "kde"}
        What `density="auto"` or "cv" chose; only there with them.
    gamma_ : float
        Weight of the posterior in the label: the given one, or the chosen one.
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
    >>> clf = GenLabelClassifier(density="gm", gamma=0.8, max_epochs=20, random_state=0).fit(X, y)
    >>> clf.predict(X[:2])
    array([0, 0])
    """

    def __init__(
        self,
        *,
        module: Any = "table",
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
        density: Any = "auto",
        density_at: str | int = "input",
        density_schedule: str = "once",
        gamma: Any = "auto",
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
        accumulate: int = 1,
        ema: float | None = None,
        max_epochs: Any = "auto",
        time_limit: float | None = None,
        checkpoint: Any = None,
        early_stopping: Any = "auto",
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        class_weight: Any = None,
        n_members: int = 1,
        n_cv: int | str = "auto",
        calibrate: bool | str = "auto",
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
        if is_auto(self.density) and self._settled_density() != CANDIDATES[0]:
            raise ValueError(
                f"density='auto' chose {self._settled_density()!r} in fit, which keeps that fit's rows and "
                "cannot go on with more. Use density='gm', or fit anew."
            )
        super()._check_incremental()

    def _label(self) -> PosteriorLabel | str:
        if is_auto(self.gamma) and self.gamma_ == 0:
            return "linear"  # which it is, without a density to evaluate
        shared = {"gamma": self.gamma_, "top_k": self.top_k, "class_prior": self.class_prior}
        if self.density_schedule == "online":
            return OnlineGenLabel(**shared, density_at=self.density_at, memory=self.memory)
        density = self._density(self._settled_density())
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

    @property
    def gamma_(self) -> Any:
        """Weight of the posterior in the label: the user's, the chosen one, or what is usual."""
        if self.density == "nn-label":
            return 1.0
        if not is_auto(self.gamma):
            return self.gamma
        usual_gamma = USUAL_GAMMA_ONLINE if self.density_schedule == "online" else USUAL_GAMMA
        return getattr(self, "_gamma_choice", usual_gamma)

    def _settled_density(self) -> Any:
        """The user's density, the chosen one, or Gaussians where none is chosen."""
        if is_auto(self.density) or self.density == "cv":
            return getattr(self, "density_choice_", CANDIDATES[0])
        return self.density

    # ---- what is chosen by rows held out

    def _choose(
        self, X: Any, y: np.ndarray, w: np.ndarray | None, train: Part, valid: Part | None, again: bool
    ) -> None:
        open_density = is_auto(self.density) or self.density == "cv"
        open_gamma = is_auto(self.gamma) and self.density != "nn-label" and self._can_be_compared()
        if self.density_schedule != "once":
            open_density, open_gamma = self.density == "cv", False
        made = {"density_choice_": open_density, "_gamma_choice": open_gamma}
        for name, still_open in made.items():
            if not (again and still_open):
                self.__dict__.pop(name, None)
        if not any(still_open and not hasattr(self, name) for name, still_open in made.items()):
            return
        self._structure = self._structure_for(train, len(train))
        self._new_net(train.rows, settled(self, len(train)), keep_weights=False)  # says now what is illegal
        if issparse(X) or not hasattr(X, "__getitem__"):
            X = X.tocsr() if issparse(X) else np.asarray(X)  # rows can be taken
        stream = np.random.SeedSequence(self._seed, spawn_key=(0, CHOICE))
        seed, *seeds = stream.generate_state(1 + FOLDS).tolist()
        if open_density and open_gamma and is_auto(self.density) and _spans_no_space(train):
            self.density_choice_, self._gamma_choice = CANDIDATES[0], 0.0  # which is mixup
        if open_density and not hasattr(self, "density_choice_"):
            if self.density == "cv":
                rows = taken(X, y, w, train.index)
                self.density_choice_ = self._cross_validated(*rows, valid is not None, seed, seeds)
            else:
                numbers = {"top_k": self.top_k, "class_prior": self.class_prior}
                labels = {name: GenLabel(self._density(name), **numbers) for name in CANDIDATES}
                with silent():
                    self.density_choice_ = likeliest(labels, train, seed)
        if open_gamma and not hasattr(self, "_gamma_choice"):
            few = sampled(train.index, train.rows.y.cpu().numpy(), seed)
            with silent():
                found = weight_beside(self._label(), self._plain(seed, len(few)), *taken(X, y, w, few))
            self._gamma_choice = found

    def _can_be_compared(self) -> bool:
        """Whether rows are mixed at all, and networks of folds can be trained side by side."""
        mixes = self.mix_prob > 0 and self.mix_off < 1
        return mixes and stacks(self.module) and self.drop_intrusions != "last"

    def _plain(self, seed: int, n_rows: int) -> MixupClassifier:
        """The same network, trained by mixup in folds, more briefly."""
        own = self._to_choose_by() | {"n_cv": FOLDS, "time_limit": self.time_limit and self.time_limit / 2}
        own["max_epochs"] = -(-settled(self, n_rows).max_epochs // CHOICE_SHARE)
        own["early_stopping"] = self.early_stopping and "auto"  # rows of the user's own are not for choosing
        known = {*MixupClassifier._get_param_names()} - {"label", "callbacks"}  # which may look at them
        prefixes = tuple({*PREFIXES} - {"callbacks__"})
        given = {name: value for name, value in own.items() if name in known or name.startswith(prefixes)}
        return MixupClassifier(**given, random_state=seed)

    def _cross_validated(
        self, X: Any, y: np.ndarray, w: np.ndarray | None, stops: bool, seed: int, seeds: list[int]
    ) -> str:
        """The candidate that does best on held-out rows; the first if none can be held out."""
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
            "gamma": self.gamma_,  # which is chosen for the density, once that is known
        }
        return self._to_choose_by() | own

    def _to_choose_by(self) -> dict[str, Any]:
        """Our parameters for a fit that only serves a choice: alone, silent, and with a seed of its own."""
        alone = {"n_members": 1, "n_cv": 1, "calibrate": False, "verbose": 0, "warm_start": False}
        alone["checkpoint"] = None
        given = self.get_params(deep=False) | alone
        for name in [name for name in given if name.startswith("callbacks__print_log__")]:
            del given[name]  # of the callback that `verbose` brings
        del given["random_state"]
        return given

    def _in_a_fold(self) -> dict[str, Any]:
        """Without choices of their own: density and gamma are what is chosen already."""
        own = super()._in_a_fold()
        if is_auto(self.gamma):
            own["gamma"] = self.gamma_
        if is_auto(self.density) or self.density == "cv":
            own["density"] = self._density(self._settled_density())
            own["max_density_rows"] = PARAMETERS["max_density_rows"].default  # the density knows it by then
        return own


def _spans_no_space(train: Part) -> bool:
    """Whether there are as many numbers as rows: no covariance of theirs can be told, and none is tried."""
    return len(train) <= len(train.rows.layout.numeric)

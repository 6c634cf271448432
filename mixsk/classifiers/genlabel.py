"""GenLabel: mixup whose labels come from class-conditional densities."""

from __future__ import annotations

from typing import Any

from mixsk.classifiers._base import MixClassifier
from mixsk.classifiers._table import document
from mixsk.rules import GenLabel, LatentGenLabel, OnlineGenLabel


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
        mix: Any = "linear",
        mix_at: Any = "input",
        alpha: float | None = None,
        lam_per: str | None = None,
        pair: str = "any",
        mix_prob: float = 1,
        mix_off: float = 0,
        label_smoothing: float = 0,
        drop_intrusions: bool = False,
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
        optimizer: Any = "adam",
        lr: float = 1e-3,
        weight_decay: float = 1e-4,
        schedule: Any = None,
        batch_size: int = 128,
        max_epochs: int = 100,
        time_limit: float | None = None,
        early_stopping: Any = "auto",
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        class_weight: Any = None,
        n_members: int = 1,
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
        super()._check_incremental()
        if self.density_schedule == "warmup":
            raise ValueError(
                "density_schedule='warmup' trains in two phases, for which partial_fit has no epochs. Use "
                "fit, or density_schedule='online'."
            )

    def _label(self) -> GenLabel:
        shared = {"gamma": self.gamma, "top_k": self.top_k, "class_prior": self.class_prior}
        if self.density_schedule == "online":
            return OnlineGenLabel(**shared, density_at=self.density_at, memory=self.memory)
        if self.density_schedule == "warmup":
            place = {"density_at": self.density_at, "warmup": self.warmup, "head": self.head}
            return LatentGenLabel(self.density, **shared, **place)
        return GenLabel(self.density, **shared)

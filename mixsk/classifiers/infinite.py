"""Infinite Class Mixup: every mixed row is a class of its own, told from the others of its batch."""

from __future__ import annotations

from typing import Any

from mixsk.classifiers._base import MixClassifier
from mixsk.classifiers._table import document
from mixsk.rules import InfiniteClass


@document
class InfiniteMixupClassifier(MixClassifier):
    """Neural classifier that tells each mixed row from the other mixed rows of its batch.

    A mixed row with target y has a class of its own, whose weights are the classes' weights mixed by y;
    the loss is the cross entropy between rows and these classes, over classes and over rows (Mensink and
    Mettes, "Infinite Class Mixup", BMVC 2023, Eq. 2-9). At test time the original classes are scored.
    `clean_weight=1` is IC-RegMixup, `label="remix"` IC-Remix; masks, sites and labels are those of
    `MixupClassifier`.

    Further keyword arguments go on to the parts: `module__*` to the network's constructor,
    `optimizer__*` to the optimiser, `callbacks__*` to named callbacks.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels, sorted.
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
    MixupClassifier : The same mixing with cross entropy.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from mixsk import InfiniteMixupClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = InfiniteMixupClassifier(max_epochs=20, random_state=0).fit(X, y)
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
        mix: Any = "linear",
        mix_at: Any = "input",
        alpha: float | None = None,
        lam_per: str | None = None,
        pair: str = "any",
        mix_prob: float = 1,
        mix_off: float = 0,
        label: Any = "linear",
        label_smoothing: float = 0,
        drop_intrusions: bool | str = False,
        clean_weight: float = 0,
        axis: str = "both",
        class_prior: str = "train",
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
                "InfiniteMixupClassifier tells mixed rows apart, and mix=None mixes none. Use mix='linear', "
                "'half' or 'columns', or MixupClassifier(mix=None) for plain training."
            )

    def _loss(self) -> InfiniteClass:
        return InfiniteClass(self.axis, self.class_prior)

    def _alpha(self) -> float:
        if self.alpha is None and self.clean_weight == 0:
            return 0.2  # the paper's value for mixup and Remix
        return super()._alpha()

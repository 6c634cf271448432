"""Mixup on tables: linear, manifold, columns, RegMixup, Remix, logistic labels, and plain training."""

from __future__ import annotations

from typing import Any

from mixsk.classifiers._base import MixClassifier
from mixsk.classifiers._table import document


@document
class MixupClassifier(MixClassifier):
    """Neural classifier trained on mixed pairs of rows.

    Each batch is mixed with a permutation of itself, `x_mix = lam * x + (1 - lam) * x[perm]` with
    `lam ~ Beta(alpha, alpha)`, and its labels likewise; the loss is cross entropy against the mixed
    labels (Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018): `mix="linear"`. The default
    for tables takes each column whole from one of the two rows (`mix="columns"`). Other choices give manifold
    mixup (`mix_at="any"`), RegMixup (`mix="linear", clean_weight=1`), Remix (`mix="linear", label="remix"`),
    logistic labels (`label="logistic"`), non-linear mixup of words or at a hidden stage
    (`mix="nonlinear", label="nonlinear"`), and plain training (`mix=None`).

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
    GenLabelClassifier : Mixup relabelled by class-conditional densities.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from mixsk import MixupClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = MixupClassifier(max_epochs=20, random_state=0).fit(X, y)
    >>> clf.predict(X[:2])
    array([0, 0])
    >>> clf.predict_proba(X[:2]).shape
    (2, 3)
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
        label: Any = "linear",
        label_smoothing: float = 0,
        drop_intrusions: bool | str = False,
        clean_weight: float = 0,
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

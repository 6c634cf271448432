"""AMP: mixup whose lam moves to where the network finds the mixed row slightly harder."""

from __future__ import annotations

from typing import Any

from mixsk.classifiers._base import MixClassifier
from mixsk.classifiers._table import document
from mixsk.rules import AdversarialLam


@document
class AMPClassifier(MixClassifier):
    """Neural classifier trained on mixed rows that are made slightly harder than their labels say.

    Each row has a lam of its own; it is moved by `epsilon` times the clipped slope of the row's loss, in
    the input and not in the label, and the larger of the losses before and after the move is minimised
    (Liu et al., "Adversarial Mixing Policy for Relaxing Locally Linear Constraints in Mixup", EMNLP 2021,
    Eq. 8 and 14-21). At the input or at any hidden stage, with any label that is not trained itself. The
    paper's Table 4: `epsilon=0` is "+RandOp", `select="ascent"` is "+MaxOp".

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
    MixupClassifier : Mixup with lam as drawn.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from mixsk import AMPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = AMPClassifier(mix_at="last", max_epochs=20, random_state=0).fit(X, y)
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
        epsilon: float = 0.002,
        reduction: str = "sum",
        share_noise: bool = True,
        select: str = "max",
        reweight: bool = False,
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
                "AMPClassifier moves the lam of mixed rows, and mix=None mixes none. Use mix='linear', or "
                "MixupClassifier(mix=None) for plain training."
            )

    def _objective(self) -> AdversarialLam:
        return AdversarialLam(self.epsilon, self.reduction, self.share_noise, self.select, self.reweight)

    def _lam_per(self) -> str:
        return self.lam_per or "sample"

    def _alpha(self) -> float:
        return 1.0 if self.alpha is None else self.alpha  # the paper's, at every site

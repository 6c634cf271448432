"""AdaMixUp: a policy network learns how far each pair of rows may be mixed."""

from __future__ import annotations

from typing import Any

from mixsk.classifiers._base import MixClassifier
from mixsk.classifiers._table import document
from mixsk.rules import AdaMixup


@document
class AdaMixupClassifier(MixClassifier):
    """Neural classifier trained on rows that are mixed as far as a policy network has learnt to.

    For each pair the policy gives an interval from which lam is drawn, one for a row. Half of each batch is
    learnt mixed and as it is; a discriminator on the classifier's features tells mixed rows from all real
    ones of the batch. Classifier, policy and discriminator minimise the sum of both cross entropies, so that
    mixed rows keep away from real rows of another label (Guo et al., "MixUp as Locally Linear Out-of-Manifold
    Regularization", AAAI 2019). `predict` uses the classifier alone. With any label that is not trained
    itself; what is not the paper's is said at `mixsk.rules.AdaMixup`.

    lam's distribution is the policy's, and clean rows are part of the method: there are no `alpha`,
    `lam_per` and `clean_weight`. An epoch trains the classifier on half of the rows.

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
        The trained skorch net; policy and discriminator are in `net_.criterion_.aux["objective"]`.
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
    MixupClassifier : Mixup with lam as drawn; `drop_intrusions=True` drops what AdaMixUp avoids.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from mixsk import AdaMixupClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = AdaMixupClassifier(max_epochs=20, random_state=0).fit(X, y)
    >>> clf.predict(X[:2])
    array([0, 0])
    """

    clean_weight = 0  # the method has a clean term of its own, which must not see the other half

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
        pair: str = "any",
        mix_prob: float = 1,
        mix_off: float = 0,
        label: Any = "linear",
        label_smoothing: float = 0,
        drop_intrusions: bool | str = False,
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
                "AdaMixupClassifier learns how far to mix rows, and mix=None mixes none. Use mix='linear', "
                "or MixupClassifier(mix=None) for plain training."
            )

    def _objective(self) -> AdaMixup:
        return AdaMixup()

    def _lam_per(self) -> str:
        return "sample"

    def _alpha(self) -> float:
        return 1.0  # the place within the policy's interval is uniform

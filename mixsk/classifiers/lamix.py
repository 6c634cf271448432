"""LaMix: one mixed input with many labels, half of each learnt."""

from __future__ import annotations

from typing import Any

from sklearn.base import clone

from mixsk.classifiers._base import MixClassifier
from mixsk.classifiers._table import document
from mixsk.rules import LaMix, PuzzleMix


@document
class LaMixClassifier(MixClassifier):
    """Neural classifier that mixes rows half and half, draws the label's lam, and learns part of the label.

    A mixed row is the mean of two; its label is `local_share` times the two rows' labels mixed by
    lam ~ U(0, 1), the rest a label that a second head gives the row. Clean and mixed batches take turns
    ("Bypassing the Random Input Mixing in Mixup", LaMix, Eq. 4-11). Probabilities are under-confident by
    design: the largest possible target is `.5 + .5 e / (e + C - 1)`. Of images, `mix="puzzle"` takes the
    blocks of both that are salient, about as many of each (Eq. 5). The paper's Table 8: "without the
    global label" is `local_share=1`; without clean batches the method is
    `MixupClassifier(mix="half", label=LaMix())`.

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
    MixupClassifier : Rows and labels mixed alike.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from mixsk import LaMixClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = LaMixClassifier(max_epochs=20, random_state=0).fit(X, y)
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
        mix: Any = "half",
        mix_at: Any = "input",
        alpha: float | None = None,
        lam_per: str | None = None,
        pair: str = "any",
        mix_prob: float = 1,
        mix_off: float = 0,
        label_smoothing: float = 0,
        drop_intrusions: bool | str = False,
        clean_weight: float = 0,
        local_share: float = 0.5,
        detach_target: bool = False,
        global_on_clean: bool = True,
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
                "LaMixClassifier labels mixed rows, and mix=None mixes none. Use mix='half', 'linear' or "
                "'columns', or MixupClassifier(mix=None) for plain training."
            )

    def _label(self) -> LaMix:
        return LaMix(self.local_share, self.detach_target, self.global_on_clean)

    def _mix(self) -> Any:
        """Saliency cuts an image at 1/2 whatever the label's lam is (Eq. 5), unless the user says at what."""
        mix = super()._mix()
        mix = PuzzleMix() if isinstance(mix, str) and mix == "puzzle" else mix
        return clone(mix).set_params(lam=0.5) if isinstance(mix, PuzzleMix) and mix.lam is None else mix

    def _alternate(self) -> bool:
        return True

    def _alpha(self) -> float:
        return 1.0 if self.alpha is None else self.alpha  # uniform, whatever else is chosen

"""scikit-learn's callbacks (1.9), told of the epochs that skorch runs.

With them one nested bar goes through GridSearchCV -> Pipeline -> net -> epochs. scikit-learn 1.6 to
1.8 have no callbacks: there the same code runs without.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from skorch.callbacks import Callback

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # scikit-learn < 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stands for scikit-learn's mixin where there is none."""

    def with_callbacks(method: Callable[..., Any]) -> Callable[..., Any]:
        """Stands for scikit-learn's decorator where there is none."""
        return method


class EpochBridge(Callback):
    """A skorch callback that reports each epoch as a task of the estimator's `fit`.

    Parameters
    ----------
    estimator : classifier
        Being fitted; ready to predict from the first epoch on.
    context : sklearn.callback.CallbackContext
        Of the estimator's fit.
    X, y : array-like
        As given to fit.
    """

    def __init__(self, estimator: Any, context: Any, X: Any, y: Any) -> None:
        self.estimator = estimator
        self.context = context
        self.X = X
        self.y = y

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Open the epoch's task."""
        self.task_ = self.context.subcontext(task_name="epoch").call_on_fit_task_begin(
            estimator=self.estimator, X=self.X, y=self.y
        )

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Close it; a callback that answers true stops training."""
        stop = self.task_.call_on_fit_task_end(
            estimator=self.estimator,
            X=self.X,
            y=self.y,
            # The net itself, not a copy: scoring happens now, and leaves the weights as they are.
            reconstruction_attributes=lambda: {"net_": net},
        )
        if stop:
            net.stop_ = net.stop_ or "callback"


def open_context(estimator: Any, max_epochs: int, X: Any, y: Any) -> Any:
    """The fit's callback context, or None without scikit-learn's callbacks."""
    if not hasattr(estimator, "_init_callback_context"):
        return None
    context = estimator._init_callback_context(max_subtasks=max_epochs)
    return context.call_on_fit_task_begin(estimator=estimator, X=X, y=y)


def close_context(context: Any, estimator: Any, X: Any, y: Any) -> None:
    """Report the end of the fit."""
    if context is not None:
        context.call_on_fit_task_end(
            estimator=estimator, X=X, y=y, reconstruction_attributes=lambda: {"net_": estimator.net_}
        )

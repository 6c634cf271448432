"""Bad input loses nothing: an estimator as it was before a fit that failed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

from mixsk.engine import MixNet

OF_CALLBACKS = ("_callback_fit_ctx", "_skl_callbacks_to_teardown")  # by which scikit-learn ends its callbacks


@contextmanager
def nothing_lost(
    estimator: Any, but: tuple[type[BaseException], ...] = (), trains_on: bool = False
) -> Iterator[None]:
    """After an error the estimator is what it was: bad input does not cost a fitted model.

    Errors `but` leave it as it is by then. With `trains_on` the weights of `net_` are put back, too.
    """
    before, weights = dict(vars(estimator)), _copied(estimator.net_) if trains_on else []
    try:
        yield
    except but:
        raise
    except BaseException:  # Ctrl-C, too
        running = {name: value for name, value in vars(estimator).items() if name in OF_CALLBACKS}
        vars(estimator).clear()
        vars(estimator).update(before | running)
        for part, values in weights:
            part.load_state_dict(values)
        raise


def _copied(net: MixNet) -> list[tuple[Any, dict[str, Any]]]:
    """What training changes in a net, and its state."""
    parts = (net.module_, net.criterion_.aux, net.optimizer_, net.average_)
    return [(part, deepcopy(part.state_dict())) for part in parts if part is not None]

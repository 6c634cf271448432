"""What a pickle of a fitted classifier holds, and the network that is made of it."""

from __future__ import annotations

from typing import Any

import torch

from mixsk.classifiers._network import make_backbone, make_net, pick_device
from mixsk.classifiers._settings import settled


class Pickling:
    """Mixin: pickles of weights, which load where there is another device or another version of torch."""

    def __getstate__(self) -> dict[str, Any]:
        """Parameters, weights as arrays and the encoder: no device, no code of ours."""
        state = dict(super().__getstate__())
        net = state.pop("net_", None)
        if net is not None:
            weights = net.module_.state_dict()
            state["_weights"] = {name: value.cpu().numpy() for name, value in weights.items()}
            aux = net.criterion_.aux.state_dict()
            state["_aux_weights"] = {name: value.cpu().numpy() for name, value in aux.items()}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        weights, aux = state.get("_weights"), state.get("_aux_weights")
        hidden = ("_weights", "_aux_weights")
        super().__setstate__({name: value for name, value in state.items() if name not in hidden})
        if weights is not None:
            try:
                device = pick_device(self.device)
            except ValueError:  # trained on a GPU, loaded where there is none
                device = torch.device("cpu")
            fitted = type(self)(**self._fitted_params)  # set_params may have changed this estimator's own
            fitted.encoder_ = self.encoder_
            inputs = torch.int64 if self._encoded_kind() == "text" else self._dtype
            example = torch.ones(2, *self._shape, dtype=inputs, device=device)
            n_classes, seeds = len(self.classes_), [0] * (self._n_folds * fitted.n_members)
            fitted._structure = self._structure
            backbone = make_backbone(fitted, example, self._dtype, n_classes, seeds)
            training = settled(fitted, None)
            self.net_ = make_net(fitted, training, backbone, self._n_inputs, n_classes, seeds).initialize()
            for module, values in ((backbone, weights), (self.net_.criterion_.aux, aux)):
                module.load_state_dict({name: torch.as_tensor(value) for name, value in values.items()})

"""What a network brings to its training: options of its own optimiser; and training in bfloat16."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from small_fits import rows
from torch import nn

from mixsk import AMPClassifier, MixupClassifier
from mixsk.backbones import Training
from mixsk.backbones.mlp import MLP
from mixsk.rules import InfiniteClass


class Moving(MLP):
    """A perceptron that is trained with Nesterov's momentum."""

    trained_with = Training(optimizer="sgd", lr=0.1, options={"momentum": 0.9, "nesterov": True})

    def __init__(self, n_features, n_classes):
        super().__init__(n_features, n_classes, hidden=(5,))


@pytest.mark.parametrize(
    ("given", "momentum"),
    [
        ({}, 0.9),
        ({"optimizer": "sgd"}, 0.9),
        ({"optimizer__momentum": 0.5}, 0.5),
        ({"optimizer": torch.optim.SGD}, 0),
        ({"optimizer": "adam"}, None),
    ],
)
def test_a_networks_options_are_for_its_own_optimiser_and_the_users_come_first(given, momentum):
    X, y = rows()
    clf = MixupClassifier(module=Moving, max_epochs=1, random_state=0, **given).fit(X, y)
    group = clf.net_.optimizer_.param_groups[0]
    assert group.get("momentum") == momentum
    assert group.get("nesterov", False) == (momentum not in (0, None))


def test_a_networks_options_do_what_the_users_do():
    X, y = rows()
    own = MixupClassifier(module=Moving, max_epochs=3, random_state=0).fit(X, y)
    user = {"optimizer": torch.optim.SGD, "lr": 0.1, "optimizer__momentum": 0.9, "optimizer__nesterov": True}
    given = MixupClassifier(module=Moving, max_epochs=3, random_state=0, **user).fit(X, y)
    np.testing.assert_allclose(own.predict_proba(X), given.predict_proba(X), rtol=1e-5)


# --- bfloat16 ----------------------------------------------------------------------


class Small(nn.Module):
    """A convolution over the entries of a row."""

    def __init__(self, n_features, n_classes):
        super().__init__()
        self.conv = nn.Conv1d(1, 8, 3, padding=1)
        self.norm = nn.BatchNorm1d(8)
        self.head = nn.Linear(8 * n_features, n_classes)
        self.dtypes = []

    def forward(self, x):
        h = self.conv(x.unsqueeze(1))
        self.dtypes.append(h.dtype)
        return self.head(torch.relu(self.norm(h)).flatten(1))


@pytest.mark.parametrize("more", [{}, {"accumulate": 2, "ema": 0.8}])
def test_bfloat16_trains_a_small_convolution_on_the_cpu(more):
    X, y = rows(180)
    clf = MixupClassifier(
        module=Small, amp="bf16", max_epochs=30, lr=0.01, batch_size=32, random_state=0, device="cpu", **more
    ).fit(X, y)
    (network,) = (part for part in clf.net_.module_.modules() if isinstance(part, Small))
    assert set(network.dtypes) == {torch.float32, torch.bfloat16}  # the trial before training is not autocast
    assert clf.score(X, y) > 0.6
    assert clf.history_["train_loss"].iloc[-1] < clf.history_["train_loss"].iloc[0]


@pytest.mark.parametrize("amp", ["bf16", "fp16"])
@pytest.mark.parametrize("more", [{}, {"clean_weight": 1.0}])
def test_half_precision_cannot_tell_the_losses_that_amp_compares(amp, more):
    X, y = rows(60)
    with pytest.raises(ValueError, match=f"amp='{amp}' rounds numbers to fewer digits"):
        AMPClassifier(module=Small, amp=amp, max_epochs=1, **more).fit(X, y)


def test_infinite_class_mixup_keeps_its_targets_under_autocast():
    rng = torch.Generator().manual_seed(0)
    logits, t = torch.randn(1, 64, 10, generator=rng), torch.rand(1, 64, 10, generator=rng).softmax(-1)
    loss = InfiniteClass(class_prior="uniform")
    with torch.autocast("cpu", torch.bfloat16):
        found = loss(logits.bfloat16(), t)
    assert found.dtype == torch.float32
    assert_allclose(found, loss(logits.bfloat16().float(), t))

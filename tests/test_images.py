"""Classifiers on images: every form of X, every method, and what goes with them."""

import pickle
import warnings

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from skorch.callbacks import Callback
from torch import nn
from torch.utils.data import Dataset, TensorDataset

from mixsk import (
    AdaMixupClassifier,
    AMPClassifier,
    GenLabelClassifier,
    InfiniteMixupClassifier,
    LaMixClassifier,
    MixupClassifier,
)
from mixsk.backbones import Staged
from mixsk.classifiers._holdout import taken
from mixsk.encoding import Augment, DatasetImages, ImageEncoder
from mixsk.rules import PuzzleMix

FAST = {"max_epochs": 2, "batch_size": 32, "random_state": 0, "n_threads": 1}
SMALL = {"module": "resnet18", "module__width": 2, **FAST, "batch_size": 48}


@pytest.fixture(scope="module")
def digits():
    """96 digits of 12 x 12 pixels, uint8 (n, H, W)."""
    X, y = load_digits(return_X_y=True)
    images = (X[:96].reshape(-1, 8, 8) * 15.9).astype(np.uint8)
    return np.pad(images, ((0, 0), (2, 2), (2, 2))), y[:96]


@pytest.fixture(scope="module")
def colours(digits):
    """The same in three channels, last, each dimmed in its own way."""
    X, y = digits
    return np.stack([X, X // 2, 255 - X], -1), y


def weights(clf):
    return torch.cat([p.detach().flatten() for p in clf.net_.module_.parameters()])


def same(first, second):
    return torch.equal(weights(first), weights(second))


# --- forms of X ---------------------------------------------------------------------------------------


def test_grey_images_are_the_same_with_an_axis_of_channels_or_without(digits):
    X, y = digits
    expected = MixupClassifier(module="lenet", **FAST).fit(X, y)
    for other in (X[..., None], X[:, None], list(X)):
        clf = MixupClassifier(module="lenet", **FAST).fit(other, y)
        assert same(clf, expected)
        assert np.array_equal(clf.predict_proba(other), expected.predict_proba(X))


def test_channels_may_come_first_or_last(colours):
    X, y = colours
    last, first = (
        MixupClassifier(**SMALL).fit(v, y) for v in (X, np.ascontiguousarray(X.transpose(0, 3, 1, 2)))
    )
    assert same(last, first)


def test_rows_of_pixels_are_images_for_an_encoder_that_knows_their_shape(digits):
    X, y = digits
    rows = MixupClassifier(module="lenet", encoder=ImageEncoder(shape=(12, 12)), **FAST)
    rows.fit(X.reshape(len(X), -1), y)
    assert rows.n_features_in_ == 144
    assert same(rows, MixupClassifier(module="lenet", **FAST).fit(X, y))


def test_bytes_stay_bytes_and_are_not_copied(digits):
    X, y = digits
    train, _, _ = MixupClassifier(module="lenet", **FAST)._prepare(X, y)
    assert train.rows.X.dtype == torch.uint8
    assert np.shares_memory(train.rows.X.numpy(), X)


def test_a_memory_mapped_file_trains_as_an_array_does_and_is_not_read_at_once(digits, tmp_path):
    X, y = digits
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    train, _, _ = MixupClassifier(module="lenet", **FAST)._prepare(mapped, y)
    assert np.shares_memory(train.rows.X.numpy(), mapped)
    assert same(*(MixupClassifier(module="lenet", **FAST).fit(v, y) for v in (X, mapped)))


class Pairs(Dataset):
    """Images and labels, one by one."""

    def __init__(self, X, y):
        self.X, self.y = X, y

    def __len__(self):
        return len(self.X)

    def __getitem__(self, i):
        return self.X[i], int(self.y[i])


@pytest.mark.parametrize("n_workers", [0, 2])
def test_a_dataset_trains_as_its_images_in_an_array_do(digits, n_workers):
    X, y = digits
    from_dataset = MixupClassifier(module="lenet", encoder=ImageEncoder(n_workers=n_workers), **FAST)
    from_dataset.fit(Pairs(X, y), None)
    expected = MixupClassifier(module="lenet", **FAST).fit(X, y)
    assert same(from_dataset, expected)
    assert np.array_equal(from_dataset.predict(Pairs(X, y)), expected.predict(X))


def test_a_dataset_of_images_takes_labels_and_weights_beside_it(digits):
    X, y = digits
    images = TensorDataset(torch.from_numpy(X))
    w = np.ones(len(y))
    w[::3] = 0
    clf = MixupClassifier(module="lenet", **FAST).fit(images, y, sample_weight=w)
    expected = MixupClassifier(module="lenet", **FAST).fit(X[w > 0], y[w > 0])
    assert np.array_equal(clf.predict(X), expected.predict(X))


def test_a_dataset_may_be_the_validation_rows(digits):
    X, y = digits
    clf = MixupClassifier(module="lenet", **FAST)
    clf.fit(Pairs(X[:70], y[:70]), None, X_val=Pairs(X[70:], y[70:]))
    assert clf.history_["valid_acc"].notna().all()


def test_the_labels_of_a_dataset_are_scored_where_no_others_are_given(digits):
    X, y = digits
    clf = MixupClassifier(module="lenet", random_state=0, max_epochs=20, batch_size=32).fit(X, y)
    w = np.arange(len(y)) % 3.0
    for dataset in (Pairs(X, y), ImageEncoder().fit_transform(Pairs(X, y))):
        assert clf.score(dataset, None) == clf.score(X, y) > 0.2
        assert clf.score(dataset, None, sample_weight=w) == clf.score(X, y, w)
        assert clf.score(dataset, 1 - y) != clf.score(X, y)
    with pytest.raises(ValueError, match="requires y to be passed, but the target y is None"):
        clf.score(X, None)
    with pytest.raises(
        ValueError, match=r"images without labels, and y is None: return \(image, label\), or"
    ):
        clf.score(TensorDataset(torch.from_numpy(X)), None)


# --- methods ------------------------------------------------------------------------------------------

ONLINE = {"density": "gm", "density_at": "last", "density_schedule": "online"}
METHODS = {
    "plain": (MixupClassifier, {"mix": None}),
    "mixup": (MixupClassifier, {}),
    "cutmix": (MixupClassifier, {"mix": "cutmix", "mix_prob": 0.5}),
    "cutmix-sample": (MixupClassifier, {"mix": "cutmix", "lam_per": "sample"}),
    "puzzle": (MixupClassifier, {"mix": "puzzle"}),
    "puzzle-transport": (MixupClassifier, {"mix": PuzzleMix(transport=True)}),
    "half": (MixupClassifier, {"mix": "half"}),
    "manifold": (MixupClassifier, {"mix_at": "any"}),
    "hidden": (MixupClassifier, {"mix_at": "hidden"}),
    "nonlinear": (MixupClassifier, {"mix": "nonlinear", "mix_at": "last"}),
    "regmixup": (MixupClassifier, {"clean_weight": 1}),
    "remix": (MixupClassifier, {"label": "remix"}),
    "intrusions": (MixupClassifier, {"drop_intrusions": "last"}),
    "cutmix-regmixup": (MixupClassifier, {"mix": "cutmix", "clean_weight": 1}),
    "infinite": (InfiniteMixupClassifier, {"class_prior": "uniform"}),
    "ic-regmixup": (InfiniteMixupClassifier, {"clean_weight": 1}),
    "ic-remix": (InfiniteMixupClassifier, {"label": "remix"}),
    "ic-cutmix": (InfiniteMixupClassifier, {"mix": "cutmix"}),
    "lamix": (LaMixClassifier, {}),
    "lamix-puzzle": (LaMixClassifier, {"mix": "puzzle", "local_share": 1.0}),
    "genlabel-online": (GenLabelClassifier, ONLINE),
    "genlabel-online-manifold": (GenLabelClassifier, {**ONLINE, "mix_at": "any"}),
    "genlabel-latent": (GenLabelClassifier, {**ONLINE, "density_schedule": "warmup", "warmup": 0.4}),
    "amp": (AMPClassifier, {}),
    "amp-last": (AMPClassifier, {"mix_at": "last"}),
    "amp-stage-1": (AMPClassifier, {"mix_at": 1}),
    "adamixup": (AdaMixupClassifier, {}),
    "bf16": (MixupClassifier, {"amp": "bf16"}),
    "sgd": (MixupClassifier, {"optimizer": "sgd", "optimizer__momentum": 0.9, "schedule": "cosine"}),
}


@pytest.mark.parametrize("network", [FAST | {"module": "lenet"}, SMALL], ids=lambda p: p["module"])
@pytest.mark.parametrize("name", METHODS)
def test_every_method_trains_a_network_of_images(name, network, digits):
    X, y = digits
    cls, params = METHODS[name]
    clf = cls(**{**network, "lr": 0.01, **params})
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*pooled.*")  # few rows for the covariances of a latent density
        _, _, net = clf._prepare(X, y)
        before = [p.detach().clone() for p in net.module.parameters()]
        clf.fit(X, y)
    after = list(clf.net_.module_.parameters())
    assert all(p.isfinite().all() and not torch.equal(p, b) for p, b in zip(after, before, strict=True))
    assert np.isfinite(clf.history_["train_loss"]).all()
    np.testing.assert_allclose(clf.predict_proba(X).sum(1), 1)


@pytest.mark.parametrize(
    ("cls", "params"),
    [(MixupClassifier, {}), (InfiniteMixupClassifier, {}), (LaMixClassifier, {})],
)
def test_networks_of_images_learn(cls, params, digits):
    X, y = digits
    clf = cls(module="lenet", random_state=0, max_epochs=50, batch_size=32, n_threads=1, **params).fit(X, y)
    assert clf.score(X, y) > 0.95


def test_the_same_seed_gives_the_same_bits_with_augmentation(digits):
    X, y = digits
    made = [
        MixupClassifier(
            module="lenet", encoder=ImageEncoder(augment=Augment(crop=2, flip=True, rotation=10)), **FAST
        )
        for _ in range(2)
    ]
    assert same(*(clf.fit(X, y) for clf in made))


def test_augmentation_changes_training_rows_alone_and_no_other_stream(digits):
    X, y = digits
    plain = MixupClassifier(module="lenet", **FAST)
    augmented = MixupClassifier(module="lenet", encoder=ImageEncoder(augment="crop-flip"), **FAST)
    batches = []
    for clf in (plain, augmented):
        train, _, net = clf._prepare(X, y)
        net.initialize()
        (source,) = clf._batches(train, [net.criterion_], 32, 1)
        batches.append(next(iter(source)))
    assert torch.equal(batches[0].y, batches[1].y)
    assert torch.equal(batches[0].draw.lam, batches[1].draw.lam)
    assert torch.equal(batches[0].draw.perm, batches[1].draw.perm)
    assert not torch.equal(batches[0].x, batches[1].x)
    augmented.fit(X, y)
    assert np.array_equal(augmented.predict_proba(X), augmented.predict_proba(X))


# --- networks of the user's own -----------------------------------------------------------------------


class Net(nn.Module):
    def __init__(self, n_features=1, n_classes=10):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(n_features, 4, 3, 2, 1), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(4, 8, 3, 2, 1), nn.ReLU())
        self.fc = nn.Linear(8, n_classes)

    def forward(self, x):
        return self.fc(self.second(self.first(x)).mean((2, 3)))


@pytest.mark.parametrize("mix", ["linear", "cutmix", "puzzle"])
@pytest.mark.parametrize("module", [Net, Net()])
def test_a_network_of_the_users_own_sees_images(module, mix, digits):
    X, y = digits
    clf = MixupClassifier(module=module, mix=mix, **FAST).fit(X, y)
    assert clf.predict(X).shape == y.shape


@pytest.mark.parametrize(
    ("module", "encoder"), [("lenet", "auto"), ("lenet", ImageEncoder()), (Net(), ImageEncoder())]
)
def test_a_part_of_the_augmentation_is_a_parameter_of_the_classifier(module, encoder, digits):
    clf = MixupClassifier(module=module, encoder=clone(encoder, safe=False), **FAST)
    clf.set_params(encoder__augment__crop=2)
    assert clf.fit(*digits).encoder_.layout_.augment == Augment(crop=2)
    clf.set_params(encoder__augment="crop-flip", encoder__augment__crop=1)
    assert clf.encoder.augment == Augment(crop=1, flip=True)


def test_named_stages_of_a_users_network_can_be_mixed(digits):
    X, y = digits
    staged = Staged(Net(), sites=["first", "second"])
    for cls, params in (
        (MixupClassifier, {"mix_at": "any"}),
        (MixupClassifier, {"mix_at": 1}),
        (LaMixClassifier, {}),
        (GenLabelClassifier, ONLINE),
    ):
        before = [p.clone() for p in staged.parameters()]
        clf = cls(module=staged, **FAST, **params).fit(X, y)
        assert np.array_equal(clf.predict(X), pickle.loads(pickle.dumps(clf)).predict(X))
        assert all(torch.equal(a, b) for a, b in zip(before, staged.parameters(), strict=True))


# --- scikit-learn -------------------------------------------------------------------------------------


def test_a_fitted_classifier_can_be_pickled_and_cloned(digits):
    X, y = digits
    clf = MixupClassifier(**SMALL, mix="cutmix").fit(X, y)
    copy = pickle.loads(pickle.dumps(clf))
    assert np.array_equal(copy.predict_proba(X), clf.predict_proba(X))
    assert same(clone(clf).fit(X, y), clf)


def test_partial_fit_and_warm_start_go_on_with_images(digits):
    X, y = digits
    clf = MixupClassifier(module="lenet", **FAST)
    for part in range(0, 96, 48):
        clf.partial_fit(X[part : part + 48], y[part : part + 48], classes=np.arange(10))
    assert clf.n_iter_ == 2
    warm = MixupClassifier(module="lenet", warm_start=True, **FAST).fit(X, y).fit(X, y)
    assert warm.n_iter_ == 4


def test_searches_and_cross_validation_take_images(digits):
    X, y = digits
    clf = MixupClassifier(module="lenet", **FAST)
    scores = cross_val_score(clf, X, y, cv=2, error_score="raise")
    assert scores.shape == (2,)
    search = GridSearchCV(clf, {"mix": ["linear", "cutmix"]}, cv=2, error_score="raise").fit(X, y)
    assert search.best_params_["mix"] in ("linear", "cutmix")


def test_searches_and_cross_validation_take_a_dataset_with_labels_beside_it(digits):
    X, y = digits
    clf = MixupClassifier(module="lenet", **FAST)
    for dataset in (Pairs(X, y), TensorDataset(torch.from_numpy(X))):
        scores = cross_val_score(clf, dataset, y, cv=2, error_score="raise")
        assert np.array_equal(scores, cross_val_score(clf, X, y, cv=2, error_score="raise"))
    search = GridSearchCV(clf, {"encoder__augment__crop": [1, 2]}, cv=2, error_score="raise")
    found = search.fit(Pairs(X, y), y).best_estimator_
    assert found.encoder_.layout_.augment in (Augment(crop=1), Augment(crop=2))


class Lazy(ImageEncoder):
    """An encoder that refuses images which somebody has read."""

    def fit_transform(self, X, y=None):
        assert isinstance(X, DatasetImages)
        return super().fit_transform(X, y)

    def transform(self, X):
        assert isinstance(X, DatasetImages)
        return super().transform(X)


def test_folds_of_a_dataset_are_not_read_into_memory(digits):
    X, y = digits
    w = 1 + np.arange(len(y)) % 2
    lazy = MixupClassifier(module="lenet", encoder=Lazy(), calibrate=True, **FAST)
    lazy.fit(Pairs(X, y), None, sample_weight=w)
    expected = MixupClassifier(module="lenet", calibrate=True, **FAST).fit(X, y, sample_weight=w)
    assert lazy.temperature_ == expected.temperature_ != 1
    images = ImageEncoder().fit_transform(Pairs(X, y))
    part, labels, weights = taken(images, y, w, np.array([5, 2]))
    assert isinstance(part, DatasetImages)
    assert np.array_equal(part[:], X[[5, 2], None])
    assert (labels.tolist(), weights.tolist()) == (y[[5, 2]].tolist(), w[[5, 2]].tolist())


def test_images_go_through_a_pipeline_of_rows(digits):
    X, y = digits
    pipe = make_pipeline(
        "passthrough", MixupClassifier(module="lenet", encoder=ImageEncoder(shape=(12, 12)), **FAST)
    )
    assert pipe.fit(X.reshape(len(X), -1), y).predict(X.reshape(len(X), -1)).shape == y.shape


def test_early_stopping_and_calibration_hold_images_out(digits):
    X, y = digits
    clf = MixupClassifier(module="lenet", early_stopping=True, calibrate=True, **FAST).fit(X, y)
    assert "valid_loss" in clf.history_
    assert clf.temperature_ > 0


# --- training -----------------------------------------------------------------------------------------


class Lost(Callback):
    """Ends training in the middle of its second epoch, as a lost machine does."""

    def on_batch_end(self, net, training=False, **kwargs):
        if training and len(net.history) == 2:
            raise RuntimeError("lost")


@pytest.mark.parametrize("form", ["array", "dataset"])
@pytest.mark.parametrize(
    ("cls", "params"),
    [
        (MixupClassifier, {"mix": "cutmix", "mix_prob": 0.5}),
        (MixupClassifier, {"mix": "puzzle"}),
        (LaMixClassifier, {}),
        (GenLabelClassifier, ONLINE),
        (AMPClassifier, {"mix_at": 1, "ema": 0.9, "accumulate": 2}),
    ],
)
def test_a_fit_to_images_that_was_lost_goes_on_from_its_checkpoint(cls, params, form, digits, tmp_path):
    X, y = digits if form == "array" else (Pairs(*digits), None)
    params = {**SMALL, "max_epochs": 4, "encoder": ImageEncoder(augment="crop-flip"), **params}
    whole = cls(**params).fit(X, y)
    clf = cls(**params, checkpoint=tmp_path / "fit.pt", callbacks=[Lost()])
    with pytest.raises(RuntimeError, match="lost"):
        clf.fit(X, y)
    clf.set_params(callbacks=None).fit(X, y)
    assert same(clf, whole)
    assert np.array_equal(clf.predict_proba(X), whole.predict_proba(X))
    assert clf.n_iter_ == 4


def test_channels_last_is_a_matter_of_speed_alone(digits):
    X, y = digits
    nets = [
        MixupClassifier(**SMALL, module__channels_last=on, dtype="float64", mix_at="any").fit(X, y)
        for on in (True, False)
    ]
    np.testing.assert_allclose(*(clf.predict_proba(X) for clf in nets), rtol=1e-6, atol=1e-9)


def test_options_of_the_networks_own_optimiser_go_with_it_alone(digits):
    X, y = digits
    groups = {}
    for optimizer in ("auto", "sgd", "adam"):
        clf = MixupClassifier(**SMALL, optimizer=optimizer).fit(X, y)
        groups[optimizer] = clf.net_.optimizer_.param_groups[0]
    assert groups["auto"]["nesterov"]
    assert groups["sgd"]["momentum"] == 0.9
    assert "momentum" not in groups["adam"]


def test_the_policy_of_adamixup_shares_the_body_and_leaves_its_statistics_alone(digits):
    X, y = digits
    clf = AdaMixupClassifier(**SMALL)
    train, _, net = clf._prepare(X, y)
    net.initialize()
    net.module_.train()
    policy = net.criterion_.method.policy_
    (source,) = clf._batches(train, [net.criterion_], 48, 1)
    batch = next(iter(source))
    before = {name: value.clone() for name, value in net.module_.named_buffers()}
    shares = policy(batch.x, batch.x.flip(1), net.module_)
    assert shares.shape == (1, 48, 3)
    torch.testing.assert_close(shares.sum(-1), torch.ones(1, 48))
    assert all(torch.equal(before[name], value) for name, value in net.module_.named_buffers())
    shares[..., 0].sum().backward()
    assert next(net.module_.stages.parameters()).grad.abs().sum() > 0
    assert policy.gates.grad.abs().sum() > 0

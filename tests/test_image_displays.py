"""Mixed images are those of training; activation maps are the networks' own, worked out another way."""

import pickle
import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from skorch.callbacks import Callback
from torch import nn

from mixsk import (
    AdaMixupClassifier,
    AMPClassifier,
    GenLabelClassifier,
    LaMixClassifier,
    MixupClassifier,
)
from mixsk.encoding import ImageEncoder
from mixsk.plots import ActivationMapDisplay, MixedImagesDisplay

NAMES = np.array(["cat", "dog", "owl"])
LENET = {
    "module": "lenet",
    "pair": "other_class",
    "max_epochs": 1,
    "batch_size": 16,
    "random_state": 0,
    "n_threads": 1,
}
RESNET = {"module": "preact_resnet18", "module__width": 2, "max_epochs": 1, "n_threads": 1, "random_state": 0}


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def images():
    """Colour images, channels last, in which hardly a pixel of two is equal; and their classes."""
    rng = np.random.default_rng(0)
    y = NAMES[rng.integers(3, size=48)]
    X = rng.integers(0, 200, (48, 16, 16, 3))
    X[y == "cat", :8] += 50
    X[y == "owl", :, :8] += 50
    return X.astype(np.uint8), y


def fitted(images, cls=MixupClassifier, **params):
    return cls(**{**LENET, "mix": "linear", **params}).fit(*images)


def one_hot(labels):
    return (np.asarray(labels)[..., None] == NAMES).astype(float)


def mask_of(display):
    """The share of each pixel that is the first image's, (n, H, W); the same in all channels."""
    first, partner, mixed = (np.asarray(v) for v in (display.images, display.partners, display.mixed))
    apart = np.abs(first - partner).argmax(axis=1, keepdims=True)  # the channel that tells most
    first, partner, mixed = (np.take_along_axis(v, apart, 1)[:, 0] for v in (first, partner, mixed))
    return (mixed - partner) / np.where(first == partner, np.nan, first - partner)


# --- what is shown is what training sees --------------------------------------------------------------


def test_linear_mixtures_of_the_given_images_with_their_labels(images):
    X, y = images
    display = MixedImagesDisplay.from_estimator(fitted(images), X, y, n_images=5)
    for shown, column in ((display.images, 0), (display.partners, 1)):
        for image, label in zip(shown, display.labels[:, column], strict=True):
            (row,) = np.flatnonzero(np.abs(X.transpose(0, 3, 1, 2) - image).max(axis=(1, 2, 3)) < 0.01)
            assert y[row] == label
    lam = display.lam[:, None, None, None]
    assert_allclose(display.mixed, lam * display.images + (1 - lam) * display.partners, atol=1e-3)
    first, partner = one_hot(display.labels).swapaxes(0, 1)
    lam = display.lam[:, None]
    assert_allclose(display.targets, lam * first + (1 - lam) * partner, atol=1e-6)
    assert_allclose(display.share, display.lam)
    assert len(set(display.lam)) == 5  # though each batch has one


def test_cutmix_takes_a_box_from_the_partner_and_the_label_follows_its_area(images):
    display = MixedImagesDisplay.from_estimator(
        fitted(images, mix="cutmix"), *images, lam=[0.3, 0.7], n_images=2
    )
    for mask, share in zip(mask_of(display), display.share, strict=True):
        rows, columns = np.nonzero(np.abs(mask) < 1e-3)
        box = (slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1))
        expected = np.ones((16, 16))
        expected[box] = 0
        assert_allclose(mask[np.isfinite(mask)], expected[np.isfinite(mask)], atol=1e-3)
        assert_allclose(share, expected.mean(), atol=1e-6)
    first, partner = one_hot(display.labels).swapaxes(0, 1)
    share = display.share[:, None]
    assert_allclose(display.targets, share * first + (1 - share) * partner, atol=1e-6)
    assert (display.share >= [0.3, 0.7]).all()


def test_puzzlemix_has_the_mask_whose_mean_is_its_share(images):
    clf = fitted(images, mix="puzzle")
    display = MixedImagesDisplay.from_estimator(clf, *images, lam=[0.2, 0.5, 0.8], n_images=3)
    mask = mask_of(display)
    assert_allclose(mask, np.round(2 * mask) / 2, atol=1e-2)
    assert_allclose(np.nanmean(mask, axis=(1, 2)), display.share, atol=1e-2)


def test_lamix_shows_means_and_the_learnt_half_of_the_label(images):
    clf = fitted(images, LaMixClassifier, mix="half")
    display = MixedImagesDisplay.from_estimator(clf, *images, n_images=3)
    assert_allclose(display.mixed, (display.images + display.partners) / 2, atol=1e-3)
    layout, module = clf.encoder_.layout_, clf.net_.module_
    mean, std = (np.array(v)[:, None, None] for v in (layout.mean, layout.std))
    x = torch.as_tensor((display.mixed - mean) / std).float()
    with torch.no_grad():
        for stage in module.stages:
            x = stage(x)
    weights = {name: value.detach().numpy()[0] for name, value in clf.net_.criterion_.aux.named_parameters()}
    w, b = weights["label.weight"], weights["label.bias"]
    scores = 1 / (1 + np.exp(-(x.numpy() @ (w.T if w.shape[0] == 3 else w) + b)))
    p = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    first, partner = one_hot(display.labels).swapaxes(0, 1)
    lam = display.lam[:, None]
    assert_allclose(display.targets, (lam * first + (1 - lam) * partner + p) / 2, atol=1e-5)


class Keeper(Callback):
    """Keeps the first image of each batch of training, as the network sees it."""

    kept = []

    def on_batch_begin(self, net, batch=None, training=True, **kwargs):
        if training:
            self.kept.append(batch[0][0].numpy().copy())


def test_without_a_seed_the_first_images_are_those_of_the_first_batches_of_fit_augmented(images):
    Keeper.kept.clear()
    encoder = ImageEncoder(augment="crop-flip")
    clf = fitted(images, encoder=encoder, callbacks=[Keeper()], label_smoothing=0.1, mix="cutmix")
    display = MixedImagesDisplay.from_estimator(clf, *images, n_images=3)
    mean, std = (np.array(v)[:, None, None] for v in (clf.encoder_.layout_.mean, clf.encoder_.layout_.std))
    assert_allclose(display.images, np.array(Keeper.kept[:3]) * std + mean, atol=1e-2)
    other = MixedImagesDisplay.from_estimator(clf, *images, n_images=3, random_state=1)
    assert np.abs(other.images - display.images).max() > 1
    assert (display.targets > 0.03).all()  # smoothed


def test_amp_moves_lam_of_the_image_and_not_of_the_label(images):
    clf = fitted(images, AMPClassifier, epsilon=0.2, lam_per="batch")
    display = MixedImagesDisplay.from_estimator(clf, *images, n_images=6, lam=0.5)
    assert_allclose(np.nanmedian(mask_of(display), axis=(1, 2)), display.lam, atol=1e-3)
    moved = np.abs(display.lam - 0.5)
    assert moved.max() > 0.01
    assert moved.max() <= 0.2 + 1e-6
    different = display.labels[:, 0] != display.labels[:, 1]
    assert_allclose(display.targets[different].max(axis=1), 0.5, atol=1e-6)


@pytest.mark.parametrize(
    ("cls", "params"),
    [
        (AdaMixupClassifier, {}),
        (MixupClassifier, {"clean_weight": 1, "mix_prob": 0.01, "mix_off": 0.5}),
        (MixupClassifier, {"mix_at": "any"}),
        (GenLabelClassifier, {"density_at": "last", "density_schedule": "online"}),
    ],
)
def test_every_method_shows_mixtures_in_the_shares_it_says(images, cls, params):
    display = MixedImagesDisplay.from_estimator(fitted(images, cls, **params), *images, n_images=4)
    lam = display.lam[:, None, None, None]
    assert_allclose(display.mixed, lam * display.images + (1 - lam) * display.partners, atol=2e-3)
    assert_allclose(display.targets.sum(axis=1), 1, atol=1e-6)
    assert ((display.lam > 0) & (display.lam < 1)).any()


def test_nothing_is_changed_and_a_pickle_draws_the_same(images):
    clf = fitted(images, GenLabelClassifier, density_at="last", density_schedule="online")
    parts = (clf.net_.module_, clf.net_.criterion_)
    before = [{name: value.clone() for name, value in part.state_dict().items()} for part in parts]
    proba = clf.predict_proba(images[0])
    states = np.random.get_state()[1].copy(), torch.get_rng_state()
    display = MixedImagesDisplay.from_estimator(clf, *images, n_images=2)
    for part, values in zip(parts, before, strict=True):
        assert values.keys() == part.state_dict().keys()
        assert all(torch.equal(value, values[name]) for name, value in part.state_dict().items())
    assert np.array_equal(np.random.get_state()[1], states[0])
    assert torch.equal(torch.get_rng_state(), states[1])
    assert np.array_equal(clf.predict_proba(images[0]), proba)
    again = MixedImagesDisplay.from_estimator(pickle.loads(pickle.dumps(clf)), *images, n_images=2)
    assert_allclose(again.mixed, display.mixed, atol=1e-4)
    assert_allclose(again.targets, display.targets, atol=1e-5)


# --- the picture --------------------------------------------------------------------------------------


def test_the_picture_has_a_column_for_each_pair_and_the_largest_shares_as_bars(images):
    display = MixedImagesDisplay.from_estimator(fitted(images), *images, n_images=3, lam=0.25)
    assert display.axes_.shape == (4, 3)
    for k in range(3):
        first, partner, mixed, label = display.axes_[:, k]
        assert (first.get_title(), partner.get_title()) == tuple(display.labels[k])
        assert mixed.get_title() == "lam 0.25"
        assert_allclose(mixed.images[0].get_array(), display.mixed[k].transpose(1, 2, 0) / 255, atol=1e-6)
        shares = np.sort(display.targets[k][display.targets[k] > 0.005])[::-1]
        assert_allclose([bar.get_width() for bar in display.bars_[k]], shares)
        best = NAMES[display.targets[k].argmax()]
        assert label.texts[0].get_text() == f"{best} {shares[0]:.2f}"


def test_the_picture_can_be_drawn_into_a_part_of_a_figure_and_of_plain_numbers():
    figure = plt.figure(layout="constrained")
    part = figure.subfigures(1, 2)[1]
    grey = np.linspace(0, 1, 2 * 16).reshape(2, 1, 4, 4)
    display = MixedImagesDisplay(
        images=grey,
        partners=grey,
        mixed=grey,
        targets=[[0.5, 0.3, 0.2], [0, 0, 1]],
        lam=[0.4, 1],
        share=[0.5, 1],
        classes=["a", "a very long name", "c"],
        kept=[False, True],
        limits=(0, 1),
    )
    assert display.plot(part, n_shares=2) is display
    assert display.figure_ is part
    assert len(part.axes) == 8
    assert display.axes_[2, 0].get_title() == "lam 0.40\nshare 0.50\ndropped"
    assert [text.get_text() for text in display.axes_[3, 0].texts] == ["a 0.50", "a very l… 0.30"]
    assert display.axes_[0, 0].images[0].get_array().shape == (4, 4)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"n_images": 0}, "n_images must be an int >= 1. Got 0"),
        ({"lam": 1.5}, r"lam must be a number in \[0, 1\].*Got 1.5"),
        ({"lam": [0.5, 0.5]}, "n_images=8 of them"),
        ({"lam": "half"}, "Got 'half'"),
        ({"n_shares": 0}, "n_shares must be an int >= 1. Got 0"),
        ({"y": ["cat"] * 3}, "inconsistent numbers of samples"),
        ({"y": ["cow"] * 48}, r"labels that were not seen in fit: \['cow'\]"),
        ({"X": np.zeros((48, 16, 16), np.uint8)}, "channel"),
    ],
)
def test_what_cannot_be_shown_is_an_error_that_says_so(images, params, words):
    X, y = images
    with pytest.raises(ValueError, match=words):
        MixedImagesDisplay.from_estimator(fitted(images), **{"X": X, "y": y, **params})
    assert plt.get_fignums() == []


def test_only_fitted_classifiers_that_mix_images_can_be_shown(images):
    X, y = images
    with pytest.raises(NotFittedError):
        MixedImagesDisplay.from_estimator(MixupClassifier(module="lenet"), X, y)
    with pytest.raises(ValueError, match="a network of mixsk, but got LogisticRegression"):
        MixedImagesDisplay.from_estimator(LogisticRegression(), X, y)
    table = MixupClassifier(module="mlp", max_epochs=1).fit(X[:, 0, 0], y)
    with pytest.raises(ValueError, match=r"fitted to a table \(module='mlp'\). Use MixedPointsDisplay"):
        MixedImagesDisplay.from_estimator(table, X[:, 0, 0], y)
    with pytest.raises(ValueError, match="fitted to a table"):
        ActivationMapDisplay.from_estimator(table, X[:, 0, 0])
    with pytest.raises(ValueError, match="this MixupClassifier mixes nothing"):
        MixedImagesDisplay.from_estimator(fitted(images, mix=None, pair="any"), X, y)
    with pytest.raises(ValueError, match=r"mixes at the stages \(3,\)"):
        MixedImagesDisplay.from_estimator(fitted(images, mix_at="last"), X, y)


# --- activation maps ----------------------------------------------------------------------------------


def enlarged(coarse, size):
    """Bilinear interpolation between the middles of the places; beyond the outer ones as they are."""
    at = [(np.arange(size) + 0.5) * n / size - 0.5 for n in coarse.shape]
    low = [np.clip(np.floor(v), 0, n - 1).astype(int) for v, n in zip(at, coarse.shape, strict=True)]
    high = [np.minimum(v + 1, n - 1) for v, n in zip(low, coarse.shape, strict=True)]
    part = [np.clip(v, 0, None) - w for v, w in zip(at, low, strict=True)]
    rows = coarse[low[0]] * (1 - part[0])[:, None] + coarse[high[0]] * part[0][:, None]
    return rows[:, low[1]] * (1 - part[1]) + rows[:, high[1]] * part[1]


@pytest.fixture(scope="module")
def resnet(images):
    return MixupClassifier(mix="linear", **RESNET).fit(*images)


def prepared(clf, X):
    encoded = torch.as_tensor(np.ascontiguousarray(clf.encoder_.transform(X)))
    return clf.encoder_.layout_.prepare(encoded, clf._dtype)


def test_the_map_of_a_network_that_averages_is_its_head_over_the_last_features(resnet, images):
    display = ActivationMapDisplay.from_estimator(resnet, images[0], n_images=3, labels="owl")
    assert display.method == "cam"
    module = resnet.net_.module_.eval()
    with torch.no_grad():
        h = prepared(resnet, images[0][:3])
        for stage in module.stages[:-1]:
            h = stage(h)
        features = module.stages[-1][:-1](h).numpy()  # all but the pooling
        scores = module(prepared(resnet, images[0][:3])[None])[0].numpy()
    weight, bias = module.head.weight.detach().numpy()[0], module.head.bias.detach().numpy()[0, 0]
    weight = weight if weight.shape[0] == 3 else weight.T
    for k in range(3):
        coarse = sum(weight[2, c] * features[k, c] for c in range(features.shape[1]))
        assert coarse.shape == (2, 2)
        assert_allclose(coarse.mean() + bias[2], scores[k, 2], rtol=1e-3, atol=1e-4)
        assert_allclose(display.maps[k], enlarged(coarse, 16), rtol=1e-3, atol=1e-4)
    assert display.labels.tolist() == ["owl"] * 3
    assert_allclose(display.proba, resnet.predict_proba(images[0][:3])[:, 2], rtol=1e-5)
    assert_allclose(display.images, images[0][:3].transpose(0, 3, 1, 2), atol=1e-2)


@pytest.mark.parametrize("module", ["resnet18", "wrn16_8", "densenet121"])
def test_networks_that_average_have_maps_that_agree_but_for_the_number_of_places(images, module):
    width = {"module__width": 4} if module != "wrn16_8" else {}
    X, y = images[0][:8], images[1][:8]
    clf = MixupClassifier(**{**RESNET, "mix": "linear", "module": module, **width}).fit(X, y)
    cam, grad = (
        ActivationMapDisplay.from_estimator(clf, X, n_images=2, method=m) for m in ("cam", "grad-cam")
    )
    places = (4 if module == "wrn16_8" else 2) ** 2
    assert (cam.method, grad.method) == ("cam", "grad-cam")
    assert_allclose(cam.maps, places * grad.maps, rtol=1e-3, atol=1e-4 * np.abs(cam.maps).max())


def test_the_map_of_another_network_is_weighed_by_slopes(images):
    X, y = images
    clf = MixupClassifier(mix="linear", dtype="float64", **LENET).fit(X, y)
    display = ActivationMapDisplay.from_estimator(clf, X, n_images=2)
    assert display.method == "grad-cam"
    assert display.labels.tolist() == clf.predict(X[:2]).tolist()
    module = clf.net_.module_.eval()
    convolution, pool, relu = module.stages[1]
    codes = np.searchsorted(NAMES, display.labels)

    def score(features, k):
        return float(module.head(module.stages[2](relu(pool(features[None])))[None])[0, 0, codes[k]])

    with torch.no_grad():
        features = convolution(module.stages[0](prepared(clf, X[:2])))
        assert (features < 0).any()  # what a map is not of: the pooling comes before the activation
        for k in range(2):
            coarse, step = 0, 1e-4
            for c, channel in enumerate(features[k]):
                up, down = features[k].clone(), features[k].clone()
                up[c] += step
                down[c] -= step
                slope = (score(up, k) - score(down, k)) / (2 * step) / channel.numel()
                coarse = coarse + slope * channel.clamp(min=0).numpy()
            assert coarse.shape == (4, 4)
            scale = np.abs(coarse).max()
            assert_allclose(display.maps[k], enlarged(coarse, 16), atol=1e-3 * scale)


class Averaging(nn.Module):
    """A network of the user's own that averages, and does not say so."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU())
        self.head = nn.Linear(5, 3)

    def forward(self, x):
        return self.head(self.body(x).mean((2, 3)))


def test_a_network_of_the_users_own_has_maps_by_slopes(images):
    X, y = images
    clf = MixupClassifier(
        module=Averaging(), mix="linear", encoder=ImageEncoder(), max_epochs=1, random_state=0
    ).fit(X, y)
    display = ActivationMapDisplay.from_estimator(clf, X, labels=y, n_images=4)
    own = clf.net_.module_.head.module
    assert display.method == "grad-cam"
    with torch.no_grad():
        features = own.body(prepared(clf, X[:4]))
        for k in range(4):
            w = own.head.weight[list(NAMES).index(y[k])]
            coarse = (w[:, None, None] * features[k]).sum(0).numpy() / (14 * 14)
            assert_allclose(display.maps[k], enlarged(coarse, 16), rtol=1e-3, atol=1e-6)


class Plain(nn.Module):
    """A network of the user's own whose features may be below zero for the head, or not."""

    def __init__(self, rectified):
        super().__init__()
        self.conv, self.linear, self.rectified = nn.Conv2d(3, 5, 3), nn.Linear(5 * 7 * 7, 3), rectified

    def forward(self, x):
        h = self.conv(x)
        h = nn.functional.relu(h) if self.rectified else h
        return self.linear(nn.functional.avg_pool2d(h, 2).flatten(1))


@pytest.mark.parametrize("rectified", [True, False])
def test_a_map_is_of_features_as_the_rest_of_the_network_sees_them(images, rectified):
    X, y = images
    fixed = {"mix": "linear", "encoder": ImageEncoder(), "max_epochs": 1, "random_state": 0}
    clf = MixupClassifier(module=Plain(rectified), **fixed).fit(X, y)
    display = ActivationMapDisplay.from_estimator(clf, X, labels=y, n_images=4)
    own = clf.net_.module_.head.module
    with torch.no_grad():
        features = own.conv(prepared(clf, X[:4]))
        assert (features < 0).any()
        # The slope in a pixel is a quarter of its pool's weight, and 0 where the activation is.
        weight = own.linear.weight.reshape(3, 5, 7, 7).repeat_interleave(2, -2).repeat_interleave(2, -1) / 4
        for k in range(4):
            active = (features[k] > 0).float() if rectified else 1.0
            a = (active * weight[list(NAMES).index(y[k])]).mean((1, 2), keepdim=True)
            coarse = (a * active * features[k]).sum(0).numpy()
            assert_allclose(display.maps[k], enlarged(coarse, 16), rtol=1e-3, atol=1e-6)


def test_maps_lie_over_images_in_the_axes_that_are_given(resnet, images):
    X, _ = images
    _, axes = plt.subplots(2, 2)
    before = np.random.get_state()[1].copy(), torch.get_rng_state()
    display = ActivationMapDisplay.from_estimator(resnet, X[:2], axes=axes[0])
    assert np.array_equal(np.random.get_state()[1], before[0])
    assert torch.equal(torch.get_rng_state(), before[1])
    assert [len(ax.images) for ax in axes.ravel()] == [2, 2, 0, 0]
    for drawn, each in zip(display.maps_, display.maps, strict=True):
        assert_allclose(drawn.get_array(), (each / max(each.max(), 1e-30)).clip(0), rtol=1e-5)
    assert axes[0, 0].get_title() == f"{display.labels[0]} {display.proba[0]:.2f}"
    display.plot(axes[1], alpha=0, titles=False)
    assert_allclose(axes[1, 0].images[0].get_array(), X[0] / 255, atol=1e-4)
    assert axes[1, 0].get_title() == ""


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"method": "lime"}, r"method must be one of \('auto', 'cam', 'grad-cam'\). Got 'lime'"),
        ({"n_images": 0}, "n_images must be an int >= 1 or None. Got 0"),
        ({"labels": "cow"}, r"not seen in fit: \['cow'\]"),
        ({"labels": ["cat", "dog"]}, "one for each of the 48 images of X"),
    ],
)
def test_what_has_no_map_is_an_error_that_says_so(resnet, images, params, words):
    with pytest.raises(ValueError, match=words):
        ActivationMapDisplay.from_estimator(resnet, images[0], **params)
    assert plt.get_fignums() == []


def test_maps_need_convolutions_that_are_averaged_for_cam_and_as_many_axes_as_images(resnet, images):
    X, y = images
    with pytest.raises(ValueError, match=r"'cam' needs a network that averages.*module='lenet' does not"):
        ActivationMapDisplay.from_estimator(fitted(images), X, method="cam")
    flat = nn.Sequential(nn.Flatten(), nn.Linear(768, 3))
    clf = MixupClassifier(module=flat, mix="linear", encoder=ImageEncoder(), max_epochs=1).fit(X, y)
    with pytest.raises(ValueError, match=r"has no nn\.Conv2d"):
        ActivationMapDisplay.from_estimator(clf, X)
    with pytest.raises(ValueError, match=r"axes must be as many as images, 8\. Got 2"):
        ActivationMapDisplay.from_estimator(resnet, X, axes=plt.subplots(1, 2)[1])


@pytest.mark.parametrize("display", [MixedImagesDisplay, ActivationMapDisplay])
def test_without_matplotlib_the_error_names_the_extra(display, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    args = (None, None, None) if display is MixedImagesDisplay else (None, None)
    with pytest.raises(ImportError, match=rf"{display.__name__} needs matplotlib.*mixsk\[plots\]"):
        display.from_estimator(*args)

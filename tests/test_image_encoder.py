"""ImageEncoder: images as the user has them become (n, C, H, W), mostly in the same memory."""

import copy
import multiprocessing
import pickle
import re
import tracemalloc
import warnings
from fractions import Fraction

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
import skops.io
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import estimator_checks_generator
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset

from mixsk.encoding import Augment, DatasetImages, ImageEncoder, ImageLayout, check_image_type
from mixsk.encoding import pixels as pixels_module


def images(*shape, dtype=np.uint8, seed=0):
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return rng.random(shape).astype(dtype)
    return rng.integers(0, 256, shape).astype(dtype)


GREY, COLOUR = images(6, 5, 7), images(6, 3, 5, 7)
GREY[0, 0, :2] = 0, 255
CHECKS = list(estimator_checks_generator(ImageEncoder(shape=(1, 1, -1))))


# Not parametrize_with_checks: that of scikit-learn 1.6 hands pytest a generator, which pytest 9 warns about.
@pytest.mark.parametrize(("estimator", "check"), CHECKS, ids=[c.func.__name__ for _, c in CHECKS])
def test_scikit_learn_checks_pass_on_rows_of_pixels(estimator, check):
    check(estimator)


def test_more_than_forty_scikit_learn_checks_run():
    assert len(CHECKS) > 40


# Shapes


@pytest.mark.parametrize(
    ("X", "options", "expected"),
    [
        (GREY, {}, GREY[:, None]),
        (GREY[..., None], {}, GREY[:, None]),
        (GREY[:, None], {}, GREY[:, None]),
        (COLOUR, {}, COLOUR),
        (COLOUR.transpose(0, 2, 3, 1), {}, COLOUR),
        (images(2, 4, 9, 8), {}, images(2, 4, 9, 8)),
        (images(2, 3, 5, 3), {"channels": "first"}, images(2, 3, 5, 3)),
        (images(2, 3, 5, 3), {"channels": "last"}, images(2, 3, 5, 3).transpose(0, 3, 1, 2)),
        (images(2, 6, 7, 2), {"channels": "last"}, images(2, 6, 7, 2).transpose(0, 3, 1, 2)),
        (GREY.reshape(6, -1), {"shape": (5, 7)}, GREY[:, None]),
        (GREY.reshape(6, -1), {"shape": (-1, 7)}, GREY[:, None]),
        (images(2, 5, 7, 3).reshape(2, -1), {"shape": (5, 7, 3), "channels": "first"}, images(2, 5, 7, 3)),
        (COLOUR.reshape(6, -1), {"shape": (3, 5, 7)}, COLOUR),
        (COLOUR.reshape(6, -1), {"shape": [3, -1, 7]}, COLOUR),
        (
            COLOUR.transpose(0, 2, 3, 1).reshape(6, -1),
            {"shape": (3, 5, 7), "channels": "last"},
            COLOUR,
        ),
        (COLOUR, {"shape": (3, 5, -1)}, COLOUR),
        (np.asfortranarray(COLOUR.reshape(6, -1)), {"shape": (3, 5, 7)}, COLOUR),
        (torch.from_numpy(COLOUR), {}, COLOUR),
        (list(GREY), {}, GREY[:, None]),
        (tuple(torch.from_numpy(COLOUR)), {}, COLOUR),
        (GREY.tolist(), {}, GREY[:, None]),
        (pd.Series(list(GREY)), {}, GREY[:, None]),
        (np.ma.array(GREY), {}, GREY[:, None]),
    ],
)
@pytest.mark.parametrize("together", [True, False])
def test_every_shape_becomes_images_by_channels_height_and_width(X, options, expected, together):
    encoder = ImageEncoder(**options)
    encoded = encoder.fit_transform(X) if together else encoder.fit(X).transform(X)
    np.testing.assert_array_equal(encoded, expected)
    assert encoded.dtype == expected.dtype
    assert encoder.layout_.shape == expected.shape[1:]


def test_an_array_of_arrays_is_a_list_of_images():
    X = np.empty(6, dtype=object)
    X[:] = list(GREY)
    np.testing.assert_array_equal(ImageEncoder().fit_transform(X), GREY[:, None])


def test_transform_takes_the_other_order_of_axes_if_it_fits():
    encoder = ImageEncoder().fit(COLOUR)
    np.testing.assert_array_equal(encoder.transform(COLOUR.transpose(0, 2, 3, 1)), COLOUR)
    ambiguous = images(4, 3, 3, 3)
    for channels, order in (("first", (0, 1, 2, 3)), ("last", (0, 3, 1, 2))):
        encoder = ImageEncoder(channels=channels).fit(ambiguous).set_params(channels="auto")
        np.testing.assert_array_equal(encoder.transform(ambiguous), ambiguous.transpose(order))


def test_rows_of_a_frame_keep_their_names():
    frame = pd.DataFrame(GREY.reshape(6, -1), columns=[f"pixel{i}" for i in range(35)])
    encoder = ImageEncoder(shape=(5, 7))
    np.testing.assert_array_equal(encoder.fit_transform(frame), GREY[:, None])
    assert encoder.n_features_in_ == 35
    assert encoder.feature_names_in_[3] == "pixel3"
    np.testing.assert_array_equal(encoder.transform(GREY), GREY[:, None])  # images have no columns
    with pytest.raises(ValueError, match="feature names should match"):
        encoder.transform(frame.rename(columns={"pixel3": "other"}))
    assert not hasattr(encoder.fit(GREY), "n_features_in_")
    assert encoder.transform(pl.DataFrame(GREY.reshape(6, -1))).shape == (6, 1, 5, 7)


# Types


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.uint16, np.int64, ">i4"])
def test_whole_numbers_up_to_255_become_bytes(dtype):
    X = (GREY // 2).astype(dtype)
    encoded = ImageEncoder().fit_transform(X)
    assert encoded.dtype == np.uint8
    np.testing.assert_array_equal(encoded[:, 0], X)


def test_truth_values_become_zeros_and_ones_in_the_same_memory():
    X = GREY > 100
    encoder = ImageEncoder(normalise=False)
    encoded = encoder.fit_transform(X)
    assert encoded.dtype == np.uint8
    assert np.shares_memory(encoded, X)
    np.testing.assert_array_equal(encoded[:, 0], X)
    assert encoder.layout_.std == (1.0,)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f8", np.longdouble])
def test_floats_become_float32(dtype):
    X = images(4, 5, 7, dtype="f8").astype(dtype)
    encoded = ImageEncoder().fit_transform(X)
    assert encoded.dtype == np.float32
    assert encoded.dtype.isnative
    np.testing.assert_array_equal(encoded[:, 0], X.astype(np.float32))
    assert np.shares_memory(encoded, X) == (X.dtype == np.float32)


def test_half_floats_of_torch_are_read():
    X = torch.from_numpy(images(4, 5, 7, dtype="f4")).to(torch.bfloat16)
    np.testing.assert_array_equal(ImageEncoder().fit_transform(X)[:, 0], X.float())


def test_bytes_are_never_copied(tmp_path):
    file = np.memmap(tmp_path / "images", np.uint8, "w+", shape=(6, 5, 7, 3))
    file[:] = COLOUR.transpose(0, 2, 3, 1)
    encoder = ImageEncoder()
    for encoded in (encoder.fit_transform(file), encoder.transform(file)):
        assert isinstance(encoded, np.memmap)
        assert np.shares_memory(encoded, file)
        np.testing.assert_array_equal(encoded, COLOUR)
    rows = file.reshape(6, -1)
    encoded = ImageEncoder(shape=(3, 5, 7), channels="last").fit_transform(rows)
    assert isinstance(encoded, np.memmap)
    np.testing.assert_array_equal(encoded, COLOUR)


def test_torch_can_read_what_runs_backwards():
    torch.from_numpy(ImageEncoder().fit_transform(COLOUR[:, :, ::-1]))


def test_fitting_takes_little_memory_whatever_the_type():
    for dtype in (np.uint8, np.int64, np.float64):
        X = np.broadcast_to(images(32, 32, dtype=dtype), (20_000, 32, 32))  # as large as a file may be
        tracemalloc.start()
        ImageEncoder().fit(X)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 40 * 2**20 < 20_000 * 32 * 32 * 4


# Mean and standard deviation


def exact(X, channel):
    """Mean and variance of a channel of whole numbers, as fractions."""
    values = [int(v) for v in X[:, channel].ravel()]
    mean = Fraction(sum(values), len(values))
    return mean, Fraction(sum(v * v for v in values), len(values)) - mean**2


@pytest.mark.parametrize("chunk", [1, 200, 2**20])
def test_mean_and_deviation_of_bytes_are_exact(chunk, monkeypatch):
    monkeypatch.setattr(pixels_module, "CHUNK", chunk)
    layout = ImageEncoder().fit(COLOUR).layout_
    for channel in range(3):
        mean, variance = exact(COLOUR, channel)
        assert layout.mean[channel] == float(mean)
        assert layout.std[channel] == pytest.approx(float(variance) ** 0.5, rel=1e-15)


@pytest.mark.parametrize("chunk", [1, 200, 2**20])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_mean_and_deviation_of_floats_are_those_of_numpy_far_from_zero_too(chunk, dtype, monkeypatch):
    monkeypatch.setattr(pixels_module, "CHUNK", chunk)
    X = images(50, 6, 5, 3, dtype=dtype) * 1e-2 + np.array([0, 100, -900], dtype=dtype)
    encoder = ImageEncoder().fit(X)
    values = X.astype(np.float32).astype(np.float64)
    np.testing.assert_allclose(encoder.layout_.mean, values.mean((0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(encoder.layout_.std, values.std((0, 1, 2)), rtol=1e-9)
    assert encoder.range_ == (values.min(), values.max())


def test_constant_channels_have_deviation_one():
    for dtype in (np.uint8, np.float32):
        X = images(5, 3, 6, 6, dtype=dtype)
        X[:, 1] = dtype(0.1) if dtype is np.float32 else 7
        layout = ImageEncoder().fit(X).layout_
        assert layout.std[1] == 1
        prepared = layout.prepare(torch.from_numpy(X), torch.float32)
        np.testing.assert_allclose(prepared[:, 1], 0, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_networks_see_pixels_of_mean_zero_and_deviation_one(kind, dtype):
    X = images(9, 3, 5, 7, dtype=kind)
    encoder = ImageEncoder()
    x = torch.from_numpy(encoder.fit_transform(X))
    prepared = encoder.layout_.prepare(x, dtype)
    assert prepared.dtype == dtype
    values = X.astype(np.float64)
    expected = (values - values.mean((0, 2, 3), keepdims=True)) / values.std((0, 2, 3), keepdims=True)
    np.testing.assert_allclose(prepared, expected, rtol=0, atol=1e-6 if dtype == torch.float32 else 1e-12)
    np.testing.assert_array_equal(x, X)
    stacked = encoder.layout_.prepare(x[None, :2], dtype)
    np.testing.assert_array_equal(stacked[0], prepared[:2])


@pytest.mark.parametrize(
    ("normalise", "X", "mean", "std"),
    [
        (False, COLOUR, (0, 0, 0), (255, 255, 255)),
        (False, COLOUR.astype("f4") / 255, (0, 0, 0), (1, 1, 1)),
        ((0.5, 0.25), COLOUR, (127.5,) * 3, (63.75,) * 3),
        ((0.5, 0.25), COLOUR.astype("f4") / 255, (0.5,) * 3, (0.25,) * 3),
        (([0.2, 0.4, 0.6], np.array([1, 2, 3])), COLOUR, (51, 102, 153), (255, 510, 765)),
        ([0, [1, 2, 3]], COLOUR.astype("i8"), (0, 0, 0), (255, 510, 765)),
    ],
)
def test_a_given_scale_is_used(normalise, X, mean, std):
    layout = ImageEncoder(normalise=normalise).fit(X).layout_
    np.testing.assert_allclose(layout.mean, mean)
    np.testing.assert_allclose(layout.std, std)


SHARES = np.linspace(0, 1, 48).reshape(1, 6, 8)


@pytest.mark.parametrize("normalise", [True, False, (0.5, 0.25)])
@pytest.mark.parametrize(
    ("X", "unit"),
    [
        ((255 * SHARES).astype(np.uint8), 255),
        ((255 * SHARES).astype(np.int32), 255),
        (SHARES > 0.5, 1),
        (SHARES, 1),
        (SHARES / 2, 1),
        (255 * SHARES, 255),
        (16 * SHARES.astype(np.float32), 16),
        (2 * SHARES - 1, 2),
        (np.full_like(SHARES, 7), 1),
    ],
)
def test_a_layout_says_how_many_of_its_pixels_units_are_one(normalise, X, unit):
    layout = ImageEncoder(normalise=normalise).fit(X).layout_
    assert layout.unit == unit
    assert type(layout.unit) is float
    assert ImageLayout(layout.shape, layout.mean, layout.std).unit == 1


def test_layouts_of_older_pickles_have_a_unit_of_one():
    layout = ImageLayout(shape=(1, 1, 2), mean=(0,), std=(1,), unit=9)
    assert pickle.loads(pickle.dumps(layout)) == layout != ImageLayout((1, 1, 2), (0,), (1,))
    older = copy.copy(layout)
    del vars(older)["unit"]
    assert older.unit == 1
    assert older == ImageLayout((1, 1, 2), (0,), (1,))


def test_preparing_runs_on_every_device_and_lets_gradients_through():
    layout = ImageLayout(shape=(2, 1, 1), mean=(1.0, 2.0), std=(2.0, 4.0))
    with torch.inference_mode():
        layout.prepare(torch.ones(3, 2, 1, 1), torch.float32)
    x = torch.ones(3, 2, 1, 1, requires_grad=True)
    layout.prepare(x, torch.float32).sum().backward()
    np.testing.assert_array_equal(x.grad[0].flatten(), [0.5, 0.25])
    empty = torch.empty(1, 3, 2, 1, 1, dtype=torch.uint8, device="meta")
    assert layout.prepare(empty, torch.bfloat16).dtype == torch.bfloat16


@pytest.mark.parametrize(
    "parts",
    [
        {"shape": (1, 2), "mean": (0,), "std": (1,)},
        {"shape": (1, 0, 2), "mean": (0,), "std": (1,)},
        {"shape": (2, 2, 2), "mean": (0,), "std": (1,)},
        {"shape": (1, 2, 2), "mean": (0,), "std": (0,)},
        {"shape": (1, 2, 2), "mean": (0,), "std": (1,), "unit": 0},
        {"shape": (1, 2, 2), "mean": (0,), "std": (1,), "unit": float("nan")},
    ],
)
def test_a_layout_checks_its_parts(parts):
    with pytest.raises(ValueError, match="must"):
        ImageLayout(**parts)


# What is done to training images


def test_augmentation_is_in_the_layout_as_a_copy():
    assert ImageEncoder().fit(GREY).layout_.augment is None
    assert ImageEncoder(augment="crop-flip").fit(GREY).layout_.augment == Augment(crop=4, flip=True)
    mine = Augment(crop=1, rotation=5)
    encoder = ImageEncoder(augment=mine).fit(GREY)
    mine.crop = 3
    assert encoder.layout_.augment == Augment(crop=1, rotation=5)


@pytest.mark.parametrize(
    ("before", "given", "after"),
    [
        (None, {"augment__crop": 2}, Augment(crop=2)),
        ("crop-flip", {"augment__crop": 2}, Augment(crop=2, flip=True)),
        (None, {"augment__rotation": 9.0, "augment": "crop-flip"}, Augment(crop=4, flip=True, rotation=9.0)),
        (Augment(flip=True), {"augment__crop": 2}, Augment(crop=2, flip=True)),
        (Augment(flip=True), {"augment__crop": 2, "augment": None}, Augment(crop=2)),
        (None, {"augment": "crop-flip"}, "crop-flip"),
    ],
)
def test_setting_a_part_of_the_augmentation_makes_its_object(before, given, after):
    encoder = ImageEncoder(augment=before)
    assert encoder.set_params(**given) is encoder
    assert encoder.augment == after


def test_setting_an_unknown_part_of_the_augmentation_changes_nothing():
    encoder = ImageEncoder()
    with pytest.raises(ValueError, match="Invalid parameter 'zoom' for estimator Augment"):
        encoder.set_params(augment__zoom=2)
    assert encoder.augment is None


# Datasets


class Items(Dataset):
    """A dataset as a user may write it: images by `form`, read one at a time and counted."""

    def __init__(self, X, y=None, form=lambda image: image):
        self.X, self.y, self.form, self.n_read = X, y, form, 0

    def __len__(self):
        return len(self.X)

    def __getitem__(self, i):
        self.n_read += 1
        image = self.form(self.X[i])
        return image if self.y is None else (image, self.y[i])


class Picture:
    """What numpy needs of a PIL image."""

    def __init__(self, array, mode="L"):
        self.array, self.mode = array, mode

    def __array__(self, dtype=None, copy=None):
        return self.array


LABELS = np.array(["a", "b", "a", "c", "b", "a"])


def channels_last(image):
    return image.transpose(1, 2, 0)


@pytest.mark.parametrize(
    ("X", "form", "expected", "n_workers"),
    [
        (COLOUR, torch.from_numpy, COLOUR, 0),
        (COLOUR, torch.from_numpy, COLOUR, 2),
        (COLOUR, channels_last, COLOUR, 0),
        (GREY, Picture, GREY[:, None], 0),
        (COLOUR / 255, torch.from_numpy, (COLOUR / 255).astype("f4"), 0),
        (COLOUR / 255, channels_last, (COLOUR / 255).astype("f4"), 2),
        (GREY.astype("i8"), np.asarray, GREY[:, None], 0),
        (GREY > 99, np.asarray, (GREY[:, None] > 99).astype("u1"), 0),
    ],
)
def test_a_dataset_is_the_same_as_its_images(X, form, expected, n_workers):
    dataset = Items(X, LABELS, form)
    encoder = ImageEncoder(n_workers=n_workers)
    encoded = encoder.fit_transform(dataset)
    assert encoded.shape == expected.shape
    assert len(encoded) == len(X)
    assert encoded.dtype == expected.dtype == encoder.dtype_
    assert encoded.labels.tolist() == LABELS.tolist()
    assert encoder.layout_ == ImageEncoder().fit(expected).layout_
    for index in (slice(1, 4), np.array([4, 0, 4]), np.array([], dtype=int)):
        rows = encoded[index]
        assert isinstance(rows, torch.Tensor)
        np.testing.assert_array_equal(rows, expected[index])
    batches = [np.array([5, 1]), np.array([0, 2, 3]), np.array([4])]
    for _ in range(2):
        streamed = list(encoded.stream(batches))
        assert [rows.shape[0] for rows in streamed] == [2, 3, 1]
        for rows, index in zip(streamed, batches, strict=True):
            np.testing.assert_array_equal(rows, expected[index])
    part = encoded.subset([5, 2, 0])
    assert part.shape == (3, *expected.shape[1:])
    assert part.labels.tolist() == LABELS[[5, 2, 0]].tolist()
    np.testing.assert_array_equal(part[np.array([1, 0])], expected[[2, 5]])
    again = encoder.transform(dataset)
    np.testing.assert_array_equal(again[:], expected)
    assert not multiprocessing.active_children()


def test_workers_end_with_a_stream_that_is_left_early():
    encoded = ImageEncoder(n_workers=2).fit_transform(TensorDataset(torch.from_numpy(GREY)))
    stream = encoded.stream([np.array([i]) for i in range(6)])
    next(stream)
    assert len(multiprocessing.active_children()) == 2
    stream.close()
    assert not multiprocessing.active_children()


def test_fitting_reads_every_item_once_and_the_first_once_more():
    dataset = Items(COLOUR, LABELS)
    encoded = ImageEncoder().fit_transform(dataset)
    assert dataset.n_read == 6 + 1
    assert encoded.labels.tolist() == LABELS.tolist()
    assert encoded.subset([1]).labels.tolist() == ["b"]
    assert dataset.n_read == 6 + 1


def test_labels_are_taken_from_a_list_of_the_dataset_if_it_has_one():
    for name in ("targets", "labels"):
        dataset = Items(GREY, LABELS)
        setattr(dataset, name, LABELS.tolist())
        images = DatasetImages(Subset(dataset, [4, 1, 3]), (1, 5, 7), "uint8")
        assert images.labels.tolist() == ["b", "b", "c"]
        assert images.subset(np.array([False, False, True])).labels.tolist() == ["c"]
        assert dataset.n_read == 3  # the first, one in the middle and the last, to compare


@pytest.mark.parametrize("wrong", [0, 3, 5])
def test_a_list_of_labels_that_the_items_contradict_is_not_used(wrong):
    dataset = Items(GREY, LABELS)
    dataset.targets = LABELS.tolist()
    dataset.targets[wrong] = "z"
    assert DatasetImages(dataset, (1, 5, 7), "uint8").labels.tolist() == LABELS.tolist()
    dataset.targets = [ord(label) - ord("a") for label in LABELS]  # numbers where the items have names
    assert DatasetImages(dataset, (1, 5, 7), "uint8").labels.tolist() == LABELS.tolist()


def test_a_list_of_labels_that_is_not_the_items_is_not_used():
    for name, value in (("targets", [1, 2]), ("labels", lambda: None), ("target_transform", str.upper)):
        dataset = Items(GREY, LABELS)
        dataset.targets = [0] * 6 if name == "target_transform" else None
        setattr(dataset, name, value)
        assert DatasetImages(dataset, (1, 5, 7), "uint8").labels.tolist() == LABELS.tolist()


def test_images_without_labels_have_none():
    assert DatasetImages(Items(GREY), (1, 5, 7), "uint8").labels is None
    tensors = TensorDataset(torch.from_numpy(GREY))
    assert ImageEncoder().fit_transform(tensors).labels is None
    listed = Items(GREY)
    listed.targets = LABELS
    assert ImageEncoder().fit_transform(listed).labels.tolist() == LABELS.tolist()


def test_labels_may_be_tensors_and_numpy_numbers():
    dataset = TensorDataset(torch.from_numpy(GREY), torch.arange(6) % 2)
    assert DatasetImages(dataset, (1, 5, 7), "uint8").labels.tolist() == [0, 1, 0, 1, 0, 1]


def test_a_given_scale_needs_no_reading_of_a_dataset():
    dataset = Items(COLOUR)
    encoder = ImageEncoder(normalise=False).fit(dataset)
    assert dataset.n_read == 1
    assert encoder.layout_.std == (255.0,) * 3


@pytest.mark.parametrize("label", ["a", 1, None, torch.tensor(1), np.int64(1)])
def test_a_list_of_items_as_scikit_learn_makes_it_of_a_dataset_is_its_images(label):
    for X, expected in ((COLOUR, COLOUR), (GREY, GREY[:, None]), (COLOUR / 255, (COLOUR / 255).astype("f4"))):
        encoder = ImageEncoder()
        np.testing.assert_array_equal(encoder.fit_transform([(image, label) for image in X]), expected)
        np.testing.assert_array_equal(encoder.transform([(torch.from_numpy(X[2]), label)]), expected[2:3])
        np.testing.assert_array_equal(encoder.transform([(image,) for image in X]), expected)  # no labels
    np.testing.assert_array_equal(ImageEncoder().fit_transform([(Picture(GREY[0]), label)])[0, 0], GREY[0])


def test_images_that_are_tuples_of_rows_are_no_items():
    pairs = [tuple(image[:2]) for image in GREY]
    np.testing.assert_array_equal(ImageEncoder().fit_transform(pairs)[:, 0], GREY[:, :2])
    with pytest.raises(TypeError, match=r"Row 1 of X is .*, of type tuple, but every row must be an image"):
        ImageEncoder().fit([GREY[0], (GREY[1], 1)])


def test_images_that_are_open_may_be_fitted_on():
    opened = ImageEncoder().fit_transform(Items(COLOUR.transpose(0, 2, 3, 1), LABELS))
    part = opened.subset(np.arange(4))
    encoder = ImageEncoder()
    assert encoder.fit_transform(part) is part
    assert encoder.layout_ == ImageEncoder().fit(COLOUR[:4]).layout_
    assert encoder.transform(opened) is opened


class Noise(Dataset):
    """Random images, by the global numbers of torch, as transforms of torchvision are."""

    def __len__(self):
        return 4

    def __getitem__(self, i):
        return torch.rand(1, 2, 2)


def test_reading_leaves_random_numbers_alone_and_workers_differ_from_stream_to_stream():
    noise = DatasetImages(Noise(), (1, 2, 2), "float32", n_workers=1)
    batches = [np.arange(4)]
    before = torch.get_rng_state()
    first, second = (next(iter(noise.stream(batches))) for _ in range(2))
    assert torch.get_rng_state().equal(before)
    assert not first.equal(second)
    other = DatasetImages(Noise(), (1, 2, 2), "float32", n_workers=1)
    assert next(iter(other.stream(batches))).equal(first)


def of_sizes(*sizes, dtype="u1"):
    return Items([np.ones(size, dtype=dtype) for size in sizes])


BAD_ITEMS = [
    (
        of_sizes((5, 7), (5, 7), (6, 7)),
        ValueError,
        "Item 2 of the dataset is an image of shape (6, 7), but the first one gave (1, 5, 7)",
    ),
    (of_sizes((3, 5, 7), (5, 7)), ValueError, "Item 1 of the dataset is an image of shape (5, 7)"),
    (of_sizes((7,)), ValueError, "Item 0 of the dataset is an image of shape (7,), but must have shape"),
    (of_sizes((3, 5, 3)), ValueError, "Use encoder=ImageEncoder(channels='first'), or channels='last'"),
    (Items([{"image": GREY[0]}]), TypeError, "Item 0 of the dataset is a dict"),
    (Items([GREY[0], "5.png"]), TypeError, "Item 1 of the dataset is a str '5.png', but must be an image"),
    (Items([GREY[0], None]), TypeError, "Item 1 of the dataset is a NoneType"),
    (Items([GREY[0], object()]), TypeError, "Item 1 of the dataset is a object"),
    (Items([GREY[0].tolist()]), TypeError, "Item 0 of the dataset has 5 parts"),
    (Items([(GREY[0], 1, 2)]), TypeError, "Item 0 of the dataset has 3 parts"),
    (Items([(GREY[0], {"box": 1})]), TypeError, "The label of item 0 of the dataset is a dict"),
    (Items([(GREY[0], torch.ones(2))]), TypeError, "The label of item 0 of the dataset is a Tensor"),
    (Items([Picture(GREY[0], "P")]), TypeError, "Use image.convert('RGB')"),
    (Items([GREY[0], GREY[1] / 255]), TypeError, "Item 1 of the dataset has floats, but the first"),
    (Items([GREY[0], GREY[1] + np.int64(256)]), TypeError, "Item 1 of the dataset has whole numbers outside"),
    (Items([GREY[0], -np.ones((5, 7), "i1")]), TypeError, "Item 1 of the dataset has whole numbers outside"),
    (Items([GREY[0] / 255, GREY[1]]), TypeError, "Item 1 of the dataset is of dtype uint8"),
    (
        Items([GREY[0] / 255, np.full((5, 7), np.nan)]),
        ValueError,
        "Item 1 of the dataset has NaN or infinite",
    ),
    (Items([]), ValueError, "X is a dataset without items"),
]


@pytest.mark.parametrize(("dataset", "error", "words"), BAD_ITEMS, ids=[case[2][:40] for case in BAD_ITEMS])
def test_a_bad_item_is_an_error_that_names_it(dataset, error, words):
    with pytest.raises(error, match=re.escape(words)):
        ImageEncoder().fit(dataset)


def test_an_error_in_a_worker_says_the_same_and_ends_the_workers():
    dataset, error, words = BAD_ITEMS[0]
    with pytest.raises(error, match=re.escape(words)) as caught:
        ImageEncoder(n_workers=2).fit(dataset)
    assert not multiprocessing.active_children(), caught


# Bad input


class Endless(IterableDataset):
    def __iter__(self):
        yield GREY[0]


class NoLength(Dataset):
    def __getitem__(self, i):
        return GREY[0]


def with_one(value, dtype="f4"):
    X = images(4, 3, 3, dtype=dtype)
    X[2, 0, 1] = value
    return X


TABLE = "X is a table of shape {}. For rows of pixels say what they are: encoder=ImageEncoder(shape={})"
BAD_INPUT = [
    ({}, {"image": GREY}, TypeError, "not a dict. Pass its values, for example X['image']"),
    ({}, "digits.png", TypeError, "not a str. Read the files first"),
    ({}, {1, 2}, TypeError, "not a set. It has no order"),
    ({}, iter(GREY), TypeError, "Use list(X)"),
    ({}, None, TypeError, "not a NoneType. Use an array"),
    ({}, Endless(), TypeError, "use a map-style Dataset"),
    ({}, NoLength(), TypeError, "It needs __len__ as well"),
    ({}, DataLoader(TensorDataset(torch.from_numpy(GREY))), TypeError, "Pass its dataset, X.dataset"),
    ({}, sp.csr_array(GREY[0]), TypeError, "Sparse images are not supported: use X.toarray()"),
    ({}, pl.LazyFrame({"a": [1]}), TypeError, "Call X.collect() first"),
    ({}, pd.DataFrame({"a": ["x"]}), TypeError, "not a DataFrame. Its columns must be numbers"),
    ({}, ["a.png", "b.png"], TypeError, "Row 0 of X is 'a.png', of type str, but every row must be an image"),
    ({}, np.array(["a.png"]), TypeError, "got an array of dtype <U5"),
    ({}, [GREY[0], None], TypeError, "Row 1 of X is 'None', of type NoneType"),
    ({}, np.zeros((2, 2, 2), "M8[s]"), TypeError, "got an array of dtype datetime64[s]"),
    ({}, np.zeros((2, 3, 3), complex), ValueError, "Complex data not supported"),
    ({}, np.ma.array(GREY, mask=GREY > 9), ValueError, "X has masked pixels. Fill them first"),
    (
        {},
        [*np.ones((5, 28, 28)), np.ones((32, 32))],
        ValueError,
        "X has images of different sizes: (28, 28) and (32, 32) at row 5: resize them",
    ),
    ({}, [COLOUR[0], GREY[0]], ValueError, "X has images of different sizes: (3, 5, 7) and (5, 7) at row 1"),
    ({}, np.ones((2, 1, 3, 4, 5)), ValueError, "X has shape (2, 1, 3, 4, 5), but must be images"),
    ({}, [3.0, 4.0], ValueError, "X has shape (2,), but must be images"),
    ({}, [], ValueError, "X has shape (0, 1, 0, 0), no images"),
    ({}, np.ones((0, 28, 28)), ValueError, "X has shape (0, 1, 28, 28), no images"),
    ({}, np.ones((3, 0, 28)), ValueError, "no images. Pass at least one, with at least one pixel"),
    ({}, np.ones((2, 3, 5, 3)), ValueError, "both the first and the last of these have 1, 3 or 4 entries"),
    ({}, np.ones((2, 5, 5, 5)), ValueError, "none of the outer ones has 1, 3 or 4 entries"),
    ({}, np.ones((50, 784)), ValueError, TABLE.format("(50, 784)", "(1, 28, 28)")),
    ({}, np.ones((50, 3072)), ValueError, TABLE.format("(50, 3072)", "(3, 32, 32)")),
    ({}, np.ones((50, 35)), ValueError, TABLE.format("(50, 35)", "(channels, height, width)")),
    ({}, np.ones((28, 28)), ValueError, "For one image use X[None]"),
    ({}, pd.DataFrame(np.ones((3, 784))), ValueError, TABLE.format("(3, 784)", "(1, 28, 28)")),
    ({"shape": (28, 28)}, np.ones((3, 700)), ValueError, "shape=(28, 28) does not go with images of 700"),
    (
        {"shape": (3, -1, 5)},
        np.ones((3, 16)),
        ValueError,
        "go with images of 16 numbers: 3 x -1 x 5",
    ),
    (
        {"shape": (5, 7, 3)},
        COLOUR.reshape(6, -1),
        ValueError,
        "shape=(5, 7, 3) is 5 channels of 7 x 3 pixels. Use shape=(3, 5, 7)",
    ),
    (
        {"shape": (5, -1, 3), "channels": "last"},
        COLOUR.reshape(6, -1),
        ValueError,
        "Use shape=(3, 5, 7), and channels='last' if the rows are in the order (H, W, C)",
    ),
    ({"shape": (28, 28)}, np.ones((3, 28, 27)), ValueError, "shape=(28, 28) does not go with"),
    ({"shape": (7, 5)}, GREY, ValueError, "X has images of 5 x 7 pixels and 1 channel, but shape=(7, 5)"),
    ({"shape": (28, 28)}, np.ones(784), ValueError, "Reshape your data"),
    ({}, with_one(np.nan), ValueError, "Input X contains NaN: image 2, channel 0, row 0, column 1"),
    ({}, with_one(np.inf, "f8"), ValueError, "Input X contains infinity"),
    ({}, with_one(1e300, "f8"), ValueError, "Input X contains infinity or a value too large"),
]


@pytest.mark.parametrize(
    ("options", "X", "error", "words"), BAD_INPUT, ids=[case[3][:40] for case in BAD_INPUT]
)
@pytest.mark.parametrize("method", ["fit", "fit_transform"])
def test_bad_input_is_an_error_that_says_what_to_do(options, X, error, words, method):
    with pytest.raises(error, match=re.escape(words)):
        getattr(ImageEncoder(**options), method)(X)


@pytest.mark.parametrize("X", [with_one(np.nan), with_one(np.inf, "f8"), with_one(1e300, "f8")])
def test_bad_pixels_are_found_in_transform_too(X):
    with pytest.raises(ValueError, match="Input X contains"):
        ImageEncoder().fit(images(4, 3, 3, dtype="f4")).transform(X)


OTHER_IMAGES = [
    (COLOUR, GREY, "fitted on 3 channels, X has 1: grey images: np.repeat(X[..., None], 3, -1)"),
    (COLOUR, GREY[:, None], "X has 1: grey images: np.repeat(X, 3, 1)"),
    (COLOUR, GREY[..., None], "X has 1: grey images: np.repeat(X, 3, -1)"),
    (GREY, COLOUR, "fitted on 1 channel, X has 3: take a grey value, for example X.mean(1)"),
    (GREY, COLOUR.transpose(0, 2, 3, 1), "take a grey value, for example X.mean(-1)"),
    (COLOUR, images(2, 4, 5, 7), "fitted on 3 channels, X has 4: leave opacity out: X[:, :3]"),
    (COLOUR, images(2, 5, 7, 4), "leave opacity out: X[..., :3]"),
    (images(2, 4, 5, 7), COLOUR, "fitted on 4 channels, X has 3: convert them as for fit"),
    (GREY, images(2, 7, 5), "fitted on images of 5 x 7 pixels, X has 7 x 5: resize them"),
    (COLOUR, COLOUR[0], "X is one such image: use X[None]"),
    (COLOUR, COLOUR[0].transpose(1, 2, 0), "X is one such image: use X[None]"),
    (COLOUR, COLOUR[0].ravel()[None], "encoder=ImageEncoder(shape=(3, 5, 7))"),
    (COLOUR, Items(GREY), "fitted on 3 channels, X has 1: grey images"),
]


@pytest.mark.parametrize(("fitted", "X", "words"), OTHER_IMAGES, ids=[case[2][:60] for case in OTHER_IMAGES])
def test_images_unlike_those_of_fit_are_an_error_with_a_remedy(fitted, X, words):
    encoder = ImageEncoder().fit(fitted)
    with pytest.raises(ValueError, match=re.escape(words)):
        encoder.transform(X)


@pytest.mark.parametrize(
    ("X", "words"),
    [
        (GREY.astype("i8") * 3, "X has whole numbers from 0 to 7[0-9]+, outside 0 to 255, .* as float32"),
        (GREY.astype("i2") - 5, "X has whole numbers from -5 to"),
        (GREY * 100.0, r"X has pixels from 0 to 2\d{4}\. If that is their unit, divide by it"),
        (Items(GREY * 100.0), r"X has pixels from 0 to 2\d{4}\."),
    ],
)
def test_pixels_far_out_are_a_warning(X, words):
    encoder = ImageEncoder()
    with pytest.warns(UserWarning, match=words):
        encoded = encoder.fit_transform(X)
    assert encoded.dtype == np.float32
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encoder.transform(X)  # as in fit: said once


@pytest.mark.parametrize(
    ("fitted", "X", "words"),
    [
        (GREY / 255, GREY, r"up to 255, but those of fit were up to 1: another scale\. Divide it by 255"),
        (GREY / 255, GREY * 1.0, r"up to 255, .* Scale it as for fit"),
        (GREY > 9, GREY, "Divide it by 255"),
        (GREY, GREY / 255, "up to 1, but those of fit were up to 255: another scale.* multiply it by 255"),
        (GREY, Items(GREY / 255), "multiply it by 255"),
        (GREY, GREY > 9, "up to 1, but those of fit were up to 255: another scale.* multiply it by 255"),
        (GREY, GREY > 255, "another scale"),
        (GREY, Items(GREY > 9), "up to 1, but those of fit were up to 255"),
        (GREY, ImageEncoder().fit_transform(Items(GREY > 9)).subset([3, 1]), "up to 1, but those of fit"),
        (GREY * 1.0, GREY / 255, r"up to 1, but .* another scale\. Multiply it by 255, or scale"),
        ((GREY / 255 - 0.13) / 0.31, GREY, r"up to 255, but .* up to 2\.8.*Scale it as for fit"),
        (GREY, GREY * 9.0, "X has pixels from 0 to"),
        (GREY, GREY * 99.0, "up to 25245, but those of fit were up to 255: another scale"),
        (GREY, GREY.astype("i8") * 3, "outside 0 to 255"),
    ],
)
def test_another_scale_than_in_fit_is_a_warning(fitted, X, words):
    encoder = ImageEncoder().fit(fitted)
    with pytest.warns(UserWarning, match=words):
        encoder.transform(X)


def test_the_scale_of_fit_is_no_warning():
    for X in (GREY, GREY / 255, GREY > 9, GREY * 1.0, Items(GREY), Items(GREY / 255), GREY.astype("i8")):
        ImageEncoder().fit(X).transform(X)
    ImageEncoder().fit(GREY).transform(GREY * 1.0)
    ImageEncoder().fit(GREY).transform(GREY[:1] * 0)
    ImageEncoder().fit((GREY > 9).astype("u1")).transform(GREY > 9)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"shape": 784}, "'shape' parameter of ImageEncoder must be an array-like or None"),
        ({"shape": (5,)}, "shape must be (channels, height, width) or (height, width)"),
        ({"shape": (-1, -1)}, "of which one may be -1, got (-1, -1)"),
        ({"shape": (0, 5, 7)}, "shape must be"),
        ({"shape": (5, 7.5)}, "shape must be"),
        ({"shape": ("a", 7)}, "shape must be"),
        ({"channels": "middle"}, "'channels' parameter of ImageEncoder must be"),
        ({"normalise": "yes"}, "'normalise' parameter of ImageEncoder must be"),
        ({"normalise": (0.5,)}, "normalise must be True, False or (mean, std)"),
        ({"normalise": (0.5, 0.0)}, "std > 0, got (0.5, 0.0)"),
        ({"normalise": ([0.5, 0.5], 1.0)}, "one for each of the 1 channels"),
        ({"normalise": (float("nan"), 1.0)}, "finite"),
        ({"augment": "flip"}, "'augment' parameter of ImageEncoder must be"),
        ({"augment": Augment(crop=-1)}, "'crop' parameter of Augment must be an int >= 0"),
        ({"augment": Augment()}, "augment=Augment() changes nothing: set its crop, flip or rotation, or aug"),
        ({"augment": Augment(crop=5)}, "moves images by up to 5 pixels, but they have 5 x 7"),
        ({"n_workers": -1}, "'n_workers' parameter of ImageEncoder must be"),
    ],
)
def test_parameters_are_checked_in_fit(parameters, words):
    encoder = ImageEncoder(**parameters)
    with pytest.raises(ValueError, match=re.escape(words)):
        encoder.fit(GREY)


def test_transform_needs_fit():
    with pytest.raises(NotFittedError):
        ImageEncoder().transform(GREY)


def test_the_type_is_checked_without_reading_anything():
    dataset = Items(GREY)
    for X in (GREY, list(GREY), torch.from_numpy(GREY), dataset, pd.DataFrame(GREY[0])):
        check_image_type(X)
    assert dataset.n_read == 0


# Copies


def through_skops(encoder):
    data = skops.io.dumps(encoder)
    return skops.io.loads(data, trusted=skops.io.get_untrusted_types(data=data))


@pytest.mark.parametrize("copied", [lambda e: pickle.loads(pickle.dumps(e)), through_skops, copy.deepcopy])
@pytest.mark.parametrize("X", [COLOUR, GREY / 255])
def test_copies_encode_alike_and_are_small(copied, X):
    encoder = ImageEncoder(augment=Augment(crop=2, flip=True)).fit(X)
    other = copied(encoder)
    np.testing.assert_array_equal(other.transform(X), encoder.transform(X))
    assert other.layout_ == encoder.layout_
    assert hash(other.layout_) == hash(encoder.layout_)
    assert len(pickle.dumps(other)) < 2000


def test_a_clone_has_the_parameters_and_is_not_fitted():
    encoder = ImageEncoder(
        shape=(5, 7), channels="first", normalise=(0.5, 0.5), augment=Augment(crop=1), n_workers=1
    ).fit(GREY)
    other = clone(encoder)
    assert other.get_params(deep=False) == encoder.get_params(deep=False)
    assert not hasattr(other, "layout_")
    assert encoder.get_params()["augment__crop"] == 1

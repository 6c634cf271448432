"""Augment: crops, flips and rotations of a batch, against images moved one by one."""

import copy
import pickle
import re
import time

import numpy as np
import pytest
import scipy.ndimage
import torch
from sklearn.base import clone

from mixsk.encoding import Augment

CENTRE = 0.5


def batch(shape, dtype=torch.float32):
    return torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=dtype)


def numbers(augment, shape, seed=0):
    return torch.from_numpy(augment.draw(np.random.default_rng(seed), shape[:2]))


def one_by_one(x, u, crop, flip):
    """Pad, cut and mirror each image by itself."""
    x, u = x.numpy(), u.numpy()
    result = np.empty_like(x)
    H, W = x.shape[-2:]
    for m in range(x.shape[0]):
        for b in range(x.shape[1]):
            padded = np.pad(x[m, b], ((0, 0), (crop, crop), (crop, crop)))
            top, left = (int(v * (2 * crop + 1)) for v in u[m, b, :2])
            image = padded[:, top : top + H, left : left + W]
            result[m, b] = image[:, :, ::-1] if flip and u[m, b, 2] < 0.5 else image
    return result


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(1, 40, 1, 28, 28), (2, 30, 3, 5, 9), (3, 1, 4, 7, 6)])
@pytest.mark.parametrize(("crop", "flip"), [(4, True), (2, False), (0, True), (0, False)])
def test_crops_and_flips_are_those_of_images_moved_one_by_one(shape, crop, flip, dtype):
    augment, x = Augment(crop=crop, flip=flip), batch(shape, dtype)
    before, u = x.clone(), numbers(augment, shape)
    moved = augment(x, u)
    assert moved.dtype == dtype
    np.testing.assert_array_equal(moved, one_by_one(x, u, crop, flip))
    np.testing.assert_array_equal(x, before)


def test_channels_last_memory_is_moved_alike():
    x = batch((1, 8, 6, 6, 3)).permute(0, 1, 4, 2, 3)
    augment = Augment(crop=2, flip=True, rotation=20)
    u = numbers(augment, (1, 8))
    np.testing.assert_array_equal(augment(x, u), augment(x.contiguous(), u))


def test_every_place_and_both_sides_are_as_likely_as_the_others():
    image = torch.zeros(1, 20_000, 1, 5, 5)
    image[..., 2, 1] = 1  # off the middle, so that a mirror shows
    augment = Augment(crop=1, flip=True)
    moved = augment(image, numbers(augment, (1, 20_000)))
    seen = moved.sum((0, 1, 2))
    # The pixel is at column 0 to 2, or mirrored at 2 to 4: column 2 gets both.
    expected = 20_000 / 18 * torch.tensor([1, 1, 2, 1, 1])
    for row in seen[1:4]:
        assert ((row - expected).abs() < 5 * expected.sqrt()).all()
    assert seen[[0, 4]].sum() == 0


def test_numbers_just_below_one_give_the_last_place():
    u = torch.full((1, 1, 4), float(np.nextafter(np.float32(1), np.float32(0))))
    for crop in (*range(1, 40), 200):
        x = batch((1, 1, 1, 3, 3))
        corner = np.pad(x[0, 0, 0].numpy(), crop)[-3:, -3:]
        np.testing.assert_array_equal(Augment(crop=crop)(x, u)[0, 0, 0], corner)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_numbers_in_the_middle_change_nothing(dtype):
    x, u = batch((2, 3, 3, 8, 11), dtype), torch.full((2, 3, 4), CENTRE)
    np.testing.assert_array_equal(Augment(crop=3, flip=True)(x, u), x)
    np.testing.assert_allclose(Augment(crop=3, flip=True, rotation=90)(x, u), x, atol=1e-5)
    assert Augment()(x, u).equal(x)


@pytest.mark.parametrize(("u", "quarters"), [(0.0, -2), (0.25, -1), (0.75, 1)])
@pytest.mark.parametrize("size", [6, 7])
def test_quarter_turns_are_those_of_numpy(u, quarters, size):
    x = batch((1, 2, 3, size, size), torch.float64)
    turned = Augment(rotation=180)(x, torch.tensor([CENTRE, CENTRE, CENTRE, u]).expand(1, 2, 4))
    np.testing.assert_allclose(turned, np.rot90(x.numpy(), quarters, (3, 4)), atol=1e-12)


@pytest.mark.parametrize("sides", [(12, 12), (9, 17)])
@pytest.mark.parametrize("u", [0.1, 0.45, 0.8])
def test_rotations_are_those_of_scipy(sides, u):
    # By the sign of numpy.rot90 in the test above; scipy, too, turns anticlockwise around the centre.
    x = batch((1, 1, 1, *sides), torch.float64)
    turned = Augment(rotation=30.0)(x, torch.tensor([[[CENTRE, CENTRE, CENTRE, u]]], dtype=torch.float64))
    angle = (2 * u - 1) * 30
    expected = scipy.ndimage.rotate(x[0, 0, 0].numpy(), angle, order=1, reshape=False, cval=np.nan)
    inside = np.isfinite(expected)  # scipy knows nothing between the last pixel and the edge
    assert inside.mean() > 0.6
    np.testing.assert_allclose(turned[0, 0, 0].numpy()[inside], expected[inside], atol=1e-9)
    far = scipy.ndimage.rotate(np.ones(sides), angle, order=0, reshape=False, cval=0)
    assert (turned[0, 0, 0].numpy()[scipy.ndimage.maximum_filter(far, 3) == 0] == 0).all()


def test_crops_come_first_then_flips_then_rotations():
    shape = (1, 6, 2, 8, 8)
    x, u = batch(shape, torch.float64), numbers(Augment(), shape)
    by_steps = Augment(rotation=40)(Augment(flip=True)(Augment(crop=2)(x, u), u), u)
    np.testing.assert_allclose(Augment(crop=2, flip=True, rotation=40)(x, u), by_steps, atol=1e-12)


def test_an_image_depends_on_its_own_numbers_only():
    augment, shape = Augment(crop=3, flip=True, rotation=25), (2, 5, 3, 8, 8)
    x, u = batch(shape), numbers(augment, shape)
    whole = augment(x, u)
    np.testing.assert_array_equal(augment(x[:, 2:4], u[:, 2:4]), whole[:, 2:4])
    np.testing.assert_array_equal(augment(x[1:], u[1:]), whole[1:])


def test_drawn_numbers_are_four_uniform_ones_for_each_image_whatever_is_asked_for():
    drawn = Augment(crop=2).draw(np.random.default_rng(3), (2, 5000))
    assert drawn.shape == (2, 5000, 4)
    assert drawn.dtype == np.float32
    assert 0 <= drawn.min() < 0.001
    assert 0.999 < drawn.max() < 1
    np.testing.assert_allclose(drawn.mean((0, 1)), 0.5, atol=0.02)
    np.testing.assert_array_equal(drawn, Augment(rotation=3).draw(np.random.default_rng(3), (2, 5000)))


def test_nothing_global_is_touched_and_nothing_is_asked_of_the_device():
    augment = Augment(crop=4, flip=True, rotation=15)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()
    x = torch.empty(2, 3, 3, 8, 8, device="meta")
    assert augment(x, torch.empty(2, 3, 4, device="meta")).shape == x.shape
    real = batch(x.shape)
    assert augment(real, numbers(augment, x.shape)).equal(augment(real, numbers(augment, x.shape)))
    assert torch.get_rng_state().equal(before[0])
    assert np.random.get_state()[1].tolist() == before[1]


@pytest.mark.parametrize("shape", [(1, 128, 1, 28, 28), (1, 128, 3, 32, 32)])
def test_a_batch_costs_no_more_than_a_loop_over_its_images(shape):
    augment, x = Augment(crop=4, flip=True), batch(shape)
    u = numbers(augment, shape)
    H, W = shape[3:]

    def loop():
        padded = torch.nn.functional.pad(x[0], (4,) * 4)
        result = torch.empty_like(x[0])
        for row, image, (top, left, mirrored, _) in zip(result, padded, u[0].tolist(), strict=True):
            top, left = int(top * 9), int(left * 9)
            image = image[:, top : top + H, left : left + W]
            row.copy_(image.flip(-1) if mirrored < 0.5 else image)
        return result

    def seconds(work):
        start = time.process_time()
        work()
        return time.process_time() - start

    assert augment(x, u)[0].equal(loop())
    assert min(seconds(lambda: augment(x, u)) for _ in range(20)) < min(seconds(loop) for _ in range(20))


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"crop": -1}, "'crop' parameter of Augment must be an int >= 0, in pixels. Got -1 instead"),
        ({"crop": 1.5}, "'crop' parameter"),
        ({"crop": True}, "'crop' parameter"),
        ({"flip": 1}, "'flip' parameter of Augment must be True or False. Got 1 instead"),
        (
            {"rotation": 181},
            "'rotation' parameter of Augment must be a number in [0, 180], in degrees",
        ),
        ({"rotation": -5}, "'rotation' parameter"),
        ({"rotation": float("nan")}, "'rotation' parameter"),
        ({"rotation": "10"}, "'rotation' parameter"),
    ],
)
def test_parameters_out_of_range_are_an_error(parameters, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        Augment(**parameters).check()


def test_good_parameters_pass():
    for parameters in ({}, {"crop": np.int64(3), "flip": np.True_, "rotation": 180}, {"rotation": 0.5}):
        Augment(**parameters).check()


def test_it_is_an_object_of_scikit_learn_that_compares_by_content():
    augment = Augment(crop=4, rotation=10.0)
    assert repr(augment) == "Augment(crop=4, rotation=10.0)"
    assert augment.get_params() == {"crop": 4, "flip": False, "rotation": 10.0}
    for other in (clone(augment), copy.deepcopy(augment), pickle.loads(pickle.dumps(augment))):
        assert other == augment
        assert hash(other) == hash(augment)
    assert augment != Augment(crop=4)
    assert augment != "crop-flip"

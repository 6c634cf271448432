"""CutMix: boxes against a loop over pixels, shares, one box per batch or per image."""

import math

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from mixsk.rules import CutMix, Spec
from mixsk.rules._shape import mix, partner

SIZES = [(1, 1), (2, 3), (5, 5), (8, 8), (7, 12), (28, 28), (33, 17)]


def box_by_hand(size, lam, centre):
    """The mask of one image, pixel by pixel."""
    start, stop = [], []
    for n, u in zip(size, centre, strict=True):
        side = math.floor(n * np.sqrt(1 - lam))
        first = math.floor(n * u) - side // 2
        start.append(max(first, 0))
        stop.append(min(first + side, n))
    m = np.ones(size, np.float32)
    for y in range(start[0], stop[0]):
        for x in range(start[1], stop[1]):
            m[y, x] = 0
    return m


def noise_of(lam, lam_per="sample", seed=0):
    """Noise (1, B, 2) of one step with these lam (B,)."""
    mask = CutMix()
    mask.configure(Spec(mix="cutmix", reads="image", lam_per=lam_per))
    return torch.from_numpy(mask.draw_noise(np.random.default_rng(seed), np.asarray(lam, np.float32)[None]))


def lams(n, seed=0):
    rng = np.random.default_rng(seed)
    return torch.from_numpy(np.r_[0, 1, 0.75, rng.random(n - 3)].astype(np.float32))[None]


@pytest.mark.parametrize("size", SIZES)
def test_boxes_have_floored_sides_around_a_pixel_and_end_with_the_image(size):
    lam = lams(60)
    noise = noise_of(lam[0])
    m, share = CutMix()(torch.zeros(1, 60, 3, *size), lam, noise)
    assert m.shape == (1, 60, 1, *size)
    expected = np.stack(
        [box_by_hand(size, *pair) for pair in zip(lam[0].numpy(), noise[0].numpy(), strict=True)]
    )
    assert_array_equal(m[0, :, 0].numpy(), expected)
    assert_array_equal(share[0].numpy(), expected.mean((1, 2), dtype=np.float64).astype(np.float32))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_masks_have_the_dtype_of_the_images_and_shares_that_of_lam(dtype):
    m, share = CutMix()(
        torch.zeros(1, 4, 1, 6, 5, dtype=torch.float16), lams(4).to(dtype), noise_of(np.ones(4))
    )
    assert m.dtype == torch.float16
    assert share.dtype == dtype


def test_inside_the_box_a_pixel_is_the_partners_and_outside_the_first_images():
    rng = np.random.default_rng(1)
    h, perm = torch.from_numpy(rng.random((1, 9, 3, 6, 8))), torch.from_numpy(rng.permutation(9))[None]
    noise = noise_of(np.ones(9))
    m, _ = CutMix()(h, lams(9), noise)
    mixed = mix(h, m, partner(h, perm))
    for b in range(9):
        inside = (box_by_hand((6, 8), lams(9)[0, b].numpy(), noise[0, b].numpy()) == 0)[None]
        assert_array_equal(mixed[0, b], np.where(inside, h[0, perm[0, b]], h[0, b]))


@pytest.mark.parametrize("size", SIZES)
def test_lam_one_keeps_the_first_image_whatever_the_noise(size):
    noise = noise_of(np.ones(200))
    noise[0, 0], noise[0, 1] = 0, 1 - 2**-24
    m, share = CutMix()(torch.zeros(1, 200, 1, *size), torch.ones(1, 200), noise)
    assert (m == 1).all()
    assert (share == 1).all()


def test_lam_zero_at_the_middle_takes_the_whole_partner():
    m, share = CutMix()(torch.zeros(1, 1, 1, 8, 8), torch.zeros(1, 1), torch.full((1, 1, 2), 0.5))
    assert (m == 0).all()
    assert (share == 0).all()


def test_a_batch_with_one_lam_has_one_box_and_one_lam_per_image_a_box_each():
    shared, own = noise_of(np.ones(50), "batch"), noise_of(np.ones(50), "sample")
    assert (shared == shared[:, :1]).all()
    assert len(np.unique(own[0].numpy(), axis=0)) == 50
    steps = CutMix().draw_noise(np.random.default_rng(0), np.ones((30, 4), np.float32))
    assert steps.shape == (30, 4, 2)
    assert steps.dtype == np.float32
    assert len(np.unique(steps[:, 0], axis=0)) == 30


def test_centres_are_uniform_over_pixels():
    """Boxes of one pixel, so that the centre is seen."""
    n = 20_000
    m, _ = CutMix()(torch.zeros(1, n, 1, 4, 5), torch.full((1, n), 0.93), noise_of(np.ones(n)))
    assert (m.sum((-2, -1)) == 19).all()
    assert_allclose((1 - m).mean(1)[0, 0], 1 / 20, atol=5 * math.sqrt(0.05 * 0.95 / n))


def test_many_steps_side_by_side_are_those_one_by_one():
    lam, noise, h = lams(12), noise_of(np.ones(12)), torch.zeros(1, 12, 2, 9, 7)
    together = CutMix()(h, lam, noise)
    apart = [CutMix()(h[:, s], lam[:, s], noise[:, s]) for s in (slice(0, 4), slice(4, 8), slice(8, 12))]
    for k in range(2):
        assert torch.equal(together[k], torch.cat([parts[k] for parts in apart], 1))


def test_models_side_by_side_have_boxes_of_their_own():
    lam, noise = lams(12).view(3, 4), noise_of(np.ones(12)).view(3, 4, 2)
    m, share = CutMix()(torch.zeros(3, 4, 1, 6, 6), lam, noise)
    for k in range(3):
        own = CutMix()(torch.zeros(1, 4, 1, 6, 6), lam[k : k + 1], noise[k : k + 1])
        assert torch.equal(m[k], own[0][0])
        assert torch.equal(share[k], own[1][0])


def test_nothing_waits_for_the_device():
    meta = torch.device("meta")
    m, share = CutMix()(
        torch.empty(1, 5, 3, 8, 8, device=meta),
        torch.empty(1, 5, device=meta),
        torch.empty(1, 5, 2, device=meta),
    )
    assert m.shape == (1, 5, 1, 8, 8)
    assert share.shape == (1, 5)

"""Draws: who is mixed with whom, how much and where."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mixsk.rules import BetaDraw, Columns
from mixsk.rules.draw import PAIRS


def draw_steps(y, *, seed=0, alpha=1.0, first=0, **choices):
    """Draw a step for each row of class codes in y (S, B)."""
    y = np.atleast_2d(y)
    hyper = {name: choices.pop(name) for name in ("mix_prob", "mix_until") if name in choices}
    draw = BetaDraw(**choices)
    return draw(np.random.default_rng(seed), y, first + np.arange(len(y)), {"alpha": alpha, **hyper})


def repeated(y, n_steps):
    return np.tile(np.asarray(y), (n_steps, 1))


# --- lam ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lam_per", ["batch", "sample"])
@pytest.mark.parametrize("alpha", [0.2, 1.0, 20.0])
def test_lam_has_the_mean_and_variance_of_the_beta_distribution(lam_per, alpha):
    n_steps, width = (40_000, 2) if lam_per == "batch" else (2_000, 20)
    lam = draw_steps(np.zeros((n_steps, width), int), alpha=alpha, lam_per=lam_per).lam.astype(float)
    free = lam[:, 0] if lam_per == "batch" else lam.ravel()
    expected = stats.beta(alpha, alpha)
    error = 4 / np.sqrt(len(free))  # four standard errors
    assert abs(free.mean() - 0.5) < error * expected.std()
    fourth = (
        expected.moment(4) - 2 * expected.moment(3) + 1.5 * expected.moment(2) - 3 / 16
    )  # E (lam - 1/2)^4
    assert abs(free.var() - expected.var()) < error * np.sqrt(fourth - expected.var() ** 2)
    below = free[free < 0.5]  # float32 keeps what is close to 0 apart, but not what is close to 1
    assert stats.kstest(below, lambda lam: 2 * expected.cdf(lam)).pvalue > 1e-3


def test_lam_per_batch_is_one_number_a_batch_and_per_sample_one_a_row():
    y = np.zeros((50, 8), int)
    per_batch, per_sample = (draw_steps(y, lam_per=per).lam for per in ("batch", "sample"))
    assert per_batch.dtype == per_sample.dtype == np.float32
    assert (per_batch == per_batch[:, :1]).all()
    assert len(np.unique(per_batch[:, 0])) == 50
    assert len(np.unique(per_sample)) == per_sample.size


def test_lam_is_a_share_for_any_alpha():
    for alpha in (1e-3, 0.2, 1e4):
        lam = draw_steps(np.zeros((2_000, 3), int), alpha=alpha, lam_per="sample").lam
        assert ((lam >= 0) & (lam <= 1)).all()


# --- partners -----------------------------------------------------------------------------------------


@st.composite
def batches(draw):
    """Class codes (S, B) of real rows, then 0 or more padding rows (-1) in each batch."""
    n_steps, width = draw(st.integers(1, 4)), draw(st.integers(1, 9))
    n_classes = draw(st.integers(1, 4))
    codes = st.lists(st.integers(0, n_classes - 1), min_size=width, max_size=width)
    y = np.array([draw(codes) for _ in range(n_steps)])
    for row in y:
        n_real = draw(st.integers(1, width))
        row[n_real:] = -1
    return y


@given(batches(), st.sampled_from(PAIRS), st.integers(0, 2**31))
def test_real_rows_meet_real_rows_and_a_padding_row_meets_itself(y, pair, seed):
    perm = draw_steps(y, seed=seed, pair=pair).perm
    assert perm.shape == y.shape
    own = np.arange(y.shape[1])
    assert (np.where(y < 0, own, perm) == perm).all()
    assert (np.take_along_axis(y, perm, 1)[y >= 0] >= 0).all()


@given(batches(), st.integers(0, 2**31))
def test_any_pairing_is_a_permutation_of_each_batch(y, seed):
    perm = draw_steps(y, seed=seed, pair="any").perm
    assert (np.sort(perm, axis=1) == np.arange(y.shape[1])).all()


@given(batches(), st.sampled_from(["other_class", "same_class"]), st.integers(0, 2**31))
def test_class_pairings_keep_their_word_and_a_row_without_a_partner_meets_itself(y, pair, seed):
    perm = draw_steps(y, seed=seed, pair=pair).perm
    partner = np.take_along_axis(y, perm, 1)
    for row, other, chosen in zip(y, partner, perm, strict=True):
        for i, code in enumerate(row):
            if code < 0:
                continue
            if pair == "same_class":
                assert other[i] == code
            elif (row[row >= 0] == code).all():
                assert chosen[i] == i
            else:
                assert other[i] != code


def test_every_permutation_of_three_rows_is_equally_likely():
    n = 12_000
    perm = draw_steps(repeated([0, 1, 1], n), pair="any").perm
    counts = np.unique(perm, axis=0, return_counts=True)[1]
    assert len(counts) == 6
    assert stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize("pair", ["other_class", "same_class"])
def test_class_partners_are_uniform_over_the_rows_that_may_be_chosen(pair):
    y = np.array([2, 0, 1, 0, 2, 2, 1, -1])
    perm = draw_steps(repeated(y, 6_000), seed=1, pair=pair).perm
    for i in np.flatnonzero(y >= 0):
        allowed = np.flatnonzero((y >= 0) & ((y == y[i]) if pair == "same_class" else (y != y[i])))
        chosen, counts = np.unique(perm[:, i], return_counts=True)
        assert chosen.tolist() == allowed.tolist()
        assert stats.chisquare(counts).pvalue > 1e-4


def test_partners_of_different_rows_are_drawn_independently_within_a_class():
    y = repeated([0, 0, 1, 1], 8_000)
    perm = draw_steps(y, seed=2, pair="other_class").perm
    together = np.unique(perm[:, :2], axis=0, return_counts=True)[1]
    assert len(together) == 4
    assert stats.chisquare(together).pvalue > 1e-3


def test_a_batch_of_one_row_is_mixed_with_itself_whatever_the_pairing():
    for pair in PAIRS:
        assert draw_steps([[3]], pair=pair).perm.tolist() == [[0]]


# --- where, when, and the noise of hard masks ---------------------------------------------------------


def test_the_site_is_drawn_once_a_batch_uniformly_over_the_sites():
    sites = draw_steps(np.zeros((9_000, 2), int), sites=(0, 2, 3)).site
    values, counts = np.unique(sites, return_counts=True)
    assert values.tolist() == [0, 2, 3]
    assert stats.chisquare(counts).pvalue > 1e-3
    assert (draw_steps(np.zeros((5, 2), int), sites=(2,)).site == 2).all()


def test_mix_prob_is_the_share_of_batches_that_are_mixed():
    n, prob = 20_000, 0.3
    draw = draw_steps(repeated([0, 1, 0], n), mix_prob=prob, lam_per="sample")
    assert draw.mixed.dtype == bool
    assert abs(draw.mixed.mean() - prob) < 4 * np.sqrt(prob * (1 - prob) / n)
    assert (draw.lam[~draw.mixed] == 1).all()
    assert (draw.perm[~draw.mixed] == np.arange(3)).all()
    assert (draw.lam[draw.mixed] < 1).any()


def test_nothing_is_mixed_from_the_step_mix_until_on():
    for mix_prob in (1.0, 0.5):
        draw = draw_steps(repeated([0, 1], 200), first=100, mix_until=150, mix_prob=mix_prob)
        assert draw.mixed[:50].any()
        assert not draw.mixed[50:].any()
        assert (draw.lam[50:] == 1).all()
    assert draw_steps(repeated([0, 1], 5), first=0, mix_until=5).mixed.all()


def test_every_batch_is_mixed_by_default():
    assert draw_steps(repeated([0, 1], 3)).mixed is None


def test_the_same_seed_draws_the_same_and_another_seed_something_else():
    y = repeated([0, 1, 1, 2, 0, -1], 20)
    for lam_per, pair in product(["batch", "sample"], PAIRS):
        choices = {"lam_per": lam_per, "pair": pair, "mix_prob": 0.7, "sites": (0, 1)}
        first, again, other = (draw_steps(y, seed=seed, **choices) for seed in (5, 5, 6))
        for a, b in zip(first, again, strict=True):
            np.testing.assert_array_equal(a, b)
        assert not np.array_equal(first.lam, other.lam)


def test_drawing_leaves_numpys_global_state_alone():
    before = np.random.get_state()[1].copy()
    draw_steps(repeated([0, 1, 1], 10), lam_per="sample", pair="other_class", mix_prob=0.5)
    np.testing.assert_array_equal(np.random.get_state()[1], before)


def test_noise_is_drawn_only_for_masks_that_ask_for_it():
    y = repeated([0, 1, 1], 10)
    assert draw_steps(y).noise is None
    asked = []
    noise = draw_steps(y, noise=lambda rng, lam: asked.append(lam.shape) or rng.random((10, 3, 4))).noise
    assert noise.shape == (10, 3, 4)
    assert asked == [(10, 3)]


@pytest.mark.parametrize("n_columns", [2, 3, 8])
def test_a_redraw_leaves_as_few_column_swaps_unmixed_as_theory_says(n_columns):
    """With lam uniform, q = lam^d + (1 - lam)^d stay unmixed, E q = 2 / (d + 1); after one redraw E q^2."""
    mask = Columns()
    mask.n_columns_ = d = n_columns
    n = 100_000
    lam = np.random.default_rng(3).random((1, n), dtype=np.float32)
    noise = mask.draw_noise(np.random.default_rng(4), lam)
    kept = (noise < lam[..., None]).sum(-1)
    unmixed = ((kept == 0) | (kept == d)).mean()
    grid = (np.arange(20_000) + 0.5) / 20_000
    expected = np.mean((grid**d + (1 - grid) ** d) ** 2)
    if d == 3:
        assert expected == pytest.approx(0.3, abs=1e-6)  # 2/7 + 2 B(4, 4): from 0.5 without the redraw
    assert abs(unmixed - expected) < 4 * np.sqrt(expected * (1 - expected) / n)
    assert noise.dtype == np.float32
    assert ((noise >= 0) & (noise < 1)).all()


def test_each_column_is_kept_with_probability_lam_given_that_the_row_is_mixed():
    mask = Columns()
    mask.n_columns_ = 2
    lam = np.full((1, 60_000), 0.3, np.float32)
    noise = mask.draw_noise(np.random.default_rng(5), lam)
    kept = noise[0] < 0.3
    one = kept.sum(1) == 1
    # p1 = 2 lam (1 - lam) at the first draw, again among the 1 - p1 that are drawn once more
    p1 = 2 * 0.3 * 0.7
    assert abs(one.mean() - (p1 + (1 - p1) * p1)) < 4 * np.sqrt(0.25 / len(one))
    assert abs(kept[one, 0].mean() - 0.5) < 4 * np.sqrt(0.25 / one.sum())

"""Class-conditional densities: what they are equal to, and what they survive."""

import pickle
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import log_softmax
from scipy.stats import multivariate_normal
from sklearn.base import clone
from sklearn.covariance import ledoit_wolf
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity

from mixsk.densities import (
    DENSITIES,
    GM,
    CategoryFrequencies,
    Density,
    TableDensity,
    fit_density,
    log_prob_tensor,
)
from mixsk.encoding import Layout

COVARIANCES = ["class", "pooled", "ledoit-wolf", "diag"]


def blobs(seed, n=120, d=4, n_classes=3):
    """Rows of correlated classes of different shapes, in the order of a shuffled y."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(n) % n_classes)
    shapes = rng.normal(size=(n_classes, d, d))
    Z = np.einsum("nd,nde->ne", rng.normal(size=(n, d)), shapes[y]) + 2 * rng.normal(size=(n_classes, d))[y]
    return Z, y


def mixed_table(seed, n=60):
    """One number, a category of 3 levels, a second number, a missing indicator; its Layout and classes."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    number = rng.normal(size=(n, 2)) + y[:, None]
    category = np.eye(3)[(rng.random(n) * 2 + y * rng.random(n)).astype(int)]
    missing = (rng.random((n, 1)) < 0.2 + 0.3 * y[:, None]).astype(float)
    X = np.hstack([number[:, :1], category, number[:, 1:], missing]).astype(np.float32)
    return X, y, Layout(np.array([0, 1, 1, 1, 2, 2]), np.array([0, 4]), ((1, 4), (5, 6)), 3)


class KDE:
    """A user's own density: no base class, no weights."""

    def fit(self, Z, y, n_classes):
        self.parts = [
            KernelDensity(bandwidth=0.7).fit(Z[y == c]) if (y == c).any() else None for c in range(n_classes)
        ]
        return self

    def log_prob(self, z):
        columns = [np.full(len(z), -np.inf) if p is None else p.score_samples(z) for p in self.parts]
        return np.stack(columns, axis=1)


# --- one Gaussian per class ---------------------------------------------------------------------------


def test_log_density_equals_scipys_normal_with_the_maximum_likelihood_covariance():
    Z, y = blobs(0)
    z = np.random.default_rng(1).normal(size=(50, 4)) * 5
    expected = [
        multivariate_normal(Z[y == c].mean(0), np.cov(Z[y == c].T, bias=True) + 1e-4 * np.eye(4)).logpdf(z)
        for c in range(3)
    ]
    assert_allclose(GM().fit(Z, y).log_prob(z), np.transpose(expected), rtol=1e-9)


def test_pooled_covariance_is_the_covariance_within_the_classes():
    Z, y = blobs(2)
    within = np.cov((Z - np.stack([Z[y == c].mean(0) for c in range(3)])[y]).T, bias=True)
    gm = GM(covariance="pooled", reg_covar=0.5).fit(Z, y)
    assert_allclose(gm.covariances_, np.broadcast_to(within + 0.5 * np.eye(4), (3, 1, 4, 4)), rtol=1e-12)


def test_ledoit_wolf_covariance_equals_scikit_learns():
    Z, y = blobs(3, n=21, d=6)
    gm = GM(covariance="ledoit-wolf", reg_covar=0).fit(Z, y)
    for c in range(3):
        assert_allclose(gm.covariances_[c, 0], ledoit_wolf(Z[y == c])[0], rtol=1e-10)


def test_diag_equals_a_product_of_normals():
    Z, y = blobs(4)
    z = np.random.default_rng(5).normal(size=(20, 4))
    expected = [
        multivariate_normal(Z[y == c].mean(0), np.diag(Z[y == c].var(0) + 1e-4)).logpdf(z) for c in range(3)
    ]
    assert_allclose(GM(covariance="diag").fit(Z, y).log_prob(z), np.transpose(expected), rtol=1e-9)


@pytest.mark.parametrize("distance", [1, 40, 1e4, 1e8])
def test_posterior_equals_a_direct_log_sum_exp_however_far_the_densities_underflow(distance):
    """At 40 all densities are about 1e-300; at 1e4 their logs are about -1e7."""
    Z, y = load_iris(return_X_y=True)
    prior = np.log([0.2, 0.5, 0.3])
    z = Z.mean(0) + distance * np.random.default_rng(6).normal(size=(30, 4))
    expected = [
        multivariate_normal(Z[y == c].mean(0), np.cov(Z[y == c].T, bias=True) + 1e-4 * np.eye(4)).logpdf(z)
        for c in range(3)
    ]
    expected = log_softmax(np.transpose(expected) + prior, axis=1)
    result = torch.log_softmax(GM().fit(Z, y).log_prob(torch.tensor(z)) + torch.tensor(prior), dim=1)
    assert torch.isfinite(result).all()
    assert_allclose(result.numpy(), expected, rtol=1e-9, atol=1e-9)


def test_a_large_offset_of_the_columns_changes_nothing():
    Z, y = blobs(7)
    z = Z[:20] + 0.5
    near, far = GM().fit(Z, y), GM().fit(Z + 1e6, y)
    # 1e6 in float64 leaves 1e-10 of the rows themselves
    assert_allclose(far.log_prob(z + 1e6), near.log_prob(z), rtol=1e-8)


def test_float32_rows_are_fitted_and_evaluated_in_float64():
    Z, y = blobs(8)
    Z = Z.astype(np.float32)
    single, double = GM().fit(Z, y), GM().fit(Z.astype(np.float64), y)
    assert_array_equal(single.covariances_, double.covariances_)
    assert_array_equal(single.log_prob(Z), double.log_prob(Z.astype(np.float64)))


def test_more_rows_than_one_chunk_give_the_plain_moments():
    rng = np.random.default_rng(9)
    Z, y = rng.normal(size=(40_000, 2)), rng.integers(0, 2, 40_000)
    gm = GM(reg_covar=0).fit(Z, y)
    for c in range(2):
        assert_allclose(gm.means_[c, 0], Z[y == c].mean(0), rtol=0, atol=1e-14)
        assert_allclose(gm.covariances_[c, 0], np.cov(Z[y == c].T, bias=True), rtol=1e-10, atol=1e-14)
    assert_array_equal(gm.log_prob(Z)[-3:], gm.log_prob(Z[-3:]))


# --- small and degenerate classes ---------------------------------------------------------------------


def test_a_class_with_no_more_rows_than_columns_is_pooled_with_one_warning_that_names_it():
    Z, y = blobs(10, n=90)
    keep = np.ones(90, dtype=bool)
    keep[np.flatnonzero(y == 1)[4:]] = False  # 4 rows of class 1 over 4 columns
    Z, y = Z[keep], y[keep]
    with pytest.warns(UserWarning, match=r"class 1 \(4 rows\).* pooled over the classes is used") as caught:
        auto = GM().fit(Z, y)
    assert len(caught) == 1
    assert "class 0" not in str(caught[0].message)
    own, pooled = GM(covariance="class").fit(Z, y), GM(covariance="pooled").fit(Z, y)
    assert_allclose(auto.covariances_[1], pooled.covariances_[1], rtol=1e-12)
    assert_allclose(auto.covariances_[[0, 2]], own.covariances_[[0, 2]], rtol=1e-12)


def test_auto_shrinks_the_pooled_covariance_if_all_rows_together_are_too_few():
    rng = np.random.default_rng(11)
    Z, y = rng.normal(size=(12, 30)), np.arange(12) % 2
    with pytest.warns(UserWarning, match="shrunk .* as even all 12 rows are too few"):
        gm = GM(reg_covar=0).fit(Z, y)
    residuals = Z - np.stack([Z[y == c].mean(0) for c in range(2)])[y]
    assert_allclose(gm.covariances_[1, 0], ledoit_wolf(residuals, assume_centered=True)[0], rtol=1e-10)
    eigenvalues = np.linalg.eigvalsh(gm.covariances_[0, 0])
    assert eigenvalues[-1] / eigenvalues[0] < 100


@pytest.mark.parametrize("reg_covar", [0, 1e-4])
@pytest.mark.parametrize("covariance", COVARIANCES)
def test_one_row_per_class_gives_the_nearest_row(covariance, reg_covar):
    gm = GM(covariance=covariance, reg_covar=reg_covar).fit([[0.0, 0.0], [3.0, 0.0]], [0, 1])
    log_prob = gm.log_prob(np.array([[1.0, 5.0], [2.0, 5.0], [1.5, 0.0]]))
    assert np.isfinite(log_prob).all()
    assert log_prob[0, 0] > log_prob[0, 1]
    assert log_prob[1, 0] < log_prob[1, 1]
    assert_allclose(log_prob[2, 0], log_prob[2, 1])


@pytest.mark.parametrize("reg_covar", [0, 1e-4])
@pytest.mark.parametrize("covariance", ["class", "pooled", "diag"])
def test_a_constant_column_leaves_the_posterior_as_it_is(covariance, reg_covar):
    Z, y = blobs(12)
    z = Z[:30] + 0.3
    plain = GM(covariance=covariance, reg_covar=reg_covar).fit(Z, y).log_prob(z)
    Z, z = (np.insert(rows, 2, 7.1, axis=1) for rows in (Z, z))
    constant = GM(covariance=covariance, reg_covar=reg_covar).fit(Z, y).log_prob(z)
    assert_allclose(log_softmax(constant, 1), log_softmax(plain, 1), atol=1e-9)


@pytest.mark.parametrize("covariance", ["class", "pooled"])
def test_a_duplicated_column_says_what_the_column_alone_says(covariance):
    Z, y = blobs(13)
    z = Z[:30] + 0.3
    plain = GM(covariance=covariance, reg_covar=0).fit(Z, y).log_prob(z)
    twice = (
        GM(covariance=covariance, reg_covar=0)
        .fit(np.hstack([Z, Z[:, :1]]), y)
        .log_prob(np.hstack([z, z[:, :1]]))
    )
    assert_allclose(log_softmax(twice, 1), log_softmax(plain, 1), atol=1e-6)


def test_columns_of_very_different_scales_all_count_without_regularisation():
    Z, y = blobs(14)
    scale = np.array([1e-7, 1.0, 1e7, 1e3])
    plain, scaled = GM(reg_covar=0).fit(Z, y), GM(reg_covar=0).fit(Z * scale, y)
    assert_allclose(scaled.log_prob(Z * scale), plain.log_prob(Z) - np.log(scale).sum(), rtol=1e-9)


@pytest.mark.parametrize("n_components", [1, 2])
def test_an_absent_class_is_impossible_and_harms_no_other(n_components):
    Z, y = blobs(15, n_classes=2)
    without = GM(n_components).fit(Z, y).log_prob(Z)
    gm = GM(n_components).fit(Z, np.array([1, 3])[y], n_classes=5)
    log_prob = gm.log_prob(Z)
    assert_array_equal(
        np.isneginf(log_prob), np.broadcast_to([True, False, True, False, True], log_prob.shape)
    )
    assert_allclose(log_prob[:, [1, 3]], without)
    z = torch.tensor(Z, requires_grad=True)
    torch.softmax(gm.log_prob(z), -1)[:, 1].sum().backward()
    assert torch.isfinite(z.grad).all()
    assert z.grad.abs().sum() > 0


@pytest.mark.parametrize("n_components", [1, 2])
@pytest.mark.parametrize("covariance", COVARIANCES)
def test_without_columns_the_log_density_is_zero(covariance, n_components):
    gm = GM(n_components, covariance).fit(np.empty((3, 0)), [0, 1, 1])
    assert_array_equal(gm.log_prob(np.empty((4, 0))), np.zeros((4, 2)))


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_log_densities_are_finite_on_any_degenerate_data(data):
    n, d = data.draw(st.integers(1, 12)), data.draw(st.integers(0, 4))
    # few distinct values: equal rows, constant and equal columns are common
    value = st.sampled_from([0.0, 1.0, -3.0, 1e-6, 1e5, 0.1])
    Z = np.array(
        data.draw(st.lists(st.lists(value, min_size=d, max_size=d), min_size=n, max_size=n))
    ).reshape(n, d)
    y = np.array(data.draw(st.lists(st.integers(0, 3), min_size=n, max_size=n)))
    weight = np.array(data.draw(st.lists(st.sampled_from([1.0, 2.0, 1e-9, 0.3]), min_size=n, max_size=n)))
    gm = GM(
        n_components=data.draw(st.integers(1, 3)),
        covariance=data.draw(st.sampled_from(["auto", *COVARIANCES])),
        reg_covar=data.draw(st.sampled_from([0, 1e-4])),
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"GM\(covariance='auto'\)")
        gm.fit(Z, y, weight, n_classes=4)
    log_prob = gm.log_prob(np.vstack([Z, Z * 0.3, Z + 1e3]))
    present = np.isin(np.arange(4), y)
    assert np.isfinite(log_prob[:, present]).all()
    assert np.isneginf(log_prob[:, ~present]).all()


# --- several Gaussians per class ----------------------------------------------------------------------


@pytest.mark.parametrize(("covariance", "theirs"), [("class", "full"), ("diag", "diag"), ("pooled", "tied")])
def test_a_mixture_equals_scikit_learns_from_the_same_start(covariance, theirs):
    Z, _ = blobs(16, n=300, d=3)
    gm = GM(3, covariance, reg_covar=1e-3).fit(Z, np.zeros(300, dtype=int))
    expected = GaussianMixture(3, covariance_type=theirs, reg_covar=1e-3, max_iter=200, random_state=0).fit(Z)
    assert expected.converged_
    assert gm.converged_
    assert gm.n_iter_ == expected.n_iter_ > 1
    assert_allclose(gm.log_prob(Z)[:, 0], expected.score_samples(Z), rtol=1e-7, atol=1e-9)


def test_two_clusters_of_a_class_get_a_component_each():
    rng = np.random.default_rng(17)
    Z = np.concatenate([rng.normal(-8, 1, (40, 1)), rng.normal(8, 1, (120, 1)), rng.normal(0, 1, (50, 1))])
    gm = GM(2).fit(Z, [0] * 160 + [1] * 50)
    order = np.argsort(gm.means_[0, :, 0])
    assert_allclose(gm.means_[0, order, 0], [Z[:40].mean(), Z[40:160].mean()], atol=1e-3)
    assert_allclose(gm.weights_[0, order], [0.25, 0.75], atol=1e-3)
    log_prob = gm.log_prob(np.array([[-8.0], [0.0], [8.0]]))
    assert_array_equal(log_prob.argmax(1), [0, 1, 0])


@pytest.mark.parametrize("rows", [[[1.0, 2.0]], [[1.0, 2.0], [3.0, 1.0]], [[1.0, 2.0]] * 6])
def test_a_class_with_fewer_distinct_rows_than_components_uses_fewer(rows):
    Z, y = blobs(18, n=60, d=2, n_classes=1)
    Z, y = np.vstack([Z, rows]), np.append(y, [1] * len(rows))
    gm = GM(3, covariance="class").fit(Z, y)
    assert (gm.weights_[0] > 0).sum() == 3
    assert (gm.weights_[1] > 0).sum() == len(np.unique(rows, axis=0))
    assert np.isfinite(gm.log_prob(Z)).all()


def test_the_same_seed_gives_the_same_mixture_and_the_global_generator_is_left_alone():
    Z, y = blobs(19)
    before = np.random.get_state()[1].copy()
    first, second = (GM(2, "class", random_state=5).fit(Z, y).log_prob(Z) for _ in range(2))
    GM(2, "class", random_state=None).fit(Z, y)
    assert_array_equal(first, second)
    assert_array_equal(np.random.get_state()[1], before)


# --- weights --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("covariance", ["auto", "class", "pooled", "diag"])
def test_weights_equal_repeats(covariance):
    Z, y = blobs(20)
    times = np.random.default_rng(21).integers(0, 4, len(Z))
    weighted = GM(covariance=covariance).fit(Z, y, times)
    repeated = GM(covariance=covariance).fit(Z.repeat(times, axis=0), y.repeat(times))
    assert_allclose(weighted.log_prob(Z), repeated.log_prob(Z), rtol=1e-9)


def test_weights_equal_repeats_in_a_mixture():
    rng = np.random.default_rng(22)
    Z = np.concatenate([rng.normal(-9, 1, (30, 2)), rng.normal(9, 1, (30, 2))])
    times = rng.integers(1, 4, 60)
    weighted = GM(2).fit(Z, np.zeros(60, dtype=int), times)
    repeated = GM(2).fit(Z.repeat(times, axis=0), np.zeros(times.sum(), dtype=int))
    assert_allclose(weighted.log_prob(Z), repeated.log_prob(Z), rtol=1e-9)


@pytest.mark.parametrize("covariance", ["auto", *COVARIANCES])
def test_the_scale_of_the_weights_does_not_matter(covariance):
    Z, y = blobs(23)
    weight = np.random.default_rng(24).random(len(Z))
    once, thrice = (GM(covariance=covariance).fit(Z, y, w).log_prob(Z) for w in (weight, 3 * weight))
    assert_allclose(once, thrice, rtol=1e-10)


def test_rows_of_weight_zero_count_as_absent():
    Z, y = blobs(25)
    log_prob = GM().fit(Z, y, (y != 2).astype(float)).log_prob(Z)
    assert np.isneginf(log_prob[:, 2]).all()
    assert_allclose(log_prob[:, :2], GM().fit(Z[y != 2], y[y != 2]).log_prob(Z))


# --- categories -----------------------------------------------------------------------------------------


def test_category_frequencies_equal_the_numbers_worked_out_by_hand():
    # class 0: a a b, class 1: b; levels a, b, c; one more row per level:
    # class 0: (2+1, 1+1, 0+1) / (3+3) = 3/6, 2/6, 1/6      class 1: (1, 2, 1) / (1+3) = 1/4, 2/4, 1/4
    a, b, c = np.eye(3)
    density = CategoryFrequencies([(0, 3)]).fit([a, a, b, b], [0, 0, 0, 1])
    assert_allclose(density.frequencies_[0], [[3 / 6, 2 / 6, 1 / 6], [1 / 4, 2 / 4, 1 / 4]])
    # a half a, half c row: (3/6 + 1/6) / 2 = 1/3 and 1/4
    z = np.array([a, c, (a + c) / 2, 0.25 * a + 0.75 * b])
    expected = [[1 / 2, 1 / 4], [1 / 6, 1 / 4], [1 / 3, 1 / 4], [3 / 8, 7 / 16]]
    assert_allclose(np.exp(density.log_prob(z)), expected, rtol=1e-12)


def test_several_categories_multiply():
    # first block: class 0 (2+1, 0+1) / 4, class 1 (1, 2) / 3
    # second: class 0 (1+1, 1+1) / 4, class 1 (2, 1) / 3
    X = np.array([[1, 0, 1, 0], [1, 0, 0, 1], [0, 1, 1, 0]])
    density = CategoryFrequencies([(0, 2), (2, 4)]).fit(X, [0, 0, 1])
    log_prob = density.log_prob(np.array([[1.0, 0, 0, 1], [0.5, 0.5, 1, 0]]))
    assert_allclose(
        np.exp(log_prob), [[3 / 4 * 1 / 2, 1 / 3 * 1 / 3], [1 / 2 * 1 / 2, 1 / 2 * 2 / 3]], rtol=1e-12
    )


def test_a_missing_indicator_is_a_category_of_two_levels():
    # class 0: 1 of 3 missing -> (1+1) / (3+2) = 2/5; class 1: 0 of 1 -> 1/3
    density = CategoryFrequencies([(1, 2)]).fit([[9, 1], [9, 0], [9, 0], [9, 0]], [0, 0, 0, 1])
    z = np.array([[7, 1], [7, 0], [7, 0.25]])
    # .25 * 2/5 + .75 * 3/5 = 11/20, .25 * 1/3 + .75 * 2/3 = 7/12
    assert_allclose(
        np.exp(density.log_prob(z)), [[2 / 5, 1 / 3], [3 / 5, 2 / 3], [11 / 20, 7 / 12]], rtol=1e-12
    )


def test_an_unseen_category_says_nothing_about_the_class():
    # class 0: 2/3, 1/3; class 1: 1/3, 2/3
    # a row that is half unseen: 1/2 * 1 + 1/2 * 2/3 = 5/6 and 1/2 * 1 + 1/2 * 1/3 = 4/6
    density = CategoryFrequencies([(0, 2)]).fit(np.eye(2), [0, 1])
    log_prob = density.log_prob(np.array([[0.0, 0.0], [0.5, 0.0]]))
    assert_allclose(np.exp(log_prob), [[1, 1], [5 / 6, 4 / 6]], rtol=1e-12)


def test_rounding_of_float32_shares_is_not_taken_for_an_unseen_category():
    # a category that class 1 never has among 1e6 rows has frequency 1e-6, as large as ten float32 roundings
    density = CategoryFrequencies([(0, 2)]).fit(np.eye(2), [0, 1], [1.0, 1e6])
    lam = torch.linspace(0, 1, 1001)
    z = torch.stack([lam, 1 - lam * torch.tensor(1 + 1e-7)], dim=1)
    pi = torch.tensor(density.frequencies_[0])
    assert_allclose(density.log_prob(z), (z.double().clamp_min(0) @ pi.T).log(), atol=1e-12)


@pytest.mark.parametrize(
    "widths", [[2, 3, 1, 4], [1] * 70, [60, 2, 1, 50, 7] * 6], ids=["few", "ones", "wide"]
)
def test_frequencies_of_many_blocks_equal_a_loop_over_them(widths):
    """From one block-diagonal product to a product per block."""
    rng = np.random.default_rng(26)
    y = rng.integers(0, 4, 80)
    stops = np.cumsum(widths) + 2
    blocks = list(zip(stops - widths, stops, strict=True))
    parts = [np.eye(w)[rng.integers(0, w, 80)] if w > 1 else rng.integers(0, 2, (80, 1)) for w in widths]
    X = np.hstack([rng.normal(size=(80, 2)), *parts]).astype(np.float32)
    density = CategoryFrequencies(blocks).fit(X, y)
    z = 0.3 * X + 0.7 * X[::-1]
    expected = np.zeros((80, 4))
    for start, stop in blocks:
        shares = z[:, start:stop].astype(np.float64)
        if stop - start == 1:
            shares = np.hstack([shares, 1 - shares])
        for c in range(4):
            own = X[y == c, start:stop].astype(np.float64)
            own = np.hstack([own, 1 - own]) if stop - start == 1 else own
            expected[:, c] += np.log(shares @ ((own.sum(0) + 1) / (len(own) + own.shape[1])))
    assert_allclose(density.log_prob(z), expected, atol=1e-5)  # z is float32


def test_category_weights_equal_repeats():
    X, y, layout = mixed_table(27)
    times = np.random.default_rng(28).integers(0, 4, len(X))
    weighted = CategoryFrequencies(layout.blocks).fit(X, y, times)
    repeated = CategoryFrequencies(layout.blocks).fit(X.repeat(times, axis=0), y.repeat(times))
    assert_allclose(weighted.log_prob(X), repeated.log_prob(X), rtol=1e-12)


def test_shares_outside_zero_and_one_have_a_finite_log_density():
    """An attack on the encoded row may leave the simplex."""
    density = CategoryFrequencies([(0, 2), (2, 3)]).fit([[1, 0, 1], [0, 1, 0]], [0, 1])
    z = np.array([[-2.0, 1.0, 3.0], [-1.0, -1.0, -1.0], [5.0, 5.0, 1.5]])
    assert np.isfinite(density.log_prob(z)).all()


# --- tables ---------------------------------------------------------------------------------------------


def test_a_table_is_numbers_times_categories():
    X, y, layout = mixed_table(29)
    density = TableDensity(GM(), layout).fit(X, y)
    expected = GM().fit(X[:, [0, 4]], y).log_prob(X[:, [0, 4]])
    expected = expected + CategoryFrequencies(layout.blocks).fit(X, y).log_prob(X)
    assert_allclose(density.log_prob(X), expected, rtol=1e-12)


def test_categories_may_be_ignored_or_join_the_gaussian():
    X, y, layout = mixed_table(30)
    ignored = TableDensity(GM(categorical="ignore"), layout).fit(X, y)
    joint = TableDensity(GM(categorical="onehot"), layout).fit(X, y)
    assert_allclose(ignored.log_prob(X), GM().fit(X[:, [0, 4]], y).log_prob(X[:, [0, 4]]), rtol=1e-12)
    assert_allclose(joint.log_prob(X), GM().fit(X, y).log_prob(X), rtol=1e-12)


def test_a_table_of_numbers_alone_or_of_categories_alone():
    X, y, _ = mixed_table(31)
    numbers = Layout(np.arange(2), np.arange(2), (), 2)
    assert_allclose(
        TableDensity(GM(), numbers).fit(X[:, [0, 4]], y).log_prob(X[:, [0, 4]]),
        GM().fit(X[:, [0, 4]], y).log_prob(X[:, [0, 4]]),
    )
    categories = Layout(np.zeros(3, dtype=int), np.array([], dtype=int), ((0, 3),), 1)
    density = TableDensity(GM(), categories).fit(X[:, 1:4], y, n_classes=3)
    log_prob = density.log_prob(X[:, 1:4])
    assert_allclose(log_prob[:, :2], CategoryFrequencies([(0, 3)]).fit(X[:, 1:4], y).log_prob(X[:, 1:4]))
    assert np.isneginf(log_prob[:, 2]).all()
    with pytest.raises(ValueError, match="leaves nothing to fit: the table has no numeric column"):
        TableDensity(GM(categorical="ignore"), categories).fit(X[:, 1:4], y)


def test_table_weights_equal_repeats_and_the_given_density_stays_unfitted():
    X, y, layout = mixed_table(32)
    times = np.random.default_rng(33).integers(0, 4, len(X))
    gm = GM()
    weighted = TableDensity(gm, layout).fit(torch.tensor(X), torch.tensor(y), times)
    repeated = TableDensity(gm, layout).fit(X.repeat(times, axis=0), y.repeat(times))
    assert_allclose(weighted.log_prob(X), repeated.log_prob(X), rtol=1e-9)
    assert not hasattr(gm, "means_")


# --- a user's own object --------------------------------------------------------------------------------


def test_a_users_own_density_works_on_a_table_and_meets_absent_classes():
    X, y, layout = mixed_table(34)
    density = TableDensity(KDE(), layout).fit(X, y, n_classes=3)
    log_prob = density.log_prob(torch.tensor(X)[None])  # with a leading model axis
    expected = KDE().fit(X[:, [0, 4]].astype(float), y, 3).log_prob(X[:, [0, 4]])
    expected[:, :2] += CategoryFrequencies(layout.blocks).fit(X, y).log_prob(X)
    assert log_prob.shape == (1, 60, 3)
    assert log_prob.dtype == torch.float64
    assert_allclose(log_prob[0].numpy(), expected, rtol=1e-12)


def test_a_users_own_density_gets_only_the_arguments_that_its_fit_takes():
    Z, y = blobs(35)
    got = {}

    class Plain:
        def fit(self, Z, y):
            got["plain"] = Z.dtype

        def log_prob(self, z):
            return np.zeros((len(z), 3))

    class Weighted(Plain):
        def fit(self, Z, y, sample_weight=None):
            got["weight"] = sample_weight

    class Anything(Plain):
        def fit(self, Z, y, **kwargs):
            got["kwargs"] = set(kwargs)

    weight = np.arange(len(Z)) + 1.0
    assert isinstance(fit_density(Plain(), Z.astype(np.float32), y, np.ones(len(Z))), Plain)
    fit_density(Weighted(), Z, y, weight)
    fit_density(Anything(), Z, y, weight, 4)
    assert got["plain"] == np.float64
    assert got["weight"] is weight
    assert got["kwargs"] == {"sample_weight", "n_classes"}
    with pytest.raises(ValueError, match=r"Plain\.fit takes no sample_weight"):
        fit_density(Plain(), Z, y, weight)


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        (np.zeros((4, 2)), r"Broken\.log_prob returned the shape \(4, 2\) for 4 rows, but \(4, 3\)"),
        (np.zeros(4), r"Broken\.log_prob returned the shape \(4,\)"),
        (np.full((4, 3), np.nan), r"Broken\.log_prob returned NaN in 4 of 4 rows"),
        (np.diag([0, np.inf, 0, 0])[:, :3], r"returned \+inf in 1 of 4 rows, the first being row 1"),
        (np.full((4, 3), -np.inf), r"returned -inf for every class in 4 of 4 rows"),
    ],
)
def test_what_a_users_own_density_returns_is_checked(returned, words):
    class Broken:
        def fit(self, Z, y):
            pass

        def log_prob(self, z):
            return returned

    layout = Layout(np.arange(2), np.arange(2), (), 2)
    density = TableDensity(Broken(), layout).fit(np.ones((3, 2)), [0, 1, 2])
    with pytest.raises(ValueError, match=words):
        density.log_prob(torch.zeros(4, 2))


def test_a_users_own_density_may_return_a_tensor():
    class Torch:
        def fit(self, Z, y):
            self.weight = torch.ones(2, 3, dtype=torch.float64, requires_grad=True)

        def log_prob(self, z):
            return torch.as_tensor(z) @ self.weight

    density = fit_density(Torch(), np.ones((3, 2)), np.arange(3))
    result = log_prob_tensor(density, torch.ones(5, 4, 2), 3)
    assert_array_equal(result, np.full((5, 4, 3), 2.0))


def test_a_subclass_with_a_log_prob_of_its_own_is_called_through_numpy():
    class Numpy(Density):
        def fit(self, Z, y, sample_weight=None, n_classes=None):
            return self

        def log_prob(self, z):
            assert isinstance(z, np.ndarray)
            return np.zeros((len(z), 2))

    assert_array_equal(log_prob_tensor(Numpy().fit(None, None), torch.ones(3, 1), 2), np.zeros((3, 2)))


# --- tensors, devices, pickles --------------------------------------------------------------------------


def fitted(name):
    X, y, layout = mixed_table(36)
    densities = {
        "gm": GM(),
        "gm diag": GM(covariance="diag"),
        "gm mixture": GM(2, "class"),
        "categories": CategoryFrequencies(layout.blocks),
        "table": TableDensity(GM(), layout),
        "table onehot": TableDensity(GM(categorical="onehot"), layout),
    }
    return densities[name].fit(X, y, n_classes=3), X


ALL = ["gm", "gm diag", "gm mixture", "categories", "table", "table onehot"]


@pytest.mark.parametrize("name", ALL)
def test_arrays_and_tensors_with_any_leading_axes_give_the_same(name):
    density, X = fitted(name)
    expected = density.log_prob(X)
    assert expected.dtype == np.float64
    assert_array_equal(density.log_prob(torch.tensor(X)).numpy(), expected)
    deep = density.log_prob(torch.tensor(X).reshape(4, 3, 5, -1))
    assert deep.dtype == torch.float64
    assert_allclose(deep.numpy(), expected.reshape(4, 3, 5, 3), rtol=1e-12)
    strided = density.log_prob(torch.tensor(X).reshape(4, 15, -1).transpose(0, 1))
    assert_allclose(strided.numpy(), expected.reshape(4, 15, 3).swapaxes(0, 1), rtol=1e-12)
    assert_allclose(density.log_prob(X[0]), expected[0], rtol=1e-12)
    assert density.log_prob(X[:0]).shape == (0, 3)


@pytest.mark.parametrize("name", ALL)
def test_log_prob_runs_without_values_so_the_host_never_waits(name):
    density, X = fitted(name)
    result = density.log_prob(torch.empty(2, 7, X.shape[1], device="meta"))
    assert result.shape == (2, 7, 3)
    assert result.device.type == "meta"
    assert result.dtype == torch.float64


@pytest.mark.parametrize("name", ALL)
def test_pickles_and_clones_keep_what_they_should_and_no_tensors(name):
    density, X = fitted(name)
    size = len(pickle.dumps(density))
    expected = density.log_prob(X)
    restored = pickle.loads(pickle.dumps(density))
    assert len(pickle.dumps(density)) == size
    assert_array_equal(restored.log_prob(X), expected)
    fresh = clone(density)
    with pytest.raises(NotFittedError, match="not fitted yet"):
        fresh.log_prob(X)
    assert repr(fresh) == repr(density)


def test_a_pickle_leaves_out_what_can_be_derived():
    rng = np.random.default_rng(0)
    y = np.arange(2000) % 10
    gm = GM().fit(rng.normal(size=(2000, 100)) + y[:, None], y)
    stored = pickle.dumps(gm)
    assert len(stored) < 2.2 * gm.covariances_.nbytes  # the covariances and, for partial_fit, the moments
    Z = rng.normal(size=(5, 100))
    assert_array_equal(pickle.loads(stored).log_prob(Z), gm.log_prob(Z))


@pytest.mark.parametrize("name", ALL)
def test_a_second_fit_forgets_the_first(name):
    density, X = fitted(name)
    density.log_prob(X)
    again = density.fit(X[:40] * 0.5, np.arange(40) % 2)
    assert_array_equal(again.log_prob(X), clone(density).fit(X[:40] * 0.5, np.arange(40) % 2).log_prob(X))
    assert again.log_prob(X).shape == (60, 2)


@pytest.mark.parametrize("name", ALL)
def test_gradients_agree_with_finite_differences_even_after_inference_mode(name):
    density, X = fitted(name)
    with torch.inference_mode():
        density.log_prob(torch.tensor(X))
    # inside the simplex, where nothing has a kink
    z = torch.tensor(0.6 * X[:3] + 0.3 * X[3:6] + 0.03, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda z: density.log_prob(z)[:, :2], z)


def test_training_in_bfloat16_leaves_densities_in_float64():
    density, X = fitted("table")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = density.log_prob(torch.tensor(X))
    assert_array_equal(inside.numpy(), density.log_prob(X))


def test_every_named_density_can_be_made_without_arguments():
    assert set(DENSITIES) >= {"gm"}
    Z, y = blobs(37)
    for density in DENSITIES.values():
        log_prob = density().fit(Z, y).log_prob(Z)
        assert not np.isnan(log_prob).any()
        assert np.isfinite(log_prob).any(1).all()  # "nn-label" rules the other classes out


# --- bad input --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        (
            {"n_components": 0},
            r"'n_components' parameter of GM must be an int in the range \[1, inf\). Got 0",
        ),
        ({"covariance": "full"}, "'covariance' parameter of GM must be a str among .*'auto'.* Got 'full'"),
        (
            {"reg_covar": -1e-4},
            r"'reg_covar' parameter of GM must be a float in the range \[0.0, inf\). Got -0.0001",
        ),
        ({"reg_covar": np.nan}, "Got nan"),
        ({"categorical": "drop"}, "'categorical' parameter of GM must be a str among .* Got 'drop'"),
    ],
)
def test_a_parameter_out_of_range_says_what_is_allowed(parameters, words):
    with pytest.raises(ValueError, match=words):
        GM(**parameters).fit([[0.0], [1.0]], [0, 1])


@pytest.mark.parametrize(
    ("Z", "y", "more", "words"),
    [
        ([[0.0], [np.nan]], [0, 1], {}, "contains NaN"),
        ([[0.0], [np.inf]], [0, 1], {}, "contains infinity"),
        ([[0.0], [1.0]], [0, 1, 1], {}, r"one code for each of the 2 rows of Z, but its shape is \(3,\)"),
        ([[0.0], [1.0]], [0.0, 1.0], {}, "integer codes 0..C-1, but its dtype is float64"),
        ([[0.0], [1.0]], [-1, 1], {}, "integer codes 0..C-1, but it has -1"),
        ([[0.0], [1.0]], [0, 1], {"n_classes": 1}, "n_classes must be an integer >= 2.* Got 1"),
        (
            [[0.0], [1.0]],
            [0, 1],
            {"sample_weight": [1, -1]},
            "finite, >= 0 and not all 0. Got values from -1.0",
        ),
        ([[0.0], [1.0]], [0, 1], {"sample_weight": [0, 0]}, "not all 0"),
        ([[0.0], [1.0]], [0, 1], {"sample_weight": [1]}, r"for each of the 2 rows, but its shape is \(1,\)"),
    ],
)
def test_bad_rows_codes_or_weights_say_what_was_given(Z, y, more, words):
    with pytest.raises(ValueError, match=words):
        GM().fit(Z, y, **more)


def test_covariances_that_would_be_too_large_are_an_error_that_says_what_to_do():
    Z, y = np.zeros((4, 6000)), [0, 1, 2, 3]
    with pytest.raises(
        ValueError, match=r"8 covariances of 6000 x 6000.*2\.15 GiB.*1 GiB.*covariance='diag'.*PCA"
    ):
        GM(n_components=2).fit(Z, y)
    assert GM(2, "diag").fit(Z, y).covariances_.shape == (4, 2, 6000)


def test_log_prob_says_when_the_columns_do_not_fit():
    density, X = fitted("gm")
    for z in (X[:, :-1], torch.tensor(X[:, :-1])):
        with pytest.raises(
            ValueError, match=r"z must have 6 columns, as Z had in GM\.fit, but its shape is \(60, 5\)"
        ):
            density.log_prob(z)
    with pytest.raises(ValueError, match="z contains NaN"):
        density.log_prob(np.full((1, 6), np.nan))


def test_a_table_density_says_what_it_cannot_use():
    X, y, layout = mixed_table(38)
    with pytest.raises(
        TypeError, match=r"needs the methods fit\(Z, y\) and log_prob\(z\), but KernelDensity has no log_prob"
    ):
        TableDensity(KernelDensity(), layout).fit(X, y)
    with pytest.raises(ValueError, match="describes 6 encoded columns, but X has 5"):
        TableDensity(GM(), layout).fit(X[:, :5], y)
    other = KDE()
    other.categorical = "drop"
    with pytest.raises(ValueError, match=r"KDE\.categorical must be one of .*'onehot'.* Got 'drop'"):
        TableDensity(other, layout).fit(X, y)
    with pytest.raises(ValueError, match=r"0 <= start < stop <= 6, the number of columns. Got \(4, 9\)"):
        CategoryFrequencies([(4, 9)]).fit(X, y)
    with pytest.raises(ValueError, match="Got none"):
        CategoryFrequencies([]).fit(X, y)


@pytest.mark.parametrize("covariance", ["auto", "class", "pooled", "diag"])
def test_partial_fit_over_chunks_equals_one_fit(covariance):
    rng = np.random.default_rng(0)
    Z, y, w = rng.normal(size=(90, 3)) + 5, rng.integers(3, size=90), rng.random(90) + 0.1
    y[:30] = rng.integers(2, size=30)  # the first chunk lacks a class
    whole = GM(covariance=covariance).fit(Z, y, w)
    parts = GM(covariance=covariance)
    for chunk in np.split(np.arange(90), 3):
        parts.partial_fit(Z[chunk], y[chunk], w[chunk], 3)
    assert_allclose(parts.means_, whole.means_, rtol=1e-12)
    assert_allclose(parts.covariances_, whole.covariances_, rtol=1e-9)
    assert_allclose(parts.log_prob(Z), whole.log_prob(Z), rtol=1e-9)
    assert_allclose(parts.class_counts_, np.bincount(y, w))


def test_partial_fit_of_category_frequencies_adds_counts():
    rng = np.random.default_rng(0)
    X, y = np.eye(3)[rng.integers(3, size=40)], rng.integers(2, size=40)
    parts = CategoryFrequencies([(0, 3)]).partial_fit(X[:10], y[:10], None, 2).partial_fit(X[10:], y[10:])
    assert_allclose(parts.log_prob(X), CategoryFrequencies([(0, 3)]).fit(X, y).log_prob(X), rtol=1e-12)


@pytest.mark.parametrize("params", [{"n_components": 2}, {"covariance": "ledoit-wolf"}])
def test_a_density_that_needs_all_rows_refuses_partial_fit(params):
    rng = np.random.default_rng(0)
    Z, y = rng.normal(size=(40, 2)), np.arange(40) % 2
    density = GM(**params).fit(Z, y)
    with pytest.raises(ValueError, match="needs all rows at once"):
        density.partial_fit(Z, y)

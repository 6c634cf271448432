"""KDE: what it is equal to, and what it survives."""

import pickle
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import log_softmax, logsumexp
from scipy.stats import gaussian_kde, multivariate_normal
from sklearn.base import clone
from sklearn.covariance import ledoit_wolf

from mixsk.densities import GM, KDE, TableDensity, _blocks
from mixsk.encoding import Layout

COVARIANCES = ["auto", "class", "pooled", "ledoit-wolf", "diag"]


def blobs(seed, n=120, d=4, n_classes=3):
    """Rows of correlated classes of different shapes, in the order of a shuffled y."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(n) % n_classes)
    shapes = rng.normal(size=(n_classes, d, d))
    Z = np.einsum("nd,nde->ne", rng.normal(size=(n, d)), shapes[y]) + 2 * rng.normal(size=(n_classes, d))[y]
    return Z, y


def kernels(z, rows, covariance):
    """Log of the mean of Gaussians at the rows, one at a time."""
    logs = [multivariate_normal(row, covariance).logpdf(z) for row in rows]
    return logsumexp(logs, axis=0) - np.log(len(rows))


# --- what it is -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("bandwidth", ["scott", 0.4, [0.4, 1.5, 0.9]])
def test_log_density_equals_scipys(bandwidth):
    Z, y = blobs(0)
    z = np.random.default_rng(1).normal(size=(50, 4)) * 3
    own = bandwidth if isinstance(bandwidth, list) else [bandwidth] * 3
    expected = [gaussian_kde(Z[y == c].T, own[c]).logpdf(z.T) for c in range(3)]
    kde = KDE(bandwidth, reg_covar=0).fit(Z, y)
    assert_allclose(kde.log_prob(z), np.transpose(expected), rtol=1e-9)
    assert_allclose(kde.covariances_[1], gaussian_kde(Z[y == 1].T, own[1]).covariance, rtol=1e-9)


def test_weights_are_scipys():
    Z, y = blobs(2)
    weight = np.random.default_rng(3).random(len(Z)) + 0.01
    z = np.random.default_rng(4).normal(size=(50, 4)) * 3
    expected = [gaussian_kde(Z[y == c].T, weights=weight[y == c]).logpdf(z.T) for c in range(3)]
    kde = KDE(reg_covar=0).fit(Z, y, weight)
    assert_allclose(kde.log_prob(z), np.transpose(expected), rtol=1e-9)
    assert_allclose(KDE(reg_covar=0).fit(Z, y, 7 * weight).log_prob(z), kde.log_prob(z), rtol=1e-9)


def test_the_ridge_is_added_before_the_bandwidth():
    Z, y = blobs(5)
    z = np.random.default_rng(6).normal(size=(20, 4))
    h = 40 ** (-1 / 8)
    own = [np.cov(Z[y == c].T) + 0.5 * np.eye(4) for c in range(3)]
    expected = [kernels(z, Z[y == c], h**2 * own[c]) for c in range(3)]
    kde = KDE(reg_covar=0.5).fit(Z, y)
    assert_allclose(kde.bandwidths_, h)
    assert_allclose(kde.log_prob(z), np.transpose(expected), rtol=1e-9)


def test_pooled_covariance_is_the_covariance_within_the_classes():
    Z, y = blobs(7)
    within = Z - np.stack([Z[y == c].mean(0) for c in range(3)])[y]
    kde = KDE(0.5, covariance="pooled", reg_covar=0.1).fit(Z, y)
    expected = 0.25 * (within.T @ within / (120 - 3) + 0.1 * np.eye(4))
    assert_allclose(kde.covariances_, np.broadcast_to(expected, (3, 4, 4)), rtol=1e-9)


def test_ledoit_wolf_covariance_is_scikit_learns_over_n_minus_1():
    Z, y = blobs(8, n=21, d=6)
    kde = KDE(1.0, covariance="ledoit-wolf", reg_covar=0).fit(Z, y)
    for c in range(3):
        assert_allclose(kde.covariances_[c], ledoit_wolf(Z[y == c])[0] * 7 / 6, rtol=1e-9)


def test_diag_has_kernels_without_covariances():
    Z, y = blobs(9)
    z = np.random.default_rng(10).normal(size=(20, 4))
    expected = [kernels(z, Z[y == c], 0.09 * np.diag(Z[y == c].var(0, ddof=1) + 1e-4)) for c in range(3)]
    assert_allclose(KDE(0.3, covariance="diag").fit(Z, y).log_prob(z), np.transpose(expected), rtol=1e-9)


@pytest.mark.parametrize("distance", [1, 40, 1e4, 1e8])
def test_posterior_equals_a_long_double_log_sum_exp_however_far_the_densities_underflow(distance):
    """At 40 most densities are below 1e-300; at 1e4 their logs are about -1e8."""
    Z, y = blobs(11)
    prior = np.log([0.2, 0.5, 0.3])
    z = Z.mean(0) + distance * np.random.default_rng(12).normal(size=(30, 4))
    kde = KDE().fit(Z, y)
    expected = np.empty((30, 3), dtype=np.longdouble)
    for c in range(3):
        whitening = np.linalg.inv(np.linalg.cholesky(kde.covariances_[c])).astype(np.longdouble)
        difference = z[:, None].astype(np.longdouble) - Z[y == c]
        exponent = -np.square(np.einsum("de,nme->nmd", whitening, difference)).sum(2) / 2
        top = exponent.max(1)
        expected[:, c] = np.log(np.exp(exponent - top[:, None]).mean(1)) + top
        expected[:, c] += np.log(np.diag(whitening)).sum() - 2 * np.log(2 * np.longdouble(np.pi)) + prior[c]
    assert distance == 1 or np.median(expected.max(1)) < np.log(1e-300)
    top = expected.max(1, keepdims=True)
    expected = expected - top - np.log(np.exp(expected - top).sum(1, keepdims=True))
    result = torch.log_softmax(kde.log_prob(torch.tensor(z)) + torch.tensor(prior), dim=1)
    assert torch.isfinite(result).all()
    # the whitening of a row at 1e8 leaves 1e-16 of the largest term
    assert_allclose(result.numpy(), expected.astype(float), rtol=1e-9, atol=1e-9)


def test_a_large_offset_of_the_columns_changes_nothing():
    Z, y = blobs(13)
    z = Z[:20] + 0.5
    # 1e6 in float64 leaves 1e-10 of the rows themselves
    assert_allclose(KDE().fit(Z + 1e6, y).log_prob(z + 1e6), KDE().fit(Z, y).log_prob(z), rtol=1e-8)


def test_float32_rows_are_fitted_and_evaluated_in_float64():
    Z, y = blobs(14)
    Z = Z.astype(np.float32)
    single, double = KDE().fit(Z, y), KDE().fit(Z.astype(np.float64), y)
    assert single.rows_.dtype == np.float32
    assert_array_equal(single.log_prob(Z), double.log_prob(Z.astype(np.float64)))


# --- small and degenerate classes -----------------------------------------------------------------------


def test_a_class_with_no_more_rows_than_columns_is_pooled_with_one_warning_that_names_it():
    Z, y = blobs(15, n=90)
    keep = np.ones(90, dtype=bool)
    keep[np.flatnonzero(y == 1)[4:]] = False  # 4 rows of class 1 over 4 columns
    Z, y = Z[keep], y[keep]
    with pytest.warns(UserWarning, match=r"class 1 \(4 rows\).* pooled over the classes is used") as caught:
        auto = KDE().fit(Z, y)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert "class 0" not in str(caught[0].message)
    own, pooled = KDE(covariance="class").fit(Z, y), KDE(covariance="pooled").fit(Z, y)
    assert_allclose(auto.covariances_[1], pooled.covariances_[1], rtol=1e-12)
    assert_allclose(auto.covariances_[[0, 2]], own.covariances_[[0, 2]], rtol=1e-12)


def test_auto_shrinks_the_pooled_covariance_if_all_rows_together_are_too_few():
    rng = np.random.default_rng(16)
    Z, y = rng.normal(size=(12, 30)), np.arange(12) % 2
    with pytest.warns(UserWarning, match="shrunk .* as even all 12 rows are too few"):
        kde = KDE(1.0, reg_covar=0).fit(Z, y)
    residuals = Z - np.stack([Z[y == c].mean(0) for c in range(2)])[y]
    shrunk = ledoit_wolf(residuals, assume_centered=True)[0] * 12 / 10
    assert_allclose(kde.covariances_, np.stack([shrunk, shrunk]), rtol=1e-10)


@pytest.mark.parametrize("covariance", ["auto", "class", "ledoit-wolf", "diag"])
def test_a_single_row_has_a_spherical_kernel_of_the_pooled_variance(covariance):
    Z, y = blobs(17, n_classes=2)
    single = np.full((1, 4), 3.0)
    with pytest.warns(UserWarning, match=r"class 2 \(1 row\)\. .*for a single row the mean") as caught:
        kde = KDE(covariance=covariance, reg_covar=0).fit(np.vstack([Z, single]), np.append(y, 2))
    assert len(caught) == 1
    within = Z - np.stack([Z[y == c].mean(0) for c in range(2)])[y]
    variance = np.square(within).sum() / (120 - 2) / 4
    z = np.random.default_rng(18).normal(size=(20, 4))
    expected = multivariate_normal(single[0], variance * np.eye(4)).logpdf(z)
    assert_allclose(kde.log_prob(z)[:, 2], expected, rtol=1e-9)


@pytest.mark.filterwarnings("ignore:KDE:UserWarning")
@pytest.mark.parametrize("reg_covar", [0, 1e-4])
@pytest.mark.parametrize("covariance", COVARIANCES)
def test_one_row_per_class_gives_the_nearest_row(covariance, reg_covar):
    kde = KDE(covariance=covariance, reg_covar=reg_covar).fit([[0.0, 0.0], [3.0, 0.0]], [0, 1])
    log_prob = kde.log_prob(np.array([[1.0, 5.0], [2.0, 5.0], [1.5, 0.0]]))
    assert np.isfinite(log_prob).all()
    assert log_prob[0, 0] > log_prob[0, 1]
    assert log_prob[1, 0] < log_prob[1, 1]
    assert_allclose(log_prob[2, 0], log_prob[2, 1])


@pytest.mark.parametrize("reg_covar", [0, 1e-4])
@pytest.mark.parametrize("covariance", ["class", "pooled", "diag"])
def test_a_constant_column_leaves_the_posterior_as_it_is(covariance, reg_covar):
    Z, y = blobs(19)
    z = Z[:30] + 0.3
    # with a column more Scott's bandwidth would be another one
    plain = KDE(0.5, covariance, reg_covar).fit(Z, y).log_prob(z)
    Z, z = (np.insert(rows, 2, 7.1, axis=1) for rows in (Z, z))
    constant = KDE(0.5, covariance, reg_covar).fit(Z, y).log_prob(z)
    assert_allclose(log_softmax(constant, 1), log_softmax(plain, 1), atol=1e-9)


def test_columns_of_very_different_scales_all_count_without_regularisation():
    Z, y = blobs(20)
    scale = np.array([1e-7, 1.0, 1e7, 1e3])
    plain, scaled = KDE(reg_covar=0).fit(Z, y), KDE(reg_covar=0).fit(Z * scale, y)
    assert_allclose(scaled.log_prob(Z * scale), plain.log_prob(Z) - np.log(scale).sum(), rtol=1e-9)


def test_an_absent_class_is_impossible_and_harms_no_other():
    Z, y = blobs(21, n_classes=2)
    without = KDE().fit(Z, y).log_prob(Z)
    log_prob = KDE().fit(Z, np.array([1, 3])[y], n_classes=5).log_prob(Z)
    assert_array_equal(
        np.isneginf(log_prob), np.broadcast_to([True, False, True, False, True], log_prob.shape)
    )
    assert_allclose(log_prob[:, [1, 3]], without)


def test_rows_of_weight_zero_count_as_absent():
    Z, y = blobs(22)
    log_prob = KDE().fit(Z, y, (y != 2).astype(float)).log_prob(Z)
    assert np.isneginf(log_prob[:, 2]).all()
    assert_allclose(log_prob[:, :2], KDE().fit(Z[y != 2], y[y != 2]).log_prob(Z))


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_without_columns_the_log_density_is_zero(covariance):
    kde = KDE(covariance=covariance).fit(np.empty((3, 0)), [0, 1, 1])
    assert_allclose(kde.log_prob(np.empty((4, 0))), np.zeros((4, 2)), atol=1e-15)


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
    weight = np.array(data.draw(st.lists(st.sampled_from([1.0, 2.0, 1e-9, 1e-300]), min_size=n, max_size=n)))
    kde = KDE(
        bandwidth=data.draw(st.sampled_from(["scott", 0.01])),
        covariance=data.draw(st.sampled_from(COVARIANCES)),
        reg_covar=data.draw(st.sampled_from([0, 1e-4])),
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"KDE\(covariance=")
        kde.fit(Z, y, weight, n_classes=4)
    log_prob = kde.log_prob(np.vstack([Z, Z * 0.3, Z + 1e3]))
    present = np.isin(np.arange(4), y)
    assert np.isfinite(log_prob[:, present]).all()
    assert np.isneginf(log_prob[:, ~present]).all()


# --- many rows ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("tile", "pairs"), [(7, 50), (16, 16), (1000, 1), (1, 100)])
def test_log_density_does_not_depend_on_the_blocks(monkeypatch, tile, pairs):
    Z, y = blobs(23)
    expected = KDE().fit(Z, y).log_prob(torch.tensor(Z))
    monkeypatch.setattr(_blocks, "TILE", tile)
    monkeypatch.setattr(_blocks, "PAIRS", pairs)
    assert_allclose(KDE().fit(Z, y).log_prob(torch.tensor(Z)), expected, rtol=1e-12)


def test_more_rows_than_one_tile_equal_scipys():
    rng = np.random.default_rng(24)
    Z = rng.normal(size=(_blocks.TILE * 2 + 5, 2))
    kde = KDE(reg_covar=0).fit(Z, np.zeros(len(Z), dtype=int))
    assert_allclose(kde.log_prob(Z[:40])[:, 0], gaussian_kde(Z.T).logpdf(Z[:40].T), rtol=1e-9)


def test_too_many_rows_are_thinned_in_each_class_alike_with_one_warning():
    rng = np.random.default_rng(25)
    Z = np.arange(1500.0)[:, None]
    y = rng.permutation(np.repeat([0, 2, 3], [1000, 499, 1]))
    weight = 1 + Z[:, 0] % 3
    with pytest.warns(UserWarning, match=r"KDE: 150 of 1500 rows are kept.*max_density_rows=150") as caught:
        kde = KDE(covariance="pooled", max_density_rows=150).fit(Z, y, weight)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert kde.row_counts_.sum() == 150
    assert_allclose(kde.row_counts_, [100, 0, 49.9, 0.1], atol=1)
    assert kde.row_counts_[3] == 1
    assert_allclose(kde.class_counts_, np.bincount(y, weight))  # the prior knows all rows
    chosen = kde.rows_[:, 0].astype(int)
    assert len(np.unique(chosen)) == 150
    direct = KDE(covariance="pooled").fit(Z[chosen], y[chosen], weight[chosen])
    assert_allclose(kde.log_prob(Z[:20]), direct.log_prob(Z[:20]), rtol=1e-12)


@pytest.mark.filterwarnings("ignore:KDE:UserWarning")
def test_the_seed_chooses_the_rows_and_the_global_generator_is_left_alone():
    Z, y = blobs(26)
    before = np.random.get_state()[1].copy()
    first, same, other, any_seed = (
        KDE(max_density_rows=30, random_state=seed).fit(Z, y).rows_ for seed in (0, 0, 1, None)
    )
    assert_array_equal(first, same)
    assert not np.array_equal(first, other)
    assert any_seed.shape == (30, 4)
    assert_array_equal(np.random.get_state()[1], before)


@pytest.mark.filterwarnings("ignore:KDE:UserWarning")
def test_every_class_keeps_a_row_even_if_fewer_are_asked_for():
    Z, y = blobs(27, n_classes=5)
    assert_array_equal(KDE(max_density_rows=2).fit(Z, y).row_counts_, np.ones(5))
    assert_array_equal(KDE(max_density_rows=2).fit(Z[:3], [0, 1, 3]).row_counts_, [1, 1, 0, 1])


# --- tables, tensors, pickles ---------------------------------------------------------------------------


def test_in_a_table_categories_multiply_or_join_or_are_ignored_as_with_gm():
    rng = np.random.default_rng(28)
    X, y = np.hstack([rng.normal(size=(60, 2)), np.eye(3)[rng.integers(0, 3, 60)]]), np.arange(60) % 2
    layout = Layout(np.array([0, 1, 2, 2, 2]), np.array([0, 1]), ((2, 5),), 3)
    numbers = KDE().fit(X[:, :2], y).log_prob(X[:, :2])
    frequencies = TableDensity(GM(), layout).fit(X, y).log_prob(X) - GM().fit(X[:, :2], y).log_prob(X[:, :2])
    assert_allclose(TableDensity(KDE(), layout).fit(X, y).log_prob(X), numbers + frequencies, rtol=1e-9)
    ignored = TableDensity(KDE(categorical="ignore"), layout).fit(X, y).log_prob(X)
    assert_allclose(ignored, numbers, rtol=1e-12)
    joint = TableDensity(KDE(categorical="onehot"), layout).fit(X, y).log_prob(X)
    assert_allclose(joint, KDE().fit(X, y).log_prob(X), rtol=1e-9)


def test_arrays_and_tensors_with_any_leading_axes_give_the_same():
    Z, y = blobs(29)
    kde = KDE().fit(Z, y, n_classes=4)
    expected = kde.log_prob(Z)
    assert_array_equal(kde.log_prob(torch.tensor(Z)).numpy(), expected)
    deep = kde.log_prob(torch.tensor(Z).reshape(4, 6, 5, -1).transpose(0, 1))
    assert deep.dtype == torch.float64
    assert_allclose(deep.transpose(0, 1).numpy(), expected.reshape(4, 6, 5, 4), rtol=1e-12)
    assert_allclose(kde.log_prob(Z[0]), expected[0], rtol=1e-12)
    assert kde.log_prob(Z[:0]).shape == (0, 4)
    assert kde.log_prob(torch.tensor(Z[:0])).shape == (0, 4)


@pytest.mark.parametrize("covariance", ["class", "diag"])
def test_log_prob_runs_without_values_so_the_host_never_waits(covariance):
    Z, y = blobs(30)
    result = KDE(covariance=covariance).fit(Z, y, n_classes=4).log_prob(torch.empty(2, 7, 4, device="meta"))
    assert result.shape == (2, 7, 4)
    assert result.device.type == "meta"
    assert result.dtype == torch.float64


def test_gradients_agree_with_finite_differences():
    Z, y = blobs(31)
    kde = KDE().fit(Z, y)
    with torch.inference_mode():
        kde.log_prob(torch.tensor(Z))
    z = torch.tensor(Z[:3] + 0.1, requires_grad=True)
    assert torch.autograd.gradcheck(kde.log_prob, z)


def test_pickles_hold_the_rows_once_and_no_tensors():
    rng = np.random.default_rng(32)
    Z, y = rng.normal(size=(2000, 5)).astype(np.float32), np.arange(2000) % 2
    kde = KDE().fit(Z, y)
    size = len(pickle.dumps(kde))
    expected = kde.log_prob(Z[:10])
    stored = pickle.dumps(kde)
    assert len(stored) == size < Z.nbytes + 8 * len(Z) + 4000  # rows, weights
    assert_array_equal(pickle.loads(stored).log_prob(Z[:10]), expected)
    again = kde.fit(Z[:40], y[:40])
    assert_array_equal(again.log_prob(Z), clone(kde).fit(Z[:40], y[:40]).log_prob(Z))


# --- bad input ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        (
            {"bandwidth": 0},
            r"'bandwidth' parameter of KDE must be .*'scott'.* float in the range \(0.0, inf",
        ),
        ({"bandwidth": -1.0}, r"'bandwidth' parameter of KDE must be .*Got -1.0"),
        ({"bandwidth": "silverman"}, "'bandwidth' parameter of KDE must be .*'scott'.* Got 'silverman'"),
        ({"bandwidth": np.inf}, "'bandwidth' parameter of KDE must be .*Got inf"),
        ({"bandwidth": [0.5]}, r"one for each of the 2 classes. Got an array of shape \(1,\)"),
        ({"bandwidth": [0.5, 0.0]}, r"Bandwidths must be finite and > 0. Got \[0.5, 0.0\]"),
        ({"bandwidth": [0.5, np.nan]}, "Bandwidths must be finite and > 0"),
        ({"covariance": "full"}, "'covariance' parameter of KDE must be a str among .*'auto'.* Got 'full'"),
        ({"reg_covar": -1e-4}, r"'reg_covar' parameter of KDE must be a float in the range \[0.0, inf\)"),
        ({"categorical": "drop"}, "'categorical' parameter of KDE must be a str among .* Got 'drop'"),
        ({"max_density_rows": 0}, r"'max_density_rows' parameter of KDE must be an int .*\[1, inf\). Got 0"),
    ],
)
def test_a_parameter_out_of_range_says_what_is_allowed(parameters, words):
    with pytest.raises(ValueError, match=words):
        KDE(**parameters).fit([[0.0], [1.0], [2.0], [3.0]], [0, 1, 0, 1])


def test_covariances_that_would_be_too_large_are_an_error_that_says_what_to_do():
    Z, y = np.zeros((8, 6000)), [0, 1, 2, 3] * 2
    with pytest.raises(ValueError, match=r"4 covariances of 6000 x 6000.*1\.07 GiB.*covariance='diag'.*PCA"):
        KDE().fit(Z, y)
    assert KDE(covariance="diag").fit(Z, y).covariances_.shape == (4, 6000)


def test_it_cannot_go_on_with_more_rows():
    Z, y = blobs(33)
    with pytest.raises(ValueError, match="KDE cannot go on with more rows"):
        KDE().fit(Z, y).partial_fit(Z, y)

"""Densities from nearest rows: what they are equal to, and what they survive."""

import pickle
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import gammaln, log_softmax
from sklearn.base import clone
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

from mixsk.densities import NN, NNLabel, TableDensity, _blocks
from mixsk.encoding import Layout
from mixsk.rules import GenLabel
from mixsk.rules.state import Rows


def blobs(seed, n=120, d=4, n_classes=3):
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(n) % n_classes)
    return rng.normal(size=(n, d)) + rng.normal(size=(n_classes, d))[y], y


def radii(Z, y, z, k):
    """Distance to the k-th nearest row of each class, by scikit-learn's brute force."""
    search = NearestNeighbors(n_neighbors=k, algorithm="brute")
    return np.stack([search.fit(Z[y == c]).kneighbors(z)[0][:, -1] for c in range(y.max() + 1)], 1)


def onehot_table(seed, n=50):
    """A number, a category of 3 levels, a missing indicator; its Layout and classes."""
    rng = np.random.default_rng(seed)
    category, missing = np.eye(3)[rng.integers(0, 3, n)], rng.integers(0, 2, (n, 1))
    X = np.hstack([0.5 * rng.normal(size=(n, 1)), category, missing]).astype(np.float32)
    return X, rng.permutation(np.arange(n) % 3), Layout(np.array([0, 1, 1, 1, 2]), [0], ((1, 4), (4, 5)), 3)


# --- nearest-neighbour densities ------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 2, 5, 40])
def test_log_density_equals_a_brute_force_search(k):
    Z, y = blobs(0)
    z = np.random.default_rng(1).normal(size=(50, 4)) * 3
    ball = np.pi**2 / 2  # of radius 1 in four dimensions
    expected = np.log(k / 40 / (ball * radii(Z, y, z, k) ** 4))
    assert_allclose(NN(k).fit(Z, y).log_prob(z), expected, rtol=1e-9)


@pytest.mark.parametrize("d", [1, 2, 3, 20])
def test_one_row_per_class_gives_the_ratio_of_powers_of_lam(d):
    a, b = np.random.default_rng(2).normal(size=(2, d))
    lam = np.array([0.0, 0.1, 0.5, 0.7, 0.999])[:, None]
    z = lam * a + (1 - lam) * b
    posterior = np.exp(log_softmax(NN().fit([a, b], [0, 1]).log_prob(z), axis=1))
    assert_allclose(posterior[:, :1], lam**d / (lam**d + (1 - lam) ** d), rtol=1e-9, atol=1e-11)


def test_with_the_class_frequencies_as_prior_only_the_radii_count():
    Z, y = blobs(3)
    keep = (y > 0) | (np.arange(120) < 40)
    Z, y = Z[keep], y[keep]
    z = np.random.default_rng(4).normal(size=(30, 4))
    joint = NN(3).fit(Z, y).log_prob(z) + np.log(np.bincount(y) / len(y))
    expected = log_softmax(-4 * np.log(radii(Z, y, z, 3)), axis=1)
    assert_allclose(log_softmax(joint, 1), expected, atol=1e-9)


@pytest.mark.parametrize("distance", [1e3, 1e8])
def test_far_from_the_data_the_posterior_is_that_of_the_radii(distance):
    Z, y = blobs(5)
    z = distance * np.random.default_rng(6).normal(size=(30, 4))
    log_prob = NN(2).fit(Z, y).log_prob(z)
    expected = -4 * np.log(radii(Z, y, z, 2))
    assert_allclose(log_prob - log_prob[:, :1], expected - expected[:, :1], atol=1e-9)


def test_weights_enter_n_c_and_neighbours_are_counted_as_rows():
    Z, y = blobs(7)
    z = np.random.default_rng(8).normal(size=(30, 4))
    weight = np.random.default_rng(9).random(120) + 0.1
    shift = np.log(40) - np.log(np.bincount(y, weight) / weight.mean())
    plain, weighted = NN(3).fit(Z, y), NN(3).fit(Z, y, weight)
    assert_allclose(weighted.log_prob(z), plain.log_prob(z) + shift, rtol=1e-9)
    assert_allclose(NN(3).fit(Z, y, 7 * weight).log_prob(z), weighted.log_prob(z), rtol=1e-9)


def test_a_class_with_fewer_than_k_rows_uses_all_of_them_with_one_warning_that_names_it():
    Z, y = blobs(10)
    keep = (y != 1) | (np.cumsum(y == 1) <= 2)
    Z, y = Z[keep], y[keep]
    with pytest.warns(UserWarning, match=r"NN\(k=5\): fewer than 5 rows in class 1 \(2 rows\)\.") as caught:
        nn = NN(5).fit(Z, y)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert_array_equal(nn.k_, [5, 2, 5])
    z = np.random.default_rng(11).normal(size=(20, 4))
    expected = np.log(2 / 2 / (np.pi**2 / 2)) - 4 * np.log(radii(Z, y, z, 2)[:, 1])
    assert_allclose(nn.log_prob(z)[:, 1], expected, rtol=1e-9)


def test_a_row_that_classes_share_is_shared_evenly_wherever_it_is():
    """The radius is 0 for both, not the rounding of a product."""
    rng = np.random.default_rng(12)
    Z, y = rng.normal(size=(60, 20)).astype(np.float32), np.arange(60) % 2
    Z[1::2] = Z[::2][::-1]
    log_prob = NN().fit(Z, y).log_prob(Z)
    assert np.isfinite(log_prob).all()
    assert_array_equal(log_prob[:, 0], log_prob[:, 1])


def test_the_radius_has_a_floor_in_units_of_the_rows_spread():
    Z, y = blobs(13)
    spread = np.sqrt(Z.var(0).sum())
    expected = np.log(1 / 40) + gammaln(3) - 2 * np.log(np.pi) - 4 * np.log(1e-12 * spread)
    assert_allclose(NN().fit(Z, y).log_prob(Z)[np.arange(120), y], expected, rtol=1e-9)


def test_a_large_offset_of_the_columns_changes_nothing():
    Z, y = blobs(14)
    z = Z[:20] + 0.5
    assert_allclose(NN().fit(Z + 1e6, y).log_prob(z + 1e6), NN().fit(Z, y).log_prob(z), rtol=1e-8)


def test_without_columns_the_log_density_is_zero():
    nn = NN().fit(np.empty((3, 0)), [0, 1, 1], n_classes=3)
    assert_array_equal(nn.log_prob(np.empty((4, 0))), np.tile([0, 0, -np.inf], (4, 1)))


# --- the nearest row's label ----------------------------------------------------------------------------


def test_nn_label_is_the_label_that_a_brute_force_search_finds():
    Z, y = blobs(15)
    z = np.random.default_rng(16).normal(size=(200, 4)) * 2
    nearest = KNeighborsClassifier(n_neighbors=1, algorithm="brute").fit(Z, y).predict(z)
    expected = np.where(np.arange(3) == nearest[:, None], 0, -np.inf)
    assert_array_equal(NNLabel().fit(Z, y, np.linspace(0.1, 3, 120)).log_prob(z), expected)


def test_nn_label_of_equally_near_classes_is_the_lowest():
    density = NNLabel().fit([[2.0], [0.0], [0.0], [7.0]], [3, 2, 1, 0])
    z = np.array([[0.0], [1.0], [0.9], [1.1], [4.5]])
    assert_array_equal(density.log_prob(z).argmax(1), [1, 1, 1, 3, 0])


def test_nn_label_counts_a_different_category_as_1_apart():
    X, y, layout = onehot_table(17)
    z = (0.6 * X + 0.4 * X[::-1]).astype(np.float32)
    distance = np.square(z[:, None, [0, 4]] - X[:, [0, 4]]).sum(2)
    distance += np.square(z[:, None, 1:4] - X[:, 1:4]).sum(2) / 2
    least = np.stack([distance[:, y == c].min(1) for c in range(3)], 1)
    log_prob = TableDensity(NNLabel(), layout).fit(X, y).log_prob(torch.tensor(z))
    clear = np.sort(least, 1)
    clear = clear[:, 1] - clear[:, 0] > 1e-5  # z is float32
    assert clear.sum() > 40
    assert_array_equal(log_prob.numpy().argmax(1)[clear], least.argmin(1)[clear])
    ignored = TableDensity(NNLabel(categorical="ignore"), layout).fit(X, y).log_prob(z)
    assert_array_equal(ignored, NNLabel().fit(X[:, :1], y).log_prob(z[:, :1]))


def test_onehot_columns_are_scaled_for_distances_only():
    X, y, layout = onehot_table(18)
    X = X.astype(np.float64)
    joint = TableDensity(NN(2, categorical="onehot"), layout).fit(X, y)
    z = 0.7 * X + 0.3 * X[::-1]
    scale = np.sqrt([1, 0.5, 0.5, 0.5, 1])
    # the factor is float32 in all tables, so that rows and columns of either type agree
    assert_allclose(joint.log_prob(z), NN(2).fit(X * scale, y).log_prob(z * scale), atol=1e-6)
    meta = joint.log_prob(torch.empty(2, 5, 5, device="meta"))
    assert meta.shape == (2, 5, 3)


@pytest.mark.parametrize("class_prior", ["train", "uniform"])
@pytest.mark.parametrize("top_k", [None, 2])
def test_genlabel_with_nn_label_relabels_hard_whatever_the_prior(class_prior, top_k):
    Z, y = blobs(19, n=90)
    keep = (y != 1) | (np.arange(90) < 12)
    rows = Rows(torch.tensor(Z[keep]), torch.tensor(y[keep]), None, 4, Layout.of_numbers(4))
    rule = GenLabel(NNLabel(), 1.0, top_k, class_prior)
    rule.bind(rows)
    z = torch.tensor(np.random.default_rng(20).normal(size=(2, 30, 4)))
    nearest = KNeighborsClassifier(n_neighbors=1).fit(Z[keep], y[keep]).predict(z.reshape(60, 4))
    assert_array_equal(rule.posterior(z).reshape(60, 4), np.eye(4)[nearest])


# --- both -----------------------------------------------------------------------------------------------

BOTH = pytest.mark.parametrize("density", [NN(), NN(3), NNLabel()], ids=str)


@BOTH
@pytest.mark.parametrize(("tile", "pairs"), [(7, 50), (16, 16), (1000, 1), (1, 100)])
def test_log_density_does_not_depend_on_the_blocks(monkeypatch, density, tile, pairs):
    Z, y = blobs(21)
    z = torch.tensor(Z + 0.1)
    expected = density.fit(Z, y).log_prob(z)
    monkeypatch.setattr(_blocks, "TILE", tile)
    monkeypatch.setattr(_blocks, "PAIRS", pairs)
    assert_allclose(density.fit(Z, y).log_prob(z), expected, rtol=1e-12)


@BOTH
def test_too_many_rows_are_thinned_in_each_class_alike_with_one_warning(density):
    Z, y = blobs(22, n=1500)
    weight = np.random.default_rng(23).random(1500) + 0.1
    thinned = clone(density).set_params(max_density_rows=150)
    with pytest.warns(UserWarning, match=r"150 of 1500 rows are kept.*max_density_rows=150") as caught:
        thinned.fit(Z, y, weight)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert_array_equal(thinned.row_counts_, [50, 50, 50])
    assert_allclose(thinned.class_counts_, np.bincount(y, weight))  # the prior knows all rows
    of = [np.flatnonzero((Z == row).all(1))[0] for row in thinned.rows_]
    assert_array_equal(y[of], np.repeat([0, 1, 2], 50))
    z = Z[:30] + 0.1
    assert_allclose(thinned.log_prob(z), clone(density).fit(Z[of], y[of], weight[of]).log_prob(z), rtol=1e-12)


@BOTH
def test_an_absent_class_is_impossible_and_harms_no_other(density):
    Z, y = blobs(24, n_classes=2)
    without = density.fit(Z, y).log_prob(Z)
    log_prob = density.fit(Z, np.array([1, 3])[y], n_classes=5).log_prob(Z)
    assert np.isneginf(log_prob[:, [0, 2, 4]]).all()
    assert_allclose(log_prob[:, [1, 3]], without)
    log_prob = density.fit(Z, y, (y != 1).astype(float)).log_prob(Z)
    assert np.isneginf(log_prob[:, 1]).all()
    assert (log_prob[:, 0] > -np.inf).all()


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_one_class_at_least_is_finite_on_any_degenerate_data(data):
    n, d = data.draw(st.integers(1, 12)), data.draw(st.integers(0, 4))
    # few distinct values: equal rows, constant and equal columns are common
    value = st.sampled_from([0.0, 1.0, -3.0, 1e-6, 1e5, 0.1])
    Z = np.array(
        data.draw(st.lists(st.lists(value, min_size=d, max_size=d), min_size=n, max_size=n))
    ).reshape(n, d)
    y = np.array(data.draw(st.lists(st.integers(0, 3), min_size=n, max_size=n)))
    weight = np.array(data.draw(st.lists(st.sampled_from([1.0, 2.0, 1e-9, 0.3]), min_size=n, max_size=n)))
    z = np.vstack([Z, Z * 0.3, Z + 1e3])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"NN\(k=")
        log_prob = NN(data.draw(st.integers(1, 4))).fit(Z, y, weight, n_classes=4).log_prob(z)
    present = np.isin(np.arange(4), y)
    assert np.isfinite(log_prob[:, present]).all()
    assert np.isneginf(log_prob[:, ~present]).all()
    label = NNLabel().fit(Z, y, weight, n_classes=4).log_prob(z)
    assert_array_equal((label == 0).sum(1), 1)
    assert_array_equal(np.isneginf(label).sum(1), 3)
    assert (label[:, present] == 0).any(1).all()


@BOTH
def test_arrays_and_tensors_with_any_leading_axes_give_the_same(density):
    Z, y = blobs(25)
    density.fit(Z.astype(np.float32), y, n_classes=4)
    z = (Z + 0.1).astype(np.float32)
    expected = density.log_prob(z)
    assert_array_equal(density.log_prob(torch.tensor(z)).numpy(), expected)
    assert_array_equal(density.log_prob(z.astype(np.float64)), expected)
    deep = density.log_prob(torch.tensor(z).reshape(4, 6, 5, -1).transpose(0, 1))
    assert deep.dtype == torch.float64
    assert_allclose(deep.transpose(0, 1).numpy(), expected.reshape(4, 6, 5, 4), rtol=1e-12)
    assert_allclose(density.log_prob(z[0]), expected[0], rtol=1e-12)
    assert density.log_prob(torch.tensor(z[:0])).shape == (0, 4)


@BOTH
def test_log_prob_runs_without_values_so_the_host_never_waits(density):
    Z, y = blobs(26)
    result = density.fit(Z, y, n_classes=4).log_prob(torch.empty(2, 7, 4, device="meta"))
    assert result.shape == (2, 7, 4)
    assert result.device.type == "meta"
    assert result.dtype == torch.float64


def test_gradients_of_nn_agree_with_finite_differences():
    Z, y = blobs(27)
    nn = NN(3).fit(Z, y)
    with torch.inference_mode():
        nn.log_prob(torch.tensor(Z))
    z = torch.tensor(Z[:3] + 0.1, requires_grad=True)
    assert torch.autograd.gradcheck(nn.log_prob, z)


@BOTH
def test_pickles_hold_the_rows_once_and_no_tensors(density):
    rng = np.random.default_rng(28)
    Z, y = rng.normal(size=(2000, 5)).astype(np.float32), np.arange(2000) % 2
    density.fit(Z, y)
    size = len(pickle.dumps(density))
    z = Z[:10] + np.float32(0.1)
    expected = density.log_prob(z)
    stored = pickle.dumps(density)
    assert len(stored) == size < Z.nbytes + 3000
    assert_array_equal(pickle.loads(stored).log_prob(z), expected)
    again = density.fit(Z[:40], y[:40])
    assert_array_equal(again.log_prob(z), clone(density).fit(Z[:40], y[:40]).log_prob(z))


# --- bad input ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("density", "words"),
    [
        (NN(0), r"'k' parameter of NN must be an int in the range \[1, inf\). Got 0"),
        (NN(1.5), r"'k' parameter of NN must be an int in the range \[1, inf\). Got 1.5"),
        (NN(categorical="drop"), "'categorical' parameter of NN must be a str among .* Got 'drop'"),
        (NN(max_density_rows=0), r"'max_density_rows' parameter of NN must be an int .*\[1, inf\). Got 0"),
        (NNLabel("frequencies"), "'categorical' parameter of NNLabel must be a str among .*'onehot'.* Got"),
        (NNLabel(max_density_rows=0), r"'max_density_rows' parameter of NNLabel must be an int .* Got 0"),
        (NNLabel(random_state="a"), "'random_state' parameter of NNLabel must be .* Got 'a'"),
    ],
)
def test_a_parameter_out_of_range_says_what_is_allowed(density, words):
    with pytest.raises(ValueError, match=words):
        density.fit([[0.0], [1.0]], [0, 1])


@BOTH
def test_it_cannot_go_on_with_more_rows(density):
    Z, y = blobs(29)
    with pytest.raises(ValueError, match="cannot go on with more rows"):
        density.fit(Z, y).partial_fit(Z, y)

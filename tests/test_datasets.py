"""The toy problems have the papers' sizes, geometry and noise; the real tables come with names."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mixsk import datasets
from mixsk.datasets import (
    load_builtin,
    make_circles,
    make_cubes,
    make_four_circles,
    make_moons,
    make_nine_gaussians,
)

TOYS = [make_moons, make_circles, make_four_circles, make_cubes, make_nine_gaussians]


@pytest.mark.parametrize(
    ("make", "n_samples", "n_features", "n_classes"),
    [
        (make_moons, 1000, 2, 2),
        (make_circles, 1000, 2, 2),
        (make_four_circles, 2000, 2, 2),
        (make_cubes, 160, 3, 8),
        (make_nine_gaussians, 45000, 2, 9),
    ],
)
def test_a_toy_has_the_papers_size_by_default_and_equal_classes(make, n_samples, n_features, n_classes):
    X, y = make(random_state=0)
    assert X.shape == (n_samples, n_features)
    assert X.dtype == np.float64
    assert y.dtype == np.int64
    assert_array_equal(np.bincount(y), n_samples / n_classes)


@pytest.mark.parametrize("make", TOYS)
def test_a_toy_has_as_many_rows_as_asked_for_even_if_the_classes_cannot_be_equal(make):
    X, y = make(101, random_state=0)
    assert X.shape[0] == y.shape[0] == 101
    assert np.ptp(np.bincount(y)) <= 1 + (make is make_four_circles)  # each pair of circles rounds by itself


@pytest.mark.parametrize("make", TOYS)
def test_the_same_seed_gives_the_same_toy_and_another_seed_another(make):
    X, y = make(90, random_state=3)
    X_again, y_again = make(90, random_state=np.random.RandomState(3))
    assert_array_equal(X, X_again)
    assert_array_equal(y, y_again)
    assert not np.array_equal(X, make(90, random_state=4)[0])


@pytest.mark.parametrize("make", TOYS)
@pytest.mark.parametrize("random_state", [0, None])
def test_a_toy_leaves_the_global_random_state_alone(make, random_state):
    before = np.random.get_state()[1].copy()
    first, second = (make(90, random_state=random_state)[0] for _ in range(2))
    assert_array_equal(np.random.get_state()[1], before)
    assert np.array_equal(first, second) == (random_state is not None)


@pytest.mark.parametrize("make", TOYS)
def test_the_rows_of_a_toy_are_in_random_order(make):
    _, y = make(900, random_state=0)
    share_of_runs = np.mean(y[1:] == y[:-1])
    assert share_of_runs < 0.6  # 1 / n_classes where the order is random, nearly 1 where it is sorted


def test_circles_have_radius_1_for_class_0_and_the_factor_for_class_1():
    X, y = make_circles(100, noise=0, factor=0.5, random_state=0)
    assert_allclose(np.hypot(*X.T), np.where(y == 0, 1, 0.5))


def test_moons_lie_on_two_half_circles():
    X, y = make_moons(100, noise=0, random_state=0)
    centre = np.where(y[:, None] == 0, [0, 0], [1, 0.5])
    assert_allclose(np.hypot(*(X - centre).T), 1)
    assert (np.where(y == 0, 1, -1) * (X - centre)[:, 1]).min() > -1e-12


@pytest.mark.parametrize("counts", [(30, 10), [30, 10]])
def test_moons_may_have_unequal_classes(counts):
    X, y = make_moons(counts, random_state=0)
    assert X.shape == (40, 2)
    assert_array_equal(np.bincount(y), counts)


def test_four_circles_are_two_pairs_with_the_labels_of_the_second_exchanged():
    X, y = make_four_circles(200, noise=0, factor=0.5, random_state=0)
    left = X[:, 0] < 0
    assert left.sum() == 100
    radius = np.hypot(X[:, 0] - np.where(left, -1.2, 1.2), X[:, 1])
    assert_allclose(radius, np.where(y == left, 0.5, 1))


@pytest.mark.parametrize(
    ("make", "scale"), [(make_moons, 0.1), (make_circles, 0.02), (make_four_circles, 0.01)]
)
def test_the_noise_is_laplace_of_the_papers_scale(make, scale):
    clean, y = make(4000, noise=0, random_state=0)
    noisy, y_noisy = make(4000, random_state=0)
    assert_array_equal(y, y_noisy)
    noise = (noisy - clean).ravel()
    # Laplace: E|e| = b and E e^2 = 2 b^2; normal noise with this E|e| would have E e^2 = 1.57 b^2.
    assert_allclose(np.abs(noise).mean(), scale, rtol=0.05)
    assert_allclose(np.square(noise).mean(), 2 * scale**2, rtol=0.1)


@pytest.mark.parametrize("make", [make_moons, make_circles, make_four_circles])
@pytest.mark.parametrize("noise", [-0.1, np.nan])
def test_noise_that_is_no_scale_is_an_error(make, noise):
    with pytest.raises(ValueError, match="noise is the scale of the added noise and must be >= 0, but got"):
        make(noise=noise)


def test_every_class_of_the_cubes_fills_a_cube_of_side_2_that_no_other_enters():
    X, y = make_cubes(8000, random_state=0)
    corner = np.sign(X)
    for label in range(8):
        assert_array_equal(np.unique(corner[y == label], axis=0), [[2 * int(b) - 1 for b in f"{label:03b}"]])
    assert_allclose(np.abs(X).mean(), 1, rtol=0.02)
    assert np.abs(X).max() < 2


def test_two_dimensional_cubes_are_two_squares_beside_each_other():
    X, y = make_cubes(n_features=2, random_state=0)
    assert X.shape == (40, 2)
    assert_array_equal(X[:, 0] > 0, y == 1)
    assert np.abs(X[:, 1]).max() < 1 < np.abs(X[:, 0]).max() < 2


def test_cubes_of_other_dimensions_are_an_error():
    with pytest.raises(ValueError, match="knows n_features=2 and n_features=3, but got n_features=4"):
        make_cubes(n_features=4)


def test_nine_gaussians_have_spacing_10_and_covariance_a_tenth():
    X, y = make_nine_gaussians(9000, random_state=0)
    assert_allclose(X[y == 1].mean(axis=0), [-10, 0], atol=0.05)
    residuals = X - 10 * np.column_stack([y // 3 - 1, y % 3 - 1])
    assert_allclose(np.cov(residuals.T), 0.1 * np.eye(2), atol=0.01)


@pytest.mark.parametrize(
    ("name", "shape", "classes"),
    [
        ("iris", (150, 4), {"setosa", "versicolor", "virginica"}),
        ("wine", (178, 13), {"class_0", "class_1", "class_2"}),
        ("breast_cancer", (569, 30), {"malignant", "benign"}),
        ("digits", (1797, 64), set(range(10))),
    ],
)
def test_a_builtin_table_is_a_dataframe_with_its_classes_by_name(name, shape, classes):
    X, y = load_builtin(name)
    assert isinstance(X, pd.DataFrame)
    assert isinstance(y, pd.Series)
    assert X.shape == shape
    assert set(y) == classes
    assert_array_equal(X.index, y.index)


def test_breast_cancer_keeps_which_class_is_which():
    _, y = load_builtin("breast_cancer")
    assert (y == "malignant").sum() == 212


def test_an_unknown_builtin_table_names_the_known_ones():
    with pytest.raises(ValueError, match=r"'irsi'.*'breast_cancer', 'digits', 'iris', 'wine'"):
        load_builtin("irsi")


def test_the_toys_tested_here_are_all_there_are():
    assert {make.__name__ for make in TOYS} == {name for name in datasets.__all__ if name.startswith("make_")}

"""The toy problems of the GenLabel paper: few dimensions, and mixed points that fall on another class.

Source: "GenLabel: Mixup Relabeling using Generative Models" (ICML 2022), https://arxiv.org/abs/2201.02354,
Table 1 and Figures 4 and 7. The default sizes and noise are those of the authors' released code.

Every function returns `(X, y)`: X of shape (n_samples, n_features) in float64, y of shape (n_samples,) in
int64, the rows in random order. `random_state` is scikit-learn's: an int repeats the same data, None draws
new data, a `numpy.random.RandomState` is advanced.
"""

from itertools import product

import numpy as np
from sklearn import datasets
from sklearn.utils import check_random_state, shuffle


def make_moons(n_samples=1000, *, noise=0.1, random_state=None):
    """Two interleaving half moons under Laplace noise: the GenLabel paper's "Moon".

    Parameters
    ----------
    n_samples : int or pair of ints, default=1000
        Rows in total, half of them in each class, or the rows of each class.
    noise : float, default=0.1
        Scale of the Laplace noise added to every coordinate, >= 0. scikit-learn's own generator adds normal
        noise, whose tails are lighter.
    random_state : int, RandomState or None, default=None
        Seed of the noise and of the order of the rows.

    Returns
    -------
    X : ndarray of shape (n_samples, 2)
        Points of the plane.
    y : ndarray of shape (n_samples,)
        0 for the upper moon, 1 for the lower.

    Raises
    ------
    ValueError
        If `noise` is negative.

    References
    ----------
    GenLabel (ICML 2022), https://arxiv.org/abs/2201.02354, Table 1.

    Examples
    --------
    >>> from mixsk.datasets import make_moons
    >>> X, y = make_moons(random_state=0)
    >>> X.shape, X.dtype, y.dtype
    ((1000, 2), dtype('float64'), dtype('int64'))
    """
    rng = _generator(random_state)
    if isinstance(n_samples, list):
        n_samples = tuple(n_samples)
    X, y = datasets.make_moons(n_samples, random_state=rng)
    return _blur(X, noise, rng), y


def make_circles(n_samples=1000, *, noise=0.02, factor=0.8, random_state=None):
    """One circle inside another under Laplace noise: the GenLabel paper's "Circle".

    Two circles, then. What the authors' code calls "two-circle" is the paper's "Four-circle", two such pairs:
    `make_four_circles`.

    Parameters
    ----------
    n_samples : int, default=1000
        Rows in total, half of them in each class.
    noise : float, default=0.02
        Scale of the Laplace noise added to every coordinate, >= 0.
    factor : float, default=0.8
        Radius of the inner circle, in [0, 1); the outer one has radius 1.
    random_state : int, RandomState or None, default=None
        Seed of the noise and of the order of the rows.

    Returns
    -------
    X : ndarray of shape (n_samples, 2)
        Points of the plane.
    y : ndarray of shape (n_samples,)
        0 for the outer circle, 1 for the inner.

    Raises
    ------
    ValueError
        If `noise` is negative or `factor` is outside [0, 1).

    References
    ----------
    GenLabel (ICML 2022), https://arxiv.org/abs/2201.02354

    Examples
    --------
    >>> import numpy as np
    >>> from mixsk.datasets import make_circles
    >>> X, y = make_circles(noise=0, random_state=0)
    >>> float(np.hypot(*X[y == 1].T).max().round(6))
    0.8
    """
    rng = _generator(random_state)
    X, y = datasets.make_circles(n_samples, factor=factor, random_state=rng)
    return _blur(X, noise, rng), y


def make_four_circles(n_samples=2000, *, noise=0.01, factor=0.8, random_state=None):
    """Two pairs of circles side by side, the second with its labels exchanged: "Four-circle".

    Two rows of one class often mix to a point on a circle of the other: in the paper mixup with linear labels
    lowers accuracy from 91.3 % to 57.7 % (Table 1). The authors' code calls this set "two-circle".

    Parameters
    ----------
    n_samples : int, default=2000
        Rows in total, half of them in each pair of circles.
    noise : float, default=0.01
        Scale of the Laplace noise added to every coordinate, >= 0.
    factor : float, default=0.8
        Radius of the inner circles, in [0, 1); the outer ones have radius 1.
    random_state : int, RandomState or None, default=None
        Seed of the noise and of the order of the rows.

    Returns
    -------
    X : ndarray of shape (n_samples, 2)
        Points of the plane; the pairs are centred at (-1.2, 0) and (1.2, 0).
    y : ndarray of shape (n_samples,)
        On the left 0 for the outer circle and 1 for the inner; on the right the other way round.

    Raises
    ------
    ValueError
        If `noise` is negative or `factor` is outside [0, 1).

    References
    ----------
    GenLabel (ICML 2022), https://arxiv.org/abs/2201.02354, Table 1 and Figure 4.

    Examples
    --------
    >>> from mixsk.datasets import make_four_circles
    >>> X, y = make_four_circles(random_state=0)
    >>> X.shape, int(sum(X[:, 0] < 0))
    ((2000, 2), 1000)
    """
    rng = _generator(random_state)
    left, y_left = datasets.make_circles(n_samples - n_samples // 2, factor=factor, random_state=rng)
    right, y_right = datasets.make_circles(n_samples // 2, factor=factor, random_state=rng)
    shift = np.array([1.2, 0.0])
    X = np.concatenate([left - shift, right + shift])
    y = np.concatenate([y_left, 1 - y_right])
    return shuffle(_blur(X, noise, rng), y, random_state=rng)


def make_cubes(n_samples=None, *, n_features=3, random_state=None):
    """Touching cubes of side 2, one class each: the GenLabel paper's "3D cube" and its plane counterpart.

    The classes fill their cubes evenly and meet in whole faces; few rows show where.

    Parameters
    ----------
    n_samples : int or None, default=None
        Rows in total, spread evenly over the classes; None is the paper's 20 rows per class.
    n_features : {2, 3}, default=3
        3: eight classes, cubes centred at (+-1, +-1, +-1). 2: two classes, squares at (-1, 0) and (1, 0).
    random_state : int, RandomState or None, default=None
        Seed of the points and of the order of the rows.

    Returns
    -------
    X : ndarray of shape (n_samples, n_features)
        Points of the plane or of space.
    y : ndarray of shape (n_samples,)
        The class, numbered in the order of the centres, from the most negative: the last coordinate changes
        first.

    Raises
    ------
    ValueError
        If `n_features` is neither 2 nor 3.

    References
    ----------
    GenLabel (ICML 2022), https://arxiv.org/abs/2201.02354, Table 1.

    Examples
    --------
    >>> from mixsk.datasets import make_cubes
    >>> X, y = make_cubes(random_state=0)
    >>> X.shape, len(set(y))
    ((160, 3), 8)
    """
    if n_features == 2:
        centers = np.array([[-1.0, 0.0], [1.0, 0.0]])
    elif n_features == 3:
        centers = np.array(list(product([-1.0, 1.0], repeat=3)))
    else:
        raise ValueError(
            f"make_cubes knows n_features=2 and n_features=3, but got n_features={n_features!r}."
        )
    rng = _generator(random_state)
    n_samples = 20 * len(centers) if n_samples is None else n_samples
    y = rng.permutation(np.arange(n_samples) % len(centers)).astype(np.int64)
    return centers[y] + rng.uniform(-1, 1, size=(n_samples, n_features)), y


def make_nine_gaussians(n_samples=45000, *, random_state=None):
    """Nine narrow normal classes on a 3 x 3 grid: the GenLabel paper's "9-class Gaussian".

    The classes lie far apart, so any classifier separates them; what it shows is where mixed points fall: the
    middle of two classes is often a third one (Figure 4, top row).

    Parameters
    ----------
    n_samples : int, default=45000
        Rows in total, spread evenly over the classes.
    random_state : int, RandomState or None, default=None
        Seed of the points and of the order of the rows.

    Returns
    -------
    X : ndarray of shape (n_samples, 2)
        Points of the plane, with covariance 0.1 I around the nine points of {-10, 0, 10} x {-10, 0, 10}.
    y : ndarray of shape (n_samples,)
        The class, numbered from (-10, -10) to (10, 10): the last coordinate changes first.

    References
    ----------
    GenLabel (ICML 2022), https://arxiv.org/abs/2201.02354, Figures 4 and 7.

    Examples
    --------
    >>> from mixsk.datasets import make_nine_gaussians
    >>> X, y = make_nine_gaussians(900, random_state=0)
    >>> X[y == 8].mean(axis=0).round()
    array([10., 10.])
    """
    centers = list(product([-10.0, 0.0, 10.0], repeat=2))
    rng = _generator(random_state)
    return datasets.make_blobs(n_samples, centers=centers, cluster_std=0.1**0.5, random_state=rng)


def _generator(random_state):
    """Return a RandomState; for None a fresh one, where scikit-learn would advance numpy's global state."""
    if random_state is None:
        random_state = int(np.random.SeedSequence().generate_state(1)[0])
    return check_random_state(random_state)


def _blur(X, noise, rng):
    """Return X with Laplace noise of scale `noise` on every coordinate."""
    if not noise >= 0:
        raise ValueError(f"noise is the scale of the added noise and must be >= 0, but got {noise!r}.")
    return X + rng.laplace(scale=noise, size=X.shape)

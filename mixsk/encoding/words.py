"""From strings to words, and from words to a vocabulary."""

from __future__ import annotations

import re
import unicodedata
from array import array
from collections import defaultdict
from functools import cache

import numpy as np

from mixsk.encoding.ragged import Ragged
from mixsk.encoding.text_layout import UNKNOWN


@cache
def word_pattern():
    r"""The tokeniser "words" as a compiled regular expression.

    A run of word characters, with single apostrophes (' or U+2019) inside it, is a word; every other
    character that is no space is one by itself, with the combining marks on it. Word characters are those of
    ``\w``, combining marks, and the two joiners U+200C and U+200D: in ``\w`` alone marks are missing, which
    would cut Hindi words at every vowel sign.

    Examples
    --------
    >>> word_pattern().findall("Don't stop, 'tis 3.5 हिन्दी!")
    ["Don't", 'stop', ',', "'", 'tis', '3', '.', '5', 'हिन्दी', '!']
    """
    marks = _marks()
    word = rf"[\w{marks}\u200c\u200d]+"
    return re.compile(rf"{word}(?:['\u2019]{word})*|\S[{marks}]*")


def split_texts(texts, tokenizer, lower):
    """Words of one text after the other.

    Parameters
    ----------
    texts : list of str
    tokenizer : "words" or callable str -> list of str
    lower : bool
        Put texts into lower case first.

    Yields
    ------
    list of str

    Raises
    ------
    TypeError
        If a callable tokeniser gives something else.
    """
    ours = isinstance(tokenizer, str)
    split = word_pattern().findall if ours else tokenizer
    for row, text in enumerate(texts):
        words = split(unicodedata.normalize("NFC", text.lower() if lower else text))
        yield words if ours else _checked(words, row, tokenizer)


def number_words(rows, number_of, longest):
    """Numbers of the first `longest` words of every row, with `number_of(word)` for each.

    Returns
    -------
    Ragged
    """
    flat, lengths = array("q"), array("q")  # 8 bytes a word; lists of rows would take ten times that
    for words in rows:
        words = words[:longest]
        lengths.append(len(words))
        flat.extend(map(number_of, words))
    return Ragged(np.array(flat, dtype=np.int64), np.array(lengths, dtype=np.int64))


class Numbering(defaultdict):
    """A dict that gives each new word the next number, from 0."""

    def __init__(self):
        super().__init__()
        self.default_factory = self.__len__


class Codes(dict):
    """A dict from word to code in which every other word is unknown."""

    def __missing__(self, word):
        return UNKNOWN


def most_frequent(values, counts, min_count, max_words):
    """Positions of the values that get a code: by falling count, then by value.

    Examples
    --------
    >>> most_frequent(["b", "c", "a", "d"], [2, 3, 2, 1], min_count=2, max_words=None)
    [1, 2, 0]
    """
    kept = [i for i in range(len(values)) if counts[i] >= min_count]
    return sorted(kept, key=lambda i: (-counts[i], values[i]))[:max_words]


def _marks():
    """Combining marks as ranges for a regular expression: three times as fast as one by one."""
    # The first two planes have all of them but the variation selectors from U+E0100 on.
    is_mark = [unicodedata.category(chr(i)).startswith("M") for i in range(0x20000)]
    edges = np.flatnonzero(np.diff(is_mark, prepend=False, append=False)).reshape(-1, 2)
    return "".join(f"{chr(start)}-{chr(stop - 1)}" for start, stop in edges)


def _checked(words, row, tokenizer):
    """What a callable gave for a row, as a list of str."""
    if isinstance(words, (str, bytes)) or not hasattr(words, "__iter__"):
        wrong = repr(words)
    else:
        words = list(words)
        wrong = next((f"a list with {word!r}" for word in words if not isinstance(word, str)), None)
    if wrong is not None:
        raise TypeError(
            f"tokenizer={tokenizer!r} must give a list of str for every text, but for row {row} of X it gave "
            f"{wrong}."
        )
    return list(map(str, words))  # plain ones, of numpy's too

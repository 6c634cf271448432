"""Text in: words, or the tokens of a pretrained model, as whole-number codes with padding at the end."""

from __future__ import annotations

import os
from numbers import Integral

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from mixsk.encoding import hub
from mixsk.encoding.ragged import Ragged, without_padding
from mixsk.encoding.text_layout import FIRST_WORD, PADDING, UNKNOWN, TextLayout
from mixsk.encoding.text_rows import read_rows
from mixsk.encoding.words import Codes, Numbering, most_frequent, number_words, split_texts


class TextEncoder(TransformerMixin, BaseEstimator):
    r"""Turn texts into rows of codes, one for each word, with zeros after the last.

    Code 0 is padding, at the end of a row only; 1 is an unknown word; 2, 3, ... are the words of the training
    rows by falling count, equal ones in alphabetical order. An empty text is one unknown word. With a Hugging
    Face tokeniser the codes are its token ids + 1, special tokens such as [CLS] included.

    X may be a list, array or Series (pandas, polars, arrow) of str, a data frame with one column of str, an
    array of shape (n, 1), or codes: whole numbers >= 0 of shape (n, L), in which zeros at the end of a row
    are padding. Such codes are words like any others: those seen in fit are numbered from 2, any other one,
    and a zero inside a row, is unknown. With a Hugging Face tokeniser they are its token ids, as they are; at
    the end of a row its padding id is padding.

    Parameters
    ----------
    tokenizer : {"words"}, str, path, callable or PreTrainedTokenizer, default="words"
        "words": each run of word characters (letters, digits, underscores, combining marks, the joiners
        U+200C and U+200D), with single apostrophes ' or U+2019 inside, and each other character that is no
        space by itself; Unicode in normal form C. A callable takes a str (normalised, in lower case if
        `lower`) and returns a list of str. Any other str, or a path, is the name or the folder of a Hugging
        Face tokeniser (``pip install "mixsk[text]"``); an object of `transformers` is used as it is set up.
    lower : bool, default=True
        Put texts into lower case. A Hugging Face tokeniser decides that itself.
    max_length : int >= 1 or None, default=None
        Words kept of a row, the first ones; what follows is not counted for the vocabulary either. With a
        Hugging Face tokeniser: tokens, the special ones included and kept; None is the model's own maximum,
        if it has one.
    min_count : int >= 1, default=1
        Words with fewer occurrences in the training rows are unknown. Not with a Hugging Face tokeniser.
    max_words : int >= 1 or None, default=None
        Only so many words, the most frequent, are known. Not with a Hugging Face tokeniser.

    Attributes
    ----------
    layout_ : TextLayout
        The vocabulary and the number of codes.
    codes_ : ndarray of int64 or None
        If X was codes, which are no token ids: entry k has code k + 2.
    tokenizer_ : PreTrainedTokenizer or None
        A Hugging Face tokeniser, loaded. Pickles hold its files, so they need no network.
    n_features_in_ : int
        Only if X in fit had two dimensions. `transform` then checks that of a two-dimensional X.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Only if X in fit was a data frame with string column names.

    See Also
    --------
    TableEncoder : Numbers and categories.
    read_vectors : Pretrained vectors for the words of the vocabulary.

    Notes
    -----
    The result has a column for each word of the longest row: with a few very long texts, set `max_length`.
    60 000 sentences of twenty words take between one and two seconds.

    Examples
    --------
    >>> encoder = TextEncoder().fit(["a great film", "a film!"])
    >>> encoder.layout_.vocabulary
    ('a', 'film', '!', 'great')
    >>> encoder.transform(["A really great film", "", "film"])
    array([[2, 1, 5, 3],
           [1, 0, 0, 0],
           [3, 0, 0, 0]])
    """

    _parameter_constraints = {
        "tokenizer": [str, os.PathLike, callable],
        "lower": ["boolean"],
        "max_length": [Interval(Integral, 1, None, closed="left"), None],
        "min_count": [Interval(Integral, 1, None, closed="left")],
        "max_words": [Interval(Integral, 1, None, closed="left"), None],
    }

    _given_as = "tokenizer"  # the parameter that messages name; a classifier's may stand for it

    def __init__(self, tokenizer="words", lower=True, max_length=None, min_count=1, max_words=None):
        self.tokenizer = tokenizer
        self.lower = lower
        self.max_length = max_length
        self.min_count = min_count
        self.max_words = max_words

    def fit(self, X, y=None):
        """Learn the vocabulary from the training rows, or load the tokeniser.

        Parameters
        ----------
        X : list, array or Series of str, data frame with one column, or array-like of int of shape (n, L)
            Texts, or codes.
        y : ignored

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If X has no rows, missing values, several columns of text, or codes that are no whole numbers
            >= 0; if a parameter is out of range, does nothing with this tokeniser, or leaves no word.
        TypeError
            If X, or a row of it, is something else than allowed, or the tokeniser gives something else.
        ImportError
            If transformers is needed and missing.
        OSError
            If a Hugging Face tokeniser cannot be loaded.
        """
        self._fit(X)
        return self

    def fit_transform(self, X, y=None):
        """`fit`, then `transform`, with the texts split only once; see there."""
        return self._padded(self._fit(X))

    def transform(self, X):
        """Encode texts.

        Parameters
        ----------
        X : list, array or Series of str, data frame with one column, or array-like of int of shape (n, L)
            Texts, or codes if it was codes in fit. A Hugging Face tokeniser takes either.

        Returns
        -------
        ndarray of int64 of shape (n, L)
            Codes in [0, layout_.n_codes); L is the length of the longest row in X, at most `max_length`.
            Every row begins with a code > 0, and zeros are at its end only.

        Raises
        ------
        ValueError
            As in `fit`; if X is codes and was text in fit, or the other way round; if X has two dimensions
            and not the columns of fit.
        TypeError
            As in `fit`.
        """
        check_is_fitted(self)
        rows = read_rows(self, X, reset=False)
        if self.tokenizer_ is not None:
            return self._padded(self._tokens(rows))
        codes = isinstance(rows, np.ndarray)
        if codes != (self.codes_ is not None):
            now, then = ("codes", "text") if codes else ("text", "codes")
            raise ValueError(f"X is {now}, but TextEncoder was fitted on {then}. Pass {then}, or fit again.")
        if codes:
            flat, lengths = without_padding(rows, PADDING, self.max_length)
            # get_indexer gives -1 for what it does not find.
            return self._padded(Ragged(pd.Index(self.codes_).get_indexer(flat) + FIRST_WORD, lengths))
        code_of = Codes(zip(self.layout_.vocabulary, range(FIRST_WORD, self.layout_.n_codes), strict=True))
        words = split_texts(rows, self.tokenizer, self.lower)
        return self._padded(number_words(words, code_of.__getitem__, self.max_length))

    def _fit(self, X):
        """Learn from X; return its codes."""
        self._validate_params()
        pretrained = hub.is_hub_tokenizer(self.tokenizer)
        if pretrained:
            self._check_unused()
        rows = read_rows(self, X, reset=True)
        self.codes_ = self.tokenizer_ = None
        if pretrained:
            self.tokenizer_ = hub.load_tokenizer(self.tokenizer, self._given_as)
            ragged = self._tokens(rows)
            self.layout_ = TextLayout(n_codes=hub.largest_id(self.tokenizer_) + 2)
        elif isinstance(rows, np.ndarray):
            flat, lengths = without_padding(rows, PADDING, self.max_length)
            values, numbers = np.unique(flat, return_inverse=True)
            known, ragged = self._learn(values.tolist(), Ragged(numbers, lengths))
            self.codes_ = np.array(known, dtype=np.int64)
            self.layout_ = TextLayout(n_codes=FIRST_WORD + len(known))
        else:
            numbering = Numbering()
            words = split_texts(rows, self.tokenizer, self.lower)
            ragged = number_words(words, numbering.__getitem__, self.max_length)
            known, ragged = self._learn(list(numbering), ragged)
            self.layout_ = TextLayout(n_codes=FIRST_WORD + len(known), vocabulary=tuple(known))
        return ragged

    def _learn(self, values, numbers):
        """Words that get a code, in its order, and the codes of rows given as positions in `values`."""
        counts = np.bincount(numbers.flat, minlength=len(values))
        counts[[value == PADDING for value in values]] = 0  # inside a row it is an unknown word
        chosen = most_frequent(values, counts.tolist(), self.min_count, self.max_words)
        if self.min_count > 1 and counts.any() and not chosen:
            raise ValueError(
                f"min_count={self.min_count} leaves no word: the most frequent, "
                f"{values[counts.argmax()]!r}, occurs {counts.max()} times in X. Use at most that."
            )
        code_of = np.full(len(values), UNKNOWN)
        code_of[chosen] = np.arange(FIRST_WORD, FIRST_WORD + len(chosen))
        return [values[i] for i in chosen], Ragged(code_of[numbers.flat], numbers.lengths)

    def _tokens(self, rows):
        """Codes of texts, or of token ids, by the Hugging Face tokeniser."""
        longest = hub.longest_row(self.tokenizer_, self.max_length)
        codes_of = hub.codes_of_ids if isinstance(rows, np.ndarray) else hub.codes_of_texts
        return codes_of(self.tokenizer_, rows, longest)

    def _padded(self, ragged):
        return ragged.padded(UNKNOWN if self.tokenizer_ is None else hub.blank_id(self.tokenizer_) + 1)

    def _check_unused(self):
        """Raise ValueError for a parameter that a Hugging Face tokeniser decides itself."""
        for name, default in (("lower", True), ("min_count", 1), ("max_words", None)):
            if getattr(self, name) != default:
                raise ValueError(
                    f"{name}={getattr(self, name)!r} has no effect with a Hugging Face tokeniser, which has "
                    f"its own vocabulary and case. Leave it at {default!r}, or use tokenizer='words'."
                )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.categorical = tags.input_tags.positive_only = True
        # Text is welcome, but in scikit-learn's checks `string` also promises that a dict in a cell is fine.
        tags.input_tags.string = False
        tags.transformer_tags.preserves_dtype = []
        return tags

    def __getstate__(self):
        state = dict(super().__getstate__())
        if state.get("tokenizer_") is not None:
            state["tokenizer_"] = (type(self.tokenizer_), hub.to_files(self.tokenizer_))
        return state

    def __setstate__(self, state):
        if state.get("tokenizer_") is not None:
            state = {**state, "tokenizer_": hub.from_files(*state["tokenizer_"])}
        super().__setstate__(state)

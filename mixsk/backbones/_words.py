"""What networks of sentences share: codes as inputs, and the stage that looks up the vectors of words."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mixsk.backbones.base import Backbone, StackedLinear
from mixsk.backbones.training import Training

REACH = 0.25  # of random vectors, uniform: about as spread as those of word2vec, after Kim (2014)
ROWS_TIMES_WORDS = 2**14  # predicted at a time


class Sentences(Backbone):
    """A network of sentences: inputs are codes, int64 (1, B, L), 0 = padding, which is at the end of a row.

    Its first stage gives (1, B, L, E + 1): embeddings and, as the last channel, the mask: 1 at a word, 0 at
    padding, where the embedding is 0, too. Rows are mixed with their masks, so that a position counts where
    either row has a word: where the mask is above 0. Its second stage gives a vector (1, B, H) of the
    sentence, and the head maps it to logits behind dropout.

    Parameters
    ----------
    embedding, encoder : nn.Module
        Both stages.
    widths : tuple of (int, int)
        E and H.
    n_classes : int
    dropout : float
        In [0, 1), of the vector of the sentence.
    n_models : int
        1, since there is no model axis.
    """

    reads = "text"
    input_site = 1
    stacks = False

    def __init__(
        self,
        embedding: nn.Module,
        encoder: nn.Module,
        widths: tuple[int, int],
        n_classes: int,
        dropout: float,
        n_models: int,
    ) -> None:
        super().__init__()
        if n_models != 1:
            raise ValueError(
                f"{type(self).__name__} has no model axis, so {n_models} models of it cannot be stacked. Use "
                "n_members=1 and n_cv=1."
            )
        if not isinstance(dropout, Real) or not 0 <= dropout < 1:
            raise ValueError(f"module__dropout must be a number in [0, 1). Got {dropout!r}.")
        self.stages = nn.ModuleList([embedding, encoder])
        self.widths = (1, widths[0] + 1, widths[1])
        self.head = nn.Sequential(nn.Dropout(dropout), StackedLinear(widths[1], n_classes))

    def rows_at_once(self, X: Tensor) -> int:
        """Rows of X (n, L) that are predicted at a time: about 16 000 words."""
        return max(1, ROWS_TIMES_WORDS // X.shape[1])


def with_mask(vectors: Tensor, codes: Tensor) -> Tensor:
    """Vectors (1, B, L, E) of codes (1, B, L) with the mask as a last channel: (1, B, L, E + 1)."""
    return torch.cat((vectors, (codes > 0).unsqueeze(-1).to(vectors)), -1)


def without_mask(h: Tensor) -> tuple[Tensor, Tensor]:
    """Vectors (B, L, E) in h (1, B, L, E + 1), and where there is a word in one of the mixed rows (B, L)."""
    return h[0, ..., :-1], h[0, ..., -1] > 0


class Words(nn.Module):
    """A vector for each word: codes (1, B, L) -> (1, B, L, E + 1), of which the last channel is the mask.

    Vectors start uniform in +-0.25; that of padding is 0 and stays so.

    Parameters
    ----------
    n_codes : int
        Codes 0 (padding), 1 (unknown words), and 2, 3, ... of known words.
    dimension : int
        E.
    trained : bool, default=True

    Examples
    --------
    >>> Words(5, 2)(torch.tensor([[[4, 1, 0]]]))[..., -1]
    tensor([[[1., 1., 0.]]], grad_fn=...)
    """

    def __init__(self, n_codes: int, dimension: int, trained: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_codes, dimension).uniform_(-REACH, REACH), trained)
        self.weight.data[0] = 0

    def forward(self, codes: Tensor) -> Tensor:
        """Look up codes (1, B, L)."""
        return with_mask(F.embedding(codes, self.weight, padding_idx=0), codes)

    @torch.no_grad()
    def fill(self, vectors: np.ndarray, found: np.ndarray) -> None:
        """Take the vectors (n_codes - 2, E) of the known words that are found (n_codes - 2,).

        Words without a vector, and the unknown word, keep their random one, as spread as those found.
        """
        spread = float(vectors[found].std(dtype=np.float64)) if found.any() else 0.0
        if spread > 0:
            self.weight *= spread * math.sqrt(3) / REACH
        codes = torch.as_tensor(2 + np.flatnonzero(found), device=self.weight.device)
        self.weight[codes] = torch.as_tensor(vectors[found]).to(self.weight)


class WordNetwork(Sentences):
    """A network of sentences that has a vector for each word of a vocabulary.

    Parameters
    ----------
    encoder : nn.Module
        From vectors of words and mask (1, B, L, E + 1) to a vector of the sentence (1, B, H).
    width : int
        H.
    n_classes : int
    n_codes, embeddings, dimension, train_embeddings
        Of `TextCNN`.
    dropout : float
    n_models : int
    """

    trained_with = Training(
        optimizer="adam",
        lr=1e-3,
        weight_decay=1e-8,
        batch_size=50,
        steps=2000,
        stop_from=1000,
        mix="linear",
        alpha=1.0,
    )

    def __init__(
        self,
        encoder: nn.Module,
        width: int,
        n_classes: int,
        *,
        n_codes: int,
        embeddings: Any,
        dimension: int,
        train_embeddings: bool,
        dropout: float,
        n_models: int,
    ) -> None:
        words = Words(n_codes, dimension, train_embeddings)
        super().__init__(words, encoder, (dimension, width), n_classes, dropout, n_models)
        self.embeddings = embeddings

    @classmethod
    def structure(cls, n_rows: int | None, layout: Any, options: Mapping[str, Any]) -> dict[str, Any]:
        """The number of codes, and the dimension of the vectors that are given.

        Raises
        ------
        ValueError
            If the vectors do not fit the words, or a dimension that is given, too.
        """
        embeddings, n_codes = options.get("embeddings"), layout.n_codes
        if embeddings is None:
            return {"n_codes": n_codes}
        found, given = _dimension_of(embeddings, layout), options.get("dimension")
        if given is not None and given != found:
            raise ValueError(
                f"module__dimension={given!r}, but the vectors in module__embeddings have {found} numbers "
                "each. Leave module__dimension out."
            )
        return {"n_codes": n_codes, "dimension": found}

    def bind(self, rows: Any) -> None:
        """Start from the vectors that are given."""
        if self.embeddings is None:
            return
        vectors, found = _vectors_of(self.embeddings, rows.layout)
        if len(found) and not found.any():
            warnings.warn(
                f"None of the {len(found)} words of the training rows has a vector in module__embeddings, so "
                "all start at random. Are its words lower case, and the text's not, or the other way round?",
                stacklevel=2,
            )
        self.stages[0].fill(vectors, found)


def check_count(name: str, value: Any) -> int:
    """`value`, or ValueError if it is no whole number >= 1."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
        raise ValueError(f"module__{name} must be an int >= 1. Got {value!r}.")
    return int(value)


def _dimension_of(embeddings: Any, layout: Any) -> int:
    """How many numbers a vector has; ValueError where vectors and words do not belong together."""
    if hasattr(embeddings, "__array__"):
        return int(_checked(embeddings, layout.n_codes).shape[1])
    is_file = isinstance(embeddings, str | os.PathLike)
    if not is_file and not (hasattr(embeddings, "__contains__") and hasattr(embeddings, "__getitem__")):
        raise ValueError(
            "module__embeddings must be None, the path of a file in GloVe's format, an array "
            f"(n_codes - 2, E), or a mapping of words to vectors. Got {type(embeddings).__name__}."
        )
    if layout.vocabulary is None:
        raise ValueError(
            "module__embeddings has vectors of words, but X holds codes, whose words are not known. Pass "
            f"texts as X, or an array of vectors ({layout.n_codes - 2}, E) of the codes 2, 3, ..."
        )
    if is_file:
        from mixsk.encoding.vectors import vectors_dimension

        return vectors_dimension(embeddings)
    if hasattr(embeddings, "vector_size"):  # gensim's KeyedVectors, which is no Mapping
        return int(embeddings.vector_size)
    word = next((word for word in layout.vocabulary if word in embeddings), None)
    if word is None:
        raise ValueError(
            f"None of the {len(layout.vocabulary)} words of the training rows is in module__embeddings. Are "
            "its words lower case, and the text's not, or the other way round?"
        )
    return len(embeddings[word])


def _vectors_of(embeddings: Any, layout: Any) -> tuple[np.ndarray, np.ndarray]:
    """Vectors (n_codes - 2, E) of the known words, and which of them have one."""
    if hasattr(embeddings, "__array__"):
        return _checked(embeddings, layout.n_codes), np.ones(layout.n_codes - 2, dtype=bool)
    if isinstance(embeddings, str | os.PathLike):
        from mixsk.encoding.vectors import read_vectors

        return read_vectors(embeddings, layout.vocabulary)
    found = np.array([word in embeddings for word in layout.vocabulary], dtype=bool)
    vectors = np.zeros((len(found), _dimension_of(embeddings, layout)), dtype=np.float32)
    for k in np.flatnonzero(found):
        vector = np.asarray(embeddings[layout.vocabulary[k]])
        if vector.shape != vectors[k].shape:
            raise ValueError(
                f"module__embeddings has a vector of shape {vector.shape} for {layout.vocabulary[k]!r}, and "
                f"others of shape {vectors[k].shape}. All must have one length."
            )
        vectors[k] = vector
    return _finite(vectors), found


def _checked(array: Any, n_codes: int) -> np.ndarray:
    vectors = np.asarray(array)
    if vectors.ndim != 2 or len(vectors) != n_codes - 2 or not np.issubdtype(vectors.dtype, np.number):
        raise ValueError(
            f"module__embeddings must be an array of numbers ({n_codes - 2}, E), with a row for each code 2, "
            f"3, ... of the training rows. Got shape {vectors.shape}, dtype {vectors.dtype}."
        )
    return _finite(vectors)


def _finite(vectors: np.ndarray) -> np.ndarray:
    if not np.isfinite(vectors).all():
        raise ValueError("module__embeddings has NaN or infinite numbers. Leave those words out.")
    return vectors

"""The convolutional network of sentences.

Source: Kim, "Convolutional Neural Networks for Sentence Classification" (EMNLP 2014),
https://arxiv.org/abs/1408.5882, in the settings of the AMP paper (section 4.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mixsk.backbones._words import WordNetwork, check_count, without_mask


class Windows(nn.Module):
    """The most that each filter finds in any window of words: (1, B, L, E + 1) -> (1, B, filters).

    A sentence that is shorter than a filter has one window, filled up with zeros; of others, the windows
    count that have no padding.

    Parameters
    ----------
    dimension : int
        E.
    sizes : sequence of int
        Words in a window.
    n_filters : int
        Of each size.
    """

    def __init__(self, dimension: int, sizes: Sequence[int], n_filters: int) -> None:
        super().__init__()
        self.widest = max(sizes)
        # Convolutions, and no product of all words with all filters, shifted and summed: 34 against 53 ms a
        # batch of 50 sentences of 20 words, forward and backward.
        self.filters = nn.ModuleList(nn.Conv1d(dimension, n_filters, size) for size in sizes)

    def forward(self, h: Tensor) -> Tensor:
        """Map vectors of words and mask to the largest values."""
        vectors, real = without_mask(h)
        lacking = max(0, self.widest - vectors.shape[1])
        vectors = F.pad(vectors.transpose(1, 2), (0, lacking))
        padding = F.pad(~real, (0, lacking), value=True)
        largest = []
        for filters in self.filters:
            # A window that starts at t > 0 has padding if its last word is padding; the first one counts.
            idle = F.pad(padding[:, filters.kernel_size[0] :], (1, 0), value=False)
            never = vectors.new_zeros(idle.shape).masked_fill(idle, -torch.inf)
            # Added in place, and no masked_fill, whose backward is another pass over all windows.
            largest.append(filters(vectors).add_(never.unsqueeze(1)).max(-1).values)
        return torch.cat(largest, 1).relu().unsqueeze(0)  # the ReLU of a maximum is the maximum of ReLUs


class TextCNN(WordNetwork):
    """Filters over windows of words, the most that each finds anywhere, dropout and a linear layer.

    Sites: 1 the embeddings (WordMixup), 2 the most of each filter (SentMixup). Logits are no site of their
    own: what follows site 2 is linear, but for the dropout, so mixed logits are those of mixed features.

    Parameters
    ----------
    n_features : int
        Not used: the longest sentence.
    n_classes : int
    n_codes : int
        Codes of words with 0, padding, and 1, unknown words.
    embeddings : None, str, PathLike, array of shape (n_codes - 2, E) or mapping, default=None
        Vectors of words to start from: the path of a file in GloVe's format, one for each code 2, 3, ..., or
        by word, as gensim's KeyedVectors. Words without one start at random, as all do with None.
    dimension : int, default=300
        E, of random vectors.
    train_embeddings : bool, default=True
        Whether vectors of words are trained.
    filters : tuple of int, default=(3, 4, 5)
        Words in a window.
    n_filters : int, default=100
        Of each size.
    dropout : float, default=0.5
        In [0, 1), before the last layer.
    n_models : int, default=1

    Raises
    ------
    ValueError
        For a number that is out of range.

    Examples
    --------
    >>> TextCNN(5, 3, n_codes=9)(torch.tensor([[[2, 8, 0, 0, 0], [3, 1, 4, 4, 7]]])).shape
    torch.Size([1, 2, 3])
    """

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        *,
        n_codes: int,
        embeddings: Any = None,
        dimension: int = 300,
        train_embeddings: bool = True,
        filters: tuple[int, ...] = (3, 4, 5),
        n_filters: int = 100,
        dropout: float = 0.5,
        n_models: int = 1,
    ) -> None:
        if not isinstance(filters, tuple | list) or not filters:
            raise ValueError(f"module__filters must be sizes of windows, such as (3, 4, 5). Got {filters!r}.")
        sizes = [check_count("filters", size) for size in filters]
        windows = Windows(check_count("dimension", dimension), sizes, check_count("n_filters", n_filters))
        super().__init__(
            windows,
            len(sizes) * n_filters,
            n_classes,
            n_codes=n_codes,
            embeddings=embeddings,
            dimension=dimension,
            train_embeddings=train_embeddings,
            dropout=dropout,
            n_models=n_models,
        )

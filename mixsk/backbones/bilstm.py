"""The recurrent network of sentences: an LSTM in both directions, and attention over its words.

Source: Wang et al., "Attention-based LSTM for Aspect-level Sentiment Classification" (EMNLP 2016), without
its aspects, as in the AMP paper (section 4.2).
NOTE[DIFF]: the AMP paper says one layer of 1024; its released code has two layers of 512 per direction. Here
it is one layer of 512 per direction.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mixsk.backbones._words import WordNetwork, check_count, without_mask


class BothWays(nn.Module):
    """One LSTM from the first word on, and one from the last: (B, L, n_in) -> (B, L, 2 * hidden_size).

    The second one reads each row's words in reverse, so that it starts at the row's own last word whatever
    padding comes after it; lengths never leave the device, as packing them would want (and it takes two
    thirds of the time of packed rows).
    """

    def __init__(self, n_in: int, hidden_size: int) -> None:
        super().__init__()
        self.forth = nn.LSTM(n_in, hidden_size, batch_first=True)
        self.back = nn.LSTM(n_in, hidden_size, batch_first=True)

    def forward(self, h: Tensor, order: Tensor) -> Tensor:
        """Map h (B, L, n_in); order (B * L,) is what `reversing` gives."""
        return torch.cat((self.forth(h)[0], _ordered(self.back(_ordered(h, order))[0], order)), -1)


class Attention(nn.Module):
    """A mean of words: h (B, L, H) -> (B, H), weighted by softmax of v . tanh(W h + b) over the real ones."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(width, width)
        self.score = nn.Linear(width, 1, bias=False)

    def forward(self, h: Tensor, real: Tensor) -> Tensor:
        """Map h (B, L, H), with words where `real` (B, L)."""
        score = self.score(torch.tanh(self.hidden(h))).squeeze(-1)
        # The least number and not -inf, with which a row without words would be NaN.
        share = torch.softmax(score.masked_fill(~real, torch.finfo(score.dtype).min), -1)
        return torch.bmm(share.unsqueeze(1), h).squeeze(1)


class Recurrent(nn.Module):
    """LSTMs both ways, dropout between layers, and attention: (1, B, L, E + 1) -> (1, B, 2 * hidden_size)."""

    def __init__(self, dimension: int, hidden_size: int, layers: int, dropout: float) -> None:
        super().__init__()
        inputs = [dimension] + [2 * hidden_size] * (layers - 1)
        self.layers = nn.ModuleList(BothWays(n_in, hidden_size) for n_in in inputs)
        self.attention = Attention(2 * hidden_size)
        self.dropout = dropout

    def forward(self, h: Tensor) -> Tensor:
        """Map vectors of words and mask to vectors of sentences."""
        h, real = without_mask(h)
        order = reversing(real)
        for k, layer in enumerate(self.layers):
            h = layer(F.dropout(h, self.dropout, self.training) if k else h, order)
        return self.attention(h, real).unsqueeze(0)


def reversing(real: Tensor) -> Tensor:
    """Where to find, in B * L positions one after the other, those of each row with its words in reverse.

    Parameters
    ----------
    real : bool Tensor of shape (B, L)
        Where there is a word; padding is at the end.

    Returns
    -------
    Tensor of shape (B * L,)

    Examples
    --------
    >>> reversing(torch.tensor([[True, True, True], [True, True, False]]))
    tensor([2, 1, 0, 4, 3, 5])
    """
    position = torch.arange(real.numel(), device=real.device).view_as(real)
    step = position - position[:, :1]
    length = real.sum(1, keepdim=True)
    return (position[:, :1] + torch.where(step < length, length - 1 - step, step)).flatten()


def _ordered(h: Tensor, order: Tensor) -> Tensor:
    return h.flatten(0, 1).index_select(0, order).view_as(h)


class BiLSTM(WordNetwork):
    """LSTMs over the words in both directions, attention, dropout and a linear layer.

    Sites: 1 the embeddings (WordMixup), 2 the words' mean by attention (SentMixup).

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
    hidden_size : int, default=512
        Of each direction.
    layers : int, default=1
    dropout : float, default=0.5
        In [0, 1), before the last layer and between LSTMs.
    n_models : int, default=1

    Raises
    ------
    ValueError
        For a number that is out of range.

    Examples
    --------
    >>> net = BiLSTM(5, 3, n_codes=9, hidden_size=4)
    >>> net(torch.tensor([[[2, 8, 0, 0, 0], [3, 1, 4, 4, 7]]])).shape
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
        hidden_size: int = 512,
        layers: int = 1,
        dropout: float = 0.5,
        n_models: int = 1,
    ) -> None:
        check_count("dimension", dimension)
        check_count("hidden_size", hidden_size)
        super().__init__(
            Recurrent(dimension, hidden_size, check_count("layers", layers), dropout),
            2 * hidden_size,
            n_classes,
            n_codes=n_codes,
            embeddings=embeddings,
            dimension=dimension,
            train_embeddings=train_embeddings,
            dropout=dropout,
            n_models=n_models,
        )

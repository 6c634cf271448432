"""What the codes of encoded text mean, for the networks that look them up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

# The two codes that are no word of the vocabulary, and the first that is.
PADDING, UNKNOWN, FIRST_WORD = 0, 1, 2


@dataclass(frozen=True)
class TextLayout:
    """Meaning of the codes of encoded text: 0 is padding, 1 an unknown word, the rest are known words.

    With a Hugging Face tokeniser there is no code for unknown words: code k is its token k - 1. Layouts
    compare equal and hash by content.

    Parameters
    ----------
    n_codes : int
        Number of codes, 0 and 1 included: the rows that an embedding table needs. At least 2.
    vocabulary : tuple of str or None, default=None
        Entry k is the word with code k + 2; None where there are no words of our own: with a Hugging Face
        tokeniser, or if X was codes.

    Raises
    ------
    ValueError
        If `n_codes` is below 2, or is not that of the vocabulary, or a word is there twice.

    Examples
    --------
    >>> layout = TextLayout(n_codes=4, vocabulary=("film", "great"))
    >>> layout.vocabulary[3 - 2]
    'great'
    """

    reads: ClassVar[str] = "text"  # what a network for such rows reads
    n_codes: int
    vocabulary: tuple[str, ...] | None = None

    def __post_init__(self):
        if self.n_codes < FIRST_WORD:
            raise ValueError(f"n_codes must count the codes 0 and 1 as well, got {self.n_codes}.")
        if self.vocabulary is None:
            return
        object.__setattr__(self, "vocabulary", tuple(self.vocabulary))
        n_words, n_distinct = len(self.vocabulary), len(set(self.vocabulary))
        if not n_words == n_distinct == self.n_codes - FIRST_WORD:
            raise ValueError(
                f"n_codes={self.n_codes} goes with {self.n_codes - FIRST_WORD} different words, but "
                f"`vocabulary` has {n_words}, of which {n_distinct} differ."
            )

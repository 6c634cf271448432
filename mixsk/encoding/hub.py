"""Tokenisers of Hugging Face's transformers, which is imported only if one is asked for.

Code = token id + 1, so that 0 is padding whatever the id that the model itself pads with.
"""

from __future__ import annotations

import copy
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from mixsk.encoding.ragged import Ragged, without_padding

NOT_LIMITED = 10**6  # a tokeniser without a maximum says 1e30
WITHOUT_NETWORK = (
    "Without network, set HF_HUB_OFFLINE=1 in the environment to use what was downloaded before, or download "
    "it elsewhere (`hf download NAME --local-dir FOLDER`) and pass the local folder"
)
CHUNK = 8192  # rows tokenised at once: what the tokeniser keeps for a row is far larger than its ids


def is_hub_tokenizer(tokenizer):
    """Whether `tokenizer` is a name, a path or an object of transformers."""
    if isinstance(tokenizer, str):
        return tokenizer != "words"
    # Such an object is callable, too; by name, as importing transformers takes seconds.
    bases = {base.__name__ for base in type(tokenizer).__mro__}
    return isinstance(tokenizer, os.PathLike) or "PreTrainedTokenizerBase" in bases


def load_tokenizer(tokenizer, parameter="tokenizer"):
    """The tokeniser of that name or in that folder; of an object a copy, since calls change its settings.

    Parameters
    ----------
    tokenizer : str, PathLike or tokeniser of transformers
    parameter : {"tokenizer", "module__name_or_path"}, default="tokenizer"
        What the user gave it as, for messages.

    Raises
    ------
    ImportError
        If transformers is not installed.
    OSError
        If it cannot be loaded.
    """
    if not isinstance(tokenizer, (str, os.PathLike)):
        return copy.deepcopy(tokenizer)
    name = os.fspath(tokenizer)
    given = f"{parameter}={name!r}"
    of_network = parameter != "tokenizer"
    try:
        from transformers import AutoTokenizer
    except ImportError as error:
        other = "module='textcnn' or 'bilstm'" if of_network else "tokenizer='words'"
        raise ImportError(
            f"{given} is read by transformers, which cannot be imported ({error}). Install it with `pip "
            f"install 'mixsk[text]'`, or use {other}."
        ) from error
    check_folder(name, given)
    try:
        return AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    except Exception as error:  # OSError, ValueError, KeyError, errors of the http client
        if Path(name).is_dir():
            problem = f"The folder {given} has no tokeniser that transformers can load"
            remedy = "It needs the files that `save_pretrained(folder)` of a tokeniser writes"
        else:
            what = "no folder" if of_network else "neither 'words' nor a folder"
            problem = f"{given} is {what} here, and no Hugging Face tokeniser of that name could be loaded"
            remedy = f"Check the spelling. {WITHOUT_NETWORK}" + (
                "" if of_network else ", or pass a loaded tokeniser object"
            )
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise OSError(f"{problem}: {reason} {remedy}.") from error


def check_folder(name, given):
    """Raise FileNotFoundError for a path that is none here; without that, it is looked up as a name.

    Parameters
    ----------
    name : str
        Name on huggingface.co, or path.
    given : str
        What the user gave, for the message.
    """
    if (os.path.isabs(name) or name.startswith((".", "~"))) and not os.path.exists(name):
        home = " `~` is not replaced: use os.path.expanduser." if name.startswith("~") else ""
        raise FileNotFoundError(
            f"{given}: there is no such folder.{home} Pass the folder of a model, as "
            "`save_pretrained(folder)` writes it, or its name on huggingface.co."
        )


def longest_row(tokenizer, max_length):
    """Most tokens of a row, special ones included: `max_length`, or else the model's own maximum or None.

    Raises
    ------
    ValueError
        If `max_length` leaves no room for a word, or is more than the model reads.
    """
    limit = tokenizer.model_max_length if tokenizer.model_max_length < NOT_LIMITED else None
    if max_length is None:
        return limit
    special = tokenizer.num_special_tokens_to_add()
    if max_length <= special:
        raise ValueError(
            f"max_length={max_length} leaves no room for a word beside the {special} special tokens that "
            f"this tokeniser adds to every row. Use at least {special + 1}, or None."
        )
    if limit is not None and max_length > limit:
        raise ValueError(
            f"max_length={max_length} is more than the {limit} tokens that the model of this tokeniser "
            f"reads. Use at most {limit}, or None."
        )
    return max_length


def largest_id(tokenizer):
    """The largest token id; there may be gaps below it, so a count of tokens would not do."""
    return max(tokenizer.get_vocab().values())


def blank_id(tokenizer):
    """The id that stands for a text without tokens: that of an unknown word, if the tokeniser has one."""
    ids = (tokenizer.unk_token_id, tokenizer.eos_token_id, tokenizer.bos_token_id, 0)
    return next(i for i in ids if i is not None)


def codes_of_texts(tokenizer, texts, longest):
    """Codes of the tokens of every text, as `Ragged`; cut texts keep their special tokens."""
    cut = {} if longest is None else {"truncation": True, "max_length": longest}
    only_ids = {"padding": False, "return_attention_mask": False, "return_token_type_ids": False}
    flat, lengths = [], []
    for start in range(0, len(texts), CHUNK):
        chunk = [_encodable(text) for text in texts[start : start + CHUNK]]
        rows = tokenizer(chunk, **cut, **only_ids)["input_ids"]
        lengths += map(len, rows)
        flat.append(np.array([i for row in rows for i in row], dtype=np.int64))
    return Ragged(np.concatenate(flat) + 1, np.array(lengths, dtype=np.int64))


def codes_of_ids(tokenizer, ids, longest):
    """Codes of token ids of shape (n, L), as `Ragged`; at the end of a row the model's padding is padding.

    Raises
    ------
    ValueError
        If the tokeniser has no such id.
    """
    largest = largest_id(tokenizer)
    if ids.max() > largest:
        row, column = np.argwhere(ids > largest)[0]
        raise ValueError(
            f"X has {ids[row, column]} in row {row}, column {column}, but the largest token id of this "
            f"tokeniser is {largest}. Use the tokeniser that the ids were made with, or pass X as text."
        )
    flat, lengths = without_padding(ids, tokenizer.pad_token_id, longest)
    return Ragged(flat + 1, lengths)


def to_files(tokenizer):
    """A tokeniser as {name: content} of the files that transformers loads it from.

    For pickles: files outlive versions of transformers, whose objects do not, and skops takes them.
    """
    with TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        paths = [path for path in sorted(Path(folder).rglob("*")) if path.is_file()]
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def from_files(kind, files):
    """The tokeniser of class `kind` that `to_files` made `files` of; it needs no network."""
    with TemporaryDirectory() as folder:
        for name, content in files.items():
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return kind.from_pretrained(folder, local_files_only=True)


def _encodable(text):
    """Half a surrogate pair, which no tokeniser takes, becomes U+FFFD."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")

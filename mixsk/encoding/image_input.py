"""X as the user has it, opened as images of shape (n, C, H, W): a view of an array, or a lazy dataset."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from numbers import Number
from os import PathLike
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset

from mixsk.encoding.image_items import image_and_label, in_bytes, is_item, to_array
from mixsk.encoding.image_rows import DatasetImages

ALLOWED = (
    "images: an array of shape (n, H, W), (n, H, W, C) or (n, C, H, W), a list of arrays of one size, rows "
    "of pixels of shape (n, C * H * W), or a torch Dataset"
)
CHANNELS = (1, 3, 4)  # grey; colour; colour with opacity


def check_image_type(X: Any) -> None:
    """Raise TypeError for an X that cannot be images, before anything else looks at it.

    Parameters
    ----------
    X : object
        What a user gave as X.

    Raises
    ------
    TypeError
        For a mapping, a set, text, a frame of text, a sparse matrix, a lazy frame, an iterator, a dataset
        without items by number, a DataLoader or another object without rows.

    Examples
    --------
    >>> check_image_type({"image": [[0, 255]]})
    Traceback (most recent call last):
    TypeError: X must be images: ... not a dict. Pass its values, ...
    """
    name = type(X).__name__
    if isinstance(X, (DatasetImages, np.ndarray, torch.Tensor)):
        return
    if sp.issparse(X):
        remedy = "Sparse images are not supported: use X.toarray()"
    elif isinstance(X, Mapping):
        remedy = "Pass its values, for example X['image']"
    elif isinstance(X, (str, bytes, PathLike)):
        remedy = "Read the files first, into an array or a torch Dataset"
    elif isinstance(X, IterableDataset):
        remedy = "Its items must have numbers: use a map-style Dataset, with __getitem__ and __len__"
    elif isinstance(X, Dataset):
        if hasattr(X, "__len__"):
            return
        remedy = "It needs __len__ as well"
    elif isinstance(X, DataLoader):
        remedy = "Pass its dataset, X.dataset"
    elif name == "LazyFrame":
        remedy = "Call X.collect() first"
    elif isinstance(X, pd.DataFrame) and not all(map(_is_number, X.dtypes)):
        remedy = "Its columns must be numbers, the pixels; text needs a network for text"
    elif isinstance(X, (set, frozenset)):
        remedy = "It has no order: use a list"
    elif isinstance(X, Iterator):
        remedy = "Use list(X)"
    elif not any(hasattr(X, name) for name in ("__len__", "__array__", "shape")):
        remedy = "Use an array"
    else:
        return
    raise TypeError(f"X must be {ALLOWED}, not a {name}. {remedy}.")


def to_container(X):
    """X as an array, or a data frame or dataset as it is: lists of images are stacked."""
    check_image_type(X)
    if isinstance(X, torch.Tensor):
        X = X.detach().cpu()
        return (X.float() if X.dtype == torch.bfloat16 else X).numpy()
    if isinstance(X, np.ma.MaskedArray):
        if np.ma.getmaskarray(X).any():
            raise ValueError("X has masked pixels. Fill them first, for example X.filled(0).")
        return X.data
    if isinstance(X, (Dataset, DatasetImages)):
        return X
    in_rows = isinstance(X, (list, tuple)) or len(getattr(X, "shape", ())) == 1
    return _stacked(X) if in_rows and not _is_numeric(X) else X


def open_images(X, *, shape=None, channels="auto", n_workers=0, fitted=None):
    """Open X as images, nothing copied but lists.

    Parameters
    ----------
    X : array, list, torch.Tensor, Dataset or DatasetImages
        See `ImageEncoder`.
    shape : (C, H, W) or (H, W) or None, default=None
        Of each image; needed for rows of pixels. One entry may be -1.
    channels : {"auto", "first", "last"}, default="auto"
        Where the channels of images are.
    n_workers : int >= 0, default=0
        Of a Dataset.
    fitted : (shape, order) or None, default=None
        What images must be like, (C, H, W), and where the channels of those in fit were.

    Returns
    -------
    images : ndarray of shape (n, C, H, W) or DatasetImages
        A view, of whatever numeric dtype, or lazy.
    order : {"first", "last"}
        Where the channels were.

    Raises
    ------
    ValueError
        For an empty X, images of different sizes, a wrong number of axes, channels that cannot be told from
        the sides, or images that are not like those in fit.
    TypeError
        For an X that is no images.
    """
    X = to_container(X)
    if isinstance(X, (Dataset, DatasetImages)):
        images, order = _open_dataset(X, channels, n_workers, fitted)
    else:
        images, order = _open_array(np.asanyarray(X), shape, channels, fitted)
    found = images.shape[1:]
    if shape is not None and found != full_shape(shape, math.prod(found)):
        raise ValueError(f"X has images of {_told(found)}, but shape={tuple(shape)}. Leave `shape` out.")
    if fitted is not None and found != fitted[0]:
        raise _unlike(X, found, fitted[0], order)
    return images, order


def full_shape(shape, n_pixels):
    """Shape (C, H, W) of an image with `n_pixels` entries.

    Parameters
    ----------
    shape : (C, H, W) or (H, W)
        One entry may be -1.
    n_pixels : int

    Returns
    -------
    tuple of three int

    Raises
    ------
    ValueError
        If `shape` is no such thing or does not go with the number of entries.
    """
    try:
        sides = tuple(int(side) for side in shape if side == int(side))
    except (TypeError, ValueError):
        sides = ()
    if len(sides) != len(shape) or len(sides) not in (2, 3) or sides.count(-1) > 1 or min(sides) < -1:
        sides = (0,)
    if 0 in sides:
        raise ValueError(
            f"shape must be (channels, height, width) or (height, width), whole numbers >= 1 of which one "
            f"may be -1, got {shape!r}."
        )
    sides = (1,) * (3 - len(sides)) + sides
    known = math.prod(side for side in sides if side != -1)
    full = tuple(n_pixels // known if side == -1 else side for side in sides)
    if math.prod(full) != n_pixels:
        raise ValueError(
            f"shape={tuple(shape)} does not go with images of {n_pixels} numbers: "
            f"{' x '.join(map(str, sides))}. Give the right shape, or -1 for one side."
        )
    return full


def _open_array(X, shape, channels, fitted):
    """An array as (n, C, H, W), and where its channels were."""
    if X.dtype.kind == "c":
        raise ValueError("Complex data not supported: X must have real pixels, for example np.abs(X).")
    if X.dtype.kind not in "buif":
        numbers = X.dtype.kind == "O" and X.size and isinstance(X.flat[0], Number)
        remedy = " Use X.astype('uint8') for bytes, else X.astype('float32')." if numbers else ""
        raise TypeError(f"X must be {ALLOWED}, got an array of dtype {X.dtype}.{remedy}")
    if X.ndim == 2:
        if shape is None:
            raise _is_table(X, fitted)
        C, H, W = full_shape(shape, X.shape[1])
        if C not in CHANNELS and W in CHANNELS and channels != "first":
            raise ValueError(
                f"shape={tuple(shape)} is {C} channels of {H} x {W} pixels. Use shape=({W}, {C}, {H}), and "
                "channels='last' if the rows are in the order (H, W, C); or channels='first' if it is right."
            )
        order = "last" if channels == "last" else "first"
        X = X.reshape(len(X), *((H, W, C) if order == "last" else (C, H, W)))
    elif X.ndim == 3:
        order = "first"
        X = X[:, None]
    elif X.ndim == 4:
        order = _order(X.shape[1:], channels, fitted)
    else:
        raise ValueError(f"X has shape {X.shape}, but must be {ALLOWED}. Reshape your data.")
    if 0 in X.shape:
        raise ValueError(f"X has shape {X.shape}, no images. Pass at least one, with at least one pixel.")
    return X.transpose(0, 3, 1, 2) if order == "last" else X, order


def _open_dataset(dataset, channels, n_workers, fitted):
    """A dataset as lazy images: the first item decides on the size and the kind of numbers."""
    if isinstance(dataset, DatasetImages):
        return dataset, fitted[1] if fitted else "first"
    if len(dataset) == 0:
        raise ValueError("X is a dataset without items. Pass at least one.")
    first = to_array(image_and_label(dataset[0], 0)[0], 0)
    if first.ndim not in (2, 3) or 0 in first.shape:
        raise ValueError(
            f"Item 0 of the dataset is an image of shape {first.shape}, but must have shape (C, H, W), "
            "(H, W, C) or (H, W)."
        )
    order = "first" if first.ndim == 2 else _order(first.shape, channels, fitted)
    shape = first[None] if first.ndim == 2 else first.transpose(2, 0, 1) if order == "last" else first
    dtype = np.uint8 if in_bytes(first) else np.float32
    images = DatasetImages(
        dataset, shape.shape, dtype, n_workers, order=order, two_valued=first.dtype == bool
    )
    return images, order


def _order(sides, channels, fitted):
    """Which of three axes has the channels, the first or the last."""
    if channels != "auto":
        return channels
    shapes = {"first": sides, "last": (sides[2], sides[0], sides[1])}
    if fitted is not None:
        for order in (fitted[1], "first", "last"):
            if shapes[order] == fitted[0]:
                return order
    likely = [order for order, shape in shapes.items() if shape[0] in CHANNELS]
    if len(likely) != 1:
        if fitted is not None:
            return fitted[1]  # the sizes are wrong in any case, and that is said next
        why = "both the first and the last of these have" if likely else "none of the outer ones has"
        raise ValueError(
            f"X has images of shape {sides}, and {why} 1, 3 or 4 entries, as channels do. Use "
            "encoder=ImageEncoder(channels='first'), or channels='last'."
        )
    return likely[0]


def _stacked(X):
    """Rows of a list, a Series or an array of objects, as one array."""
    rows: list[np.ndarray] = []
    # scikit-learn cuts a Dataset into lists of its items; their labels come as y.
    of_items = len(X) > 0 and all(map(is_item, X))
    for i, row in enumerate(X):
        try:
            rows.append(to_array(row[0] if of_items else row, i))
        except TypeError:
            raise TypeError(
                f"Row {i} of X is {str(row)[:40]!r}, of type {type(row).__name__}, but every row must be an "
                "image, an array of numbers. Read files first, into an array or a torch Dataset."
            ) from None
        if rows[i].shape != rows[0].shape:
            raise ValueError(
                f"X has images of different sizes: {rows[0].shape} and {rows[i].shape} at row {i}: resize "
                "them (or crop, and use one number of channels)."
            )
    return np.stack(rows) if rows else np.empty((0, 0, 0))


def _is_numeric(X):
    return isinstance(X, np.ndarray) and X.dtype.kind != "O"


def _is_number(dtype):
    return pd.api.types.is_numeric_dtype(dtype)


def _told(shape):
    C, H, W = shape
    return f"{H} x {W} pixels and {C} channel{'s' * (C > 1)}"


def _is_table(X, fitted):
    """The error for rows of pixels of an unknown shape, with a guess."""
    if fitted is not None and X.shape == fitted[0][1:]:
        return ValueError(
            f"ImageEncoder was fitted on images of {_told(fitted[0])}, and X of shape {X.shape} looks like "
            "one image: use X[None]."
        )
    n_pixels = X.shape[1]
    if fitted is not None and math.prod(fitted[0]) == n_pixels:
        guess = fitted[0]
    else:
        sides = {C: math.isqrt(n_pixels // C) for C in (1, 3)}
        square = [C for C, side in sides.items() if side > 1 and C * side**2 == n_pixels]
        guess = (square[0], sides[square[0]], sides[square[0]]) if square else None
    example = f"({guess[0]}, {guess[1]}, {guess[2]})" if guess else "(channels, height, width)"
    return ValueError(
        f"X is a table of shape {X.shape}. For rows of pixels say what they are: "
        f"encoder=ImageEncoder(shape={example}). For one image use X[None]; numbers that are no pixels need "
        "a network for tables."
    )


def _unlike(X, found, fitted, order):
    """The error for images that are not like those in fit, with what to do."""
    axis = 1 if order == "first" else -1
    shape = getattr(X, "shape", ())
    lazy = isinstance(X, (Dataset, DatasetImages))
    if len(shape) == 3 and fitted in (shape, (shape[2], *shape[:2])):
        problem, remedy = f"images of {_told(fitted)}, X is one such image", "use X[None]"
    elif found[0] != fitted[0]:
        problem = f"{fitted[0]} channel{'s' * (fitted[0] > 1)}, X has {found[0]}"
        if lazy:
            grey = "grey images: repeat the channel in the dataset"
            remedy = grey if found[0] == 1 else "convert its images in the dataset"
        elif found[0] == 1:
            whole = "X[..., None]" if len(shape) == 3 else "X"
            remedy = f"grey images: np.repeat({whole}, {fitted[0]}, {axis if len(shape) == 4 else -1})"
        elif fitted[0] == 1:
            remedy = f"take a grey value, for example X.mean({axis})"
        elif (found[0], fitted[0]) == (4, 3):
            remedy = f"leave opacity out: {'X[:, :3]' if order == 'first' else 'X[..., :3]'}"
        else:
            remedy = "convert them as for fit"
    else:
        problem = f"images of {fitted[1]} x {fitted[2]} pixels, X has {found[1]} x {found[2]}"
        remedy = "resize them in the dataset" if lazy else "resize them"
    return ValueError(f"ImageEncoder was fitted on {problem}: {remedy}.")

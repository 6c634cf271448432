"""One item of a torch Dataset: its image as an array, and its label."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

import numpy as np
import torch


def image_and_label(item, i):
    """Item i of a dataset, taken apart; the label is None if it has none."""
    if isinstance(item, (tuple, list)):
        if len(item) not in (1, 2):
            raise TypeError(
                f"Item {i} of the dataset has {len(item)} parts, but must be an image or (image, label)."
            )
        return item[0], item[1] if len(item) == 2 else None
    return item, None


def is_item(row):
    """Whether a row of a list is (image,) or (image, label), and not the rows of pixels of an image."""
    if not isinstance(row, tuple) or len(row) not in (1, 2):
        return False
    with suppress(TypeError, ValueError):  # of numpy, for what is ragged
        return np.ndim(row[0]) >= 2 and (len(row) == 1 or np.ndim(row[1]) == 0)
    return False


def to_array(image, i):
    """An image as a numeric array, whatever its shape."""
    if isinstance(image, torch.Tensor):
        return image.detach().cpu().numpy()
    if getattr(image, "mode", None) == "P":
        raise TypeError(
            f"Item {i} of the dataset is an image whose pixels are numbers of palette colours. Use "
            "image.convert('RGB')."
        )
    if not isinstance(image, (str, bytes, Mapping)):
        with suppress(TypeError, ValueError):
            array = np.asarray(image)
            if array.dtype.kind in "buif":
                return array
    raise TypeError(
        f"Item {i} of the dataset is {_what(image)}, but must be an image or (image, label), the image a "
        "tensor, an array or a PIL image."
    )


def as_pixels(image, i, shape, dtype, order):
    """An image as an array of `shape` and `dtype`, checked; `i` is for the message."""
    array = to_array(image, i)
    if array.ndim == 2:
        array = array[None]
    elif array.ndim == 3 and order == "last":
        array = array.transpose(2, 0, 1)
    if array.shape != shape:
        raise ValueError(
            f"Item {i} of the dataset is an image of shape {np.shape(image)}, but the first one gave "
            f"{shape}, as (channels, height, width). Make them alike in the dataset: resize or crop, and "
            "use one number of channels."
        )
    if dtype == np.uint8:
        return _whole(array, i)
    if array.dtype.kind == "b" or array.dtype == np.uint8:
        raise TypeError(
            f"Item {i} of the dataset is of dtype {array.dtype}, but the first one was not. Convert all to "
            "one type and scale in the dataset."
        )
    with np.errstate(over="ignore"):
        array = array.astype(np.float32, copy=False)
    if not np.isfinite(array).all():
        raise ValueError(f"Item {i} of the dataset has NaN or infinite pixels. Drop or repair it.")
    return array


def in_bytes(array):
    """Whether an array, not empty, is one of whole numbers from 0 to 255, of whatever type."""
    if array.dtype.kind == "f":
        return False
    return array.dtype in (bool, np.uint8) or bool(array.min() >= 0 and array.max() <= 255)


def _whole(array, i):
    """An array as uint8; `i` is for the message."""
    if not in_bytes(array):
        what = "floats" if array.dtype.kind == "f" else "whole numbers outside 0 to 255"
        raise TypeError(
            f"Item {i} of the dataset has {what}, but the first one had whole numbers from 0 to 255. Convert "
            "all to one type and scale in the dataset, for example to float32."
        )
    return array.astype(np.uint8, copy=False)


def as_label(label, i):
    """A label as a plain value."""
    if isinstance(label, (torch.Tensor, np.ndarray, np.generic)) and label.ndim == 0:
        return label.item()
    if label is None or isinstance(label, (str, bool, int, float)):
        return label
    raise TypeError(
        f"The label of item {i} of the dataset is {_what(label)}, but must be one number or string."
    )


def _what(value):
    return f"a {type(value).__name__} {repr(value)[:40]}"

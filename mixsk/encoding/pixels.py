"""The numbers in images: their type, range, mean and deviation, found a part of X at a time."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from mixsk.encoding.image_rows import DatasetImages

CHUNK = 2**20  # numbers looked at together: small against X, and the working copies fit a cache


class Pixels(NamedTuple):
    """What was seen of some images; `mean` and `std` are None if not asked for."""

    low: float
    high: float
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None

    @property
    def largest(self) -> float:
        """Largest absolute value."""
        return max(abs(self.low), abs(self.high))


def encoded_dtype(images):
    """uint8 for whole numbers from 0 to 255, else float32; and the range of those that had to be looked at.

    Parameters
    ----------
    images : ndarray of shape (n, C, H, W) or DatasetImages

    Returns
    -------
    dtype : numpy.dtype
    extent : (low, high) or None
        Of whole numbers of another type than uint8 and bool.
    """
    dtype = images.dtype
    if dtype in (np.uint8, bool):
        return np.dtype(np.uint8), None
    if dtype.kind == "f":
        return np.dtype(np.float32), None
    parts = [(int(part.min()), int(part.max())) for part in _slices(images)]
    low, high = min(part[0] for part in parts), max(part[1] for part in parts)
    return np.dtype(np.uint8 if 0 <= low <= high <= 255 else np.float32), (low, high)


def encode(images, dtype):
    """Images as an array of `dtype` that torch can read.

    Parameters
    ----------
    images : ndarray of shape (n, C, H, W) or DatasetImages
    dtype : numpy.dtype
        That of `encoded_dtype`.

    Returns
    -------
    ndarray of `dtype` of shape (n, C, H, W) or DatasetImages
        The same memory where the type is the same, or bool. Axes that run backwards are copied.
    """
    if isinstance(images, DatasetImages):
        return images
    if images.dtype == bool:
        images = images.view(np.uint8)
    if min(images.strides) < 0:
        images = images.copy()
    with np.errstate(over="ignore"):  # infinity is reported by what looks at the values
        return images.astype(dtype, copy=False)


def measure(images, dtype, *, moments):
    """Look at every pixel once.

    Parameters
    ----------
    images : ndarray of shape (n, C, H, W) or DatasetImages
    dtype : numpy.dtype
        That of `encoded_dtype`.
    moments : bool
        Whether to find mean and std per channel. Those of uint8 are exact but for the last rounding.

    Returns
    -------
    Pixels
        `std` is 1 for a constant channel.

    Raises
    ------
    ValueError
        If a pixel is NaN or infinite, as float32.
    """
    n_rows, C, H, W = images.shape
    low, high = np.full(C, np.inf), np.full(C, -np.inf)
    # Sums of uint8 and of their squares are whole numbers, those of a part below 2**53: exact also as floats.
    whole = dtype == np.uint8
    shift = np.zeros(C)
    total, squares = ([0 if whole else 0.0] * C for _ in range(2))
    start = 0
    for part in _parts(images, dtype):
        for c in range(C):
            channel = part[:, c].ravel()
            part_low, part_high = channel.min(), channel.max()
            if not (np.isfinite(part_low) and np.isfinite(part_high)):
                raise _not_finite(part, start)
            low[c], high[c] = min(low[c], part_low), max(high[c], part_high)
            if not moments:
                continue
            values = channel.astype(np.float64)
            if whole:
                total[c] += int(values.sum())
                squares[c] += int(np.square(values).sum())
            else:
                if start == 0:
                    shift[c] = values.mean()  # or the squares of large numbers would drown the deviation
                values -= shift[c]
                total[c] += values.sum()
                squares[c] += np.square(values).sum()
        start += len(part)
    extent = float(low.min()), float(high.max())
    if not moments:
        return Pixels(*extent, None, None)
    n = n_rows * H * W
    mean = tuple(float(shift[c] + total[c] / n) for c in range(C))
    std = [math.sqrt(max(0, n * squares[c] - total[c] ** 2)) / n for c in range(C)]
    changes = [low[c] < high[c] and std[c] >= np.finfo(np.float32).tiny for c in range(C)]
    return Pixels(*extent, mean, tuple(s if c else 1.0 for s, c in zip(std, changes, strict=True)))


def _parts(images, dtype):
    """Encoded images in order, about CHUNK numbers at a time."""
    if isinstance(images, DatasetImages):
        return (part.numpy() for part in images.chunks(_rows_at_once(images)))
    return (encode(part, dtype) for part in _slices(images))


def _slices(images):
    size = _rows_at_once(images)
    return (images[start : start + size] for start in range(0, len(images), size))


def _rows_at_once(images):
    return max(1, CHUNK // math.prod(images.shape[1:]))


def _not_finite(part, start):
    """The error for pixels that are no numbers, in the words of scikit-learn's."""
    wrong = np.argwhere(~np.isfinite(part))[0]
    value = "NaN" if np.isnan(part[tuple(wrong)]) else "infinity or a value too large for dtype('float32')"
    return ValueError(
        f"Input X contains {value}: image {start + wrong[0]}, channel {wrong[1]}, row {wrong[2]}, column "
        f"{wrong[3]}. Repair or drop such images."
    )

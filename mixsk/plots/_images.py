"""Images of a fitted classifier: pixels in the user's units, and how they are drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted

from mixsk.classifiers._base import MixClassifier


def check_of_images(estimator: Any, owner: str, remedy: str) -> None:
    """Raise an error unless the estimator is a classifier of mixsk, fitted to images."""
    if not isinstance(estimator, MixClassifier):
        raise ValueError(
            f"{owner} looks into a network of mixsk, but got {type(estimator).__name__}. Of a pipeline pass "
            "the last step, and X as it reaches it: pipe[:-1].transform(X)."
        )
    check_is_fitted(estimator)
    if estimator._encoded_kind() != "image":
        raise ValueError(
            f"{owner} draws images, and this {type(estimator).__name__} was fitted to a "
            f"{estimator._encoded_kind()} (module={estimator.module!r}). {remedy}"
        )


def in_pixels(x: torch.Tensor, layout: Any) -> np.ndarray:
    """Images as the network sees them (n, C, H, W) in units of the encoded pixels, float32."""
    mean, std = (
        torch.tensor(values, dtype=torch.float64)[:, None, None] for values in (layout.mean, layout.std)
    )
    pixels: np.ndarray = (x.double() * std + mean).float().numpy()
    return pixels


def pixel_range(estimator: Any, images: np.ndarray) -> tuple[float, float]:
    """What is drawn black and white: bytes from 0 to 255, else the range of training images and these."""
    low, high = estimator.encoder_.range_
    if estimator.encoder_.dtype_ == np.uint8 and high > 1:  # bool is 0 and 1
        low, high = 0, 255
    low, high = min(low, float(images.min())), max(high, float(images.max()))
    return low, high if high > low else low + 1


def draw_image(ax: Any, image: np.ndarray, limits: tuple[float, float], **kwargs: Any) -> Any:
    """Draw one image (C, H, W): three channels or four in colour, the mean of others in grey; no ticks."""
    low, high = limits
    pixels = ((np.asarray(image, dtype=np.float64) - low) / (high - low)).clip(0, 1)
    pixels = pixels.transpose(1, 2, 0) if len(pixels) in (3, 4) else pixels.mean(axis=0)
    ax.set(xticks=[], yticks=[])
    for side in ax.spines.values():
        side.set_visible(False)
    return ax.imshow(pixels, cmap="gray", vmin=0, vmax=1, interpolation="nearest", **kwargs)


def shorten(label: Any, length: int = 12) -> str:
    """A class name that fits beside a small image."""
    text = str(label)
    return text if len(text) <= length else text[: length - 1] + "\N{HORIZONTAL ELLIPSIS}"

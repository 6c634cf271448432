"""What the pixels of encoded images mean, and the numbers that networks get for them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import ClassVar

import torch
from torch import Tensor

from mixsk.encoding.augment import Augment


@dataclass(frozen=True)
class ImageLayout:
    """Shape and scale of encoded images, and what is done to those that a network trains on.

    Layouts compare equal and hash by content.

    Parameters
    ----------
    shape : tuple of three int >= 1
        Channels, height and width of every image.
    mean, std : tuple of float, one for each channel
        In units of the encoded pixels: between 0 and 255 where those are uint8. `std` > 0.
    augment : Augment or None, default=None
        Done to the pixels of training batches, as floats, before `prepare`.
    unit : float, default=1.0
        How far encoded pixels reach, > 0: 255 where they are bytes, 1 where they are between 0 and 1.

    Raises
    ------
    ValueError
        If a side is below 1, if `mean` and `std` are not one number for each channel, `std` > 0, or `unit` is
        not above 0.

    Examples
    --------
    >>> import torch
    >>> layout = ImageLayout(shape=(1, 1, 2), mean=(100.0,), std=(50.0,))
    >>> layout.prepare(torch.tensor([[[100, 200]]], dtype=torch.uint8), torch.float32)
    tensor([[[0., 2.]]])
    """

    reads: ClassVar[str] = "image"  # what a network for such rows reads
    shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    augment: Augment | None = None
    unit: float = field(default=1.0, repr=False)

    def __post_init__(self):
        for name, kind in (("shape", int), ("mean", float), ("std", float)):
            object.__setattr__(self, name, tuple(kind(value) for value in getattr(self, name)))
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise ValueError(f"`shape` must be (channels, height, width), each at least 1, got {self.shape}.")
        if not len(self.mean) == len(self.std) == self.shape[0] or not all(s > 0 for s in self.std):
            raise ValueError(
                f"`mean` and `std` > 0 must have a number for each of the {self.shape[0]} channels, got "
                f"mean={self.mean} and std={self.std}."
            )
        object.__setattr__(self, "unit", float(self.unit))
        if not 0 < self.unit < math.inf:
            raise ValueError(f"`unit` must be a number above 0, got {self.unit}.")

    def prepare(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """Pixels as networks see them: (x - mean) / std.

        Parameters
        ----------
        x : Tensor of shape (..., C, H, W), of any dtype
            Encoded images. Not changed.
        dtype : torch.dtype
            A floating-point type.

        Returns
        -------
        Tensor of `dtype` of the shape of x
            On its device.
        """
        mean = _per_channel(self.mean, dtype, x.device)
        std = _per_channel(self.std, dtype, x.device)
        return (x.to(dtype) - mean).div_(std)


@lru_cache(maxsize=64)
def _per_channel(values, dtype, device):
    """A number for each channel on the device, kept: each upload would make the host wait for it."""
    with torch.inference_mode(False):  # or the first call could leave a tensor that no gradient may pass
        return torch.tensor(values, dtype=dtype, device=device)[:, None, None]

"""Transport: where the blocks of images go, so that what is salient lies where the mask keeps it."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

AT_ONCE = 2**22  # costs held at once, about 16 MB


def block_moves(saliency: NDArray[np.floating], mask: NDArray[np.floating], eps: float) -> NDArray[np.int64]:
    """Which block comes to each place: a permutation of the blocks of each image.

    To bring block j to place p costs `eps * (distance between j and p)^2 - saliency_j * mask_p`, distances in
    units of the grid's longer side. It is a greedy assignment: each block asks for the place that is cheapest
    for it, a place takes the cheapest block that asks, the others ask again for what is free. An image for
    which that is no cheaper than to leave all as it is stays as it is.

    Parameters
    ----------
    saliency, mask : float array of shape (B, H, W)
        Of each block, and of each place.
    eps : float

    Returns
    -------
    int64 array of shape (B, H * W)

    Examples
    --------
    >>> block_moves(np.array([[[0.1, 0.9]]]), np.array([[[1.0, 0.0]]]), eps=0.1)
    array([[1, 0]])
    """
    n_images, height, width = saliency.shape
    n = height * width
    y, x = np.divmod(np.arange(n), width)
    far = (y[:, None] - y) ** 2 + (x[:, None] - x) ** 2
    far = (eps / max(height - 1, width - 1, 1) ** 2 * far).astype(np.float32)
    moves = np.empty((n_images, n), np.int64)
    step = max(1, AT_ONCE // n**2)
    for start in range(0, n_images, step):
        some = slice(start, start + step)
        gain = saliency[some].reshape(-1, n, 1) * mask[some].reshape(-1, 1, n)
        moves[some] = _assigned((far - gain).astype(np.float32))
    return moves


def _assigned(cost: NDArray[np.float32]) -> NDArray[np.int64]:
    """Block of each place, (B, n), for costs (B, block, place)."""
    n_images, n, _ = cost.shape
    stay = np.arange(n)
    moves = np.empty((n_images, n), np.int64)
    free = cost.copy()
    image, block = (v.ravel() for v in np.indices((n_images, n)))
    while len(image):
        asks = free[image, block]
        place = asks.argmin(-1)
        bid = asks[np.arange(len(asks)), place]
        order = np.lexsort((bid, image * n + place))  # askers of a place side by side, the cheapest first
        wanted = (image * n + place)[order]
        won = order[np.r_[True, wanted[1:] != wanted[:-1]]]
        moves[image[won], place[won]] = block[won]
        free[image[won], :, place[won]] = np.inf
        lost = np.ones(len(image), bool)
        lost[won] = False
        image, block = image[lost], block[lost]
    moved = np.take_along_axis(cost, moves[:, None], 1)[:, 0].sum(-1, dtype=np.float64)
    as_is = cost[:, stay, stay].sum(-1, dtype=np.float64)
    return np.where((moved < as_is)[:, None], moves, stay)


def moved(x: Tensor, moves: Tensor, grid: tuple[int, int]) -> Tensor:
    """Images x (B, C, H, W) with block `moves[b, p]` of `grid` brought to place p; moves are (B, places)."""
    (rows, columns), (n_channels, height, width) = grid, x.shape[1:]
    sides = (height // rows, width // columns)
    tiles = x.unflatten(-2, (rows, sides[0])).unflatten(-1, (columns, sides[1]))
    tiles = tiles.permute(0, 2, 4, 1, 3, 5).flatten(1, 2)  # (B, places, C, side, side)
    image = torch.arange(len(x), device=x.device).unsqueeze(-1)
    tiles = tiles[image, moves].unflatten(1, (rows, columns))
    return tiles.permute(0, 3, 1, 4, 2, 5).reshape(-1, n_channels, height, width)

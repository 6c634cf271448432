"""The images of a torch Dataset, read when they are needed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset

from mixsk.encoding.image_items import as_label, as_pixels, image_and_label


class DatasetImages:
    """Images of a map-style torch Dataset as rows of shape (C, H, W), read only when they are asked for.

    What the dataset does at random is its own affair: such images differ from one reading to the next, and
    `random_state` of a classifier does not decide how. In worker processes the seed is that of
    ``torch.manual_seed`` plus the number of streams so far. Nothing here uses the global random state.

    Parameters
    ----------
    dataset : torch.utils.data.Dataset
        ``dataset[i]`` is an image or (image, label); an image is a tensor, an array, or what `numpy.asarray`
        turns into one, such as a PIL image, of shape (C, H, W), (H, W, C) or (H, W).
    shape : tuple of three int
        Channels, height and width of each image.
    dtype : dtype
        uint8 (images of whole numbers from 0 to 255) or float32.
    n_workers : int >= 0, default=0
        Processes that read for `stream` and `labels`; 0: this one.
    order : {"first", "last"}, default="first"
        Axis of the channels in images with three axes.
    two_valued : bool, default=False
        Whether the images are of bool, and so uint8 of 0 and 1.
    index : array of int or None, default=None
        Rows, as items of the dataset; None is all.

    Attributes
    ----------
    shape : tuple of four int
        (n, C, H, W).
    dtype : numpy.dtype

    Examples
    --------
    >>> from torch.utils.data import TensorDataset
    >>> data = TensorDataset(torch.zeros(10, 28, 28, dtype=torch.uint8), torch.arange(10) % 2)
    >>> images = DatasetImages(data, (1, 28, 28), "uint8")
    >>> images.shape, images[2:5].shape
    ((10, 1, 28, 28), torch.Size([3, 1, 28, 28]))
    >>> images.subset([3, 4]).labels
    array([1, 0])
    """

    ndim = 4

    def __init__(self, dataset, shape, dtype, n_workers=0, *, order="first", two_valued=False, index=None):
        self.dataset = dataset
        self.n_workers = n_workers
        self.dtype = np.dtype(dtype)
        self.two_valued = two_valued
        self._order = order
        self._index = np.arange(len(dataset)) if index is None else np.asarray(index)
        self._image_shape = tuple(shape)
        self._labels: Any = None
        self._labels_known = False
        self._n_streams = 0

    def __len__(self):
        return len(self._index)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(n, C, H, W)."""
        return (len(self), *self._image_shape)

    @property
    def labels(self) -> np.ndarray | None:
        """The label of each row; None if the items are images only.

        Found on first use: `targets` or `labels` of the dataset, if there is one for each item, no
        `target_transform`, and the first, the middle and the last row have these; else by reading all rows
        once.
        """
        if not self._labels_known:
            labels = _listed_labels(self.dataset)
            if labels is not None and self._agrees(labels):
                self._keep_labels(labels[self._index])
            else:
                for _ in self.chunks(256):
                    pass
        return self._labels

    def __getitem__(self, index: np.ndarray | slice) -> Tensor:
        """Rows, read in this process.

        Parameters
        ----------
        index : array of int of length k, or slice

        Returns
        -------
        Tensor of shape (k, C, H, W)
            On the CPU, uint8 or float32.

        Raises
        ------
        ValueError, TypeError
            If an item is no image, or has another size or kind of numbers; its number is named.
        """
        reader = self._reader()
        return reader.collate([reader[i] for i in self._index[index]])[0]

    def stream(self, batches: Iterable[np.ndarray]) -> Iterator[Tensor]:
        """Batches of rows, read ahead by the workers.

        Parameters
        ----------
        batches : iterable of arrays of int
            Rows of each batch.

        Yields
        ------
        Tensor of shape (k, C, H, W)
            On the CPU, uint8 or float32, in the order of `batches`. The workers end with the iterator.
        """
        for images, _ in self._load(batches):
            yield images

    def chunks(self, size: int) -> Iterator[Tensor]:
        """All rows in order, `size` at a time; `labels` are known afterwards."""
        labels: list[Any] = []
        rows = np.arange(len(self))
        for images, found in self._load([rows[i : i + size] for i in range(0, len(self), size)]):
            labels += found
            yield images
        if not all(label is None for label in labels):
            self._keep_labels(np.asarray(labels))
        elif not self._labels_known:
            listed = _listed_labels(self.dataset)
            self._keep_labels(None if listed is None else listed[self._index])

    def subset(self, index: np.ndarray) -> DatasetImages:
        """Some of the rows.

        Parameters
        ----------
        index : array of int or bool

        Returns
        -------
        DatasetImages
        """
        index = np.asarray(index)
        part = DatasetImages(
            self.dataset,
            self._image_shape,
            self.dtype,
            self.n_workers,
            order=self._order,
            two_valued=self.two_valued,
            index=self._index[index],
        )
        if self._labels_known:
            part._keep_labels(None if self._labels is None else self._labels[index])
        return part

    def _agrees(self, labels):
        """Whether a list of labels is that of a few items; one without a label says nothing."""
        for row in sorted({0, len(self) // 2, len(self) - 1}) if len(self) else ():
            i = int(self._index[row])
            found = as_label(image_and_label(self.dataset[i], i)[1], i)
            if found is not None and found != labels[i]:
                return False
        return True

    def _keep_labels(self, labels):
        self._labels, self._labels_known = labels, True

    def _reader(self):
        return _Reader(self.dataset, self._image_shape, self.dtype, self._order)

    def _load(self, batches):
        """Batches of (images, labels) by a DataLoader that leaves the global random state alone."""
        self._n_streams += 1
        reader = self._reader()
        loader = DataLoader(
            reader,
            batch_sampler=[self._index[rows].tolist() for rows in batches],
            collate_fn=reader.collate,
            num_workers=self.n_workers,
            generator=torch.Generator().manual_seed((torch.initial_seed() + self._n_streams) % 2**63),
        )
        iterator = iter(loader)
        try:
            yield from iterator
        finally:
            # After an error its traceback keeps the iterator alive, and a garbage collector that ends the
            # workers waits five seconds for each.
            if self.n_workers:
                iterator._shutdown_workers()


class _Reader(Dataset):
    """The dataset's items as arrays that are alike; at the top level of a module, as workers need it."""

    def __init__(self, dataset, shape, dtype, order):
        self.dataset, self.shape, self.dtype, self.order = dataset, shape, dtype, order

    def __getitem__(self, i):
        image, label = image_and_label(self.dataset[int(i)], i)
        return as_pixels(image, i, self.shape, self.dtype, self.order), as_label(label, i)

    def collate(self, items):
        """A batch; also of no items."""
        images = np.empty((len(items), *self.shape), dtype=self.dtype)
        for row, (image, _) in zip(images, items, strict=True):
            row[...] = image
        return torch.from_numpy(images), [label for _, label in items]


def _listed_labels(dataset):
    """Labels that the dataset has as a list and its items would show unchanged, or None."""
    if isinstance(dataset, Subset):
        labels = _listed_labels(dataset.dataset)
        return None if labels is None else labels[np.asarray(dataset.indices)]
    for name in ("targets", "labels"):
        labels = getattr(dataset, name, None)
        if labels is None or callable(labels) or getattr(dataset, "target_transform", None) is not None:
            continue
        labels = np.asarray(labels)
        if labels.shape == (len(dataset),):
            return labels
    return None

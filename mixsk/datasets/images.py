"""Sets of small images, read from the files that they are handed out in."""

import numpy as np

from mixsk.datasets._image_files import IMAGES
from mixsk.datasets._source import as_asked, read_parts


def load_images(name, *, subset="all", data_home=None, return_X_y=False):
    """Load a set of small labelled images: MNIST, Fashion-MNIST, CIFAR-10, CIFAR-100 or a part of one.

    Nothing is downloaded. The files, plain or as `.gz`, lie in a folder of yours, or in `images` or `NAME`
    below it. Of several forms the first that is there is read:

    - "mnist": `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte`,
      `t10k-labels-idx1-ubyte`, also in `MNIST/raw`; `mnist.npz`;
    - "fashion-mnist": the same, also in `FashionMNIST/raw`; `fashion_mnist.npz`;
    - "cifar-10": `data_batch_1` to `data_batch_5` and `test_batch`, also in `cifar-10-batches-py`; the same
      as `.bin`, also in `cifar-10-batches-bin`; the archives `cifar-10-python.tar.gz` and
      `cifar-10-binary.tar.gz`; `cifar10.npz`;
    - "cifar-100": `train` and `test`, also in `cifar-100-python`; the same as `.bin`, also in
      `cifar-100-binary`; the archives `cifar-100-python.tar.gz`, `cifar-100-binary.tar.gz`; `cifar100.npz`;
    - "mnist-small": `mnist_small.npz`; "fashion-mnist-sprite900": `fashion_mnist_sprite900.npz`;
      "cifar-10-jpeg-subset": `cifar10_jpeg_subset.npz`: smaller sets, cut out of the others.

    An npz file has the arrays X_train, y_train, X_test and y_test. Of a pickle nothing but arrays, bytes,
    texts, numbers, lists and dicts is taken: what else it asks for is refused and not run.

    Parameters
    ----------
    name : {"mnist", "fashion-mnist", "cifar-10", "cifar-100", "mnist-small", "fashion-mnist-sprite900", \
            "cifar-10-jpeg-subset"}
    subset : {"all", "train", "test"}, default="all"
        The rows to load: all, the training rows first, or those of one part of the official split. Only the
        files of what is asked for have to be there, and nothing else is read into memory.
    data_home : str, Path or None, default=None
        The folder. None: that of the environment variable MIXSK_DATA, or else `~/mixsk_data`.
    return_X_y : bool, default=False
        Return `(data, target)` alone.

    Returns
    -------
    images : Bunch
        - data : ndarray of shape (n_samples, 28, 28), or (n_samples, 32, 32, 3) of CIFAR, uint8;
        - target : ndarray of shape (n_samples,), int64, codes from 0; of CIFAR-100 the fine ones;
        - target_names : list of str, the class of each code;
        - subsets : dict of str to ndarray, the row numbers of each part of the official split that was
          loaded;
        - DESCR : str.

    Raises
    ------
    ValueError
        If there is no such set or subset, or a file is not what its name says.
    FileNotFoundError
        If the files are nowhere: the message says what was looked for, where, and who has it.

    Warns
    -----
    UserWarning
        If a file has not as many rows of each class as the set: it is incomplete, or of another set, as
        where the files of MNIST, which have the same names, lie in the place of Fashion-MNIST's.

    Examples
    --------
    >>> from mixsk.datasets import load_images
    >>> mnist = load_images("mnist")  # doctest: +SKIP
    >>> mnist.data.shape, mnist.target_names[mnist.target[0]]  # doctest: +SKIP
    ((70000, 28, 28), '5')
    >>> {part: len(rows) for part, rows in mnist.subsets.items()}  # doctest: +SKIP
    {'train': 60000, 'test': 10000}
    >>> load_images("mnist", data_home="nowhere")
    Traceback (most recent call last):
    ...
    FileNotFoundError: MNIST, train: found neither train-images-idx3-ubyte with train-labels-idx1-ubyte ...
    """
    source, parts = read_parts(IMAGES, "image set", name, subset, data_home)
    arrays = [images for images, _ in parts.values()]
    data = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
    return as_asked(source, parts, data, return_X_y)

"""Images in: arrays of every layout, rows of pixels, or a torch Dataset, as (n, channels, height, width)."""

from __future__ import annotations

import warnings
from numbers import Integral

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_array, check_is_fitted, validate_data
from torch.utils.data import Dataset

from mixsk.encoding.augment import Augment
from mixsk.encoding.image_input import open_images, to_container
from mixsk.encoding.image_layout import ImageLayout
from mixsk.encoding.image_rows import DatasetImages
from mixsk.encoding.pixels import Pixels, encode, encoded_dtype, measure

FAR = 1000.0  # pixels beyond are another unit, or a mark for what is missing


class ImageEncoder(TransformerMixin, BaseEstimator):
    r"""Bring images to shape (n, C, H, W) and find the mean and deviation of their channels.

    The pixels stay as they are, and small: uint8 remains uint8, in the memory of X, also in a file opened as
    `numpy.memmap`; ``layout_.prepare`` scales a batch when a network needs it. X may be

    - an array of shape (n, H, W), (n, H, W, C) or (n, C, H, W), a torch tensor, or a list of equal images:
      uint8, bool (then 0 and 1), other whole numbers from 0 to 255 (then uint8), or floats (then float32);
    - rows of pixels of shape (n, C H W), an array or a data frame, if `shape` is given;
    - a map-style `torch.utils.data.Dataset` of images or (image, label), read when they are needed. What it
      does at random is its own affair.

    Parameters
    ----------
    shape : (C, H, W), (H, W) or None, default=None
        Needed for rows of pixels only. One entry may be -1 and is found from the others.
    channels : {"auto", "first", "last"}, default="auto"
        Which axis of an image with three axes has the channels; "auto": the one with 1, 3 or 4 entries. Rows
        of pixels are in the order (C, H, W), with "last" in the order (H, W, C).
    normalise : bool or (mean, std), default=True
        True: networks see (x - mean) / std with the mean and the standard deviation of all training pixels
        of a channel. False: whole numbers from 0 to 255 are divided by 255, bool and floats are seen as they
        are. Or mean and std, each one number or one for each channel, of pixels from 0 to 1 where X is
        whole numbers from 0 to 255, else in units of X.
    augment : {"crop-flip"}, Augment or None, default=None
        What is done to training images at random, anew in each epoch. "crop-flip" is
        ``Augment(crop=4, flip=True)``; an `Augment` must do something.
    n_workers : int >= 0, default=0
        Processes that read a Dataset; 0: this one. Arrays and lists need none, whatever it says.

    Attributes
    ----------
    layout_ : ImageLayout
        Shape of an image, mean and std of the encoded pixels, and what training images go through.
    dtype_ : numpy.dtype
        Of the encoded training images: uint8 or float32.
    range_ : tuple of two float
        Smallest and largest encoded pixel in fit; where that needs no look at the pixels, those possible,
        and for a Dataset that of its first image.
    order_ : {"first", "last"}
        Where the channels were.
    n_features_in_ : int
        Only if X in fit was rows of pixels.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Only if X in fit was a data frame with string column names.

    See Also
    --------
    TextEncoder : Texts.
    DatasetImages : What a Dataset is turned into.

    Notes
    -----
    X is read about a million pixels at a time, so it may be larger than memory. Only types other than uint8,
    bool and float32 need a copy of it, in `transform`.

    Examples
    --------
    >>> images = np.array([[[0, 255], [255, 0]]], dtype=np.uint8)
    >>> encoder = ImageEncoder().fit(images)
    >>> encoder.layout_
    ImageLayout(shape=(1, 2, 2), mean=(127.5,), std=(127.5,), augment=None)
    >>> encoder.transform(images).shape
    (1, 1, 2, 2)
    """

    _parameter_constraints = {
        "shape": ["array-like", None],
        "channels": [StrOptions({"auto", "first", "last"})],
        "normalise": ["boolean", tuple, list],
        "augment": [StrOptions({"crop-flip"}), Augment, None],
        "n_workers": [Interval(Integral, 0, None, closed="left")],
    }

    def __init__(self, shape=None, channels="auto", normalise=True, augment=None, n_workers=0):
        self.shape = shape
        self.channels = channels
        self.normalise = normalise
        self.augment = augment
        self.n_workers = n_workers

    def set_params(self, **params):
        """Set parameters.

        `augment__crop=2` first replaces `augment=None` or `augment="crop-flip"` by its `Augment`.

        Parameters
        ----------
        **params : dict

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For an unknown parameter.
        """
        parts = {name: params[name] for name in params if name.startswith("augment__")}
        augment = params.get("augment", self.augment)
        if parts and not isinstance(augment, Augment):
            if augment is not None and augment != "crop-flip":
                raise ValueError(f"{min(parts)} has no effect: augment={augment!r} has no parameters.")
            made = _named(augment).set_params(**{name[len("augment__") :]: parts[name] for name in parts})
            params = {name: value for name, value in params.items() if name not in parts} | {"augment": made}
        return super().set_params(**params)

    def fit(self, X, y=None):
        """Learn the shape and scale of the training images.

        Parameters
        ----------
        X : array, list, torch.Tensor, data frame, torch Dataset or DatasetImages
            Images, see above.
        y : ignored

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If X is empty, a table and `shape` is None, of images of several sizes or with NaN or infinity; if
            the channels cannot be told; if a parameter is out of range or does not go with X.
        TypeError
            If X, or a row of it, is no image.

        Warns
        -----
        UserWarning
            For whole numbers outside 0 to 255 and floats beyond 1000 in absolute value.
        """
        self._learn(self._open(X, reset=True), keep=False)
        return self

    def fit_transform(self, X, y=None):
        """`fit`, then `transform`, with X opened only once; see there."""
        return self._learn(self._open(X, reset=True), keep=True)

    def transform(self, X):
        """Encode images.

        Parameters
        ----------
        X : array, list, torch.Tensor, data frame, torch Dataset or DatasetImages

        Returns
        -------
        ndarray of uint8 or float32 of shape (n, C, H, W), or DatasetImages
            A view of X where it has that type; lazy for a Dataset.

        Raises
        ------
        ValueError
            As in `fit`; if the images have other sides or channels than in fit.
        TypeError
            As in `fit`.

        Warns
        -----
        UserWarning
            As in `fit`, and if the pixels are on another scale than in fit.
        """
        check_is_fitted(self)
        images = self._open(X, reset=False)
        two_valued = _two_valued(images)
        dtype, extent = encoded_dtype(images)
        images = encode(images, dtype)
        if dtype == np.uint8 == self.dtype_ and self.range_[1] > 1 and not two_valued:
            return images  # 0 to 255 as in fit, which needs no look at the pixels
        seen = measure(_looked_at(images), dtype, moments=False)
        if extent is not None and dtype != np.uint8:
            if self.dtype_ == np.uint8:
                _warn_not_bytes(extent)
        else:
            self._check_scale(seen, dtype)
        return images

    def _open(self, X, reset):
        """X as images of shape (n, C, H, W), in the type that it has, or lazy."""
        if reset:
            self._validate_params()
            for name in ("n_features_in_", "feature_names_in_"):
                vars(self).pop(name, None)
        X = to_container(X)
        if self.shape is not None and len(getattr(X, "shape", ())) < 3 and not isinstance(X, Dataset):
            X = self._table(X, reset)
        images, order = open_images(
            X,
            shape=self.shape,
            channels=self.channels,
            n_workers=self.n_workers,
            fitted=None if reset else (self.layout_.shape, self.order_),
        )
        if reset:
            self.order_ = order
        return images

    def _table(self, X, reset):
        """Rows of pixels as an array, with scikit-learn's checks of rows and columns."""
        known = reset or hasattr(self, "n_features_in_")
        if not known:
            return check_array(X, dtype="numeric", ensure_all_finite=False)
        checked = validate_data(self, X, reset=reset, dtype="numeric", ensure_all_finite=False)
        # A memory-mapped file stays one.
        return X if isinstance(X, np.ndarray) and X.dtype == checked.dtype else checked

    def _learn(self, images, keep):
        """Find scale and type; return the encoded images if they are to be kept."""
        shape = images.shape[1:]
        dtype, extent = encoded_dtype(images)
        self._dtype_name = dtype.name  # a name is data, which a pickle of any kind may hold
        unit = 255.0 if self.dtype_ == np.uint8 and not _two_valued(images) else 1.0
        augment = self._checked_augment(shape)
        if keep:
            images = encode(images, self.dtype_)
        if not isinstance(self.normalise, (tuple, list)) and self.normalise:
            seen = measure(images, self.dtype_, moments=True)
            mean, std = seen.mean, seen.std
        else:
            mean, std = self._given_scale(shape[0], unit)
            if self.dtype_ == np.uint8:
                seen = Pixels(0.0, unit, None, None)
            else:
                seen = measure(_looked_at(images), self.dtype_, moments=False)
        if self.dtype_ != np.uint8:
            if extent is not None:
                _warn_not_bytes(extent)
            elif seen.largest > FAR:
                _warn_far(seen)
        self.range_ = (seen.low, seen.high)
        if seen.low < 0 or seen.high > 1:
            reach = 255.0 if self.dtype_ == np.uint8 else seen.high - seen.low
        else:
            reach = 1.0
        # Images that are all of one number have no reach of their own.
        self.layout_ = ImageLayout(shape=shape, mean=mean, std=std, augment=augment, unit=reach or 1.0)
        return images

    def _checked_augment(self, shape):
        """The object for `augment`, a copy, so that later changes to it do not change this fit."""
        if self.augment is None:
            return None
        augment = clone(self.augment) if isinstance(self.augment, Augment) else _named(self.augment)
        augment.check()
        if augment == Augment():
            raise ValueError(
                "augment=Augment() changes nothing: set its crop, flip or rotation, or augment=None."
            )
        side = min(shape[1:])
        if augment.crop >= side:
            raise ValueError(
                f"augment={self.augment!r} moves images by up to {augment.crop} pixels, but they have "
                f"{shape[1]} x {shape[2]}: nothing may be left of one. Use Augment(crop=...) below {side}."
            )
        return augment

    def _given_scale(self, n_channels, unit):
        """Mean and std of the encoded pixels where `normalise` says them."""
        given = self.normalise if isinstance(self.normalise, (tuple, list)) else (0.0, 1.0)
        try:
            scale = [np.broadcast_to(np.asarray(v, dtype=float), (n_channels,)) * unit for v in given]
        except (TypeError, ValueError):
            scale = []
        if len(scale) != 2 or not np.isfinite(scale).all() or not (scale[1] > 0).all():
            raise ValueError(
                f"normalise must be True, False or (mean, std), each one finite number or one for each of "
                f"the {n_channels} channels, std > 0, got {self.normalise!r}."
            )
        return tuple(tuple(values.tolist()) for values in scale)

    def _check_scale(self, seen, dtype):
        """Warn if pixels are clearly on another scale than those of fit."""
        fitted = max(map(abs, self.range_))
        if fitted <= 1 and seen.largest > 2:
            remedy = "Divide it by 255" if dtype == np.uint8 else "Scale it as for fit"
        elif self.dtype_ == np.uint8 and fitted > 1 and seen.largest <= 1:
            remedy = "Pass whole numbers from 0 to 255, or multiply it by 255"
        elif fitted > 100 and 0 < seen.largest <= 1:  # floats of bytes, and of bytes over 255
            remedy = "Multiply it by 255, or scale it as for fit"
        elif seen.largest > 20 * fitted > 0:  # such as bytes where fit had standardised numbers
            remedy = "Scale it as for fit"
        elif seen.largest > FAR >= fitted:
            _warn_far(seen)
            return
        else:
            return
        warnings.warn(
            f"X has pixels up to {seen.largest:g}, but those of fit were up to {fitted:g}: another scale. "
            f"{remedy}.",
            UserWarning,
            stacklevel=3,
        )

    @property
    def dtype_(self):
        """Of the encoded training images."""
        return np.dtype(self._dtype_name)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = self.shape is not None
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags


def _named(augment):
    """A new object for "crop-flip" or for None, which does nothing yet."""
    return Augment() if augment is None else Augment(crop=4, flip=True)


def _two_valued(images):
    """Whether images are of bool, which are encoded as bytes of 0 and 1."""
    return images.two_valued if isinstance(images, DatasetImages) else images.dtype == bool


def _looked_at(images):
    """What is checked where not every pixel has to be read: the first item of a Dataset."""
    return images.subset(np.arange(1)) if isinstance(images, DatasetImages) else images


def _warn_not_bytes(extent):
    warnings.warn(
        f"X has whole numbers from {extent[0]} to {extent[1]}, outside 0 to 255, and is taken as float32. If "
        "these are right, pass floats, such as X / X.max(); else repair them.",
        UserWarning,
        stacklevel=4,
    )


def _warn_far(seen):
    warnings.warn(
        f"X has pixels from {seen.low:g} to {seen.high:g}. If that is their unit, divide by it, for example "
        f"X / {seen.largest:g}; if such numbers stand for missing pixels, replace them.",
        UserWarning,
        stacklevel=4,
    )

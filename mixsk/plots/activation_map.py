"""ActivationMapDisplay: where in an image a network sees a class.

Source: Zhou et al., "Learning Deep Features for Discriminative Localization" (CVPR 2016), which the LaMix
paper's section 3.1.7 and Figure 7 use; for networks of another form Selvaraju et al., "Grad-CAM: Visual
Explanations from Deep Networks via Gradient-based Localization" (ICCV 2017).
NOTE[DIFF]: Grad-CAM's maps are kept with their sign here, so that both kinds agree; drawn is what is above 0.
"""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from mixsk.backbones import StackedLinear, name_of
from mixsk.classifiers._data import encode_labels
from mixsk.engine import Part
from mixsk.plots._drawing import pyplot
from mixsk.plots._images import check_of_images, draw_image, in_pixels, pixel_range, shorten

METHODS = ("auto", "cam", "grad-cam")
INCHES = 1.3  # of an image
BRIGHTNESS = 0.6  # of an image under a map


class ActivationMapDisplay:
    """Class activation maps over images: how much each place speaks for a class.

    Use `from_estimator`. With A_k(place) the channels of the last convolutional features, the map of class c
    is sum_k a_k A_k(place), bilinearly enlarged to the image's size:

    - "cam", where the network averages A over all places and a linear head follows: a_k are the head's
      weights of class c. The mean over the places, plus the head's bias, is the score of c;
    - "grad-cam", any other network: a_k is the mean over the places of the slope of c's score in A_k(place).

    Of a network that averages, Grad-CAM's map is CAM's divided by the number of places.

    Parameters
    ----------
    images : array-like of shape (n, C, H, W)
        In units of the encoded pixels.
    maps : array-like of shape (n, H, W)
        Above 0 what speaks for the class, below 0 what speaks against it.
    labels : array-like of shape (n,)
        The class of each map.
    proba : array-like of shape (n,)
        Its probability.
    method : {"cam", "grad-cam"}, default="cam"
        What the maps are.
    limits : (float, float), default=(0, 255)
        Pixels that are drawn black and white.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes of shape (n,)
        One for each image.
    figure_ : matplotlib Figure or SubFigure
        Their figure.
    maps_ : list of matplotlib AxesImage
        The maps as drawn.

    Notes
    -----
    A map is as coarse as the features: residual networks have 4 x 4 places of an image of 32 x 32 pixels.
    Each map is drawn from 0 to its own largest value: maps of two networks compare in form, not in strength.

    References
    ----------
    Zhou, Khosla, Lapedriza, Oliva, Torralba: "Learning Deep Features for Discriminative Localization", CVPR
    2016. Selvaraju et al.: "Grad-CAM", ICCV 2017.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from mixsk import MixupClassifier
    >>> from mixsk.plots import ActivationMapDisplay
    >>> digits = load_digits()
    >>> X, y = digits.images[:200].repeat(2, 1).repeat(2, 2), digits.target[:200]
    >>> clf = MixupClassifier(module="lenet", max_epochs=1, random_state=0).fit(X, y)
    >>> display = ActivationMapDisplay.from_estimator(clf, X[:4])
    >>> display.method, display.maps.shape
    ('grad-cam', (4, 16, 16))
    """

    def __init__(
        self,
        images: Any,
        maps: Any,
        labels: Any,
        proba: Any,
        method: str = "cam",
        limits: tuple[float, float] = (0, 255),
    ) -> None:
        self.images = images
        self.maps = maps
        self.labels = labels
        self.proba = proba
        self.method = method
        self.limits = limits

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        labels: Any = None,
        n_images: int | None = 8,
        method: str = "auto",
        axes: Any = None,
        **kwargs: Any,
    ) -> ActivationMapDisplay:
        """Draw where a fitted classifier sees a class in the first of the images X.

        Parameters
        ----------
        estimator : classifier of mixsk
            Fitted to images, with a network that has convolutions.
        X : array-like of images, or torch Dataset
            What `estimator.predict` takes.
        labels : a class label, array-like of shape (n_samples,) or None, default=None
            The class to look for, one for all images or one for each of X. None: the predicted one.
        n_images : int or None, default=8
            The most images that are drawn, >= 1, from the first. None: all.
        method : {"auto", "cam", "grad-cam"}, default="auto"
            "auto": "cam" where the network averages its last features and a linear head follows, else
            "grad-cam"; `display.method` says which.
        axes : array-like of n_images matplotlib Axes or None, default=None
            Where to draw; None makes a figure of one row.
        **kwargs : dict
            Further arguments of `plot`.

        Returns
        -------
        ActivationMapDisplay

        Raises
        ------
        ImportError
            Without matplotlib.
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        ValueError
            If the estimator is not of mixsk, not fitted to images, or its network has no convolution; if
            "cam" is asked of a network that does not average; for labels that it does not know.
        """
        pyplot(cls.__name__)  # before the work
        check_of_images(estimator, cls.__name__, "Tables and texts have no places.")
        if method not in METHODS:
            raise ValueError(f"method must be one of {METHODS}. Got {method!r}.")
        whole = isinstance(n_images, Integral) and not isinstance(n_images, bool)
        if n_images is not None and not (whole and n_images >= 1):
            raise ValueError(f"n_images must be an int >= 1 or None. Got {n_images!r}.")
        X = estimator._opened(X)
        first = slice(n_images)
        given = _given(labels, len(X))
        X = X.subset(np.arange(len(X))[first]) if hasattr(X, "subset") else X[first]
        n_rows = len(X)
        device = next(estimator.net_.module_.parameters()).device
        encoded = estimator._encode(X)
        rows = estimator._rows(encoded, np.zeros(n_rows, np.int64), None, device)
        part = Part(rows, np.arange(n_rows))
        log_p = estimator._log_proba(X).numpy()
        codes = log_p.argmax(axis=1)
        if given is not None:
            codes = encode_labels(given[first], estimator.classes_, "labels")
        maps, found = _maps(estimator, part, codes, method)
        x = torch.cat([x[0] for x, _, _ in estimator.net_._in_order(part)])
        images = in_pixels(x.cpu(), estimator.encoder_.layout_)
        proba = np.exp(log_p[np.arange(n_rows), codes])
        limits = pixel_range(estimator, images)
        return cls(images, maps, estimator.classes_[codes], proba, found, limits).plot(axes, **kwargs)

    def plot(
        self, axes: Any = None, *, alpha: float = 0.8, cmap: Any = "inferno", titles: bool = True
    ) -> Any:
        """Draw.

        Parameters
        ----------
        axes : array-like of n matplotlib Axes or None, default=None
            Where to draw; None makes a figure of one row.
        alpha : float, default=0.8
            How much of the image the largest value of a map covers, in [0, 1]; smaller values cover less. 0
            draws the images alone, in their own colours.
        cmap : str or matplotlib Colormap, default="inferno"
            Colours of the map, from 0 to its largest value.
        titles : bool, default=True
            Whether to write each map's class and its probability.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If there are not as many axes as images.
        """
        plt = pyplot(type(self).__name__)
        images, maps = np.asarray(self.images), np.asarray(self.maps)
        if axes is None:
            size = (INCHES * len(images) + 0.2, INCHES + 0.4)
            _, axes = plt.subplots(1, len(images), figsize=size, squeeze=False, layout="constrained")
        self.axes_ = np.asarray(axes, dtype=object).ravel()
        if len(self.axes_) != len(images):
            raise ValueError(f"axes must be as many as images, {len(images)}. Got {len(self.axes_)}.")
        self.figure_, self.maps_ = self.axes_[0].figure, []
        for ax, image, each, label, p in zip(self.axes_, images, maps, self.labels, self.proba, strict=True):
            low, high = self.limits
            if alpha:  # in grey and dim: the colours and the light are the map's
                image, high = image[:3].mean(axis=0, keepdims=True), low + (high - low) / BRIGHTNESS
            draw_image(ax, image, (low, high))
            top = max(float(each.max()), np.finfo(np.float32).tiny)
            seen = (each / top).clip(0)
            self.maps_.append(ax.imshow(seen, cmap=cmap, alpha=alpha * seen, vmin=0, vmax=1))
            if titles:
                ax.set_title(f"{shorten(label)} {p:.2f}", fontsize="small", pad=3)
        return self


def _given(labels: Any, n_rows: int) -> np.ndarray | None:
    """The class that is looked for in each image, if the user says so."""
    if labels is None:
        return None
    given = np.atleast_1d(np.asarray(labels))
    if given.ndim != 1 or len(given) not in (1, n_rows):
        raise ValueError(
            f"labels must be one class label, or one for each of the {n_rows} images of X. Got an array of "
            f"shape {given.shape}."
        )
    return np.resize(given, n_rows)


def _maps(estimator: Any, part: Part, codes: np.ndarray, method: str) -> tuple[np.ndarray, str]:
    """Enlarged maps (n, H, W), and the method that they are of."""
    net, found = estimator.net_.module_, []
    shape, start = part.rows.X.shape[-2:], 0
    net.eval()
    with estimator._threads(), torch.enable_grad():
        for x, _, _ in estimator.net_._in_order(part):
            code = torch.as_tensor(codes[start : start + x.shape[1]], device=x.device)
            start += x.shape[1]
            features, logits = _last_features(net, x.clone().requires_grad_(), estimator)
            weights = None if method == "grad-cam" else _head_weights(net, features, logits)
            if weights is None:
                if method == "cam":
                    raise ValueError(
                        "method='cam' needs a network that averages its last features over all places, under "
                        f"a linear head, and module={name_of(estimator.module)} does not. Use "
                        "method='grad-cam'."
                    )
                chosen = logits.gather(1, code.unsqueeze(1)).sum()  # each row's own slope
                (slope,) = torch.autograd.grad(chosen, features)
                a = slope.mean((2, 3))
            else:
                a = weights[code]
            coarse = torch.einsum("bk,bkhw->bhw", a, features).detach().unsqueeze(1)
            found.append(interpolate(coarse, tuple(shape), mode="bilinear", align_corners=False)[:, 0].cpu())
    maps: np.ndarray = torch.cat(found).numpy()
    return maps, "grad-cam" if weights is None else "cam"


def _last_features(net: nn.Module, x: Tensor, estimator: Any) -> tuple[Tensor, Tensor]:
    """What the last convolution and the parts behind it make of images, (B, K, h, w), and logits (B, C).

    Of the same size as that convolution's: a normalisation, an activation, a residual sum, but no pooling.
    Where an activation comes behind a pooling, or is a function, which no hook sees, it is done before: it is
    found by trying whether the logits stay.
    """
    outputs, logits = _outputs(net, x)
    last = max((k for k, (module, _) in enumerate(outputs) if isinstance(module, nn.Conv2d)), default=None)
    if last is None:
        raise ValueError(
            f"The maps are of what convolutions find, and module={name_of(estimator.module)} has no "
            "nn.Conv2d. Use a network such as module='lenet' or 'resnet18'."
        )
    size = outputs[last][1].shape[-2:]
    alike = (output.shape[-2:] == size and output.shape[0] == x.shape[1] for _, output in outputs[last:])
    place = max(k for k, same in enumerate(alike, last) if same)
    features = outputs[place][1]
    if bool((features < 0).any()):
        rectified, again = _outputs(net, x, place)
        if torch.allclose(logits, again, rtol=1e-5, atol=1e-5 * float(logits.detach().abs().max())):
            return rectified[place][1], again
    return features, logits


def _outputs(
    net: nn.Module, x: Tensor, rectified: int | None = None
) -> tuple[list[tuple[nn.Module, Tensor]], Tensor]:
    """What each module makes of images, (B, K, h, w), in order, and logits; one of these cut off at 0."""
    outputs: list[tuple[nn.Module, Tensor]] = []

    def note(module: nn.Module, given: Any, output: Any) -> Any:
        if not (isinstance(output, Tensor) and output.ndim == 4):
            return None
        changed = output.relu() if len(outputs) == rectified else output
        outputs.append((module, changed))
        return changed

    hooks = [module.register_forward_hook(note) for module in net.modules()]
    try:
        logits: Tensor = net(x)[0]
    finally:
        for hook in hooks:
            hook.remove()
    return outputs, logits


def _head_weights(net: nn.Module, features: Tensor, logits: Tensor) -> Tensor | None:
    """The head's weights (C, K) if the logits are a linear function of the features' means; else None.

    Found by trying: networks say in many ways that they average.
    """
    head = [part for part in getattr(net, "head", nn.Identity()).modules() if not list(part.children())]
    linear = [part for part in head if not isinstance(part, (nn.Dropout, nn.Identity, nn.Flatten))]
    if len(linear) != 1 or not isinstance(linear[0], (StackedLinear, nn.Linear)):
        return None
    weight = linear[0].weight
    if isinstance(linear[0], StackedLinear):
        weight = weight[0] if linear[0].narrow else weight[0].T
    if weight.shape[1] != features.shape[1]:
        return None
    bias = 0 if linear[0].bias is None else linear[0].bias.flatten()
    averaged = features.mean((2, 3)) @ weight.T + bias
    scale = logits.abs().max().clamp_min(1)
    return weight if bool(((averaged - logits).abs() < 1e-3 * scale).all()) else None

"""From the user's X, y and weights to encoded rows: all that happens before a net is trained."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from scipy.sparse import issparse
from sklearn.base import clone
from sklearn.utils import _safe_indexing, check_array, check_random_state
from sklearn.utils.validation import _num_samples
from torch.utils.data import Dataset

from mixsk.backbones import Backbone, name_of
from mixsk.classifiers._data import (
    check_labels,
    check_lengths,
    check_weights,
    class_weights,
    encode_labels,
    validation_split,
)
from mixsk.classifiers._holdout import rows_at
from mixsk.classifiers._settings import reads, usual
from mixsk.classifiers._table import ENCODERS, OF_INPUTS
from mixsk.encoding import (
    DatasetImages,
    ImageEncoder,
    Layout,
    PassthroughEncoder,
    TextEncoder,
    check_image_type,
    check_table_type,
    check_text_type,
    open_images,
)
from mixsk.encoding.image_items import is_item
from mixsk.engine import Part
from mixsk.rules import INPUTS, Rows, State

# Streams of random numbers, each with its own seed.
WEIGHTS, ORDER, DRAWS, DROPOUT, SPLIT, CHOICE, FOLD_SEEDS, AUGMENT = range(8)

OUR_ENCODERS = {*ENCODERS.values(), *OF_INPUTS.values()}  # what they give needs no check
MODULES = {
    "text": "'textcnn', 'bilstm' or 'transformer'",
    "image": "'lenet', 'resnet18' or another of images",
}


class Preparation:
    """Mixin: checks, classes, seeds, encoding, validation rows and label weights."""

    # Parameters and fitted attributes of the classifier.
    module: Any
    encoder: Any
    encoder_: Any
    _n_models: int
    classes_: np.ndarray
    _dtype_name: str  # of the network, as fitted

    @property
    def _dtype(self) -> torch.dtype:
        return getattr(torch, self._dtype_name)

    def _check_rows(
        self, X: Any, y: Any, sample_weight: Any, first: bool = True
    ) -> tuple[Any, np.ndarray, np.ndarray | None]:
        """X, labels and weights of the rows that have weight; weights in units of their first mean."""
        owner = type(self).__name__
        kind = self._kind(X)
        if isinstance(X, Dataset) and kind != "image":  # before labels are missed, which it may hold
            self._new_encoder(X)
        if kind == "table":
            check_table_type(X)
        elif kind == "image":
            X, y = self._open_images(X, y)
        elif not issparse(X):
            check_text_type(X)
        y = check_labels(y, owner)
        check_lengths(X, y)
        w = check_weights(sample_weight, X, owner)
        if w is not None and not w.all():
            kept = np.flatnonzero(w)
            X = X.subset(kept) if isinstance(X, DatasetImages) else _safe_indexing(_sliceable(X), kept)
            y, w = y[kept], w[kept]
        if first:
            self._weight_unit = 1.0 if w is None else float(w.mean())
        if w is not None or self._weight_unit != 1:
            w = (np.ones(len(y)) if w is None else w) / self._weight_unit
        return X, y, None if w is None or (w == 1).all() else w

    def _set_classes(self, classes: np.ndarray) -> None:
        if len(classes) < 2:
            raise ValueError(
                f"Classifier can't train when only one class is present: every row of y is "
                f"{classes.tolist()[0]!r}. {type(self).__name__} needs at least 2 classes."
            )
        self.classes_ = classes

    def _check_incremental(self) -> None:
        """Raise ValueError for what partial_fit cannot do."""
        if hasattr(self._label(), "phases"):
            raise ValueError(
                f"label={self._label()!r} trains in phases, for which partial_fit has no epochs. Use fit."
            )
        for name, idle, why in (
            ("class_weight", self.class_weight == "balanced", "counts all rows"),
            ("calibrate", self._calibrates(1), "holds rows out"),
            ("n_cv", self._settled_n_cv(None) > 1, "cuts all rows into folds"),
            ("schedule", self.schedule not in (None, "auto"), "needs the number of epochs"),
            ("mix_off", self.mix_off > 0, "needs the number of epochs"),
            ("drop_intrusions", self.drop_intrusions is True, "compares with all training rows"),
        ):
            if idle:
                raise ValueError(
                    f"{name}={getattr(self, name)!r} {why}, which partial_fit never sees. Use fit, or leave "
                    f"{name} at its default."
                )

    def _start_streams(self) -> None:
        """Seed of this estimator's own streams; call k of fit or partial_fit spawns from (seed, k)."""
        # random_state=None must not advance numpy's global state, which is not ours to touch.
        if self.random_state is None:
            self._seed = int(np.random.SeedSequence().entropy) % 2**63
        else:
            self._seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        self._calls = 0
        self._steps = 0

    def _streams(self, kind: int) -> list[np.random.SeedSequence]:
        """Seeds of one stream of this call, one for each network, the first of which is that of a lone one.

        Each kind has its own: changing alpha does not change the initial weights.
        """
        keys = [(self._calls, kind, *((member,) if member else ())) for member in range(self._n_models)]
        return [np.random.SeedSequence(self._seed, spawn_key=key) for key in keys]

    def _kind(self, X: Any = None) -> str:
        """What X is to be: "table", "text" or "image"; a network of the user's own sees images as such."""
        if not isinstance(self.encoder, str):
            return next((kind for kind, cls in OF_INPUTS.items() if isinstance(self.encoder, cls)), "table")
        if self.encoder != "auto":
            return "table"
        kind = self._reads()
        return "image" if kind == "table" and self._open_minded() and is_image(X) else kind

    def _reads(self) -> str:
        """What the network reads, and so what "auto" encodes: "table", "text" or "image"."""
        return reads(self.module)

    def _open_minded(self) -> bool:
        """Whether the network is one of the user's that does not say what it reads."""
        module = getattr(self, "module", "")
        own = not isinstance(module, str)
        return own and not (
            isinstance(module, Backbone) or (isinstance(module, type) and issubclass(module, Backbone))
        )

    def _named_encoder(self, kind: str) -> Any:
        """The encoder that `encoder="auto"` or another name stands for."""
        return self._own_encoder(kind) if self.encoder == "auto" else ENCODERS[self.encoder]()

    def _new_encoder(self, X: Any) -> Any:
        """An encoder for X that is not fitted; ValueError if the network or X is for another one."""
        kind = self._kind(X)
        encoder = self._named_encoder(kind) if isinstance(self.encoder, str) else clone(self.encoder)
        if type(encoder) in OUR_ENCODERS:  # of others it is not known before they are fitted
            self._check_kind(kind)
        self._check_form(X, encoder)
        return encoder

    def _own_encoder(self, kind: str) -> Any:
        """The encoder of inputs that are "table", "text" or "image"."""
        name = getattr(self, "module__name_or_path", None)
        if kind != "text" or name is None:
            return OF_INPUTS[kind]()
        encoder = TextEncoder(tokenizer=name)  # a pretrained network knows words of its own
        encoder._given_as = "module__name_or_path"
        return encoder

    def _opened(self, X: Any) -> Any:
        """Images, a data set of them as `DatasetImages`."""
        check_image_type(X)
        if not isinstance(X, Dataset):
            return X
        known = isinstance(self.encoder, ImageEncoder)
        own = {name: getattr(self.encoder, name) for name in ("channels", "n_workers") if known}
        return open_images(X, **own)[0]

    def _open_images(self, X: Any, y: Any, name: str = "y") -> tuple[Any, Any]:
        """Images and labels, which errors call `name`; a data set may hold both."""
        X = self._opened(X)
        if isinstance(X, DatasetImages) and y is None:
            y = X.labels
            if y is None:
                raise ValueError(
                    f"The items of the dataset are images without labels, and {name} is None: return "
                    f"(image, label), or pass {name}."
                )
        return X, y

    def _check_kind(self, kind: str) -> None:
        """Raise ValueError if the encoder gives something else than the network reads."""
        module, own = getattr(self, "module", type(self).__name__), self._reads()
        if own not in (kind, "table"):
            raise ValueError(
                f"module={name_of(module)} reads {INPUTS[own]}, which encoder={self.encoder!r} does not "
                f"give. Use encoder='auto', or a mixsk.encoding.{OF_INPUTS[own].__name__}."
            )
        # A network of the user's own may read images, or look codes up itself: what is not mixed.
        if own == kind or (self._open_minded() and (kind == "image" or self.mix is None)):
            return
        raise ValueError(
            f"encoder={self.encoder!r} gives {INPUTS[kind]}, and {name_of(module)} "
            + ("does arithmetic with its inputs. " if kind == "text" else "reads tables. ")
            + f"Use {self._networks_of(kind)}, or encoder='auto'."
        )

    def _networks_of(self, kind: str) -> str:
        """The networks of texts or images, as an error tells of them."""
        return ("" if hasattr(self, "module") else "MixupClassifier with ") + f"module={MODULES[kind]}"

    def _check_form(self, X: Any, encoder: Any) -> None:
        """Raise ValueError for images or texts where one of our encoders awaits something else."""
        kind = next((kind for kind, cls in OF_INPUTS.items() if type(encoder) is cls), "table")
        if type(encoder) not in OUR_ENCODERS or kind == "image":
            return
        if isinstance(X, Dataset):
            given, what, instead = "image", "X is a torch Dataset, which is read as images", ""
        elif is_image(X):
            rows = ", or rows of numbers, X.reshape(len(X), -1)" if kind == "table" else ""
            given, what, instead = "image", "X has the form of images", rows
        elif kind == "table" and is_text(X):
            column = "; for one column of categories, pd.DataFrame({'column': X})"
            given, what, instead = "text", "X holds texts", column
        else:
            return
        owner = f"module={name_of(self.module)}" if hasattr(self, "module") else type(self).__name__
        raise ValueError(
            f"{what}, but {owner} reads {INPUTS[kind]}. Use {self._networks_of(given)}{instead}."
        )

    def _check_tokens(self) -> None:
        """Raise ValueError if a pretrained network is to meet codes that its own tokeniser did not make."""
        name = getattr(self, "module__name_or_path", None)
        if name is not None and isinstance(self.encoder_, TextEncoder) and self.encoder_.tokenizer_ is None:
            raise ValueError(
                f"The codes of encoder={self.encoder!r} are not the tokens that the network in "
                f"module__name_or_path={str(name)!r} knows. Use encoder='auto', or "
                f"TextEncoder(tokenizer={str(name)!r})."
            )

    def _encode(self, X: Any, y: np.ndarray | None = None, train: np.ndarray | None = None) -> np.ndarray:
        """Encoded rows; labels y mean that the encoder is fitted first, texts to the rows `train`.

        Words of other rows would have vectors that nothing trains. Columns and pixels are described by all
        rows: what kind a column is may show in one row only, and images may lie in a file.
        """
        if y is not None:
            self.encoder_ = self._new_encoder(X)
            if train is not None and self._kind(X) == "text":
                encoded = self.encoder_.fit(rows_at(_sliceable(X), train), y[train]).transform(X)
            elif hasattr(self.encoder_, "fit_transform"):
                encoded = self.encoder_.fit_transform(X, y)
            else:
                encoded = self.encoder_.fit(X, y).transform(X)
            for name in ("n_features_in_", "feature_names_in_"):
                if hasattr(self.encoder_, name):
                    setattr(self, name, getattr(self.encoder_, name))
                elif hasattr(self, name):
                    delattr(self, name)
        else:
            self._check_form(X, self.encoder_)
            encoded = self.encoder_.transform(X)
        kind = self._encoded_kind()
        if y is not None:
            self._check_kind(kind)
            self._check_tokens()
        if kind == "image":
            return encoded
        if type(self.encoder_) not in OUR_ENCODERS:
            dtype = np.int64 if kind == "text" else [np.float32, np.float64]
            encoded = check_array(encoded, dtype=dtype, input_name="the encoder's output")
            if len(encoded) != _num_samples(X):
                raise ValueError(
                    f"encoder={self.encoder!r} returned {len(encoded)} rows for {_num_samples(X)}. It must "
                    "keep every row."
                )
        return np.require(encoded, requirements="W")

    def _encoded_kind(self) -> str:
        """What the fitted encoder gives: "table", "text" or "image"."""
        return str(getattr(getattr(self.encoder_, "layout_", None), "reads", "table"))

    def _rows(self, encoded: Any, codes: np.ndarray, w: np.ndarray | None, device: torch.device) -> Rows:
        layout = getattr(self.encoder_, "layout_", None)
        kind = self._encoded_kind()
        if kind == "image":
            X = _stored(encoded, device)
        else:
            X = torch.as_tensor(encoded, dtype=None if kind == "text" else self._dtype).to(device)
        if (
            kind == "table"
            and encoded.dtype == np.float64
            and self._dtype == torch.float32
            and not X.isfinite().all()
        ):
            raise ValueError(
                f"Encoded values reach {np.abs(encoded).max():.3g}, which dtype='float32' cannot hold. Scale "
                "the columns, use encoder='auto', or dtype='float64'."
            )
        weights = None if w is None else torch.as_tensor(w, dtype=self._dtype, device=device)
        labels = torch.as_tensor(codes, device=device)
        if kind != "table":
            lengths = np.count_nonzero(encoded, axis=1) if kind == "text" else None
            return Rows(X, labels, weights, len(self.classes_), layout, self._dtype, lengths)
        return Rows(X, labels, weights, len(self.classes_), layout or Layout.of_numbers(X.shape[1]))

    def _held_out(self, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """Rows to train on and rows held out for early stopping; None if there is none."""
        stop = self.early_stopping
        if stop == "auto":
            least = usual(self.module).stop_from
            stop = least is not None and len(codes) >= least
        if not stop:
            return None
        # The same rows at every call: after a warm start, too, they have not been trained on.
        rng = np.random.default_rng(np.random.SeedSequence(self._seed, spawn_key=(0, SPLIT)))
        train, valid = validation_split(codes, self.validation_fraction, rng)
        if valid is None:
            raise ValueError(
                "early_stopping=True needs a class with at least two rows to hold one out. Set "
                "early_stopping=False, or pass X_val and y_val."
            )
        return train, valid

    def _given_validation(self, X_val: Any, y_val: Any, sample_weight_val: Any, device: torch.device) -> Part:
        """The user's own validation rows."""
        if self._encoded_kind() == "image":
            X_val, y_val = self._open_images(X_val, y_val, "y_val")
        if y_val is None:
            raise ValueError("X_val needs y_val: pass the labels of the validation rows.")
        y_val = check_labels(y_val, type(self).__name__)
        check_lengths(X_val, y_val)
        w = check_weights(sample_weight_val, X_val, type(self).__name__)
        codes = encode_labels(y_val, self.classes_, "y_val")
        return Part(self._rows(self._encode(X_val), codes, w, device), np.arange(len(codes)))

    def _weigh(self, train: Part, valid: Part | None = None, first: bool = True) -> State:
        """Scale sample weights, and label weights, to mean 1 over the training rows; count the classes.

        With `first=False` the scales of the first call stay: chunks of `partial_fit` keep their weight.
        """
        rows = train.rows
        y = rows.y[train.index].cpu().numpy()
        w = np.ones(len(y)) if rows.w is None else rows.w[train.index].double().cpu().numpy()
        if first:
            self._weight_scale = float(w.mean())
        w = w / self._weight_scale
        per_class = class_weights(self.class_weight, y, w, self.classes_)
        if per_class is not None:
            if first:
                self._class_scale = float(np.mean(w * per_class[y]))
            per_class = per_class / self._class_scale
            if valid is not None and not per_class[valid.rows.y[valid.index].cpu()].any():
                raise ValueError(
                    f"class_weight={self.class_weight} leaves no validation row any weight. Give a class of "
                    "the validation rows a weight, or set early_stopping=False."
                )
        if rows.w is not None:
            rows.w = rows.w / self._weight_scale
        counts = torch.as_tensor(np.bincount(y, w, minlength=rows.n_classes), device=rows.device)
        weight = None if per_class is None else torch.as_tensor(per_class).to(rows.device, rows.dtype)
        return State(counts, weight, weighted=rows.w is not None or weight is not None)

    def _warn_constant(self, encoded: np.ndarray) -> None:
        """A number that does not vary in partial_fit's first chunk is 0 for ever after."""
        layout = getattr(self.encoder_, "layout_", None)
        if not isinstance(layout, Layout) or type(self.encoder_) is PassthroughEncoder or len(encoded) == 0:
            return
        numbers = encoded[:, layout.numeric]
        constant = layout.column[layout.numeric[(numbers == numbers[0]).all(0)]]
        if len(constant):
            names = getattr(self, "feature_names_in_", np.arange(self.n_features_in_))[constant].tolist()
            warnings.warn(
                f"Columns {names[:10]} do not vary in the first chunk, on which partial_fit fits its "
                "encoder, so they will have no effect. Pass a larger first chunk, or rows that are "
                "encoded already with encoder='passthrough'.",
                stacklevel=3,
            )


def is_image(X: Any) -> bool:
    """Whether X has the form of images: an array of three or four axes, or a data set of torch's."""
    if isinstance(X, list):  # what scikit-learn makes of a data set when it splits it
        return len(X) > 0 and all(map(is_item, X))
    return isinstance(X, Dataset | DatasetImages) or getattr(X, "ndim", 0) in (3, 4)


def is_text(X: Any) -> bool:
    """Whether X has the form of texts: a list, an array or a Series of strings, among which some may miss."""
    one_axis = isinstance(X, list | tuple) or len(getattr(X, "shape", ())) == 1
    return one_axis and any(isinstance(row, str) for row in X)


def _sliceable(X: Any) -> Any:
    return X.tocsr() if issparse(X) else X


def _stored(encoded: Any, device: torch.device) -> Any:
    """Pixels as they are kept: on the device, but for those that lie in a file or a data set."""
    if isinstance(encoded, DatasetImages):
        return encoded
    in_file = _lies_in_a_file(encoded)
    if any(stride < 0 for stride in encoded.strides):  # a mirrored view, which torch does not know
        encoded, in_file = np.ascontiguousarray(encoded), False
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "The given NumPy array is not writable", UserWarning
        )  # nor written to
        X = torch.from_numpy(encoded)
    return X if in_file else X.to(device)


def _lies_in_a_file(array: Any) -> bool:
    """Whether an array is a view of a memory-mapped file."""
    while isinstance(array, np.ndarray):
        if isinstance(array, np.memmap):
            return True
        array = array.base
    return False

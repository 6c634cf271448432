"""Sets of images: every form of their files is read, and nothing of a file is run; long tails."""

import gzip
import io
import pickle
import struct
import tarfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from mixsk.datasets import load_images, long_tail
from mixsk.datasets._image_files import IMAGES

INCOMPLETE = pytest.mark.filterwarnings("ignore:.*The file is incomplete:UserWarning")  # tests write a few
RNG = np.random.default_rng(0)
GREY = {
    part: RNG.integers(0, 256, (n, 28, 28), dtype=np.uint8) for part, n in {"train": 6, "test": 3}.items()
}
COLOUR = {part: RNG.integers(0, 256, (n, 32, 32, 3), np.uint8) for part, n in [("train", 10), ("test", 3)]}
CODES = {"train": [3, 0, 9, 9, 1, 7, 2, 2, 5, 4], "test": [8, 0, 6]}
PARTS = ("train", "test")


class Python2Pickler(pickle._Pickler):
    """Writes bytes as Python 2 wrote its str, which CIFAR's files are full of."""

    dispatch = dict(pickle._Pickler.dispatch)

    def save_bytes(self, obj):
        self.write(pickle.BINSTRING + struct.pack("<i", len(obj)) + obj)
        self.memoize(obj)

    dispatch[bytes] = save_bytes


def pickled(batch):
    """A pickle as CIFAR's: of Python 2 and of the numpy of its time."""
    out = io.BytesIO()
    Python2Pickler(out, protocol=2).dump(batch)
    return out.getvalue().replace(b"numpy._core", b"numpy.core")


def rows(images):
    """Rows of 3072 bytes: red, green and blue, each row by row."""
    return np.array([[image[:, :, channel] for channel in range(3)] for image in images]).reshape(-1, 3072)


def idx(array):
    return b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write_idx(folder, ending=""):
    for part, stem in {"train": "train", "test": "t10k"}.items():
        codes = np.array(CODES[part][: len(GREY[part])], np.uint8)
        for name, array in {"images-idx3": GREY[part], "labels-idx1": codes}.items():
            content = gzip.compress(idx(array)) if ending else idx(array)
            write(folder / f"{stem}-{name}-ubyte{ending}", content)


def write_npz(path, images=GREY, capitals=str, **others):
    arrays = {f"X_{part}": images[part] for part in PARTS}
    arrays |= {f"y_{part}": np.array(CODES[part][: len(images[part])], np.uint8) for part in PARTS}
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **{capitals(name): array for name, array in arrays.items()} | others)


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def pickles(name):
    """{file: content} of the "python version" of a CIFAR."""
    if name == "cifar-100":
        return {
            part: pickled(
                {
                    b"data": rows(COLOUR[part]),
                    b"fine_labels": CODES[part],
                    b"coarse_labels": [19] * len(CODES[part]),
                    b"filenames": [b"caf\xe9.png"] * len(CODES[part]),
                }
            )
            for part in PARTS
        }
    five = {
        f"data_batch_{k + 1}": (COLOUR["train"][2 * k :][:2], CODES["train"][2 * k :][:2]) for k in range(5)
    }
    return {
        file: pickled({b"batch_label": b"one", b"labels": codes, b"data": rows(images)})
        for file, (images, codes) in (five | {"test_batch": (COLOUR["test"], CODES["test"])}).items()
    }


def records(name):
    """{file: content} of the "binary version"."""
    found = {}
    for file, content in pickles(name).items():
        batch = pickle.loads(content, encoding="bytes")
        codes = batch.get(b"labels", batch.get(b"fine_labels"))
        heads = [bytes([19, code] if name == "cifar-100" else [code]) for code in codes]
        found[f"{file}.bin"] = b"".join(
            head + row.tobytes() for head, row in zip(heads, batch[b"data"], strict=True)
        )
    return found


def archive(path, files):
    with tarfile.open(path, "w:gz") as out:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            out.addfile(info, io.BytesIO(content))


def check(name, folder, images):
    """All of a set and each of its parts are as they were written."""
    whole = load_images(name, data_home=folder)
    assert_array_equal(whole.data, np.concatenate([images[part] for part in PARTS]))
    codes = {part: CODES[part][: len(images[part])] for part in PARTS}
    assert_array_equal(whole.target, codes["train"] + codes["test"])
    assert (whole.data.dtype, whole.target.dtype) == (np.uint8, np.int64)
    assert whole.data.flags.c_contiguous
    assert whole.data.flags.writeable
    assert list(whole.subsets) == list(PARTS)
    n = len(images["train"])
    assert_array_equal(whole.subsets["train"], range(n))
    assert_array_equal(whole.subsets["test"], range(n, n + 3))
    for part in PARTS:
        X, y = load_images(name, subset=part, data_home=folder, return_X_y=True)
        assert_array_equal(X, images[part])
        assert_array_equal(y, codes[part])
        assert X.flags.c_contiguous
        assert X.flags.writeable


# --- files


@INCOMPLETE
@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize(
    ("name", "below"),
    [
        ("mnist", ""),
        ("mnist", "images"),
        ("mnist", "mnist"),
        ("mnist", "MNIST/raw"),
        ("fashion-mnist", ""),
        ("fashion-mnist", "FashionMNIST/raw"),
    ],
)
def test_the_idx_files_are_read(name, below, ending, tmp_path):
    write_idx(tmp_path / below, ending)
    check(name, tmp_path, GREY)


@INCOMPLETE
@pytest.mark.parametrize("below", ["", "in-folder", "images/in-folder"])
@pytest.mark.parametrize("name", ["cifar-10", "cifar-100"])
@pytest.mark.parametrize("kind", ["python", "binary"])
def test_the_folders_of_cifar_are_read(kind, name, below, tmp_path):
    inner = {
        ("cifar-10", "python"): "cifar-10-batches-py",
        ("cifar-10", "binary"): "cifar-10-batches-bin",
        ("cifar-100", "python"): "cifar-100-python",
        ("cifar-100", "binary"): "cifar-100-binary",
    }[name, kind]
    for file, content in {"python": pickles, "binary": records}[kind](name).items():
        write(tmp_path / below.replace("in-folder", inner) / file, content)
    check(name, tmp_path, COLOUR)


@INCOMPLETE
@pytest.mark.parametrize("name", ["cifar-10", "cifar-100"])
@pytest.mark.parametrize("kind", ["python", "binary"])
def test_the_archives_of_cifar_are_read_where_they_are(kind, name, tmp_path):
    files = {"python": pickles, "binary": records}[kind](name)
    (tmp_path / "images").mkdir()
    path = tmp_path / "images" / f"{name}-{kind}.tar.gz"
    backwards = {f"some-folder/{file}": files[file] for file in reversed(files)}
    archive(path, backwards | {"some-folder/readme.html": b"<html>"})
    check(name, tmp_path, COLOUR)
    assert [p.name for p in tmp_path.rglob("*")] == ["images", path.name]


@INCOMPLETE
@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_pickles_of_today_are_read_too(protocol, tmp_path):
    for part in PARTS:
        batch = {"data": rows(COLOUR[part]), "fine_labels": CODES[part]}
        write(tmp_path / part, pickle.dumps(batch, protocol=protocol))
    check("cifar-100", tmp_path, COLOUR)


@INCOMPLETE
@pytest.mark.parametrize(
    ("name", "file", "images"),
    [
        ("mnist", "mnist", GREY),
        ("mnist-small", "mnist_small", GREY),
        ("fashion-mnist", "fashion_mnist", GREY),
        ("fashion-mnist-sprite900", "fashion_mnist_sprite900", GREY),
        ("cifar-10", "cifar10", COLOUR),
        ("cifar-100", "cifar100", COLOUR),
        ("cifar-10-jpeg-subset", "cifar10_jpeg_subset", COLOUR),
    ],
)
def test_npz_files_are_read_whatever_the_capitals_of_their_names(name, file, images, tmp_path):
    write_npz(tmp_path / "a" / f"{file}.npz", images)
    check(name, tmp_path / "a", images)
    write_npz(tmp_path / "b" / f"{file}.npz", images, capitals=str.lower)
    check(name, tmp_path / "b", images)


@INCOMPLETE
def test_nothing_but_the_part_that_is_asked_for_is_read(tmp_path, monkeypatch):
    write_npz(tmp_path / "mnist.npz", train_index=np.arange(6))
    read, member = [], np.lib.npyio.NpzFile.__getitem__
    monkeypatch.setattr(
        np.lib.npyio.NpzFile, "__getitem__", lambda self, name: read.append(name) or member(self, name)
    )
    load_images("mnist", subset="test", data_home=tmp_path)
    assert sorted(read) == ["X_test", "y_test"]
    write(tmp_path / "test", pickles("cifar-100")["test"])
    assert len(load_images("cifar-100", subset="test", data_home=tmp_path).data) == 3
    with pytest.raises(FileNotFoundError, match="CIFAR-100, train: found neither"):
        load_images("cifar-100", data_home=tmp_path)


@INCOMPLETE
def test_labels_may_stand_in_a_column(tmp_path):
    write_npz(tmp_path / "cifar10.npz", COLOUR, y_train=np.array(CODES["train"])[:, None])
    assert_array_equal(load_images("cifar-10", subset="train", data_home=tmp_path).target, CODES["train"])


@INCOMPLETE
def test_a_folder_of_a_sets_own_name_comes_before_that_of_all(tmp_path):
    write_idx(tmp_path)
    other = np.full((4, 28, 28), 7, np.uint8)
    write(tmp_path / "fashion-mnist" / "t10k-images-idx3-ubyte", idx(other))
    write(tmp_path / "fashion-mnist" / "t10k-labels-idx1-ubyte", idx(np.arange(4, dtype=np.uint8)))
    assert_array_equal(load_images("fashion-mnist", subset="test", data_home=tmp_path).data, other)
    assert_array_equal(load_images("mnist", subset="test", data_home=tmp_path).data, GREY["test"])


@INCOMPLETE
def test_the_folder_is_the_argument_or_that_of_the_variable(tmp_path, monkeypatch):
    for name, n in {"argument": 1, "variable": 2, "home/mixsk_data": 3}.items():
        write_npz(tmp_path / name / "mnist_small.npz", {part: GREY[part][:n] for part in PARTS})
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MIXSK_DATA", str(tmp_path / "variable"))
    assert len(load_images("mnist-small", data_home=tmp_path / "argument").data) == 2
    assert len(load_images("mnist-small").data) == 4
    monkeypatch.delenv("MIXSK_DATA")
    assert len(load_images("mnist-small").data) == 6


# --- what is wrong


class Evil:
    def __reduce__(self):
        return print, ("this is run",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps(Evil()), r"asks for (builtins|__builtin__)\.print, and may have nothing but arrays"),
        (pickle.dumps({b"data": Evil(), b"fine_labels": [0]}, protocol=2), "and may have nothing but arrays"),
        (pickle.dumps(io.BytesIO(b"x")), r"asks for _io\.BytesIO"),
        (pickle.dumps(np.float64), r"asks for numpy\.float64"),
        (pickle.dumps({b"data": rows(COLOUR["test"])}), "KeyError: 'fine_labels'"),
        (pickle.dumps({b"data": [1, 2], b"fine_labels": [0]}), "no array of rows of 3072 bytes, but list"),
        (pickle.dumps([1, 2]), "is damaged or no batch of CIFAR"),
        (pickles("cifar-100")["test"][:-2000], "test is damaged or no batch of CIFAR"),
        (b"", "EOFError"),
        (b"\x89PNG and so on", "is damaged or no batch of CIFAR"),
    ],
)
def test_a_pickle_that_is_no_batch_is_refused_and_not_run(content, message, tmp_path, capsys):
    write(tmp_path / "test", content)
    with pytest.raises(ValueError, match=message):
        load_images("cifar-100", subset="test", data_home=tmp_path)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", IMAGES)
def test_files_that_are_missing_are_told_with_where_they_belong_and_who_has_them(name, tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        load_images(name, data_home=tmp_path)
    message = str(caught.value)
    for part in ["MIXSK_DATA", "data_home=", ".gz", ".npz", str(tmp_path / "images"), str(tmp_path / name)]:
        assert part in message
    assert "https://" in message or "MNIST's own files" in message


def test_half_of_the_files_is_not_enough(tmp_path):
    write_idx(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(FileNotFoundError, match="MNIST, train: found neither train-images-idx3-ubyte with"):
        load_images("mnist", data_home=tmp_path)
    for file, content in pickles("cifar-10").items():
        write(tmp_path / file, content)
    (tmp_path / "data_batch_3").unlink()
    with pytest.raises(FileNotFoundError, match="cifar-10-batches-py/data_batch_1 to data_batch_5 nor"):
        load_images("cifar-10", data_home=tmp_path)


LABELS = idx(np.arange(3, dtype=np.uint8))


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (
            idx(GREY["test"])[:-1],
            LABELS,
            r"t10k-images-idx3-ubyte is damaged or no idx file .* 2351 bytes",
        ),
        (b"", LABELS, "four bytes are missing, the lengths"),
        (LABELS, LABELS, r"no idx file of 3 axes of bytes: its first four bytes are 00 00 08 01"),
        (idx(GREY["test"])[:3] + b"\3" + b"\xff" * 12, LABELS, "and 0 bytes follow"),
        (
            idx(GREY["test"][:, :20]),
            LABELS,
            r"expected images, uint8 of shape \(n, 28, 28\), got uint8",
        ),
        (
            idx(GREY["test"]),
            idx(np.arange(2, dtype=np.uint8)),
            "expected 3 whole numbers as labels, one for",
        ),
        (idx(GREY["test"]), idx(np.array([1, 2, 10], np.uint8)), "expected labels from 0 to 9, got 1 to 10"),
        (idx(GREY["test"][:0]), idx(np.array([], np.uint8)), "has no images; get it again"),
    ],
)
def test_an_idx_file_that_is_none_is_told(images, labels, message, tmp_path):
    write(tmp_path / "t10k-images-idx3-ubyte", images)
    write(tmp_path / "t10k-labels-idx1-ubyte", labels)
    with pytest.raises(ValueError, match=message):
        load_images("mnist", subset="test", data_home=tmp_path)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"X_test": GREY["test"]}, r"mnist\.npz has no y_test, but \['X_test'\]"),
        ({"x": GREY["test"]}, r"has no X_test and no y_test, but \['x'\]"),
        ({"X_test": GREY["test"] / 255, "y_test": [1, 2, 3]}, r"got float64 of shape \(3, 28, 28\)"),
        ({"X_test": GREY["test"], "y_test": [1.0, 2, 3]}, "whole numbers as labels, .* got float64 of shape"),
        ({"X_test": GREY["test"], "y_test": np.array([Evil()] * 3)}, r"or no npz file \(no arrays of"),
    ],
)
def test_an_npz_file_that_has_something_else_is_told(arrays, message, tmp_path, capsys):
    np.savez(tmp_path / "mnist.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        load_images("mnist", subset="test", data_home=tmp_path)
    assert capsys.readouterr().out == ""


def test_a_file_that_is_no_npz_gets_no_advice_to_unpickle_it(tmp_path):
    write(tmp_path / "mnist.npz", b"<html>404</html>")
    words = r"mnist\.npz is damaged or no npz file \(no arrays of numbers\); get it again\.$"
    with pytest.raises(ValueError, match=words):
        load_images("mnist", data_home=tmp_path)


def test_files_that_are_cut_off_are_told(tmp_path):
    write_npz(tmp_path / "mnist.npz")
    archive(tmp_path / "cifar-100-python.tar.gz", pickles("cifar-100"))
    write_idx(tmp_path / "fashion-mnist", ".gz")
    write(tmp_path / "test_batch.bin", records("cifar-10")["test_batch.bin"][:-1])
    for path in [*tmp_path.glob("*.*z"), *(tmp_path / "fashion-mnist").glob("*.gz")]:
        path.write_bytes(path.read_bytes()[:-40])
    for name, message in {
        "mnist": r"mnist\.npz is damaged or no npz file",
        "cifar-100": r"python\.tar\.gz is damaged or no tar file",
        "fashion-mnist": r"ubyte\.gz is damaged or no gzip file",
        "cifar-10": r"test_batch\.bin is damaged: 9218 bytes are no whole number of records of 3073",
    }.items():
        with pytest.raises(ValueError, match=message):
            load_images(name, subset="test", data_home=tmp_path)


def test_an_archive_that_lacks_a_file_is_told(tmp_path):
    files = pickles("cifar-10")
    del files["data_batch_3"]
    archive(tmp_path / "cifar-10-python.tar.gz", files)
    with pytest.raises(ValueError, match=r"cifar-10-python\.tar\.gz has no data_batch_3; get it again"):
        load_images("cifar-10", data_home=tmp_path)


@pytest.mark.parametrize(
    ("name", "subset", "message"),
    [
        ("imagenet", "all", r"no image set 'imagenet'; choose one of \['cifar-10', 'cifar-10-jpeg-subset', "),
        ("CIFAR10", "all", r"no image set 'CIFAR10', did you mean 'cifar-10'\? Choose one of \['cifar-10', "),
        ("mnist", "dev", r"MNIST has no subset 'dev'; choose one of \['all', 'train', 'test'\]"),
    ],
)
def test_names_that_do_not_exist_are_told_with_those_that_do(name, subset, message):
    with pytest.raises(ValueError, match=message):
        load_images(name, subset=subset)


def test_a_file_with_other_counts_than_the_set_gives_a_warning_where_it_was_loaded(tmp_path):
    codes = np.repeat(np.arange(10), [50] * 10)
    images = {part: np.zeros((500, 28, 28), np.uint8) for part in PARTS}
    np.savez(tmp_path / "mnist_small.npz", X_test=images["test"], y_test=codes)
    assert len(load_images("mnist-small", subset="test", data_home=tmp_path).data) == 500  # and no warning
    np.savez(tmp_path / "mnist_small.npz", X_test=images["test"][:499], y_test=codes[:499])
    with pytest.warns(
        UserWarning, match=r"499 rows, .* 49\] of the classes .* MNIST-small, test, has 500"
    ) as seen:
        load_images("mnist-small", subset="test", data_home=tmp_path)
    assert seen[0].filename == __file__
    write(tmp_path / "test", pickles("cifar-100")["test"])
    with pytest.warns(UserWarning, match="3 rows, where CIFAR-100, test, has 10000, 100 of each class"):
        load_images("cifar-100", subset="test", data_home=tmp_path)


def test_the_known_counts_and_classes_are_those_that_the_sets_are_known_for():
    sizes = {name: [sum(s.counts[part]) for part in PARTS] for name, s in IMAGES.items()}
    assert sizes == {
        "mnist": [60000, 10000],
        "fashion-mnist": [60000, 10000],
        "cifar-10": [50000, 10000],
        "cifar-100": [50000, 10000],
        "mnist-small": [2000, 500],
        "fashion-mnist-sprite900": [700, 200],
        "cifar-10-jpeg-subset": [7000, 1500],
    }
    for name, source in IMAGES.items():
        assert len(set(source.classes)) == (100 if name == "cifar-100" else 10)
        assert {len(counts) for counts in source.counts.values()} == {len(source.classes)}
    for name in ["cifar-10", "cifar-100"]:
        assert list(IMAGES[name].classes) == sorted(IMAGES[name].classes)


# --- the real files


def test_the_real_images_have_the_counts_of_the_sets(shared_data):
    """Without a warning, which a file of other counts would give."""
    found = []
    for name, source in IMAGES.items():
        try:
            images = load_images(name, data_home=shared_data)
        except FileNotFoundError:
            continue
        shape = (32, 32, 3) if "cifar" in name else (28, 28)
        assert images.data.shape == (sum(map(sum, source.counts.values())), *shape)
        for part, rows in images.subsets.items():
            assert tuple(np.bincount(images.target[rows])) == source.counts[part]
        found.append(f"{name}: {images.data.shape}")
    print("real images:", *found, sep="\n  ")
    assert len(found) >= 4


def test_the_small_real_set_is_the_part_of_mnist_that_its_index_says(shared_data):
    whole, small = (load_images(name, data_home=shared_data) for name in ["mnist", "mnist-small"])
    with np.load(shared_data / "images" / "mnist_small.npz") as arrays:
        for part in PARTS:
            index = whole.subsets[part][arrays[f"{part}_index"]]
            assert_array_equal(small.data[small.subsets[part]], whole.data[index])
            assert_array_equal(small.target[small.subsets[part]], whole.target[index])


# --- long tails


@pytest.mark.parametrize(
    ("n_classes", "imbalance", "counts"),
    [
        (10, 0.01, [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]),  # the long-tailed CIFAR-10
        (3, 0.25, [5000, 2500, 1250]),
        (2, 0.29, [5000, 1450]),
        (4, 1, [5000] * 4),
        (1, 0.5, [5000]),
        (3, 1e-9, [5000, 1, 1]),
    ],
)
def test_the_classes_of_a_long_tail_have_ever_fewer_rows(n_classes, imbalance, counts):
    y = np.random.default_rng(0).permutation(np.repeat(np.arange(n_classes), 5000))
    assert_array_equal(np.bincount(y[long_tail(y, imbalance)]), counts)


@given(
    counts=st.lists(st.integers(1, 60), min_size=1, max_size=5),
    imbalance=st.floats(0.001, 1),
    seed=st.integers(0, 100),
)
def test_a_long_tail_has_no_row_twice_and_of_each_class_what_there_is(counts, imbalance, seed):
    y = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    rows = long_tail(y, imbalance, random_state=seed)
    assert_array_equal(rows, np.unique(rows))
    assert_array_equal(rows, long_tail(y, imbalance, random_state=seed))
    for code, (found, n) in enumerate(zip(np.bincount(y[rows]), counts, strict=True)):
        wanted = max(counts) * imbalance ** (code / max(1, len(counts) - 1))
        assert 1 <= found <= n
        assert found in (n, 1) or wanted - 1 - 1e-9 <= found <= wanted + 1e-9
        assert found == n or found <= max(1, wanted + 1e-9)


def test_every_row_of_a_class_is_as_likely_to_be_in_the_tail():
    rng, taken = np.random.RandomState(0), np.zeros(80)
    for _ in range(2000):
        taken[long_tail(np.repeat(["a", "b"], 40), 0.1, random_state=rng)] += 1
    assert_array_equal(taken[:40], 2000)
    assert np.abs(taken[40:] - 200).max() < 5 * np.sqrt(200 * 0.9)


def test_other_seeds_draw_other_rows_and_the_global_random_state_is_left_alone():
    y, before = np.repeat([0, 1], 200), np.random.get_state()[1].copy()
    assert len({tuple(long_tail(y, 0.1, seed)) for seed in range(10)}) == 10
    assert_array_equal(np.random.get_state()[1], before)
    assert_array_equal(long_tail(y, 0.1), long_tail(y, 0.1, random_state=0))
    assert len(long_tail([], 0.1)) == 0


@pytest.mark.parametrize("imbalance", [0, -0.1, 1.01, np.nan, True, "1 %", None])
def test_an_imbalance_that_is_none_is_an_error(imbalance):
    with pytest.raises(ValueError, match=r"imbalance is above 0 and at most 1 \(0\.01 where .*\), but got"):
        long_tail([0, 1], imbalance)

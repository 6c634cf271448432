"""`checkpoint`: a fit that was interrupted goes on, and ends as if it had not been."""

import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from sklearn.datasets import make_classification
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Callback
from small_fits import SMALL, rows
from torch import nn
from torch.utils.data import Dataset

from mixsk import (
    AdaMixupClassifier,
    AMPClassifier,
    GenLabelClassifier,
    InfiniteMixupClassifier,
    LaMixClassifier,
    MixupClassifier,
)
from mixsk.classifiers._checkpointing import described
from mixsk.encoding import ImageEncoder
from mixsk.engine import TrainingBatches
from mixsk.engine.checkpoint import plain, read
from mixsk.engine.stack import Source, StackedBatches
from mixsk.model_selection import BatchedGridSearchCV

LONE = {**SMALL, "module": "mlp", "n_cv": 1, "max_epochs": 5}
WITH_STOP = {"early_stopping": True, "n_iter_no_change": 2, "max_epochs": 30, "lr": 0.05}


class Interrupt(Callback):
    """Ends training in the middle of an epoch, as a lost machine does."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_batch_end(self, net, training=False, **kwargs):
        if training and len(net.history) == self.epoch:
            raise RuntimeError("lost")


class Listen(Callback):
    """Makes batch hooks run, and changes nothing."""

    def on_batch_end(self, net, **kwargs):
        pass


@pytest.fixture
def path(tmp_path):
    return tmp_path / "fit.pt"


def interrupted(clf, epochs, X, y, **fit):
    """Fit with one lost machine at each of some epochs."""
    for epoch in epochs:
        clf.set_params(callbacks=[Interrupt(epoch)])
        with pytest.raises(RuntimeError, match="lost"):
            clf.fit(X, y, **fit)
    return clf.set_params(callbacks=None).fit(X, y, **fit)


def check_same(one, other, X):
    assert_array_equal(one.predict_proba(X), other.predict_proba(X))
    assert one.net_.stop_ == other.net_.stop_
    assert one.temperature_ == other.temperature_
    for a, b in zip(
        one.net_.criterion_.aux.parameters(), other.net_.criterion_.aux.parameters(), strict=True
    ):
        assert torch.equal(a, b)
    first, second = (clf.history_.drop(columns="dur") for clf in (one, other))
    assert first.equals(second)


FITS = [
    (MixupClassifier, {"module": "table", "n_cv": 1, "max_epochs": 6}),
    (MixupClassifier, {"module": "table", "n_cv": 5}),
    (MixupClassifier, {"module": "table", "n_cv": 2, "n_members": 2, "mix_at": "any"}),
    (MixupClassifier, {"dropout": 0.4, "mix_at": "any", "lam_per": "sample"}),
    (MixupClassifier, {"dropout": 0.4, "ema": 0.9}),
    (MixupClassifier, {"dropout": 0.4, "accumulate": 4, "ema": 0.8, "schedule": "onecycle", "n_members": 2}),
    (MixupClassifier, {"mix_off": 0.4, "mix_prob": 0.7, "clean_weight": 1, "calibrate": True}),
    (MixupClassifier, {"schedule": "cosine", "optimizer": "sgd", "optimizer__momentum": 0.9}),
    (MixupClassifier, {"schedule": "step", "optimizer": "adamw", "amp": "bf16"}),
    (MixupClassifier, {"schedule": "onecycle", "drop_intrusions": "last"}),
    (MixupClassifier, {"label": "nonlinear", "mix": "nonlinear", "mix_at": "last"}),
    (AMPClassifier, {"dropout": 0.3}),
    (AMPClassifier, {"reweight": True, "n_members": 2}),
    (GenLabelClassifier, {"density": "gm", "gamma": 0.5}),
    (GenLabelClassifier, {}),
    (GenLabelClassifier, {"density_schedule": "online", "density_at": "last"}),
    (LaMixClassifier, {"n_cv": 3}),
    (InfiniteMixupClassifier, {"module": "table", "n_cv": 2}),
    (InfiniteMixupClassifier, {"axis": "pair"}),
    (AdaMixupClassifier, {}),
]


@pytest.mark.parametrize(("cls", "params"), FITS)
def test_an_interrupted_fit_ends_as_one_that_was_not(cls, params, path):
    X, y = rows()
    whole = cls(**LONE | params).fit(X, y)
    resumed = interrupted(cls(**LONE | params, checkpoint=path), (2, 4), X, y)
    check_same(resumed, whole, X)


@pytest.mark.parametrize("n_cv", [1, 3])
@pytest.mark.parametrize("ema", [None, 0.9])
def test_early_stopping_counts_on_across_the_interruption(n_cv, ema, path):
    X, y = make_classification(200, 6, n_informative=4, flip_y=0.2, random_state=0)
    params = {**LONE, **WITH_STOP, "n_cv": n_cv, "ema": ema}
    whole = MixupClassifier(**params).fit(X, y)
    assert whole.net_.stop_ == "early_stopping"
    end = whole.n_iter_
    best = int(whole.history_["valid_loss"].argmin()) + 1
    at = sorted({max(2, best), min(end, best + 2)})  # at the best epoch, and while waiting
    resumed = interrupted(MixupClassifier(**params, checkpoint=path), at, X, y)
    check_same(resumed, whole, X)


def test_validation_rows_of_ones_own_count(path):
    X, y = rows()
    fit = {"X_val": X[::3] + 0.1, "y_val": y[::3]}
    whole = MixupClassifier(**LONE).fit(X, y, **fit)
    check_same(interrupted(MixupClassifier(**LONE, checkpoint=path), [3], X, y, **fit), whole, X)
    with pytest.raises(ValueError, match="values of validation rows are not the same"):
        MixupClassifier(**LONE, checkpoint=path).fit(X, y, X_val=X[::3] - 0.1, y_val=y[::3])


def test_a_time_limit_ends_a_fit_and_the_next_one_goes_on_from_the_last_whole_epoch(path):
    X, y = rows()
    params = {**LONE, "max_epochs": 12, "dropout": 0.2, "schedule": "cosine"}
    whole = MixupClassifier(**params).fit(X, y)
    clf = MixupClassifier(**params, checkpoint=path, time_limit=1e6, callbacks=[Late])
    for epochs in (4, 7, 10, 12):  # three whole ones a call, and a part of another
        clf.fit(X, y)
        assert clf.n_iter_ == epochs
    check_same(clf, whole, X)


class Late(Callback):
    """Lets the time be over in the fourth epoch of a call."""

    def on_train_begin(self, net, **kwargs):
        self.epochs = 0

    def on_epoch_begin(self, net, **kwargs):
        self.epochs += 1
        if self.epochs == 4:
            net.deadline_ = 0


def test_without_a_seed_the_files_is_gone_on_with(path):
    X, y = rows()
    params = {**LONE, "random_state": None, "dropout": 0.2}
    clf = interrupted(MixupClassifier(**params, checkpoint=path), [3], X, y)
    seed = read(path)["seed"]
    assert clf._seed == seed
    # The same streams, uninterrupted: the seed is where they come from.
    whole = Seeded(**params)
    whole.seed = seed
    check_same(clf, whole.fit(X, y), X)
    other = MixupClassifier(**{**params, "random_state": np.random.RandomState(5)}, checkpoint=path)
    assert_array_equal(other.fit(X, y).predict_proba(X), clf.predict_proba(X))


class Seeded(MixupClassifier):
    """With streams from a seed that is given afterwards."""

    def _start_streams(self):
        super()._start_streams()
        self._seed = self.seed


def test_a_finished_fit_is_given_back_without_training(path, monkeypatch):
    X, y = rows()
    first = MixupClassifier(**LONE, checkpoint=path).fit(X, y)
    monkeypatch.setattr("mixsk.engine.MixNet.train_step", None)
    check_same(MixupClassifier(**LONE, checkpoint=str(path)).fit(X, y), first, X)
    assert os.listdir(path.parent) == ["fit.pt"]


def test_more_epochs_go_on_where_no_schedule_counts_them(path):
    X, y = rows()
    MixupClassifier(**LONE | {"max_epochs": 2}, checkpoint=path).fit(X, y)
    resumed = MixupClassifier(**LONE, checkpoint=path).fit(X, y)
    check_same(resumed, MixupClassifier(**LONE).fit(X, y), X)
    with pytest.raises(ValueError, match="has 5 epochs, more than max_epochs=3"):
        MixupClassifier(**LONE | {"max_epochs": 3}, checkpoint=path).fit(X, y)


def test_what_matters_to_nobody_may_change(path):
    X, y = rows()
    params = {**LONE, "checkpoint": path}
    with pytest.raises(RuntimeError):
        MixupClassifier(**params, callbacks=[Interrupt(3)]).fit(X, y)
    free = {"n_threads": 1, "device": "cpu", "time_limit": 1e3, "callbacks": [("listen", Listen())]}
    # "auto" is what it stands for, and a list is a tuple.
    same = {"optimizer": "adam", "lr": np.float64(1e-3), "hidden": [5], "n_iter_no_change": 10}
    clf = MixupClassifier(**{**params, **free, **same}).fit(X, y)
    assert_array_equal(clf.predict_proba(X), MixupClassifier(**LONE).fit(X, y).predict_proba(X))
    rounded = X * np.float32(1 + 1e-6)  # as another machine's encoder might
    MixupClassifier(**params).fit(rounded, y)


OTHERS = [
    ({"lr": 0.5}, r"lr was 0.001 and is 0.5"),
    ({"random_state": 1}, "random_state was 0 and is 1"),
    ({"hidden": (6,)}, r"hidden was \[5\] and is \[6\]; the network was"),
    ({"alpha": 0.5, "mix": "half"}, "alpha was None and is 0.5; mix was 'linear' and is 'half'"),
    ({"schedule": "cosine"}, "schedule was None and is 'cosine'"),
    ({"optimizer__eps": 1e-7}, "optimizer__eps was not there and is 1e-07"),
    ({"accumulate": 2, "ema": 0.5}, "accumulate was 1 and is 2; ema was None and is 0.5"),
    ({"early_stopping": True}, "number of validation rows was 0 and is 9"),
    ({"dtype": "float64"}, "dtype was 'float32' and is 'float64'"),
    ({"n_members": 2}, "n_members was 1 and is 2"),
]


@pytest.mark.parametrize(("other", "words"), OTHERS)
def test_another_fits_checkpoint_is_refused_in_words_and_left_alone(other, words, path):
    X, y = rows()
    params = {**LONE, "mix": "linear", "max_epochs": 2, "checkpoint": path}
    clf = MixupClassifier(**params).fit(X, y)
    before, predicted = path.read_bytes(), clf.predict_proba(X)
    clf.set_params(**other)
    with pytest.raises(ValueError, match=words) as error:
        clf.fit(X, y)
    assert "use another path, or delete the file" in str(error.value)
    assert path.read_bytes() == before
    assert_array_equal(clf.predict_proba(X), predicted)  # what was fitted is not lost


def test_other_data_and_another_method_are_refused(path):
    X, y = rows()
    clf = MixupClassifier(**LONE, checkpoint=path).fit(X, y)
    changed = X.copy()
    changed[0] += 1
    for data, words in (
        ((changed, y), "values of training rows are not the same"),
        ((X, np.roll(y, 1)), "the training rows' labels was those"),
        ((X[:-3], y[:-3]), "number of training rows was 90 and is 87"),
        ((X[:, :3], y), r"shape of an encoded row was \(4,\) and is \(3,\)"),
        ((X, y, np.arange(90) + 1), "weights of training rows are not the same"),
        ((X, y.astype(str)), r"the classes was \[0, 1, 2\] and is \['0', '1', '2'\]"),
    ):
        with pytest.raises(ValueError, match=words):
            clf.fit(*data)
    with pytest.raises(ValueError, match="the class was MixupClassifier and is InfiniteMixupClassifier"):
        InfiniteMixupClassifier(**LONE, checkpoint=path).fit(X, y)


class Noisy(Dataset):
    """Images that are never read twice alike."""

    def __init__(self, n=24, side=12):
        self.targets, self.side, self.rng = np.arange(n) % 2, side, np.random.default_rng(0)

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, i):
        return self.rng.random((1, self.side, self.side), dtype=np.float32), int(self.targets[i])


def test_images_that_a_dataset_changes_at_random_are_told_by_size_and_labels(path):
    encoder = ImageEncoder(normalise=False)
    params = {"module": "lenet", "max_epochs": 3, "random_state": 0, "batch_size": 12, "encoder": encoder}
    clf = MixupClassifier(**params, checkpoint=path, callbacks=[Interrupt(2)])
    with pytest.raises(RuntimeError, match="lost"):
        clf.fit(Noisy(), None)
    clf.set_params(callbacks=None, encoder__n_workers=1)  # however they are read
    clf.fit(Noisy(), None)
    assert clf.n_iter_ == 3
    for other, words in (
        (Noisy(26), "number of training rows was 24"),
        (Noisy(side=16), "shape of an encoded"),
    ):
        with pytest.raises(ValueError, match=words):
            clf.fit(other, None)
    other = Noisy()
    other.targets = 1 - other.targets
    with pytest.raises(ValueError, match="the training rows' labels was"):
        clf.fit(other, None)


def network_of_ones_own(seed, last=None):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(4, 5), nn.ReLU(), *([last] if last else []), nn.Linear(5, 3))


def test_a_network_of_ones_own_is_told_by_its_structure_and_its_weights(path):
    X, y = rows()
    params = {"max_epochs": 3, "batch_size": 16, "random_state": 0, "encoder": "passthrough"}
    whole = MixupClassifier(**params, module=network_of_ones_own(0)).fit(X, y)
    clf = interrupted(MixupClassifier(**params, module=network_of_ones_own(0), checkpoint=path), [2], X, y)
    check_same(clf.set_params(module=network_of_ones_own(0)).fit(X, y), whole, X)
    # Another seed, and another module without weights where the names of all weights stay.
    for module in (network_of_ones_own(1), nn.Sequential(*network_of_ones_own(0))):
        if isinstance(module[0], nn.Linear) and torch.equal(
            module[0].weight, network_of_ones_own(0)[0].weight
        ):
            module[1] = nn.Tanh()
        with pytest.raises(ValueError, match="module was torch"):
            clf.set_params(module=module).fit(X, y)


def test_a_module_is_described_alike_in_every_process():
    class Shows(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("bits", torch.ones(3, dtype=torch.bfloat16))
            self.register_buffer("count", torch.tensor(1))
            self.lazy = nn.LazyLinear(2)

        def extra_repr(self):
            return repr(object())

    here, there = described(Shows()), described(Shows())
    assert here == there
    changed = Shows()
    changed.count += 1
    assert described(changed) != here


def damaged(content, mark):
    yield "truncated", content[: len(content) // 2]
    yield "empty", b""
    yield "no checkpoint", b"hello"
    flipped = bytearray(content)
    at = content.index(np.float32(mark).tobytes())
    flipped[at] ^= 1  # a bit of a weight
    yield "damaged", bytes(flipped)


def test_a_damaged_file_is_refused_and_left_alone(path):
    X, y = rows()
    clf = MixupClassifier(**LONE | {"max_epochs": 1}, checkpoint=path).fit(X, y)
    mark = clf.net_.module_.head.bias.flatten()[0].item()
    for _, content in damaged(path.read_bytes(), mark):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="or damaged"):
            clf.fit(X, y)
        assert path.read_bytes() == content
        clf.predict(X)


def test_files_of_others_are_refused_and_run_no_code(path, tmp_path):
    class Evil:
        def __reduce__(self):
            return open, (str(tmp_path / "evil"), "w")

    X, y = rows()
    for content, words in (
        ({"weights": torch.zeros(2)}, "is no checkpoint of mixsk"),
        ({"kind": "mixsk checkpoint", "format": 99}, "format 99, and this version of mixsk knows format 1"),
        (Evil(), "damaged"),
    ):
        torch.save(content, path)
        with pytest.raises(ValueError, match=words):
            MixupClassifier(**LONE, checkpoint=path).fit(X, y)
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ValueError, match="damaged"):
        MixupClassifier(**LONE, checkpoint=path).fit(X, y)
    assert not (tmp_path / "evil").exists()


def test_places_where_no_file_can_be_are_said_before_training(tmp_path):
    X, y = rows()
    for place, words in ((tmp_path, "is a folder"), (tmp_path / "no" / "fit.pt", "does not exist")):
        with pytest.raises(ValueError, match=words):
            MixupClassifier(**LONE, checkpoint=place).fit(X, y)


def test_a_crash_while_writing_leaves_the_file_of_the_epoch_before(path, monkeypatch):
    X, y = rows()
    replace, written = os.replace, []

    def third_fails(beside, file):
        written.append(Path(beside).stat().st_size)
        if len(written) == 3:
            raise OSError("disk full")
        replace(beside, file)

    monkeypatch.setattr("os.replace", third_fails)
    clf = MixupClassifier(**LONE, checkpoint=path)
    with pytest.raises(OSError, match="disk full"):
        clf.fit(X, y)
    assert read(path)["state"]["epochs"] == 2
    assert os.listdir(path.parent) == ["fit.pt"]
    check_same(clf.fit(X, y), MixupClassifier(**LONE).fit(X, y), X)


def test_a_killed_process_is_gone_on_with_by_another(path):
    program = (
        "import os, pickle, sys\n"
        "from skorch.callbacks import Callback\n"
        "class Kill(Callback):\n"
        "    def on_epoch_begin(self, net, **kwargs):\n"
        "        if len(net.history) == 4:\n"
        "            os._exit(9)\n"
        "clf, X, y = pickle.load(open(sys.argv[1], 'rb'))\n"
        "clf.set_params(callbacks=[Kill]).fit(X, y)\n"
    )
    X, y = rows()
    clf = MixupClassifier(**LONE, dropout=0.3, checkpoint=path)
    given = path.with_name("given.pickle")
    given.write_bytes(pickle.dumps((clf, X, y)))
    done = subprocess.run([sys.executable, "-c", program, str(given)], check=False)
    assert done.returncode == 9
    assert read(path)["state"]["epochs"] == 3
    check_same(clf.fit(X, y), MixupClassifier(**LONE, dropout=0.3).fit(X, y), X)


def test_two_fits_at_once_do_not_overwrite_each_others_file(path):
    X, y = rows()

    class Other(Callback):
        def on_epoch_begin(self, net, **kwargs):
            if len(net.history) == 3:
                path.unlink()
                MixupClassifier(**LONE | {"lr": 0.5}, checkpoint=path).fit(X, y)

    with pytest.warns(UserWarning, match="Another fit has written to checkpoint") as caught:
        clf = MixupClassifier(**LONE, checkpoint=path, callbacks=[Other()]).fit(X, y)
    assert len(caught) == 1
    assert clf.n_iter_ == 5
    assert read(path)["identity"]["lr"] == "0.5"


def test_a_search_says_that_each_fit_needs_a_file_of_its_own(path):
    X, y = rows()
    params = {**LONE, "max_epochs": 1, "checkpoint": path}
    with pytest.raises(ValueError, match="in a search or a cross-validation each would need a file"):
        GridSearchCV(MixupClassifier(**params), {"lr": [0.1, 0.2]}, cv=2, error_score="raise").fit(X, y)
    path.unlink()
    search = BatchedGridSearchCV(MixupClassifier(**params), {"lr": [0.1, 0.2]}, cv=2, error_score="raise")
    with pytest.raises(ValueError, match="in a search or a cross-validation each would need a file"):
        search.fit(X, y)


@pytest.mark.parametrize(
    ("cls", "params", "words"),
    [
        (MixupClassifier, {"warm_start": True}, "warm_start=True goes on from the one before"),
        (
            GenLabelClassifier,
            {"density_at": "last", "density_schedule": "warmup", "density": "gm"},
            "trains in phases",
        ),
        (
            MixupClassifier,
            {"schedule": lambda optimizer: Stateless()},
            "cannot hold the state of this optimiser or schedule",
        ),
    ],
)
def test_what_cannot_be_written_is_said_before_training(cls, params, words, path):
    X, y = rows()
    with pytest.raises(ValueError, match=words):
        cls(**LONE | params, checkpoint=path).fit(X, y)
    assert not path.exists()


class Stateless:
    """A schedule that does not tell its state."""

    def step(self):
        pass


def test_partial_fit_refuses_a_checkpoint(path):
    X, y = rows()
    clf = MixupClassifier(**LONE, checkpoint=path)
    with pytest.raises(ValueError, match="is written by fit"):
        clf.partial_fit(X, y, classes=[0, 1, 2])
    clf.fit(X, y).set_params(checkpoint=None).partial_fit(X, y)
    assert clf.n_iter_ == 6
    assert read(path)["state"]["epochs"] == 5


def test_plain_refuses_what_would_need_code():
    assert plain((np.float32(0.5), {"a": [None, True]})) == (0.5, {"a": [None, True]})
    with pytest.raises(TypeError, match="function"):
        plain({"a": [lambda: 0]})


# --- streams ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("skipped", [0, 1, 7, 13, 40])
@pytest.mark.parametrize("chunk", [60, 400, 2**20])
def test_skipped_batches_leave_those_after_them_as_they_were(skipped, chunk, monkeypatch):
    monkeypatch.setattr("mixsk.engine.iterator.CHUNK", chunk)
    monkeypatch.setattr("mixsk.engine.iterator.GROUP", 100)
    X, y = rows()
    clf = MixupClassifier(**LONE, mix="columns").fit(X, y)

    def batches():
        train, _, net = clf._prepare(X, y)
        one = lambda k: [np.random.default_rng(k)]  # noqa: E731
        single = TrainingBatches(train, net.criterion, 16, one(1), one(2))
        sources = [
            Source(TrainingBatches(train, net.criterion, 16, one(k), one(k + 1)), None, 1) for k in (3, 5)
        ]
        return single, StackedBatches(sources, rows=True)

    for all_of_them, rest in zip(batches(), batches(), strict=True):
        expected = [batch for _ in range(9) for batch in all_of_them][skipped:]
        rest.skip(skipped)
        found = [batch for _ in range(9) for batch in rest]
        for a, b in zip(found, expected, strict=False):
            assert torch.equal(a.x, b.x)
            assert torch.equal(a.y, b.y)
            assert torch.equal(a.mixture.h, b.mixture.h)


class Pairs(Dataset):
    """Images and labels as items."""

    def __init__(self, X, y):
        self.X, self.y = X, y

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return self.X[i], int(self.y[i])


@pytest.mark.parametrize("as_items", [False, True])
def test_other_images_are_another_fit_though_those_looked_at_are_the_same(as_items, path):
    rng = np.random.default_rng(0)
    X, y = rng.integers(128, size=(24, 12, 12), dtype=np.uint8), np.arange(24) % 2
    clf = MixupClassifier(module="lenet", max_epochs=1, random_state=0, checkpoint=path)

    def fit(X):
        return clf.fit(Pairs(X, y)) if as_items else clf.fit(X, y)

    fit(X)
    before = clf.net_
    other = X.copy()
    other[[1, 2, 4, 5, 7, 8]] = 255  # between the rows that are compared
    with pytest.raises(ValueError, match="another fit: mean and deviation of pixels are not the same"):
        fit(other)
    assert clf.net_ is before
    fit(X)


def test_other_words_are_another_fit(path):
    texts = ["good film", "bad film"] * 10
    clf = MixupClassifier(module="textcnn", max_epochs=1, random_state=0, checkpoint=path)
    clf.fit(texts, [1, 0] * 10)
    with pytest.raises(ValueError, match="another fit: the vocabulary was"):
        clf.fit([text.replace("film", "book") for text in texts], [1, 0] * 10)


class AtEpochTwo(Callback):
    """Does something while callbacks are told of the end of epoch 2, once."""

    def __init__(self, what):
        self.what = what

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == 2 and self.what is not None:
            what, self.what = self.what, None
            what()


def ask_to_stop():
    raise KeyboardInterrupt


def test_ctrl_c_while_a_callback_runs_is_an_interruption_from_which_a_fit_goes_on(path):
    X, y = rows()
    whole = MixupClassifier(**LONE).fit(X, y)
    clf = MixupClassifier(**LONE, checkpoint=path)
    clf.set_params(callbacks=[AtEpochTwo(lambda: signal.raise_signal(signal.SIGINT))])
    with pytest.warns(UserWarning, match="Training was interrupted"):
        clf.fit(X, y)
    assert clf.net_.stop_ == "interrupted"
    check_same(clf.set_params(callbacks=None).fit(X, y), whole, X)


def test_a_callback_that_asks_to_stop_ends_the_fit_for_good(path):
    X, y = rows()
    clf = MixupClassifier(**LONE, checkpoint=path, callbacks=[AtEpochTwo(ask_to_stop)]).fit(X, y)
    again = MixupClassifier(**LONE, checkpoint=path).fit(X, y)
    assert clf.net_.stop_ == again.net_.stop_ == "callback"
    assert clf.n_iter_ == again.n_iter_ == 2

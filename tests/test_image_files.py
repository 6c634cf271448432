"""Images that are larger than memory, or read one by one: what is copied, and what an error costs."""

import pickle

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from skorch.callbacks import Callback
from torch.utils.data import Dataset

from mixsk import GenLabelClassifier, LaMixClassifier, MixupClassifier
from mixsk.engine import CleanBatches, Part, TrainingBatches
from mixsk.rules import Recipe, Rows, Spec, State

LENET = {"module": "lenet", "max_epochs": 2, "batch_size": 16, "random_state": 0}
N = 60


@pytest.fixture
def images(tmp_path):
    """Bytes in a file, and labels."""
    rng = np.random.default_rng(0)
    y = np.arange(N) % 3
    X = (rng.integers(0, 128, (N, 1, 12, 12)) + 40 * y[:, None, None, None]).astype(np.uint8)
    np.save(tmp_path / "X.npy", X)
    return np.load(tmp_path / "X.npy", mmap_mode="r"), y


# --- copies -------------------------------------------------------------------------------------------


@pytest.fixture
def gathered(monkeypatch):
    """Numbers of rows of each gathering of images from the file."""
    found = []
    whole = torch.Tensor.__getitem__

    def counted(self, index):
        got = whole(self, index)
        if self.dtype == torch.uint8 and self.ndim == 4 and isinstance(index, torch.Tensor):
            found.append(got.shape[:-3].numel())
        return got

    monkeypatch.setattr(torch.Tensor, "__getitem__", counted)
    return found


@pytest.mark.parametrize(
    ("cls", "params"),
    [
        (MixupClassifier, {}),
        (MixupClassifier, {"mix": "puzzle"}),
        (MixupClassifier, {"mix": "cutmix"}),
        (LaMixClassifier, {}),
        (GenLabelClassifier, {"density": "gm", "density_at": "last", "density_schedule": "online"}),
    ],
)
def test_the_training_rows_of_a_file_are_never_copied(cls, params, images, gathered):
    X, y = images
    clf = cls(**LENET, **params, early_stopping=True, validation_fraction=0.2)
    train, _, net = clf._prepare(X, y)
    assert len(train) == 48
    assert gathered  # an example that shows the network its input, batches that try a rule
    assert len(train) not in gathered
    if hasattr(net.criterion.mask, "scale_"):
        assert net.criterion.mask.scale_ == pytest.approx([X[train.index].std() / 255], rel=0.2)


def test_rows_of_images_that_are_taken_are_gathered_when_they_are_asked_for(images):
    X, y = images
    rows = MixupClassifier(**LENET)._prepare(X, y)[0].rows
    index = np.array([7, 3, 50, 20])
    taken = rows.take(index)
    assert taken.X.shape == (4, 1, 12, 12)
    assert len(taken.X) == 4
    assert taken.X.dtype == torch.uint8
    assert_array_equal(taken.X[np.array([2, 0])].numpy(), X[[50, 7]])
    assert_array_equal(taken.X[1:].numpy(), X[[3, 50, 20]])
    assert_array_equal(taken.take(np.array([3, 1])).X[:].numpy(), X[[20, 3]])
    at = torch.tensor([[1, 2], [0, 0]])
    assert torch.equal(taken.at(at), rows.at(torch.tensor([[3, 50], [7, 7]])))
    (x, codes, _), *others = CleanBatches(Part(taken, np.array([1, 3])))
    assert torch.equal(x[0], rows.at(torch.tensor([3, 20])))
    assert_array_equal(codes.numpy(), y[[3, 20]])
    assert not others


class Elsewhere(Rows):
    """Rows whose network is on a device from which nothing can be read."""

    device = torch.device("meta")


def test_images_on_the_host_are_gathered_without_waiting_for_the_device():
    n = 20
    X = torch.arange(n * 4, dtype=torch.uint8).reshape(n, 1, 2, 2)
    rows = Elsewhere(X, torch.arange(n) % 2, None, 2, floats=torch.float32)
    recipe = Recipe(Spec(mix=None, sites=(0,), n_stages=1, label="linear", hyper={}))
    recipe.bind(lambda: rows, State(torch.ones(2)))
    rng = [np.random.default_rng(0)]
    batches = list(TrainingBatches(Part(rows, np.arange(n)), recipe, 8, rng, rng))
    assert [tuple(batch.x.shape) for batch in batches] == [(1, 6, 1, 2, 2), (1, 7, 1, 2, 2), (1, 7, 1, 2, 2)]
    assert all(batch.x.is_meta for batch in batches)


# --- errors -------------------------------------------------------------------------------------------


class Broken(Dataset):
    """Images and labels, of which one cannot be read from some reading on."""

    def __init__(self, X, y, whole=0):
        self.X, self.targets, self.left = X, y, whole

    def __len__(self):
        return len(self.X)

    def __getitem__(self, i):
        if i == 7:
            self.left -= 1
            if self.left < 0:
                raise OSError("item 7 cannot be read")
        return self.X[i], int(self.targets[i])


class Fail(Callback):
    """Ends training by an error in its second step."""

    def on_batch_end(self, net, training=False, **kwargs):
        net.seen_ = getattr(net, "seen_", 0) + 1
        if net.seen_ % 2 == 0:
            raise OSError("item 7 cannot be read")


def readings(X, y):
    """How often an item is read before training."""
    data = Broken(X, y, 10**6)
    MixupClassifier(**LENET)._prepare(data, None)
    return 10**6 - data.left


@pytest.mark.parametrize("epoch", [0, 1])
@pytest.mark.parametrize("ema", [None, 0.9])
def test_a_dataset_that_fails_while_training_does_not_cost_a_fitted_classifier(images, epoch, ema):
    X, y = images
    clf = MixupClassifier(**LENET, ema=ema).fit(X, y)
    before, state = clf.predict_proba(X), set(vars(clf))
    history, temperature = clf.history_, clf.temperature_
    with pytest.raises(OSError, match="item 7 cannot be read"):
        clf.set_params(random_state=1).fit(Broken(X, y % 2, readings(X, y) + epoch), None)
    assert_array_equal(clf.predict_proba(X), before)
    assert set(vars(clf)) == state
    assert clf.history_.equals(history)
    assert clf.temperature_ == temperature
    clf.set_params(random_state=0).fit(X, y)
    assert_array_equal(clf.predict_proba(X), before)


def test_a_first_fit_that_fails_leaves_the_classifier_unfitted(images):
    X, y = images
    clf = MixupClassifier(**LENET)
    with pytest.raises(OSError, match="item 7"):
        clf.fit(Broken(X, y, readings(X, y)), None)
    assert not clf.__sklearn_is_fitted__()
    assert clf.fit(X, y).n_iter_ == 2


class Ends:
    """A callback of scikit-learn's that must be told of the end."""

    def __init__(self):
        self.told = []

    def setup(self, estimator, context):
        self.told.append("setup")

    def on_fit_task_begin(self, estimator, context, **kwargs):
        pass

    def on_fit_task_end(self, estimator, context, **kwargs):
        pass

    def teardown(self, estimator, context):
        self.told.append("teardown")


def test_callbacks_of_scikit_learn_are_ended_after_a_fit_that_fails(images):
    pytest.importorskip("sklearn.callback")  # from scikit-learn 1.9
    X, y = images
    watch = Ends()
    clf = MixupClassifier(**LENET).fit(X, y).set_callbacks(watch)
    state = set(vars(clf))
    with pytest.raises(OSError, match="item 7"):
        clf.fit(Broken(X, y, readings(X, y)), None)
    assert watch.told == ["setup", "teardown"]
    assert set(vars(clf)) == state


@pytest.mark.parametrize("ema", [None, 0.9])
def test_a_warm_start_that_fails_puts_the_weights_back(images, ema):
    X, y = images
    params = {**LENET, "warm_start": True, "ema": ema}
    clf, whole = (MixupClassifier(**params).fit(X, y) for _ in range(2))
    before = clf.predict_proba(X)
    clf.set_params(callbacks=[Fail])
    with pytest.raises(OSError, match="item 7"):
        clf.fit(X, y)
    assert_array_equal(clf.predict_proba(X), before)
    assert clf.n_iter_ == 2
    # As if it had not been.
    clf.set_params(callbacks=None).fit(X, y)
    assert_array_equal(clf.predict_proba(X), whole.fit(X, y).predict_proba(X))


@pytest.mark.parametrize("ema", [None, 0.9])
@pytest.mark.parametrize("change", [{}, {"clean_weight": 0.5}])
def test_a_partial_fit_that_fails_puts_the_weights_back(images, ema, change):
    X, y = images
    clf, whole = (MixupClassifier(**LENET, ema=ema).partial_fit(X, y, classes=[0, 1, 2]) for _ in range(2))
    before = clf.predict_proba(X)
    fails = {**change, "callbacks": [Fail]} if change else {}
    data = X if change else Broken(X, y, 0)
    with pytest.raises(OSError, match="item 7"):
        clf.set_params(**fails).partial_fit(data, y)
    assert_array_equal(clf.predict_proba(X), before)
    assert clf.n_iter_ == 1
    if not change:
        assert_array_equal(clf.partial_fit(X, y).predict_proba(X), whole.partial_fit(X, y).predict_proba(X))
        assert clf.n_iter_ == 2
    pickle.loads(pickle.dumps(clf)).predict(X)


def test_an_interrupted_fit_keeps_what_it_has_learnt(images):
    X, y = images
    clf = MixupClassifier(**LENET).fit(X, y)
    before = clf.predict_proba(X)

    class CtrlC(Callback):
        def on_epoch_begin(self, net, **kwargs):
            if len(net.history) == 2:
                raise KeyboardInterrupt

    clf.set_params(callbacks=[CtrlC], lr=0.01)
    with pytest.warns(UserWarning, match="interrupted"):
        clf.fit(X, y)
    assert not np.array_equal(clf.predict_proba(X), before)

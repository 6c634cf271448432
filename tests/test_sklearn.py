"""What scikit-learn promises of every classifier: its own checks, clone, search, pipelines, pickles."""

import copy
import io
import pickle
import warnings

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
import skops.io
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import load_iris, make_classification
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator

from mixsk import (
    AdaMixupClassifier,
    AMPClassifier,
    GenerativeClassifier,
    GenLabelClassifier,
    InfiniteMixupClassifier,
    LaMixClassifier,
    MixupClassifier,
)
from mixsk.backbones import BiLSTM, ResNet18
from mixsk.classifiers._table import PARAMETERS
from mixsk.densities import GM
from mixsk.encoding import Augment, ImageEncoder
from mixsk.rules import GenLabel, Remix

NETS = [
    AdaMixupClassifier,
    AMPClassifier,
    GenLabelClassifier,
    InfiniteMixupClassifier,
    LaMixClassifier,
    MixupClassifier,
]
CLASSIFIERS = [*NETS, GenerativeClassifier]
WHY = "rows are paired at random within random batches: a repeated row is not a row of twice the weight"
# test_generative runs the dense one where it can hold: on rows as they are, without shrinkage.
WHY_GENERATIVE = (
    "the encoder's scales are those of the rows, whatever they weigh, and 12 rows of 30 columns make the "
    "default density shrink its covariance by the number of rows"
)
WEIGHT_CHECKS = [
    "check_sample_weight_equivalence_on_dense_data",
    "check_sample_weight_equivalence_on_sparse_data",
]


class SmallBiLSTM(BiLSTM):
    """One that is trained in seconds."""

    def __init__(self, n_features, n_classes, *, n_codes, n_models=1):
        sizes = {"dimension": 8, "hidden_size": 4, "dropout": 0.1}
        super().__init__(n_features, n_classes, n_codes=n_codes, **sizes)


class SmallResNet(ResNet18):
    """Another one."""

    def __init__(self, n_features, n_classes, *, shape, n_models=1):
        super().__init__(n_features, n_classes, shape=shape, width=4, n_models=n_models)


# In float64: one check allows probabilities to differ by 1e-7, as sums over other batches do in float32.
OF_TEXT = {
    "textcnn": MixupClassifier(module="textcnn", max_epochs=3, lr=0.01, dtype="float64"),
    "bilstm": AMPClassifier(module=SmallBiLSTM, mix_at="last", max_epochs=15, lr=0.02, dtype="float64"),
}
ROWS = {  # of pixels: a row of the checks is an image of one line
    "module": SmallResNet,
    "encoder": ImageEncoder(shape=(1, 1, -1)),
    "max_epochs": 10,
    "batch_size": 16,
    "optimizer": "adam",
    "lr": 0.02,
    "dtype": "float64",
}
OF_IMAGES = {
    "mixup-resnet": MixupClassifier(**ROWS),
    "infinite-resnet": InfiniteMixupClassifier(**ROWS),
}
WHY_TEXT = "its X has fractions, or numbers below 0, and codes of words are whole numbers from 0"
NO_CODES = ["check_sample_weight_equivalence_on_dense_data", "check_class_weight_classifiers"]
# In scikit-learn 1.6 it subtracts a mean from whole numbers in place, which numpy refuses.
IN_PLACE = ["check_positive_only_tag_during_fit"] if sklearn.__version__.startswith("1.6.") else []


def named_checks(name, estimator, without, why):
    """The checks of an estimator; with a numbered id, since some run twice."""
    failing = dict.fromkeys(without, why)
    made = estimator_checks_generator(estimator, expected_failed_checks=failing, mark="skip")
    for number, (estimator, check) in enumerate(made):
        function = getattr(check, "func", check)
        yield pytest.param(estimator, check, id=f"{name}-{number}-{getattr(function, '__name__', function)}")


def checks():
    """Every check with default parameters but few epochs, and of networks of text and of images."""
    for cls in CLASSIFIERS:
        estimator, why = (cls(max_epochs=15), WHY) if cls in NETS else (cls(), WHY_GENERATIVE)
        yield from named_checks(cls.__name__, estimator, WEIGHT_CHECKS, why)
    for name, estimator in OF_TEXT.items():
        yield from named_checks(name, estimator, [*NO_CODES, *IN_PLACE], WHY_TEXT)
    for name, estimator in OF_IMAGES.items():
        yield from named_checks(name, estimator, WEIGHT_CHECKS, WHY)


ALL_CHECKS = list(checks())


@pytest.mark.filterwarnings("ignore:GM.covariance='auto'.:UserWarning")  # the checks fit one row a class
@pytest.mark.parametrize(("estimator", "check"), ALL_CHECKS)
def test_scikit_learn_check(estimator, check):
    check(estimator)


def test_more_than_50_checks_run_for_each_classifier():
    for cls in CLASSIFIERS:
        assert sum(cls.__name__ in parameters.id for parameters in ALL_CHECKS) > 50


@pytest.mark.parametrize("name", [*OF_TEXT, *OF_IMAGES])
def test_more_than_50_checks_run_for_a_network_of_text_or_images(name):
    every = [parameters.id for parameters in ALL_CHECKS if parameters.id.startswith(f"{name}-")]
    idle = [*(NO_CODES if name in OF_TEXT else WEIGHT_CHECKS), "check_array_api_input"]
    assert len([one for one in every if not one.endswith(tuple(idle))]) > 50


@pytest.mark.parametrize("name", OF_TEXT)
@pytest.mark.parametrize("check", NO_CODES)
def test_what_two_checks_feed_are_no_codes(name, check):
    (found,) = [one for _, one in estimator_checks_generator(OF_TEXT[name]) if one.func.__name__ == check]
    with pytest.raises(ValueError, match=r"(Fractions|Negative values) in data.* codes must be whole"):
        found(OF_TEXT[name])


@pytest.fixture(scope="module")
def iris():
    return load_iris(return_X_y=True)


@pytest.mark.parametrize("cls", CLASSIFIERS)
def test_defaults_and_names_are_those_of_the_table(cls):
    own = {LaMixClassifier: {"mix": "half"}}.get(cls, {})
    own |= {"mix": "auto"} if cls in (MixupClassifier, GenLabelClassifier) else {}
    own |= {"density": "auto", "gamma": "auto"} if cls is GenLabelClassifier else {}
    for name, value in cls().get_params(deep=False).items():
        assert value == own.get(name, PARAMETERS[name].default), name
        if name in own:
            assert f'default="{value}"' in cls.__doc__


def test_clone_keeps_parameters_of_module_optimizer_and_callbacks():
    clf = MixupClassifier(
        module__norm="layer", optimizer="sgd", optimizer__momentum=0.9, callbacks__stop=None
    )
    params = clone(clf).get_params()
    assert params["module__norm"] == "layer"
    assert params["optimizer__momentum"] == 0.9
    assert "callbacks__stop" in params
    assert "module__norm='layer'" in repr(clf)


def test_setting_a_nested_parameter_replaces_a_name_by_its_object():
    clf = GenLabelClassifier(density="gm").set_params(density__reg_covar=0.01)
    assert isinstance(clf.density, GM)
    assert clf.density.reg_covar == 0.01
    clf = MixupClassifier().set_params(label="remix", label__kappa=2.0)
    assert isinstance(clf.label, Remix)
    assert clf.label.kappa == 2.0


@pytest.mark.parametrize(
    ("named", "made"),
    [
        (GenLabelClassifier(density="gm"), GenLabelClassifier(density=GM())),
        (MixupClassifier(label="remix"), MixupClassifier(label=Remix())),
        (GenLabelClassifier(density="gm", gamma=0.7), MixupClassifier(label=GenLabel(gamma=0.7))),
        (MixupClassifier(hidden=(8, 8)), MixupClassifier(hidden=[8, 8])),
    ],
)
def test_a_name_and_its_object_give_the_same_fit(named, made, iris):
    fitted = [
        clf.set_params(max_epochs=2, random_state=0).fit(*iris).predict_proba(iris[0])
        for clf in (named, made)
    ]
    assert_array_equal(*fitted)


def test_fit_leaves_parameter_objects_as_they_were(iris):
    label = GenLabel(density=GM(n_components=2))
    MixupClassifier(label=label, max_epochs=1).fit(*iris)
    assert set(vars(label)) == {"density", "gamma", "top_k", "class_prior"}
    assert not hasattr(label.density, "means_")


def test_grid_search_runs_over_hyper_parameters_and_module_parameters(iris):
    grid = {"gamma": [0, 0.5, 1], "alpha": [0.2, 1], "module__norm": [None, "layer"]}
    clf = GenLabelClassifier(max_epochs=3, hidden=(8,), n_cv=1, random_state=0)
    search = GridSearchCV(clf, grid, cv=2).fit(*iris)
    assert len(search.cv_results_["params"]) == 12
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_pipeline_and_cross_validation_run(iris):
    clf = make_pipeline(
        StandardScaler(), MixupClassifier(mix="linear", mix_at="any", clean_weight=1, max_epochs=10)
    )
    assert cross_val_score(clf, *iris, cv=2).min() > 0.5


def round_trips():
    def through_joblib(clf):
        buffer = io.BytesIO()
        joblib.dump(clf, buffer)
        buffer.seek(0)
        return joblib.load(buffer)

    def through_skops(clf):
        data = skops.io.dumps(clf)
        trusted = skops.io.get_untrusted_types(data=data)
        assert all(name.startswith("mixsk.") for name in trusted), trusted
        return skops.io.loads(data, trusted=trusted)

    return {
        "pickle": lambda clf: pickle.loads(pickle.dumps(clf)),
        "joblib": through_joblib,
        "skops": through_skops,
        "deepcopy": copy.deepcopy,
    }


@pytest.mark.parametrize("way", round_trips())
@pytest.mark.parametrize("cls", NETS)
def test_a_fitted_model_survives(cls, way, iris):
    X = pd.DataFrame(iris[0]).assign(kind=np.where(iris[0][:, 0] > 5, "a", "b")).rename(columns=str)
    own = {"n_cv": 1} if cls is GenLabelClassifier else {}  # else its densities cannot go on
    clf = cls(max_epochs=2, random_state=0, **own).fit(X, iris[1])
    back = round_trips()[way](clf)
    assert_array_equal(back.predict_proba(X), clf.predict_proba(X))
    assert_array_equal(back.feature_names_in_, clf.feature_names_in_)
    pd.testing.assert_frame_equal(back.history_, clf.history_)
    back.partial_fit(X, iris[1])
    assert back.n_iter_ == 3


@pytest.mark.parametrize("way", round_trips())
@pytest.mark.parametrize("cls", [MixupClassifier, LaMixClassifier])
@pytest.mark.parametrize(
    "module",
    [
        {"module": "textcnn", "module__n_filters": 3, "module__dimension": 4},
        {"module": "bilstm", "module__hidden_size": 3, "module__dimension": 4},
    ],
    ids=["textcnn", "bilstm"],
)
def test_a_fitted_model_of_text_survives(module, cls, way):
    X = pd.DataFrame({"text": ["a great film", "boring", "", "great, great!", "a boring film", "it's great"]})
    y = ["good", "bad", "bad", "good", "bad", "good"]
    clf = cls(**module, max_epochs=2, random_state=0).fit(X, y)
    back = round_trips()[way](clf)
    assert_array_equal(back.predict_proba(X), clf.predict_proba(X))
    assert back.encoder_.layout_ == clf.encoder_.layout_
    assert back.feature_names_in_.tolist() == ["text"]
    back.partial_fit(X, y)
    assert back.n_iter_ == 3


@pytest.mark.parametrize("way", round_trips())
@pytest.mark.parametrize("cls", [MixupClassifier, LaMixClassifier])
def test_a_fitted_model_of_images_survives(cls, way):
    rng = np.random.default_rng(0)
    X, y = rng.integers(0, 256, (12, 6, 7), dtype=np.uint8), np.arange(12) % 3
    encoder = ImageEncoder(augment=Augment(crop=1, flip=True))
    clf = cls(module="resnet18", module__width=2, encoder=encoder, max_epochs=2, random_state=0).fit(X, y)
    back = round_trips()[way](clf)
    assert_array_equal(back.predict_proba(X), clf.predict_proba(X))
    assert back.encoder_.layout_.shape == (1, 6, 7)
    assert back.encoder_.layout_.augment.crop == 1
    back.partial_fit(X, y)
    assert back.n_iter_ == 3


def test_pickles_are_small_and_hold_no_net():
    X, y = make_classification(5000, 20, random_state=0)
    data = pickle.dumps(GenLabelClassifier(max_epochs=1).fit(X, y))
    assert len(data) < 1_000_000
    assert b"MixNet" not in data
    assert b"torch" not in data


@pytest.mark.parametrize("cls", NETS)
@pytest.mark.parametrize(
    "params", [{}, {"dropout": 0.3, "n_cv": 1}, {"n_members": 2, "n_cv": 1, "pair": "other_class"}]
)
def test_the_same_seed_gives_the_same_bits(cls, params, iris):
    fits = [cls(random_state=3, max_epochs=5, **params).fit(*iris).predict_proba(iris[0]) for _ in range(2)]
    assert_array_equal(*fits)
    other = cls(random_state=4, max_epochs=5, **params).fit(*iris).predict_proba(iris[0])
    assert not np.array_equal(other, fits[0])


def test_changing_alpha_changes_neither_initial_weights_nor_the_order_of_rows(iris):
    one, two = (MixupClassifier(alpha=a, mix_prob=0.0001, max_epochs=1, random_state=0) for a in (0.2, 2))
    assert_array_equal(one.fit(*iris).predict_proba(iris[0]), two.fit(*iris).predict_proba(iris[0]))


@pytest.mark.parametrize("seed", [None, 0])
def test_fit_leaves_global_random_state_and_threads_alone(seed, iris):
    torch.random.manual_seed(0)
    np.random.seed(0)
    before = torch.random.get_rng_state(), np.random.get_state()[1].copy(), torch.get_num_threads()
    GenLabelClassifier(random_state=seed, dropout=0.5, max_epochs=2, n_threads=2).fit(*iris).predict(iris[0])
    assert torch.equal(torch.random.get_rng_state(), before[0])
    assert_array_equal(np.random.get_state()[1], before[1])
    assert torch.get_num_threads() == before[2]


def test_weights_equal_repeats_where_the_fit_is_full_batch_without_mixing():
    rng = np.random.default_rng(0)
    X, y, w = rng.normal(size=(60, 4)), rng.integers(3, size=60), rng.integers(0, 4, size=60)
    X[:3], y[:3], w[:3] = 0, [0, 1, 2], 1
    clf = MixupClassifier(mix=None, batch_size=10**6, dtype="float64", encoder="passthrough", random_state=0)
    clf.set_params(max_epochs=30, early_stopping=False, n_cv=1)
    weighted = clone(clf).fit(X, y, sample_weight=w).predict_proba(X)
    repeated = clone(clf).fit(X.repeat(w, 0), y.repeat(w)).predict_proba(X)
    assert_allclose(weighted, repeated, rtol=1e-7)


def test_predicting_before_fit_is_an_error(iris):
    for method in ("predict", "predict_proba", "predict_log_proba"):
        with pytest.raises(NotFittedError):
            getattr(MixupClassifier(), method)(iris[0])


def test_html_repr_shows_the_parameters(iris):
    html = MixupClassifier(alpha=0.3)._repr_html_()
    assert "alpha" in html


def test_metadata_routing_knows_weights_and_validation_rows():
    requests = MixupClassifier().set_fit_request if hasattr(MixupClassifier, "set_fit_request") else None
    assert requests is not None
    from sklearn import config_context

    with config_context(enable_metadata_routing=True):
        clf = MixupClassifier().set_fit_request(sample_weight=True, X_val=True, y_val=True)
        assert clf.get_metadata_routing().fit.requests["X_val"] is True


def callback_modules():
    return pytest.importorskip("sklearn.callback", reason="scikit-learn < 1.9 has no callbacks")


def test_epochs_are_tasks_of_one_nested_progress_bar(iris):
    callback_modules()

    class Count:
        """A callback that counts the tasks by name."""

        def __init__(self):
            self.seen = []

        def setup(self, estimator, context): ...

        def teardown(self, estimator, context): ...

        def on_fit_task_begin(self, estimator, context):
            self.seen.append(context.task_name)

        def on_fit_task_end(self, estimator, context): ...

    count = Count()
    clf = MixupClassifier(max_epochs=4).set_callbacks(count)
    clf.fit(*iris)
    assert count.seen == ["fit"] + ["epoch"] * 4


def test_scoring_monitor_sees_every_epoch_with_the_weights_of_that_epoch(iris):
    callback = callback_modules()
    monitor = callback.ScoringMonitor(scoring="accuracy")
    clf = MixupClassifier(max_epochs=5, random_state=0).set_callbacks(monitor).fit(*iris)
    log = monitor.get_logs(select="most_recent") if hasattr(monitor, "get_logs") else None
    assert log is not None
    assert clf.n_iter_ == 5


def test_a_true_answer_of_a_callback_stops_training(iris):
    callback_modules()

    class StopAtTwo:
        def __init__(self):
            self.epochs = 0

        def setup(self, estimator, context): ...

        def teardown(self, estimator, context): ...

        def on_fit_task_begin(self, estimator, context): ...

        def on_fit_task_end(self, estimator, context):
            self.epochs += context.task_name == "epoch"
            return self.epochs == 2

    clf = MixupClassifier(max_epochs=9).set_callbacks(StopAtTwo()).fit(*iris)
    assert clf.n_iter_ == 2


def test_progress_bar_goes_through_search_pipeline_and_epochs(iris, capsys, monkeypatch):
    callback = callback_modules()
    monkeypatch.setenv("COLUMNS", "200")
    clf = make_pipeline(StandardScaler(), MixupClassifier(max_epochs=2, hidden=(4,)))
    search = GridSearchCV(clf, {"mixupclassifier__alpha": [0.5, 1]}, cv=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        search.set_callbacks(callback.ProgressBar(max_propagation_depth=None)).fit(*iris)
    out = capsys.readouterr().out
    assert "MixupClassifier - fit" in out
    assert "100%" in out

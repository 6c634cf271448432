"""The methods of the benchmark: what each builds, what the paper's protocol searches, methods from a file."""

import json
import sys
import warnings

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.tree import DecisionTreeClassifier

from mixsk import GenLabelClassifier, MixupClassifier
from mixsk.bench.methods import DEFAULT, GRID, METHODS, PAPER, InnerFolds, Method, load_methods
from mixsk.classifiers._base import MixClassifier
from mixsk.datasets import make_moons
from mixsk.densities import KDE

LR, GAMMA = [0.1, 0.01, 0.001, 0.0001], [0, 0.2, 0.4, 0.6, 0.8, 1]
NEED_HIDDEN = {"manifold", "genlabel-latent", "genlabel-online"}
NO_NETWORK = {"generative", "logreg", "boosting"}
WITH_GAMMA = {
    *("columns+genlabel", "genlabel-gm", "genlabel-kde", "genlabel-nn", "genlabel-cv", "genlabel-latent"),
    "genlabel-online",
}
X, Y = make_moons(60, random_state=0)


def bare(estimator):
    """The estimator without the search around it and the steps before it."""
    estimator = getattr(estimator, "estimator", estimator)
    return estimator[-1] if hasattr(estimator, "steps") else estimator


# --- the table


def test_the_names_are_those_that_were_promised():
    promised = """
        vanilla mixup mixup-exclude-mi manifold columns columns+genlabel regmixup remix logistic adamixup
        genlabel-gm genlabel-kde genlabel-nn genlabel-nn-label genlabel-cv genlabel-latent generative
        infinite infinite-regmixup infinite-remix lamix amp
    """
    assert set(METHODS) == {*promised.split(), "genlabel-online", "logreg", "boosting"}
    assert set(DEFAULT) < set(METHODS)


def test_no_two_methods_are_the_same():
    descriptions = [json.dumps(method.describe()) for method in METHODS.values()]
    assert len(set(descriptions)) == len(METHODS)


@pytest.mark.parametrize("module", ["linear", "mlp"])
@pytest.mark.parametrize("name", METHODS)
def test_every_method_learns_with_either_network_or_says_why_not(name, module):
    method = METHODS[name]
    reason = method.why_not(module)
    assert (reason is not None) == (module == "linear" and name in NEED_HIDDEN)
    if reason is not None:
        assert "hidden layer" in reason
        return
    estimator = method.build(module=module, hidden=(8,), max_epochs=2, max_iter=20, random_state=0)
    clf = bare(estimator)
    assert isinstance(clf, MixClassifier) == (name not in NO_NETWORK)
    if name not in NO_NETWORK:
        assert clf.module == module
        assert clf.hidden == ((8,) if module == "mlp" else (128, 128))  # which would be refused
        assert clf.max_epochs == 2
    proba = estimator.fit(X, Y).predict_proba(X)
    assert proba.shape == (60, 2)
    np.testing.assert_allclose(proba.sum(1), 1, atol=1e-6)


@pytest.mark.parametrize("name", ["logreg", "boosting"])
def test_the_known_classifiers_take_categories_and_missing_values(name):
    pd = pytest.importorskip("pandas")
    table = pd.DataFrame({"a": X[:, 0], "b": pd.Categorical(np.where(X[:, 1] > 0, "up", "down"))})
    table.loc[3, "a"] = None
    assert METHODS[name].build(max_iter=20).fit(table, Y).score(table, Y) > 0.7


# --- settings and build


def test_overrides_go_where_they_are_known_and_have_an_effect():
    overrides = {"alpha": 2, "max_epochs": 7, "early_stopping": True, "nonsense": 1, "random_state": 3}
    shared = ("alpha", "max_epochs", "early_stopping", "random_state")
    expected = {
        "vanilla": {"mix": None, "max_epochs": 7, "early_stopping": True, "random_state": 3},
        "remix": {"mix": "linear", "label": "remix"} | {name: overrides[name] for name in shared},
        "adamixup": {"max_epochs": 7, "early_stopping": True, "random_state": 3},
        "generative": {},
        "logreg": {"max_iter": 1000, "random_state": 3},
        "boosting": {"early_stopping": True, "random_state": 3},
    }
    for name, settings in expected.items():
        assert METHODS[name].settings(**overrides) == settings
        params = bare(METHODS[name].build(**overrides)).get_params()
        assert settings.items() <= params.items()


def test_an_override_has_precedence_over_the_method():
    assert Method(MixupClassifier, {"alpha": 3}).build(alpha=2).alpha == 2


def test_building_leaves_the_method_as_it_was():
    forest = RandomForestClassifier()
    method = Method(forest, {"n_estimators": 3})
    assert method.build(random_state=1).get_params()["random_state"] == 1
    assert forest.random_state is None
    assert forest.n_estimators == 100
    assert method.params == {"n_estimators": 3}


def test_seeds_reach_the_parts_of_an_estimator_that_have_none():
    inner = make_pipeline(SimpleImputer(), RandomForestClassifier(random_state=9))
    for method in [
        Method(CalibratedClassifierCV(DecisionTreeClassifier(), cv=2)),
        Method(CalibratedClassifierCV, {"estimator": DecisionTreeClassifier(), "cv": 2}),
    ]:
        assert method.build(random_state=5).estimator.random_state == 5
        assert method.build().estimator.random_state is None
    assert Method(inner).build(random_state=5)[-1].random_state == 9
    assert Method(make_pipeline(DecisionTreeClassifier())).build(random_state=5)[-1].random_state == 5


def test_an_estimator_of_the_user_takes_nothing_but_seeds():
    built = Method(MixupClassifier(alpha=3)).build(module="linear", alpha=1, max_epochs=2, random_state=4)
    assert repr(built) == repr(MixupClassifier(alpha=3, random_state=4))


# --- the paper's protocol


@pytest.mark.parametrize("module", ["linear", "mlp"])
@pytest.mark.parametrize("name", METHODS)
def test_the_search_is_the_papers(name, module):
    if METHODS[name].why_not(module):
        return
    search = METHODS[name].search(seed=3, module=module)
    clf = bare(search)
    grid = {} if name in NO_NETWORK else {"lr": LR}
    grid |= {"gamma": GAMMA} if name in WITH_GAMMA else {}
    grid |= {"density": ["gm", "kde"]} if name == "genlabel-cv" else {}
    assert getattr(search, "param_grid", {}) == grid
    if name in NO_NETWORK:
        assert not hasattr(search, "cv")
    else:
        assert (search.cv.n_splits, search.cv.random_state) == (5, 3)
        own = (clf.optimizer, clf.weight_decay, clf.schedule, clf.batch_size, clf.max_epochs, clf.module)
        assert own == ("adam", 1e-4, None, 128, 100, module)
        assert clf.early_stopping is False
        assert clf.random_state == 3
    if name == "generative" or (name in WITH_GAMMA):
        assert clf.class_prior == "uniform"
    if name == "boosting":
        assert clf.early_stopping == "auto"


@pytest.mark.parametrize("name", ["mixup", "mixup-exclude-mi", "genlabel-gm", "genlabel-cv"])
def test_the_paper_draws_one_lam_a_batch_uniformly(name):
    clf = bare(METHODS[name].search(module="linear"))
    assert (clf._alpha(), clf._lam_per()) == (1, "batch")
    assert bare(METHODS[name].search(module="linear", alpha=2))._alpha() == 2


def test_the_paper_adds_nothing_that_a_classifier_would_refuse():
    for name, method in METHODS.items():
        clf = bare(method.search())
        if isinstance(clf, MixClassifier):
            assert clf._check_params() is None, name
            assert all(clf.get_params()[key] == value for key, value in method.params.items())
    assert "class_prior" not in METHODS["genlabel-nn-label"].settings(**PAPER)


def test_what_is_set_is_not_searched():
    assert METHODS["genlabel-gm"].search(gamma=0.5).param_grid == {"lr": LR}
    assert Method(MixupClassifier, {"lr": 0.05}).search().get_params()["lr"] == 0.05
    assert METHODS["mixup"].search(max_epochs=3).estimator.max_epochs == 3
    assert Method(MixupClassifier, {"max_epochs": 4}).search().estimator.max_epochs == 4


def test_a_grid_of_ones_own_is_searched_with_any_classifier():
    grid = {"C": [0.01, 100]}
    method = Method(LogisticRegression, grid=grid, standardise=True)
    search = method.search(seed=1)
    assert search.param_grid == {"logisticregression__C": [0.01, 100]}
    with pytest.warns(UserWarning, match="LogisticRegression is not one of mixsk's networks"):
        search.fit(X, Y)
    plain = GridSearchCV(
        method.build(random_state=1),
        search.param_grid,
        cv=StratifiedKFold(5, shuffle=True, random_state=1),
    ).fit(X, Y)
    assert search.best_params_ == plain.best_params_
    assert_array_equal(search.cv_results_["mean_test_score"], plain.cv_results_["mean_test_score"])
    assert Method(MixupClassifier, grid={}).search(max_epochs=1).get_params()["max_epochs"] == 1


def test_the_search_chooses_what_a_loop_over_its_grid_finds_best():
    iris, kinds = load_iris(return_X_y=True)
    search = METHODS["mixup"].search(seed=2, module="linear", max_epochs=5).fit(iris, kinds)
    scores = []
    for lr in LR:
        clf = MixupClassifier(module="linear", max_epochs=5, lr=lr, early_stopping=False, random_state=2)
        folds = StratifiedKFold(5, shuffle=True, random_state=2).split(iris, kinds)
        scores.append(
            np.mean(
                [clf.fit(iris[train], kinds[train]).score(iris[test], kinds[test]) for train, test in folds]
            )
        )
    np.testing.assert_allclose(search.cv_results_["mean_test_score"], scores, atol=1e-9)
    assert search.best_params_ == {"lr": LR[int(np.argmax(scores))]}


def test_rare_classes_do_not_break_the_search_and_folds_say_nothing_of_them():
    rng = np.random.default_rng(0)
    y = np.array([*"aaaaaaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbbbbbccd"])
    rows = rng.normal(size=(len(y), 3)) + np.unique(y, return_inverse=True)[1][:, None]
    method = Method(GenLabelClassifier, {"density": "gm", "gamma": 0.5}, grid={"lr": [0.1, 0.01]})
    search = method.search(module="linear", max_epochs=2)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        search.fit(rows, y)
    (warning,) = caught  # of the last fit: in some of the folds class c has one row
    assert "too few rows" in str(warning.message)
    assert "class 2 (2 rows), class 3 (1 row" in str(warning.message)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert list(search.classes_) == [*"abcd"]


def test_a_fit_that_fails_in_the_search_is_told():
    method = Method(LogisticRegression, grid={"C": [-1.0, 1.0]})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        search = method.search().fit(X, Y)
    assert search.best_params_ == {"C": 1.0}
    assert any("5 fits failed out of a total of 10" in str(w.message) for w in caught)


@pytest.mark.parametrize("counts", [(30, 20), (7, 5, 9), (5, 2, 1, 1), (2, 2), (3, 1), (40, 4, 3, 2, 1)])
def test_inner_folds_train_on_every_class_and_hold_each_other_row_out_once(counts):
    y = np.random.default_rng(1).permutation(np.repeat(np.arange(len(counts)), counts))
    folds = list(InnerFolds(5, shuffle=True, random_state=0).split(None, y))
    assert len(folds) == min(5, max(counts))
    for train, test in folds:
        assert len(test)
        assert set(y[train]) == set(y)
        assert_array_equal(np.sort([*train, *test]), np.arange(len(y)))
    several = np.flatnonzero(np.bincount(y)[y] > 1)
    assert_array_equal(np.sort(np.concatenate([test for _, test in folds])), several)


def test_inner_folds_are_scikit_learns_where_classes_are_large_enough():
    y = np.repeat([*"abc"], [12, 5, 9])
    ours = InnerFolds(5, shuffle=True, random_state=7).split(None, y)
    theirs = StratifiedKFold(5, shuffle=True, random_state=7).split(y, y)
    for (train, test), (their_train, their_test) in zip(ours, theirs, strict=True):
        assert_array_equal(train, their_train)
        assert_array_equal(test, their_test)


def test_where_no_class_has_two_rows_the_training_rows_choose_with_a_warning():
    search = METHODS["mixup"].search(module="linear", max_epochs=2)
    with pytest.warns(UserWarning, match="No class has two of the 3 rows"):
        search.fit(X[:3], [0, 1, 2])
    assert search.predict_proba(X[:3]).shape == (3, 3)


# --- descriptions


@pytest.mark.parametrize("searches", [False, True])
@pytest.mark.parametrize("name", METHODS)
def test_a_description_survives_json_and_a_second_look(name, searches):
    one = METHODS[name].describe(searches=searches, max_epochs=3, module="mlp")
    assert json.loads(json.dumps(one, allow_nan=False)) == one
    assert METHODS[name].describe(searches=searches, max_epochs=3, module="mlp") == one


def test_a_description_tells_methods_apart_by_any_parameter():
    methods = [
        Method(MixupClassifier),
        Method(MixupClassifier, {"mix": "linear", "alpha": 2}),
        Method(MixupClassifier(alpha=3)),
        Method(GenLabelClassifier),
        Method(GenLabelClassifier, {"density": KDE(bandwidth=0.5)}),
        Method(GenLabelClassifier, {"density": KDE(bandwidth=0.6)}),
        Method(make_pipeline(SimpleImputer(), LogisticRegression())),
        Method(make_pipeline(SimpleImputer(strategy="median"), LogisticRegression())),
        Method(GridSearchCV(LogisticRegression(), {"C": np.array([1, 2])}, cv=StratifiedKFold(3))),
        Method(GridSearchCV(LogisticRegression(), {"C": np.array([1, 3])}, cv=StratifiedKFold(3))),
        Method(GridSearchCV(LogisticRegression(), {"C": np.array([1, 3])}, cv=StratifiedKFold(4))),
    ]
    texts = [json.dumps(method.describe(), allow_nan=False) for method in methods]
    assert len(set(texts)) == len(methods)
    assert METHODS["mixup"].describe(alpha=2) == methods[1].describe()
    assert METHODS["mixup"].describe() == Method("mixsk.MixupClassifier", {"mix": "linear"}).describe()
    grids = [Method(LogisticRegression, grid={"C": [c]}).describe(searches=True) for c in (1, 2)]
    assert grids[0] != grids[1]


def test_a_description_has_no_addresses():
    first, second = (Method(CalibratedClassifierCV(cv=Opaque())).describe() for _ in range(2))
    assert first == second
    assert "Opaque" in first["cv"]["text"]


class Opaque:
    """Its text has its address."""


# --- methods from text and files


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Write a file of methods; return its path."""
    monkeypatch.setattr(sys, "path", sys.path[:])
    before = set(sys.modules)

    def write(content, name="own_methods.py"):
        path = tmp_path / name
        path.write_text(content)
        return str(path)

    yield write
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


OWN = """
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.tree import DecisionTreeClassifier
from mixsk.bench.methods import Method
from helper_of_own import DEPTH

class Prior(DummyClassifier):
    pass

METHODS = {
    "tree": make_pipeline(DecisionTreeClassifier(max_depth=DEPTH)),
    "prior": Prior(strategy="prior"),
    "mixup-2": Method("mixsk.MixupClassifier", {"alpha": 2}),
    "lr": Method(LogisticRegression, grid={"C": [1, 10]}, standardise=True),
}
"""


def test_a_text_names_methods_and_files(own):
    own("DEPTH = 2", "helper_of_own.py")
    path = own(OWN)
    methods = load_methods(f" vanilla, {path},amp ,vanilla")
    assert list(methods) == ["vanilla", "tree", "prior", "mixup-2", "lr", "amp"]
    assert methods["vanilla"] == METHODS["vanilla"]
    assert {methods[name].source for name in ("tree", "prior", "mixup-2", "lr")} == {path}
    assert methods["amp"].source == "amp"
    again = load_methods(methods["tree"].source)  # as another process finds it
    assert {name: method.describe() for name, method in again.items()} == {
        name: method.describe() for name, method in methods.items() if method.source == path
    }
    tree = methods["tree"].build(random_state=3, max_epochs=2, module="linear")
    assert tree[-1].get_params()["random_state"] == 3
    assert tree.fit(X, Y)[-1].get_depth() == 2
    assert methods["tree"].search().fit(X, Y).predict_proba(X).shape == (60, 2)
    assert methods["mixup-2"].search(module="linear").param_grid == {"lr": GRID["lr"]}
    assert methods["lr"].search().param_grid == {"logisticregression__C": [1, 10]}


def test_a_class_from_a_file_can_be_pickled(own):
    import pickle

    own("DEPTH = 2", "helper_of_own.py")
    prior = load_methods(own(OWN))["prior"].build(random_state=0).fit(X, Y)
    assert_array_equal(pickle.loads(pickle.dumps(prior)).predict(X), prior.predict(X))


def test_all_names_all_methods(own):
    path = own("from sklearn.dummy import DummyClassifier\nMETHODS = {'x': DummyClassifier()}")
    assert load_methods("all") == METHODS
    assert list(load_methods(f"all,{path}")) == [*METHODS, "x"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("vanila,mixup", r"unknown method 'vanila', did you mean 'vanilla'\? Known: vanilla, mixup,"),
        ("genlabel", r"unknown method 'genlabel', did you mean 'genlabel-nn' or 'genlabel-gm'"),
        (" , ", r"no method in ' , ': give at least one name, 'all' or the path of a \.py file"),
        ("nowhere.py", r"cannot read the methods of nowhere\.py: there is no such file in "),
    ],
)
def test_wrong_texts_are_told(text, message):
    with pytest.raises(ValueError, match=message):
        load_methods(text)


D = "from sklearn.dummy import DummyClassifier as D\nfrom sklearn.svm import SVC\n"
D += "from sklearn.linear_model import LinearRegression\nfrom mixsk.bench.methods import Method\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("x = 1", r"{path} defines no METHODS, and should define a dict of names to classifiers, such as"),
        ("METHODS = [1]", r"{path} defines METHODS = \[1\], and should define a dict"),
        ("METHODS = dict()", r"{path} defines METHODS = \{{\}}, and should"),
        ("METHODS = (", r"cannot read the methods of {path}: SyntaxError: "),
        ("import nowhere_to_be_found", r"cannot read the methods of {path}: ModuleNotFoundError: No module"),
        ("METHODS = {'a': D}", r"{path}, METHODS\['a'\] is a class: give an object, DummyClassifier\(\)"),
        (
            "METHODS = {'a': 'mixup'}",
            r"{path}, METHODS\['a'\] is no classifier of scikit-learn's kind: 'mixup'",
        ),
        ("METHODS = {'a': LinearRegression()}", r"METHODS\['a'\] is no classifier: LinearRegression\(\)"),
        ("METHODS = {'a': SVC()}", r"METHODS\['a'\] has no predict_proba, .*: SVC\(\)\. CalibratedClass"),
        ("METHODS = {'a': Method('mixsk.Mixup')}", r"\['a'\] cannot be used: AttributeError: .*'Mixup'"),
        ("METHODS = {'a': Method(D, {'alpha': 1})}", r"\['a'\] cannot be used: TypeError: .*'alpha'"),
        ("METHODS = {'a': Method(D, grid={'C': [1]})}", r"\['a'\] cannot be used: ValueError: .*'C'"),
        ("METHODS = {'a/b': D()}", r"METHODS\['a/b'\]: a name is 1 to 100 letters, digits and \. _ \+ -,"),
        ("METHODS = {'a,b': D()}", r"METHODS\['a,b'\]: a name is 1 to 100"),
        ("METHODS = {'': D()}", r"METHODS\[''\]: a name is 1 to 100"),
        ("METHODS = {3: D()}", r"METHODS\[3\]: a name is 1 to 100"),
        ("METHODS = {'mixup': D()}", r"METHODS\['mixup'\]: another method has this name"),
        ("METHODS = {'a': D(), 'A': D()}", r"METHODS\['A'\]: another method has this name, if only in other"),
    ],
)
def test_mistakes_in_a_file_are_told_with_its_name(own, content, message):
    path = own(D + content if content.startswith("METHODS = {") else content)
    with pytest.raises(ValueError, match=message.format(path=path.replace(".", r"\."))):
        load_methods(path)


@pytest.mark.parametrize("name", ["statistics.py", "numpy.py", "my.own.py"])
def test_a_file_with_the_name_of_a_module_is_refused_and_the_module_stays(own, name):
    path, module = own(D + "METHODS = {'a': D()}", name), sys.modules.get(name.removesuffix(".py"))
    with pytest.raises(ValueError, match=r"cannot import .* Rename the file"):
        load_methods(path)
    assert sys.modules.get(name.removesuffix(".py")) is module


def test_two_files_may_not_share_a_name(own):
    one, other = (
        own(D + "METHODS = {'a': D()}", "one_own.py"),
        own(D + "METHODS = {'a': D()}", "other_own.py"),
    )
    with pytest.raises(ValueError, match=r"two methods are named 'a', of .*one_own.py and of .*other_own.py"):
        load_methods(f"{one},{other}")


def test_named_methods_mix_as_their_papers_do_whatever_the_network_would_do_by_itself():
    for name, method in METHODS.items():
        clf = bare(method.build(module="table"))
        if isinstance(clf, MixClassifier) and clf.mix is not None:
            expected = {"lamix": "half"}.get(name, "columns" if name.startswith("columns") else "linear")
            assert clf._mix() == expected

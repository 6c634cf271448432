"""Intrusions among features: mixed rows that the network puts nearest to a row of a third class."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_iris
from torch import nn

from mixsk import (
    AdaMixupClassifier,
    AMPClassifier,
    GenLabelClassifier,
    InfiniteMixupClassifier,
    LaMixClassifier,
    MixupClassifier,
)
from mixsk.backbones import Backbone, build
from mixsk.encoding import Layout
from mixsk.rules import (
    AdaMixup,
    AdversarialLam,
    Batch,
    Draw,
    GenLabel,
    LaMix,
    LinearLabel,
    OnlineGenLabel,
    Recipe,
    Rows,
    Sizes,
    Spec,
    State,
    Step,
)
from mixsk.rules.intrusion import DropFeatureIntrusions

M, B, F, C, WIDTH = 2, 24, 3, 4, 5
WIDTHS = (F, WIDTH, WIDTH)


def kept_by_hand(mixed, clean, code, perm, real=None):
    """Definition 1 with a loop: whether the class of the nearest clean row is one of the parents'."""
    kept = np.zeros(len(mixed))
    for i, x in enumerate(mixed):
        distance = ((clean - x) ** 2).sum(-1)
        if real is not None:
            distance[real == 0] = np.inf
        kept[i] = code[distance.argmin()] in (code[i], code[perm[i]])
    return kept


class Case:
    """One step: rows of four overlapping classes for each model, and who is mixed with whom."""

    def __init__(self, seed=0, site=0, n=B, models=M):
        rng = np.random.default_rng(seed)
        self.code = rng.integers(0, C, (models, n))
        self.x = rng.normal(size=(models, n, F)) + 0.5 * self.code[..., None]
        self.perm = np.stack([rng.permutation(n) for _ in range(models)])
        self.lam = rng.random((models, n))
        self.site = site
        self.real = None

    def batch(self, w=None):
        y = np.eye(C)[self.code] * (1 if w is None else w[..., None])
        draw = Draw(torch.tensor(self.perm), torch.tensor(self.lam), self.site)
        real = None if self.real is None else torch.tensor(self.real)
        return Batch(torch.tensor(self.x), torch.tensor(y), draw, real)


def network(models=M):
    options = {"hidden": WIDTHS[1:], "activation": "tanh"}
    return build("mlp", F, C, options, tuple(range(models))).double()


def recipe_of(label="linear", drop_intrusions="last", rows=None, weighted=False, **spec):
    hyper = {"alpha": 1.0, "mix_prob": 1, "label_smoothing": 0, "clean_weight": 0, **spec.pop("hyper", {})}
    recipe = Recipe(Spec(n_stages=2, label=label, drop_intrusions=drop_intrusions, hyper=hyper, **spec))
    recipe.attach(Sizes(F, WIDTHS, C, M), range(M))
    recipe.double()
    recipe.bind(lambda: rows, State(torch.ones(C).double(), None, weighted))
    return recipe


def features(net, h, start, stop, m):
    """What stage `stop` makes of the output h (n, width) of stage `start`, in numpy."""
    for stage in net.stages[start:stop]:
        weight, bias = (getattr(stage.linear, name)[m].detach().numpy() for name in ("weight", "bias"))
        h = np.tanh(h @ weight + bias)
    return h


def expected_keep(net, case):
    """Rows kept, with all features made by hand: mixed at the case's site of each model."""
    keep = np.zeros(case.lam.shape)
    for m in range(len(case.x)):
        site = case.site if isinstance(case.site, int) else case.site[m]
        perm, lam = case.perm[m], case.lam[m][:, None]
        h = features(net, case.x[m], 0, site, m)
        mixed = features(net, lam * h + (1 - lam) * h[perm], site, 2, m)
        clean = features(net, case.x[m], 0, 2, m)
        keep[m] = kept_by_hand(mixed, clean, case.code[m], perm, None if case.real is None else case.real[m])
    return keep


# --- which rows are kept ------------------------------------------------------------------------------


def bare(clean, code, real=None, n_stages=2):
    """The target after it has seen a batch."""
    drop = DropFeatureIntrusions(LinearLabel(), n_stages)
    y = torch.eye(C, dtype=clean.dtype)[torch.as_tensor(code)]
    drop.update(clean, y, real)
    return drop, y


def keep_of(drop, y, perm, mixed):
    lam = torch.full(y.shape[:2], 0.5, dtype=y.dtype)
    t, keep = drop(y, torch.as_tensor(perm), lam, lam, {2: mixed}, None)
    assert torch.equal(t, LinearLabel()(y, torch.as_tensor(perm), lam, lam, {}, None)[0])
    return keep


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_row_is_kept_if_the_nearest_of_the_batchs_rows_has_a_parents_label(seed, dtype):
    case, rng = Case(seed), np.random.default_rng(seed)
    clean = torch.tensor(rng.normal(size=(M, B, WIDTH)) + 0.5 * case.code[..., None] + 100, dtype=dtype)
    lam = torch.tensor(case.lam, dtype=dtype)[..., None]
    mixed = lam * clean + (1 - lam) * torch.take_along_dim(clean, torch.tensor(case.perm)[..., None], 1)
    drop, y = bare(clean, case.code)
    keep = keep_of(drop, y, case.perm, mixed)
    assert keep.dtype == dtype
    for m in range(M):
        rows = mixed[m].double().numpy(), clean[m].double().numpy()
        assert_array_equal(keep[m], kept_by_hand(*rows, case.code[m], case.perm[m]))
    assert 0 < keep.mean() < 1


def test_features_of_any_shape_are_compared():
    case, rng = Case(), np.random.default_rng(0)
    clean = torch.tensor(rng.normal(size=(M, B, 2, 3)))
    mixed = torch.tensor(rng.normal(size=(M, B, 2, 3)))
    drop, y = bare(clean, case.code)
    keep = keep_of(drop, y, case.perm, mixed)
    for m in range(M):
        rows = (v[m].reshape(B, 6).numpy() for v in (mixed, clean))
        assert_array_equal(keep[m], kept_by_hand(*rows, case.code[m], case.perm[m]))


@pytest.mark.parametrize("distances", [1, 100, 5 * M * B])
def test_it_does_not_depend_on_the_blocks(monkeypatch, distances):
    case, rng = Case(), np.random.default_rng(0)
    clean, mixed = (torch.tensor(rng.normal(size=(M, B, WIDTH))) for _ in range(2))
    drop, y = bare(clean, case.code)
    whole = keep_of(drop, y, case.perm, mixed)
    monkeypatch.setattr("mixsk.rules.intrusion.DISTANCES", distances)
    assert torch.equal(keep_of(drop, y, case.perm, mixed), whole)


def test_a_padding_row_is_nobodys_neighbour():
    clean = torch.tensor([[[0.0], [2.0], [1.0], [1.0]]]).double()  # the last two lie where the first two meet
    mixed = torch.tensor([[[1.0], [1.0], [1.0], [1.0]]]).double()
    perm = [[1, 0, 2, 3]]
    kept = {}
    for name, real in (("all", None), ("first three", [1, 1, 1, 0]), ("first two", [1, 1, 0, 0])):
        drop, y = bare(clean, [[0, 1, 2, 3]], None if real is None else torch.tensor([real]).double())
        kept[name] = keep_of(drop, y, perm, mixed)[0, :2].tolist()
    assert kept == {"all": [0, 0], "first three": [0, 0], "first two": [1, 1]}


def test_of_rows_that_are_equally_near_a_parent_counts_whatever_their_order():
    """Dead units make features of many rows equal: rounding must not say which is the nearest."""
    n, width = 128, 100
    rng = np.random.default_rng(0)
    place, code = np.divmod(np.arange(n), 4)
    places, perm = rng.normal(size=(3, width)) * 1e3, rng.permutation(n)[None]
    clean = torch.tensor(places[place % 3][None])  # each place has rows of all classes
    mixed = clean + torch.tensor(rng.normal(size=(1, n, width)) * 100)
    for _ in range(5):
        order = rng.permutation(n)
        drop, y = bare(clean[:, order], code[None, order])
        assert keep_of(drop, y, order.argsort()[perm[:, order]], mixed[:, order]).all()


def test_with_two_classes_only_pairs_of_one_class_can_intrude():
    rng = np.random.default_rng(0)
    clean, mixed = (torch.tensor(rng.normal(size=(1, 40, 2))) for _ in range(2))
    code, perm = rng.integers(0, 2, (1, 40)), rng.permutation(40)[None]
    drop, y = bare(clean, code)
    keep = keep_of(drop, y, perm, mixed)
    same = code == np.take_along_axis(code, perm, 1)
    assert keep[torch.tensor(~same)].all()
    assert not keep[torch.tensor(same)].all()


# --- in a step ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("site", [0, 1, 2, [0, 2], [2, 1], [1, 1]])
@pytest.mark.parametrize("seed", range(4))
def test_features_are_those_of_the_last_stage_wherever_rows_are_mixed(seed, site):
    net, case = network(), Case(seed, site)
    recipe = recipe_of(sites=(0, 1, 2))
    walk = Step(recipe, net, case.batch())
    h, share = walk.mixed(walk.draw.lam)
    _, taps = walk.upper(h)
    _, _, keep = walk.target(share, taps)
    assert_array_equal(keep, expected_keep(net, case))
    assert 0 < keep.mean() < 1


@pytest.mark.parametrize("clean_weight", [0, 0.7])
def test_the_loss_is_the_mean_over_the_kept_rows(clean_weight):
    net, case = network(), Case(3, site=1)
    recipe = recipe_of(sites=(1,), hyper={"clean_weight": clean_weight})
    keep = expected_keep(net, case)
    loss = recipe(net, case.batch())
    for m in range(M):
        perm, lam = case.perm[m], case.lam[m][:, None]
        h, y = features(net, case.x[m], 0, 1, m), np.eye(C)[case.code[m]]

        def cross_entropy(h, t, m=m):
            z = torch.tensor(features(net, h, 1, 2, m))
            logits = net.head(z.expand(M, -1, -1))[m].detach()
            return -(torch.tensor(t) * torch.log_softmax(logits, -1)).sum(-1).numpy()

        rows = cross_entropy(lam * h + (1 - lam) * h[perm], lam * y + (1 - lam) * y[perm])
        expected = rows[keep[m] == 1].mean() + clean_weight * cross_entropy(h, y).mean()
        assert_allclose(loss[m].item(), expected, rtol=1e-10)


def test_what_is_dropped_does_not_depend_on_label_weights():
    net, case = network(), Case(4)
    w = np.random.default_rng(0).random((M, B)) + 0.1
    keeps = []
    for weight in (None, w):
        walk = Step(recipe_of(weighted=weight is not None), net, case.batch(weight))
        h, share = walk.mixed(walk.draw.lam)
        keeps.append(walk.target(share, walk.upper(h)[1])[2])
    assert torch.equal(*keeps)


def test_padding_rows_of_a_step_are_left_out():
    net, case = network(), Case(5)
    case.perm[:, -4:] = np.arange(B - 4, B)
    for row in case.perm:  # a permutation of the rest
        row[:-4] = np.random.default_rng(0).permutation(B - 4)
    case.real = np.ones((M, B))
    case.real[:, -4:] = 0
    walk = Step(recipe_of(), net, case.batch())
    h, share = walk.mixed(walk.draw.lam)
    keep = walk.target(share, walk.upper(h)[1])[2]
    assert_array_equal(keep[:, :-4], expected_keep(net, case)[:, :-4])


class Counted(DropFeatureIntrusions):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.updates = 0

    def update(self, features, y, real):
        assert not features.requires_grad
        self.updates += 1
        super().update(features, y, real)


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"sites": (1,)},
        {"hyper": {"clean_weight": 1.0}},
        {"objective": AdversarialLam(0.1), "sites": (2,)},
        {"objective": AdversarialLam(0.1, reweight=True), "hyper": {"clean_weight": 1.0}},
        {"loss": "infinite"},
        {"objective": AdversarialLam(0.1), "loss": "infinite"},
        {"objective": AdaMixup()},
    ],
)
def test_every_objective_lets_it_look_at_the_batch_once_and_trains_the_whole_network(monkeypatch, spec):
    monkeypatch.setattr("mixsk.rules.recipe.DropFeatureIntrusions", Counted)
    net, case = network(), Case(6, site=spec.get("sites", (0,))[0])
    recipe = recipe_of(lam_per="sample", **spec)
    recipe(net, case.batch()).sum().backward()
    assert recipe.intrusions.updates == 1
    for parameter in net.parameters():
        assert (parameter.grad.flatten(1).abs().amax(1) > 0).all()
    recipe(net, case.batch())
    assert recipe.intrusions.updates == 2


def test_adamixup_looks_among_the_half_that_it_mixes(monkeypatch):
    seen = []

    class Noted(DropFeatureIntrusions):
        def update(self, features, y, real):
            seen.append((features, y))
            super().update(features, y, real)

    monkeypatch.setattr("mixsk.rules.recipe.DropFeatureIntrusions", Noted)
    net, case = network(), Case(7)
    recipe_of(objective=AdaMixup(), lam_per="sample")(net, case.batch())
    ((found, y),) = seen
    assert_array_equal(y.argmax(-1), case.code[:, : B // 2])
    for m in range(M):
        assert_allclose(found[m], features(net, case.x[m, : B // 2], 0, 2, m), rtol=1e-10)


def test_the_label_inside_and_the_features_outside_each_see_their_own_stage():
    """An online density of stage 1 follows the same batches as the intrusions of stage 2."""
    net, case = network(), Case(8)
    recipe = recipe_of(OnlineGenLabel(density_at=1, memory=0))
    walk = Step(recipe, net, case.batch())
    h, share = walk.mixed(walk.draw.lam)
    _, _, keep = walk.target(share, walk.upper(h)[1])
    assert_array_equal(keep, expected_keep(net, case))
    running = recipe.aux["label"]
    for m in range(M):
        f = features(net, case.x[m], 0, 1, m)
        means = np.stack([f[case.code[m] == c].mean(0) for c in range(C)])
        assert_allclose(running.mean[m], means, rtol=1e-10)


@pytest.mark.parametrize("label", [GenLabel(), LaMix(), OnlineGenLabel(density_at=1), "remix"])
@pytest.mark.parametrize("smoothing", [0, 0.1])
def test_the_targets_are_those_without_it(label, smoothing):
    net, case, targets = network(), Case(9), []
    rows = Rows(torch.tensor(case.x[0]), torch.tensor(case.code[0]), None, C, Layout.of_numbers(F))
    for drop in (False, "last"):
        recipe = recipe_of(label, drop, rows, hyper={"label_smoothing": smoothing})
        walk = Step(recipe, net, case.batch())
        h, share = walk.mixed(walk.draw.lam)
        targets.append(walk.target(share, walk.upper(h)[1])[0])
    assert torch.equal(*targets)


def test_a_batch_that_is_left_alone_loses_no_row():
    net, case = network(), Case(10)
    batch = case.batch()
    batch = batch._replace(draw=batch.draw._replace(mixed=torch.tensor([True, False])))
    walk = Step(recipe_of(), net, batch)
    h, share = walk.mixed(walk.draw.lam)
    keep = walk.target(share, walk.upper(h)[1])[2]
    assert keep[0].mean() < 1
    assert keep[1].all()


class Normalised(Backbone):
    """A user's network with batch normalisation, for one model."""

    def __init__(self):
        super().__init__()
        self.stages = nn.ModuleList([nn.Sequential(nn.Linear(F, 6), Norm(6), nn.Tanh())])
        self.head = nn.Linear(6, C)
        self.widths = (F, 6)
        self.rows_interact = True


class Norm(nn.BatchNorm1d):
    def forward(self, h):
        return super().forward(h[0])[None]


@pytest.mark.parametrize("site", [0, 1])
def test_the_second_look_at_the_rows_does_not_count_in_batch_norm(site):
    torch.manual_seed(0)
    net, plain, case = Normalised().double(), Normalised().double(), Case(site=site, models=1)
    plain.load_state_dict(net.state_dict())
    for one, drop in ((net, "last"), (plain, False)):
        recipe = Recipe(Spec(sites=(site,), n_stages=1, drop_intrusions=drop))
        recipe.bind(lambda: None, State(torch.ones(C)))
        recipe(one, case.batch())
    for name, value in net.state_dict().items():
        assert_allclose(value, plain.state_dict()[name], rtol=1e-12)


# --- in training --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cls", "params"),
    [
        (MixupClassifier, {"mix_at": "any", "n_members": 2}),
        (MixupClassifier, {"module": "linear"}),
        (MixupClassifier, {"mix": "columns", "label": "remix", "clean_weight": 1}),
        (MixupClassifier, {"dropout": 0.3, "mix_prob": 0.5, "label_smoothing": 0.1, "amp": "bf16"}),
        (InfiniteMixupClassifier, {"mix_at": "last"}),
        (AMPClassifier, {"mix_at": "hidden"}),
        (LaMixClassifier, {}),
        (AdaMixupClassifier, {"mix_at": "last"}),
        (GenLabelClassifier, {"density": "nn", "class_weight": "balanced"}),
        (GenLabelClassifier, {"density_at": "last", "density_schedule": "warmup", "batch_size": 32}),
        (GenLabelClassifier, {"density_at": 1, "density_schedule": "online", "mix_at": 1, "mix_off": 0.3}),
    ],
)
def test_it_goes_with_every_method_and_gives_the_same_bits_again(cls, params):
    X, y = load_iris(return_X_y=True)
    w = np.random.default_rng(0).integers(1, 3, len(y))
    hidden = {} if "module" in params else {"hidden": (8, 6)}
    first, second, without = (
        cls(drop_intrusions=drop, max_epochs=3, random_state=0, n_cv=1, **hidden, **params).fit(
            X, y, sample_weight=w
        )
        for drop in ("last", "last", False)
    )
    p = first.predict_proba(X)
    assert np.isfinite(p).all()
    assert_array_equal(p, second.predict_proba(X))
    assert np.abs(p - without.predict_proba(X)).max() > 1e-6


def test_without_hidden_stages_the_features_are_the_rows():
    """Then it is what drop_intrusions=True does in a single batch of all rows."""
    X, y = load_iris(return_X_y=True)
    params = {"module": "linear", "batch_size": 150, "max_epochs": 5, "random_state": 0, "dtype": "float64"}
    p = [
        MixupClassifier(drop_intrusions=drop, **params).fit(X, y).predict_proba(X) for drop in (True, "last")
    ]
    assert_allclose(*p, rtol=1e-9)


def test_rows_are_not_mixed_ahead_of_their_step():
    X, y = load_iris(return_X_y=True)
    for drop, ahead in ((False, True), (True, True), ("last", False)):
        clf = MixupClassifier(module="linear", drop_intrusions=drop, max_epochs=1).fit(X, y)
        assert clf.net_.criterion_.ahead is ahead


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"drop_intrusions": "first"}, "The 'drop_intrusions' parameter of MixupClassifier must be"),
        ({"drop_intrusions": 2}, "The 'drop_intrusions' parameter of MixupClassifier must be"),
        ({"drop_intrusions": None}, "The 'drop_intrusions' parameter of MixupClassifier must be"),
        ({"drop_intrusions": "last", "mix": None}, "drop_intrusions='last' has no effect with mix=None"),
        ({"drop_intrusions": "last", "mix_prob": 0}, "drop_intrusions='last' has no effect with mix_prob=0"),
        ({"drop_intrusions": "last", "module": nn.Linear(4, 3)}, "this module shows none"),
        ({"drop_intrusions": True, "mix_at": "last"}, "drop_intrusions='last', which compares features"),
    ],
)
def test_what_cannot_be_used_is_refused_and_nothing_is_lost(params, words):
    X, y = load_iris(return_X_y=True)
    clf = MixupClassifier(max_epochs=1, random_state=0).fit(X, y)
    before = clf.predict_proba(X)
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - the words are compared
        clf.set_params(**params).fit(X, y)
    assert words in str(raised.value)
    assert_array_equal(clf.predict_proba(X), before)


def test_a_target_that_follows_batches_must_say_whose_features():
    class Follower:
        def update(self, features, y, real):
            pass

        def __call__(self, y, perm, share, lam, taps, state):
            return y, None

    X, y = load_iris(return_X_y=True)
    with pytest.raises(ValueError, match="does not say whose features it follows"):
        MixupClassifier(label=Follower()).fit(X, y)

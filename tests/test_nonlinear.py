"""Non-linear mixup: shares of entries, the loss of label vectors by hand, what training with them does."""

import pickle

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV

from mixsk import (
    AdaMixupClassifier,
    AMPClassifier,
    GenLabelClassifier,
    InfiniteMixupClassifier,
    LaMixClassifier,
    MixupClassifier,
)
from mixsk.backbones import TextCNN, build
from mixsk.model_selection import BatchedGridSearchCV
from mixsk.rules import Batch, Draw, Nonlinear, NonlinearLabel, Recipe, Rows, Sizes, Spec, State
from mixsk.rules.nonlinear import betas
from mixsk.rules.step import Step

F, C, HIDDEN, WIDTH = 3, 3, (5, 4), 2
WORDS = 3  # numbers in a vector of a word
TEXTS = [
    "a good film",
    "the worst of all films ever",
    "what a lovely day",
    "bad bad bad",
    "nice",
    "awful",
] * 5
SENSE = ["+", "-", "+", "-", "+", "-"] * 5


def noise_of(n, alpha=1.0, seed=0, n_models=1):
    """Noise as the draws have it, (M, n, 3)."""
    mask, rng = Nonlinear(), np.random.default_rng(seed)
    mask.alpha_ = alpha
    return torch.from_numpy(mask.draw_noise(rng, np.ones((n_models, n), np.float32)))


# --- the shares of entries ----------------------------------------------------------------------------


def share_by_hand(seeds, alpha, place):
    """One entry's share, in whole numbers and doubles."""
    whole = 2**32
    first, second = (int(u * 2**24 - 2**23) * 256 % whole for u in seeds)
    x = (place * 0x9E3779B1 + first + second * 0x85EBCA6B) % whole
    x ^= x >> 16
    x = (x * 0x85EBCA6B + second) % whole
    x ^= x >> 13
    x = x * 0xC2B2AE35 % whole
    x ^= x >> 16
    u = (x % 2**16 + 0.5) / 2**16
    half = x // 2**16
    angle = 2 * np.pi * (half - (2**16 if half >= 2**15 else 0) + 0.5) / 2**16
    t = np.sqrt(2 * alpha * (u ** (-1 / alpha) - 1)) * np.cos(angle)
    return 0.5 + 0.5 * t / np.sqrt(2 * alpha + t * t)


@pytest.mark.parametrize("alpha", [0.5, 1, 4])
def test_each_entrys_share_is_hashed_from_two_numbers_of_its_row_and_its_place(alpha):
    noise = noise_of(4, alpha)
    expected = [[share_by_hand(row[:2].tolist(), alpha, k) for k in range(20)] for row in noise[0]]
    assert_allclose(betas(noise, 20)[0].numpy(), expected, atol=2e-6)


@pytest.mark.parametrize("alpha", [0.5, 1, 2, 20])
def test_shares_are_beta_distributed(alpha):
    m = betas(noise_of(40, alpha), 1000).double().numpy()
    assert stats.kstest(m.ravel(), stats.beta(alpha, alpha).cdf).pvalue > 0.01


def test_shares_of_entries_and_of_rows_are_independent():
    n_rows, n = 100, 3010
    m = betas(noise_of(n_rows), n)[0].double().numpy() - 0.5
    for step in (1, 2, 301):  # neighbours, and the same number of the next word
        assert abs(np.corrcoef(m[:, step:].ravel(), m[:, :-step].ravel())[0, 1]) < 4 / np.sqrt(n_rows * n)
    between = np.corrcoef(m)[np.triu_indices(n_rows, 1)] * np.sqrt(n)
    assert stats.kstest(between, "norm").pvalue > 0.01
    spread = stats.beta(1, 1).std()
    for axis, size in ((0, n_rows), (1, n)):
        assert_allclose(m.mean(axis).std() * np.sqrt(size), spread, rtol=0.2)


def test_rows_whose_seeds_are_neighbours_share_no_numbers():
    seeds = torch.tensor([[k, j] for k in range(5) for j in range(5)]) / 2**24
    m = betas(torch.cat((seeds, torch.ones(25, 1)), 1).unsqueeze(0), 500)[0].double().numpy()
    between = np.corrcoef(m)[np.triu_indices(25, 1)]
    assert np.abs(between).max() < 5 / np.sqrt(500)


@pytest.mark.parametrize("alpha", [0, 1e-30, 1e-3, 1e3, 1e30])
def test_shares_are_finite_and_within_bounds_for_any_alpha(alpha):
    m = betas(noise_of(10, alpha), 1000)
    assert ((m >= 0) & (m <= 1)).all()
    spread = 0.5 if alpha <= 1e-3 else 0.5 / np.sqrt(2 * alpha + 1)
    assert_allclose(float(m.double().std()), spread, rtol=0.03, atol=1e-6)


def test_more_entries_other_rows_and_other_models_leave_shares_alone():
    noise = noise_of(5, 0.7)
    m = betas(noise, 30)
    assert torch.equal(betas(noise, 50)[..., :30], m)
    assert torch.equal(betas(noise[:, 2:4], 30), m[:, 2:4])
    other = noise_of(5, 3.0, seed=1)
    assert torch.equal(betas(torch.cat((other, noise)), 30)[1:], m)


def test_a_row_of_a_hidden_stage_is_mixed_entry_by_entry():
    net = network()
    recipe, batch = case(net, "nonlinear", "linear")
    h, share = Step(recipe, net, batch).mixed(batch.draw.lam)
    below, perm = net.lower(batch.x, 2).detach()[0].numpy(), batch.draw.perm[0]
    for i in range(batch.x.shape[1]):
        seeds = batch.draw.noise[0, i, :2].tolist()
        each = [share_by_hand(seeds, 1.0, k) for k in range(HIDDEN[1])]
        expected = [each[k] * below[i, k] + (1 - each[k]) * below[perm[i], k] for k in range(HIDDEN[1])]
        assert_allclose(h[0, i].detach().numpy(), expected, atol=1e-5)
        assert_allclose(float(share[0, i]), np.mean(each), atol=1e-6)


# --- words --------------------------------------------------------------------------------------------


def words_mask(alpha=1.0):
    mask = Nonlinear()
    mask.configure(Spec(mix=mask, sites=(1,), n_stages=2, input_site=1, hyper={"alpha": alpha}))
    return mask


CODES = torch.tensor([[[2, 3, 0, 0, 0], [4, 1, 2, 0, 0], [3, 0, 0, 0, 0]]])
PERM = torch.tensor([[1, 2, 0]])


def mixed_words(codes=CODES, alpha=1.0, dtype=torch.float32):
    """Embedded words, the same mixed, the share of the label, and each entry's share."""
    torch.manual_seed(0)
    net = TextCNN(5, 2, n_codes=6, dimension=WORDS, filters=(2,), n_filters=4).to(dtype)
    recipe = Recipe(
        Spec(mix="nonlinear", sites=(1,), n_stages=2, input_site=1, hyper={"alpha": alpha}),
    )
    recipe.bind(lambda: None, State(torch.ones(2)))
    noise = noise_of(3, alpha)
    y = torch.eye(2, dtype=dtype)[None, [0, 1, 0]]
    batch = Batch(codes, y, Draw(PERM, torch.full((1, 3), 0.3, dtype=dtype), 1, noise))
    step = Step(recipe, net, batch)
    h, share = step.mixed(batch.draw.lam)
    shares = betas(noise, codes.shape[2] * (WORDS + 1)).view(3, codes.shape[2], WORDS + 1)
    return step.h[0].detach(), h[0].detach(), share[0].detach(), shares


def test_words_are_mixed_entry_by_entry():
    e, h, _, shares = mixed_words()
    for i in range(3):
        a, b = e[i, :, :WORDS], e[PERM[0, i], :, :WORDS]
        for place in range(5):
            for k in range(WORDS):
                lam = float(shares[i, place, k])
                expected = lam * float(a[place, k]) + (1 - lam) * float(b[place, k])
                assert float(h[i, place, k]) == pytest.approx(expected, abs=1e-6)


def test_the_labels_share_is_the_mean_over_places_where_either_row_has_a_word():
    _, _, share, shares = mixed_words()
    for i, n_words in enumerate((3, 3, 2)):  # of the longer row of the pair
        assert float(share[i]) == pytest.approx(float(shares[i, :n_words, :WORDS].mean()), abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("alpha", [1e-3, 1.0])
def test_a_place_stays_a_word_exactly_where_either_row_has_one(alpha, dtype):
    """With alpha = 0.001 the shares of most entries are exactly 0 or 1."""
    _, h, _, shares = mixed_words(alpha=alpha, dtype=dtype)
    assert ((shares == 0) | (shares == 1)).float().mean() > 0.9 or alpha == 1
    assert_array_equal((h[..., -1] > 0).sum(1), [3, 3, 2])
    assert torch.equal((h[..., -1] > 0).int().sort(1, descending=True).values, (h[..., -1] > 0).int())


def test_padding_changes_neither_rows_nor_shares():
    _, h, share, _ = mixed_words()
    _, longer, same, _ = mixed_words(torch.cat((CODES, torch.zeros_like(CODES)), 2))
    assert torch.equal(longer[:, :5], h)
    assert not longer[:, 5:].any()
    assert_allclose(same, share, atol=1e-7)


def test_a_sentences_vector_is_mixed_like_any_features():
    mask = words_mask()
    m, share = mask(torch.zeros(1, 4, 7), torch.ones(1, 4), noise_of(4), torch.zeros(1, 4, 7))
    assert torch.equal(m, betas(noise_of(4), 7))
    assert_allclose(share, m.mean(-1))


# --- one step of the label, by hand -------------------------------------------------------------------


def network(seeds=(0,)):
    return build("mlp", F, C, {"hidden": HIDDEN, "activation": "tanh"}, list(seeds)).double()


def case(net, mix="linear", label=None, n=6, seeds=(7,), weight=None, class_weight=None, mixed=None, **spec):
    """A bound recipe and a batch whose rows are mixed before the head."""
    rng = np.random.default_rng(3)
    label = NonlinearLabel(width=WIDTH) if label is None else label
    hyper = {"alpha": 1.0, **spec.pop("hyper", {})}
    recipe = Recipe(Spec(mix=mix, label=label, sites=(2,), n_stages=2, hyper=hyper, **spec))
    recipe.attach(Sizes(F, net.widths, C, len(seeds)), list(seeds))
    recipe.double()
    of_class = None if class_weight is None else torch.tensor(class_weight).double()
    weighted = weight is not None or of_class is not None
    recipe.bind(
        lambda: Rows(torch.zeros(2, F), torch.tensor([0, 1]), None, C),
        State(torch.ones(C), of_class, weighted),
    )
    X, perm, lam = rng.normal(size=(n, F)), rng.permutation(n), rng.random(n)
    y = np.eye(C)[np.arange(n) % C] * (1 if weight is None else np.asarray(weight)[:, None])
    tensors = [torch.tensor(np.stack([a] * len(seeds))) for a in (X, y, perm, lam)]
    noise = noise_of(n, seed=4).expand(len(seeds), -1, -1) if mix == "nonlinear" else None
    flags = None if mixed is None else torch.tensor(mixed)
    return recipe, Batch(tensors[0], tensors[1], Draw(tensors[2], tensors[3], 2, noise, flags))


def softmax(v):
    e = np.exp(v - np.max(v))
    return e / e.sum()


def parameters(net, recipe, m=0):
    """Arrays of model m: W, b of each layer, then u, A, P."""
    layers = [part for part in net.modules() if hasattr(part, "narrow")]
    found = []
    for layer in layers:
        W = layer.weight.detach()[m].numpy()
        found += [W.T.copy() if layer.narrow else W.copy(), layer.bias.detach()[m, 0].numpy().copy()]
    own = recipe.label.vectors_
    return found + [p.detach()[m].numpy().copy() for p in (own.vectors, own.gate, own.projection)]


def gradients(net, recipe, m=0):
    layers = [part for part in net.modules() if hasattr(part, "narrow")]
    found = []
    for layer in layers:
        W = layer.weight.grad[m].numpy()
        found += [W.T if layer.narrow else W, layer.bias.grad[m, 0].numpy()]
    own = recipe.label.vectors_
    return found + [p.grad[m].numpy() for p in (own.vectors, own.gate, own.projection)]


def by_hand(theta, batch, weight=1.0, class_weight=(1, 1, 1), smoothing=0.0, shares=None, keep=None):
    """The loss, row by row: cross entropy of the logits, and how hard it is to find the label vector."""
    W1, b1, W2, b2, W3, b3, u, A, P = theta
    X, y, perm, lam = (v[0].numpy() for v in (batch.x, batch.y, batch.draw.perm, batch.draw.lam))
    n = len(X)
    keep = np.ones(n, bool) if keep is None else keep
    below = np.array([np.tanh(np.tanh(x @ W1 + b1) @ W2 + b2) for x in X])
    each = np.repeat(lam[:, None], below.shape[1], 1) if shares is None else shares
    s, v = np.zeros_like(below), np.zeros((n, u.shape[1]))
    for i in range(n):
        s[i] = each[i] * below[i] + (1 - each[i]) * below[perm[i]]
        w = 1 / (1 + np.exp(-s[i] @ A))
        v[i] = w * u[y[i].argmax()] + (1 - w) * u[y[perm[i]].argmax()]
    total = 0.0
    for i in np.flatnonzero(keep):
        lam_y = each[i].mean()
        t = lam_y * y[i] + (1 - lam_y) * y[perm[i]]
        t = ((1 - smoothing) * t + smoothing * t.sum() / C) * np.asarray(class_weight)
        entropy = -(t / t.sum() * np.log(softmax(s[i] @ W3 + b3))).sum()
        candidates = np.flatnonzero(keep)
        distance = np.array([((s[i] @ P - v[j]) ** 2).sum() for j in candidates])
        found = softmax(-distance)[list(candidates).index(i)]
        total += t.sum() * (entropy - weight * np.log(found))
    return total / keep.sum()


def step_of(net, recipe, batch):
    net.zero_grad()
    recipe.zero_grad()
    losses = recipe(net, batch)
    losses.sum().backward()
    return losses.detach().numpy()


SETTINGS = [
    {},
    {"weight": [0.2, 3.0, 1.0, 0.5, 1.3, 0.9]},
    {"class_weight": [0.5, 1.0, 2.0], "hyper": {"label_smoothing": 0.1}},
    {"label": NonlinearLabel(width=WIDTH, weight=0.3)},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda s: "-".join(s) or "plain")
def test_the_loss_is_cross_entropy_plus_that_of_finding_the_rows_label_vector(settings):
    net = network()
    recipe, batch = case(net, **settings)
    expected = by_hand(
        parameters(net, recipe),
        batch,
        weight=recipe.label.weight,
        class_weight=settings.get("class_weight", (1, 1, 1)),
        smoothing=settings.get("hyper", {}).get("label_smoothing", 0),
    )
    assert_allclose(step_of(net, recipe, batch), [expected], rtol=1e-10)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_the_whole_method_is_both_choices_together_in_batches_of_any_size(n):
    net = network()
    recipe, batch = case(net, "nonlinear", n=n)
    shares = betas(batch.draw.noise, HIDDEN[1])[0].double().numpy()
    expected = by_hand(parameters(net, recipe), batch, shares=shares)
    assert_allclose(step_of(net, recipe, batch), [expected], rtol=1e-6)  # shares are float32


def test_gradients_reach_vectors_gates_projection_and_network():
    net = network()
    recipe, batch = case(net)
    step_of(net, recipe, batch)
    theta = parameters(net, recipe)
    for array, gradient in zip(theta, gradients(net, recipe), strict=True):
        assert np.abs(gradient).max() > 0
        for k in np.ndindex(array.shape):
            before, sides = array[k], []
            for change in (1e-6, -1e-6):
                array[k] = before + change
                sides.append(by_hand(theta, batch))
            array[k] = before
            assert_allclose(gradient[k], (sides[0] - sides[1]) / 2e-6, rtol=1e-5, atol=1e-8)


def test_a_clean_term_is_added_without_label_vectors():
    net = network()
    recipe, batch = case(net)
    mixed = step_of(net, recipe, batch)
    both, _ = case(net, hyper={"clean_weight": 0.7})
    clean = -(batch.y * torch.log_softmax(net(batch.x), -1)).sum(-1).mean(-1).detach().numpy()
    assert_allclose(step_of(net, both, batch), mixed + 0.7 * clean, rtol=1e-12)


def test_rows_that_are_dropped_or_padding_are_no_candidates():
    net = network()
    recipe, batch = case(net)
    real = torch.ones(1, 6).double()
    real[0, 4:] = 0
    perm = torch.tensor([[2, 0, 3, 1, 4, 5]])
    batch = batch._replace(draw=batch.draw._replace(perm=perm), real=real)
    expected = by_hand(parameters(net, recipe), batch, keep=real[0].numpy() > 0)
    assert_allclose(step_of(net, recipe, batch), [expected], rtol=1e-10)
    logits, taps = net.upper(net.lower(batch.x, 2), 2, (2,))
    t = torch.full_like(logits, 1 / C)
    keep = torch.tensor([[1.0, 0, 1, 1, 1, 1]]).double()
    more = Step(recipe, net, batch).loss(logits, t, keep, taps) - Step(recipe, net, batch).loss(
        logits, t, keep
    )
    some = torch.tensor([0, 2, 3])  # real and kept
    few = Batch(batch.x[:, some], batch.y[:, some], batch.draw)
    of_few = recipe.label.vectors_(
        taps[2][:, some], few.y, torch.take_along_dim(batch.y, perm[..., None], 1)[:, some]
    )
    assert_allclose(
        more[0, some].detach(), -torch.log_softmax(-of_few, -1)[0].diagonal().detach(), rtol=1e-10
    )


def test_batches_that_are_not_mixed_have_cross_entropy_alone():
    net = network((0, 1))
    recipe, batch = case(net, seeds=(7, 8), mixed=[True, False])
    own = torch.arange(6).expand(2, -1)
    draw = batch.draw._replace(
        perm=torch.stack([batch.draw.perm[0], own[0]]), lam=torch.ones_like(batch.draw.lam)
    )
    losses = step_of(net, recipe, batch._replace(draw=draw))
    clean = -(batch.y * torch.log_softmax(net(batch.x), -1)).sum(-1).mean(-1).detach().numpy()
    assert losses[0] > clean[0] + 0.1
    assert_allclose(losses[1], clean[1], rtol=1e-12)
    for parameter in recipe.label.vectors_.parameters():
        assert parameter.grad[0].any()
        assert not parameter.grad[1].any()


def test_rows_of_one_class_have_its_vector_whatever_the_gate_says():
    net = network()
    recipe, batch = case(net)
    batch = batch._replace(y=torch.eye(C).double()[None, [1] * 6])
    step_of(net, recipe, batch)
    own = recipe.label.vectors_
    assert not own.gate.grad.any()
    more = recipe.label.penalty(batch.y, batch.draw.perm, {2: net.lower(batch.x, 2)}, None)
    assert_allclose(more.detach().numpy(), np.log(6))  # six vectors that are one


@pytest.mark.parametrize(
    ("label", "words"),
    [
        (NonlinearLabel(width=0), "'width'.*int >= 1. Got 0"),
        (NonlinearLabel(width=2.5), "'width'.*2.5"),
        (NonlinearLabel(width=True), "'width'.*True"),
        (NonlinearLabel(weight=-1), "'weight'.*-1"),
        (NonlinearLabel(weight="much"), "'weight'.*'much'"),
    ],
    ids=str,
)
def test_parameters_out_of_range_are_refused(label, words):
    with pytest.raises(ValueError, match=words):
        Recipe(Spec(label=label))


# --- classifiers --------------------------------------------------------------------------------------


def texts(cls=MixupClassifier, **params):
    settings = {"module": "textcnn", "module__dimension": 8, "module__n_filters": 4, "max_epochs": 20}
    both = {"mix": "nonlinear", "label": "nonlinear", "batch_size": 10, "lr": 0.01, "random_state": 0}
    return cls(**{**settings, **both, **params}).fit(TEXTS, SENSE)


def tables(cls=MixupClassifier, **params):
    settings = {"module": "mlp", "hidden": (16, 8), "mix_at": "last", "max_epochs": 30, "lr": 0.01}
    both = {"mix": "nonlinear", "label": "nonlinear", "random_state": 0}
    return cls(**{**settings, **both, **params}).fit(*load_iris(return_X_y=True))


def weights(clf):
    return {name: value.numpy() for name, value in clf.net_.module_.state_dict().items()}


@pytest.mark.parametrize("module", ["textcnn", "bilstm"])
@pytest.mark.parametrize("mix_at", ["embedding", "any", "last"])
def test_small_texts_are_learnt(module, mix_at):
    sizes = {"module__n_filters": 4} if module == "textcnn" else {"module__hidden_size": 4}
    clf = MixupClassifier(
        module=module,
        module__dimension=8,
        mix="nonlinear",
        label="nonlinear",
        mix_at=mix_at,
        max_epochs=30,
        batch_size=10,
        lr=0.02,
        random_state=0,
        **sizes,
    ).fit(TEXTS, SENSE)
    assert clf.score(TEXTS, SENSE) == 1
    assert clf.net_.criterion_.aux["label"].gate.shape == (1, clf.net_.module_.widths[-1], 100)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"mix_at": "hidden", "module": "table", "lr": "auto", "max_epochs": 100, "n_cv": 1},
        {"n_members": 3},
        {"n_cv": 3},
        {"label": "linear"},
        {"mix": "linear", "mix_at": "input"},
        {"mix": "columns", "mix_at": "input"},
        {"label": "remix", "class_weight": "balanced"},
        {"drop_intrusions": "last", "clean_weight": 1},
        {"amp": "bf16"},
        {"dtype": "float64", "label_smoothing": 0.1, "mix_prob": 0.5, "mix_off": 0.2},
    ],
    ids=str,
)
def test_a_table_is_learnt_at_a_hidden_stage(settings):
    assert tables(**settings).score(*load_iris(return_X_y=True)) > 0.9


def test_infinite_class_mixup_takes_both_and_genlabel_and_lamix_the_mask():
    X_y = load_iris(return_X_y=True)
    assert tables(InfiniteMixupClassifier).score(*X_y) > 0.9
    own = {"module": "mlp", "hidden": (16, 8), "mix": "nonlinear", "mix_at": "last", "max_epochs": 100}
    own |= {"lr": 0.02, "random_state": 0}
    online = {"gamma": 0.5, "density_at": "last", "density_schedule": "online"}
    after = online | {"density": "gm", "density_schedule": "warmup"}  # many steps are mixed at once
    for clf in (
        GenLabelClassifier(**own, **online),
        GenLabelClassifier(**own, **after),
        LaMixClassifier(**own),
    ):
        assert clf.fit(*X_y).score(*X_y) > 0.9


def test_the_same_seed_gives_the_same_weights_and_another_alpha_others():
    first, again, other = texts(max_epochs=2), texts(max_epochs=2), texts(max_epochs=2, alpha=0.3)
    for name, value in weights(first).items():
        assert_array_equal(value, weights(again)[name])
    assert any((value != weights(other)[name]).any() for name, value in weights(first).items())


def test_without_weight_the_label_is_the_linear_one():
    linear, none = texts(label="linear", max_epochs=2), texts(label=NonlinearLabel(weight=0), max_epochs=2)
    for name, value in weights(linear).items():
        assert_array_equal(value, weights(none)[name])


def test_training_changes_vectors_gates_projection_and_every_weight_of_the_network():
    before, after = tables(max_epochs=1, lr=1e-12, weight_decay=0), tables(max_epochs=3)
    for name, value in before.net_.criterion_.aux.state_dict().items():
        assert (value != after.net_.criterion_.aux.state_dict()[name]).any()
    for name, value in weights(before).items():
        assert (value != weights(after)[name]).any()


def test_predictions_are_those_of_the_network_alone_and_a_pickle_keeps_all():
    clf = texts()
    again = pickle.loads(pickle.dumps(clf))
    assert_array_equal(again.predict_proba(TEXTS), clf.predict_proba(TEXTS))
    for name, value in clf.net_.criterion_.aux.state_dict().items():
        assert torch.equal(again.net_.criterion_.aux.state_dict()[name], value)
    with torch.no_grad():
        for parameter in clf.net_.criterion_.aux.parameters():
            parameter.zero_()
    assert_array_equal(again.predict_proba(TEXTS), clf.predict_proba(TEXTS))


def test_further_calls_go_on_with_the_label_vectors():
    X, y = load_iris(return_X_y=True)
    clf = clone(tables(max_epochs=1)).set_params(lr=1e-12, weight_decay=0, warm_start=True).fit(X, y)
    before = {name: v.clone() for name, v in clf.net_.criterion_.aux.state_dict().items()}
    clf.fit(X, y)
    for name, value in clf.net_.criterion_.aux.state_dict().items():
        assert_allclose(value, before[name], atol=1e-9)
    clf.set_params(warm_start=False).partial_fit(X, y)
    for name, value in clf.net_.criterion_.aux.state_dict().items():
        assert_allclose(value, before[name], atol=1e-9)


def test_a_search_that_stacks_its_fits_finds_what_fits_one_by_one_find():
    X, y = load_iris(return_X_y=True)
    clf = MixupClassifier(
        module="mlp", hidden=(8,), mix="nonlinear", label="nonlinear", mix_at="last", max_epochs=5,
        dtype="float64", random_state=0, early_stopping=False,
    )  # fmt: skip
    grid = {"alpha": [0.3, 1.0, 4.0], "label_smoothing": [0.1, 0.2]}
    ours, theirs = (
        search(clf, grid, cv=3, scoring="neg_log_loss").fit(X, y)
        for search in (BatchedGridSearchCV, GridSearchCV)
    )
    for k in range(3):
        name = f"split{k}_test_score"
        assert_allclose(ours.cv_results_[name], theirs.cv_results_[name], rtol=1e-6)


def test_folds_that_drop_intrusions_are_refused_as_those_of_other_labels_with_networks_are():
    with pytest.raises(ValueError, match="drop_intrusions among features belongs to one network"):
        tables(mix="linear", mix_at="input", drop_intrusions=True, n_cv=3)


@pytest.mark.parametrize(
    ("fit", "words"),
    [
        (lambda: texts(AMPClassifier, label="linear"), "mix='nonlinear' does not change smoothly with lam"),
        (lambda: texts(AMPClassifier, mix="linear"), "label='nonlinear' has a training of its own, but AMP"),
        (lambda: tables(AdaMixupClassifier, label="linear"), "mix='nonlinear' does not change smoothly"),
        (lambda: tables(AdaMixupClassifier, mix="linear"), "label='nonlinear' has a training of its own"),
        (lambda: tables(mix_at="input"), "mix='nonlinear' mixes each entry.*Use mix_at='hidden' or 'last'"),
        (lambda: tables(mix_at="any"), "mix='nonlinear' mixes each entry"),
        (lambda: tables(lam_per="sample"), "lam_per='sample' has no effect with mix='nonlinear'"),
        (lambda: tables(mix=Nonlinear(), lam_per="batch"), "lam_per='batch' has no effect"),
    ],
)
def test_what_does_not_go_together_is_refused_with_its_reason(fit, words):
    with pytest.raises(ValueError, match=words):
        fit()

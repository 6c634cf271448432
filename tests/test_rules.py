"""Masks, targets, losses and recipes: what each promises by itself."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.base import clone

from mixsk.backbones import Linear, build
from mixsk.encoding import Layout
from mixsk.rules import (
    MASKS,
    TARGETS,
    Batch,
    Columns,
    Draw,
    DropIntrusions,
    GenLabel,
    Half,
    LinearLabel,
    Logistic,
    Recipe,
    Remix,
    Rows,
    Sizes,
    Spec,
    State,
    cross_entropy,
    mixing_sites,
    smooth,
)
from mixsk.rules._shape import mix, partner
from mixsk.rules.objective import Clean, Mixed, WithClean
from mixsk.rules.recipe import Step

# a number, a category of three levels, a number with its missing indicator
LAYOUT = Layout(column=[0, 1, 1, 1, 2, 2], numeric=[0, 4], blocks=[(1, 4), (5, 6)], n_columns=3)
N_CLASSES = 3


def table(seed=0, n=40, dtype=torch.float64):
    rng = np.random.default_rng(seed)
    X = np.column_stack(
        [rng.normal(size=n), np.eye(3)[rng.integers(3, size=n)], rng.normal(size=n), rng.random(n) < 0.3]
    )
    y = torch.arange(n) % N_CLASSES
    return Rows(torch.tensor(X, dtype=dtype), y, None, N_CLASSES, LAYOUT)


def state(counts=(1.0, 1.0, 1.0), class_weight=None, weighted=False):
    return State(torch.tensor(counts).double(), class_weight, weighted)


def one_hot(codes):
    return torch.eye(N_CLASSES).double()[torch.as_tensor(codes)]


def rule(names, name, rows):
    made = names[name]()
    if hasattr(made, "bind"):
        made.bind(rows)
    return made


def mask_of(name, h, lam, rng):
    """m (broadcast to h) and share of a mask by name."""
    mask = rule(MASKS, name, table())
    noise = None
    if hasattr(mask, "draw_noise"):
        noise = torch.as_tensor(mask.draw_noise(rng, lam.numpy().astype(np.float32)))
    if getattr(mask, "image_only", False):  # the six numbers of a row are an image of 2 x 3 pixels
        m, share = mask(h.unflatten(2, (1, 2, 3)), lam, noise, None)
        return m.flatten(2).expand_as(h), share
    m, share = mask(h, lam, noise, None)
    return m.expand_as(h), share


# What a mask with a probe does depends on a network: it has tests of its own.
WITHOUT_PROBE = [name for name, mask in MASKS.items() if not hasattr(mask, "probe")]


# --- masks --------------------------------------------------------------------------------------------


@st.composite
def encoded_batches(draw, dtype=np.float64):
    """Rows (M, B, F) of any size from one row on, lam (M, B) and a permutation of each batch."""
    n_models, n_rows = draw(st.integers(1, 3)), draw(st.sampled_from([1, 2, 3, 7]))
    numbers = st.floats(-1e6, 1e6, width=np.dtype(dtype).itemsize * 8)
    h = draw(arrays(dtype, (n_models, n_rows, LAYOUT.n_encoded), elements=numbers))
    lam = draw(arrays(dtype, (n_models, n_rows), elements=st.floats(0, 1, width=32)))
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    perm = np.stack([rng.permutation(n_rows) for _ in range(n_models)])
    return torch.tensor(h), torch.tensor(lam), torch.tensor(perm), rng


@pytest.mark.parametrize("name", WITHOUT_PROBE)
@given(batch=encoded_batches())
def test_masks_and_shares_are_between_zero_and_one(name, batch):
    h, lam, _, rng = batch
    m, share = mask_of(name, h, lam, rng)
    assert m.dtype == share.dtype == h.dtype
    assert share.shape == lam.shape
    for v in (m, share):
        assert ((v >= 0) & (v <= 1)).all()


@pytest.mark.parametrize("name", WITHOUT_PROBE)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(data=st.data())
def test_a_row_mixed_with_itself_is_itself_bit_for_bit(name, dtype, data):
    h, lam, _, rng = data.draw(encoded_batches(dtype))
    m, _ = mask_of(name, h, lam, rng)
    own = torch.arange(h.shape[1]).expand(h.shape[:2])
    assert torch.equal(mix(h, m, partner(h, own)), h)


@given(encoded_batches())
def test_a_mixed_row_lies_between_its_two_rows(batch):
    h, lam, perm, rng = batch
    other = partner(h, perm)
    slack = 1e-9 * (h.abs() + other.abs())
    for name in WITHOUT_PROBE:
        m, _ = mask_of(name, h, lam, rng)
        mixed = mix(h, m, other)
        assert (mixed >= torch.minimum(h, other) - slack).all()
        assert (mixed <= torch.maximum(h, other) + slack).all()


@pytest.mark.parametrize("name", ["linear", "columns"])
@given(batch=encoded_batches())
def test_lam_one_keeps_the_first_row_and_lam_zero_takes_the_partner_bit_for_bit(name, batch):
    h, lam, perm, rng = batch
    other = partner(h, perm)
    for value, expected in ((1, h), (0, other)):
        m, share = mask_of(name, h, torch.full_like(lam, value), rng)
        assert torch.equal(mix(h, m, other), expected)
        assert (share == value).all()


@given(encoded_batches())
def test_the_half_mask_averages_and_leaves_lam_to_the_label(batch):
    h, lam, perm, rng = batch
    m, share = mask_of("half", h, lam, rng)
    torch.testing.assert_close(mix(h, m, partner(h, perm)), (h + partner(h, perm)) / 2)
    assert torch.equal(share, lam)


def test_linear_and_half_masks_broadcast_over_features_of_any_shape():
    lam = torch.tensor([[0.25, 0.75]])
    for name in ("linear", "half"):
        for shape in ((1, 2, 5), (1, 2, 3, 4), (1, 2, 3, 4, 4)):
            m, _ = MASKS[name]()(torch.zeros(shape), lam, None, None)
            assert m.shape == (1, 2) + (1,) * (len(shape) - 2)


def test_column_shares_count_original_columns_not_encoded_ones():
    mask = rule(MASKS, "columns", table())
    noise = torch.tensor([[[0.1, 0.9, 0.9], [0.9, 0.1, 0.9], [0.9, 0.9, 0.1], [0.1, 0.1, 0.9]]])
    m, share = mask(torch.zeros(1, 4, 6).double(), torch.full((1, 4), 0.5, dtype=torch.float64), noise, None)
    torch.testing.assert_close(share, torch.tensor([[1 / 3, 1 / 3, 1 / 3, 2 / 3]]).double())
    assert m[0].tolist() == [[1, 0, 0, 0, 0, 0], [0, 1, 1, 1, 0, 0], [0, 0, 0, 0, 1, 1], [1, 1, 1, 1, 0, 0]]


@given(st.integers(0, 2**31))
def test_swapped_columns_move_a_category_whole_and_a_number_with_its_missing_indicator(seed):
    rows = table(seed)
    rng = np.random.default_rng(seed)
    lam = torch.tensor(rng.random((1, 40)))
    m, _ = mask_of("columns", rows.X[None], lam, rng)
    perm = torch.tensor(rng.permutation(40)[None])
    mixed = mix(rows.X[None], m, partner(rows.X[None], perm))[0]
    both = torch.stack([rows.X, rows.X[perm[0]]])
    for columns in ([0], [1, 2, 3], [4, 5]):
        assert (both[:, :, columns] == mixed[:, columns]).all(-1).any(0).all()


def test_a_column_that_encodes_to_nothing_is_never_drawn():
    layout = Layout(column=[0, 2], numeric=[0, 1], blocks=[], n_columns=3)  # column 1: all values missing
    rows = Rows(torch.zeros(2, 2), torch.tensor([0, 1]), None, 2, layout)
    mask = Columns()
    mask.bind(rows)
    assert mask.n_columns_ == 2
    m, share = mask(torch.zeros(1, 1, 2), torch.tensor([[0.5]]), torch.tensor([[[0.9, 0.1]]]), None)
    assert m.tolist() == [[[0, 1]]]
    assert share.tolist() == [[0.5]]


# --- partners -----------------------------------------------------------------------------------------


@given(encoded_batches())
def test_partner_reorders_each_models_rows_by_its_own_perm(batch):
    h, _, perm, _ = batch
    expected = torch.stack([rows[p] for rows, p in zip(h, perm, strict=True)])
    assert torch.equal(partner(h, perm), expected)
    assert torch.equal(partner(h[..., None], perm), expected[..., None])


# --- targets ------------------------------------------------------------------------------------------


@st.composite
def labelled_batches(draw):
    n_models, n_rows = draw(st.integers(1, 3)), draw(st.sampled_from([1, 2, 3, 7]))
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    y = one_hot(rng.integers(N_CLASSES, size=(n_models, n_rows)))
    share = draw(arrays(np.float64, (n_models, n_rows), elements=st.floats(0, 1)))
    perm = np.stack([rng.permutation(n_rows) for _ in range(n_models)])
    return y, torch.tensor(perm), torch.tensor(share)


@pytest.mark.parametrize("name", TARGETS)
@given(batch=labelled_batches())
def test_targets_are_distributions_over_the_two_labels(name, batch):
    y, perm, share = batch
    t, keep = TARGETS[name]()(y, perm, share, share, {}, state((36.0, 18.0, 6.0)))
    assert keep is None
    assert (t >= 0).all()
    torch.testing.assert_close(t.sum(-1), torch.ones_like(share))
    assert (t[(y == 0) & (partner(y, perm) == 0)] == 0).all()


@pytest.mark.parametrize("name", TARGETS)
@given(batch=labelled_batches())
def test_the_label_of_a_row_mixed_with_itself_is_its_own_bit_for_bit(name, batch):
    y, perm, share = batch
    own = torch.arange(y.shape[1]).expand(perm.shape)
    t, _ = TARGETS[name]()(y, own, share, share, {}, state((36.0, 18.0, 6.0)))
    assert torch.equal(t, y)


@pytest.mark.parametrize("name", TARGETS)
@given(batch=labelled_batches())
def test_swapping_the_two_rows_of_a_pair_leaves_its_label(name, batch):
    """A pair (a, b) at share and (b, a) at 1 - share are one mixed row, so they have one label."""
    y, perm, share = batch
    y, perm, share = y[:, :1].repeat(1, 2, 1), torch.tensor([[1, 0]]).expand(len(y), -1), share[:, :1]
    y[:, 1] = y[:, 0].roll(1, -1)
    t, _ = TARGETS[name]()(y, perm, torch.cat([share, 1 - share], 1), None, {}, state((36.0, 18.0, 6.0)))
    torch.testing.assert_close(t[:, 0], t[:, 1])


def test_targets_leave_their_inputs_as_they_are():
    rng = np.random.default_rng(0)
    rows = table()
    y, perm = one_hot(rows.y[:7])[None], torch.tensor(rng.permutation(7))[None]
    share, x = torch.tensor(rng.random((1, 7))), rows.X[None, :7]
    before = [v.clone() for v in (y, perm, share, x)]
    for target in [*(make() for make in TARGETS.values()), GenLabel(), DropIntrusions(GenLabel(top_k=2))]:
        if hasattr(target, "bind"):
            target.bind(rows)
        target(y, perm, share, share, {0: x}, state())
    assert all(torch.equal(a, b) for a, b in zip((y, perm, share, x), before, strict=True))


@given(labelled_batches(), st.floats(0, 0.99))
def test_smoothing_spreads_its_share_evenly_and_keeps_the_weight(batch, s):
    y, _, share = batch
    weighted = y * (0.1 + share)[..., None]
    t = smooth(weighted, s)
    torch.testing.assert_close(t, (1 - s) * weighted + s * (0.1 + share)[..., None] / N_CLASSES)


def test_smoothing_by_zero_changes_nothing_bit_for_bit():
    y = one_hot([0, 2, 1])[None] * 0.3
    assert torch.equal(smooth(y, 0.0), y)
    assert torch.equal(smooth(y, torch.zeros(1).double()), y)


# --- GenLabel as a rule -------------------------------------------------------------------------------


def bound_genlabel(rows=None, **parameters):
    label = GenLabel(**parameters)
    label.bind(rows or table())
    return label


@given(st.integers(0, 2**31))
def test_genlabel_with_gamma_zero_is_the_linear_label_bit_for_bit(seed):
    rng = np.random.default_rng(seed)
    x = torch.tensor(rng.normal(scale=100, size=(2, 5, 6))).abs()  # far from the data, too
    y, share = one_hot(rng.integers(3, size=(2, 5))), torch.tensor(rng.random((2, 5)))
    perm = torch.tensor(np.stack([rng.permutation(5) for _ in range(2)]))
    t, _ = bound_genlabel(gamma=0)(y, perm, share, share, {0: x}, state())
    expected, _ = LinearLabel()(y, perm, share, share, {}, state())
    assert torch.equal(t, expected)


@pytest.mark.parametrize("far", [0.0, 1e3, 1e8])
def test_the_posterior_is_a_distribution_also_where_every_density_underflows(far):
    p = bound_genlabel().posterior(table().X + far)
    assert p.dtype == torch.float64
    assert torch.isfinite(p).all()
    torch.testing.assert_close(p.sum(-1), torch.ones(40).double())


def test_top_k_keeps_the_likeliest_classes_and_their_proportions():
    x = table(1).X
    p, top = bound_genlabel().posterior(x), bound_genlabel(top_k=2).posterior(x)
    assert ((top > 0).sum(-1) == 2).all()
    kept = torch.where(top > 0, p, 0.0)
    torch.testing.assert_close(top, kept / kept.sum(-1, keepdim=True))
    torch.testing.assert_close((p * (top == 0)).amax(-1), p.amin(-1))
    assert torch.equal(bound_genlabel(top_k=3).posterior(x), p)
    assert torch.equal(bound_genlabel(top_k=9).posterior(x), p)


def test_a_class_without_rows_has_posterior_zero_and_never_nan():
    rows = table()
    rows = Rows(rows.X, rows.y % 2, None, N_CLASSES, LAYOUT)
    for prior in ("train", "uniform"):
        p = bound_genlabel(rows, class_prior=prior).posterior(rows.X)
        assert torch.isfinite(p).all()
        assert (p[:, 2] == 0).all()


def test_the_train_prior_counts_rows_by_their_weights_and_the_uniform_one_does_not():
    rows = table()
    rows.w = torch.where(rows.y == 0, 5.0, 1.0).double()
    train, uniform = (
        bound_genlabel(rows, class_prior=prior).posterior(rows.X) for prior in ("train", "uniform")
    )
    odds = (train[:, 0] / train[:, 1]) / (uniform[:, 0] / uniform[:, 1])
    counts = rows.class_counts()
    torch.testing.assert_close(odds, (counts[0] / counts[1]).expand(40))
    assert counts.tolist() == [70, 13, 13]


def test_the_posterior_carries_no_gradient_but_the_logits_do():
    x = table().X[None, :4].requires_grad_()
    y = one_hot([0, 1, 2, 0])[None]
    t, _ = bound_genlabel()(
        y, torch.tensor([[1, 2, 3, 0]]), torch.full((1, 4), 0.5, dtype=torch.float64), None, {0: x}, state()
    )
    assert not t.requires_grad


def test_a_users_density_labels_mixed_rows():
    class Threshold:
        """Class 1 above zero in the first number, class 0 below, class 2 nowhere."""

        def fit(self, Z, y):
            self.shape = Z.shape

        def log_prob(self, z):
            above = z[:, 0] > 0
            with np.errstate(divide="ignore"):
                return np.log(np.column_stack([~above, above, np.zeros(len(z))]))

    density = Threshold()
    rows = table()
    rows.layout = Layout.of_numbers(6)
    label = bound_genlabel(rows, density=density)
    p = label.posterior(rows.X[None])
    assert torch.equal(p[0, :, 1], (rows.X[:, 0] > 0).double())
    assert vars(density) == {}  # a copy was fitted


# --- intrusions ---------------------------------------------------------------------------------------


def brute_force_nearest(rows, x):
    """Label of the nearest training row by the distance that the docstring states, in float64."""
    X, x = rows.X.double().numpy(), x.double().numpy()
    square = np.zeros((len(x), len(X)))
    for k in rows.layout.numeric:
        square += (x[:, [k]] - X[:, k]) ** 2
    for start, stop in rows.layout.blocks:
        # two different categories differ by (1, -1) / sqrt(2): 1 apart; a missing indicator by 1
        part = ((x[:, None, start:stop] - X[None, :, start:stop]) ** 2).sum(-1)
        square += part / 2 if stop - start > 1 else part
    return rows.y.numpy()[square.argmin(1)], np.sort(square, 1)


@given(
    st.integers(0, 2**31), st.sampled_from([torch.float32, torch.float64]), st.sampled_from([5, 16, 16384])
)
def test_the_nearest_label_equals_a_brute_force_search_over_numbers_and_categories(seed, dtype, block):
    rng = np.random.default_rng(seed)
    rows = table(seed, n=40, dtype=dtype)
    x = torch.lerp(rows.X, rows.X[rng.permutation(40)], torch.tensor(rng.random((40, 1)), dtype=dtype))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mixsk.rules.intrusion.BLOCK", block)
        drop = DropIntrusions(LinearLabel())
        drop.bind(rows)
    found = drop.nearest_label(x.reshape(2, 20, -1)).reshape(-1).numpy()
    expected, squares = brute_force_nearest(rows, x)
    clear = squares[:, 1] - squares[:, 0] > (1e-4 if dtype == torch.float32 else 1e-10)
    assert clear.sum() > 30
    np.testing.assert_array_equal(found[clear], expected[clear])


def test_two_different_categories_are_one_apart_and_so_is_a_missing_value():
    X = torch.tensor([[0, 1, 0, 0, 0, 0], [0.99, 0, 1, 0, 0, 0], [0.0, 0, 0, 1, 0, 1]]).double()
    drop = DropIntrusions(LinearLabel())
    drop.bind(Rows(X, torch.tensor([0, 1, 2]), None, 3, LAYOUT))
    # from (0, level 1, not missing): rows at distance^2 1, .99^2 and 1 + 1
    assert drop.nearest_label(torch.tensor([[[0, 0, 1, 0, 0, 0]]]).double()).tolist() == [[1]]
    # from (0, level 2, not missing): 1, .99^2 + 1 and 1
    assert drop.nearest_label(torch.tensor([[[-0.01, 1, 0, 0, 0, 1]]]).double()).tolist() == [[0]]


def test_a_row_is_dropped_only_if_its_nearest_neighbour_has_neither_parents_label():
    layout = Layout.of_numbers(1)
    rows = Rows(torch.tensor([[-1.0], [0.0], [1.0]]), torch.tensor([0, 1, 2]), None, 3, layout)
    drop = DropIntrusions(LinearLabel())
    drop.bind(rows)
    y = torch.eye(3)[None]
    perm = torch.tensor([[2, 0, 0]])
    share = torch.full((1, 3), 0.5)
    mixed = torch.lerp(partner(rows.X[None], perm), rows.X[None], share[..., None])
    t, keep = drop(y, perm, share, share, {0: mixed}, state())
    # (-1, 1) meets at 0, a row of class 1: dropped twice; (0, -1) meets at -1/2, between its parents
    assert keep.tolist() == [[0, 1, 0]]
    assert torch.equal(t, LinearLabel()(y, perm, share, share, {}, None)[0])


def test_with_two_classes_only_pairs_of_one_class_can_intrude():
    rng = np.random.default_rng(0)
    rows = Rows(torch.tensor(rng.normal(size=(50, 2))), torch.arange(50) % 2, None, 2, Layout.of_numbers(2))
    drop = DropIntrusions(LinearLabel())
    drop.bind(rows)
    perm = torch.tensor(rng.permutation(50))[None]
    y = torch.eye(2).double()[rows.y][None]
    mixed = (rows.X[None] + rows.X[perm]) / 2
    _, keep = drop(y, perm, torch.full((1, 50), 0.5, dtype=torch.float64), None, {0: mixed}, state())
    different = (rows.y != rows.y[perm[0]])[None]
    assert (keep[different] == 1).all()
    assert (keep[~different] == 0).any()


# --- loss ---------------------------------------------------------------------------------------------


@given(labelled_batches(), st.integers(0, 2**31))
def test_cross_entropy_equals_torchs_for_each_row(batch, seed):
    y, perm, share = batch
    t, _ = LinearLabel()(y, perm, share, share, {}, None)
    logits = torch.tensor(np.random.default_rng(seed).normal(scale=10, size=t.shape))
    expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), t.flatten(0, 1), reduction="none")
    torch.testing.assert_close(cross_entropy(logits, t), expected.reshape(share.shape))


def test_cross_entropy_is_finite_for_huge_logits():
    logits = torch.tensor([[[1e4, -1e4]]])
    assert cross_entropy(logits, torch.tensor([[[0.0, 1.0]]])).tolist() == [[2e4]]


# --- parameters of the rules --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        (Logistic(s2=0), r"'s2' .* Logistic .* \(0, inf\]. Got 0 "),
        (Logistic(s2=float("nan")), "'s2'.*nan"),
        (Logistic(s2="steep"), "'s2'.*'steep'"),
        (Remix(kappa=1), r"'kappa' .* Remix .* \(1, inf\]. Got 1 "),
        (Remix(tau=1.5), r"'tau' .* \[0, 1\]. Got 1.5"),
        (Remix(tau=True), "'tau'.*True"),
        (GenLabel(gamma=-0.1), r"'gamma' .* GenLabel .* \[0, 1\]. Got -0.1"),
        (GenLabel(gamma=float("nan")), "'gamma'.*nan"),
        (GenLabel(top_k=0), "'top_k'.*None or an int >= 1. Got 0"),
        (GenLabel(top_k=True), "'top_k'.*True"),
        (GenLabel(class_prior="even"), "class_prior.*'train', 'uniform'.*'even'"),
        (GenLabel(density="kernel"), "density='kernel' is unknown.*'gm'"),
        (GenLabel(density=3), "fit.*log_prob.*Got 3"),
    ],
    ids=str,
)
def test_a_rules_parameter_out_of_range_is_refused_when_the_recipe_is_made(choice, words):
    with pytest.raises(ValueError, match=words):
        Recipe(Spec(label=choice))


@pytest.mark.parametrize("make", [*MASKS.values(), *TARGETS.values(), GenLabel])
def test_rules_are_cloned_with_their_parameters_and_compare_by_them(make):
    made = make()
    assert clone(made).get_params() == made.get_params()
    assert repr(made).startswith(make.__name__)


def test_a_rule_may_be_given_by_name_or_as_an_object():
    for name, make in TARGETS.items():
        assert isinstance(Recipe(Spec(label=name)).label, make)
        assert isinstance(Recipe(Spec(label=make())).label, make)
    for name, make in MASKS.items():
        site = 1 if name == "nonlinear" else 0  # each mask where it may be
        reads = "image" if getattr(make, "image_only", False) else "table"
        for choice in (name, make()):
            assert isinstance(Recipe(Spec(mix=choice, sites=(site,), n_stages=1, reads=reads)).mask, make)


def test_the_users_own_rule_object_is_never_fitted():
    label = GenLabel()
    recipe = Recipe(Spec(label=label))
    recipe.bind(table, state())
    assert hasattr(recipe.label, "density_")
    assert not hasattr(label, "density_")


# --- recipes ------------------------------------------------------------------------------------------


def hyper(**numbers):
    return {"alpha": 1.0, **numbers}


def test_the_objective_follows_from_mix_and_clean_weight():
    assert isinstance(Recipe(Spec(mix=None)).objective, Clean)
    assert isinstance(Recipe(Spec()).objective, Mixed)
    assert isinstance(Recipe(Spec(hyper=hyper(clean_weight=0.5))).objective, WithClean)
    assert Recipe(Spec(mix=None)).draw is None


def test_rows_are_asked_for_only_by_rules_that_learn_from_them():
    asked = []

    def rows():
        asked.append(1)
        return table()

    Recipe(Spec()).bind(rows, state())
    Recipe(Spec(mix=None)).bind(rows, state())
    assert asked == []
    Recipe(Spec(mix="columns", label=GenLabel(), drop_intrusions=True)).bind(rows, state())
    assert asked == [1]


@pytest.mark.parametrize(
    ("mix_at", "n_stages", "sites"),
    [
        ("input", 0, (0,)),
        ("input", 2, (0,)),
        ("hidden", 2, (1, 2)),
        ("any", 2, (0, 1, 2)),
        ("last", 2, (2,)),
        (1, 2, (1,)),
        ([2, 0], 2, (2, 0)),
        ([1, 1, 0], 1, (1, 0)),
    ],
)
def test_mix_at_names_stages_of_the_network(mix_at, n_stages, sites):
    assert mixing_sites(mix_at, n_stages) == sites


@pytest.mark.parametrize(
    ("mix_at", "n_stages", "words"),
    [
        ("hidden", 0, "needs a network with hidden stages.*module='mlp'"),
        ("any", 0, "needs a network with hidden stages"),
        ("last", 0, "needs a network with hidden stages"),
        ("embedding", 2, "needs a network that embeds its input"),
        (3, 2, r"mix_at=3 .* 0 \(the input\) to 2"),
        (1, 0, r"0 \(the input\) only"),
        (-1, 2, "mix_at=-1"),
        ([], 2, r"mix_at=\[\]"),
        ([0, 7], 2, r"\[0, 7\]"),
        (0.5, 2, "mix_at=0.5"),
        ("middle", 2, "mix_at='middle'"),
    ],
)
def test_a_stage_that_the_network_lacks_is_refused(mix_at, n_stages, words):
    with pytest.raises(ValueError, match=words):
        mixing_sites(mix_at, n_stages)


@pytest.mark.parametrize("axis", ["mix", "label", "loss", "pair", "lam_per"])
def test_an_unknown_name_is_refused_on_every_axis(axis):
    with pytest.raises(ValueError, match="nearest"):
        Recipe(Spec(**{axis: "nearest"}))


class Recorder:
    """A user's target that keeps the features it was given."""

    def __init__(self, tap):
        self.tap = tap

    def __call__(self, y, perm, share, lam, taps, state):
        self.seen = {site: v.detach() for site, v in taps.items()}
        return LinearLabel()(y, perm, share, lam, taps, state)


def mlp():
    return build("mlp", 6, N_CLASSES, {"hidden": (5, 4)}, [0]).double()


def one_batch(site=0, seed=0, n=9):
    rng = np.random.default_rng(seed)
    rows = table(seed)
    perm, lam = torch.tensor(rng.permutation(n))[None], torch.tensor(rng.random((1, n)))
    return Batch(rows.X[None, :n], one_hot(rows.y[:n])[None], Draw(perm, lam, site))


@pytest.mark.parametrize(("site", "tap"), [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)])
def test_a_target_gets_the_mixed_rows_features_at_its_tap(site, tap):
    net, batch = mlp(), one_batch(site)
    for clean_weight in (0, 1):
        recipe = Recipe(
            Spec(sites=(site,), n_stages=2, label=Recorder(tap), hyper=hyper(clean_weight=clean_weight))
        )
        recipe.bind(table, state())
        recipe(net, batch)
        walk = Step(recipe, net, batch)
        h, _ = walk.mixed(batch.draw.lam)
        for stage in net.stages[site:tap]:
            h = stage(h)
        assert list(recipe.label.seen) == [tap]
        torch.testing.assert_close(recipe.label.seen[tap], h.detach())


@pytest.mark.parametrize("label_smoothing", [0, 0.1])
def test_dropping_intrusions_leaves_a_target_the_features_of_its_own_tap(label_smoothing):
    spec = Spec(
        n_stages=2,
        label=Recorder(2),
        drop_intrusions=True,
        hyper=hyper(label_smoothing=label_smoothing),
    )
    recipe = Recipe(spec)
    recipe.bind(table, state())
    recipe(mlp(), one_batch())
    assert 2 in recipe.label.seen


@pytest.mark.parametrize(("sites", "tap"), [((1,), 0), ((0, 1, 2), 1), ((2,), 1)])
def test_a_tap_below_the_mixing_site_is_refused(sites, tap):
    with pytest.raises(ValueError, match="mix_at"):
        Recipe(Spec(sites=sites, n_stages=2, label=Recorder(tap)))


def test_a_tap_that_the_network_lacks_is_refused():
    with pytest.raises(ValueError, match="stage"):
        Recipe(Spec(n_stages=2, label=Recorder(3)))


def test_a_users_target_need_not_be_normalised_as_its_sum_is_the_rows_weight():
    """Twice the label is twice the loss, whether rows carry weights or not."""

    class Double:
        def __call__(self, y, perm, share, lam, taps, state):
            return 2 * LinearLabel()(y, perm, share, lam, taps, state)[0], None

    net, batch = mlp(), one_batch()
    for weighted in (False, True):
        plain, double = Recipe(Spec()), Recipe(Spec(label=Double()))
        for recipe in (plain, double):
            recipe.bind(table, state(weighted=weighted))
        torch.testing.assert_close(double(net, batch), 2 * plain(net, batch))


def test_a_batch_whose_rows_are_all_dropped_has_loss_zero_and_gradient_zero():
    class DropAll:
        def __call__(self, y, perm, share, lam, taps, state):
            return y, torch.zeros_like(share)

    net = mlp()
    recipe = Recipe(Spec(label=DropAll()))
    recipe.bind(table, state())
    loss = recipe(net, one_batch())
    loss.sum().backward()
    assert loss.tolist() == [0]
    assert all((p.grad == 0).all() for p in net.parameters())


def test_no_row_of_a_batch_that_is_left_alone_is_dropped_even_beside_its_double_of_another_class():
    rows = Rows(torch.zeros(3, 6).double(), torch.arange(3), None, N_CLASSES, LAYOUT)
    recipe = Recipe(Spec(drop_intrusions=True))
    recipe.bind(lambda: rows, state())
    own, lam = torch.arange(3)[None], torch.ones(1, 3).double()
    for mixed, kept in ((True, [1, 0, 0]), (False, [1, 1, 1])):
        batch = Batch(rows.X[None], one_hot(rows.y)[None], Draw(own, lam, 0, None, torch.tensor([mixed])))
        walk = Step(recipe, mlp(), batch)
        assert walk.target(lam, {0: batch.x})[2].tolist() == [kept]


@given(st.integers(1, 7), st.integers(0, 2**31))
def test_batches_of_any_size_down_to_one_row_are_trained(n, seed):
    batch = one_batch(seed=seed, n=n)
    net = Linear(6, N_CLASSES).double()
    for label in (*TARGETS, GenLabel()):
        for mask in ("linear", "half"):
            recipe = Recipe(
                Spec(mix=mask, label=deepcopy(label), drop_intrusions=True, hyper=hyper(clean_weight=1))
            )
            recipe.attach(Sizes(6, net.widths, N_CLASSES, 1), (0,))
            recipe.double()
            recipe.bind(table, state())
            assert torch.isfinite(recipe(net, batch)).all()


def test_half_of_a_pair_is_the_middle_whatever_lam_says():
    h = torch.tensor([[[0.0], [4.0]]])
    perm = torch.tensor([[1, 0]])
    m, share = Half()(h, torch.tensor([[0.9, 0.1]]), None, None)
    assert mix(h, m, partner(h, perm)).tolist() == [[[2.0], [2.0]]]
    torch.testing.assert_close(share, torch.tensor([[0.9, 0.1]]))


def test_class_counts_and_densities_go_on_with_more_rows():
    rows = table()
    first, second = rows.take(np.arange(25)), rows.take(np.arange(25, 40))
    together, in_parts = (Recipe(Spec(label=GenLabel())) for _ in range(2))
    together.bind(lambda: rows, State(rows.class_counts()))
    in_parts.bind(lambda: first, State(first.class_counts()))
    in_parts.extend(lambda: second, State(second.class_counts()))
    assert torch.equal(in_parts.state.class_counts, together.state.class_counts)
    x = table(5).X
    torch.testing.assert_close(in_parts.label.posterior(x), together.label.posterior(x))

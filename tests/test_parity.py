"""Small arrays worked out by hand from the papers' equations."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy as torch_cross_entropy

from mixsk import GenLabelClassifier, LaMixClassifier, MixupClassifier
from mixsk.backbones import Backbone, StackedLinear, Staged, build
from mixsk.densities import GM
from mixsk.encoding import ImageEncoder, Layout
from mixsk.rules import (
    AdversarialLam,
    Batch,
    Columns,
    Draw,
    DropIntrusions,
    GenLabel,
    Half,
    Linear,
    LinearLabel,
    Logistic,
    Recipe,
    Remix,
    Rows,
    Spec,
    State,
    Step,
    cross_entropy,
    smooth,
)
from mixsk.rules._shape import mix, partner

E1, E2, E3 = torch.eye(3).double()


def tensor(values):
    return torch.tensor(values, dtype=torch.float64)


def state(counts=(1.0, 1.0, 1.0), class_weight=None, weighted=False):
    return State(tensor(counts), class_weight, weighted)


def numbers(X, y, w=None, n_classes=None):
    """Training rows of a table of numbers."""
    X = tensor(X)
    n_classes = max(y) + 1 if n_classes is None else n_classes
    w = None if w is None else tensor(w)
    return Rows(X, torch.tensor(y), w, n_classes, Layout.of_numbers(X.shape[1]))


def label_of(target, share, y=(0, 1), counts=(1.0, 1.0, 1.0), taps=None):
    """Label of the pair (first, second) of class codes at `share` of the first."""
    rows = torch.eye(len(counts)).double()[list(y)][None]
    share = tensor([[share, 1 - share]])
    t, _ = target(rows, torch.tensor([[1, 0]]), share, share, taps or {}, state(counts))
    return t[0, 0].tolist()


# --- mixup: x = lam x_i + (1 - lam) x_j, y = lam y_i + (1 - lam) y_j ----------------------------------


def test_mixup_interpolates_rows_and_labels_alike():
    x = tensor([[[1.0, -2.0], [5.0, 2.0], [0.0, 8.0]]])
    y = torch.eye(3).double()[None]
    perm, lam = torch.tensor([[1, 2, 0]]), tensor([[0.75, 0.5, 0.1]])
    m, share = Linear()(x, lam, None, None)
    torch.testing.assert_close(mix(x, m, partner(x, perm)), tensor([[[2.0, -1.0], [2.5, 5.0], [0.9, -1.0]]]))
    t, _ = LinearLabel()(y, perm, share, lam, {}, None)
    torch.testing.assert_close(t, tensor([[[0.75, 0.25, 0.0], [0.0, 0.5, 0.5], [0.9, 0.0, 0.1]]]))


def test_lamix_averages_the_rows_and_mixes_the_labels_at_lam():
    """LaMix, Eq. 4 (x = .5 x_i + .5 x_j) and Eq. 2 (the label at lam)."""
    x = tensor([[[1.0, -2.0], [5.0, 2.0]]])
    perm, lam = torch.tensor([[1, 0]]), tensor([[0.9, 0.9]])
    m, share = Half()(x, lam, None, None)
    assert mix(x, m, partner(x, perm)).tolist() == [[[3.0, 0.0], [3.0, 0.0]]]
    assert label_of(LinearLabel(), float(share[0, 0])) == pytest.approx([0.9, 0.1, 0.0])


def test_column_swaps_count_original_columns_in_the_label():
    """Of 3 columns the number is kept, the 4-level category is not, the number with an indicator is."""
    layout = Layout(column=[0, 1, 1, 1, 1, 2, 2], numeric=[0, 5], blocks=[(1, 5), (6, 7)], n_columns=3)
    mask = Columns()
    mask.bind(Rows(torch.zeros(2, 7).double(), torch.tensor([0, 1]), None, 2, layout))
    x = tensor([[[1.5, 1, 0, 0, 0, -1, 0], [2.5, 0, 0, 1, 0, 0, 1]]])
    noise = tensor([[[0.1, 0.9, 0.3], [0.9, 0.9, 0.9]]])
    m, share = mask(x, tensor([[0.5, 0.5]]), noise, None)
    mixed = mix(x, m, partner(x, torch.tensor([[1, 0]])))
    assert mixed.tolist() == [[[1.5, 0, 0, 1, 0, -1, 0], [1.5, 1, 0, 0, 0, -1, 0]]]
    assert share.tolist() == [[2 / 3, 0]]  # 3 of 7 encoded columns in the first row


# --- GenLabel -----------------------------------------------------------------------------------------

# class 0: mean 1, variance 1; class 1: mean 6, variance 4 (maximum likelihood)
TWO_GAUSSIANS = numbers([[0.0], [2.0], [4.0], [8.0]], [0, 0, 1, 1])


def posterior_of(rows, x, **parameters):
    label = GenLabel(GM(reg_covar=0), **parameters)
    label.bind(rows)
    return label.posterior(tensor(x))


def test_genlabel_eq_1_is_the_posterior_of_two_gaussians():
    """At x = 3 the densities are as 2 exp(-2) to exp(-9/8): odds 2 exp(-7/8)."""
    odds = 2 * math.exp(-7 / 8)
    p = posterior_of(TWO_GAUSSIANS, [[3.0]], class_prior="uniform")
    assert p[0].tolist() == pytest.approx([odds / (1 + odds), 1 / (1 + odds)], rel=1e-12)


def test_the_train_prior_multiplies_the_posterior_odds_by_the_class_frequencies():
    rows = numbers([[0.0], [2.0], [0.0], [2.0], [4.0], [8.0]], [0, 0, 0, 0, 1, 1])
    odds = 2 * 2 * math.exp(-7 / 8)
    p = posterior_of(rows, [[3.0]], class_prior="train")
    assert p[0].tolist() == pytest.approx([odds / (1 + odds), 1 / (1 + odds)], rel=1e-12)
    weighted = numbers([[0.0], [2.0], [4.0], [8.0]], [0, 0, 1, 1], w=[2, 2, 1, 1])
    torch.testing.assert_close(posterior_of(weighted, [[3.0]]), p, rtol=1e-12, atol=0)


def test_the_posterior_is_exact_where_both_densities_underflow():
    """Unit Gaussians at (-1, 0) and (1, 0): log odds 2 x_1, also 60 away, where the densities are e^-1800."""
    corners = [(m + s, t) for m in (-1, 1) for s in (-1, 1) for t in (-1, 1)]
    rows = numbers(corners, [0] * 4 + [1] * 4)
    x = [[0.25, 0.0], [0.25, 60.0], [-0.7, -60.0], [0.25, 1e4]]
    p = posterior_of(rows, x, class_prior="uniform")
    expected = [1 / (1 + math.exp(-2 * first)) for first, _ in x]
    assert p[:3, 1].tolist() == pytest.approx(expected[:3], rel=1e-9)
    assert p[3, 1].item() == pytest.approx(expected[3], rel=1e-6)  # 1e4 away: e^-50 000 000
    assert math.exp(-0.5 * 60**2) == 0.0


def test_gamma_blends_the_posterior_with_the_linear_label():
    """y = gamma y_gen + (1 - gamma) y_mix, here at the mixed row .25 * 0 + .75 * 4 = 3."""
    odds = 2 * math.exp(-7 / 8)
    p = odds / (1 + odds)
    label = GenLabel(GM(reg_covar=0), gamma=0.4, class_prior="uniform")
    label.bind(TWO_GAUSSIANS)
    t = label_of(label, 0.25, counts=(1.0, 1.0), taps={0: tensor([[[3.0], [3.0]]])})
    assert t == pytest.approx([0.4 * p + 0.6 * 0.25, 0.4 * (1 - p) + 0.6 * 0.75], rel=1e-12)


def test_algorithm_1_the_sum_of_two_losses_is_cross_entropy_against_the_blended_target():
    rng = np.random.default_rng(0)
    gamma = 0.3
    net = build("mlp", 2, 3, {"hidden": (4,)}, [0]).double()
    rows = numbers(rng.normal(size=(30, 2)), (np.arange(30) % 3).tolist())
    x, y = rows.X[None, :8], torch.eye(3).double()[rows.y[:8]][None]
    perm, lam = torch.tensor(rng.permutation(8))[None], torch.full((1, 8), 0.35, dtype=torch.float64)
    recipe = Recipe(Spec(label=GenLabel(gamma=gamma)))
    recipe.bind(lambda: rows, State(rows.class_counts()))
    loss = recipe(net, Batch(x, y, Draw(perm, lam, 0)))

    x_mix = 0.35 * x[0] + 0.65 * x[0, perm[0]]
    y_mix = 0.35 * y[0] + 0.65 * y[0, perm[0]]
    y_gen = recipe.label.posterior(x_mix)
    logits = net(x_mix[None])[0]
    expected = gamma * torch_cross_entropy(logits, y_gen) + (1 - gamma) * torch_cross_entropy(logits, y_mix)
    torch.testing.assert_close(loss[0], expected, rtol=1e-12, atol=0)


def test_top_two_drops_the_third_class_of_three():
    """Unit variances at 0, 3 and 10; x = 1: log densities -1/2, -2, -40.5."""
    rows = numbers([[m + s] for m in (0, 3, 10) for s in (-1, 1)], [0, 0, 1, 1, 2, 2])
    p = posterior_of(rows, [[1.0]], top_k=2)
    assert p[0].tolist() == pytest.approx([1 / (1 + math.exp(-1.5)), 1 / (1 + math.exp(1.5)), 0], rel=1e-12)


def test_categories_enter_the_posterior_by_their_smoothed_frequencies():
    """Level a: 2 of 3 rows of class 0, none of 1 of class 1: (2 + 1) / 5 and 1 / 3; b: 2 / 5 and 2 / 3."""
    layout = Layout(column=[0, 0], numeric=[], blocks=[(0, 2)], n_columns=1)
    X = tensor([[1, 0], [1, 0], [0, 1], [0, 1]])
    label = GenLabel(class_prior="uniform")
    label.bind(Rows(X, torch.tensor([0, 0, 0, 1]), None, 2, layout))
    p = label.posterior(tensor([[1, 0], [0, 1], [0.25, 0.75]]))
    likelihood = tensor(
        [[3 / 5, 1 / 3], [2 / 5, 2 / 3], [0.25 * 3 / 5 + 0.75 * 2 / 5, 0.25 / 3 + 0.75 * 2 / 3]]
    )
    torch.testing.assert_close(p, likelihood / likelihood.sum(1, keepdim=True), rtol=1e-12, atol=0)


# --- labels that change lam ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counts", "share", "first"),
    [
        ((30.0, 10.0), 0.4, 0.0),  # n_i / n_j >= kappa and lam < tau: the minority partner takes all
        ((30.0, 10.0), 0.5, 0.5),  # lam is not below tau
        ((30.0, 10.0), 0.9, 0.9),
        ((10.0, 30.0), 0.6, 1.0),  # n_i / n_j <= 1 / kappa and 1 - lam < tau: the minority row takes all
        ((10.0, 30.0), 0.5, 0.5),
        ((10.0, 30.0), 0.1, 0.1),
        ((29.0, 10.0), 0.4, 0.4),  # neither: linear
        ((10.0, 29.0), 0.6, 0.6),
        ((10.0, 10.0), 0.3, 0.3),
    ],
)
def test_remix_has_three_cases(counts, share, first):
    assert label_of(Remix(kappa=3, tau=0.5), share, counts=counts) == pytest.approx([first, 1 - first])


def test_remix_leaves_pairs_of_one_class_alone():
    assert label_of(Remix(), 0.1, y=(1, 1), counts=(100.0, 1.0)) == [0, 1]


def test_remix_counts_classes_not_weights_of_the_rows_in_the_pair():
    y = tensor([[[0.2, 0.0], [0.0, 5.0]]])
    share = tensor([[0.4, 0.4]])
    t, _ = Remix()(y, torch.tensor([[1, 0]]), share, share, {}, state((30.0, 10.0)))
    torch.testing.assert_close(t, tensor([[[0.0, 5.0], [0.12, 2.0]]]))


@pytest.mark.parametrize(
    ("share", "first"),
    [(0.5, 0.5), (0.6, 1 / (1 + math.exp(-2))), (0.4, 1 / (1 + math.exp(2))), (1.0, 1 / (1 + math.exp(-10)))],
)
def test_the_logistic_label_at_variance_one_tenth(share, first):
    assert label_of(Logistic(s2=0.1), share) == pytest.approx([first, 1 - first, 0], rel=1e-12)


def test_example_2_the_logistic_label_has_the_log_odds_of_the_max_margin_solution():
    """Rows (-d, d), (d, d), (-d, -d), labels e1, e2, e3; the SVM has w = (-1, 1), (1, 1), (-1, -1).

    Between rows 2 and 3 the softmax of its scores leaves 1 / (1 + 2 cosh(2 d (2 lam - 1))) to class 1;
    what it gives to classes 2 and 3 is as lam' to 1 - lam' at s2 = 1 / (4 d), for every lam.
    """
    d = 5.0
    w = tensor([[-1, 1], [1, 1], [-1, -1]])
    x2, x3 = tensor([d, d]), tensor([-d, -d])
    for lam in np.linspace(0, 1, 21):
        p = torch.softmax((lam * x2 + (1 - lam) * x3) @ w.T, 0)
        t = label_of(Logistic(s2=1 / (4 * d)), lam, y=(1, 2))
        assert math.log(t[1] / t[2]) == pytest.approx(math.log(p[1] / p[2]), abs=1e-6)
        rest = 1 / (1 + 2 * math.cosh(2 * d * (2 * lam - 1)))
        assert p.tolist() == pytest.approx([rest, (1 - rest) * t[1], (1 - rest) * t[2]], rel=1e-9)


def test_smoothing_gives_the_label_one_minus_s_and_s_over_c():
    assert smooth(tensor([[0.0, 1.0, 0.0, 0.0]]), 0.2).tolist() == [pytest.approx([0.05, 0.85, 0.05, 0.05])]


# --- intrusions (Definition 1) ------------------------------------------------------------------------


def test_example_1_mixing_the_two_outer_rows_intrudes_in_the_middle_half():
    """Rows -1, 0, 1 of classes 1, 2, 1: (-1, 1) at lam is 1 - 2 lam, nearest to 0 for 1/4 < lam < 3/4."""
    drop = DropIntrusions(LinearLabel())
    drop.bind(numbers([[-1.0], [0.0], [1.0]], [0, 1, 0]))
    lam = tensor([[0.0, 0.2, 0.26, 0.5, 0.74, 0.8, 1.0]])
    n = lam.shape[1]
    y = torch.eye(2).double()[[0] * n][None]
    x = (1 - 2 * lam)[..., None]
    _, keep = drop(y, torch.arange(n)[None], lam, lam, {0: x}, state())
    assert keep.tolist() == [[1, 1, 0, 0, 0, 1, 1]]


def test_dropped_rows_leave_the_mean():
    """sum(w l) / sum(w): of the pairs (-1, 1), (0, -1), (1, 0) at lam = .5 the first meets a third class."""
    net = build("linear", 1, 3, {}, [0]).double()
    rows = numbers([[-1.0], [0.0], [1.0]], [0, 1, 2])
    recipe = Recipe(Spec(drop_intrusions=True))
    recipe.bind(lambda: rows, State(rows.class_counts()))
    perm = torch.tensor([[2, 0, 1]])
    y = torch.eye(3).double()[None]
    loss = recipe(net, Batch(rows.X[None], y, Draw(perm, torch.full((1, 3), 0.5, dtype=torch.float64), 0)))
    x_mix, t = tensor([[-0.5], [0.5]]), tensor([[0.5, 0.5, 0.0], [0.0, 0.5, 0.5]])
    torch.testing.assert_close(loss[0], torch_cross_entropy(net(x_mix[None])[0], t))


# --- objectives and weights ---------------------------------------------------------------------------


def small_step(weights=None, class_weight=None, **spec):
    """Loss of 4 rows mixed at lam .3, with the logits and labels to work it out by hand."""
    rng = np.random.default_rng(1)
    net = build("mlp", 2, 3, {"hidden": (4,)}, [0]).double()
    rows = numbers(rng.normal(size=(12, 2)), (np.arange(12) % 3).tolist())
    x, codes = rows.X[:4], rows.y[[0, 1, 2, 3]]
    y = torch.eye(3).double()[codes]
    if weights is not None:
        y = y * tensor(weights)[:, None]
    perm = torch.tensor([2, 0, 3, 1])
    recipe = Recipe(Spec(**spec))
    weighted = weights is not None or class_weight is not None
    recipe.bind(lambda: rows, State(rows.class_counts(), class_weight, weighted))
    loss = recipe(
        net, Batch(x[None], y[None], Draw(perm[None], torch.full((1, 4), 0.3, dtype=torch.float64), 0))
    )
    x_mix = 0.3 * x + 0.7 * x[perm]
    return loss[0], net(x_mix[None])[0], net(x[None])[0], codes, perm


def rows_loss(logits, codes):
    return torch_cross_entropy(logits, codes, reduction="none")


def test_regmixup_is_the_mixed_loss_plus_clean_weight_times_the_clean_loss():
    loss, mixed, clean, codes, perm = small_step(hyper={"clean_weight": 0.8})
    expected = (
        0.3 * rows_loss(mixed, codes) + 0.7 * rows_loss(mixed, codes[perm]) + 0.8 * rows_loss(clean, codes)
    )
    torch.testing.assert_close(loss, expected.mean())


def test_the_loss_of_a_weighted_mixed_row_is_the_lerp_of_two_weighted_losses():
    """sum(w l) / B = mean of lam w_i l(y_i) + (1 - lam) w_j l(y_j)."""
    weights = [2.0, 0.5, 0.1, 1.4]
    loss, mixed, _, codes, perm = small_step(weights)
    w = tensor(weights)
    expected = 0.3 * w * rows_loss(mixed, codes) + 0.7 * w[perm] * rows_loss(mixed, codes[perm])
    torch.testing.assert_close(loss, expected.mean())


def test_class_weights_weigh_each_part_of_the_label_by_its_class():
    class_weight = tensor([0.5, 1.0, 3.0])
    loss, mixed, _, codes, perm = small_step(class_weight=class_weight)
    w = class_weight[codes]
    expected = 0.3 * w * rows_loss(mixed, codes) + 0.7 * w[perm] * rows_loss(mixed, codes[perm])
    torch.testing.assert_close(loss, expected.mean())


def test_sample_and_class_weights_multiply_in_the_clean_term_too():
    weights, class_weight = [2.0, 0.5, 0.1, 1.4], tensor([0.5, 1.0, 3.0])
    loss, mixed, clean, codes, perm = small_step(weights, class_weight, hyper={"clean_weight": 1.0})
    w = tensor(weights) * class_weight[codes]
    expected = 0.3 * w * rows_loss(mixed, codes) + 0.7 * w[perm] * rows_loss(mixed, codes[perm])
    torch.testing.assert_close(loss, (expected + w * rows_loss(clean, codes)).mean())


def test_a_part_of_the_label_without_an_owner_weighs_what_the_two_rows_weigh_together():
    weights, gamma, s = [2.0, 0.5, 0.1, 1.4], 0.6, 0.1
    label = GenLabel(gamma=gamma)
    loss, mixed, _, codes, perm = small_step(weights, label=label, hyper={"label_smoothing": s})
    rng = np.random.default_rng(1)
    rows = numbers(rng.normal(size=(12, 2)), (np.arange(12) % 3).tolist())
    label.bind(rows)
    p = label.posterior(0.3 * rows.X[:4] + 0.7 * rows.X[:4][perm])
    w = tensor(weights)
    y = torch.eye(3).double()[codes] * w[:, None]
    both = (0.3 * w + 0.7 * w[perm])[:, None]
    t = gamma * p * both + (1 - gamma) * (0.3 * y + 0.7 * y[perm])
    t = (1 - s) * t + s * both / 3
    torch.testing.assert_close(loss, -(t * torch.log_softmax(mixed, 1)).sum(1).mean())


def test_cross_entropy_of_a_soft_label_worked_out_by_hand():
    """Logits (0, log 3): p = (1/4, 3/4); label (.4, .6)."""
    logits = tensor([[[0.0, math.log(3)]]])
    expected = 0.4 * math.log(4) + 0.6 * math.log(4 / 3)
    assert cross_entropy(logits, tensor([[[0.4, 0.6]]])).item() == pytest.approx(expected, rel=1e-12)


# --- sentences: WordMixup (embeddings, masks united) and SentMixup (vectors of sentences) -------------

CODES = [[2, 3, 4, 0], [5, 0, 0, 0]]  # the last position has no word in either sentence
SENTENCES = torch.tensor([CODES])
TWO_LABELS = torch.eye(3).double()[None, [0, 2]]


def text_net():
    net = build("textcnn", 4, 3, {"n_codes": 6, "dimension": 2, "filters": (1, 2), "n_filters": 3}, [0])
    with torch.no_grad():
        for filters in net.stages[1].filters:
            filters.bias += 1  # what a window of nothing but padding would give
    return net.double().eval()


def embedded(net):
    """Vectors of the words of each sentence, zero where it has none."""
    table = net.stages[0].weight.detach().numpy()
    return [[table[code] * (code > 0) for code in row] for row in CODES]


def sentence_vector(net, vectors, n_words):
    """The most that each filter finds in a window of the first `n_words` vectors, at least 0."""
    found = []
    for filters in net.stages[1].filters:
        weight, bias = filters.weight.detach().numpy(), filters.bias.detach().numpy()
        size = weight.shape[2]
        first = range(max(1, n_words - size + 1))  # a shorter sentence has one window
        for k in range(len(bias)):
            windows = [bias[k] + sum(weight[k, :, j] @ vectors[t + j] for j in range(size)) for t in first]
            found.append(max(0, *windows))
    return np.array(found)


def log_probabilities(net, sentence):
    weight, bias = (v.detach().numpy()[0] for v in (net.head[-1].weight, net.head[-1].bias))
    logits = sentence @ (weight.T if net.head[-1].narrow else weight) + bias[0]
    return logits - np.log(np.exp(logits).sum())


def word_mixup_loss(net, lam, label_lam):
    """Loss of both rows, mixed at lam with labels mixed at label_lam; three positions have a word."""
    vectors, y, losses = embedded(net), TWO_LABELS[0].numpy(), []
    for i, j in ((0, 1), (1, 0)):
        mixed = [lam[i] * a + (1 - lam[i]) * b for a, b in zip(vectors[i], vectors[j], strict=True)]
        log_p = log_probabilities(net, sentence_vector(net, mixed, n_words=3))
        losses.append(-(label_lam[i] * y[i] + (1 - label_lam[i]) * y[j]) @ log_p)
    return np.array(losses)


def text_step(net, site, lam, **spec):
    recipe = Recipe(Spec(sites=(site,), n_stages=2, input_site=1, **spec))
    counts = torch.tensor([1.0, 0.0, 1.0])
    recipe.bind(lambda: None, State(counts.double()))
    draw = Draw(torch.tensor([[1, 0]]), tensor([lam]), site)
    return recipe(net, Batch(SENTENCES, TWO_LABELS, draw))


def test_word_mixup_mixes_vectors_and_labels_and_unites_the_masks():
    net, lam = text_net(), [0.3, 0.8]
    vectors = embedded(net)
    h = net.lower(SENTENCES, 1)
    m, share = Linear()(h, tensor([lam]), None, None)
    mixed = mix(h, m, partner(h, torch.tensor([[1, 0]])))
    for i, j in ((0, 1), (1, 0)):
        for t in range(4):
            expected = lam[i] * vectors[i][t] + (1 - lam[i]) * vectors[j][t]
            assert mixed[0, i, t, :2].tolist() == pytest.approx(expected.tolist(), rel=1e-12)
    assert (mixed[0, :, :, 2] > 0).tolist() == [[True, True, True, False]] * 2
    t, _ = LinearLabel()(TWO_LABELS, torch.tensor([[1, 0]]), share, tensor([lam]), {}, None)
    torch.testing.assert_close(t, tensor([[[0.3, 0.0, 0.7], [0.2, 0.0, 0.8]]]))
    expected = word_mixup_loss(net, lam, lam).mean()
    assert text_step(net, 1, lam).item() == pytest.approx(expected, rel=1e-12)


def test_sent_mixup_mixes_the_vectors_of_sentences_of_their_own_lengths():
    net, lam = text_net(), 0.3
    one, other = (
        sentence_vector(net, vectors, n_words) for vectors, n_words in zip(embedded(net), (3, 1), strict=True)
    )
    torch.testing.assert_close(net.lower(SENTENCES, 2)[0], tensor(np.array([one, other]).tolist()))
    log_p = [log_probabilities(net, lam * a + (1 - lam) * b) for a, b in ((one, other), (other, one))]
    losses = [-(lam * p[a] + (1 - lam) * p[b]) for p, (a, b) in zip(log_p, ((0, 2), (2, 0)), strict=True)]
    assert text_step(net, 2, [lam, lam]).item() == pytest.approx(np.mean(losses), rel=1e-12)


def test_word_amp_moves_lam_by_the_slope_of_the_loss_of_words_mixed():
    """Eq. 15, with the slope from differences: the label stays at lam, the larger loss counts."""
    net, lam, epsilon, d = text_net(), np.array([0.3, 0.8]), 0.05, 1e-6
    up, down = (word_mixup_loss(net, lam + step, lam) for step in (d, -d))
    moved = lam + epsilon * ((up - down) / (2 * d)).clip(-1, 1)
    before, after = (word_mixup_loss(net, where, lam) for where in (lam, moved))
    assert (after > before).any()
    assert abs(after - before).min() > 1e-6
    loss = text_step(net, 1, lam.tolist(), objective=AdversarialLam(epsilon=epsilon))
    assert loss.item() == pytest.approx(np.maximum(before, after).mean(), rel=1e-8)
    ascent = text_step(net, 1, lam.tolist(), objective=AdversarialLam(epsilon=epsilon, select="ascent"))
    assert ascent.item() == pytest.approx(after.mean(), rel=1e-8)


# --- images: CutMix, LaMix on the cut by saliency, manifold mixup's sites, online GenLabel ------------

SWAP = torch.tensor([[1, 0]])
PIXELS = ImageEncoder(normalise=False)  # the network sees them from 0 to 1


def prepared(clf, X, y):
    """A classifier's recipe and network before the first step, and the images as the network sees them."""
    train, _, net = clf.set_params(dtype="float64", random_state=0)._prepare(X, y)
    return net.criterion, net.module.eval(), train.rows.at(torch.arange(len(X)))[None]


def swapped(x, lam, noise=None, site=0):
    """A batch of two images of two classes, each the partner of the other."""
    noise = None if noise is None else tensor(noise).float().expand(1, 2, -1)
    return Batch(x, torch.eye(2).double()[None], Draw(SWAP, tensor([[lam, lam]]), site, noise))


def soft_loss(logits, t):
    """Mean cross entropy (Eq. 11 of LaMix), by numpy."""
    logits, t = logits.detach().numpy(), t.detach().numpy()
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    return -(t * log_p).sum(-1).mean()


def test_cutmix_replaces_a_box_and_its_area_gives_the_label():
    """lam = .7: sides of floor(4 sqrt(.3)) = 2 around row 2 and column 0, half of it outside: 2 pixels."""
    one = np.arange(16, dtype=np.uint8).reshape(4, 4)
    module = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    clf = MixupClassifier(module=module, mix="cutmix", encoder=PIXELS)
    recipe, net, x = prepared(clf, np.stack([one, one + 100]), [0, 1])
    step = Step(recipe, net, swapped(x, 0.7, noise=[0.5, 0.0]))
    h, share = step.mixed(step.draw.lam)
    first = [[0, 1, 2, 3], [104, 5, 6, 7], [108, 9, 10, 11], [12, 13, 14, 15]]
    second = [[100, 101, 102, 103], [4, 105, 106, 107], [8, 109, 110, 111], [112, 113, 114, 115]]
    torch.testing.assert_close(255 * h, tensor([[[first], [second]]]))
    assert share.tolist() == [[14 / 16, 14 / 16]]
    t, _, _ = step.target(share, {})
    assert t.tolist() == [[[14 / 16, 2 / 16], [2 / 16, 14 / 16]]]
    weight, bias = (p.detach().numpy() for p in module.double().parameters())
    logits = np.array([first, second]).reshape(2, 16) / 255 @ weight.T + bias
    assert recipe(net, step.batch).item() == pytest.approx(soft_loss(tensor(logits), t[0]), rel=1e-12)


class Squares(Backbone):
    """Logits of squared pixels with equal weights: the slope in a pixel is as bright as it is."""

    reads, stacks, widths = "image", False, (16, 16)

    def __init__(self):
        super().__init__()
        self.stages = nn.ModuleList([nn.Flatten(2)])
        self.head = StackedLinear(16, 2)
        with torch.no_grad():
            self.head.weight[:] = tensor([0.1, -0.1]).view_as(self.head.weight[:, :2, :1])

    def upper(self, h, site, taps=()):
        return super().upper(h if site else h.square(), site, taps)

    def lower(self, x, site, start=0):
        return super().lower(x.square() if site > start else x, site, start)


def blocks(values):
    """Four blocks of 2 x 2 pixels."""
    return np.kron(values, np.ones((2, 2), int))


BRIGHT = np.stack([blocks([[240, 20], [16, 12]]), blocks([[12, 16], [20, 240]])]).astype(np.uint8)


@pytest.mark.parametrize(
    ("cls", "cut"), [(LaMixClassifier, [[1, 0.5], [0.5, 0]]), (MixupClassifier, [[1, 1], [1, 0]])]
)
def test_lamix_eq_5_cuts_images_at_one_half_where_puzzle_mix_cuts_at_the_drawn_lam(cls, cut):
    """Either image keeps its bright block. The dark ones are alike: halves at .5, the first image's at .9.

    The first label gets the drawn lam, .9 (Eq. 2), of LaMix, and the mask's share, .75, of PuzzleMix.
    """
    recipe, net, x = prepared(cls(module=Squares(), mix="puzzle", encoder=PIXELS), BRIGHT, [0, 1])
    batch = swapped(x, 0.9, noise=[0.0])
    step = Step(recipe, net, batch)
    h, share = step.mixed(step.draw.lam)
    m = blocks(cut)
    expected = m * BRIGHT[0] + (1 - m) * BRIGHT[1]
    turned = m[::-1, ::-1] * BRIGHT[1] + (1 - m[::-1, ::-1]) * BRIGHT[0]
    torch.testing.assert_close(255 * h[0, :, 0], tensor(np.stack([expected, turned]).tolist()))
    label = 0.9 if cls is LaMixClassifier else 0.75
    assert share.tolist() == [[label, label]]


def test_lamix_labels_that_image_by_the_drawn_lam_and_by_a_head_of_its_own():
    """Eq. 9, p = softmax(sigmoid(W s)), and Eq. 10 with beta = .5."""
    recipe, net, x = prepared(LaMixClassifier(module=Squares(), mix="puzzle", encoder=PIXELS), BRIGHT, [0, 1])
    step = Step(recipe, net, swapped(x, 0.9, noise=[0.0]))
    h, share = step.mixed(step.draw.lam)
    logits, taps = step.upper(h)
    s = h[0, :, 0].flatten(1).numpy() ** 2
    head = recipe.label.head_
    weight, bias = (p[0].detach().numpy() for p in (head.weight, head.bias))
    gate = 1 / (1 + np.exp(-(s @ (weight.T if head.narrow else weight) + bias)))
    p = np.exp(gate) / np.exp(gate).sum(1, keepdims=True)
    expected = 0.5 * np.array([[0.9, 0.1], [0.1, 0.9]]) + 0.5 * p
    t, _, _ = step.target(share, taps)
    torch.testing.assert_close(t[0].detach(), tensor(expected.tolist()))
    assert recipe(net, step.batch).item() == pytest.approx(soft_loss(logits, t), rel=1e-12)


@pytest.mark.parametrize(("module", "n_stages"), [("lenet", 3), ("resnet18", 4)])
def test_manifold_mixup_of_an_image_network_mixes_the_input_or_one_of_the_first_two_stages(module, n_stages):
    X = np.random.default_rng(0).integers(0, 256, (2, 12, 12), dtype=np.uint8)
    small = {"module__width": 2} if module == "resnet18" else {}
    recipe, net, x = prepared(MixupClassifier(module=module, mix_at="any", **small), X, [0, 1])
    assert recipe.spec.sites == (0, 1, 2)
    assert len(net.stages) == n_stages
    drawn = recipe.draw(np.random.default_rng(0), np.zeros((300, 2), int), np.arange(300), recipe.hyper)
    assert (abs(np.bincount(drawn.site) - 100) < 40).all()
    t, losses = tensor([[0.3, 0.7], [0.7, 0.3]]), []
    for site in (0, 1, 2):
        h = x[0]
        for stage in net.stages[:site]:
            h = stage(h)
        h = 0.3 * h + 0.7 * h[[1, 0]]
        for stage in net.stages[site:]:
            h = stage(h)
        losses.append(soft_loss(net.head(h[None])[0], t))
        assert recipe(net, swapped(x, 0.3, site=site)).item() == pytest.approx(losses[-1], rel=1e-12)
    assert len({round(loss, 9) for loss in losses}) == 3


def test_algorithm_3_labels_images_by_gaussians_that_follow_their_features():
    """Two batches, of features of dimension 2; then rows of the second, mixed at the input, lam = .6."""
    rng = np.random.default_rng(0)
    X, y = rng.integers(0, 256, (12, 6, 6), dtype=np.uint8), np.arange(12) % 3
    pooled = nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 3))
    online = {
        "density_at": "last",
        "density_schedule": "online",
        "density": "gm",
        "memory": 0.8,
        "gamma": 0.4,
    }
    clf = GenLabelClassifier(module=Staged(pooled, sites=["2"]), mix="linear", n_cv=1, **online)
    recipe, net, x = prepared(clf, X, y)
    perm, one_hot = rng.permutation(6), np.eye(3)[y]
    draw = Draw(torch.tensor(perm)[None], torch.full((1, 6), 0.6, dtype=torch.float64), 0)
    batches = [
        Batch(x[:, part], tensor(one_hot[part].tolist())[None], draw) for part in (slice(6), slice(6, 12))
    ]
    recipe(net, batches[0])

    def features(images):
        return pooled.double()[:3](images).detach().numpy()

    means, variances = np.zeros((3, 2)), np.zeros(3)
    for number, batch in enumerate(batches):
        memory, f = (0, 0.8)[number], features(batch.x[0])  # nothing to remember before the first
        for c in range(3):
            own = f[y[:6] == c]
            means[c] = (1 - memory) * own.mean(0) + memory * means[c]
            spread = ((own - means[c]) ** 2).sum(1).mean() / 2
            variances[c] = (1 - memory) * spread + memory * variances[c]
    x_mix = 0.6 * batches[1].x[0] + 0.4 * batches[1].x[0, perm]
    y_mix = 0.6 * one_hot[6:] + 0.4 * one_hot[6:][perm]
    t = np.zeros((6, 3))
    for i, f in enumerate(features(x_mix)):
        density = (
            np.exp(-((f - means) ** 2).sum(1) / (2 * variances)) / variances
        )  # det^(1/2) of 2 dimensions
        density[density.argmin()] = 0  # the two likeliest of three
        t[i] = 0.4 * density / density.sum() + 0.6 * y_mix[i]
    step = Step(recipe, net, batches[1])
    h, share = step.mixed(draw.lam)
    taps = step.upper(h)[1]
    found, _, _ = step.target(share, taps)
    torch.testing.assert_close(found[0], tensor(t.tolist()), rtol=1e-9, atol=1e-12)
    assert abs(t - y_mix).max() > 0.05

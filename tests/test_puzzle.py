"""PuzzleMix: the cut against all labels there are, saliency, what the network keeps, transport."""

from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from torch import nn

from mixsk import LaMixClassifier
from mixsk.backbones import Backbone, StackedLinear
from mixsk.encoding import ImageEncoder, ImageLayout
from mixsk.rules import Batch, Draw, PuzzleMix, Recipe, Spec, State, Step, puzzle
from mixsk.rules._mincut import cheapest_labels
from mixsk.rules._transport import block_moves, moved

C, CLASSES = 3, 4


class OneAxisLess(nn.Module):
    """A stage of images (1, B, ...) -> (1, B, ...)."""

    def __init__(self, *parts):
        super().__init__()
        self.parts = nn.Sequential(*parts)

    def forward(self, x):
        return self.parts(x[0]).unsqueeze(0)


class Small(Backbone):
    """A convolution with batch normalisation and dropout."""

    reads, stacks, rows_interact = "image", False, True

    def __init__(self, width=5):
        super().__init__()
        conv, norm = nn.Conv2d(C, width, 3, padding=1), nn.BatchNorm2d(width)
        last = (nn.Tanh(), nn.Dropout(0.5), nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.stages = nn.ModuleList([OneAxisLess(conv, norm, *last)])
        self.head = StackedLinear(4 * width, CLASSES)


class Squares(Backbone):
    """The first logit is the sum of squared pixels, so that bright pixels are salient."""

    def __init__(self):
        super().__init__()
        self.stages = nn.ModuleList()
        self.calls = 0

    def upper(self, h, site, taps=()):
        self.calls += 1
        score = 0.01 * h.square().flatten(2).sum(-1)
        return torch.stack([score, *[torch.zeros_like(score)] * (CLASSES - 1)], -1), {}


def images(n, size=(8, 8), seed=0):
    return torch.from_numpy(np.random.default_rng(seed).random((1, n, C, *size)))


def spotted(n, size=(16, 16), seed=0):
    """Images with bright and dark parts of 4 x 4 pixels."""
    spots = np.random.default_rng(seed).exponential(size=(1, n, 1, size[0] // 4, size[1] // 4))
    return torch.from_numpy(spots.repeat(4, -2).repeat(4, -1)) * images(n, size, seed)


def step_of(x, lam, perm=None, net=None, u=0.0, mask=None, mixed=None):
    """A step with images x (1, B, C, H, W), each with the next as partner."""
    n = x.shape[1]
    perm = torch.arange(1, n + 1) % n if perm is None else torch.as_tensor(perm)
    y = torch.eye(CLASSES, dtype=x.dtype)[torch.arange(n) % CLASSES].unsqueeze(0)
    lam = torch.as_tensor(lam, dtype=x.dtype).expand(1, n)
    draw = Draw(perm.unsqueeze(0), lam, 0, torch.full((1, n, 1), u), mixed)
    recipe = SimpleNamespace(mask=mask, taps=(), frozen=0)
    return Step(recipe, Squares() if net is None else net, Batch(x, y, draw))


# --- the cut ------------------------------------------------------------------------------------------


def random_grids(rng, n, height, width, high=40):
    """Costs of N grids in whole numbers, with ties and without."""
    cost = np.sort(rng.integers(-high, high, (2, n, height, width)), 0)
    return (
        *cost,
        rng.integers(0, high // 3, (n, height - 1, width)),
        rng.integers(0, high // 3, (n, height, width - 1)),
    )


def energy(k, first, second, down, right):
    """Of labels k (..., H, W) of one grid."""
    cells = (first * (k >= 1) + second * (k == 2)).sum((-2, -1))
    lengthwise = (down * np.diff(k, axis=-2) ** 2).sum((-2, -1))
    return cells + lengthwise + (right * np.diff(k, axis=-1) ** 2).sum((-2, -1))


def every(height, width):
    """All labellings of a grid."""
    return np.array(list(product(range(3), repeat=height * width))).reshape(-1, height, width)


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 1), (2, 2), (2, 3), (3, 2), (3, 3)])
@pytest.mark.parametrize("high", [3, 40, 100_000])
def test_no_labels_cost_less_than_the_cut(size, high):
    grids = random_grids(np.random.default_rng(high), 12, *size, high)
    labels = cheapest_labels(*grids)
    assert labels.shape == (12, *size)
    for k, *grid in zip(labels, *grids, strict=True):
        assert energy(k, *grid) == energy(every(*size), *grid).min()


@pytest.mark.parametrize("size", [(2, 2), (4, 4), (5, 7)])
@pytest.mark.parametrize("together", [1, 3, 25])
def test_grids_in_one_graph_are_cut_as_each_alone(monkeypatch, size, together):
    grids = random_grids(np.random.default_rng(0), 25, *size)
    alone = np.concatenate([cheapest_labels(*(v[i : i + 1] for v in grids)) for i in range(25)])
    monkeypatch.setattr("mixsk.rules._mincut.CELLS", together * size[0] * size[1] + 1)
    assert_array_equal(cheapest_labels(*grids), alone)


def test_costs_as_large_as_they_may_be_are_cut():
    largest = puzzle.LARGEST
    cost = np.full((50, 16, 16), largest)
    cost[:, :, :8] *= -1
    down, right = np.full((50, 15, 16), largest), np.full((50, 16, 15), 0)
    k = cheapest_labels(cost, cost, down, right)
    assert (k == np.where(np.arange(16) < 8, 2, 0)).all()


# --- the energy ---------------------------------------------------------------------------------------


def cell_means(x, size):
    """Means over cells of `size`, by slices."""
    height, width = size
    rows, columns = x.shape[-2] // height, x.shape[-1] // width
    cells = np.empty((rows, columns, len(x)))
    for r, c in product(range(rows), range(columns)):
        cells[r, c] = x[:, r * height : (r + 1) * height, c * width : (c + 1) * width].mean((1, 2))
    return cells


def seen_at_border(one, other, n, near, there, here):
    """Mean difference at a border: of block `here` of one image and block `there` of the other."""
    cells, others = cell_means(one, near), cell_means(other, near)
    per = (cells.shape[0] // n, cells.shape[1] // n)
    if here[1] == there[1]:
        rows = here[0] * per[0] + per[0] - 1
        span = slice(here[1] * per[1], (here[1] + 1) * per[1])
        return np.abs(cells[rows, span] - others[rows + 1, span]).mean()
    column = here[1] * per[1] + per[1] - 1
    span = slice(here[0] * per[0], (here[0] + 1) * per[0])
    return np.abs(cells[span, column] - others[span, column + 1]).mean()


def energy_by_hand(mask, v, one, other, s, t, lam, near):
    """The energy of all labellings v (K, n, n) as the docstring of PuzzleMix has it, block by block."""
    n = v.shape[-1]
    chance = {1.0: lam**2, 0.5: 2 * lam * (1 - lam), 0.0: (1 - lam) ** 2}
    total = np.zeros(len(v))
    for r, c in product(range(n), repeat=2):
        share = v[:, r, c]
        total += share * t[r, c] + (1 - share) * s[r, c]
        total -= mask.eta * np.log([chance[w] for w in share]) / n**2
        for there in ((r + 1, c), (r, c + 1)):
            if max(there) == n:
                continue
            pair = {(1, 1): (one, one), (1, 0): (one, other), (0, 1): (other, one), (0, 0): (other, other)}
            d = {key: seen_at_border(*two, n, near, there, (r, c)) for key, two in pair.items()}
            w = v[:, there[0], there[1]]
            multiple = (d[1, 0] + d[0, 1] - d[1, 1] - d[0, 0]) / 2
            # Where both shares are 0 or 1 the difference seen is that of the two images there; linear else.
            linear = d[0, 0] + share * (d[1, 0] - d[0, 0] - multiple) + w * (d[0, 1] - d[0, 0] - multiple)
            for key, value in d.items():
                at = (share == key[0]) & (w == key[1])
                assert_allclose((linear + multiple * (share - w) ** 2)[at], value, atol=1e-12)
            total += (
                mask.beta
                / (16 * n)
                * ((share - w) ** 2 + mask.gamma * (linear + multiple * (share - w) ** 2))
            )
    return total


GRIDS = [(2, (8, 12), (4, 3)), (3, (6, 15), (2, 1)), (2, (20, 14), (2, 1))]  # blocks, images, cells compared


@pytest.mark.parametrize(("n", "size", "near"), GRIDS)
@pytest.mark.parametrize("scale", [1000, 10**6])
def test_masks_have_the_least_energy_that_there_is(monkeypatch, n, size, near, scale):
    monkeypatch.setattr(puzzle, "SCALE", scale)
    rng = np.random.default_rng(n)
    all_shares = every(n, n) / 2
    for trial in range(2 if n == 3 else 5):
        mask = PuzzleMix(blocks=(n,), eta=rng.random(), beta=3 * rng.random(), gamma=2 * rng.random())
        x, lam = 3 * images(3, size, trial), rng.random(3) * 0.98 + 0.01
        seen = rng.exponential(size=(3, *size))
        monkeypatch.setattr(puzzle, "saliency", lambda step, seen=seen: torch.from_numpy(seen))
        cut = mask.probe(step_of(x, lam))
        assert cut.mask.shape == (1, 3, 1, *size)
        blocks = cell_means(seen, (size[0] // n, size[1] // n))
        s = blocks / blocks.sum((0, 1))
        for i in range(3):
            one, other = x[0, i].numpy(), x[0, (i + 1) % 3].numpy()
            energies = energy_by_hand(
                mask, all_shares, one, other, s[..., i], s[..., (i + 1) % 3], lam[i], near
            )
            share = cut.mask[0, i, 0, :: size[0] // n, :: size[1] // n].numpy()
            own = energies[(all_shares == share).all((1, 2))].item()
            # Rounding moves an energy by up to 1/2 a term of a block, and 2 a pair of neighbours.
            rounding = (n * n + 2 * 2 * n * (n - 1)) / (scale * n * n)
            assert own <= energies.min() + 2 * rounding


def test_pixels_are_compared_in_units_of_zero_to_one(monkeypatch):
    """What the network sees are pixels over their standard deviation."""
    seen = torch.from_numpy(np.random.default_rng(0).exponential(size=(30, 8, 8)))
    monkeypatch.setattr(puzzle, "saliency", lambda step: seen)
    x, sd, kwargs = images(30), torch.tensor([20.0, 50.0, 80.0]), {"blocks": (4,), "beta": 3.0, "gamma": 20.0}
    plain = PuzzleMix(**kwargs)
    scaled = PuzzleMix(**kwargs)
    layout = ImageLayout(shape=(3, 8, 8), mean=(255 / sd).tolist(), std=sd.tolist(), unit=255)
    scaled.bind(SimpleNamespace(X=torch.zeros(1, 3, 8, 8), layout=layout))
    normalised = 255 * x / sd[:, None, None] - 1
    expected = plain.probe(step_of(x, 0.4)).mask
    assert torch.equal(scaled.probe(step_of(normalised, 0.4)).mask, expected)
    assert not torch.equal(plain.probe(step_of(normalised, 0.4)).mask, expected)


def mask_of(X, normalise, monkeypatch):
    """The mask of images X (n, H, W) as an encoder and the network's layout bring them to the cut."""
    seen = torch.from_numpy(np.random.default_rng(0).exponential(size=X.shape))
    monkeypatch.setattr(puzzle, "saliency", lambda step: seen)
    encoder = ImageEncoder(normalise=normalise)
    encoded = torch.from_numpy(encoder.fit_transform(X))
    mask = PuzzleMix(blocks=(4,), beta=3.0, gamma=20.0)
    mask.bind(SimpleNamespace(X=encoded, layout=encoder.layout_))
    return mask.probe(step_of(encoder.layout_.prepare(encoded, torch.float64)[None], 0.4)).mask


@pytest.mark.parametrize("normalise", [True, False])
def test_images_have_one_mask_in_whatever_unit_their_pixels_are(monkeypatch, normalise):
    X = np.random.default_rng(1).integers(0, 256, (30, 8, 8), dtype=np.uint8)
    X[0, 0, :2] = 0, 255  # both ends of every unit
    expected = mask_of(X, normalise, monkeypatch)
    assert len(expected.unique()) == 3
    shares = X.astype(np.float64) / 255
    for other in (X.astype(np.int64), shares, X.astype(np.float32), 16 * shares, 2 * shares - 1):
        assert torch.equal(mask_of(other, normalise, monkeypatch), expected)


@pytest.mark.parametrize("normalise", [True, False])
def test_truth_values_have_the_mask_of_black_and_white_pixels(monkeypatch, normalise):
    X = np.random.default_rng(1).random((30, 8, 8)) < 0.5
    expected = mask_of(255 * X.astype(np.uint8), normalise, monkeypatch)
    for other in (X, X.astype(np.float32), 16.0 * X):
        assert torch.equal(mask_of(other, normalise, monkeypatch), expected)


@pytest.mark.parametrize(("lam", "share"), [(0.2, 0.0), (0.5, 0.5), (0.8, 1.0)])
def test_with_a_large_eta_every_block_has_the_likeliest_share(lam, share):
    assert (PuzzleMix(eta=1e4).probe(step_of(images(6), lam, u=0.5)).share == share).all()


def test_shares_follow_lam_on_average():
    lam = np.linspace(0.05, 0.95, 7)
    shares = [float(PuzzleMix().probe(step_of(spotted(40), value, u=0.6)).share.mean()) for value in lam]
    assert (np.diff(shares) > 0).all()
    assert_allclose(shares, lam, atol=0.05)


def test_with_a_large_beta_all_blocks_of_an_image_are_alike():
    m = PuzzleMix(beta=1e4).probe(step_of(images(6), np.linspace(0.1, 0.9, 6), u=0.5)).mask
    assert (m == m[..., :1, :1]).all()


@pytest.mark.parametrize("transport", [False, True])
def test_lam_one_keeps_the_first_image_and_lam_zero_takes_the_partner(transport):
    mask = PuzzleMix(eta=0.0, transport=transport)
    x, lam = images(5), [1, 0, 0.5, 1, 0]
    h, share = step_of(x, lam, u=0.5, mask=mask).mixed(torch.tensor([lam]))
    for i, value in enumerate(lam):
        if value in (0, 1):
            assert torch.equal(h[0, i], x[0, i if value else (i + 1) % 5])
            assert share[0, i] == value


# --- orientation and shares ---------------------------------------------------------------------------


def test_what_is_salient_is_kept_of_both_images():
    x = torch.full((1, 2, C, 8, 8), 0.01)
    x[0, 0, :, 1, 1], x[0, 1, :, 6, 6] = 1, 1
    step = step_of(x, 0.5, u=0.5, mask=PuzzleMix())
    m = step.probed.mask[0, :, 0]
    assert m.shape == (2, 8, 8)
    assert m[0, 1, 1] == 1
    assert m[0, 6, 6] == 0
    assert m[1, 6, 6] == 1
    assert m[1, 1, 1] == 0
    h, _ = step.mixed(step.draw.lam)
    assert (h[0, 0, :, 1, 1] == 1).all()
    assert (h[0, 0, :, 6, 6] == 1).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("u", [0.0, 0.3, 0.6, 0.9])
def test_the_share_is_the_mean_of_the_mask(dtype, u):
    step = step_of(images(9, (16, 32)).to(dtype), np.linspace(0, 1, 9), u=u)
    mask = PuzzleMix()
    m, share = mask(step.h, step.draw.lam, step.draw.noise, mask.probe(step))
    assert m.dtype == share.dtype == dtype
    assert set(m.unique().tolist()) <= {0, 0.5, 1}
    assert_array_equal(share[0].numpy(), m.double().mean((-3, -2, -1))[0].to(dtype).numpy())
    n = (2, 4, 8, 16)[int(4 * u)]
    assert_array_equal(
        m, m[..., :: 16 // n, :: 32 // n].repeat_interleave(16 // n, -2).repeat_interleave(32 // n, -1)
    )


def test_a_lam_of_its_own_makes_the_cut_and_leaves_the_drawn_one_to_the_label():
    mask, x = PuzzleMix(lam=0.5), images(6)
    at_half = PuzzleMix().probe(step_of(x, 0.5, u=0.5))
    for lam in (0.05, 0.9):
        step = step_of(x, lam, u=0.5)
        m, share = mask(step.h, step.draw.lam, step.draw.noise, mask.probe(step))
        assert torch.equal(m, at_half.mask)
        assert torch.equal(share, step.draw.lam)


def test_lamix_cuts_at_one_half_however_its_mask_is_given():
    """A name, an object, and a name whose parameters are set, are one choice (LaMix's Eq. 5)."""
    rng = np.random.default_rng(0)
    X, y = rng.integers(0, 256, (40, 12, 12), dtype=np.uint8), np.arange(40) % 2
    fixed = {"module": "lenet", "max_epochs": 2, "batch_size": 10, "random_state": 0, "n_threads": 1}
    named = LaMixClassifier(mix="puzzle", **fixed)
    own = PuzzleMix()
    same = [LaMixClassifier(mix=own, **fixed), clone(named).set_params(mix__eta=0.2)]
    other = LaMixClassifier(mix=PuzzleMix(lam=0.9), **fixed)  # what is set stays
    expected = named.fit(X, y).predict_proba(X)
    for clf in same:
        assert_array_equal(clf.fit(X, y).predict_proba(X), expected)
        assert clf.mix.lam is None  # the user's object is left as it is
    assert (other.fit(X, y).predict_proba(X) != expected).any()
    assert other.net_.criterion_.mask.lam == 0.9


@pytest.mark.parametrize("lam", [None, 0.5])
def test_a_row_that_is_its_own_partner_stays_as_it_is(lam):
    x = images(4)
    step = step_of(x, 0.3, [0, 2, 1, 3], u=0.5, mask=PuzzleMix(transport=True, lam=lam))
    h, _ = step.mixed(step.draw.lam)
    assert torch.equal(h[0, [0, 3]], x[0, [0, 3]])
    assert not torch.equal(h[0, [1, 2]], x[0, [1, 2]])


@pytest.mark.parametrize("lam", [None, 0.5])
def test_a_batch_that_is_not_mixed_costs_no_look_at_the_network(lam):
    step = step_of(images(4), 1.0, range(4), mask=PuzzleMix(transport=True, lam=lam))
    h, share = step.mixed(step.draw.lam)
    assert torch.equal(h, step.h)
    assert (share == 1).all()
    assert step.net.calls == 0


# --- blocks -------------------------------------------------------------------------------------------


def test_the_number_of_blocks_is_one_a_step_and_uniform():
    noise = PuzzleMix().draw_noise(np.random.default_rng(0), np.ones((4000, 3), np.float32))
    assert noise.shape == (4000, 3, 1)
    assert noise.dtype == np.float32
    assert (noise == noise[:, :1]).all()
    n = [PuzzleMix().n_blocks((32, 32), float(u)) for u in noise[:, 0, 0]]
    assert_allclose(np.bincount(n)[[2, 4, 8, 16]] / 4000, 0.25, atol=0.03)


def test_only_numbers_of_blocks_that_divide_the_images_are_used():
    assert {PuzzleMix().n_blocks((28, 28), u) for u in np.linspace(0, 0.999, 50)} == {2, 4}
    assert {PuzzleMix().n_blocks((32, 6), u) for u in np.linspace(0, 0.999, 50)} == {2}
    with pytest.raises(ValueError, match=r"none of blocks=\(2, 4, 8, 16\) divides .* 9 x 8 pixels"):
        PuzzleMix().probe(step_of(images(3, (9, 8)), 0.5))


# --- saliency and the network -------------------------------------------------------------------------


def trained():
    """A network with running statistics of its own, partly in evaluation mode, with gradients."""
    torch.manual_seed(0)
    net = Small().double()
    for seed in range(3):
        net(2 * images(6, seed=seed) + 1).sum().backward()
    net.stages[0].parts[1].eval()
    return net


def test_saliency_is_the_norm_of_the_slope_of_the_clean_loss():
    net, x = trained(), images(3, (4, 4))
    seen = puzzle.saliency(step_of(x, 0.5, net=net))
    net.eval()
    target = torch.arange(3)

    def loss(x):
        return nn.functional.cross_entropy(net(x)[0], target, reduction="none").detach()

    slope, tiny = torch.zeros_like(x[0]), 1e-5
    for where in product(range(C), range(4), range(4)):
        nudge = torch.zeros(1, 1, C, 4, 4, dtype=torch.double)
        nudge[(0, 0, *where)] = tiny
        slope[:, *where] = (loss(x + nudge) - loss(x - nudge)) / (2 * tiny)
    expected = slope.square().sum(1).sqrt()
    for one, other in zip(seen, expected, strict=True):
        assert_allclose(one / one.sum(), other / other.sum(), rtol=1e-6)


def test_the_network_is_as_it_was():
    net, x = trained(), images(5)
    net.train()
    net.stages[0].parts[1].eval()  # as someone who fine-tunes has it
    modes = [m.training for m in net.modules()]
    state = {name: value.clone() for name, value in net.state_dict().items()}
    slopes = {name: p.grad.clone() for name, p in net.named_parameters()}
    random = torch.get_rng_state()
    with torch.no_grad():  # as where nothing is trained
        PuzzleMix(transport=True).probe(step_of(x, 0.5, net=net, u=0.3))
    assert [m.training for m in net.modules()] == modes
    assert torch.equal(torch.get_rng_state(), random)
    assert x.grad is None
    assert not x.requires_grad
    for name, value in net.state_dict().items():
        assert torch.equal(value, state[name])
    for name, p in net.named_parameters():
        assert torch.equal(p.grad, slopes[name])


def test_the_network_is_as_it_was_after_an_error_too():
    net = trained().train()
    net.head = None
    with pytest.raises(TypeError):
        PuzzleMix().probe(step_of(images(3), 0.5, net=net))
    assert net.stages[0].training


def test_an_image_alone_has_the_saliency_that_it_has_in_a_batch():
    net, x = trained(), images(4)
    together = puzzle.saliency(step_of(x, 0.5, net=net))
    step = step_of(x, 0.5, net=net)
    one = Step(step.recipe, net, Batch(x[:, 2:3], step.batch.y[:, 2:3], step.draw))
    assert_allclose(puzzle.saliency(one)[0], together[2], rtol=1e-10)


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_without_a_slope_all_blocks_are_alike(monkeypatch, value):
    monkeypatch.setattr(puzzle, "saliency", lambda step: torch.full((4, 8, 8), value))
    cut = PuzzleMix(gamma=0.0, transport=True).probe(step_of(images(4), 0.5, u=0.5))
    assert (cut.mask == 0.5).all()
    assert (cut.moves[0] == torch.arange(16)).all()


@pytest.mark.parametrize("hyper", [{}, {"clean_weight": 1.0}])
def test_a_recipe_trains_on_what_is_mixed(hyper):
    net, x = Small(), images(6).float()
    recipe = Recipe(
        Spec(mix=PuzzleMix(transport=True), reads="image", n_stages=1, hyper={"alpha": 1.0, **hyper})
    )
    recipe.state = State(torch.ones(CLASSES))
    rng, y = np.random.default_rng(0), np.arange(6)[None] % CLASSES
    drawn = recipe.draw(rng, y, np.array([0]), recipe.hyper)
    draw = Draw(torch.from_numpy(drawn.perm), torch.from_numpy(drawn.lam), 0, torch.from_numpy(drawn.noise))
    assert not recipe.ahead
    loss = recipe.forward(net, Batch(x, torch.eye(CLASSES)[y[0]].unsqueeze(0), draw))
    assert loss.shape == (1,)
    loss.sum().backward()
    assert all(p.grad.isfinite().all() and p.grad.any() for p in net.head.parameters())


# --- transport ----------------------------------------------------------------------------------------


def transport_cost(s, mask, eps, moves):
    """The cost of one image's plan, place by place."""
    n, total = s.shape, 0.0
    for place, block in enumerate(moves):
        (r, c), (q, d) = divmod(place, n[1]), divmod(int(block), n[1])
        total += eps * ((r - q) ** 2 + (c - d) ** 2) / max(n[0] - 1, n[1] - 1) ** 2 - s[q, d] * mask[r, c]
    return total


@pytest.mark.parametrize("size", [(2, 2), (4, 4), (3, 5), (1, 1)])
@pytest.mark.parametrize("eps", [0.0, 0.01, 0.8])
def test_blocks_are_permuted_and_it_is_cheaper_than_to_stay(size, eps):
    rng = np.random.default_rng(0)
    s, mask = (
        rng.dirichlet(np.full(np.prod(size), 0.3), 40).reshape(40, *size),
        rng.integers(0, 3, (40, *size)) / 2,
    )
    moves, stay = block_moves(s, mask, eps), np.arange(np.prod(size))
    for i in range(40):
        assert_array_equal(np.sort(moves[i]), stay)
        if (moves[i] != stay).any():
            assert transport_cost(s[i], mask[i], eps, moves[i]) < transport_cost(s[i], mask[i], eps, stay)


def test_a_salient_block_that_the_mask_drops_comes_to_the_nearest_place_that_it_keeps():
    s, mask = np.zeros((1, 3, 3)), np.zeros((1, 3, 3))
    s[0, 0, 0], mask[0, :, 1:] = 1, 1
    assert block_moves(s, mask, 0.8).tolist() == [[1, 0, 2, 3, 4, 5, 6, 7, 8]]


def test_images_are_planned_in_any_company(monkeypatch):
    rng = np.random.default_rng(0)
    s, mask = rng.dirichlet(np.full(16, 0.3), 10).reshape(10, 4, 4), rng.integers(0, 3, (10, 4, 4)) / 2
    together = block_moves(s, mask, 0.1)
    monkeypatch.setattr("mixsk.rules._transport.AT_ONCE", 3 * 16**2)
    assert_array_equal(block_moves(s, mask, 0.1), together)
    assert (together != np.arange(16)).any()


def test_pixels_move_with_their_block():
    rng = np.random.default_rng(0)
    x, moves = rng.random((3, 2, 4, 9)), np.stack([rng.permutation(6) for _ in range(3)])
    expected = np.empty_like(x)
    for i, place in product(range(3), range(6)):
        (r, c), (q, d) = divmod(place, 3), divmod(int(moves[i, place]), 3)
        expected[i, :, 2 * r : 2 * r + 2, 3 * c : 3 * c + 3] = x[i, :, 2 * q : 2 * q + 2, 3 * d : 3 * d + 3]
    assert_array_equal(moved(torch.from_numpy(x), torch.from_numpy(moves), (2, 3)), expected)


@pytest.mark.parametrize(("u", "t_size", "grid"), [(0.0, 4, (4, 8)), (0.6, 4, (8, 8)), (0.0, 100, (2, 2))])
def test_transport_moves_both_images_before_they_are_mixed(u, t_size, grid):
    x = spotted(8, (16, 32))
    mask = PuzzleMix(transport=True, t_size=t_size, t_eps=0.01)
    step = step_of(x, 0.4, u=u, mask=mask)
    cut = step.probed
    assert cut.grid == grid
    own, other = (block_count(v, x.shape[1], grid) for v in cut.moves)
    h, share = step.mixed(step.draw.lam)
    first, second = moved(x[0], cut.moves[0], grid), moved(x[0].roll(-1, 0), cut.moves[1], grid)
    assert torch.equal(h[0], torch.lerp(second, first, cut.mask[0]))
    assert own + other > 0
    assert_array_equal(share, cut.mask.mean((-3, -2, -1)))
    assert torch.equal(step.h, x)  # clean rows are not moved


def block_count(moves, n_images, grid):
    """How many blocks have left their place."""
    assert moves.shape == (n_images, grid[0] * grid[1])
    return int((moves != torch.arange(moves.shape[1])).sum())


def test_transport_brings_what_is_salient_into_the_mask():
    """Both images have a spot at one place: the brighter one stays there, the other one moves."""
    x = torch.full((1, 2, C, 8, 8), 0.01)
    x[0, 0, :, :2, :2], x[0, 1, :, :2, :2] = 1, 1.5
    mixed = {}
    for transport in (False, True):
        mask = PuzzleMix(blocks=(4,), transport=transport, t_eps=0.1, eta=0.01, beta=0.0)
        step = step_of(x, 0.5, mask=mask)
        mixed[transport] = step.mixed(step.draw.lam)[0]
        assert_allclose(mixed[transport][..., :2, :2], 1.5)
    assert mixed[False][..., 2:, :].max() < 0.02
    assert mixed[False][..., 2:].max() < 0.02
    moved_to = mixed[True] > 0.4  # to a place beside
    assert (moved_to.sum((-2, -1)) == 8).all()
    assert moved_to[..., :4, :4].sum() == moved_to.sum()


# --- parameters ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "match"),
    [
        ("eta", -1, "'eta'"),
        ("beta", "much", "'beta'"),
        ("gamma", float("nan"), "'gamma'"),
        ("t_eps", -0.1, "'t_eps'"),
        ("lam", 2, "'lam'"),
        ("transport", 1, "transport must be True or False"),
        ("t_size", 0, "t_size must be a whole number"),
        ("t_size", 2.0, "t_size must be a whole number"),
        ("blocks", (), "blocks must be a tuple"),
        ("blocks", 4, "blocks must be a tuple"),
        ("blocks", (4, 0), "blocks must be a tuple"),
        ("blocks", (4, True), "blocks must be a tuple"),
    ],
)
def test_wrong_parameters_are_refused(name, value, match):
    with pytest.raises(ValueError, match=match):
        PuzzleMix(**{name: value}).check()


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"t_eps": 0.5}, "t_eps=0.5 has no effect without transport. Use transport=True"),
        ({"t_size": 2}, "t_size=2 has no effect without transport. Use transport=True"),
        ({"beta": 0, "gamma": 1.0}, "gamma=1.0 has no effect with beta=0. Use a beta above 0"),
    ],
)
def test_parameters_without_effect_are_refused(params, words):
    with pytest.raises(ValueError, match=words):
        PuzzleMix(**params).check()


@pytest.mark.parametrize("params", [{"t_eps": 0.5, "t_size": 2, "transport": True}, {"beta": 0.0}])
def test_parameters_with_an_effect_are_not(params):
    PuzzleMix(**params).check()


def test_parameters_are_cloned():
    mask = PuzzleMix(blocks=[2, 4], eta=0.3, lam=0.5)
    mask.check()
    assert clone(mask).get_params() == mask.get_params()

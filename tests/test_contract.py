"""The contract of every recipe: the product of the axes' name tables, minus the pairs stated illegal.

One stack of models goes through each check: model m of the stack has the m-th way to draw (lam per batch
or per sample, each pairing, all batches mixed or half of them), so every recipe of the product is there.
Networks of sentences and of images have no model axis: their recipes take turns with the ways to draw.
"""

import re
import warnings
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mixsk.backbones import build, seeded
from mixsk.backbones._images import Pool, StandardNetwork
from mixsk.encoding import ImageLayout, Layout, TextLayout
from mixsk.rules import (
    ILLEGAL,
    INPUTS,
    LOSSES,
    MASKS,
    OBJECTIVES,
    TARGETS,
    AdaMixup,
    AdversarialLam,
    Batch,
    Draw,
    GenLabel,
    LaMix,
    LatentGenLabel,
    NonlinearLabel,
    OnlineGenLabel,
    Parts,
    Recipe,
    Rows,
    Sizes,
    Spec,
    State,
    mixing_sites,
)
from mixsk.rules.draw import PAIRS
from mixsk.rules.objective import Mixed, Plus, WithClean
from mixsk.rules.step import Step
from mixsk.rules.target import taps_of

N_ROWS, N_CLASSES, N_STAGES, WIDTH, BATCH = 60, 3, 2, 8, 11
LAYOUT = Layout(column=[0, 1, 1, 1, 2, 2], numeric=[0, 4], blocks=[(1, 4), (5, 6)], n_columns=3)
N_CODES, LONGEST, SMALL = 12, 7, {"dimension": 5, "filters": (1, 3), "n_filters": 6, "dropout": 0.0}
IMAGE = ImageLayout(
    shape=(2, 4, 6), mean=(120.0, 100.0), std=(60.0, 80.0)
)  # 2 alone of mix="puzzle"'s blocks
INPUT_SITE = {"table": 0, "text": 1, "image": 0}
EXACT = {"rtol": 1e-12, "atol": 1e-12}


# --- two rules that a user may write ------------------------------------------------------------------


class Ramp:
    """A user's mask: every entry of a row has a share of its own around lam."""

    def draw_noise(self, rng, lam):
        return rng.random((*lam.shape, 1), dtype=np.float32)

    def __call__(self, h, lam, noise, extra):
        place = torch.linspace(-1, 1, h.shape[-1], dtype=h.dtype, device=h.device)
        lam = lam[..., None]
        return lam + lam * (1 - lam) * noise * place, lam.squeeze(-1)


class NearestMean:
    """A user's target: half the linear label, half the softmax of minus the distances to class means."""

    tap = 0

    def bind(self, rows):
        one_hot = torch.eye(rows.n_classes)[rows.y].to(rows.X)
        self.means = one_hot.T @ rows.X / one_hot.sum(0)[:, None]

    def __call__(self, y, perm, share, lam, taps, state):
        other = torch.take_along_dim(y, perm[..., None], 1)
        linear = share[..., None] * y + (1 - share[..., None]) * other
        distance = (taps[0].unsqueeze(-2) - self.means).norm(dim=-1)
        return (linear + linear.sum(-1, keepdim=True) * torch.softmax(-distance, -1)) / 2, None


# Labels that a classifier of their own stands for; without memory, an online density is the same each time.
OBJECTS = {
    "genlabel": GenLabel,
    "latent": LatentGenLabel,
    "online": partial(OnlineGenLabel, memory=0),
    "lamix": LaMix,
}


# --- the product --------------------------------------------------------------------------------------

DRAWS = list(product(["batch", "sample"], PAIRS, [1.0, 0.5]))
ALL = tuple(range(len(DRAWS)))  # a seed for each model of the stack


@dataclass(frozen=True)
class Structure:
    """What chooses the program of a step; how it is drawn comes on top."""

    mask: Any
    mix_at: str
    label: Any
    loss: str
    objective: str
    drop_intrusions: bool | str
    label_smoothing: float
    clean_weight: float
    draws: tuple[int, ...] = ALL  # of the models: which of DRAWS each has, and its seed
    reads: str = "table"  # what the network's inputs are

    def spec(self, lam_per="sample", pair="any", mix_prob=1.0, **hyper):
        return Spec(
            mix=self.mask,
            sites=mixing_sites(self.mix_at, N_STAGES, INPUT_SITE[self.reads]),
            n_stages=N_STAGES,
            input_site=INPUT_SITE[self.reads],
            reads=self.reads,
            lam_per=lam_per,
            pair=pair,
            label=OBJECTS[self.label]() if self.label in OBJECTS else self.label,
            drop_intrusions=self.drop_intrusions,
            loss=self.loss,
            # a larger step than the default, so that both branches of the maximum are taken
            objective=AdversarialLam(epsilon=0.1) if self.objective == "adversarial_lam" else self.objective,
            hyper={
                "alpha": 1.0,
                "mix_prob": mix_prob,
                "label_smoothing": self.label_smoothing,
                "clean_weight": self.clean_weight,
                **hyper,
            },
        )

    def __str__(self):
        names = [v if isinstance(v, str) else type(v).__name__ for v in (self.mask, self.mix_at, self.label)]
        flags = [
            (self.reads, self.reads != "table"),
            ("drop", self.drop_intrusions is True),
            ("droplast", self.drop_intrusions == "last"),
            ("smooth", self.label_smoothing),
            ("clean", self.clean_weight),
        ]
        return "-".join([*names, self.loss, self.objective, *(name for name, on in flags if on)])


def structures(masks, labels, sites=("input", "hidden", "any", "last"), **network):
    drops = [False, True, "last"]
    every = [
        Structure(*axes, **network)
        for axes in product(masks, sites, labels, LOSSES, OBJECTIVES, drops, [0, 0.1], [0, 0.7])
    ]
    # "last" goes with all the others at all sites, half as many recipes again: a part of them has to do.
    return [s for s in every if s.drop_intrusions != "last" or (s.mask == "linear" and not s.label_smoothing)]


def reasons(structure):
    """The entries of ILLEGAL that forbid a structure."""
    spec = structure.spec()
    mask = MASKS[spec.mix]() if isinstance(spec.mix, str) else spec.mix
    label = TARGETS[spec.label]() if isinstance(spec.label, str) else spec.label
    objective = OBJECTIVES[spec.objective]() if isinstance(spec.objective, str) else spec.objective
    parts = Parts(spec, mask, label, objective, taps_of(label, N_STAGES))
    return [what for what, illegal, _ in ILLEGAL if illegal(parts)]


PRODUCT = structures(MASKS, [*TARGETS, *OBJECTS])
LEGAL = [structure for structure in PRODUCT if not reasons(structure)]


def thinned(product):
    """What comes after the logits knows nothing of the network: smoothing goes with the clean term."""
    return [s for s in product if s.drop_intrusions or bool(s.label_smoothing) == bool(s.clean_weight)]


def taking_turns(product):
    """The legal recipes of a product, each with one of the ways to draw."""
    legal = [structure for structure in product if not reasons(structure)]
    return [replace(s, draws=((k + k // len(DRAWS)) % len(DRAWS),)) for k, s in enumerate(legal)]


NAMES = MASKS, [*TARGETS, *OBJECTS]
# Of two hidden stages the first is the embedding, so that "hidden" is "last".
TEXT_PRODUCT = thinned(structures(*NAMES, ("embedding", "any", "last"), reads="text"))
# "any" has the sites of "hidden", which stays for the mask that is not for the input; losses are told which
# rows are dropped, and nothing of what these are.
IMAGE_PRODUCT = [
    s
    for s in thinned(structures(*NAMES, reads="image"))
    if (s.mix_at != "hidden" or s.mask == "nonlinear")
    and (s.drop_intrusions != "last" or s.loss == "cross_entropy")
]
TEXT, IMAGES = taking_turns(TEXT_PRODUCT), taking_turns(IMAGE_PRODUCT)
OWN = [
    structure
    for structure in structures([*MASKS, Ramp()], [*TARGETS, NearestMean()])
    if not (isinstance(structure.mask, str) and isinstance(structure.label, str))
    and not reasons(structure)
    and not structure.label_smoothing
]
# What these labels know differs between stacked models.
PER_MODEL = ("lamix", "latent", "online", "nonlinear")

ALONE = TEXT + IMAGES  # networks without a model axis
every_recipe = pytest.mark.parametrize("structure", LEGAL + OWN + ALONE, ids=str)
every_recipe_of_tables = pytest.mark.parametrize("structure", LEGAL + OWN, ids=str)
every_recipe_of_text = pytest.mark.parametrize("structure", TEXT, ids=str)
every_cross_entropy_recipe = pytest.mark.parametrize(
    "structure", [s for s in LEGAL + OWN + ALONE if s.loss == "cross_entropy"], ids=str
)
every_named_cross_entropy_recipe = pytest.mark.parametrize(
    "structure", [s for s in LEGAL + ALONE if s.loss == "cross_entropy"], ids=str
)


# --- one step of all draws at once --------------------------------------------------------------------


@cache
def table():
    """Rows of an encoded table: a number, a category, a number with a missing indicator; 6 : 3 : 1."""
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], [36, 18, 6])
    X = np.column_stack(
        [
            rng.normal(size=N_ROWS) + y,
            np.eye(3)[(y + (rng.random(N_ROWS) < 0.3)) % 3],
            rng.normal(size=N_ROWS) - y,
            rng.random(N_ROWS) < 0.3,
        ]
    )
    return Rows(torch.tensor(X), torch.tensor(y), None, N_CLASSES, LAYOUT)


@cache
def sentences():
    """Rows of codes: 1 to 7 words, some of which tell the class; 6 : 3 : 1."""
    rng = np.random.default_rng(0)
    y = table().y.numpy()
    lengths = rng.integers(1, LONGEST + 1, N_ROWS)
    shape = (N_ROWS, LONGEST)
    codes = np.where(rng.random(shape) < 0.4, 2 + y[:, None], rng.integers(1, N_CODES, shape))
    codes[np.arange(LONGEST) >= lengths[:, None]] = 0
    layout = TextLayout(n_codes=N_CODES)
    return Rows(torch.tensor(codes), table().y, None, N_CLASSES, layout, torch.float64, lengths)


@cache
def pictures():
    """Rows of bytes: images of two channels, where a bright column of pixels tells the class; 6 : 3 : 1."""
    rng = np.random.default_rng(0)
    y = table().y.numpy()
    X = rng.integers(0, 200, (N_ROWS, *IMAGE.shape), dtype=np.uint8)
    X[np.arange(N_ROWS), :, :, 2 * y] += 55
    return Rows(torch.tensor(X), table().y, None, N_CLASSES, IMAGE, torch.float64)


ROWS = {"table": table, "text": sentences, "image": pictures}


def bound(spec, weighted=False, seeds=ALL):
    """A recipe that has seen the table, the sentences or the images."""
    class_weight = torch.tensor([0.5, 1.0, 3.0]).double() if weighted else None
    recipe = Recipe(spec)
    rows, net = ROWS[spec.reads](), network(seeds, spec.reads)
    recipe.attach(Sizes(rows.X[0].numel(), net.widths, N_CLASSES, len(seeds), spec.reads), seeds)
    recipe.double()
    recipe.bind(lambda: rows, State(rows.class_counts(), class_weight, weighted))
    if hasattr(recipe.label, "learn"):  # what its second phase starts with
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # 8 features are many for 6 rows
            x = rows.at(torch.arange(N_ROWS))
            recipe.label.learn(net.lower(x.expand(len(seeds), *x.shape), N_STAGES), rows)
    return recipe


def recipe_of(structure, weighted=False):
    """Its recipe, for the models that have its draws."""
    return bound(structure.spec(), weighted, structure.draws)


@cache  # no test changes its weights
def network(seeds=ALL, reads="table"):
    if reads == "image":
        with seeded(seeds[0]):
            return small_network().double()
    if reads == "text":
        return build("textcnn", LONGEST, N_CLASSES, {"n_codes": N_CODES, **SMALL}, seeds).double()
    options = {"hidden": (WIDTH, WIDTH), "activation": "tanh"}
    return build("mlp", LAYOUT.n_encoded, N_CLASSES, options, seeds).double()


def small_network():
    """One of images: two stages, of 3 channels and of 5 features."""
    stages = [
        nn.Sequential(nn.Conv2d(IMAGE.shape[0], 3, 3, padding=1), nn.Tanh()),
        nn.Sequential(nn.Conv2d(3, 5, 3, stride=2, padding=1), nn.Tanh(), Pool()),
    ]
    return StandardNetwork(stages, IMAGE.shape[0], N_CLASSES, IMAGE.shape, "auto", 1)


def network_of(structure):
    """The network of its models."""
    return network(structure.draws, structure.reads)


def draw_batch(mask, mix_at, weighted=False, numbers=ALL, reads="table"):
    """One step: for each way to draw a model with its own rows, labels and draw."""
    rows = ROWS[reads]()
    structure = Structure(mask, mix_at, "linear", "cross_entropy", "mixed", False, 0, 0, numbers, reads)
    index, draws = [], []
    streams = np.random.SeedSequence(0).spawn(len(DRAWS))
    for number in numbers:
        rng, (lam_per, pair, mix_prob) = np.random.default_rng(streams[number]), DRAWS[number]
        index.append(rng.permutation(N_ROWS)[:BATCH])
        recipe = bound(structure.spec(lam_per, pair, mix_prob), seeds=numbers)
        draws.append(recipe.draw(rng, rows.y[index[-1]].numpy()[None], np.array([0]), recipe.hyper))
    index = torch.as_tensor(np.stack(index))
    y = torch.eye(N_CLASSES).double()[rows.y[index]]
    if weighted:
        y = y * torch.linspace(0.2, 1.8, BATCH).double()[:, None]
    noise = None if draws[0].noise is None else torch.as_tensor(np.concatenate([d.noise for d in draws]))
    mixed = torch.tensor([d.mixed is None or bool(d.mixed[0]) for d in draws])
    perm = torch.as_tensor(np.concatenate([d.perm for d in draws]))
    lam = torch.as_tensor(np.concatenate([d.lam for d in draws])).double()
    return Batch(rows.at(index), y, Draw(perm, lam, int(draws[0].site[0]), noise, mixed))


drawn = cache(draw_batch)  # drawing a stack costs as much as ten steps


def batch_of(structure, weighted=False):
    """The step that every recipe with this mask and site is tried on."""
    return drawn(structure.mask, structure.mix_at, weighted, structure.draws, structure.reads)


def mapped(batch, change):
    """The batch with `change` applied to each of its tensors."""
    draw = Draw(*(change(v) if isinstance(v, Tensor) else v for v in batch.draw))
    real = None if batch.real is None else change(batch.real)
    return Batch(change(batch.x), change(batch.y), draw, real)


def step(recipe, net, batch):
    """Losses (M,) and the gradient of each parameter (M, ...), the label's own network included."""
    net.zero_grad()
    recipe.zero_grad()
    losses = recipe(net, batch)
    losses.sum().backward()
    return losses.detach(), [p.grad for p in (*net.parameters(), *recipe.parameters())]


def target_of(recipe, net, batch):
    walk = Step(recipe, net, batch)
    h, share = walk.mixed(batch.draw.lam)
    return walk.target(share, walk.upper(h)[1])


def assert_same_step(actual, expected):
    for a, b in zip((actual[0], *actual[1]), (expected[0], *expected[1]), strict=True):
        assert torch.allclose(a, b, **EXACT)  # a tenth of the time of torch.testing.assert_close


# --- the list -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("legal", "n_recipes"),
    [(LEGAL, 14976), (TEXT, 5472), (IMAGES, 4944)],
    ids=["14976 of tables", "5472 of text", "4944 of images"],
)
def test_the_product_of_all_names_has_a_known_number_of_legal_recipes(legal, n_recipes):
    assert len(legal) * len(DRAWS) == n_recipes


@pytest.mark.parametrize("legal", [TEXT, IMAGES], ids=["text", "images"])
def test_recipes_without_a_model_axis_take_turns_with_every_way_to_draw(legal):
    for chosen in ("mask", "mix_at", "label", "loss", "objective", "drop_intrusions", "clean_weight"):
        for value in {getattr(s, chosen) for s in legal}:
            assert {s.draws[0] for s in legal if getattr(s, chosen) == value} == set(ALL), (chosen, value)


def test_every_name_of_every_table_is_in_a_legal_recipe():
    assert {s.mask for s in LEGAL} == {*MASKS} - {"cutmix", "puzzle"}
    assert {s.label for s in LEGAL} == {*TARGETS, *OBJECTS}
    assert {pair for _, pair, _ in DRAWS} == set(PAIRS)
    for legal in (LEGAL, TEXT, IMAGES):
        assert {type(Recipe(s.spec()).objective) for s in legal} == {Mixed, WithClean, AdversarialLam, Plus}
        assert {s.loss for s in legal} == set(LOSSES)
    assert {s.mask for s in TEXT} == {*MASKS} - {"columns", "cutmix", "puzzle"}
    assert {s.mask for s in IMAGES} == {*MASKS} - {"columns"}
    assert {s.mix_at for s in IMAGES} == {"input", "hidden", "any", "last"}
    for legal in (TEXT, IMAGES):
        assert {s.label for s in legal} == {*TARGETS, *OBJECTS} - {"genlabel"}
        assert {s.drop_intrusions for s in legal} == {False, "last"}


class Above(NearestMean):
    """A label of a stage that there is not."""

    tap = N_STAGES + 1


class AtInput(Ramp):
    """A user's mask for the input alone."""

    input_only = True


# Illegal recipes of what the tables of names do not have.
BEYOND = [
    replace(LEGAL[0], label=Above()),
    replace(TEXT[0], mask=AtInput()),
    replace(TEXT[0], label=OnlineGenLabel(density_at=1)),
    replace(TEXT[0], objective=AdaMixup()),
    replace(IMAGES[0], label=LatentGenLabel(density_at=0)),
    replace(IMAGES[0], label=OnlineGenLabel(density_at=0)),
]
ILLEGAL_RECIPES = [s for s in PRODUCT + TEXT_PRODUCT + IMAGE_PRODUCT + BEYOND if reasons(s)]


def test_every_stated_illegal_pair_forbids_some_recipe():
    assert {what for s in ILLEGAL_RECIPES for what in reasons(s)} == {what for what, _, _ in ILLEGAL}


def test_an_illegal_recipe_raises_one_value_error_that_says_what_and_what_to_do():
    legal, every = LEGAL + TEXT + IMAGES, PRODUCT + TEXT_PRODUCT + IMAGE_PRODUCT
    assert len(legal) + len(ILLEGAL_RECIPES) == len(every) + len(BEYOND)
    remedy = {what: text for what, _, text in ILLEGAL}
    for structure in ILLEGAL_RECIPES:
        spec, first = structure.spec(), reasons(structure)[0]
        mix, label = (repr(v) if isinstance(v, str) else type(v).__name__ for v in (spec.mix, spec.label))
        expected = first.format(mix=mix, label=label, inputs=INPUTS[spec.reads]) + ". " + remedy[first]
        assert "use " in expected.lower()
        with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
            Recipe(spec)


def test_batches_are_mixed_and_left_alone_in_the_same_stack():
    mixed = batch_of(LEGAL[0]).draw.mixed
    assert mixed.any()
    assert not mixed.all()


# --- the contract -------------------------------------------------------------------------------------


@every_recipe
def test_targets_are_distributions(structure):
    for weighted in (False, True):
        t, w, keep = target_of(
            recipe_of(structure, weighted), network_of(structure), batch_of(structure, weighted)
        )
        assert torch.isfinite(t).all()
        assert (t >= 0).all()
        torch.testing.assert_close(t.sum(-1), torch.ones(t.shape[:2]).double(), **EXACT)
        assert (w is None) == (not weighted)
        assert w is None or (torch.isfinite(w).all() and (w > 0).all())
        assert (keep is None) == (not structure.drop_intrusions)
        assert keep is None or ((keep == 0) | (keep == 1)).all()


@every_recipe
def test_losses_and_gradients_are_finite_and_reach_every_layer_of_every_model(structure):
    for weighted in (False, True):
        recipe, batch = recipe_of(structure, weighted), batch_of(structure, weighted)
        losses, gradients = step(recipe, network_of(structure), batch)
        assert torch.isfinite(losses).all()
        assert (losses > 0).all()
        for gradient, learns in zip(gradients, models_that_learn(structure, recipe, batch), strict=True):
            assert torch.isfinite(gradient).all()
            each = gradient if structure.reads == "table" else gradient.unsqueeze(0)  # of each model
            assert (each.flatten(1).abs().amax(1) > 0).tolist() == learns


def models_that_learn(structure, recipe, batch):
    """For each parameter of a step, whether it has a gradient in each model of the stack."""
    mixed = batch.draw.mixed.tolist()
    other = [DRAWS[number][1] != "same_class" for number in structure.draws]
    yield from ([True] * len(mixed) for _ in network_of(structure).parameters())
    for name, _ in recipe.named_parameters():
        learns = [True] * len(mixed)
        if isinstance(recipe.label, NonlinearLabel):  # it is for mixed rows, and mixes vectors of two classes
            of_two = name.endswith("gate")
            learns = [m and (o or not of_two) for m, o in zip(mixed, other, strict=True)]
        yield learns


@every_recipe
def test_permuting_a_batch_permutes_its_targets_and_leaves_its_loss(structure):
    recipe, net, batch = recipe_of(structure), network_of(structure), batch_of(structure)
    order = torch.as_tensor(np.random.default_rng(3).permutation(BATCH))
    place = order.argsort()  # where each row went
    moved = mapped(batch, lambda v: v if v.ndim == 1 else v[:, order])
    moved = moved._replace(draw=moved.draw._replace(perm=place[moved.draw.perm]))
    t, _, keep = target_of(recipe, net, batch)
    t_moved, _, keep_moved = target_of(recipe, net, moved)
    torch.testing.assert_close(t_moved, t[:, order], **EXACT)
    assert keep is None or torch.equal(keep_moved, keep[:, order])
    assert_same_step(step(recipe, net, moved), step(recipe, net, batch))


@every_recipe_of_tables
def test_stacked_models_get_the_losses_and_gradients_they_get_alone(structure):
    weighted = structure.clean_weight > 0
    recipe, batch = recipe_of(structure, weighted), batch_of(structure, weighted)
    losses, gradients = step(recipe, network_of(structure), batch)
    for m in range(len(DRAWS)):
        alone = mapped(batch, lambda v, m=m: v[m : m + 1])
        one = bound(structure.spec(), weighted, (m,)) if structure.label in PER_MODEL else recipe
        assert_same_step(
            (losses[m : m + 1], [g[m : m + 1] for g in gradients]), step(one, network((m,)), alone)
        )


@every_recipe
def test_padding_rows_change_neither_loss_nor_gradient(structure):
    weighted = structure.clean_weight > 0
    recipe, net, batch = recipe_of(structure, weighted), network_of(structure), batch_of(structure, weighted)
    n_padding = 3

    def padded(v):
        return v if v.ndim == 1 else torch.cat([v, v[:, :n_padding].flip(1)], 1)

    longer = mapped(batch, padded)
    own = torch.arange(BATCH, BATCH + n_padding).expand(len(structure.draws), -1)
    real = torch.ones(len(structure.draws), BATCH + n_padding).double()
    real[:, BATCH:] = 0
    longer = Batch(
        longer.x,
        longer.y,
        longer.draw._replace(perm=torch.cat([batch.draw.perm, own], 1)),
        real,
    )
    assert_same_step(step(recipe, net, longer), step(recipe, net, batch))


@every_recipe_of_text
def test_padding_words_change_neither_loss_nor_gradient(structure):
    weighted = structure.clean_weight > 0
    recipe, net, batch = recipe_of(structure, weighted), network_of(structure), batch_of(structure, weighted)
    longer = batch._replace(x=torch.nn.functional.pad(batch.x, (0, 4)))
    assert_same_step(step(recipe, net, longer), step(recipe, net, batch))


@every_recipe
def test_the_same_seed_gives_the_same_bits(structure):
    first, second = (
        step(
            recipe_of(structure),
            network_of(structure),
            draw_batch(structure.mask, structure.mix_at, False, structure.draws, structure.reads),
        )
        for _ in range(2)
    )
    assert torch.equal(first[0], second[0])
    assert all(torch.equal(a, b) for a, b in zip(first[1], second[1], strict=True))


# Convolutions are slow on `meta`. What a probe finds decides which graphs are cut, and that on the host.
DEVICE_ALONE = LEGAL + OWN + [s for s in ALONE[::4] if s.mask != "puzzle"]


@pytest.mark.parametrize("structure", DEVICE_ALONE, ids=str)
def test_a_step_never_waits_for_the_device(structure):
    """Anything that needs a value on the host raises on `meta`, whose tensors have none."""
    weighted = structure.clean_weight > 0
    recipe, net = recipe_of(structure, weighted), deepcopy(network_of(structure)).to("meta")
    to_device(recipe.to("meta"), "meta")
    losses, gradients = step(recipe, net, mapped(batch_of(structure, weighted), lambda v: v.to("meta")))
    assert losses.shape == (len(structure.draws),)
    assert all(v.is_meta for v in (losses, *gradients))


def to_device(owner, device):
    """Move what a recipe, its state and its rules hold; densities follow the rows by themselves."""
    for name, value in vars(owner).items():
        if isinstance(value, Tensor):
            setattr(owner, name, value.to(device))
        elif name in ("mask", "target", "loss", "state"):
            to_device(value, device)
        elif name == "blocks_":
            moved = [tuple(v.to(device) if isinstance(v, Tensor) else v for v in block) for block in value]
            owner.blocks_ = moved


# --- identities with plain training -------------------------------------------------------------------


def plain_step(structure, net, batch, weighted=False):
    """Cross entropy of the rows as they are, as often as the recipe counts it."""
    plain = replace(structure, mask=None, drop_intrusions=False, mix_at="input")
    losses, gradients = step(recipe_of(plain, weighted), net, batch._replace(draw=None))
    times = 1 + structure.clean_weight
    return losses * times, [g * times for g in gradients]


def step_of_net(recipe, net, batch):
    """`step` without the gradients of the label's own network, which plain training has not."""
    losses, gradients = step(recipe, net, batch)
    return losses, gradients[: len(list(net.parameters()))]


def relabelled(structure, **labels):
    """The recipe's spec, with another label object where it has the one that is named."""
    return replace(structure.spec(), label=labels.get(structure.label, structure.spec().label))


def linearly(structure):
    """The recipe's spec with a label that is the linear one if the classifier's own number says so."""
    return relabelled(
        structure,
        genlabel=GenLabel(gamma=0),
        latent=LatentGenLabel(gamma=0),
        online=OnlineGenLabel(gamma=0),
        lamix=LaMix(local_share=1),
        nonlinear=NonlinearLabel(weight=0),
    )


@every_cross_entropy_recipe
def test_a_batch_that_is_left_alone_is_trained_as_plain_training_does(structure):
    spec = relabelled(structure, lamix=LaMix(global_on_clean=False))
    recipe, net, batch = bound(spec, True, structure.draws), network_of(structure), batch_of(structure, True)
    alone = torch.zeros(len(structure.draws), dtype=torch.bool)
    perm = torch.arange(BATCH).expand(len(structure.draws), -1)
    draw = batch.draw._replace(perm=perm, lam=torch.ones_like(batch.draw.lam), mixed=alone)
    batch = batch._replace(draw=draw)
    assert_same_step(step_of_net(recipe, net, batch), plain_step(structure, net, batch, True))


@every_named_cross_entropy_recipe
def test_rows_mixed_with_themselves_are_trained_as_plain_training_does(structure):
    recipe = bound(linearly(structure), seeds=structure.draws)
    net, batch = network_of(structure), batch_of(structure)
    own = torch.arange(BATCH).expand(len(structure.draws), -1)
    batch = batch._replace(draw=batch.draw._replace(perm=own, mixed=None))
    assert_same_step(step_of_net(recipe, net, batch), plain_step(structure, net, batch))


LINEAR = [
    s
    for s in LEGAL + ALONE
    if s.mask not in ("half", "nonlinear")  # which leave the partner a part
    and s.label != "logistic"
    and s.loss == "cross_entropy"
    and s.objective == "mixed"  # AMP moves lam back from 1
]


@pytest.mark.parametrize("structure", LINEAR, ids=str)
def test_lam_one_is_plain_training_where_mask_and_target_are_linear(structure):
    recipe = bound(linearly(structure), True, structure.draws)
    net, batch = network_of(structure), batch_of(structure, True)
    draw = batch.draw._replace(lam=torch.ones_like(batch.draw.lam), mixed=None)
    batch = batch._replace(draw=draw)
    assert_same_step(step_of_net(recipe, net, batch), plain_step(structure, net, batch, True))


@pytest.mark.parametrize(
    "structure", [s for s in LEGAL + ALONE if s.label == "logistic" and s.mask != "nonlinear"], ids=str
)
def test_the_logistic_label_at_lam_one_leaves_the_partner_what_its_curve_says(structure):
    batch = batch_of(structure)
    batch = batch._replace(draw=batch.draw._replace(lam=torch.ones_like(batch.draw.lam), mixed=None))
    t, _, _ = target_of(recipe_of(structure), network_of(structure), batch)
    first, s = 1 / (1 + np.exp(-2 * 0.5 / 0.1)), structure.label_smoothing
    partner = torch.take_along_dim(batch.y, batch.draw.perm[..., None], 1)
    torch.testing.assert_close(
        t, (1 - s) * (first * batch.y + (1 - first) * partner) + s / N_CLASSES, **EXACT
    )


CONTRASTS = [
    s for s in LEGAL + ALONE if s.loss == "infinite" and s.label == "linear" and not s.drop_intrusions
]


@pytest.mark.parametrize("structure", CONTRASTS, ids=str)
def test_infinite_on_rows_left_alone_contrasts_their_own_classes(structure):
    recipe, net, batch = recipe_of(structure), network_of(structure), batch_of(structure)
    own = torch.arange(BATCH).expand(len(structure.draws), -1)
    lam = torch.ones_like(batch.draw.lam)
    batch = batch._replace(draw=batch.draw._replace(perm=own, lam=lam, mixed=None))
    s = structure.label_smoothing
    t, logits = (1 - s) * batch.y + s / N_CLASSES, net(batch.x)
    clean = -(t * torch.log_softmax(logits, -1)).sum(-1)
    expected = (recipe.loss(logits, t) + structure.clean_weight * clean).mean(-1)
    torch.testing.assert_close(step(recipe, net, batch)[0], expected.detach(), **EXACT)


# --- numbers that may differ between stacked models ---------------------------------------------------


def test_each_stacked_model_may_have_its_own_gamma_smoothing_and_clean_weight():
    structure = Structure("linear", "input", "genlabel", "cross_entropy", "mixed", False, 0.1, 0.7)
    m = len(DRAWS)
    gamma, smoothing, clean = (
        torch.linspace(low, high, m).double() for low, high in ((0, 1), (0, 0.4), (0, 2))
    )

    def spec(gamma, smoothing, clean):
        spec = structure.spec(label_smoothing=smoothing, clean_weight=clean)
        return replace(spec, label=GenLabel(gamma=gamma))

    batch = batch_of(structure)
    losses, gradients = step(bound(spec(gamma, smoothing, clean)), network(), batch)
    for k in range(m):
        alone = mapped(batch, lambda v, k=k: v[k : k + 1])
        recipe = bound(spec(float(gamma[k]), float(smoothing[k]), float(clean[k])))
        assert_same_step(
            (losses[k : k + 1], [g[k : k + 1] for g in gradients]), step(recipe, network((k,)), alone)
        )


def test_a_recipe_never_changes_the_rule_objects_it_was_given():
    label, mask = NearestMean(), Ramp()
    before = deepcopy(vars(label)), deepcopy(vars(mask))
    bound(Spec(mix=mask, label=label, n_stages=N_STAGES, hyper={"alpha": 1.0}))
    assert (vars(label), vars(mask)) == before

"""Backbones: stages that can be cut anywhere, and models that do not notice that they are stacked."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from mixsk.backbones import (
    ACTIVATIONS,
    BACKBONES,
    MLP,
    Backbone,
    Linear,
    StackedLayerNorm,
    StackedLinear,
    Wrapped,
    accepted,
    build,
    stacks,
)

N_FEATURES, N_CLASSES = 5, 3
EXACT = {"rtol": 1e-12, "atol": 1e-12}


def rows(n_models=1, n_rows=7, seed=0, width=N_FEATURES):
    return torch.tensor(np.random.default_rng(seed).normal(size=(n_models, n_rows, width)))


def mlp(seeds=(0,), **options):
    return build("mlp", N_FEATURES, N_CLASSES, {"hidden": (6, 4), **options}, seeds).double()


def same(a, b):
    return torch.testing.assert_close(a, b, **EXACT)


# --- stages -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", [None, "layer"])
@pytest.mark.parametrize("site", [0, 1, 2])
def test_the_part_below_a_site_and_the_part_above_it_make_the_whole(site, norm):
    net, x = mlp(norm=norm), rows()
    logits, taps = net.upper(net.lower(x, site), site)
    same(logits, net(x))
    assert taps == {}


def test_site_zero_is_the_input_and_the_last_site_the_heads_input():
    net, x = mlp(), rows()
    assert net.n_stages == 2
    assert net.lower(x, 0) is x
    assert net.lower(x, 1).shape == (1, 7, 6)
    assert net.lower(x, 2).shape == (1, 7, 4)
    same(net.head(net.lower(x, 2)), net(x))


@given(st.integers(0, 2), st.sets(st.integers(0, 2)))
def test_upper_hands_back_the_features_at_the_taps_that_lie_above_the_site(site, taps):
    net, x = mlp(), rows()
    _, features = net.upper(net.lower(x, site), site, tuple(taps))
    assert set(features) == {tap for tap in taps if tap >= site}
    for tap, h in features.items():
        same(h, net.lower(x, tap))


def test_the_linear_network_has_only_its_input_as_a_site():
    net = Linear(N_FEATURES, N_CLASSES)
    assert net.n_stages == 0
    x = rows().float()
    same(net(x)[0], as_torchs(net.head)(x[0]))


# --- the multi-layer perceptron -----------------------------------------------------------------------


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("norm", [None, "layer"])
def test_an_mlp_computes_what_torchs_own_layers_compute(activation, norm):
    net, h = mlp(activation=activation, norm=norm), rows()
    layers = [part for part in net.modules() if isinstance(part, StackedLinear)]
    assert len(layers) == 3
    expected = h[0]
    for layer in layers[:2]:
        expected = as_torchs(layer)(expected)
        if norm:  # scale 1, shift 0 at the start
            expected = nn.functional.layer_norm(expected, expected.shape[-1:])
        expected = expected if activation == "identity" else getattr(nn.functional, activation)(expected)
    same(net(h)[0], as_torchs(layers[2])(expected))


def as_torchs(layer, m=0):
    """torch's own layer with the weights of model m."""
    weight = layer.weight[m] if layer.narrow else layer.weight[m].T  # (out, in)
    linear = nn.Linear(weight.shape[1], weight.shape[0]).to(weight)
    linear.weight.data, linear.bias.data = weight.detach().contiguous(), layer.bias[m, 0].detach()
    return linear


def test_the_identity_activation_makes_a_linear_map():
    net, x = mlp(activation="identity"), rows()
    middle = net(x[:, :1] * 0.25 + x[:, 1:2] * 0.75)
    same(middle, net(x[:, :1]) * 0.25 + net(x[:, 1:2]) * 0.75)


def test_an_mlp_without_hidden_layers_is_the_linear_network():
    net = mlp(hidden=())
    assert net.n_stages == 0
    same(net(rows())[0], as_torchs(net.head)(rows()[0]))


def test_a_site_is_a_stages_output_before_dropout():
    net, x = mlp(dropout=0.5, activation="tanh").train(), rows(n_rows=200)
    torch.manual_seed(0)
    h = net.lower(x, 1)
    assert torch.equal(h, net.eval().lower(x, 1))  # nothing dropped in the features themselves
    assert (net.train().lower(x, 2) != 0).all()
    assert not torch.equal(net.upper(h, 1)[0], net.upper(h, 1)[0])
    last = net.eval().lower(x, 2)
    assert not torch.equal(net.train().upper(last, 2)[0], net.upper(last, 2)[0])
    assert torch.equal(net.eval()(x), net(x))


def test_stacked_models_drop_different_units():
    net = mlp(seeds=(0, 0), dropout=0.5).train()
    torch.manual_seed(0)
    x = rows().expand(2, -1, -1)
    first, second = net(x)
    assert not torch.equal(first, second)


def test_an_unknown_norm_is_refused():
    with pytest.raises(ValueError, match=r"module__norm must be None or 'layer'\. Got 'batch'"):
        mlp(norm="batch")


# --- stacked layers -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("n_in", "n_out"), [(1, 4), (7, 3), (100, 50)])
def test_stacked_layers_start_as_uniformly_as_torchs_own(n_in, n_out):
    torch.manual_seed(0)
    layer = StackedLinear(n_in, n_out, n_models=40)
    bound = 1 / n_in**0.5
    for parameter in (layer.weight, layer.bias):
        flat = parameter.detach().flatten()
        assert flat.abs().max() <= bound
        assert flat.abs().max() > 0.9 * bound
        assert abs(flat.mean()) < 5 * bound / (3 * len(flat)) ** 0.5
        assert abs(flat.var() * 3 / bound**2 - 1) < 5 / len(flat) ** 0.5
    theirs = nn.Linear(n_in, n_out)
    assert max(p.abs().max() for p in theirs.parameters()) <= bound


@pytest.mark.parametrize(("n_in", "n_out"), [(3, 40), (8, 8), (40, 3), (40, 1)])
def test_wide_and_narrow_stacked_layers_compute_what_torchs_own_compute_for_each_model(n_in, n_out):
    layer, x = StackedLinear(n_in, n_out, n_models=3).double(), rows(3, width=n_in)
    for m in range(3):
        same(layer(x)[m], as_torchs(layer, m)(x[m]))


def test_each_stacked_layer_norm_scales_and_shifts_by_its_own_parameters():
    norm, x = StackedLayerNorm(4, n_models=2).double(), rows(2, width=4)
    with torch.no_grad():
        norm.weight.copy_(rows(2, 1, seed=1, width=4))
        norm.bias.copy_(rows(2, 1, seed=2, width=4))
    for m in range(2):
        alone = nn.LayerNorm(4).double()
        alone.weight.data, alone.bias.data = norm.weight[m, 0].data, norm.bias[m, 0].data
        same(norm(x)[m], alone(x[m]))


@pytest.mark.parametrize("module", [name for name in BACKBONES if stacks(name)])
def test_a_stacked_model_computes_bit_for_bit_the_weights_it_would_have_alone(module):
    options = {"hidden": (6, 4), "norm": "layer"} if module == "mlp" else {}
    stacked = build(module, N_FEATURES, N_CLASSES, options, [3, 1, 4])
    for m, seed in enumerate([3, 1, 4]):
        alone = build(module, N_FEATURES, N_CLASSES, options, [seed])
        for name, parameter in alone.named_parameters():
            assert torch.equal(stacked.get_parameter(name)[m : m + 1], parameter)
    x = rows(3).float()
    singles = [
        build(module, N_FEATURES, N_CLASSES, options, [s])(x[m : m + 1]) for m, s in enumerate([3, 1, 4])
    ]
    torch.testing.assert_close(stacked(x), torch.cat(singles))


def test_gradients_of_stacked_models_do_not_touch_each_other():
    net = mlp(seeds=(0, 1, 2))
    net(rows(3))[1].square().sum().backward()
    for parameter in net.parameters():
        assert (parameter.grad[[0, 2]] == 0).all()
        assert (parameter.grad[1] != 0).any()


# --- building -----------------------------------------------------------------------------------------


def test_building_repeats_by_seed_and_leaves_torchs_global_generator_alone():
    before = torch.random.get_rng_state()
    first, again, other = mlp([7]), mlp([7]), mlp([8])
    assert torch.equal(torch.random.get_rng_state(), before)
    for name, parameter in first.named_parameters():
        assert torch.equal(parameter, again.get_parameter(name))
        assert not torch.equal(parameter, other.get_parameter(name))


class Sized(nn.Module):
    def __init__(self, n_features, n_classes, width=4):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(n_features, width), nn.ReLU(), nn.Linear(width, n_classes))

    def forward(self, x):
        return self.layers(x)


class Fixed(nn.Module):
    def __init__(self, n_in, n_out):
        super().__init__()
        self.layer = nn.Linear(n_in, n_out)

    def forward(self, x):
        return self.layer(x)


def test_a_users_class_gets_the_sizes_that_its_constructor_takes():
    net = build(Sized, N_FEATURES, N_CLASSES, {"width": 9}, [0])
    assert isinstance(net, Wrapped)
    assert net(rows().float()).shape == (1, 7, N_CLASSES)
    assert net.head.module.layers[0].out_features == 9
    fixed = build(Fixed, N_FEATURES, N_CLASSES, {"n_in": N_FEATURES, "n_out": N_CLASSES}, [0])
    assert fixed(rows().float()).shape == (1, 7, N_CLASSES)


def test_a_users_option_goes_before_our_size():
    net = build(Sized, N_FEATURES, N_CLASSES, {"n_classes": 11}, [0])
    assert net(rows().float()).shape == (1, 7, 11)


def test_a_users_class_is_seeded():
    first, again = (build(Sized, N_FEATURES, N_CLASSES, {}, [5]) for _ in range(2))
    for a, b in zip(first.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)


def test_an_instance_is_copied_with_its_weights_and_never_trained_itself():
    template = Sized(N_FEATURES, N_CLASSES)
    before = [p.detach().clone() for p in template.parameters()]
    net = build(template, N_FEATURES, N_CLASSES, {}, [0])
    x = rows().float()
    same(net(x)[0], template(x[0]))
    with torch.no_grad():
        for p in net.parameters():
            p.zero_()
    assert all(torch.equal(p, kept) for p, kept in zip(template.parameters(), before, strict=True))


def test_a_users_module_has_its_input_as_its_only_site_and_batches_of_any_rank():
    net = build(nn.Sequential(nn.Flatten(), nn.Linear(6, N_CLASSES)), 6, N_CLASSES, {}, [0])
    images = torch.zeros(1, 4, 2, 3)
    assert net.n_stages == 0
    assert net(images).shape == (1, 4, N_CLASSES)
    logits, taps = net.upper(net.lower(images, 0), 0, (0,))
    assert logits.shape == (1, 4, N_CLASSES)
    assert taps[0] is images


def test_a_users_backbone_keeps_its_stages():
    class Staged(Backbone):
        def __init__(self, n_features, n_classes):
            super().__init__()
            self.stages = nn.ModuleList([StackedLinear(n_features, 4), nn.Tanh()])
            self.head = StackedLinear(4, n_classes)

    for given_module in (Staged, Staged(N_FEATURES, N_CLASSES)):
        net = build(given_module, N_FEATURES, N_CLASSES, {}, [0])
        assert isinstance(net, Staged)
        assert net.n_stages == 2


def test_a_module_that_knows_no_model_axis_refuses_a_stack():
    """It would quietly answer for the first model alone."""
    with pytest.raises(ValueError, match="3"):
        build(Sized, N_FEATURES, N_CLASSES, {}, [0, 1, 2])(rows(3).float())


def test_accepted_names_the_options_of_a_module():
    assert accepted("mlp") == {"hidden", "activation", "dropout", "norm"}
    assert accepted("linear") == set()
    assert accepted(Sized) == {"width"}
    assert accepted(Sized(2, 2)) is None
    assert accepted(type("Any", (nn.Module,), {"__init__": lambda self, **kwargs: None})) is None


def test_every_name_of_the_table_builds_a_network_with_the_right_shapes():
    for name in filter(stacks, BACKBONES):  # those of text have tests of their own
        assert build(name, N_FEATURES, N_CLASSES, {}, [0])(rows().float()).shape == (1, 7, N_CLASSES)
    assert isinstance(build("mlp", N_FEATURES, N_CLASSES, {}, [0]), MLP)

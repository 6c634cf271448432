"""Networks of images: counted, cut at every site, and against torch's own layers."""

import pickle
from copy import deepcopy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mixsk import LaMixClassifier
from mixsk.backbones import (
    BACKBONES,
    Backbone,
    LeNet,
    Staged,
    Training,
    Wrapped,
    build,
    evaluating,
    renew,
    seeded,
)
from mixsk.backbones._images import Conv, Norm
from mixsk.backbones.densenet import transition
from mixsk.backbones.preact_resnet import PreActBlock
from mixsk.backbones.resnet import BasicBlock, Bottleneck
from mixsk.encoding import ImageEncoder
from mixsk.rules import mixing_sites

N_CLASSES = 10
# Sums of the layers' weights; the papers say 11.0M and 36.5M of the wide networks.
COUNTS = {
    "lenet": 61_706,
    "resnet18": 11_173_962,
    "resnet34": 21_282_122,
    "resnet50": 23_520_842,
    "preact_resnet18": 11_171_146 + 2 * 512,  # the number without the last normalisation is the usual one
    "wrn16_8": 10_961_370,
    "wrn28_10": 36_479_194,
    "densenet121": 6_956_298,
}
EXACT = {"rtol": 1e-10, "atol": 1e-10}
OF_NAMES = pytest.mark.parametrize("name", COUNTS)
OF_RESIDUAL = pytest.mark.parametrize("name", [name for name in COUNTS if name != "lenet"])


def made(name, shape=None, seed=0, **options):
    """A narrow network in float64, and in the mode for predictions."""
    shape = shape or ((1, 16, 14) if name == "lenet" else (3, 8, 9))
    width = {} if name == "lenet" else {"width": 1 if name.startswith("wrn") else 4}
    net = build(name, shape[0], N_CLASSES, {"shape": shape, **width, **options}, [seed])
    return net.double().eval()


def images(net, n=3, seed=0):
    size = {"lenet": (1, 16, 14)}.get(net, (3, 8, 9))
    return torch.tensor(np.random.default_rng(seed).normal(size=(1, n, *size)))


@OF_NAMES
def test_networks_have_the_published_number_of_parameters(name):
    shape = (1, 28, 28) if name == "lenet" else (3, 32, 32)
    with torch.device("meta"):
        net = BACKBONES[name](shape[0], N_CLASSES, shape=shape)
    assert sum(p.numel() for p in net.parameters()) == COUNTS[name]


@OF_NAMES
@pytest.mark.parametrize("channels_last", [True, False])
def test_a_network_cut_at_any_site_is_the_network(name, channels_last):
    net, x = made(name, channels_last=channels_last), images(name)
    sites = tuple(range(net.n_stages + 1))
    logits, taps = net.upper(x, 0, sites)
    torch.testing.assert_close(net(x), logits, **EXACT)
    for site in sites:
        h = net.lower(x, site)
        assert h.shape[:2] == (1, 3)
        assert h[0, 0].numel() == net.widths[site]
        torch.testing.assert_close(taps[site], h, **EXACT)
        torch.testing.assert_close(net.upper(h, site)[0], logits, **EXACT)
        for start in sites[:site]:
            torch.testing.assert_close(net.lower(taps[start], site, start), h, **EXACT)
    assert net.lower(x, net.n_stages).shape == (1, 3, net.widths[-1])


@OF_NAMES
def test_memory_format_changes_no_logits_and_is_kept_behind_a_mixed_site(name):
    x = images(name)
    plain, last = made(name, channels_last=False), made(name, channels_last=True)
    torch.testing.assert_close(plain(x), last(x), **EXACT)
    for net, wanted in ((plain, torch.contiguous_format), (last, torch.channels_last)):
        seen = []
        for stage in net.stages:
            stage.register_forward_pre_hook(lambda _, args: seen.append(args[0]))  # noqa: B023
        mixed = net.lower(x, 1).flip(1).clone(memory_format=torch.contiguous_format)
        net.upper(mixed, 1)
        assert all(h.is_contiguous(memory_format=wanted) for h in seen)
        convs = [m for m in net.modules() if isinstance(m, nn.Conv2d)]
        assert all(m.weight.is_contiguous(memory_format=wanted) for m in convs)


@OF_NAMES
def test_gradients_reach_all_parameters(name):
    net = made(name).train()
    net(images(name)).square().sum().backward()
    for key, parameter in net.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.abs().sum() > 0, key


@OF_NAMES
def test_rows_do_not_see_each_other_in_predictions(name):
    net, x = made(name), images(name)
    alone = torch.cat([net(x[:, [row]]) for row in range(3)], 1)
    torch.testing.assert_close(net(x), alone, **EXACT)
    assert net.rows_interact == (name != "lenet")


@OF_NAMES
def test_a_training_step_runs_without_values(name):
    net = made(name).to("meta").train()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    h = net.lower(images(name).to("meta"), 1)
    logits, taps = net.upper(0.5 * h + 0.5 * h.flip(1), 1, (net.n_stages,))
    (logits.sum() + taps[net.n_stages].sum()).backward()
    optimizer.step()
    assert logits.shape == (1, 3, N_CLASSES)


@OF_NAMES
def test_a_seed_decides_the_weights(name):
    first, again, other = (made(name, seed=seed) for seed in (5, 5, 6))
    x = images(name)
    torch.testing.assert_close(first(x), again(x), rtol=0, atol=0)
    assert not torch.allclose(first(x), other(x))


@OF_NAMES
def test_parts_that_are_renewed_have_the_weights_a_new_network_has(name):
    net = made(name).float()
    old = net.lower(images(name).float(), 1)
    renew(net.above(1), [3])
    torch.testing.assert_close(net.lower(images(name).float(), 1), old)
    convs = [m for stage in net.stages[1:] for m in stage.modules() if isinstance(m, nn.Conv2d)]
    for conv in convs:
        n_out = conv.out_channels * conv.kernel_size[0] * conv.kernel_size[1]
        share = conv.weight.std().item() / (2 / n_out) ** 0.5
        assert abs(share - 1) < 5 / (2 * conv.weight.numel()) ** 0.5


def test_convolutions_start_with_variance_two_over_fan_out():
    with seeded(0):
        conv = Conv(50, 80, 3)
    assert conv.weight.var().item() == pytest.approx(2 / (80 * 9), rel=0.03)
    assert conv.weight.mean().item() == pytest.approx(0, abs=1e-3)
    assert (conv.bias == 0).all()


@OF_RESIDUAL
@pytest.mark.parametrize("size", [(1, 5), (1, 1), (3, 2)])
@pytest.mark.parametrize("n", [1, 2])
def test_images_may_be_tiny_and_rows_few(name, size, n):
    net = made(name, shape=(1, *size)).train()
    x = torch.tensor(np.random.default_rng(0).normal(size=(1, n, 1, *size)))
    logits = net(x)
    logits.sum().backward()
    assert logits.shape == (1, n, N_CLASSES)
    assert logits.isfinite().all()
    assert all(p.grad.isfinite().all() for p in net.parameters())


def test_batch_norm_takes_running_statistics_where_a_channel_has_one_value():
    norm, torchs = Norm(3), nn.BatchNorm2d(3)
    many, one = torch.randn(4, 3, 2, 2, generator=torch.Generator().manual_seed(0)), torch.ones(1, 3, 1, 1)
    torch.testing.assert_close(norm(many), torchs(many))
    kept = norm.running_mean.clone()
    torch.testing.assert_close(norm(one), torchs.eval()(one))
    torch.testing.assert_close(norm.running_mean, kept)


def test_lenet_takes_images_from_12_x_12_on():
    shapes = [(1, 12, 12), (3, 12, 31), (1, 28, 28), (3, 32, 32)]
    for shape in shapes:
        net = LeNet(shape[0], 2, shape=shape)
        flat = net.stages[1](net.stages[0](torch.zeros(2, *shape))).flatten(1)
        assert flat.shape[1] == net.stages[2][1].in_features == net.widths[2]
        assert net(torch.zeros(1, 2, *shape)).shape == (1, 2, 2)
    with pytest.raises(ValueError, match=r"at least 12 x 12 pixels. Got 11 x 40"):
        LeNet(1, 2, shape=(1, 11, 40))


def test_lenet_is_the_sum_of_its_layers():
    net, x = made("lenet"), images("lenet")
    conv1, conv2 = net.stages[0][0], net.stages[1][0]
    _, first, _, second, _ = net.stages[2]
    h = F.max_pool2d(F.conv2d(x[0], conv1.weight, conv1.bias, padding=2).relu(), 2)
    h = F.max_pool2d(F.conv2d(h, conv2.weight, conv2.bias).relu(), 2).flatten(1)
    h = second(first(h).relu()).relu()
    weight = net.head.weight[0].T if net.head.narrow else net.head.weight[0]
    torch.testing.assert_close(net(x)[0], h @ weight + net.head.bias[0], **EXACT)


class WrittenOut(nn.Module):
    """A ResNet-18 with functions, and its layers in the order of ours."""

    def __init__(self, width):
        super().__init__()
        self.layers = nn.ModuleList([nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)])
        self.strides, n_in = [], width
        for k in range(8):
            n_out, stride = width * 2 ** (k // 2), 2 if k in (2, 4, 6) else 1
            self.strides.append(stride)
            around = (n_in, n_out, 1, stride)
            for a, b, side, step in ((n_in, n_out, 3, stride), (n_out, n_out, 3, 1), around):
                if side == 3 or stride == 2:
                    conv = nn.Conv2d(a, b, side, step, padding=side // 2, bias=False)
                    self.layers.extend([conv, nn.BatchNorm2d(b)])
            n_in = n_out
        self.last = nn.Linear(n_in, N_CLASSES)

    def forward(self, x):
        layers = iter(self.layers)
        h = F.relu(self.pair(layers, x))
        for stride in self.strides:
            out = F.relu(self.pair(layers, h))
            out = self.pair(layers, out)
            h = F.relu(out + (h if stride == 1 else self.pair(layers, h)))
        return self.last(F.adaptive_avg_pool2d(h, 1).flatten(1))

    @staticmethod
    def pair(layers, h):
        conv, norm = next(layers), next(layers)
        return norm(conv(h))


def test_resnet18_is_what_its_layers_give_when_written_out():
    net, x = made("resnet18").train(), images("resnet18")
    written = WrittenOut(4).double()
    ours, theirs = [list(part.parameters()) for part in (net.stages, written.layers)]
    with torch.no_grad():
        for mine, other in zip(ours, theirs, strict=True):
            other.copy_(mine)
        written.last.weight.copy_(net.head.weight[0] if net.head.narrow else net.head.weight[0].T)
        written.last.bias.copy_(net.head.bias[0, 0])
    torch.testing.assert_close(net(x)[0], written(x[0]), **EXACT)


@pytest.mark.parametrize("block", [BasicBlock, Bottleneck, PreActBlock])
def test_a_block_whose_convolutions_are_zero_gives_its_shortcut(block):
    h = torch.randn(2, 8, 4, 4, generator=torch.Generator().manual_seed(0))
    same, halved = block(8, 8, 1).eval(), block(8, 16, 2).eval()
    for part in (same, halved):
        for m in part.residual.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.zeros_(m.weight)
    before = block is PreActBlock
    torch.testing.assert_close(same(h), h if before else h.relu())
    around = halved.shortcut if before else halved.shortcut[0]
    entering = h / (1 + 1e-5) ** 0.5  # what a new batch norm makes of it
    expected = F.conv2d(entering.relu() if before else entering, around.weight, stride=2)
    torch.testing.assert_close(halved(h), expected if before else expected.relu())


def test_a_transition_of_a_dense_network_averages_what_there_is_at_an_odd_edge():
    with torch.no_grad():
        part = transition(4).eval()
        part[2].weight.copy_(torch.eye(2, 4).reshape(2, 4, 1, 1))
        part[0].eps = 0.0
        h = torch.rand(1, 4, 3, 5, generator=torch.Generator().manual_seed(0))
        expected = [[h[0, 0, i : i + 2, j : j + 2].mean() for j in (0, 2, 4)] for i in (0, 2)]
        torch.testing.assert_close(part(h)[0, 0], torch.tensor(expected))


def test_dropout_of_a_wide_network_is_between_the_convolutions_and_in_training_only():
    net, x = made("wrn16_8", dropout=0.5), images("wrn16_8")
    assert sum(isinstance(m, nn.Dropout) for m in net.modules()) == 6
    torch.testing.assert_close(net(x), made("wrn16_8")(x), **EXACT)
    assert not torch.equal(net.train()(x), net(x))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "resnet18",
            {"width": 0},
            "module__width, channels of the first layer, must be an int >= 1. Got 0",
        ),
        ("densenet121", {"width": 2.5}, "Got 2.5"),
        ("wrn16_8", {"dropout": 1.0}, r"module__dropout must be a number in \[0, 1\). Got 1.0"),
        ("lenet", {"channels_last": "no"}, "channels_last must be 'auto', True or False. Got 'no'"),
        ("lenet", {"n_models": 2}, "LeNet has no model axis, so 2 models"),
        (
            "resnet18",
            {"shape": (32, 32)},
            r"shape must be \(C, H, W\) with C = .* 1. Got \(32, 32\)",
        ),
        ("resnet18", {"shape": (3, 9, 9)}, r"Got \(3, 9, 9\)"),
    ],
)
def test_options_out_of_range_are_errors_that_say_what_is_allowed(name, options, message):
    with pytest.raises(ValueError, match=message):
        BACKBONES[name](1, 2, **{"shape": (1, 16, 16), **options})


@OF_NAMES
def test_networks_of_images_say_what_the_rest_asks(name):
    cls, net = BACKBONES[name], made(name)
    layout = type("Layout", (), {"shape": (3, 8, 9)})
    assert (cls.reads, cls.stacks, cls.input_site, cls.manifold) == ("image", False, 0, 2)
    assert cls.structure(100, layout, {}) == {"shape": (3, 8, 9)}
    assert net.rows_at_once(np.zeros((2, 3, 32, 32), np.uint8)) == 1024
    assert net.rows_at_once(torch.empty(1, 3, 2048, 2048, device="meta")) == 1
    assert Backbone.manifold is None
    assert Training().options == {}


class Block(nn.Module):
    """A residual block with a weight of its own, and an activation in place."""

    def __init__(self, n):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(n, n, 3, padding=1), nn.BatchNorm2d(n)
        self.scale = nn.Parameter(torch.tensor(0.7))
        self.relu = nn.ReLU(inplace=True)

    def forward(self, h):
        out = self.norm(self.conv(h))
        out += self.scale * h
        return self.relu(out)


class Net(nn.Module):
    """A hand-written residual network; the second layer starts in place on what the first gives."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, padding=1)
        self.layer1 = nn.Sequential(Block(4), nn.BatchNorm2d(4))
        self.layer2 = nn.Sequential(nn.ReLU(inplace=True), Block(4), nn.MaxPool2d(2))
        self.drop, self.fc = nn.Dropout(0.5), nn.Linear(16, 3)
        self.shift = nn.Parameter(torch.ones(16))

    def forward(self, x):
        h = self.layer2(self.layer1(self.stem(x - torch.tensor(0.5))))
        return self.fc(self.drop(h.view(h.size(0), -1) + self.shift))


@pytest.fixture
def net():
    with seeded(0):
        return Net().train()


@pytest.fixture
def x():
    return torch.randn(5, 2, 4, 4, generator=torch.Generator().manual_seed(1))


SITES = ("layer1.0", "layer1", "layer2.1", "layer2")


def test_a_network_cut_by_the_tracer_gives_what_hooks_see_and_the_same_logits(net, x):
    seen = {}
    for name in SITES:
        # A copy: the next layer writes into it.
        net.get_submodule(name).register_forward_hook(
            lambda _, __, out, name=name: seen.__setitem__(name, out.detach().clone())
        )
    expected = net.eval()(x)
    activations = dict(seen)
    staged = Staged(net, SITES).eval()
    assert not staged.training
    logits, taps = staged.upper(x[None], 0, tuple(range(5)))
    torch.testing.assert_close(logits[0], expected)
    for site, name in enumerate(SITES, 1):
        torch.testing.assert_close(taps[site][0], activations[name])
        h = staged.lower(x[None], site)
        torch.testing.assert_close(h[0], activations[name])
        kept = h.clone()
        torch.testing.assert_close(staged.upper(h, site)[0][0], expected)
        torch.testing.assert_close(h, kept)  # mixed features are not written to


def test_a_cut_network_trains_the_weights_of_the_template_as_the_network_itself_does(net, x):
    staged = Staged(net)
    net.drop.p = 0.0
    expected = deepcopy(net)
    expected(x).square().sum().backward()
    staged(x[None]).square().sum().backward()
    assert len(list(staged.parameters())) == len(list(net.parameters()))
    for key, parameter in net.named_parameters():
        torch.testing.assert_close(parameter.grad, expected.get_parameter(key).grad)
    torch.testing.assert_close(net.layer1[1].running_mean, expected.layer1[1].running_mean)
    assert staged.rows_interact


def test_dropout_of_a_cut_network_ends_with_training(net, x):
    staged = Staged(net)
    assert not torch.equal(staged(x[None]), staged(x[None]))
    staged.eval()
    torch.testing.assert_close(staged(x[None]), staged(x[None]), rtol=0, atol=0)


def test_cutting_leaves_the_modes_of_the_template(net):
    net.layer1.eval()
    Staged(net)
    assert net.training
    assert net.layer2.training
    assert not any(m.training for m in net.layer1.modules())


@pytest.mark.parametrize("copy", [deepcopy, lambda staged: pickle.loads(pickle.dumps(staged))])
def test_a_cut_network_can_be_copied_and_pickled(net, x, copy):
    staged = Staged(net).eval()
    staged.measure(x)
    again = copy(staged)
    torch.testing.assert_close(again(x[None]), staged(x[None]))
    torch.testing.assert_close(again.lower(x[None], 1), staged.lower(x[None], 1))
    assert again.widths == staged.widths == (32, 64, 16)
    assert list(again.state_dict()) == list(staged.state_dict())
    with torch.no_grad():
        next(again.parameters()).zero_()
    assert next(staged.parameters()).abs().sum() > 0


def test_measuring_changes_neither_statistics_nor_modes(net, x):
    staged = Staged(net)
    before = deepcopy(staged.state_dict())
    staged.measure(x)
    assert staged.training
    for key, value in staged.state_dict().items():
        torch.testing.assert_close(value, before[key], rtol=0, atol=0)


def test_a_template_is_deep_copied_by_build(net, x):
    staged = Staged(net)
    built = build(staged, 2, 3, {}, [0]).eval()
    torch.testing.assert_close(built(x[None]), staged.eval()(x[None]))
    assert not {id(p) for p in built.parameters()} & {id(p) for p in staged.parameters()}


class Around(Net):
    """Its first layer's output is not all that the second sees."""

    def forward(self, x):
        h = self.stem(x)
        h = self.layer2(self.layer1(h) + h)
        return self.fc(h.flatten(1))


class Branching(Net):
    """Its course depends on values."""

    def forward(self, x):
        return super().forward(x) if x.sum() > 0 else super().forward(-x)


class Functional(Net):
    """Its dropout asks whether it is trained."""

    def forward(self, x):
        return F.dropout(super().forward(x), 0.5, self.training)


class Twice(Net):
    """Its first layer runs twice."""

    def forward(self, x):
        return self.fc(self.layer2(self.layer1(self.layer1(self.stem(x)))).flatten(1))


class Pair(Net):
    """It returns features, too."""

    def forward(self, x):
        logits = super().forward(x)
        return logits, x


class Conditioned(Net):
    """It needs more than images."""

    def forward(self, x, scale=1.0):
        return super().forward(x * scale)


class Listing(Net):
    """Its first layer returns a list."""

    def __init__(self):
        super().__init__()
        self.layer1 = Features()

    def forward(self, x):
        return self.fc(self.layer2(self.layer1(self.stem(x))[0]).flatten(1))


class Features(nn.Module):
    def forward(self, h):
        return [h]


class Listed(Listing):
    """Its site returns a list whose makings are seen."""

    def __init__(self):
        super().__init__()
        self.layer1 = nn.Module()
        self.layer1.inner = nn.ReLU()
        self.layer1.forward = lambda h: [self.layer1.inner(h)]


def test_a_site_that_returns_no_tensor_is_an_error(x):
    message = "site 'layer1' returns a list, and a site must return one tensor. Name another submodule"
    with pytest.raises(ValueError, match=message):
        Staged(Listing()).measure(x)
    with pytest.raises(ValueError, match=message):
        Staged(Listed(), ["layer1.inner", "layer1"])


class Asking(nn.Module):
    """A block that asks whether it is trained, and for values; and which writes into what it is given."""

    def forward(self, h):
        if self.training:
            return F.dropout(h, 0.5, self.training).mul_(2)
        return h.relu_() if h.sum() > 0 else h


class Free(Net):
    """Such blocks are its sites, before them and behind them."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(self.stem, Asking())
        self.layer1 = nn.Sequential(Asking(), Block(4), Asking())
        self.layer2 = nn.Sequential(Asking(), nn.MaxPool2d(2), Block(4))


@pytest.mark.parametrize("sites", [("layer1",), ("layer1", "layer2"), ("stem.1", "layer1.0", "layer1.1")])
def test_what_holds_no_site_may_do_what_the_tracer_cannot_follow(x, sites):
    with seeded(0):
        net = Free().eval()
    expected = net(x.clone())
    staged = Staged(net, sites).eval()
    torch.testing.assert_close(staged(x[None])[0], expected)
    for site in range(len(sites) + 1):
        h = staged.lower(x[None], site)
        kept = h.clone()
        torch.testing.assert_close(staged.upper(h, site)[0][0], expected)
        torch.testing.assert_close(h, kept)  # mixed features are not written to
    again = pickle.loads(pickle.dumps(staged))
    torch.testing.assert_close(again(x[None])[0], expected)
    staged.train()
    net.layer1[1].eval(), net.drop.eval()
    assert not torch.equal(staged.lower(x[None], 1), staged.lower(x[None], 1))  # its dropout is on


def test_a_module_with_two_names_is_a_site_by_either(net, x):
    net.alias = net.layer1
    for name in ("layer1", "alias"):
        torch.testing.assert_close(Staged(net, [name]).eval()(x[None])[0], net.eval()(x))


def test_a_users_own_networks_predict_a_million_pixels_at_a_time(net):
    for own in (Wrapped(net), Staged(net)):
        assert own.rows_at_once(np.zeros((2, 3, 32, 32), np.uint8)) == 1024
        assert own.rows_at_once(torch.empty(1, 3, 2048, 2048, device="meta")) == 1
    assert Wrapped(net).rows_at_once(torch.zeros(9, 5)) == Backbone().rows_at_once(torch.zeros(9, 5))


def test_evaluating_is_for_all_parts_and_ends_as_it_began(net):
    net.layer1.eval()
    modes = [part.training for part in net.modules()]
    seen = []

    def fail():
        with evaluating(net):
            seen.extend(part.training for part in net.modules())
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert seen == [False] * len(modes)
    assert [part.training for part in net.modules()] == modes


def test_errors_name_a_network_for_images_and_no_whole_module(net):
    rng = np.random.default_rng(0)
    X, y = rng.integers(0, 256, (12, 2, 4, 4), dtype=np.uint8), np.arange(12) % 3
    of_images = r"Use module='lenet', or mixsk\.backbones\.Staged\(module, sites=\[\.\.\.\]\)"
    encoder = ImageEncoder(channels="first")
    with pytest.raises(ValueError, match=f"this module shows none. {of_images}"):
        LaMixClassifier(module=net, encoder=encoder, max_epochs=1).fit(X, y)
    with pytest.raises(ValueError, match=r"or module='mlp'; for images 'lenet' or mixsk\.backbones\.Staged"):
        mixing_sites("any", 0)
    with pytest.raises(ValueError, match=r"'mlp' or 'linear', for images 'lenet'\.$"):
        Staged(net).shift(torch.zeros(1, 1, 3))
    for module, name in ((net, "Net"), (Net, "Net"), ("lenet", "'lenet'")):
        with pytest.raises(ValueError, match=f"^module={name} has no model axis, so 2 models"):
            build(module, 2, 3, {}, [0, 1])


@pytest.mark.parametrize(
    ("make", "sites", "message"),
    [
        (Around, ("layer1",), r"site 'layer1' is bypassed: 'add' comes after it and uses 'stem'"),
        (Branching, ("layer1",), "Branching cannot be cut: torch.fx cannot trace it: .*control flow"),
        (Functional, ("layer1",), "its forward asks whether self.training. Use modules such as nn.Dropout"),
        (Twice, ("layer1",), "site 'layer1' runs 2 times"),
        (Pair, ("layer1",), "its forward returns more than logits"),
        (Conditioned, ("layer1",), "its forward takes more than images"),
        (Net, ("layer3",), r"Net has no submodule 'layer3' for a site. .*\['layer2', 'layer1'"),
        (Net, ("",), "no submodule ''"),
        (Net, ("layer2", "layer1"), "in the order they run in: 'layer1' is not after 'layer2'"),
        (Net, ("layer2", "layer2.2"), "'layer2.2' is not after 'layer2'"),
        (Net, ("layer1", "layer1"), "'layer1' is not after 'layer1'"),
        (Net, "layer1", "sites must be names of submodules"),
        (Net, (), "sites must be names of submodules"),
    ],
)
def test_what_cannot_be_cut_is_an_error_that_says_why(make, sites, message):
    with pytest.raises(ValueError, match=message):
        Staged(make(), sites)


def test_only_modules_can_be_cut():
    with pytest.raises(TypeError, match=r"must be an nn\.Module. Got 'resnet18'"):
        Staged("resnet18")


def test_lenet_pools_alike_with_and_without_a_gradient():
    net = BACKBONES["lenet"](1, 3, shape=(1, 13, 15))
    x = torch.randn(1, 4, 1, 13, 15, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        without = net(x)
    assert torch.equal(net(x), without)
    pooled = torch.nn.functional.max_pool2d(net.stages[0][0](x[0]).relu(), 2)
    assert torch.equal(net.lower(x, 1)[0], pooled)


@pytest.mark.parametrize(("size", "padding"), [(5, 2), (5, 0), (3, 1)])
@pytest.mark.parametrize("bias", [True, False])
def test_the_slope_of_grey_images_is_that_of_torchs_own_convolution(size, padding, bias):
    conv = Conv(1, 3, size, padding=padding, bias=bias).double()
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4, 1, 9, 11, generator=generator, dtype=torch.float64, requires_grad=True)
    out = conv(x)
    expected = F.conv2d(x, conv.weight, conv.bias, padding=padding)
    assert torch.equal(out, expected)
    slope = torch.randn(out.shape, generator=generator, dtype=torch.float64)
    wanted = [x, *conv.parameters()]
    for own, theirs in zip(
        torch.autograd.grad(out, wanted, slope), torch.autograd.grad(expected, wanted, slope), strict=True
    ):
        torch.testing.assert_close(own, theirs)

"""A user's own network of images, cut into stages behind named submodules."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches
from itertools import pairwise
from typing import Any

from torch import Tensor, fx, nn

from mixsk.backbones._images import ImageNetwork
from mixsk.backbones.base import evaluating
from mixsk.backbones.training import Training
from mixsk.backbones.wrapped import Wrapped


class Staged(ImageNetwork):
    """Any `nn.Module` that maps images (B, C, H, W) to logits (B, n_classes), with sites to mix at.

    Site k is the output of the k-th of the named submodules, and is mixed as any hidden stage of our own
    networks. It is all that what follows may see: where another value goes around it, it is no site.

    The network is traced by torch.fx, which needs a `forward` whose course does not depend on values: that of
    the module and of the submodules that have sites within them. All others may do as they like. The module
    is not copied: its weights are those of the stages.

    Parameters
    ----------
    module : nn.Module
    sites : sequence of str, default=("layer1", "layer2")
        Names of submodules, as in `module.named_modules()`, in the order in which they run.

    Raises
    ------
    TypeError
        If `module` is no `nn.Module`.
    ValueError
        If it cannot be traced, or be cut there.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
    >>> staged = Staged(net, sites=["1", "2"])
    >>> images = torch.zeros(1, 5, 1, 8, 8)
    >>> staged.lower(images, 1).shape, staged(images).shape
    (torch.Size([1, 5, 4, 6, 6]), torch.Size([1, 5, 3]))
    """

    manifold = None  # the user says which
    trained_with = Training()

    def __init__(self, module: nn.Module, sites: Sequence[str] = ("layer1", "layer2")) -> None:
        if not isinstance(module, nn.Module):
            raise TypeError(f"module must be an nn.Module. Got {module!r}.")
        if isinstance(sites, str) or not sites or not all(isinstance(name, str) for name in sites):
            raise ValueError(
                f"sites must be names of submodules, such as ('layer1', 'layer2'). Got {sites!r}."
            )
        *stages, last = _cut(module, sites, *_traced(module, sites))
        super().__init__(stages, Wrapped(last))
        self.sites = tuple(sites)

    def measure(self, example: Tensor) -> None:
        """Set `widths` by what the stages make of images (k, C, H, W).

        Raises
        ------
        ValueError
            If a site returns something else than a tensor, which the tracer did not see.
        """

        def check(stage: nn.Module, given: Any, output: Any) -> None:
            if not isinstance(output, Tensor):
                raise _no_tensor(self.sites[list(self.stages).index(stage)], output)

        hooks = [stage.register_forward_hook(check) for stage in self.stages]
        try:
            super().measure(example)
        finally:
            for hook in hooks:
                hook.remove()


class _Tracer(fx.Tracer):
    """Looks into those submodules alone that have sites within, and writes down what submodules return."""

    def __init__(self, module: nn.Module, sites: Sequence[str]) -> None:
        super().__init__()
        above = {name[:dot] for name in sites for dot in range(len(name)) if name[dot] == "."}
        self.opened = {module.get_submodule(name) for name in above}
        self.returned: dict[nn.Module, list[Any]] = {}

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return m not in self.opened

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        value = super().call_module(m, forward, args, kwargs)
        self.returned.setdefault(m, []).append(value)
        return value


def _traced(module: nn.Module, sites: Sequence[str]) -> tuple[fx.Graph, list[fx.Node]]:
    """The module's graph, and the nodes of the sites."""
    known = dict(module.named_modules(remove_duplicate=False))
    unknown = [name for name in sites if name not in known or not name]
    if unknown:
        raise ValueError(_unknown(module, unknown[0]))
    tracer = _Tracer(module, sites)
    try:
        with evaluating(module):
            # torch.fx takes `self.training` for a constant, so dropout would never end.
            graph_in_eval = _Tracer(module, sites).trace(module)
            graph = tracer.trace(module.train())
    except Exception as error:
        raise ValueError(
            f"{type(module).__name__} cannot be cut: torch.fx cannot trace it: {error}. Write a forward "
            "without if and for on values of tensors, put them into submodules that hold no site, or pass "
            "the module itself, which is mixed at the input only."
        ) from error
    # Each trace gives tensors that a forward makes names of its own.
    in_train, in_eval = (re.sub(r"_tensor_constant\d+", "", str(g)) for g in (graph, graph_in_eval))
    if in_train != in_eval:
        raise ValueError(
            f"{type(module).__name__} cannot be cut: its forward asks whether self.training. Use modules "
            "such as nn.Dropout(p) instead of functions such as F.dropout(h, p, self.training)."
        )
    return graph, [_node(tracer.returned.get(known[name], []), name) for name in sites]


def _unknown(module: nn.Module, name: str) -> str:
    names = [known for known, _ in module.named_modules() if known]
    near = get_close_matches(name, names, n=3) or [known for known, _ in module.named_children()]
    return f"{type(module).__name__} has no submodule {name!r} for a site. Names are, among others: {near}."


def _node(returned: list[Any], name: str) -> fx.Node:
    """What a submodule returns, as a node of the graph."""
    if len(returned) != 1:
        raise ValueError(
            f"site {name!r} runs {len(returned)} times in a forward pass, and a site is where it runs "
            "once. Name another submodule."
        )
    if not isinstance(returned[0], fx.Proxy):
        raise _no_tensor(name, returned[0])
    return returned[0].node


def _no_tensor(name: str, value: Any) -> ValueError:
    return ValueError(
        f"site {name!r} returns a {type(value).__name__}, and a site must return one tensor. Name another "
        "submodule."
    )


def _cut(
    module: nn.Module, sites: Sequence[str], graph: fx.Graph, ends: list[fx.Node]
) -> list[fx.GraphModule]:
    """The parts of the graph before, between and after the sites, each of one input and one output.

    Not by `torch.fx.passes.split_module`: it makes a parameter of the module itself an input of the part that
    uses it, and gives all submodules new names.
    """
    kind, nodes = type(module).__name__, list(graph.nodes)
    image, output = nodes[0], nodes[-1].args[0]
    if any(node.op == "placeholder" and node.users for node in nodes[1:]):
        raise ValueError(f"{kind} cannot be cut: its forward takes more than images (B, C, H, W).")
    if not isinstance(output, fx.Node):
        raise ValueError(f"{kind} cannot be cut: its forward returns more than logits (B, n_classes).")
    place = {node: k for k, node in enumerate(nodes)}
    for (name, end), (following, other) in pairwise(zip(sites, ends, strict=True)):
        if place[other] <= place[end]:
            raise ValueError(f"sites must be in the order they run in: {following!r} is not after {name!r}.")
    for name, end in zip(sites, ends, strict=True):
        _check_nothing_around(nodes, place, name, end)
    bounds = [image, *ends, output]
    return [_part(module, a, b, nodes[place[a] + 1 : place[b] + 1]) for a, b in pairwise(bounds)]


def _check_nothing_around(nodes: list[fx.Node], place: dict[fx.Node, int], name: str, end: fx.Node) -> None:
    """ValueError if what follows a site uses a value from before it; weights may be used anywhere."""
    for node in nodes[: place[end]]:
        users = [user for user in node.users if place[user] > place[end]]
        if users and node.op != "get_attr":
            raise ValueError(
                f"site {name!r} is bypassed: {users[0].name!r} comes after it and uses {node.name!r} from "
                "before it, so what is mixed there would not be all that the rest sees. Name a submodule "
                "where all paths meet, such as a whole residual block; if that is a size, take it from the "
                "tensor at hand, as in h.flatten(1)."
            )


def _part(module: nn.Module, first: fx.Node, last: fx.Node, nodes: list[fx.Node]) -> fx.GraphModule:
    """Those nodes as a module from `first` to `last`."""
    graph = fx.Graph()
    entered = graph.placeholder("h")
    if any(_in_place(module, node) for node in nodes):
        entered = graph.call_method("clone", (entered,))  # who calls a stage keeps what went into it
    copies = {first: entered}

    def copy(node: fx.Node) -> fx.Node:
        if node not in copies:
            copies[node] = graph.node_copy(node, copy)
        return copies[node]

    for node in nodes:
        if node.op != "get_attr" and node.op != "placeholder":  # weights are copied to where they are used
            copy(node)
    graph.output(copies[last])
    return fx.GraphModule(module, graph, type(module).__name__)


def _users(part: nn.Module) -> bool:
    """Whether a submodule is not of torch, so that its forward may do anything."""
    return not type(part).__module__.startswith("torch.nn.")


def _in_place(module: nn.Module, node: fx.Node) -> bool:
    """Whether a node may write to what it is given."""
    if node.op == "call_module":
        parts = module.get_submodule(str(node.target)).modules()
        return any(getattr(p, "inplace", False) or _users(p) for p in parts)
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    augmented = getattr(node.target, "__module__", "") == "_operator" and name.startswith("i")
    return augmented or name.endswith("_") or name == "setitem" or bool(node.kwargs.get("inplace"))

"""Recipe: one choice on each axis, checked once, run by one program.

    draw -> mask -> site -> target -> loss -> objective

A method is a choice on these axes. What may not be combined is stated in `mixsk.rules.spec.ILLEGAL`, and
nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mixsk.backbones import stacked
from mixsk.rules._shape import is_zero
from mixsk.rules.draw import BetaDraw
from mixsk.rules.intrusion import DropFeatureIntrusions, DropIntrusions
from mixsk.rules.loss import LOSSES
from mixsk.rules.mask import MASKS
from mixsk.rules.objective import OBJECTIVES, Clean, Mixed, Plus, WithClean
from mixsk.rules.phase import Phase
from mixsk.rules.spec import ILLEGAL, INPUTS, Parts, Sizes, Spec
from mixsk.rules.state import Rows, State
from mixsk.rules.step import Batch, Mixture, Step
from mixsk.rules.target import TARGETS, Smoothed, taps_of


def mixing_sites(
    mix_at: Any, n_stages: int, input_site: int = 0, n_mixed: int | None = None
) -> tuple[int, ...]:
    """Stages that `mix_at` names, for a network of `n_stages` hidden stages.

    Parameters
    ----------
    mix_at : {"input", "embedding", "hidden", "any", "last"}, int or list of int
        Site k is the output of hidden stage k; 0 is the input.
    n_stages : int
    input_site : int, default=0
        What "input" means: 1 for a network that embeds its input, which holds codes.
    n_mixed : int or None, default=None
        Hidden stages that "any" means, from the first; None: all.

    Returns
    -------
    tuple of int

    Raises
    ------
    ValueError
        If the network has no such stage, or it cannot be mixed.

    Examples
    --------
    >>> mixing_sites("any", 2), mixing_sites("hidden", 2), mixing_sites("last", 2)
    ((0, 1, 2), (1, 2), (2,))
    """
    named = {
        "input": (input_site,),
        "hidden": tuple(range(input_site + 1, n_stages + 1)),
        "any": tuple(range(input_site, (n_stages if n_mixed is None else n_mixed) + 1)),
        "last": (n_stages,),
        "embedding": (input_site,),
    }
    if isinstance(mix_at, str) and mix_at != "input" and n_stages == 0:
        raise ValueError(
            f"mix_at={mix_at!r} needs a network with hidden stages, and this module has only its input. "
            "Use mix_at='input', or module='mlp'; for images 'lenet' or mixsk.backbones.Staged(module, "
            "sites=[...])."
        )
    if mix_at == "embedding" and input_site == 0:
        raise ValueError("mix_at='embedding' needs a network that embeds its input. Use mix_at='input'.")
    if isinstance(mix_at, str):
        return _named("mix_at", mix_at, named)
    sites = tuple(mix_at) if isinstance(mix_at, (list, tuple)) else (mix_at,)
    first = "the input" if input_site == 0 else "its embeddings: the codes below them cannot be mixed"
    wrong = [
        site for site in sites if not (isinstance(site, (int, np.integer)) and input_site <= site <= n_stages)
    ]
    if wrong or not sites:
        raise ValueError(
            f"mix_at={mix_at!r} is not a list of this network's stages: use {input_site} ({first})"
            + (f" to {n_stages} (its last hidden stage)." if n_stages else " only.")
        )
    return tuple(dict.fromkeys(int(site) for site in sites))


class Recipe(nn.Module):
    """A method: choices on six axes, and what they know of the training data.

    Parameters
    ----------
    spec : Spec
        The structure. `spec.hyper` holds the numbers: `gamma` and the like live in their rule's own
        object; `clean_weight`, `label_smoothing`, `alpha`, `mix_prob` are read here and by the draw.

    Attributes
    ----------
    aux : nn.ModuleDict
        Networks that are trained with the classifier and absent from `predict`.
    draw : BetaDraw or None
        None for vanilla training.
    each : list of Recipe
        Of models that have rows of their own: the recipes that know those.

    Raises
    ------
    ValueError
        For a combination in `ILLEGAL`, or a rule's parameter out of its range.
    """

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.spec = spec
        self.hyper = dict(spec.hyper)
        self.state, self.bound_ = State(torch.zeros(0)), False
        self.aux = nn.ModuleDict()
        self.each: list[Recipe] = []
        self.smoothing = self.hyper.get("label_smoothing", 0.0)
        self.on_clean = False
        self.freeze(None, 0)
        self.loss = _rule("loss", spec.loss, LOSSES)
        self.draw: BetaDraw | None = None
        self.mask: Any = None
        self.label: Any = None
        self.intrusions: Any = None
        self.watchers: list[tuple[Any, int]] = []  # targets that see each batch's clean rows, and where
        self.method: Any = None  # the objective without its clean term
        self.target: Any = None
        self.taps: tuple[int, ...] = ()
        if spec.mix is None:
            self.objective: Any = Clean()
            return
        self.objective = self.method = _rule("objective", spec.objective, OBJECTIVES)
        self.mask = _rule("mix", spec.mix, MASKS)
        if hasattr(self.mask, "configure"):
            self.mask.configure(spec)
        self.label = _rule("label", spec.label, TARGETS)
        parts = Parts(spec, self.mask, self.label, self.objective, taps_of(self.label, spec.n_stages))
        for what, illegal, remedy in ILLEGAL:
            if illegal(parts):
                told = {"mix": _name(spec.mix), "label": _name(spec.label), "inputs": INPUTS[spec.reads]}
                raise ValueError(what.format(**told) + ". " + remedy)
        self.target = self.label if is_zero(self.smoothing) else Smoothed(self.label, self.smoothing)
        if spec.drop_intrusions == "last":
            self.target = self.intrusions = DropFeatureIntrusions(self.target, spec.n_stages)
        elif spec.drop_intrusions:
            self.target = self.intrusions = DropIntrusions(self.target)
        followers = [rule for rule in (self.label, self.intrusions) if hasattr(rule, "update")]
        self.watchers = [(rule, _site(rule, spec)) for rule in followers]
        self.taps = taps_of(self.target, spec.n_stages)
        if hasattr(self.label, "place"):
            self.label.place(spec.n_stages)
        self.on_clean = getattr(self.label, "on_clean", False)
        clean_weight = self.hyper.get("clean_weight", 0.0)
        if not is_zero(clean_weight):
            plain = isinstance(self.objective, Mixed)
            self.objective = WithClean(clean_weight) if plain else Plus(self.objective, clean_weight)
        noise = getattr(self.mask, "draw_noise", None)
        self.draw = BetaDraw(spec.lam_per, spec.pair, spec.sites, noise, spec.alternate)

    def attach(self, sizes: Sizes, seeds: Sequence[int]) -> None:
        """Make the networks that the rules train beside the classifier.

        Parameters
        ----------
        sizes : Sizes
        seeds : sequence of int
            Initial weights of model m are those it would get alone with seeds[m].

        Raises
        ------
        ValueError
            If a rule needs features that cannot be had.
        """
        self.seeds = tuple(seeds)
        for axis, rule in (("label", self.label), ("objective", self.method), ("target", self.intrusions)):
            needs_features = getattr(rule, "tap", None) == "last" or hasattr(rule, "aux")
            if needs_features and sizes.widths is None:
                of_images = "'lenet', or mixsk.backbones.Staged(module, sites=[...])"
                own = of_images if self.spec.reads == "image" else "'mlp' or 'linear'"
                raise ValueError(
                    f"{type(rule).__name__} reads the features that the network's head sees, and this module "
                    f"shows none. Use module={own}, or a Backbone of stages and a head that states its "
                    "widths."
                )
            if hasattr(rule, "aux"):
                self.aux[axis] = stacked(partial(_network_of, rule, sizes), seeds)
                rule.attach(self.aux[axis])

    def bind(self, rows: Callable[[], Rows], state: State) -> None:
        """Learn from the training rows, once a fit: densities, columns, counts.

        Parameters
        ----------
        rows : callable returning Rows
            Called only if a rule asks for the rows, since it may copy them.
        state : State
        """
        self._know(state)
        needy = [rule for rule in (self.mask, self.target) if hasattr(rule, "bind")]
        if needy:
            bound = rows()
            for rule in needy:
                rule.bind(bound)

    def extend(self, rows: Callable[[], Rows], state: State) -> None:
        """Learn from more rows: class counts add up, the label's densities go on.

        Raises
        ------
        ValueError
            If the label cannot learn from more rows.
        """
        state.class_counts = state.class_counts + self.state.class_counts
        self._know(state)
        if hasattr(self.mask, "bind"):  # masks learn what the columns are, which stays
            self.mask.bind(rows())
        if hasattr(self.label, "extend"):
            self.label.extend(rows())
        elif hasattr(self.label, "bind"):
            raise ValueError(
                f"label={_name(self.spec.label)} has bind(rows) but no extend(rows), so it cannot go on with "
                "more rows. Give it extend, or use fit."
            )

    def _know(self, state: State) -> None:
        self.state, self.bound_ = state, True
        if hasattr(self.loss, "count"):
            self.loss.count(state.class_counts)

    @property
    def ahead(self) -> bool:
        """Whether rows are mixed and labelled where the network does not change, by rules that allow it.

        Then a mixture depends on rows and draw alone, and one call makes those of many steps, side by side
        as one long batch. A step of mixup costs a tenth less for it.
        """
        rules = (self.mask, self.target, self.objective)
        still = max((*self.spec.sites, *self.taps)) <= self.frozen
        return self.draw is not None and still and all(getattr(rule, "ahead", False) for rule in rules)

    def freeze(self, net: Any, site: int) -> None:
        """Know that the stages of `net` up to `site` do not change for now; 0 and None: all may."""
        self.frozen, self.below_ = site, _Input if net is None or site == 0 else _Still(net)

    @torch.no_grad()
    def mix(self, batch: Batch) -> Mixture:
        """Mixture of a batch, or of S steps side by side, (M, S * B); for `ahead` only."""
        step = Step(self, self.below_, batch)
        h, share = step.mixed(step.draw.lam)
        below, taps = step.top, {}
        for tap in self.taps:
            h, below = self.below_.lower(h, tap, below), tap
            taps[tap] = h
        h = self.below_.lower(h, self.frozen, below)
        return Mixture(h, share, *step.target(share, taps))

    def phases(self, max_epochs: int) -> list[Phase]:
        """Training in order; the epochs of all phases sum to `max_epochs`."""
        if hasattr(self.label, "phases"):
            return list(self.label.phases(max_epochs))
        return [Phase(max_epochs)]

    def forward(self, net: Any, batch: Batch, objective: Callable[[Any], Tensor] | None = None) -> Tensor:
        """Loss of one step, one per model: Tensor of shape (M,)."""
        return (objective or self.objective)(Step(self, net, batch))


def _network_of(rule: Any, sizes: Sizes, n_models: int) -> nn.Module:
    network: nn.Module = rule.aux(sizes._replace(models=n_models))
    return network


class _Still:
    """A network whose lower stages do not change, held without becoming a part of the recipe."""

    def __init__(self, net: Any) -> None:
        self.lower, self.widths = net.lower, net.widths or (1,)


class _Input:
    """The network below the input: nothing."""

    widths = (1,)

    @staticmethod
    def lower(x: Tensor, site: int, start: int = 0) -> Tensor:
        return x


def _named(axis: str, name: str, names: Mapping[str, Any]) -> Any:
    if name not in names:
        raise ValueError(f"{axis}={name!r} is unknown. Use one of {sorted(names)}.")
    return names[name]


def _rule(axis: str, choice: Any, names: Mapping[str, Any]) -> Any:
    """The rule object that a name or a user's object stands for; the user's own is never changed."""
    rule = _named(axis, choice, names)() if isinstance(choice, str) else deepcopy(choice)
    if hasattr(rule, "check"):
        rule.check()
    return rule


def _site(target: Any, spec: Spec) -> int:
    """Where a target that follows the batches sees them."""
    taps = taps_of(target, spec.n_stages)
    if not taps:
        raise ValueError(
            f"label={_name(spec.label)} has update(features, y, real), but does not say whose features it "
            "follows. Give it a tap: the number of a stage, or 'last'."
        )
    return taps[-1]


def _name(choice: Any) -> str:
    return repr(choice) if isinstance(choice, str) else type(choice).__name__

"""Recipe: one choice on each axis, checked once, run by one program.

    draw -> mask -> site -> target -> loss -> objective

A method is a choice on these axes. What may not be combined is stated here, in `ILLEGAL`, and nowhere
else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from mixsk.rules._shape import mix, partner
from mixsk.rules.draw import BetaDraw, Draw
from mixsk.rules.intrusion import DropIntrusions
from mixsk.rules.loss import LOSSES
from mixsk.rules.mask import MASKS
from mixsk.rules.objective import Clean, Mixed, WithClean
from mixsk.rules.state import Rows, State
from mixsk.rules.target import TARGETS, Smoothed, smooth, taps_of


class Mixture(NamedTuple):
    """What a step mixes: rows, and what their labels have become.

    Attributes
    ----------
    h : Tensor of shape (M, B, ...)
        Mixed rows at the site.
    share : Tensor of shape (M, B)
        The first rows' share.
    t : Tensor of shape (M, B, C)
        Targets; rows sum to 1.
    w, keep : Tensor of shape (M, B) or None
        Label weights, and the rows kept; None: all 1.
    """

    h: Tensor
    share: Tensor
    t: Tensor
    w: Tensor | None
    keep: Tensor | None


class Batch(NamedTuple):
    """What the network sees in one step.

    Attributes
    ----------
    x : Tensor of shape (M, B, ...)
    y : Tensor of shape (M, B, C)
        One-hot labels times sample weights.
    draw : Draw or None
        None where nothing is mixed.
    real : Tensor of shape (M, B) or None
        0 for a padding row; None if there is none.
    mixture : Mixture or None
        Made ahead, where the network has no part in it.
    """

    x: Tensor
    y: Tensor
    draw: Draw | None
    real: Tensor | None = None
    mixture: Mixture | None = None


@dataclass(frozen=True)
class Phase:
    """A part of training: `epochs` of `objective` on the parameters whose names `trainable` accepts.

    `name` stands in the history. `on_start(net)` runs first (a density is fitted, a head renewed). None
    means the recipe's own objective, all parameters, nothing to run.
    """

    epochs: int
    name: str = "train"
    objective: Callable[[Any], Tensor] | None = None
    trainable: Callable[[str], bool] | None = None
    on_start: Callable[[Any], None] | None = None


@dataclass(frozen=True)
class Spec:
    """The structure of a recipe: names and objects, no numbers that could be stacked.

    `mix=None` is vanilla training. `sites` are the stages where mixing may happen; `n_stages` counts
    the network's hidden stages (0: it can be mixed at its input only).
    """

    mix: Any = "linear"
    sites: tuple[int, ...] = (0,)
    n_stages: int = 0
    lam_per: str = "batch"
    pair: str = "any"
    label: Any = "linear"
    drop_intrusions: bool = False
    loss: Any = "cross_entropy"
    hyper: Mapping[str, Any] = field(default_factory=dict)


# (what is wrong, when, what to do): every illegal combination, each one clear error.
ILLEGAL: list[tuple[str, Callable[[Spec, Any, Any], bool], str]] = [
    (
        "mix={mix} exchanges columns of the input, but mix_at asks for a hidden stage",
        lambda spec, mask, label: getattr(mask, "input_only", False) and spec.sites != (0,),
        "Use mix_at='input', or mix='linear' for hidden stages.",
    ),
    (
        "label={label} looks at the mixed rows of an early stage, but mix_at asks for a later one",
        lambda spec, mask, label: any(tap < max(spec.sites) for tap in taps_of(label)),
        "A density cannot lie below the site that is mixed: use mix_at='input'.",
    ),
    (
        "label={label} looks at a stage that this network does not have",
        lambda spec, mask, label: any(tap > spec.n_stages for tap in taps_of(label)),
        "Use a stage from 0 (the input) to its last hidden one.",
    ),
    (
        "drop_intrusions=True compares mixed rows with training rows at the input, but mix_at asks for "
        "a later stage",
        lambda spec, mask, label: spec.drop_intrusions and spec.sites != (0,),
        "Use mix_at='input'.",
    ),
]


def mixing_sites(mix_at: Any, n_stages: int) -> tuple[int, ...]:
    """Stages that `mix_at` names, for a network of `n_stages` hidden stages.

    Parameters
    ----------
    mix_at : {"input", "embedding", "hidden", "any", "last"}, int or list of int
        Site k is the output of hidden stage k; 0 is the input.
    n_stages : int

    Returns
    -------
    tuple of int

    Raises
    ------
    ValueError
        If the network has no such stage.

    Examples
    --------
    >>> mixing_sites("any", 2), mixing_sites("hidden", 2), mixing_sites("last", 2)
    ((0, 1, 2), (1, 2), (2,))
    """
    named = {
        "input": (0,),
        "hidden": tuple(range(1, n_stages + 1)),
        "any": tuple(range(n_stages + 1)),
        "last": (n_stages,),
    }
    if isinstance(mix_at, str) and mix_at != "input" and n_stages == 0:
        raise ValueError(
            f"mix_at={mix_at!r} needs a network with hidden stages, and this module has only its input. "
            "Use mix_at='input', or module='mlp'."
        )
    if mix_at == "embedding":
        raise ValueError("mix_at='embedding' needs a network that embeds its input. Use mix_at='input'.")
    if isinstance(mix_at, str):
        return _named("mix_at", mix_at, named)
    sites = tuple(mix_at) if isinstance(mix_at, (list, tuple)) else (mix_at,)
    wrong = [site for site in sites if not (isinstance(site, (int, np.integer)) and 0 <= site <= n_stages)]
    if wrong or not sites:
        raise ValueError(
            f"mix_at={mix_at!r} is not a list of this network's stages: use 0 (the input)"
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
        self.smoothing = self.hyper.get("label_smoothing", 0.0)
        self.loss = _rule("loss", spec.loss, LOSSES)
        self.draw: BetaDraw | None = None
        self.mask: Any = None
        self.label: Any = None
        self.target: Any = None
        self.taps: tuple[int, ...] = ()
        if spec.mix is None:
            self.objective: Callable[[Any], Tensor] = Clean()
            return
        self.mask = _rule("mix", spec.mix, MASKS)
        self.label = _rule("label", spec.label, TARGETS)
        for what, illegal, remedy in ILLEGAL:
            if illegal(spec, self.mask, self.label):
                raise ValueError(what.format(mix=_name(spec.mix), label=_name(spec.label)) + ". " + remedy)
        self.target = self.label if _is_zero(self.smoothing) else Smoothed(self.label, self.smoothing)
        if spec.drop_intrusions:
            self.target = DropIntrusions(self.target)
        self.taps = taps_of(self.target)
        clean_weight = self.hyper.get("clean_weight", 0.0)
        self.objective = Mixed() if _is_zero(clean_weight) else WithClean(clean_weight)
        noise = getattr(self.mask, "draw_noise", None)
        self.draw = BetaDraw(spec.lam_per, spec.pair, spec.sites, noise)

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
        """Whether rows are mixed and labelled at the input by rules that allow many steps at once.

        Then a mixture depends on rows and draw alone, and one call makes those of many steps: rules see
        a leading axis of models, and steps are as good. A step of mixup costs a tenth less for it.
        """
        rules = (self.mask, self.target)
        at_input = self.spec.sites == (0,) and not any(self.taps)
        return self.draw is not None and at_input and all(getattr(rule, "ahead", False) for rule in rules)

    @torch.no_grad()
    def mix(self, batch: Batch) -> Mixture:
        """Mixture of a batch, or of S steps with (S, B) in place of (M, B); for `ahead` only."""
        step = Step(self, _Input, batch)
        h, share = step.mixed(step.draw.lam)
        return Mixture(h, share, *step.target(share, {0: h}))

    def phases(self, max_epochs: int) -> list[Phase]:
        """Training in order; the epochs of all phases sum to `max_epochs`."""
        return [Phase(max_epochs)]

    def forward(self, net: Any, batch: Batch, objective: Callable[[Any], Tensor] | None = None) -> Tensor:
        """Loss of one step, one per model: Tensor of shape (M,)."""
        return (objective or self.objective)(Step(self, net, batch))


class Step:
    """One batch on its way along the axes: the parts that an objective puts together.

    Parameters
    ----------
    recipe : Recipe
        Bound.
    net : object with `lower(x, site)` and `upper(h, site, taps)`
        A `mixsk.backbones.Backbone`.
    batch : Batch
        One step's rows and draw.

    Attributes
    ----------
    h : Tensor of shape (M, B, ...)
        The rows at the mixing site.
    """

    def __init__(self, recipe: Recipe, net: Any, batch: Batch) -> None:
        self.recipe = recipe
        self.net = net
        self.batch = batch
        self.draw: Any = batch.draw  # no draw: only the clean parts are asked for
        self.site = 0 if batch.draw is None else batch.draw.site
        self.h = net.lower(batch.x, self.site)

    def mixed(self, lam: Tensor) -> tuple[Tensor, Tensor]:
        """Mixed rows at the site (M, B, ...) and the first rows' share of the label (M, B)."""
        if self.batch.mixture is not None:
            return self.batch.mixture.h, self.batch.mixture.share
        m, share = self.recipe.mask(self.h, lam, self.draw.noise, None)
        return mix(self.h, m, partner(self.h, self.draw.perm)), share

    def upper(self, h: Tensor) -> tuple[Tensor, dict[int, Tensor]]:
        """Logits (M, B, C) and the features that the target asked for, from rows at the site."""
        return self.net.upper(h, self.site, self.recipe.taps)

    def target(self, share: Tensor, taps: dict[int, Tensor]) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Targets that sum to 1, their label weights (M, B) and the rows kept (M, B); None: all 1."""
        if self.batch.mixture is not None:
            return self.batch.mixture.t, self.batch.mixture.w, self.batch.mixture.keep
        y, draw = self.batch.y, self.draw
        t, keep = self.recipe.target(y, draw.perm, share, draw.lam, taps, self.recipe.state)
        if draw.mixed is not None:  # a batch that is not mixed is trained on its own labels
            mixed = draw.mixed.reshape(-1, 1, 1)
            t = torch.where(mixed, t, self._smooth(y))
            keep = None if keep is None else torch.where(mixed[..., 0], keep, 1.0)
        t, w = self._normalised(t)
        return t, w, keep

    def clean_target(self) -> tuple[Tensor, Tensor | None]:
        """Targets of the rows as they are, and their label weights."""
        return self._normalised(self._smooth(self.batch.y))

    def loss(self, logits: Tensor, t: Tensor, keep: Tensor | None = None) -> Tensor:
        """The recipe's loss of each row (M, B); it is told which rows take part."""
        return self.recipe.loss(logits, t, self._present(keep))

    def _present(self, keep: Tensor | None) -> Tensor | None:
        real = self.batch.real
        return real if keep is None else keep if real is None else keep * real

    def mean(self, loss: Tensor, w: Tensor | None = None, keep: Tensor | None = None) -> Tensor:
        """`sum(w * loss) / rows`, over real rows, or over kept ones where some are dropped: (M,)."""
        keep = self._present(keep)
        if w is not None:
            loss = loss * w
        if keep is None:
            return loss.mean(-1)
        return (loss * keep).sum(-1) / keep.sum(-1).clamp_min(1)  # 0 if every row is dropped

    def _smooth(self, y: Tensor) -> Tensor:
        return y if _is_zero(self.recipe.smoothing) else smooth(y, self.recipe.smoothing)

    def _normalised(self, t: Tensor) -> tuple[Tensor, Tensor | None]:
        state = self.recipe.state
        if not state.weighted:
            return t, None
        if state.class_weight is not None:
            t = t * state.class_weight
        w = t.sum(-1)
        return t / w.clamp_min(torch.finfo(t.dtype).tiny).unsqueeze(-1), w


class _Input:
    """The network below the input: nothing."""

    @staticmethod
    def lower(x: Tensor, site: int) -> Tensor:
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


def _name(choice: Any) -> str:
    return repr(choice) if isinstance(choice, str) else type(choice).__name__


def _is_zero(value: Any) -> bool:
    return not isinstance(value, Tensor) and value == 0

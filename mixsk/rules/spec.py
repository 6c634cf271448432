"""What a recipe is made of, and which choices do not go together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple


@dataclass(frozen=True)
class Spec:
    """The structure of a recipe: names and objects, no numbers that could be stacked.

    `mix=None` is vanilla training. `sites` are the stages where mixing may happen; `n_stages` counts
    the network's hidden stages (0: it can be mixed at its input only), the first of which to be mixed is
    `input_site` (1 where the inputs are codes). `reads` says what the inputs are: "table", "text" or "image".
    With `alternate` every other
    step is trained without mixing. `drop_intrusions` is True to compare mixed rows with training rows at the
    input, "last" to compare features within the batch.
    """

    mix: Any = "linear"
    sites: tuple[int, ...] = (0,)
    n_stages: int = 0
    input_site: int = 0
    reads: str = "table"
    lam_per: str = "batch"
    pair: str = "any"
    label: Any = "linear"
    drop_intrusions: bool | str = False
    loss: Any = "cross_entropy"
    objective: Any = "mixed"
    alternate: bool = False
    hyper: Mapping[str, Any] = field(default_factory=dict)


INPUTS = {"table": "rows of a table", "text": "codes of words", "image": "images"}


class Sizes(NamedTuple):
    """What a rule's own network is built from.

    Attributes
    ----------
    inputs : int
        Columns of the encoded rows, or pixels.
    widths : tuple of int or None
        Of the input and of each stage's output; None if they cannot be had.
    classes, models : int
    reads : str
        What the inputs are: "table", "text" or "image".
    """

    inputs: int
    widths: tuple[int, ...] | None
    classes: int
    models: int
    reads: str = "table"

    @property
    def features(self) -> int:
        """Width of what the classifier's head sees."""
        assert self.widths is not None
        return self.widths[-1]


class Parts(NamedTuple):
    """A spec and the rule objects that it names; `taps` are the sites that the label reads."""

    spec: Spec
    mask: Any
    label: Any
    objective: Any
    taps: tuple[int, ...]


# (what is wrong, when, what to do): every illegal combination, each one clear error.
ILLEGAL: list[tuple[str, Callable[[Parts], bool], str]] = [
    (
        "mix={mix} exchanges columns of a table, and this network's inputs are {inputs}",
        lambda p: getattr(p.mask, "table_only", False) and p.spec.reads != "table",
        "Use mix='linear'.",
    ),
    (
        "mix={mix} exchanges parts of images, and this network's inputs are {inputs}",
        lambda p: getattr(p.mask, "image_only", False) and p.spec.reads != "image",
        "Use mix='linear', or a network of images such as module='lenet'.",
    ),
    (
        "mix={mix} mixes the input itself, which for this network is codes of words",
        lambda p: getattr(p.mask, "input_only", False) and p.spec.reads == "text",
        "Use mix='linear'.",
    ),
    (
        "label={label} looks at the input, which for this network is codes of words, not numbers",
        lambda p: any(tap < p.spec.input_site for tap in p.taps),
        "Use density_at='last' with density_schedule='online' or 'warmup'.",
    ),
    (
        "label={label} describes the vectors of words, of which a longer sentence has more",
        lambda p: hasattr(p.label, "density_at") and 0 < p.spec.input_site in p.taps,
        "Use density_at='last', the vector of the sentence.",
    ),
    (
        "label={label} describes each class by a density of the input, and those of pixels tell nothing of "
        "what an image shows",
        lambda p: (
            (hasattr(p.label, "density") or hasattr(p.label, "density_at"))
            and 0 in p.taps
            and p.spec.reads == "image"
        ),
        "Use density_at='last' with density_schedule='online' or 'warmup'.",
    ),
    (
        "drop_intrusions=True compares rows at the input, which for this network is {inputs}, not columns",
        lambda p: (
            bool(p.spec.drop_intrusions) and p.spec.drop_intrusions != "last" and p.spec.reads != "table"
        ),
        "Use drop_intrusions='last', which compares features.",
    ),
    (
        "AdaMixUp's policy looks at the input, which for this network is codes of words, not numbers",
        lambda p: getattr(p.objective, "learns_lam", False) and p.spec.input_site > 0,
        "Use another classifier for text, such as AMPClassifier.",
    ),
    (
        "mix={mix} exchanges parts of the input, but mix_at asks for a hidden stage",
        lambda p: getattr(p.mask, "input_only", False) and p.spec.sites != (0,),
        "Use mix_at='input', or mix='linear' for hidden stages.",
    ),
    (
        "mix={mix} mixes each entry by itself, but at the input those of a category, or of what an image "
        "shows, belong together",
        lambda p: getattr(p.mask, "by_entry", False) and p.spec.input_site == 0 and 0 in p.spec.sites,
        "Use mix_at='hidden' or 'last', or mix='columns' or 'cutmix' at the input.",
    ),
    (
        "label={label} looks at the mixed rows of an early stage, but mix_at asks for a later one",
        lambda p: any(tap < max(p.spec.sites) for tap in p.taps),
        "A density cannot lie below the site that is mixed: use mix_at='input'.",
    ),
    (
        "label={label} looks at a stage that this network does not have",
        lambda p: any(tap > p.spec.n_stages for tap in p.taps),
        "Use a stage from 0 (the input) to its last hidden one.",
    ),
    (
        "drop_intrusions=True compares mixed rows with training rows at the input, but mix_at asks for "
        "a later stage",
        lambda p: bool(p.spec.drop_intrusions) and p.spec.drop_intrusions != "last" and p.spec.sites != (0,),
        "Use mix_at='input', or drop_intrusions='last', which compares features.",
    ),
    (
        "mix={mix} does not change smoothly with lam, so the loss has no slope in lam for AMP, or for the "
        "policy of AdaMixUp, to follow",
        lambda p: getattr(p.objective, "moves_lam", False) and getattr(p.mask, "fixed", False),
        "Use mix='linear'.",
    ),
    (
        "label={label} has a training of its own, but AMP holds the label fixed while lam moves, and "
        "AdaMixUp trains its policy through the label in every epoch",
        lambda p: (
            (getattr(p.objective, "moves_lam", False) and getattr(p.label, "trained", False))
            or (getattr(p.objective, "learns_lam", False) and hasattr(p.label, "phases"))
        ),
        "Use another label, or a classifier other than AMPClassifier and AdaMixupClassifier.",
    ),
]

"""Cross-fitted bagging: each network is trained on all folds but one, and tells of the one that it lacks."""

from __future__ import annotations

import warnings
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from mixsk.backbones import stacks
from mixsk.classifiers._holdout import Fold, silent, stratified_folds
from mixsk.classifiers._prepare import AUGMENT, DRAWS, FOLD_SEEDS, ORDER
from mixsk.classifiers._settings import is_auto, usual
from mixsk.engine import MixNet, Part, TrainingBatches, mean_logits
from mixsk.engine.stack import Source, StackedBatches, know
from mixsk.rules import TARGETS, Recipe, Spec, State
from mixsk.rules.objective import Mixed


@dataclass(frozen=True)
class Folded(Part):
    """The training rows of networks of which each group has its own.

    Attributes
    ----------
    folds : list of Fold
        Rows of the table that a group is trained on, and those that it never sees.
    recipes : list of Recipe
        Of each group, once they are bound.
    """

    folds: list[Fold]
    recipes: list[Recipe]

    def __len__(self) -> int:
        """Rows of an epoch: as many for each group; a larger one leaves out a few, each time others."""
        return min(len(train) for train, _ in self.folds)

    def parts(self) -> list[Part]:
        """What each group is trained on."""
        return [Part(self.rows, train) for train, _ in self.folds]

    def held_out(self) -> list[Part]:
        """What each group never sees."""
        return [Part(self.rows, test) for _, test in self.folds]


def one_network(clf: Any) -> str | None:
    """Why a classifier's rules know of one training set only; None if they do not."""
    if getattr(clf, "axis", None) == "pair":
        return "axis='pair' fits its offsets after training"
    label = clf._label() if clf.mix is not None else "linear"
    label = TARGETS.get(label, label) if isinstance(label, str) else label
    if hasattr(label, "phases"):
        return "a density of features after a warm-up belongs to one network"
    if clf.drop_intrusions and (hasattr(label, "aux") or clf.drop_intrusions == "last"):
        return "drop_intrusions among features belongs to one network"
    return None


def bound(spec: Spec, train: Part, state: State) -> list[Recipe]:
    """Recipes that know the training rows: one, or one for each group."""
    recipes = []
    for part in train.parts() if isinstance(train, Folded) else [train]:
        counts = state.class_counts
        if isinstance(train, Folded):
            counts = train.rows.take(part.index).class_counts()
        recipe = Recipe(spec).to(counts.device)
        with silent() if recipes else nullcontext():  # the first fold has said it, of nearly the same rows
            recipe.bind(part.copied, State(counts, state.class_weight, state.weighted))
        recipes.append(recipe)
    return recipes


def side_by_side(each: list[TrainingBatches]) -> TrainingBatches | StackedBatches:
    """The batches of all networks, where they come from one place or from several."""
    if len(each) == 1:
        return each[0]
    recipe = each[0].recipe
    rows = not (recipe.ahead and type(recipe.objective) is Mixed)
    return StackedBatches([Source(batches, None, 1) for batches in each], rows)


class Bagging:
    """Mixin: a net whose models have each their own training rows."""

    module: Any
    n_cv: int | str
    n_members: int
    warm_start: bool
    _n_folds = 1  # of the fit: fewer than n_cv where no class has as many rows

    @property
    def _n_models(self) -> int:
        return self._n_folds * self.n_members

    def _settled_n_cv(self, n_rows: int | None) -> int:
        """Folds of a fit to `n_rows` rows; None: of a call of partial_fit, which never sees all rows."""
        if not is_auto(self.n_cv):
            return int(self.n_cv)
        own = usual(self.module)
        if n_rows is None or self.warm_start or not stacks(self.module):
            return 1
        if own.n_cv_until is not None and n_rows > own.n_cv_until:
            return 1
        return 1 if one_network(self) else own.n_cv

    def _check_bagging(self) -> None:
        """Raise ValueError for what has no cross-fitted form, where that is asked for by a number."""
        if self._settled_n_cv(None) == 1:
            return
        why = one_network(self)
        if self.warm_start:
            why = "warm_start=True would go on with rows that are in other folds by then"
        if why is not None:
            raise ValueError(f"n_cv={self.n_cv} trains each network on its own rows, but {why}. Use n_cv=1.")

    def _check_lone(self) -> None:
        """Raise ValueError if there are networks of several folds, which a warm start cannot go on with."""
        if self._n_folds > 1:
            raise ValueError(
                f"warm_start=True would go on with {self._n_folds} networks, each trained on all folds but "
                "one, and with rows that are in other folds by then. Set n_cv=1 (or warm_start=True) before "
                "the first fit."
            )

    def _in_folds(self, train: Part) -> Part:
        """The training rows, in folds if there is to be more than one network."""
        self._n_folds = 1
        n_cv = self._settled_n_cv(len(train.rows.y))
        if n_cv == 1:
            return train
        (stream,) = self._streams(FOLD_SEEDS)[:1]  # type: ignore[attr-defined]
        y = train.rows.y.cpu().numpy()[train.index]
        folds = stratified_folds(y, int(stream.generate_state(1)[0]) % 2**31, n_cv)
        if len(folds) < 2:
            if not is_auto(self.n_cv):
                warnings.warn(
                    f"n_cv={n_cv} needs a class with two rows, one to hold out: one network is trained, on "
                    "all rows.",
                    stacklevel=4,  # the caller of fit
                )
            return train
        self._n_folds = len(folds)
        return Folded(train.rows, train.index, [(train.index[a], train.index[b]) for a, b in folds], [])

    @staticmethod
    def _bind(recipe: Recipe, train: Part, state: State) -> None:
        """Let the recipe learn from the training rows, for each group from its own."""
        if not isinstance(train, Folded):
            recipe.bind(train.copied, state)
            return
        train.recipes[:] = bound(recipe.spec, train, state)
        states = [own.state for own in train.recipes]
        if hasattr(recipe.mask, "bind"):  # its draws ask the mask for noise, of what the columns are
            recipe.mask.bind(train.rows)
        n_models = len(recipe.seeds)
        know(recipe, train.recipes, states, [n_models // len(states)] * len(states))

    def _learn_more(self, recipe: Recipe, part: Part, state: State) -> None:
        """Let the recipe learn from more rows, which are new to all networks, whatever their folds were."""
        if self._n_folds == 1:
            recipe.extend(part.copied, state)
            return
        if not recipe.each:  # made anew around the networks of the folds
            if hasattr(recipe.mask, "bind"):
                recipe.mask.bind(part.rows)
            for counts in recipe.state.class_counts[:: self.n_members]:
                recipe.each.append(Recipe(recipe.spec).to(counts.device))
                recipe.each[-1].state = State(counts)
        for own in recipe.each:
            own.extend(part.copied, replace(state))
        know(recipe, recipe.each, [own.state for own in recipe.each], [self.n_members] * self._n_folds)

    def _batches(
        self, train: Part, recipes: list[Recipe], batch_size: int, epochs: int
    ) -> list[TrainingBatches]:
        """Batches and draws for `epochs` epochs, from the streams of this call.

        Of each network where they have rows of their own, else of all of them together.
        """
        order, draws, augments = (
            [np.random.default_rng(stream) for stream in self._streams(kind)]  # type: ignore[attr-defined]
            for kind in (ORDER, DRAWS, AUGMENT)
        )
        first = self._steps  # type: ignore[attr-defined]
        if isinstance(train, Folded):
            parts = [part for part in train.parts() for _ in range(self.n_members)]
            known = [recipe for recipe in recipes for _ in range(self.n_members)]
            found = [
                TrainingBatches(part, recipe, batch_size, [rows], [numbers], first, n_rows=len(train))
                for part, recipe, rows, numbers in zip(parts, known, order, draws, strict=True)
            ]
        else:
            found = [TrainingBatches(train, *recipes, batch_size, order, draws, first, augments=augments)]
        if self.mix_off:  # type: ignore[attr-defined]
            until = first + round((1 - self.mix_off) * epochs) * len(found[0])  # type: ignore[attr-defined]
            for recipe in recipes:
                recipe.hyper["mix_until"] = until
        return found

    def _held_out_logits(self, net: MixNet, train: Folded) -> tuple[np.ndarray, np.ndarray]:
        """Logits (m, C) of the rows that were held out, by the networks that never saw them; the rows."""
        found = []
        for fold, part in enumerate(train.held_out()):
            own = slice(fold * self.n_members, (fold + 1) * self.n_members)
            found.append(mean_logits(net.predict_logits(part).double()[own]))
        return torch.cat(found).numpy(), np.concatenate([test for _, test in train.folds])

"""Cross-fitted bagging: each network is trained on all folds but one, and tells of the one that it lacks."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from mixsk.classifiers._holdout import Fold, stratified_folds
from mixsk.classifiers._prepare import FOLD_SEEDS
from mixsk.engine import MixNet, Part, TrainingBatches, mean_logits
from mixsk.engine.stack import Source, StackedBatches, know
from mixsk.rules import Recipe, State
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

    def part(self, fold: int) -> Part:
        """What one group is trained on."""
        return Part(self.rows, self.folds[fold][0])

    def held_out(self, fold: int) -> Part:
        """What it never sees."""
        return Part(self.rows, self.folds[fold][1])


def one_network(clf: Any) -> str | None:
    """Why a classifier's rules know of one training set only; None if they do not."""
    if getattr(clf, "axis", None) == "pair":
        return "axis='pair' fits its offsets after training"
    label = clf._label() if clf.mix is not None else "linear"
    if hasattr(label, "phases"):
        return "a density of features after a warm-up belongs to one network"
    if clf.drop_intrusions and (hasattr(label, "aux") or clf.drop_intrusions == "last"):
        return "drop_intrusions among features belongs to one network"
    return None


class Bagging:
    """Mixin: a net whose models have each their own training rows."""

    n_cv: int
    n_members: int
    _n_folds = 1  # of the fit: fewer than n_cv where no class has as many rows

    @property
    def _n_models(self) -> int:
        return self._n_folds * self.n_members

    def _check_bagging(self) -> None:
        """Raise ValueError for what has no cross-fitted form."""
        if self.n_cv == 1:
            return
        why = one_network(self)
        if self.warm_start:  # type: ignore[attr-defined]
            why = "warm_start=True would go on with rows that are in other folds by then"
        if why is not None:
            raise ValueError(f"n_cv={self.n_cv} trains each network on its own rows, but {why}. Use n_cv=1.")

    def _in_folds(self, train: Part) -> Part:
        """The training rows, in folds if there is to be more than one network."""
        self._n_folds = 1
        if self.n_cv == 1:
            return train
        (stream,) = self._streams(FOLD_SEEDS)[:1]  # type: ignore[attr-defined]
        y = train.rows.y.cpu().numpy()[train.index]
        folds = stratified_folds(y, int(stream.generate_state(1)[0]) % 2**31, self.n_cv)
        if len(folds) < 2:
            warnings.warn(
                f"n_cv={self.n_cv} needs a class with two rows, one to hold out: one network is trained, on "
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
        states = []
        for fold in range(len(train.folds)):
            part, own = train.part(fold), Recipe(recipe.spec)
            counts = train.rows.take(part.index).class_counts()
            states.append(State(counts, state.class_weight, state.weighted))
            own.to(counts.device)
            own.bind(part.copied, states[-1])
            train.recipes.append(own)
        if hasattr(recipe.mask, "bind"):  # its draws ask the mask for noise, of what the columns are
            recipe.mask.bind(train.rows)
        n_models = len(recipe.seeds)
        know(recipe, train.recipes, states, [n_models // len(states)] * len(states))

    def _folded_batches(
        self,
        train: Folded,
        batch_size: int,
        order: list[np.random.Generator],
        draws: list[np.random.Generator],
        first: int,
    ) -> StackedBatches:
        """The batches of all models side by side, each from its group's rows and its own streams."""
        sources = []
        for model in range(self._n_models):
            fold = model // self.n_members
            streams = [order[model]], [draws[model]]
            batches = TrainingBatches(
                train.part(fold), train.recipes[fold], batch_size, *streams, first, n_rows=len(train)
            )
            sources.append(Source(batches, None, 1))
        recipe = train.recipes[0]
        return StackedBatches(sources, rows=not (recipe.ahead and type(recipe.objective) is Mixed))

    def _held_out_logits(self, net: MixNet, train: Folded) -> tuple[np.ndarray, np.ndarray]:
        """Logits (m, C) of the rows that were held out, by the networks that never saw them; the rows."""
        found = []
        for fold in range(len(train.folds)):
            own = slice(fold * self.n_members, (fold + 1) * self.n_members)
            logits = net.predict_logits(train.held_out(fold)).double()
            found.append(mean_logits(logits[own]))
        return torch.cat(found).numpy(), np.concatenate([test for _, test in train.folds])

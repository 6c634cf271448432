"""Train many classifiers as one program, and say what each of them predicts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from sklearn.base import clone

from mixsk.backbones import Backbone, Training, seeded
from mixsk.classifiers._bagging import Folded, bound
from mixsk.classifiers._base import _records
from mixsk.classifiers._calibration import fit_temperature
from mixsk.classifiers._network import _prefixed, make_backbone, patience
from mixsk.classifiers._prepare import DROPOUT
from mixsk.classifiers._settings import settled
from mixsk.engine import Plan
from mixsk.engine.iterator import TrainingBatches, batch_slots
from mixsk.engine.optimizer import STACKED
from mixsk.engine.stack import Source, StackedBatches, StackedNet, StackedRows, know
from mixsk.model_selection._group import OF_A_DRAW, key, merged, model_epochs, plain, split
from mixsk.model_selection._outcome import Fold, Model, Outcome
from mixsk.model_selection._progress import Progress
from mixsk.rules import Recipe, Sizes, State
from mixsk.rules.objective import Mixed

MEMORY = 2**31  # bytes that a stack may take, by estimate


@dataclass
class _Job:
    number: int
    classifier: Any


@dataclass
class _Prepared:
    """A classifier after all of its fit but the training, and the jobs that share this."""

    classifier: Any
    training: Training
    network: Backbone
    train: Any
    valid: Any
    state: State
    jobs: list[_Job]
    evaluate: list[Any]  # tensors, or what encoding them raised
    before: list[tuple[str, Any]]

    @property
    def n_networks(self) -> int:
        """Of each job."""
        return int(self.classifier._n_models)


def train(
    jobs: Sequence[tuple[Any, int]], folds: Sequence[Fold], progress: Progress | None = None
) -> list[Outcome]:
    """Fit each (estimator, fold) and predict the fold's rows.

    Parameters
    ----------
    jobs : sequence of (estimator, int)
        Unfitted; classifiers of mixsk that may be stacked, or pipelines that end in one.
    folds : sequence of Fold
    progress : Progress, default=None
        Told of the epochs.

    Returns
    -------
    list of Outcome
        In the order of the jobs.
    """
    outcomes = [Outcome() for _ in jobs]
    groups: dict[str, list[int]] = defaultdict(list)
    for number, (estimator, _) in enumerate(jobs):
        groups[key(estimator)].append(number)
    steps = _Steps(folds)
    progress = progress or Progress()
    with _one_thread():
        for numbers in groups.values():
            _train_group([(n, *jobs[n]) for n in numbers], steps, outcomes, progress)
    return outcomes


def _train_group(
    members: list[tuple[int, Any, int]], steps: _Steps, outcomes: list[Outcome], progress: Progress
) -> None:
    by_fold: dict[int, list[_Job]] = defaultdict(list)
    for number, estimator, fold in members:
        by_fold[fold].append(_Job(number, split(estimator)[1]))
    prepared: list[_Prepared] = []
    for f, jobs in by_fold.items():
        before = split(members[0][1])[0]
        for alike in _alike(jobs).values():
            try:
                prepared += _by_draw(_prepare(alike, steps.done(before, f)))
            except Exception as error:
                for job in alike:
                    outcomes[job.number].error = error
                n_rows = len(steps.folds[f].y)
                progress.count(sum(model_epochs(job.classifier, n_rows) for job in alike))
    shapes: dict[Any, list[_Prepared]] = defaultdict(list)
    for one in prepared:
        training = one.training
        n_batches = len(batch_slots(len(one.train), training.batch_size))
        shape = (
            *(tuple(p.shape for p in one.network.parameters()), repr(one.classifier._structure)),
            one.valid is None,
            *(n_batches, training.batch_size, training.max_epochs, one.n_networks),
        )
        shapes[shape].append(one)
    for same in shapes.values():
        for part in _portions(same):
            _train_halved(part, outcomes, progress)


def _alike(jobs: list[_Job]) -> dict[Any, list[_Job]]:
    """Jobs of one fold with the same seed: the same validation rows, order and initial weights."""
    alike: dict[Any, list[_Job]] = defaultdict(list)
    for job in jobs:
        seed = job.classifier.random_state
        own = seed if isinstance(seed, (int, np.integer)) else ("fit of its own", job.number)
        alike[own].append(job)
    return alike


def _by_draw(one: _Prepared) -> list[_Prepared]:
    """Apart by the numbers of the draw: what is left together sees the same batches."""
    apart: dict[Any, list[_Job]] = defaultdict(list)
    for job in one.jobs:
        clf = _with_draw(one.classifier, job)
        numbers = tuple(getattr(clf, name, None) for name in OF_A_DRAW)
        apart[numbers, clf._alpha()].append(job)
    return [
        replace(one, classifier=_with_draw(one.classifier, jobs[0]), jobs=jobs) for jobs in apart.values()
    ]


def _with_draw(prepared: Any, job: _Job) -> Any:
    """A prepared classifier with the numbers of the draw that a job has."""
    clf = copy(prepared)
    for name in OF_A_DRAW:
        if hasattr(clf, name):
            setattr(clf, name, getattr(job.classifier, name))
    return clf


class _Steps:
    """The folds' rows after the steps before a classifier, which are fitted once a fold."""

    def __init__(self, folds: Sequence[Fold]) -> None:
        self.folds = folds
        self._known: dict[Any, Fold] = {}

    def done(self, before: Any, f: int) -> Fold:
        """Fold `f` as the classifier sees it."""
        if before is None:
            return self.folds[f]
        name = f, repr(plain(before))
        if name not in self._known:
            fold, fitted = self.folds[f], clone(before)
            X = fitted.fit_transform(fold.X, fold.y)
            self._known[name] = Fold(
                X,
                fold.y,
                fold.sample_weight,
                [_attempt(fitted.transform, rows) for rows in fold.evaluate],
                fitted.steps,
            )
        return self._known[name]


def _attempt(function: Any, rows: Any) -> Any:
    """The function's value, or the error that scoring these rows would raise."""
    try:
        return rows if isinstance(rows, Exception) else function(rows)
    except Exception as error:
        return error


def _prepare(jobs: list[_Job], fold: Fold) -> _Prepared:
    clf = clone(jobs[0].classifier)
    train, valid, net = clf._prepare(fold.X, fold.y, fold.sample_weight)
    net.initialize()  # torch's own optimiser says what is wrong with its options

    def encoded(rows: Any) -> torch.Tensor:
        return torch.as_tensor(clf._encode(rows), dtype=clf._dtype).to(train.rows.X.device)

    evaluate = [_attempt(encoded, rows) for rows in fold.evaluate]
    training = settled(clf, len(train))
    state, network = net.criterion.state, net.module_
    return _Prepared(clf, training, network, train, valid, state, jobs, evaluate, fold.before)


def _portions(prepared: list[_Prepared]) -> list[list[_Prepared]]:
    """Sources in portions that fit into memory; a source too large for that is cut."""
    most = max(1, int(MEMORY // (_bytes_of_a_model(prepared[0]) * prepared[0].n_networks)))
    portions: list[list[_Prepared]] = [[]]
    for whole in prepared:
        for start in range(0, len(whole.jobs), most):
            one = replace(whole, jobs=whole.jobs[start : start + most])
            if portions[-1] and sum(len(p.jobs) for p in portions[-1]) + len(one.jobs) > most:
                portions.append([])
            portions[-1].append(one)
    return portions


def _bytes_of_a_model(one: _Prepared) -> float:
    """Memory that one model adds to a stack: weights, gradients, moments, and what backward keeps."""
    widths = [*one.network.widths, len(one.classifier.classes_)]
    weights = sum(p[0].numel() for p in one.network.parameters())
    rows = max(one.training.batch_size, 0 if one.valid is None else len(one.valid))
    return float(one.train.rows.X.element_size() * (6 * weights + 4 * rows * sum(widths)))


def _train_halved(prepared: list[_Prepared], outcomes: list[Outcome], progress: Progress) -> None:
    """Train a portion; if memory runs out after all, its halves."""
    n_jobs = sum(len(one.jobs) for one in prepared)
    try:
        n_models = n_jobs * prepared[0].n_networks
        with progress.program(n_models, prepared[0].training.max_epochs) as callbacks:
            _train_stack(prepared, outcomes, callbacks)
    except (MemoryError, torch.OutOfMemoryError):
        if n_jobs == 1:
            raise
        if len(prepared) > 1:
            halves = [prepared[: len(prepared) // 2], prepared[len(prepared) // 2 :]]
        else:
            jobs = prepared[0].jobs
            halves = [
                [replace(prepared[0], jobs=part)] for part in (jobs[: n_jobs // 2], jobs[n_jobs // 2 :])
            ]
        for half in halves:
            _train_halved(half, outcomes, progress)


def _train_stack(prepared: list[_Prepared], outcomes: list[Outcome], callbacks: list[Any]) -> None:
    """Train the models of some sources together."""
    # In the order of the models: of a job with several networks, each lies beside those of its neighbours.
    models = [(job, one) for one in prepared for _ in range(one.n_networks) for job in one.jobs]
    classifiers, of_model = [job.classifier for job, _ in models], [one for _, one in models]
    first = prepared[0].classifier
    rows = prepared[0].train.rows
    dtype, device, n_classes = rows.dtype, rows.X.device, len(first.classes_)
    weights, aux = zip(
        *(pair for one in prepared for own in _seeds(one) for pair in [own] * len(one.jobs)), strict=True
    )
    net = make_backbone(first, rows.X[:2], dtype, n_classes, weights)
    _bind(net, [one.network for one in of_model])

    common = merged(first, classifiers, dtype)
    recipe = Recipe(common._spec(net.n_stages))
    recipe.attach(Sizes(rows.X.shape[1], net.widths, n_classes, net.n_models), aux)
    recipe.to(device, dtype)
    sources = [source for one in prepared for source in _sources(one, net.n_stages, dtype)]
    recipes, counts = [source.batches.recipe for source in sources], [s.n_models for s in sources]
    know(recipe, recipes, [own.state for own in recipes], counts)

    ahead = all(r.ahead for r in recipes)
    batches = StackedBatches(sources, rows=not (ahead and type(recipe.objective) is Mixed))
    valid = None
    if prepared[0].valid is not None:
        class_weights = [own.state.class_weight for own in recipes]
        valid = StackedRows([source.valid for source in sources], class_weights, counts)
    training = prepared[0].training
    plan = Plan(schedule=training.schedule, patience=patience(first, training))
    each = [settled(clf, len(one.train)) for clf, one in zip(classifiers, of_model, strict=True)]
    trained = StackedNet(
        net,
        recipe,
        plan,
        STACKED[training.optimizer],
        lr=1.0,
        max_epochs=training.max_epochs,
        verbose=0,
        callbacks=callbacks,
        device=str(device),
        optimizer__rates=torch.tensor([one.lr for one in each], dtype=torch.float64),
        optimizer__decays=torch.tensor([one.weight_decay for one in each], dtype=torch.float64),
        **{
            f"optimizer__{name}": value
            for name, value in {**training.options, **_prefixed(first, "optimizer__")}.items()
        },
    ).initialize()
    with seeded(int(first._streams(DROPOUT)[0].generate_state(1)[0]), device):
        trained.partial_fit((batches, valid), epochs=training.max_epochs)
    if trained.stop_ == "interrupted":  # which skorch keeps to itself
        raise KeyboardInterrupt
    _report(trained, prepared, sources, outcomes)


def _bind(net: Backbone, known: list[Backbone]) -> None:
    """Give each of a stack's models what a network of its own has learnt from the training rows."""
    for name, _ in net.named_buffers():
        if name in net.state_dict():
            net.get_buffer(name).copy_(torch.stack([own.get_buffer(name)[0] for own in known]))


def _seeds(one: _Prepared) -> list[tuple[int, int]]:
    """Of each network's weights and of the recipe's own networks, as a lone fit would have them."""
    return list(zip(*one.classifier._seeds(), strict=True))


def _sources(one: _Prepared, n_stages: int, dtype: torch.dtype) -> list[Source]:
    """The batches of each network that a job has, whose recipe holds the numbers of all jobs."""
    common = merged(one.classifier, [job.classifier for job in one.jobs], dtype)
    recipes = bound(common._spec(n_stages), one.train, one.state)
    training = one.training
    each = one.classifier._batches(one.train, recipes, training.batch_size, training.max_epochs)
    return [Source(batches, one.valid, len(one.jobs)) for batches in each]


def _report(
    net: StackedNet, prepared: list[_Prepared], sources: list[Source], outcomes: list[Outcome]
) -> None:
    """Probabilities of each job's rows, or its error."""
    counts = [source.n_models for source in sources]
    diverged = net.diverged_.tolist()
    weights, aux = (
        {name: value.cpu().numpy() for name, value in module.state_dict().items()}
        for module in (net.module_, net.criterion_.aux)
    )
    history = _records(net.history)
    ends = [len(history)] * len(diverged)
    if net.patience_ is not None and isinstance(net.patience_.epochs, torch.Tensor):
        ends = net.patience_.epochs.tolist()
    n_sets = len(prepared[0].evaluate)
    some = prepared[0].train.rows.X[:1]

    def probabilities(rows: list[Any]) -> list[torch.Tensor]:
        """Of each source's rows; what cannot be predicted is stood for by a row that can."""
        usable = [some if isinstance(x, Exception) or len(x) == 0 else x for x in rows]
        return net.probabilities(usable, counts)

    of_source = [one for one in prepared for _ in range(one.n_networks)]
    found = [probabilities([one.evaluate[k] for one in of_source]) for k in range(n_sets)]
    held_out: list[torch.Tensor] = []
    first = prepared[0].classifier
    if isinstance(prepared[0].train, Folded) and first._calibrates(first._n_folds):
        parts = [part for one in prepared for part in one.train.held_out()]
        held_out = probabilities([part.rows.X[part.index] for part in parts])
    s = model = 0
    for one in prepared:
        own, n_jobs = range(s, s + one.n_networks), len(one.jobs)
        for g, job in enumerate(one.jobs):
            outcome = outcomes[job.number]
            models = [model + g + n_jobs * k for k in range(one.n_networks)]
            if any(diverged[m] for m in models):
                lr = settled(job.classifier, None).lr
                outcome.error = FloatingPointError(
                    f"The training loss or a weight was no longer finite (lr={lr}). Try a "
                    "tenth of this learning rate, or dtype='float64'."
                )
            else:
                outcome.classes, outcome.before = one.classifier.classes_, one.before
                epochs = history[: max(ends[m] for m in models)]
                temperature = 1.0
                if held_out:
                    temperature = _temperature(one.train, [held_out[k][g] for k in own])
                learnt = _learnt([sources[k].batches for k in own], len(epochs), temperature)
                outcome.model = Model(job.classifier, one.classifier, learnt, weights, aux, models, epochs)
                outcome.probabilities = [
                    rows if isinstance(rows, Exception) else _mean([of[k][g] for k in own], temperature)
                    for rows, of in zip(one.evaluate, found, strict=True)
                ]
        s, model = own.stop, model + n_jobs * one.n_networks


def _temperature(train: Folded, held_out: list[torch.Tensor]) -> float:
    """Of one job's networks, from their probabilities of the rows that they never saw."""
    rows = train.rows.take(np.concatenate([test for _, test in train.folds]))
    w = None if rows.w is None else rows.w.cpu().numpy()
    return fit_temperature(_logs(torch.cat(held_out)).numpy(), rows.y.cpu().numpy(), w)


def _logs(p: torch.Tensor) -> torch.Tensor:
    """Logarithms that are finite where a probability has underflowed."""
    return p.clamp_min(torch.finfo(p.dtype).tiny).log()


def _mean(each: list[torch.Tensor], temperature: float) -> np.ndarray:
    """The mean probabilities (n, C) of one job's networks, at its temperature."""
    p = torch.stack(each)
    if temperature != 1:
        p = torch.softmax(_logs(p) / temperature, -1)
    return np.asarray(p.mean(0).numpy())


def _learnt(each: list[TrainingBatches], n_epochs: int, temperature: float) -> dict[str, Any]:
    """What a lone fit, its only call so far, would know after its training besides the weights."""
    recipe = each[0].recipe
    counts = np.stack([batches.recipe.state.class_counts.cpu().numpy() for batches in each])
    learnt = {"_class_counts": counts if len(each) > 1 else counts[0], "_temperature": temperature}
    if len(each) == 1 and hasattr(recipe.label, "density_"):
        learnt["density_"] = recipe.label.density_
    return learnt | {"_calls": 1, "_steps": len(each[0]) * n_epochs}


@contextmanager
def _one_thread() -> Any:
    """Small products cost several times more on two threads of a busy machine than on one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)

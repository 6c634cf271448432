"""What a reader has to know where our figures differ from the paper's: readings, and what was checked."""

import json

import pandas as pd

from findings import counts, tables
from findings.evidence import PAPER, SHARES, Section, Sheet, percent
from mixsk.bench.protocol import Protocol
from mixsk.bench.report.paper import TABLES
from mixsk.bench.results import read_results
from mixsk.bench.search import GRID
from mixsk.bench.search import PAPER as TRAINING
from mixsk.densities import GM


def section(runs, fits, checks):
    """Shares beside the paper's, other splits, what was chosen, and the readings."""
    found = Section(
        "What was checked where it differs",
        "First what our own runs can tell, then the readings that we take where the paper leaves one open or "
        "its released code does something else than its text.",
        sheets=[counts.beside(runs, fits)],
        notes=readings(runs, fits),
    )
    found.sheets.append(counts.other_splits({shown_name(runs): runs} | checks))
    found.sheets += [tables.offsets(runs, "linear"), chosen(runs)]
    return found


def shown_name(runs):
    """How the table of other splits calls the run that it starts from."""
    if not runs.results:
        return "the run above"
    return f"the run above, seed {runs.results[0].settings['protocol']['seed']}"


def chosen(runs):
    """How often cross-validation chose each gamma; with 0, GenLabel is mixup."""
    heads = ["method", "fits", *(f"gamma {gamma}, %" for gamma in GRID["gamma"])]
    caption = "What cross-validation chose on the training rows. With gamma 0 GenLabel is mixup: a tie."
    rows = []
    cells = [read_results(folder) for folder in runs.folders]
    if cells:
        cells = pd.concat(cells, ignore_index=True)
        cells = cells[(cells["status"] == "ok") & cells["chosen"].fillna("").str.contains('"gamma"')]
        for method, texts in cells.groupby("method", sort=False)["chosen"]:
            gammas = texts.map(lambda text: json.loads(text)["gamma"])
            shares = [percent((gammas == gamma).mean()) for gamma in GRID["gamma"]]
            rows.append([counts.name(method), str(len(gammas)), *shares])
    return Sheet(caption, heads, rows)


def readings(runs, fits):
    """Facts in our own words; numbers are those of the programs and files that they describe."""
    n_paper, n_all = PAPER["n_tables"], len(TABLES)
    known = {table for results in runs.results for table in results.settings["tables"]} & set(TABLES)
    rates = ", ".join(f"{rate:g}" for rate in GRID["lr"])
    gammas = ", ".join(f"{gamma:g}" for gamma in GRID["gamma"])
    total = sum(SHARES["mixup"])
    notes = []
    if known:
        fitted = "" if fits is None else f", {len(known & set(fits))} of them fitted"
        notes.append(
            f"**Tables.** {len(known)} of the paper's {n_all} were at hand{fitted}. The paper counts over "
            f"{n_paper} fitted tables and does not list them; ours are found by its rule on all rows, with "
            "columns standardised."
        )
    return [
        *notes,
        f"**The paper's counts.** Its shares against mixup add up to {total:.2f} %, so that "
        f"{round(n_paper * (1 - total / 100))} of its {n_paper} tables are in none of them.",
        "**Splits.** The paper's split is not published. One stratified split with "
        f"{100 * Protocol().test_size:g} % test rows is inferred, and its seed is ours. Parameters are "
        "chosen on the training rows alone.",
        "**Scaling.** The paper's scaling is not published. Here every column is standardised by the "
        "training rows, and densities are fitted in that space. Only numeric columns are used.",
        f"**Density scale.** A Gaussian has its maximum-likelihood covariance plus {GM().reg_covar:g} on the "
        "diagonal, and a class of no more rows than columns the covariance pooled over the classes; the code "
        "has no pooling. Kernels have Scott's width and the same ridge, where the code has 1e-8. Classes "
        f"have equal priors (`class_prior={TRAINING['class_prior']!r}`), as the paper's labels do.",
        f"**Grid.** Learning rates {rates} and gammas {gammas}, jointly by 5-fold cross-validation; vanilla "
        f"training and mixup choose the learning rate only. {TRAINING['max_epochs']} epochs of "
        f"{TRAINING['optimizer'].capitalize()}, weight decay {TRAINING['weight_decay']:g}, batches of "
        f"{TRAINING['batch_size']}. The code does not shuffle its batches; ours are drawn anew each epoch.",
        "**lam.** Beta(1, 1), one for each batch, as in the code; Beta(2, 2) where alpha 2 is said.",
        "**Activation.** The paper says that its networks have ReLUs; its code has no activation between "
        "their layers. Ours have ReLUs (`activation='identity'` gives theirs). Logistic regression has no "
        "hidden layer, so that this explains nothing in Table 3.",
        "**Latent GenLabel.** A fifth of the epochs train the network plainly, then the body is frozen and a "
        "fresh head is trained, as in the code; the text fine-tunes the head that is there.",
        "**AdaMixup.** The paper's baseline never trains its policy and its discriminator; ours does.",
        "**GenLabel (NN).** The paper's figures are those of the nearest training row's own class as a hard "
        "label, in the space of the columns. Ours is a density of nearest neighbours.",
        "**Robust accuracy.** The paper chooses parameters by robust accuracy on validation folds, ours are "
        "chosen by accuracy. Its radius is a tenth of the range of the whole table, ours of each column's.",
    ]

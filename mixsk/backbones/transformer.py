"""Encoders of Hugging Face's transformers as networks of sentences.

Source: the AMP paper's BERT (section 4.2): word embeddings are what WordMixup mixes, the pooled output what
SentMixup mixes; mixed rows attend where either row has a token.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from mixsk.backbones._words import Sentences, with_mask, without_mask
from mixsk.backbones.training import Training

POOLS = ("auto", "mean", "first", "pooler")
OF_A_MACHINE = ("_name_or_path", "transformers_version")  # in a configuration, but no part of the network


class Tokens(nn.Module):
    """An encoder's vectors of tokens: codes (1, B, L), token id + 1 -> (1, B, L, E + 1), mask last.

    The weights stay the encoder's, some of which look up tokens of their own.
    """

    def __init__(self, embedding: nn.Module) -> None:
        super().__init__()
        self.shared = (embedding,)  # in a tuple, so that it is nobody's part twice

    def forward(self, codes: Tensor) -> Tensor:
        """Look up codes (1, B, L)."""
        vectors = self.shared[0]((codes - 1).clamp_min(0))
        return with_mask(vectors * (codes > 0).unsqueeze(-1), codes)


class Encoder(nn.Module):
    """From vectors of tokens and mask to vectors of sentences: (1, B, L, E + 1) -> (1, B, H).

    Parameters
    ----------
    model : transformers.PreTrainedModel
    pool : {"mean", "first", "pooler"}
    """

    def __init__(self, model: nn.Module, pool: str) -> None:
        super().__init__()
        self.model = model
        self.pool = pool
        pooler = getattr(model, "pooler", None)
        if isinstance(pooler, nn.Module) and pool != "pooler":
            pooler.requires_grad_(False)  # nothing depends on it

    def forward(self, h: Tensor) -> Tensor:
        """Run the encoder; tokens attend to tokens, not to padding."""
        vectors, real = without_mask(h)
        # transformers looks at the values of the mask, for a faster kernel where all are 1.
        mask = None if real.is_meta else real.long()
        found = self.model(inputs_embeds=vectors, attention_mask=mask, return_dict=True)
        if self.pool == "pooler":
            return found.pooler_output.unsqueeze(0)
        states = found.last_hidden_state
        if self.pool == "first":
            return states[:, 0].unsqueeze(0)
        share = real.to(states)
        share = share / share.sum(1, keepdim=True).clamp_min(1)
        return torch.bmm(share.unsqueeze(1), states).transpose(0, 1)


class Transformer(Sentences):
    """An encoder of the transformers package, its tokens pooled, dropout and a linear layer.

    Sites: 1 the embeddings of tokens (WordMixup), 2 the pooled output (SentMixup).

    A row's logits do not depend on its batch, but for the few models that themselves let tokens see padding
    (ConvBERT, Nystromformer, YOSO).

    Parameters
    ----------
    n_features : int
        Not used: the longest sentence.
    n_classes : int
    n_codes : int
        Codes of tokens: token id + 1, and 0 for padding.
    name_or_path : str or PathLike, default=None
        A model on huggingface.co, or the folder of one, whose weights training starts from.
    config : dict or transformers.PreTrainedConfig, default=None
        What the network is, with its "model_type". None: that of `name_or_path`. Without `name_or_path` the
        weights are random.
    pool : {"auto", "mean", "first", "pooler"}, default="auto"
        The mean of the tokens, the first token, or what the model itself makes of it. "auto": as a
        sentence-transformers model says in its 1_Pooling; of others, the model's own pooler if the weights of
        one come with it, else the mean.
    auto_pool : {"mean", "first", "pooler"}, default="mean"
        What "auto" stands for; as a classifier's module, it is found in the files of `name_or_path`.
    dropout : float, default=0.1
        In [0, 1), before the last layer. That within the encoder is its configuration's.
    n_models : int, default=1

    Raises
    ------
    ImportError
        Without transformers.
    OSError
        If the model cannot be loaded.
    ValueError
        If it is no encoder of text, or has fewer tokens than there are.

    Examples
    --------
    >>> config = {"model_type": "bert", "vocab_size": 8, "hidden_size": 8, "num_hidden_layers": 1,
    ...           "num_attention_heads": 2, "intermediate_size": 16}
    >>> net = Transformer(5, 3, n_codes=9, config=config)
    >>> net(torch.tensor([[[2, 8, 0, 0, 0], [3, 1, 4, 4, 7]]])).shape
    torch.Size([1, 2, 3])
    """

    trained_with = Training(
        optimizer="adamw",
        lr=5e-5,
        weight_decay=0.01,
        schedule="onecycle",
        batch_size=24,
        steps=500,
        min_epochs=3,
        stop_from=None,
        mix="linear",
        alpha=1.0,
    )

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        *,
        n_codes: int,
        name_or_path: str | os.PathLike[str] | None = None,
        config: Any = None,
        pool: str = "auto",
        auto_pool: str = "mean",
        dropout: float = 0.1,
        n_models: int = 1,
    ) -> None:
        _check_pool(pool)
        model = _transformers().AutoModel.from_config(_config(config, name_or_path)).float()
        pool = auto_pool if pool == "auto" else pool
        embedding = _embedding(model, pool)
        if n_codes - 1 > embedding.num_embeddings:
            raise ValueError(
                f"X has codes up to {n_codes - 1}, but this network knows {embedding.num_embeddings} tokens. "
                "Encode texts with the network's own tokenizer."
            )
        widths = (embedding.embedding_dim, int(model.config.hidden_size))
        super().__init__(Tokens(embedding), Encoder(model, pool), widths, n_classes, dropout, n_models)
        self.name_or_path = name_or_path

    @classmethod
    def structure(cls, n_rows: int | None, layout: Any, options: Mapping[str, Any]) -> dict[str, Any]:
        """The number of codes, and what the files of a model say of it."""
        name = options.get("name_or_path")
        config = _config(options.get("config"), name)
        own = {key: value for key, value in config.to_dict().items() if key not in OF_A_MACHINE}
        found = {"n_codes": layout.n_codes, "config": own}
        if name is not None and options.get("pool", "auto") == "auto":
            found["auto_pool"] = _usual_pool(name)
        return found

    def bind(self, rows: Any) -> None:
        """Start from the weights in `name_or_path`; those that it lacks stay random."""
        if self.name_or_path is None:
            return
        pretrained, missing = _load(self.name_or_path)
        weights = {key: value for key, value in pretrained.state_dict().items() if key not in missing}
        try:
            self.stages[1].model.load_state_dict(weights, strict=False)
        except RuntimeError as error:
            raise ValueError(
                f"module__config is not of the network in module__name_or_path={str(self.name_or_path)!r}: "
                f"{error}. Leave one of them out."
            ) from error


def _transformers() -> Any:
    """The package, which few users need."""
    try:
        import transformers
    except ImportError as error:
        raise ImportError(
            f"module='transformer' needs transformers, which cannot be imported ({error}). Install it with "
            "`pip install 'mixsk[text]'`, or use module='textcnn' or 'bilstm'."
        ) from error
    return transformers


def _check_pool(pool: Any) -> None:
    if pool not in POOLS:
        raise ValueError(f"module__pool must be one of {POOLS}. Got {pool!r}.")


def _config(config: Any, name: Any) -> Any:
    """The configuration that is given, or that of a model; ValueError if it is not of an encoder."""
    transformers = _transformers()
    if config is None and name is None:
        raise ValueError(
            "module='transformer' needs module__name_or_path, such as 'bert-base-uncased' or a folder, or "
            "module__config, a dict with a 'model_type', for random weights."
        )
    if config is None:
        config = _found(transformers.AutoConfig.from_pretrained, name)
    elif isinstance(config, Mapping):
        if "model_type" not in config:
            raise ValueError(f"module__config needs a 'model_type', such as 'bert'. It has {sorted(config)}.")
        config = _described(transformers.AutoConfig.for_model, config)
    elif hasattr(config, "to_dict"):
        config = deepcopy(config)
    else:
        raise ValueError(
            f"module__config must be a dict or a configuration of transformers. Got {type(config).__name__}."
        )
    kind = type(config)
    masked, causal = transformers.MODEL_FOR_MASKED_LM_MAPPING, transformers.MODEL_FOR_CAUSAL_LM_MAPPING
    decodes = getattr(config, "is_decoder", False) or (kind in causal and kind not in masked)
    if getattr(config, "is_encoder_decoder", False) or decodes:
        raise ValueError(
            f"A model of type {config.model_type!r} writes text: it has a decoder, or its tokens do not see "
            "those after them. Use an encoder, such as a BERT, RoBERTa, DeBERTa, MPNet, ModernBERT or MiniLM."
        )
    return config


def _described(load: Callable[..., Any], config: Mapping[str, Any]) -> Any:
    try:
        return load(**config)
    except Exception as error:  # ValueError, TypeError, errors of huggingface_hub's own
        raise ValueError(
            f"module__config with model_type={config['model_type']!r} is nothing that transformers can make: "
            f"{str(error)[:200]} ..."
        ) from error


def _embedding(model: Any, pool: str) -> nn.Embedding:
    """A model's vectors of tokens; ValueError if it cannot be cut above them, or pooled so."""
    embedding, kind = model.get_input_embeddings(), model.config.model_type
    lacking = {"inputs_embeds", "attention_mask"} - set(inspect.signature(model.forward).parameters)
    if lacking or not isinstance(embedding, nn.Embedding):
        raise ValueError(
            f"A model of type {kind!r} cannot be mixed: it has no "
            f"{' and no '.join(sorted(lacking)) or 'plain embeddings of tokens'}. Use an encoder of text, "
            "such as a BERT."
        )
    if pool == "pooler" and not isinstance(getattr(model, "pooler", None), nn.Module):
        raise ValueError(f"A model of type {kind!r} has no pooler. Use module__pool='mean' or 'first'.")
    return embedding


def _usual_pool(name: Any) -> str:
    """What a model's files say of pooling."""
    try:
        own, _ = _transformers().PreTrainedConfig.get_config_dict(name, subfolder="1_Pooling")
    except OSError:  # huggingface.co has no such file
        own = {}
    if not own:
        model, missing = _load(name)
        has_pooler = isinstance(getattr(model, "pooler", None), nn.Module)
        return "pooler" if has_pooler and not any(key.startswith("pooler.") for key in missing) else "mean"
    first = own.get("pooling_mode") == "cls" or own.get("pooling_mode_cls_token")
    return "first" if first else "mean"


def _load(name: Any) -> tuple[Any, set[str]]:
    """A model with its weights on the CPU, and the names of those that its files lack."""
    from mixsk.backbones.build import seeded  # which imports this file

    with seeded(0):  # transformers draws the weights that are missing
        model, report = _found(_transformers().AutoModel.from_pretrained, name, output_loading_info=True)
    return model, set(report["missing_keys"])


def _found(load: Callable[..., Any], name: Any, **options: Any) -> Any:
    from mixsk.encoding.hub import WITHOUT_NETWORK, check_folder  # which imports this package

    given = f"module__name_or_path={str(name)!r}"
    check_folder(str(name), given)
    try:
        return load(name, trust_remote_code=False, **options)
    except Exception as error:  # OSError, ValueError, KeyError, errors of the http client
        reason = (str(error) or type(error).__name__).strip().splitlines()[0]
        raise OSError(
            f"{given} is no model that transformers can load: {reason} Use the local folder of one, as "
            f"save_pretrained writes it, or its name on huggingface.co. {WITHOUT_NETWORK}."
        ) from error

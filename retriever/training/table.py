"""An encoder that is a table: a text's vector is the sum of the rows of its word pieces, at unit length.

Without layers there is nothing to compute but a sum, so a text costs what its tokenising costs. Such tables are as old
as word vectors; that they can keep most of what a sentence encoder knows when they are learned from it is the finding
of model2vec (Tulkens & van Dongen 2024) and of sentence-transformers' static embedding models.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, StaticEmbedding
from tokenizers import Tokenizer

from retriever.encoder import MAX_TOKENS, MODEL, TOKENIZER

QUANTISATION: dict[str, Any] = {"weights": "int8, one scale a row"}
_ROWS, _SCALES = "rows", "scales"


class WordPieces(StaticEmbedding):
    """sentence-transformers' table of rows, with the pieces that mark begin and end, so that no text is without any."""

    def preprocess(self, inputs: Sequence[str], prompt: str | None = None, **kwargs: Any) -> dict[str, torch.Tensor]:
        encoded = [one.ids for one in self.tokenizer.encode_batch(list(inputs))]
        starts = np.cumsum([0, *map(len, encoded[:-1])])
        return {"input_ids": torch.tensor([i for ids in encoded for i in ids]), "offsets": torch.from_numpy(starts)}


def table_model(tokenizer: Tokenizer, rows: np.ndarray, sparse: bool = False) -> SentenceTransformer:
    """A model to train, on the CPU. `rows`: float32 (vocabulary, d), copied. `sparse`: gradients are of those rows
    alone that a batch has touched, for an optimiser that can do with that."""
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_TOKENS)
    pieces = WordPieces(tokenizer, rows.copy())
    pieces.embedding.sparse = sparse
    return SentenceTransformer(modules=[pieces, Normalize()], device="cpu")


def is_table(model: SentenceTransformer) -> bool:
    return isinstance(model[0], WordPieces)


def table_rows(model: SentenceTransformer) -> np.ndarray:
    """float32 (vocabulary, d)."""
    return model[0].embedding.weight.detach().numpy()


def write_table(rows: np.ndarray, target: Path) -> None:
    """Writes the graph that `retriever.encoder.Encoder` runs: rows in int8, each with its largest number as scale."""
    scales = np.maximum(np.abs(rows).max(axis=1, keepdims=True), 1e-12).astype(np.float32) / 127
    whole = np.round(rows / scales).astype(np.int8)
    pieces = helper.make_tensor_value_info("input_ids", TensorProto.INT64, [1, "tokens"])
    vector = helper.make_tensor_value_info("vector", TensorProto.FLOAT, [1, rows.shape[1]])
    nodes = [
        helper.make_node("Gather", [_ROWS, "input_ids"], ["whole"]),
        helper.make_node("Gather", [_SCALES, "input_ids"], ["scale"]),
        helper.make_node("Cast", ["whole"], ["unscaled"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["unscaled", "scale"], ["row"]),
        helper.make_node("ReduceSum", ["row", "over"], ["sum"], keepdims=0),
        helper.make_node("LpNormalization", ["sum"], ["vector"], axis=-1, p=2),
    ]
    numbers = {_ROWS: whole, _SCALES: scales, "over": np.array([1], np.int64)}
    held = [numpy_helper.from_array(array, name) for name, array in numbers.items()]
    graph = helper.make_graph(nodes, "table", [pieces], [vector], held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    target.write_bytes(model.SerializeToString())


def read_table(directory: Path) -> SentenceTransformer:
    """The model to train that an encoder's folder holds. Raises ValueError: it is none, or its encoder no table."""
    if not (directory / MODEL).is_file():
        raise ValueError(f"{directory} is no encoder's folder: there is no {MODEL}; a model with layers wants --layers")
    held = {one.name: one for one in onnx.load(directory / MODEL).graph.initializer}
    if _ROWS not in held or _SCALES not in held:
        raise ValueError(f"{directory}: its encoder is no table of word pieces, which --layers 0 begins from")
    rows = numpy_helper.to_array(held[_ROWS]) * numpy_helper.to_array(held[_SCALES])
    return table_model(Tokenizer.from_file(str(directory / TOKENIZER)), rows, sparse=True)

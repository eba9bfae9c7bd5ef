"""What writing the encoder's graph ourselves is worth: transformers' own graph in int8 beside the one of this package.

    make bench-encoder-graphs        (two minutes)

Writes benchmarks/results/encoder-graphs.json. Both are smoothed and quantised by the same functions, and take turns.
"""

from __future__ import annotations

import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from tokenizers import Tokenizer
from torch import nn

from benchmarks.encoder.make_weights import PLAIN, requests
from benchmarks.quality.tables import keep, show
from retriever.encoder import MAX_TOKENS
from retriever.training.export import QUANTISATION, cosines, export_fp32, plain, quantise, smooth
from retriever.training.model import base_model, bert_of, load

ROUNDS = 40


class PaddedBatch(nn.Module):
    """As the library would export it: any number of texts, with a mask."""

    def __init__(self, bert: nn.Module) -> None:
        super().__init__()
        self.bert = bert

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        states = self.bert(
            input_ids=input_ids, attention_mask=attention_mask, token_type_ids=torch.zeros_like(input_ids)
        ).last_hidden_state
        weights = attention_mask.unsqueeze(-1).to(states.dtype)
        return nn.functional.normalize((states * weights).sum(1) / weights.sum(1).clamp(min=1.0), dim=-1)


def export_padded(bert: nn.Module, target: Path) -> None:
    sample = (torch.tensor([[101, 2054, 2003, 102], [101, 2054, 102, 0]]), torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]]))
    axes = {0: "batch", 1: "sequence"}
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            PaddedBatch(bert).eval(), sample, str(target), dynamo=False, opset_version=QUANTISATION["opset"],
            input_names=["input_ids", "attention_mask"], output_names=["vector"],
            dynamic_axes={"input_ids": axes, "attention_mask": axes, "vector": {0: "batch"}},
        )  # fmt: skip


class Graph:
    """A graph in int8, run as the encoder runs it."""

    def __init__(self, bert: nn.Module, export: Callable[[nn.Module, Path], None], folder: Path) -> None:
        fp32, int8, optimised = (folder / f"{export.__name__}.{kind}.onnx" for kind in ("fp32", "int8", "optimised"))
        export(bert, fp32)
        quantise(fp32, int8)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3  # it would say that the optimised graph is for this machine alone
        options.optimized_model_filepath = str(optimised)
        self._session = onnxruntime.InferenceSession(str(int8), options, providers=["CPUExecutionProvider"])
        self._masked = len(self._session.get_inputs()) > 1
        self.nodes = len(onnx.load(str(optimised)).graph.node)
        self.cpu_ms: list[float] = []

    def run(self, ids: np.ndarray) -> np.ndarray:
        fed = {"input_ids": ids} | ({"attention_mask": np.ones_like(ids)} if self._masked else {})
        return self._session.run(None, fed)[0][0]


def main() -> None:
    base = base_model()
    tokenizer = plain(Tokenizer.from_file(str(base / "tokenizer.json")))
    judged = [*requests(slice(3, None)), *PLAIN]
    reference = load(base)
    fp32 = reference.encode(judged, normalize_embeddings=True)
    bert = bert_of(reference).eval()
    smooth(bert, tokenizer, requests(slice(0, 3)))
    ids = [np.array([tokenizer.encode(text).ids[:MAX_TOKENS]], np.int64) for text in judged]
    with tempfile.TemporaryDirectory() as folder:
        graphs = {e.__name__: Graph(bert, e, Path(folder)) for e in (export_padded, export_fp32)}
        for _ in range(ROUNDS):
            for graph in graphs.values():
                begun = time.process_time()
                for each in ids[:50]:
                    graph.run(each)
                graph.cpu_ms.append((time.process_time() - begun) * 1000 / 50)
        found: dict[str, Any] = {
            name: {
                "nodes": graph.nodes,
                "cpu_ms_a_text": {"median": round(median(graph.cpu_ms), 3), "least": round(min(graph.cpu_ms), 3)},
                "cosine_to_fp32": cosines(np.stack([graph.run(each) for each in ids]), fp32),
            }
            for name, graph in (("transformers_own", graphs["export_padded"]), ("ours", graphs["export_fp32"]))
        }
    own, ours = (found[name]["cpu_ms_a_text"]["median"] for name in ("transformers_own", "ours"))
    rows = [
        (name, f["nodes"], f["cpu_ms_a_text"]["median"], f["cpu_ms_a_text"]["least"], f["cosine_to_fp32"]["minimum"])
        for name, f in found.items()
    ]
    show("The encoder's graph in int8", ("graph", "nodes", "CPU ms a text", "least", "least cosine to fp32"), rows)
    keep("encoder-graphs", found | {"cpu_of_ours_over_own": round(ours / own, 3)})


if __name__ == "__main__":
    main()

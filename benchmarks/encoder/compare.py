"""What training the encoder brings, by loss, batch size, depth, order and view.

Each variant is trained on the same part of a log, and judged on its last fifth: is a text that means what the user
wanted among the nearest by meaning alone? fp32; the trace of the Fisher information is watched in the orders. Variants
without layers see the same number of pairs; those with layers, which take far longer, fewer.

usage: python -m benchmarks.encoder.compare [--only TEXT]    (HABITBENCH: its folder; extra `train`; half an hour)
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from torch import nn

from benchmarks.encoder.sound_view import SoundView
from benchmarks.quality.tables import keep, percent, show
from benchmarks.quality.truth import folder
from mining.reader import read_log
from retriever.training.distil import teach
from retriever.training.losses import Loss
from retriever.training.model import base_model, load
from retriever.training.recall import KS, recall
from retriever.training.train import WITH_LAYERS, Order, Pairs, TrainSettings, train
from rewrite_service.encoder_training import material

FEW = 4_000
SEEN_WITH_LAYERS = 3_000
PLAIN = TrainSettings()
Variant = tuple[str, TrainSettings, int | None, nn.Module | None]


def variants() -> Iterator[Variant]:
    """Name, settings, how many pairs there are (None: all), further loss."""
    for loss in Loss:
        for batch in (64, 256):
            yield f"{loss}, batch {batch}", replace(PLAIN, loss=loss, batch=batch), None, None
    for loss in Loss:
        yield f"{loss}, batch 64, {FEW} pairs twenty times", replace(PLAIN, loss=loss, batch=64), FEW, None
    yield "not held near the base", replace(PLAIN, stay_near=0.0), None, None
    for order in Order:
        yield f"order: {order}", replace(PLAIN, order=order, fisher_every=40), None, None
    yield "with a sound view", PLAIN, None, SoundView()
    yield "sound view, feature separation", PLAIN, None, SoundView(separation=0.1)
    yield "sound view, Brownian bridge", PLAIN, None, SoundView(bridge=0.25)
    yield "sound view, geometric consistency", PLAIN, None, SoundView(geometry=1.0)
    for layers in (6, 3):
        yield f"{layers} layers", replace(WITH_LAYERS, layers=layers, pairs_seen=SEEN_WITH_LAYERS), None, None


class InFp32:
    """A model under training, as an encoder."""

    def __init__(self, model: SentenceTransformer) -> None:
        self._model = model.eval()

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        return teach(self._model, texts)


def few(pairs: Pairs, count: int) -> Pairs:
    chosen = np.sort(np.random.default_rng(0).permutation(len(pairs.heard))[:count])
    return Pairs(
        [pairs.heard[i] for i in chosen], [pairs.meant[i] for i in chosen], pairs.goal[chosen], pairs.clean[chosen]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="variants whose name holds this text; writes no results")
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    found = material(read_log([folder() / "log.jsonl.gz"]).turns)
    print(f"{len(found.pairs.heard)} pairs, {len(found.judged)} failures, {len(found.texts)} texts", flush=True)
    results: dict[str, dict] = {}

    def judge(name: str, model: SentenceTransformer, seconds: float, fisher: Sequence[tuple[int, float]]) -> None:
        with torch.no_grad():
            figures = recall(InFp32(model), found.judged, found.texts)
        results[name] = {**figures, "seconds": round(seconds), "fisher_trace": [(s, round(t, 1)) for s, t in fisher]}
        print(f"{name:50}", results[name], flush=True)

    torch.set_num_threads(asked.threads)
    judge("not trained", load(base_model(0), 0), 0.0, ())
    judge("6 layers, not trained", load(base_model()), 0.0, ())
    with tempfile.TemporaryDirectory(prefix="query-rewrite-encoders-") as place:
        for name, settings, count, auxiliary in variants():
            if asked.only not in name:
                continue
            pairs = found.pairs if count is None else few(found.pairs, count)
            checkpoint = Path(place) / "checkpoint.pt"
            torch.manual_seed(0)
            model, history = train(
                base_model(settings.layers), pairs, settings, checkpoint, threads=asked.threads, auxiliary=auxiliary
            )
            checkpoint.unlink()
            judge(name, model, history.seconds, history.fisher)
    rows = [(n, *(percent(r[f"recall@{k}"]) for k in KS), r["seconds"]) for n, r in results.items()]
    show("by meaning alone, held-out days", ("", "recall@1", "@5", "@20", "seconds"), rows)
    if not asked.only:
        seen = {"pairs_seen": PLAIN.pairs_seen, "pairs_seen_with_layers": SEEN_WITH_LAYERS}
        keep("encoders", {**seen, "pairs": len(found.pairs.heard), "results": results})


if __name__ == "__main__":
    main()

"""Would a cross-encoder over query and candidate help the ranker? One is trained on early days of a log, and its score
of the best few candidates becomes a feature on later days; the ranker with and without it, on the last days. The
later days' ranker without it learns from less than the score does, so one that learns from all days is judged as well.

usage: python -m benchmarks.encoder.cross      (HABITBENCH: its folder; extra `train`; half an hour on one core)
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import torch
from sentence_transformers import CrossEncoder

from benchmarks.quality.further_feature import judge, with_column
from benchmarks.quality.tables import keep, percent, show
from benchmarks.quality.truth import folder
from mining.reader import read_log
from mining.sessions import by_user
from ranker.model import NEEDLESS, WIN, RankerModel
from retriever.encoder import Encoder
from retriever.training.model import base_model
from retriever.vector_cache import CachedEncoder
from rewrite_service import learning
from rewrite_service.build import BuildSettings
from rewrite_service.examples import Example, Replay
from rewrite_service.side_by_side import replayed

BEST = 3
EARLY = 4
PAIRS, BATCH, RATE = 8_000, 32, 5e-5


def best_few(some: Sequence[Example], model: RankerModel) -> list[np.ndarray]:
    """For each example the rows of its candidates that are likeliest to win, the query itself left out."""
    return [1 + np.argsort(-model.predict(e.x)[1:, WIN])[:BEST] if len(e.candidates) > 1 else np.zeros(0, int)
            for e in some]  # fmt: skip


def train(some: Sequence[Example], few: Sequence[np.ndarray]) -> CrossEncoder:
    """Learns whether a candidate is what was meant, from examples whose wish is known."""
    rng = np.random.default_rng(1)
    pairs, labels = [], []
    for e, rows in zip(some, few, strict=True):
        if e.goal.known and not e.masked:
            pairs += [(e.candidates[0].text, e.candidates[row].text) for row in rows]
            labels += [float(e.outcome[row] in (WIN, NEEDLESS)) for row in rows]
    wins = [i for i, label in enumerate(labels) if label]
    others = [i for i, label in enumerate(labels) if not label]
    chosen = rng.choice(wins, PAIRS // 2), rng.choice(others, PAIRS // 2)
    order = rng.permutation(np.concatenate(chosen))
    model = CrossEncoder(str(base_model()), num_labels=1, max_length=48, device="cpu", local_files_only=True)
    optimiser = torch.optim.AdamW(model.model.parameters(), lr=RATE)
    steps = len(order) // BATCH
    model.model.train()
    for step in range(steps):
        rows = order[step * BATCH : (step + 1) * BATCH]
        for group in optimiser.param_groups:
            group["lr"] = RATE * min(1.0, (step + 1) / (0.1 * steps)) * (1 - step / steps)
        features = model.tokenizer([pairs[i][0] for i in rows], [pairs[i][1] for i in rows], padding=True,
                                   truncation=True, max_length=48, return_tensors="pt")  # fmt: skip
        logits = model.model(**features).logits[:, 0]
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, torch.tensor([labels[i] for i in rows]))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % 50 == 0:
            print(f"step {step} of {steps}, loss {loss.item():.3f}", flush=True)
    model.model.eval()
    return model


def scored(some: Sequence[Example], few: Sequence[np.ndarray], model: CrossEncoder) -> list[Example]:
    """The examples with the score as a further column; NaN for candidates that are not among the best few."""
    pairs = [(e.candidates[0].text, e.candidates[row].text) for e, rows in zip(some, few, strict=True) for row in rows]
    values = iter(model.predict(pairs, batch_size=64, show_progress_bar=False).tolist())
    of = {id(e): rows for e, rows in zip(some, few, strict=True)}

    def column(e: Example) -> np.ndarray:
        out = np.full(len(e.x), np.nan, np.float32)
        out[of[id(e)]] = [next(values) for _ in of[id(e)]]
        return out

    return with_column(some, column)


def main() -> None:
    torch.set_num_threads(1)
    settings = BuildSettings()
    people = by_user(read_log([folder() / "log.jsonl.gz"]).turns)
    meaning = CachedEncoder(Encoder(), Encoder.DIMENSION, 1 << 30)
    replay = Replay.of(people, meaning, blocks=settings.blocks, min_people=settings.min_people)
    made = replayed(replay, settings.threads)
    # What the score knows of the early days, a ranker may learn from them itself: the fairer rival.
    results = {"without, learned from all days": judge(made)}
    early, late = [e for e in made if e.block < EARLY], [e for e in made if e.block >= EARLY]
    first = learning.fit(early)
    began = time.monotonic()
    cross = train(early, best_few(early, first))
    trained_s = time.monotonic() - began
    few = best_few(late, first)
    results |= {"without": judge(late), "with": judge(scored(late, few, cross))}
    show("the ranker on the last days", ("", "reduction", "wins : harms", "Brier score of WRONG"),
         [(n, percent(r["reduction"]), r["wins_per_harm"], r["brier_wrong"]) for n, r in results.items()])  # fmt: skip
    keep("cross-encoder", {"best": BEST, "pairs": PAIRS, "train_seconds": round(trained_s), "results": results})


if __name__ == "__main__":
    main()

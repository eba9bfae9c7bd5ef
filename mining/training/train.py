"""Trains the model that marks rephrases, with checkpoints: whatever stops it, the same call goes on where it was."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mining.dialogue import PAIR_FEATURES, Batch, batch
from mining.dialogue_examples import Example
from mining.training.pointer import Pointer, Pointers, bin_edges
from retriever.training import checkpoint as checkpoints
from retriever.training.checkpoint import CHECKPOINT_EVERY_S

_TOGETHER = 16
"""Batches of a stretch whose examples are sorted by length, so that little of a batch is filling."""
_EDGES_FROM = 4000


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """`passes`: over all examples. `members`: models that are averaged. `layers`: of attention. `batch`: dialogues a
    step. `shown`: further dialogues that are made of each that holds a rephrase (see `mining.dialogue_examples`)."""

    passes: int = 4
    members: int = 3
    layers: int = 1
    batch: int = 64
    learning_rate: float = 2e-3
    dropout: float = 0.2
    shown: int = 2
    seed: int = 7

    def steps(self, examples: int) -> int:
        return self.passes * -(-examples // self.batch)


def train(
    examples: Sequence[Example],
    vectors: Mapping[str, np.ndarray],
    settings: TrainSettings,
    checkpoint: Path,
    *,
    threads: int = 2,
    progress: Callable[[int], None] = lambda n: None,
    checkpoint_every_s: float = CHECKPOINT_EVERY_S,
) -> tuple[Pointers, list[float]]:
    """The model trained on the examples, in evaluation mode, and the loss of every step. `vectors`: of all texts.

    `checkpoint`: file that holds the state while it runs, replaced in one step every minute and on Ctrl-C; where there
    is one of the same settings and examples, training goes on from it, else it begins anew. The caller removes it.
    `progress` is called with the steps done since its last call, those of an earlier run included.
    """
    torch.set_num_threads(threads)
    torch.manual_seed(settings.seed)
    model = untrained(examples, vectors, settings)
    optimiser = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, weight_decay=0.01)
    identity = {
        "settings": {name: str(value) for name, value in asdict(settings).items()},
        "inputs": _fingerprint(examples, vectors),
    }
    state: dict[str, Any] = checkpoints.restore(checkpoint, identity) or {"done": 0, "losses": []}
    if state["done"]:
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
    done, losses = state["done"], list(state["losses"])

    def save() -> None:
        kept = {"done": done, "losses": losses, "model": model.state_dict(), "optimiser": optimiser.state_dict()}
        checkpoints.save(checkpoint, identity, kept)

    progress(done)
    model.train()
    steps, lengths = settings.steps(len(examples)), np.array([len(e.goal) for e in examples])
    saved = time.monotonic()
    try:
        while done < steps:
            rows = _rows_of(done, lengths, settings)
            for group in optimiser.param_groups:
                group["lr"] = settings.learning_rate * _rate(done, steps)
            value = _loss(model, [examples[i] for i in rows], vectors)
            optimiser.zero_grad()
            value.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            losses.append(round(value.item() / settings.members, 4))
            done += 1
            progress(1)
            if time.monotonic() - saved >= checkpoint_every_s:
                save()
                saved = time.monotonic()
    finally:  # Ctrl-C as well: what was learned so far is kept
        save()
    return model.eval(), losses


def untrained(examples: Sequence[Example], vectors: Mapping[str, np.ndarray], settings: TrainSettings) -> Pointers:
    """The model before training; its bins are cut by some of the examples."""
    some = [e.dialogue for e in examples[:: max(1, len(examples) // _EDGES_FROM)]]
    turns = np.concatenate([d.turns for d in some])
    pairs = np.concatenate([_pairs(batch([d], vectors)) for d in some])
    size = len(next(iter(vectors.values())))
    edges = bin_edges(turns), bin_edges(pairs)
    members = [Pointer(*edges, size, settings.layers, settings.dropout) for _ in range(settings.members)]
    return Pointers(members)


def _pairs(b: Batch) -> np.ndarray:
    """(n, PAIR_FEATURES): of the pairs that there are, in a batch of one dialogue."""
    return b.pairs[0][np.triu_indices(b.pairs.shape[1], 1)].reshape(-1, len(PAIR_FEATURES))


def _rows_of(step: int, lengths: np.ndarray, settings: TrainSettings) -> np.ndarray:
    """The examples of a step, int64: each pass is a shuffle of its own, made from the seed alone, so that a run that
    was stopped goes on with the same ones. Those of a step have about one length."""
    a_pass = -(-len(lengths) // settings.batch)
    dice = np.random.default_rng((settings.seed, step // a_pass))
    order = dice.permutation(len(lengths))
    stretch = _TOGETHER * settings.batch
    parts = [order[at : at + stretch] for at in range(0, len(order), stretch)]
    order = np.concatenate([part[np.argsort(lengths[part], kind="stable")] for part in parts])
    nth = dice.permutation(a_pass)[step % a_pass]
    chosen: np.ndarray = order[nth * settings.batch : (nth + 1) * settings.batch]
    return chosen


def _rate(step: int, steps: int) -> float:
    return min((step + 1) / max(1.0, 0.1 * steps), max(0.02, 1 - step / steps))


def _loss(model: Pointers, examples: Sequence[Example], vectors: Mapping[str, np.ndarray]) -> torch.Tensor:
    """The members' summed cross-entropies, weighted by turn."""
    b = batch([e.dialogue for e in examples], vectors)
    shape = b.there.shape
    column, weight = np.zeros(shape, np.int64), np.zeros(shape, np.float32)
    for row, e in enumerate(examples):
        column[row, : len(e.goal)] = np.array(e.goal) + 1
        weight[row, : len(e.goal)] = e.weight
    each = model.each(*(torch.from_numpy(a) for a in (b.vectors, b.turns, b.pairs, b.there)))
    at = torch.from_numpy(column)[None, :, :, None].expand(len(each), -1, -1, 1)
    losses = -each.gather(3, at).squeeze(-1) * torch.from_numpy(weight)
    return losses.sum() / max(1.0, float(weight.sum()))


def _fingerprint(examples: Sequence[Example], vectors: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for e in examples:
        digest.update(e.dialogue.turns.tobytes() + e.dialogue.pairs.tobytes())
        digest.update(repr((e.dialogue.texts, e.goal, e.weight)).encode("utf-8", "replace"))
    for text in sorted(vectors):
        digest.update(vectors[text].tobytes())
    return digest.hexdigest()

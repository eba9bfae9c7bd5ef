"""Trains the encoder on pairs of texts, with checkpoints: whatever stops it, the same call goes on where it was.

A loop of our own rather than sentence-transformers' Trainer, which needs two more libraries (datasets, accelerate) and
neither keeps a loss's own state in its checkpoints nor offers the order of the pairs or the Fisher information.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from torch import nn

from retriever.encoder import MODEL, TOKENIZER
from retriever.training import checkpoint as checkpoints
from retriever.training.checkpoint import CHECKPOINT_EVERY_S
from retriever.training.losses import ContrastiveLoss, Loss
from retriever.training.model import embed, load

_FROM_SCRATCH = 1e-3
"""At its highest, the learning rate of an auxiliary loss's own parameters, which begin with nothing learned."""


class Order(StrEnum):
    """Which pairs come first. Achille et al. 2019 ("Critical learning periods in deep networks"): what is learned
    early stays."""

    MIXED = "mixed"
    CLEAN_FIRST = "clean-first"
    MISHEARD_FIRST = "misheard-first"


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """As it stands for a table of word pieces; `WITH_LAYERS` is for the other kind.

    `pairs_seen`: in all, so that settings compare at equal work. `layers`: 0: a table; else so many of the base
    model's; None: all. `learning_rate`: at its highest. A table's rows each see few texts, and want larger steps.
    `stay_near`: weight of 1 - cosine to the base model's vector of the text that was meant; it keeps what the base
    model knows of meaning. `warm_up`: share of the steps in which the learning rate rises; it falls in the others.
    `fisher_every`: steps between estimates of the trace of the Fisher information; 0: none."""

    loss: Loss = Loss.IN_BATCH
    batch: int = 256
    pairs_seen: int = 80_000
    layers: int | None = 0
    learning_rate: float = 2e-2
    temperature: float = 0.05
    stay_near: float = 1.0
    order: Order = Order.MIXED
    warm_up: float = 0.1
    seed: int = 7
    fisher_every: int = 0

    @property
    def steps(self) -> int:
        return max(1, self.pairs_seen // self.batch)


WITH_LAYERS = TrainSettings(batch=16, pairs_seen=20_000, layers=None, learning_rate=3e-5)


@dataclass(frozen=True, slots=True)
class Pairs:
    """What is trained on: row i says that `heard`[i] means `meant`[i]. `goal`: int64, the number of its meaning.
    `clean`: bool, whether both texts say what they mean, in other words. All of one length, >= 2."""

    heard: Sequence[str]
    meant: Sequence[str]
    goal: np.ndarray
    clean: np.ndarray


@dataclass(slots=True)
class History:
    """What was seen while training: the loss of every step, and (step, trace of the Fisher information)."""

    losses: list[float] = field(default_factory=list)
    fisher: list[tuple[int, float]] = field(default_factory=list)
    seconds: float = 0.0


def rows_of(step: int, pairs: Pairs, settings: TrainSettings) -> np.ndarray:
    """The pairs of a step, int64 (batch,): each pass over all pairs is a shuffle of its own, made from the seed alone,
    so that a run that was stopped goes on with the same ones."""
    n, first = len(pairs.heard), step * settings.batch
    out: list[int] = []
    for at in range(first, first + settings.batch):
        if not out or at % n == 0:
            passed = _shuffled(at // n, pairs, settings)
        out.append(passed[at % n])
    return np.array(out)


def _shuffled(epoch: int, pairs: Pairs, settings: TrainSettings) -> np.ndarray:
    shuffled = np.random.default_rng((settings.seed, epoch)).permutation(len(pairs.heard))
    if settings.order is Order.MIXED:
        return shuffled
    last = pairs.clean[shuffled] ^ (settings.order is Order.CLEAN_FIRST)
    return shuffled[np.argsort(last, kind="stable")]


def train(
    base: Path,
    pairs: Pairs,
    settings: TrainSettings,
    checkpoint: Path,
    *,
    threads: int = 2,
    auxiliary: nn.Module | None = None,
    progress: Callable[[int], None] = lambda n: None,
    checkpoint_every_s: float = CHECKPOINT_EVERY_S,
) -> tuple[SentenceTransformer, History]:
    """The model of `base` trained on the pairs, in evaluation mode, and how it went.

    `checkpoint`: file that holds the state while it runs, replaced in one step every minute and on Ctrl-C; where there
    is one of the same settings, pairs and base, training goes on from it, else it begins anew. The caller removes it.
    `auxiliary`: a further loss with parameters of its own, called with the texts that were heard, those that were
    meant, and the vectors of both. `progress` is called with the steps done since its last call, those of an earlier
    run included. Raises ValueError where the base has too few layers.
    """
    torch.set_num_threads(threads)
    torch.manual_seed(settings.seed)
    model = load(base, settings.layers)
    teacher = load(base, 0 if settings.layers == 0 else None).eval() if settings.stay_near else None
    loss = ContrastiveLoss(
        settings.loss, len(pairs.heard), len(set(pairs.goal.tolist())), settings.temperature, seed=settings.seed
    )
    # Of a table a batch touches some hundred rows of thirty thousand: the others cost nothing.
    adam = torch.optim.SparseAdam if settings.layers == 0 else torch.optim.AdamW
    optimisers = [(adam(list(model.parameters()), lr=settings.learning_rate), settings.learning_rate)]
    if auxiliary is not None:
        optimisers.append((torch.optim.AdamW(auxiliary.parameters(), lr=_FROM_SCRATCH), _FROM_SCRATCH))
    run = _Run(settings, _fingerprint(base, pairs), model, [o for o, _ in optimisers], loss, auxiliary)
    done = run.restore(checkpoint)
    progress(done)
    model.train()
    saved = began = time.monotonic()
    before = run.history.seconds
    try:
        for step in range(done, settings.steps):
            rows = rows_of(step, pairs, settings)
            heard, meant = [pairs.heard[i] for i in rows], [pairs.meant[i] for i in rows]
            for optimiser, highest in optimisers:
                optimiser.zero_grad()
                for group in optimiser.param_groups:
                    group["lr"] = highest * _rate(step, settings)
            x, y = embed(model, heard), embed(model, meant)
            value = loss(x, y, torch.from_numpy(pairs.goal[rows]), torch.from_numpy(rows))
            if teacher is not None:
                with torch.no_grad():
                    taught = embed(teacher, meant)
                value = value + settings.stay_near * (1 - (y * taught).sum(1)).mean()
            if auxiliary is not None:
                value = value + auxiliary(heard, meant, x, y)
            value.backward()
            if settings.layers != 0:
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for optimiser, _ in optimisers:
                optimiser.step()
            run.history.losses.append(round(value.item(), 4))
            if settings.fisher_every and step % settings.fisher_every == 0:
                run.history.fisher.append((step, fisher_trace(model, heard, meant, settings.temperature, step)))
            run.done = step + 1
            run.history.seconds = before + time.monotonic() - began
            progress(1)
            if time.monotonic() - saved >= checkpoint_every_s:
                run.save(checkpoint)
                saved = time.monotonic()
    except BaseException:  # Ctrl-C as well: what was learned so far is kept
        run.save(checkpoint)
        raise
    run.save(checkpoint)
    return model.eval(), run.history


def _rate(step: int, settings: TrainSettings) -> float:
    rising = max(1, round(settings.warm_up * settings.steps))
    return min((step + 1) / rising, (settings.steps - step) / max(1, settings.steps - rising))


def fisher_trace(
    model: SentenceTransformer, heard: Sequence[str], meant: Sequence[str], temperature: float, seed: int
) -> float:
    """An estimate of the trace of the Fisher information of p(meant | heard) over a batch, >= 0: B times the squared
    length of the gradient of the mean log likelihood of targets drawn from the model itself, dropout off."""
    training = model.training
    model.eval()
    copied = [p.grad for p in model.parameters()]
    for p in model.parameters():
        p.grad = None
    logs = torch.log_softmax(embed(model, heard) @ embed(model, meant).T / temperature, dim=1)
    dice = torch.Generator().manual_seed(seed)
    drawn = torch.multinomial(logs.detach().exp(), 1, generator=dice)
    logs.gather(1, drawn).mean().backward()
    squares = sum(float((_dense(p.grad) ** 2).sum()) for p in model.parameters() if p.grad is not None)
    for p, grad in zip(model.parameters(), copied, strict=True):
        p.grad = grad
    model.train(training)
    return len(heard) * squares


def _dense(gradient: torch.Tensor) -> torch.Tensor:
    """Of a table, of the rows that were touched."""
    return gradient.coalesce().values() if gradient.is_sparse else gradient


def _fingerprint(base: Path, pairs: Pairs) -> str:
    digest = hashlib.sha256()
    for name in ("config.json", "model.safetensors", MODEL, TOKENIZER):
        if (base / name).is_file():
            digest.update((base / name).read_bytes())
    for part in (pairs.heard, pairs.meant):
        digest.update("\n".join(part).encode())
    digest.update(pairs.goal.tobytes() + pairs.clean.tobytes())
    return digest.hexdigest()


@dataclass(slots=True)
class _Run:
    """A training under way: all that a checkpoint holds."""

    settings: TrainSettings
    fingerprint: str
    model: SentenceTransformer
    optimisers: Sequence[torch.optim.Optimizer]
    loss: ContrastiveLoss
    auxiliary: nn.Module | None = None
    history: History = field(default_factory=History)
    done: int = 0

    def _identity(self) -> dict[str, Any]:
        settings = {k: str(v) for k, v in asdict(self.settings).items()}
        return {"settings": settings, "inputs": self.fingerprint, "auxiliary": repr(self.auxiliary)}

    def save(self, place: Path) -> None:
        state = {
            "done": self.done,
            "model": self.model.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "loss": self.loss.state(),
            "auxiliary": None if self.auxiliary is None else self.auxiliary.state_dict(),
            "history": asdict(self.history),
        }
        checkpoints.save(place, self._identity(), state)

    def restore(self, place: Path) -> int:
        """Steps that were done already: 0 where there is no checkpoint, or one of another run."""
        state = checkpoints.restore(place, self._identity())
        if state is None:
            return 0
        self.model.load_state_dict(state["model"])
        for optimiser, held in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(held)
        self.loss.restore(state["loss"])
        if self.auxiliary is not None:
            self.auxiliary.load_state_dict(state["auxiliary"])
        history = state["history"]
        self.history = History(history["losses"], [tuple(x) for x in history["fisher"]], history["seconds"])
        self.done = state["done"]
        return self.done

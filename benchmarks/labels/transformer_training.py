"""Trains the dialogue transformer: first without labels, to tell turns of a dialogue from turns that were swapped in
from elsewhere, then on the tasks that it is for, all at once or only some of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import torch
from torch import nn

from benchmarks.labels.dialogue_transformer import BATCH, DialogueTransformer, TransformerModel, arrays, vectors_of
from benchmarks.labels.transformer_examples import PointEvidence, Shown, WeakPoints, swapped_in, told
from mining.dialogue import PAIR_FEATURES, Dialogue, Encode, batch
from mining.dialogue_examples import Person
from mining.labels.usual import Usual
from mining.training.pointer import bin_edges

MEMBERS = 2
PRETRAINED, PASSES, RATE = 2, 4, 2e-3
_EDGES_FROM = 3000
_TOGETHER = 16


class Task(StrEnum):
    """What is learned of a dialogue."""

    SWAPPED = "swapped"
    SERVED = "served"
    SAME = "same"
    POINT = "point"


GOALS = frozenset((Task.SERVED, Task.SAME))
FAILURE_POINTS = frozenset((Task.POINT,))
ALL = GOALS | FAILURE_POINTS


@dataclass(frozen=True)
class Lessons:
    """All that is learned from, made once for whatever is trained. `rounds`: passes over dialogues with turns swapped
    in, each with others. `edges`: of the bins of turns, pairs and point features. `vectors`: of all texts."""

    known: Sequence[Shown]
    rounds: Sequence[Sequence[Shown]]
    edges: tuple[np.ndarray, np.ndarray, np.ndarray]
    vectors: Mapping[str, np.ndarray]
    encode: Encode
    evidence: PointEvidence
    seed: int

    @classmethod
    def of(cls, people: Mapping[str, Person], usual: Usual, encode: Encode, until_ms: int, seed: int) -> Lessons:
        """From the dialogues before `until_ms`."""
        points = WeakPoints.of(until(people, until_ms), usual)
        known = list(told(people, points, seed, until_ms))
        rounds = [list(swapped_in(people, seed + n, until_ms)) for n in range(PRETRAINED)]
        vectors = vectors_of([one.dialogue for of in (known, *rounds) for one in of], encode)
        some = known[:: max(1, len(known) // _EDGES_FROM)]
        edges = (
            bin_edges(np.concatenate([one.dialogue.turns for one in some])),
            bin_edges(np.concatenate([_pairs(one.dialogue, vectors) for one in some])),
            _edges_of_known(np.concatenate([one.evidence for one in some])),
        )
        return cls(known, rounds, edges, vectors, encode, points.how, seed)

    def model(self, member: int) -> DialogueTransformer:
        """Untrained; the same for the same member."""
        torch.manual_seed(self.seed + member)
        return DialogueTransformer(*self.edges, len(next(iter(self.vectors.values()))))

    def pretrained(self) -> list[DialogueTransformer]:
        """Members that have learned which turns were swapped in, and nothing else."""
        models = [self.model(n) for n in range(MEMBERS)]
        for model in models:
            self._train(model, self.rounds, {Task.SWAPPED}, False)
        return models

    def trained(
        self, tasks: Collection[Task], begun: Sequence[DialogueTransformer] | None, by_dialogue_alone: bool = False
    ) -> TransformerModel:
        """`begun`: what was pretrained, which is left as it is; None: without. `by_dialogue_alone`: where turns fail is
        told by what the dialogue's numbers and sentence vectors say of it, and by nothing that LightGBM has beside."""
        members = []
        for n in range(MEMBERS):
            model = self.model(n)
            if begun is not None:
                model.load_state_dict(begun[n].state_dict())
            self._train(model, [self.known] * PASSES, tasks, by_dialogue_alone)
            members.append(model.eval())
        return TransformerModel(members, self.encode, None if by_dialogue_alone else self.evidence)

    def _train(
        self, model: DialogueTransformer, rounds: Sequence[Sequence[Shown]], tasks: Collection[Task], blind: bool
    ) -> None:
        """A pass over each round, the rate rising first and then falling to nothing."""
        torch.set_num_threads(1)  # more threads wait for each other wherever the machine has other work
        optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.01)
        steps = [rows for n, shown in enumerate(rounds) for rows in _steps(shown, self.seed + n)]
        model.train()
        for n, rows in enumerate(steps):
            for group in optimiser.param_groups:
                group["lr"] = RATE * min((n + 1) / max(1.0, 0.1 * len(steps)), max(0.02, 1 - n / len(steps)))
            optimiser.zero_grad()
            lost = _loss(model, rows, self.vectors, tasks, blind)
            if lost.requires_grad:
                lost.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimiser.step()


def until(people: Mapping[str, Person], until_ms: int) -> dict[str, Person]:
    """Everybody's turns before that moment."""
    out = {}
    for user, (turns, evidence) in people.items():
        n = sum(turn.request.timestamp_ms < until_ms for turn in turns)
        out[user] = turns[:n], evidence[:n]
    return out


def _pairs(d: Dialogue, vectors: Mapping[str, np.ndarray]) -> np.ndarray:
    return batch([d], vectors).pairs[0][np.triu_indices(len(d.texts), 1)].reshape(-1, len(PAIR_FEATURES))


def _edges_of_known(rows: np.ndarray) -> np.ndarray:
    """`bin_edges` of columns with gaps."""
    columns = ((column[np.isfinite(column)], np.zeros(1, np.float32)) for column in rows.T)
    return np.concatenate([bin_edges((known if len(known) else none)[:, None]) for known, none in columns])


def _steps(shown: Sequence[Shown], seed: int) -> list[list[Shown]]:
    """Batches in an order that the seed shuffles, of dialogues of about one length."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(shown)).tolist()
    stretch = _TOGETHER * BATCH
    parts = [
        sorted(order[at : at + stretch], key=lambda i: len(shown[i].dialogue.texts))
        for at in range(0, len(order), stretch)
    ]
    rows = [i for part in parts for i in part]
    batches = [[shown[i] for i in rows[at : at + BATCH]] for at in range(0, len(rows), BATCH)]
    return [batches[i] for i in rng.permutation(len(batches))]


def _loss(
    model: DialogueTransformer,
    rows: Sequence[Shown],
    vectors: Mapping[str, np.ndarray],
    tasks: Collection[Task],
    blind: bool,
) -> torch.Tensor:
    evidence = [np.full_like(one.evidence, np.nan) if blind else one.evidence for one in rows]
    *out, points = model(*arrays([one.dialogue for one in rows], evidence, vectors))
    longest = points.shape[1]
    total = torch.zeros(())
    for logits, task in zip(out, (Task.SWAPPED, Task.SERVED, Task.SAME), strict=True):
        if task not in tasks:
            continue
        target = np.stack([_filled(getattr(one, task), longest) for one in rows])
        weight = np.isfinite(target).astype(np.float32)
        if task is Task.SAME:
            weight *= np.stack([np.nan_to_num(_filled(one.weight, longest)) for one in rows])
        if weight.any():
            wanted, counts = torch.from_numpy(np.nan_to_num(target)), torch.from_numpy(weight)
            lost = nn.functional.binary_cross_entropy_with_logits(logits, wanted, counts, reduction="sum")
            total = total + lost / float(weight.sum())
    if Task.POINT in tasks:
        # What each failure point weighs as the label of each turn is also what it counts.
        padded = [np.pad(one.point, ((0, longest - len(one.point)), (0, 0))) for one in rows]
        wanted = torch.from_numpy(np.stack(padded))
        if wanted.any():
            total = total - (wanted * points.log_softmax(-1)).sum() / wanted.sum()
    return total


def _filled(values: np.ndarray, longest: int) -> np.ndarray:
    out = np.full((longest,) * values.ndim, np.nan, np.float32)
    out[tuple(slice(n) for n in values.shape)] = values
    return out

"""A transformer over the turns of a dialogue that tells which turns pursue one goal, which served, and where the others
failed: what LightGBM on pairs, and on turns, is compared with.

Each turn is its sentence vector (the service's own encoder), its feedback, its outcome and the pauses around it; turns
attend to each other, drawn together or apart by the numbers of each pair, time between them among them. Where a turn
failed is told with what the LightGBM of failure points sees of it beside that. Needs torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

from benchmarks.labels.transformer_examples import PointEvidence, alone
from mining.defects import TurnEvidence
from mining.dialogue import Dialogue, Encode, Window, batch, dialogue, windows
from mining.labels.failure_points import possible
from mining.labels.goal_model import Links
from mining.labels.point_features import NAMES
from mining.labels.sights import sights
from mining.labels.turn_label import POINTS
from mining.training.pointer import WIDTH, Bins, Layer
from retriever.interaction import Interaction

LAYERS, DROPOUT, BATCH = 2, 0.2, 64
_FAR = -1e4


class DialogueTransformer(nn.Module):
    """From the arrays of `mining.dialogue.Batch`, and `evidence`, float32 (n, turns, NAMES) of
    `mining.labels.point_features`, to logits, float32: (n, turns) that a turn was swapped in, (n, turns) that it
    served, (n, turns, turns) that the later turn (column) pursues what the earlier one did, (n, turns, POINTS) where it
    failed. `turn_edges`, `pair_edges`, `point_edges`: see `mining.training.pointer.bin_edges`."""

    def __init__(self, turn_edges: np.ndarray, pair_edges: np.ndarray, point_edges: np.ndarray, vector: int) -> None:
        super().__init__()
        self.turn_bins, self.pair_bins, self.point_bins = Bins(turn_edges), Bins(pair_edges), Bins(point_edges)
        turn, pair = self.turn_bins.size, self.pair_bins.size
        self.facts, self.meaning = nn.Linear(turn, WIDTH), nn.Linear(vector, WIDTH)
        self.layers = nn.ModuleList(Layer(pair, DROPOUT) for _ in range(LAYERS))
        self.last = nn.LayerNorm(WIDTH)
        self.swapped, self.served = nn.Linear(WIDTH, 1), nn.Linear(WIDTH + turn, 1)
        self.earlier, self.later = nn.Linear(WIDTH + turn, WIDTH), nn.Linear(WIDTH + turn, WIDTH)
        self.pair = nn.Sequential(nn.Linear(pair, WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH))
        self.score = nn.Sequential(
            nn.GELU(), nn.Dropout(DROPOUT), nn.Linear(WIDTH, WIDTH), nn.GELU(), nn.Linear(WIDTH, 1)
        )
        self.point = nn.Sequential(
            nn.Linear(WIDTH + turn + self.point_bins.size + len(NAMES), WIDTH),
            nn.GELU(),
            nn.Dropout(DROPOUT),
            nn.Linear(WIDTH, len(POINTS)),
        )

    def forward(
        self,
        vectors: torch.Tensor,
        turns: torch.Tensor,
        pairs: torch.Tensor,
        there: torch.Tensor,
        evidence: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        facts, pairs = self.turn_bins(turns), self.pair_bins(pairs)
        x = self.facts(facts) + self.meaning(vectors)
        both, far = torch.cat([pairs, pairs.transpose(1, 2)], dim=-1), ((1 - there) * _FAR)[:, None, None, :]
        for layer in self.layers:
            x = layer(x, both, far)
        x = self.last(x)
        each = torch.cat([x, facts], dim=-1)
        hidden = self.earlier(each)[:, :, None] + self.later(each)[:, None] + self.pair(pairs)
        unknown = evidence.isnan()
        seen = torch.cat([each, self.point_bins(evidence).nan_to_num(0.0), unknown.to(x.dtype)], dim=-1)
        return (
            self.swapped(x).squeeze(-1),
            self.served(each).squeeze(-1),
            self.score(hidden).squeeze(-1),
            self.point(seen),
        )


def arrays(
    dialogues: Sequence[Dialogue], evidence: Sequence[np.ndarray], vectors: Mapping[str, np.ndarray]
) -> list[torch.Tensor]:
    """What the model takes of some dialogues. `evidence`: float32 (turns, NAMES) of each; NaN where there is none."""
    b = batch(dialogues, vectors)
    rows = np.full((*b.turns.shape[:2], len(NAMES)), np.nan, np.float32)
    for row, own in zip(rows, evidence, strict=True):
        row[: len(own)] = own
    return [torch.from_numpy(a) for a in (b.vectors, b.turns, b.pairs, b.there, rows)]


def vectors_of(dialogues: Sequence[Dialogue], encode: Encode) -> dict[str, np.ndarray]:
    texts = list(dict.fromkeys(text for d in dialogues for text in d.texts))
    return dict(zip(texts, encode(texts), strict=True))


@dataclass(frozen=True, slots=True)
class Told:
    """Of one user's turns: `links`; by turn, `served`, its probability, and `points`, float64 (POINTS,) summing to 1.
    Of turns that are alone in their sessions `points` alone."""

    links: Links = field(default_factory=dict)
    served: dict[int, float] = field(default_factory=dict)
    points: dict[int, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class TransformerModel:
    """Several trained models, averaged. `evidence`: what they are told beside the dialogue of where turns fail; None:
    nothing."""

    members: Sequence[DialogueTransformer]
    encode: Encode
    evidence: PointEvidence | None

    def links(self, turns: Sequence[Interaction], from_ms: int = 0) -> Links:
        """See `mining.labels.goal_model.LinkModel`."""
        nothing = np.full((len(turns), len(NAMES)), np.nan, np.float32)
        return self._told(turns, nothing, [of for of in _windows(turns, from_ms) if len(of[1].texts) > 1]).links

    def told(self, turns: Sequence[Interaction], evidence: Sequence[TurnEvidence]) -> Told:
        """All of it. `evidence`: of the turns (`mining.defects.assess`), for where they failed."""
        rows = np.full((len(turns), len(NAMES)), np.nan, np.float32)
        if self.evidence is not None:
            rows, _ = self.evidence.of(turns, evidence)
        return self._told(turns, rows, list(_windows(turns, 0)))

    def _told(self, turns: Sequence[Interaction], rows: np.ndarray, shown: list[tuple[Window, Dialogue]]) -> Told:
        out = Told()
        for at in range(0, len(shown), BATCH):
            some = shown[at : at + BATCH]
            did, same, points = self._asked(
                [d for _, d in some], [rows[window.start : window.stop] for window, _ in some]
            )
            for (window, d), own, pairs, failed in zip(some, did, same, points, strict=True):
                for i in range(window.first, window.last):
                    out.points[i] = failed[i - window.start]
                    if len(d.texts) > 1:
                        out.served[i] = float(own[i - window.start])
                    for k in range(i + 1, window.stop):
                        out.links[i, k] = float(pairs[i - window.start, k - window.start])
        return out

    def _asked(self, dialogues: Sequence[Dialogue], evidence: Sequence[np.ndarray]) -> list[np.ndarray]:
        given = arrays(dialogues, evidence, vectors_of(dialogues, self.encode))
        each = []
        with torch.no_grad():
            for member in self.members:
                _, served, same, points = member(*given)
                each.append((served.sigmoid(), same.sigmoid(), points.softmax(-1)))
        return [torch.stack(outs).mean(0).double().numpy() for outs in zip(*each, strict=True)]


def _windows(turns: Sequence[Interaction], from_ms: int) -> Iterator[tuple[Window, Dialogue]]:
    """Dialogues, and turns that are alone in their sessions."""
    for window, habits in windows(turns):
        if turns[window.start].request.timestamp_ms >= from_ms:
            yield window, dialogue(turns[window.start : window.stop], habits)
    for i, habits in alone(turns):
        if turns[i].request.timestamp_ms >= from_ms:
            yield Window(i, i + 1, i, i + 1), dialogue([turns[i]], habits)


def points_of(
    told: Told, turns: Sequence[Interaction], evidence: Sequence[TurnEvidence], how: PointEvidence
) -> np.ndarray:
    """float64 (turns, POINTS), rows summing to 1: as told, less what cannot be (`mining.labels.failure_points`)."""
    found = np.stack([told.points[i] for i in range(len(turns))])
    return possible(found, sights(turns, evidence, how.usual), np.array([e.defect for e in evidence]))

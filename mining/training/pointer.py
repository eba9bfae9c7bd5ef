"""A small transformer over the turns of a dialogue, in which every turn points to its rephrase, or to none."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn

WIDTH, HEADS = 64, 4
BINS = 8
_FAR = -1e4


def bin_edges(values: np.ndarray) -> np.ndarray:
    """float32 (features, BINS + 1): quantiles of each column of `values`, (n, features); those of a column with few
    values are spread over them."""
    edges = np.empty((values.shape[1], BINS + 1), np.float32)
    for row, column in zip(edges, values.T, strict=True):
        known = np.unique(column)
        at = known if len(known) <= BINS else np.unique(np.quantile(column, np.linspace(0, 1, BINS + 1)))
        at = at if len(at) > 1 else np.array([at[0], at[0] + 1])
        row[:] = np.interp(np.linspace(0, len(at) - 1, BINS + 1), np.arange(len(at)), at)
    return edges


class Bins(nn.Module):
    """Each number as how far it fills each of its bins, so that what counts is on which side of an edge it lies: what
    trees do by themselves and a linear layer cannot (Gorishniy et al. 2022, "On embeddings for numerical features in
    tabular deep learning")."""

    def __init__(self, edges: np.ndarray) -> None:
        super().__init__()
        self.register_buffer("low", torch.from_numpy(edges[:, :-1].copy()))
        self.register_buffer("width", torch.from_numpy(np.diff(edges)).clamp(min=1e-3))

    @property
    def size(self) -> int:
        return self.low.numel()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., features) to (..., features * BINS), 0 to 1."""
        return ((x.unsqueeze(-1) - self.low) / self.width).clamp(0, 1).flatten(-2)


class Layer(nn.Module):
    """Self-attention over turns (Vaswani et al. 2017), each pair of turns drawn together or apart by its own features
    as by relative positions (Shaw et al. 2018, "Self-attention with relative position representations")."""

    def __init__(self, pair: int, dropout: float) -> None:
        super().__init__()
        self.before, self.between = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.bias = nn.Linear(2 * pair, HEADS)
        self.mix = nn.Sequential(nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor, both: torch.Tensor, far: torch.Tensor) -> torch.Tensor:
        """float32 (n, turns, WIDTH) to the same. `both`: pair features either way. `far`: (n, 1, 1, turns), added."""
        n, t, _ = x.shape
        q, k, v = self.qkv(self.before(x)).view(n, t, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
        scores = q @ k.transpose(-1, -2) / (WIDTH // HEADS) ** 0.5 + self.bias(both).permute(0, 3, 1, 2) + far
        mixed = (scores.softmax(-1) @ v).transpose(1, 2).reshape(n, t, WIDTH)
        x = x + self.dropout(self.out(mixed))
        return x + self.dropout(self.mix(self.between(x)))


class Pointer(nn.Module):
    """Log probabilities, float32 (n, turns, 1 + turns): of each turn, that it has no rephrase (column 0), or that the
    later turn j (column 1 + j) is it. Pointing as in Vinyals et al. 2015 ("Pointer networks").

    `turn_edges`, `pair_edges`: see `bin_edges`. `vector`: numbers of a sentence vector. `layers`: 1 or more.
    """

    def __init__(
        self, turn_edges: np.ndarray, pair_edges: np.ndarray, vector: int, layers: int, dropout: float
    ) -> None:
        super().__init__()
        self.turn_bins, self.pair_bins = Bins(turn_edges), Bins(pair_edges)
        turn, pair = self.turn_bins.size, self.pair_bins.size
        self.facts, self.meaning = nn.Linear(turn, WIDTH), nn.Linear(vector, WIDTH)
        self.layers = nn.ModuleList(Layer(pair, dropout) for _ in range(layers))
        self.last = nn.LayerNorm(WIDTH)
        self.failed, self.reached = nn.Linear(WIDTH + turn, WIDTH), nn.Linear(WIDTH + turn, WIDTH)
        self.pair = nn.Sequential(nn.Linear(pair, WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH))
        self.score = nn.Sequential(
            nn.GELU(), nn.Dropout(dropout), nn.Linear(WIDTH, WIDTH), nn.GELU(), nn.Linear(WIDTH, 1)
        )
        self.none = nn.Linear(WIDTH, 1)

    def forward(
        self, vectors: torch.Tensor, turns: torch.Tensor, pairs: torch.Tensor, there: torch.Tensor
    ) -> torch.Tensor:
        """The arrays of `mining.dialogue.Batch`."""
        facts, pairs = self.turn_bins(turns), self.pair_bins(pairs)
        x = self.facts(facts) + self.meaning(vectors)
        both = torch.cat([pairs, pairs.transpose(1, 2)], dim=-1)
        far = ((1 - there) * _FAR)[:, None, None, :]
        for layer in self.layers:
            x = layer(x, both, far)
        x = self.last(x)
        each = torch.cat([x, facts], dim=-1)
        hidden = self.failed(each)[:, :, None] + self.reached(each)[:, None] + self.pair(pairs)
        scores = self.score(hidden).squeeze(-1)
        place = torch.cumsum(torch.ones_like(there), dim=1)
        later = (place[:, None, :] > place[:, :, None]).to(scores.dtype) * there[:, None, :]
        scores = scores * later + (1 - later) * _FAR
        return torch.log_softmax(torch.cat([self.none(x), scores], dim=-1), dim=-1)


class Pointers(nn.Module):
    """Several pointers that began differently, as one: the mean of their probabilities, as log probabilities. Their
    errors differ more than what they know."""

    def __init__(self, members: list[Pointer]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def each(self, *arrays: torch.Tensor) -> torch.Tensor:
        """float32 (members, n, turns, 1 + turns): log probabilities of each."""
        return torch.stack([member(*arrays) for member in self.members])

    def forward(
        self, vectors: torch.Tensor, turns: torch.Tensor, pairs: torch.Tensor, there: torch.Tensor
    ) -> torch.Tensor:
        """The arrays of `mining.dialogue.Batch` to float32 (n, turns, 1 + turns)."""
        return torch.logsumexp(self.each(vectors, turns, pairs, there), dim=0) - math.log(len(self.members))

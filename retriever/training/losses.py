"""Contrastive losses over pairs of unit vectors: what was heard is drawn to what was meant, and pushed from the rest.

All three are log(1 + sum over negatives of exp((s_ij - s_ii) / temperature)), with s the inner product; they differ in
what stands for the negatives that are not in the batch:

- in-batch: nothing (InfoNCE, van den Oord et al. 2018).
- corpus: those of the batch count for all of the corpus, (N - 1) / (B - 1) each.
- decomposable: as corpus, but a pair's sum is a moving average over the times it was seen, so that a small batch has
  the gradient of a large one in expectation: each pair's exponentials weigh u ~ Gamma(1, rate A), A its average
  (Chen et al., NeurIPS 2022, "Why do we need large batch sizes in contrastive learning?").
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import torch


class Loss(StrEnum):
    """Which loss trains the encoder."""

    IN_BATCH = "in-batch"
    CORPUS = "corpus"
    DECOMPOSABLE = "decomposable"


class ContrastiveLoss:
    """The loss of a batch of pairs, both ways: from heard to meant, and from meant to heard.

    `pairs`: of the whole training set, >= 1. `goals`: different meanings in it, >= 1. `temperature` > 0. `memory`:
    0 to 1, how much of a pair's average is what was seen last. `seed`: of the Gamma weights.
    """

    def __init__(
        self, kind: Loss, pairs: int, goals: int, temperature: float, memory: float = 0.5, seed: int = 0
    ) -> None:
        self._kind, self._goals, self._temperature, self._memory = kind, goals, temperature, memory
        # NaN: not seen yet. One row a direction.
        self._averages = torch.full((2, pairs), torch.nan)
        self._dice = torch.Generator().manual_seed(seed)

    def state(self) -> dict[str, Any]:
        """What a checkpoint must keep."""
        return {"averages": self._averages, "dice": self._dice.get_state()}

    def restore(self, state: dict[str, Any]) -> None:
        self._averages = state["averages"]
        self._dice.set_state(state["dice"])

    def __call__(
        self, heard: torch.Tensor, meant: torch.Tensor, goals: torch.Tensor, pairs: torch.Tensor
    ) -> torch.Tensor:
        """The mean loss, a scalar >= 0. `heard`, `meant`: float32 (n, d), unit rows. `goals`, `pairs`: int64 (n,): what
        each means, and its number in the training set. Pairs of the same goal are not each other's negatives."""
        similarity = heard @ meant.T / self._temperature
        same = goals[:, None] == goals[None, :]
        one = self._one_way(similarity, same, pairs, 0)
        other = self._one_way(similarity.T, same, pairs, 1)
        return (one + other) / 2

    def _one_way(self, similarity: torch.Tensor, same: torch.Tensor, pairs: torch.Tensor, way: int) -> torch.Tensor:
        lead = (similarity - similarity.diagonal()[:, None]).masked_fill(same, -torch.inf)
        negatives = (~same).sum(1)
        lead, pairs, negatives = lead[negatives > 0], pairs[negatives > 0], negatives[negatives > 0]
        if not len(lead):
            return similarity.sum() * 0.0
        scale = torch.ones_like(negatives, dtype=lead.dtype)
        if self._kind is not Loss.IN_BATCH:
            scale = ((self._goals - 1) / negatives).clamp(min=1.0)
        logarithm = torch.logsumexp(lead, dim=1) + scale.log()
        if self._kind is not Loss.DECOMPOSABLE:
            return torch.nn.functional.softplus(logarithm).mean()
        total = logarithm.exp()
        seen = self._averages[way, pairs]
        now = 1 + total.detach()
        average = torch.where(seen.isnan(), now, self._memory * now + (1 - self._memory) * seen)
        self._averages[way, pairs] = average
        weight = torch.empty_like(average).exponential_(generator=self._dice) / average
        return (weight * total).mean()

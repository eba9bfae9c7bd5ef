"""How probable it is that words that got no answer were overheard, not said to the assistant: a false wake.

Whoever was misheard tries again about as often however badly it went; whoever never spoke to the assistant does not
try again. So where words resemble nothing that people ask, and are repaired more seldom than other words that got no
answer, the share that is missing was overheard. The log itself tells whether there is such a share at all.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

BINS = 10
_SURE = 2.0
"""Standard errors by which repairs must be fewer, so that a few chance misses make no false wakes."""
_LEAST_TEXTS = 100
_MOST_ALIKE = (0.5, 0.6, 0.7, 0.8)


@dataclass(frozen=True, slots=True)
class Overheard:
    """`edges`: of the bins of resemblance (`mining.labels.usual.resemblance`), ascending. `shares`: of what got no
    answer, the share that was overheard, by bin, 0 to 1. `repaired`: of the rest, the share that is repaired."""

    edges: tuple[float, ...]
    shares: tuple[float, ...]
    repaired: float

    @classmethod
    def fit(cls, texts: Iterable[tuple[float, float, float]]) -> Overheard:
        """From texts that got no answer: resemblance, turns, turns that were repaired."""
        rows = np.array(sorted(texts), float).reshape(-1, 3)
        at, turns, repaired = rows.T
        if len(rows) < _LEAST_TEXTS:
            return NONE
        below = np.cumsum(turns) / turns.sum()
        # What resembles most was meant for the assistant; how much of all that is, nobody knows beforehand.
        most_alike = (below > share for share in _MOST_ALIKE)
        usually = max(float(repaired[of].sum() / turns[of].sum()) for of in most_alike)
        edges = np.unique(at[np.searchsorted(below, np.linspace(0, 1, BINS + 1)[1:-1])])
        edges = edges[edges > at[0]]  # bins begin at a text, so that none is empty
        bins = np.searchsorted(edges, at, side="right")
        size = len(edges) + 1
        share = np.bincount(bins, repaired, size) / np.maximum(np.bincount(bins, turns, size), 1e-9)
        # One person's turns on one text tend to go alike, so that texts are what chance draws.
        chance = np.sqrt(usually * (1 - usually) / np.maximum(np.bincount(bins, minlength=size), 1))
        missing = np.where(share + _SURE * chance < usually, 1 - share / max(usually, 1e-9), 0.0)
        # The less it resembles, the likelier it was overheard.
        missing = np.minimum.accumulate(missing)
        return cls(tuple(edges.tolist()), tuple(missing.tolist()), usually)

    def share(self, resemblance: float) -> float:
        """Of all that got no answer."""
        return self.shares[bisect_right(self.edges, resemblance)]

    def probability(self, resemblance: float) -> float:
        """Of what got no answer, and was not tried again."""
        overheard = self.share(resemblance)
        return overheard / max(overheard + (1 - overheard) * (1 - self.repaired), 1e-9)


NONE = Overheard((), (0.0,), 0.0)
"""Of a log too short to tell."""

"""Which words stand in turns that failed where: counts, by word pair, of the people whose repaired turns say so.

"What about" is never understood, a name at the end of a request for the weather is often another place's, and what a
recogniser makes of a hard name is full of pairs that it makes of others too.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from mining.labels.point_rules import Weak
from mining.labels.sights import Sight
from mining.labels.turn_label import FailurePoint
from mining.labels.usual import Pair
from retriever.normalise import word_pairs

TOLD = (FailurePoint.ASR, FailurePoint.NLU, FailurePoint.ENTITY_RESOLUTION)
"""What repairs tell."""
WORD_FEATURES = (*(f"words_mean_{point}" for point in TOLD), *(f"words_most_{point}" for point in TOLD))
MAX_PAIRS = 50_000
_LEAST_PEOPLE = 2
_PRIOR = 0.5

Said = frozenset[tuple[Pair, FailurePoint]]
"""What one person's repaired turns tell: each word pair with each failure point once."""


def said(seen: Sequence[Sight], weak: Sequence[Weak | None]) -> Said:
    """`weak`: the label of each turn seen."""
    return frozenset(
        (pair, label[0])
        for sight, label in zip(seen, weak, strict=True)
        if label is not None and sight.repaired is not None and label[0] in TOLD
        for pair in word_pairs(sight.text)
    )


@dataclass(frozen=True, slots=True)
class PointWords:
    """`people`: how many, by word pair, for each of `TOLD`; of pairs of at least two."""

    people: Mapping[Pair, tuple[int, ...]]

    @classmethod
    def of(cls, everybody: Iterable[Said], most: int = MAX_PAIRS) -> PointWords:
        """`most`: pairs that are kept, those of most people."""
        counts: Counter[tuple[Pair, FailurePoint]] = Counter()
        for theirs in everybody:
            counts.update(theirs)
        people = {pair: tuple(counts[pair, point] for point in TOLD) for pair in sorted({pair for pair, _ in counts})}
        enough = {pair: of for pair, of in people.items() if sum(of) >= _LEAST_PEOPLE}
        return cls(
            {pair: enough[pair] for pair in heapq.nlargest(most, enough, key=lambda pair: (sum(enough[pair]), pair))}
        )

    def features(self, seen: Sequence[Sight], own: Said) -> np.ndarray:
        """float32 (turns, WORD_FEATURES): of the shares of people by failure point, over a turn's pairs that others
        told of, the mean logarithm and the greatest; NaN where there are none. `own`: of the same user, whose own say
        does not count."""
        out = np.full((len(seen), len(WORD_FEATURES)), np.nan, np.float32)
        shares: dict[Pair, list[float] | None] = {}
        for row, sight in zip(out, seen, strict=True):
            known = []
            for pair in word_pairs(sight.text):
                if pair not in shares:
                    shares[pair] = self._shares(pair, own)
                if (share := shares[pair]) is not None:
                    known.append(share)
            if known:
                columns = list(zip(*known, strict=True))
                row[:] = (*(fmean(map(math.log, column)) for column in columns), *map(max, columns))
        return out

    def _shares(self, pair: Pair, own: Said) -> list[float] | None:
        people = self.people.get(pair)
        if people is None:
            return None
        others = [n - ((pair, point) in own) for n, point in zip(people, TOLD, strict=True)]
        total = sum(others)
        if total < _LEAST_PEOPLE:
            return None
        return [(max(0, n) + _PRIOR) / (total + _PRIOR * len(TOLD)) for n in others]

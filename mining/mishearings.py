"""Learns from a log what is heard for what (`retriever.hearing`): from repairs, and from the recogniser's doubts.

Two kinds of pairs of one utterance's texts: a query that failed, and the text that repaired it; a query that served,
and the recogniser's further hypotheses for it. Only the words that differ are aligned. Pairs that align badly are other
words for a wish, not mishearings, and are left out. Costs are learned by Viterbi training: align, count, again.
"""

from __future__ import annotations

import math
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from mining.defects import TurnEvidence
from retriever.hearing import Hearing, prior_shares
from retriever.interaction import Channel, Interaction
from retriever.normalise import normalise
from retriever.pronunciation import ALPHABET, pronounce
from retriever.remember import remember

PRIOR_COUNTS = 40.0
"""What is known beforehand of a phoneme weighs like so many hearings of it."""
_ROUNDS = 3
MAX_PAIRS = 6000
"""What is learned from at most, in turns."""
_MAX_PHONEMES = 40
_WORST_COST = 1.3
"""Nats a phoneme; a pair dearer than this is no mishearing."""
_ALTERNATIVE_WEIGHT = 0.25
_LEAST_RATIO = 0.7
"""Of the shorter to the longer in phonemes: less, and words were added or left out, not misheard."""


class Mishearing(NamedTuple):
    """Pronunciations of the words that differ: as `heard`, as `said`. `repaired`: told by a repair, not by a doubt of
    the recogniser's."""

    heard: bytes
    said: bytes
    repaired: bool

    @property
    def rank(self) -> int:
        """What decides which of too many are learned from: the same on every machine, and of no meaning."""
        return zlib.crc32(b"\0".join((self.heard, self.said, b"%d" % self.repaired)))


def differing(heard: str, said: str) -> tuple[str, str]:
    """Both texts less the words that they begin and end with in common."""
    a, b = heard.split(), said.split()
    while a and b and a[0] == b[0]:
        a, b = a[1:], b[1:]
    while a and b and a[-1] == b[-1]:
        a, b = a[:-1], b[:-1]
    return " ".join(a), " ".join(b)


@remember(size=lambda heard, said, repaired: len(heard) + len(said))
def _pair(heard: str, said: str, repaired: bool) -> Mishearing | None:
    a, b = (pronounce(words) for words in differing(heard, said))
    shorter, longer = sorted((len(a), len(b)))
    if a == b or longer > _MAX_PHONEMES or shorter < _LEAST_RATIO * longer:
        return None
    return Mishearing(a, b, repaired)


def pairs(turns: Sequence[Interaction], evidence: Sequence[TurnEvidence]) -> Counter[Mishearing]:
    """What may be mishearings of one user, from turns in time order with their evidence, and how often."""
    out: Counter[Mishearing | None] = Counter()
    for turn, e in zip(turns, evidence, strict=True):
        if turn.request.channel is not Channel.VOICE:
            continue
        query = normalise(turn.request.query)
        if e.goal is not None:
            out[_pair(query, normalise(turns[e.goal].request.query), True)] += 1
        elif turn.interpretation is not None and not e.failed:
            for alternative in turn.request.alternatives:
                out[_pair(normalise(alternative), query, False)] += 1
    del out[None]
    return out  # type: ignore[return-value]


def learn_hearing(people: Iterable[tuple[Sequence[Interaction], Sequence[TurnEvidence]]]) -> Hearing:
    """`hearing_of` all that some people said, each one's turns in time order with their evidence."""
    found: Counter[Mishearing] = Counter()
    for turns, evidence in people:
        found.update(pairs(turns, evidence))
    return hearing_of(found)


def _chosen(found: Mapping[Mishearing, int]) -> list[tuple[Mishearing, int]]:
    """As many as are learned from, repairs before doubts; of too many, those of the lowest rank."""
    out, room = [], MAX_PAIRS
    for pair in sorted(found, key=lambda pair: (not pair.repaired, pair.rank, pair)):
        times = min(found[pair], room)
        if not times:
            break
        out.append((pair, times))
        room -= times
    return out


def hearing_of(found: Mapping[Mishearing, int]) -> Hearing:
    """The costs of a log's recogniser; with no mishearing in it, those of how phonemes are made. `found`: everybody's
    `pairs`; enough of them are the `MAX_PAIRS` of each kind that have the lowest rank."""
    chosen = _chosen(found)
    prior = prior_shares()
    hearing = Hearing.of_shares(prior)
    for _ in range(_ROUNDS):
        counts = prior * PRIOR_COUNTS
        said = np.full(ALPHABET, PRIOR_COUNTS)
        costs = hearing.costs.tolist()
        for pair, times in chosen:
            cost, aligned = align(pair.heard, pair.said, costs)
            if cost > _WORST_COST * max(len(pair.heard), len(pair.said)):
                continue
            weight = times * (1.0 if pair.repaired else _ALTERNATIVE_WEIGHT)
            for s, h in aligned:
                counts[s, h] += weight
                said[s] += weight
            said[0] += weight * len(pair.said)  # between any two phonemes there could have been one too many
        hearing = Hearing.of_shares(counts / said[:, None])
    return hearing


def align(heard: bytes, said: bytes, costs: Sequence[Sequence[float]]) -> tuple[float, list[tuple[int, int]]]:
    """The cheapest alignment's cost, and its (said, heard) pairs, 0 for none: the slow twin of `Hearing.whole`, which
    also tells the way."""
    n, m = len(said), len(heard)
    best = [[math.inf] * (m + 1) for _ in range(n + 1)]
    best[0][0] = 0.0
    for i in range(n + 1):
        row, above = best[i], best[i - 1]
        for j in range(m + 1):
            cost = row[j]
            if i and (lost := above[j] + costs[said[i - 1]][0]) < cost:
                cost = lost
            if j and (extra := row[j - 1] + costs[0][heard[j - 1]]) < cost:
                cost = extra
            if i and j and (both := above[j - 1] + costs[said[i - 1]][heard[j - 1]]) < cost:
                cost = both
            row[j] = cost
    out, i, j = [], n, m
    while i or j:
        cost = best[i][j]
        if i and j and cost == best[i - 1][j - 1] + costs[said[i - 1]][heard[j - 1]]:
            i, j = i - 1, j - 1
            out.append((said[i], heard[j]))
        elif i and cost == best[i - 1][j] + costs[said[i - 1]][0]:
            i -= 1
            out.append((said[i], 0))
        else:
            j -= 1
            out.append((0, heard[j]))
    return best[n][m], out[::-1]

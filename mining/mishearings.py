"""Learns from a log what is heard for what (`retriever.hearing`): from repairs, and from the recogniser's doubts.

Two kinds of pairs of one utterance's texts: a query that failed, and the text that repaired it; a query that served,
and the recogniser's further hypotheses for it. Only the words that differ are aligned. Pairs that align badly are other
words for a wish, not mishearings, and are left out. Costs are learned by Viterbi training: align, count, again.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from mining.defects import TurnEvidence
from retriever.hearing import Hearing, prior_shares
from retriever.interaction import Channel, Interaction
from retriever.normalise import normalise
from retriever.pronunciation import ALPHABET, pronounce

PRIOR_COUNTS = 40.0
"""What is known beforehand of a phoneme weighs like so many hearings of it."""
_ROUNDS = 3
_MAX_PAIRS = 6000
_MAX_PHONEMES = 40
_WORST_COST = 1.3
"""Nats a phoneme; a pair dearer than this is no mishearing."""
_ALTERNATIVE_WEIGHT = 0.25
_LEAST_RATIO = 0.7
"""Of the shorter to the longer in phonemes: less, and words were added or left out, not misheard."""


@dataclass(frozen=True, slots=True)
class Mishearing:
    """Pronunciations of the words that differ: as `heard`, as `said`."""

    heard: bytes
    said: bytes
    weight: float


def differing(heard: str, said: str) -> tuple[str, str]:
    """Both texts less the words that they begin and end with in common."""
    a, b = heard.split(), said.split()
    while a and b and a[0] == b[0]:
        a, b = a[1:], b[1:]
    while a and b and a[-1] == b[-1]:
        a, b = a[:-1], b[:-1]
    return " ".join(a), " ".join(b)


def _pair(heard: str, said: str, weight: float) -> Mishearing | None:
    a, b = (pronounce(words) for words in differing(heard, said))
    shorter, longer = sorted((len(a), len(b)))
    if a == b or longer > _MAX_PHONEMES or shorter < _LEAST_RATIO * longer:
        return None
    return Mishearing(a, b, weight)


def pairs(people: Iterable[tuple[Sequence[Interaction], Sequence[TurnEvidence]]]) -> list[Mishearing]:
    """What may be mishearings, from turns in time order with their evidence."""
    out: list[Mishearing | None] = []
    for turns, evidence in people:
        for turn, e in zip(turns, evidence, strict=True):
            if turn.request.channel is not Channel.VOICE:
                continue
            query = normalise(turn.request.query)
            if e.goal is not None:
                out.append(_pair(query, normalise(turns[e.goal].request.query), 1.0))
            elif turn.interpretation is not None and not e.failed:
                for alternative in turn.request.alternatives:
                    out.append(_pair(normalise(alternative), query, _ALTERNATIVE_WEIGHT))
    return [p for p in out if p is not None]


def learn_hearing(people: Iterable[tuple[Sequence[Interaction], Sequence[TurnEvidence]]]) -> Hearing:
    """The costs of a log's recogniser; with no mishearing in it, those of how phonemes are made."""
    found = pairs(people)
    repairs = [p for p in found if p.weight == 1.0]
    doubts = [p for p in found if p.weight < 1.0]
    room = max(0, _MAX_PAIRS - len(repairs))
    doubts = doubts[:: max(1, len(doubts) // max(1, room))][:room]
    chosen = [*repairs[:_MAX_PAIRS], *doubts]
    prior = prior_shares()
    hearing = Hearing.of_shares(prior)
    for _ in range(_ROUNDS):
        counts = prior * PRIOR_COUNTS
        said = np.full(ALPHABET, PRIOR_COUNTS)
        costs = hearing.costs.tolist()
        for pair in chosen:
            cost, aligned = align(pair.heard, pair.said, costs)
            if cost > _WORST_COST * max(len(pair.heard), len(pair.said)):
                continue
            for s, h in aligned:
                counts[s, h] += pair.weight
                said[s] += pair.weight
            said[0] += pair.weight * len(pair.said)  # between any two phonemes there could have been one too many
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

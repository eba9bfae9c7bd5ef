"""How probable it is that what was said is heard as what was heard: a noisy channel over phonemes.

Costs in nats of hearing one phoneme for another, of losing one, of hearing one too many; a phoneme heard right costs
nothing. The cost of a whole is that of its cheapest alignment (weighted edit distance; Brill and Moore 2000, "An
improved error model for noisy channel spelling correction"). `mining.mishearings` learns the costs from a log.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from retriever.pronunciation import ALPHABET, PHONEMES, as_rows

# Manner, place, voice of consonants; height, backness, roundness of vowels (diphthongs by their first part and glide).
_CONSONANTS = {
    "P": (0, 0, 0), "B": (0, 0, 1), "T": (0, 3, 0), "D": (0, 3, 1), "K": (0, 6, 0), "G": (0, 6, 1),
    "CH": (1, 4, 0), "JH": (1, 4, 1), "F": (2, 1, 0), "V": (2, 1, 1), "TH": (2, 2, 0), "DH": (2, 2, 1),
    "S": (2, 3, 0), "Z": (2, 3, 1), "SH": (2, 4, 0), "ZH": (2, 4, 1), "HH": (2, 7, 0),
    "M": (3, 0, 1), "N": (3, 3, 1), "NG": (3, 6, 1), "L": (4, 3, 1), "R": (4, 4, 1), "W": (5, 0, 1), "Y": (5, 5, 1),
}  # fmt: skip
_VOWELS = {
    "IY": (0, 0, 0), "IH": (1, 0, 0), "EY": (2, 0, 0), "EH": (3, 0, 0), "AE": (4, 0, 0), "AH": (3, 1, 0),
    "ER": (2, 1, 0), "AA": (5, 1, 0), "AY": (4, 1, 0), "AW": (4, 1, 1), "AO": (4, 2, 1), "OY": (3, 2, 1),
    "OW": (2, 2, 1), "UH": (1, 2, 1), "UW": (0, 2, 1),
}  # fmt: skip
_RIGHT, _LOST, _EXTRA = 0.7, 0.1, 0.04
_MANNER = (0, 1, 1.5, 3, 4, 4.5)


def _unlike(a: str, b: str) -> float:
    """How far two phonemes lie apart by how they are made: 0 the same, about 4 nothing in common."""
    if a in _VOWELS and b in _VOWELS:
        (h, k, r), (h2, k2, r2) = _VOWELS[a], _VOWELS[b]
        return 0.4 + 0.4 * abs(h - h2) + 0.5 * abs(k - k2) + 0.2 * abs(r - r2)
    if a in _CONSONANTS and b in _CONSONANTS:
        (m, p, v), (m2, p2, v2) = _CONSONANTS[a], _CONSONANTS[b]
        return 0.3 + 0.6 * abs(_MANNER[m] - _MANNER[m2]) + 0.35 * abs(p - p2) + 0.4 * abs(v - v2)
    near = {frozenset(["Y", "IY"]), frozenset(["W", "UW"]), frozenset(["R", "ER"]), frozenset(["Y", "IH"])}
    return 1.2 if frozenset((a, b)) in near else 4.0


def prior_shares() -> np.ndarray:
    """float64 (41, 41): of each phoneme said (row), the share heard as each (column), column 0 lost; row 0: how often
    each phoneme is heard where none was said. From how phonemes are made; what a log's counts are added to."""
    shares = np.zeros((ALPHABET, ALPHABET))
    for i, said in enumerate(PHONEMES, 1):
        like = np.array([0.0 if h == said else np.exp(-1.1 * _unlike(said, h)) for h in PHONEMES])
        shares[i, 1:] = like / like.sum() * (1 - _RIGHT - _LOST)
        shares[i, i] = _RIGHT
        shares[i, 0] = _LOST
    shares[0, 1:] = _EXTRA / len(PHONEMES) * 6
    return shares


class Hearing:
    """`costs`: float32 (41, 41), nats, >= 0: row a phoneme said (0: none), column a phoneme heard (0: none)."""

    def __init__(self, costs: np.ndarray) -> None:
        if costs.shape != (ALPHABET, ALPHABET):
            raise ValueError(f"costs: expected shape {(ALPHABET, ALPHABET)}, got {costs.shape}")
        self.costs = np.ascontiguousarray(costs, dtype=np.float32)
        self._heard = np.ascontiguousarray(self.costs.T)

    @classmethod
    def of_shares(cls, shares: np.ndarray) -> Hearing:
        """From shares as `prior_shares` gives them: how much less probable than hearing it right."""
        costs = np.zeros_like(shares)
        right = np.diag(shares)[1:, None]
        costs[1:] = np.log(right / np.maximum(shares[1:], 1e-6))
        costs[0, 1:] = -np.log(np.maximum(shares[0, 1:], 1e-6))
        return cls(np.maximum(costs, 0.0))

    def each(self, heard: Sequence[bytes], said: Sequence[bytes]) -> np.ndarray:
        """float32 (n,): the cost of hearing `heard`[i] for `said`[i], from beginning to end. One pass for all."""
        if not said:
            return np.zeros(0, np.float32)
        # Longest heard first: the rows that still hear something are then the first ones, at every step.
        order = sorted(range(len(heard)), key=lambda i: -len(heard[i]))
        sounds, heard_lengths = as_rows([heard[i] for i in order])
        rows, lengths = as_rows([said[i] for i in order])
        going = np.searchsorted(-heard_lengths, -np.arange(1, sounds.shape[1] + 1), side="right").tolist()
        lost, cost, step = self._nothing_heard(rows)
        extra = self.costs[0].take(sounds)
        pair = sounds.astype(np.int64) * ALPHABET
        flat = self._heard.ravel()
        for at, k in enumerate(going):
            swapped = flat.take(pair[:k, at : at + 1] + rows[:k])
            _hear(cost[:k], step[:k], lost[:k], swapped, extra[:k, at : at + 1], 1.0)
        out = np.empty(len(rows), np.float32)
        out[order] = cost[np.arange(len(rows)), lengths]
        return out

    def compare(self, heard: bytes, whole: Sequence[bytes], parts: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
        """float32 (n,), (m,): the cost of hearing `heard` for each of `whole`, from beginning to end, and the cost of
        hearing each of `parts` somewhere in `heard`, whatever stands around it. One pass for all."""
        n = len(whole)
        if not n and not parts:
            return np.zeros(0, np.float32), np.zeros(0, np.float32)
        rows, lengths = as_rows([*whole, *parts])
        lost, cost, step = self._nothing_heard(rows)
        ends = np.arange(len(rows))
        best = cost[ends, lengths]
        # A part may begin anywhere: what is before it is free.
        start = np.where(ends < n, 1.0, 0.0).astype(np.float32)[:, None]
        for sound in heard:
            _hear(cost, step, lost, self._heard[sound].take(rows), self.costs[0, sound], start)
            np.minimum(best[n:], cost[ends[n:], lengths[n:]], out=best[n:])
        return cost[ends[:n], lengths[:n]], best[n:]

    def _nothing_heard(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """float32 (n, longest + 1) each: the cost of losing the first so many phonemes of each row, the same once more
        to work on, and room of that size."""
        lost = np.zeros((len(rows), rows.shape[1] + 1), np.float32)
        np.cumsum(self.costs[:, 0].take(rows), axis=1, out=lost[:, 1:])
        return lost, lost.copy(), np.empty_like(lost)


def _hear(
    cost: np.ndarray,
    step: np.ndarray,
    lost: np.ndarray,
    swapped: np.ndarray,
    extra: np.ndarray | float,
    start: np.ndarray | float,
) -> None:
    """One phoneme more is heard: updates `cost`, (n, longest + 1), in place. `swapped`: (n, longest), of hearing it for
    each phoneme said; `extra`: of hearing it for none; `start`: 0 where what is heard before the beginning is free.

    First without losses; then losses run along the row all at once, since the least of (cost less the losses so far)
    up to each place is a running minimum.
    """
    np.minimum(cost[:, :-1] + swapped, cost[:, 1:] + extra, out=step[:, 1:])
    step[:, :1] = (cost[:, :1] + extra) * start
    step -= lost
    np.minimum.accumulate(step, axis=1, out=cost)
    cost += lost

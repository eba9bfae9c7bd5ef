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
        rows, lengths = as_rows(said)
        sounds, heard_lengths = as_rows(heard)
        paths = _Paths(self._lost(rows))
        rows, sounds = rows.T.astype(np.intp), sounds.T.astype(np.intp)
        extra, pair, flat = self.costs[0].take(sounds), sounds * ALPHABET, self._heard.ravel()
        ending = {length: (heard_lengths == length).nonzero()[0] for length in set(heard_lengths.tolist())}
        out = np.empty(len(said), np.float32)
        for step in range(len(sounds) + 1):
            if step:
                paths.hear(flat.take(pair[step - 1] + rows), extra[step - 1])
            if (ends := ending.get(step)) is not None:
                out[ends] = paths.cost[lengths[ends], ends]
        return out

    def compare(self, heard: bytes, whole: Sequence[bytes], parts: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
        """float32 (n,), (m,): the cost of hearing `heard` for each of `whole`, from beginning to end, and the cost of
        hearing each of `parts` somewhere in `heard`, whatever stands around it. One pass for all."""
        n = len(whole)
        if not n and not parts:
            return np.zeros(0, np.float32), np.zeros(0, np.float32)
        rows, lengths = as_rows([*whole, *parts])
        paths = _Paths(self._lost(rows))
        rows, columns = rows.T.astype(np.intp), np.arange(len(lengths))
        ends = lengths * len(lengths) + columns  # in the flat cost: where each text is said to its end
        best = paths.cost.take(ends[n:])
        # A part may begin anywhere: what is before it is free.
        start = (columns < n).astype(np.float32) if parts else None
        for sound in heard:
            paths.hear(self._heard[sound].take(rows), self.costs[0, sound], start)
            if parts:
                np.minimum(best, paths.cost.take(ends[n:]), out=best)
        return paths.cost.take(ends[:n]), best

    def _lost(self, rows: np.ndarray) -> np.ndarray:
        """float32 (longest + 1, n): the cost of losing the first so many phonemes of each row of `rows`."""
        lost = np.zeros((rows.shape[1] + 1, len(rows)), np.float32)
        np.cumsum(self.costs[:, 0].take(rows.T), axis=0, out=lost[1:])
        return lost


class _Paths:
    """The cheapest alignments of n texts at once with what has been heard up to now. A row is a number of phonemes
    said, a column a text, so that each operation runs over memory in one piece: a request's arrays are small, and what
    costs is the number of operations and of pieces.

    `cost`: float32 (longest + 1, n), of having heard just that for the first so many phonemes of each text.
    """

    def __init__(self, lost: np.ndarray) -> None:
        """`lost`: of the same shape, of losing them all."""
        size = len(lost)
        self.cost, self._lost = lost.copy(), lost
        self._before = self.cost[:-1]
        self._swapped = np.empty_like(self._before)
        # Two buffers for the running minimum, each with rows of infinity above, so that a row far up has a neighbour.
        above = 1 << (size - 1).bit_length() >> 1
        buffers = np.full((2, above + size, lost.shape[1]), np.inf, np.float32)
        self._step = buffers[0, above:]
        self._first, self._later = self._step[0], self._step[1:]
        self._doublings = []
        one, other, reach = *buffers, 1
        while reach < size:
            self._doublings.append((one[above:], one[above - reach : above - reach + size], other[above:]))
            one, other, reach = other, one, 2 * reach
        self._least = one[above:]

    def hear(self, swapped: np.ndarray, extra: np.ndarray | float, start: np.ndarray | None = None) -> None:
        """One phoneme more. `swapped`: float32 (longest, n), of hearing it for each phoneme said; `extra`: of hearing
        it for none; `start`: float32 (n,), 0 where what is heard before the beginning is free, 1 elsewhere.

        First without losses; then losses run down all at once, since the least of (cost less the losses so far) up to
        each place is a running minimum: of the last 2 places, of the last 4, and so on.
        """
        np.add(self._before, swapped, out=self._swapped)
        np.add(self.cost, extra, out=self._step)
        if start is not None:
            np.multiply(self._first, start, out=self._first)
        np.minimum(self._later, self._swapped, out=self._later)
        np.subtract(self._step, self._lost, out=self._step)
        for here, further_up, least in self._doublings:
            np.minimum(here, further_up, out=least)
        np.add(self._least, self._lost, out=self.cost)

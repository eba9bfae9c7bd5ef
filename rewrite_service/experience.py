"""What came of rewrites: one user's own experience with each pair, and everybody's, put together from users' notes.

A pair is what was heard and what was asked instead; left alone, the same text twice. Everybody's experience holds no
text: a user's note has hashes of texts and weighed counts, found by the user's key alone. In it each user weighs a few
turns a pair at most, and a pair is judged by it only where several people were served it, so that no one can have a
good rewrite retired for others. Pure: no store, no clock.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from mining.served import Pair, Turns
from ranker.posterior import CELLS, NONE, Evidence, Foretold, decay, harm, weigh
from ranker.retirement import Harm
from retriever.packed import key_hash

LEAST_PEOPLE = 3
"""People who must have been served a pair before it is judged for others by what came of it."""
MOST_PER_PERSON = 3.0
"""What all of one person's turns of a pair weigh at most for others, in turns."""
MOST_PAIRS = 32
"""Pairs in a note, those with the most turns."""
_ENOUGH, _LITTLE = 2.0, 0.1
"""From so many turns of one's own on, and with so little harm by them, it does not matter what others say."""

_MIXER = np.uint64(0x9E3779B97F4A7C15)

_HEAD = struct.Struct("<q")
_ROW = np.dtype([("heard", "<u8"), ("asked", "<u8"), ("turns", "<f4"), ("likelihood", "<f4", (CELLS,))])

Key = tuple[int, int]
Own = Mapping[Key, Evidence]
"""One user's own experience: all their turns, by hashes of what was heard and what was asked."""


def key_of(pair: Pair) -> Key:
    return key_hash(pair[0]), key_hash(pair[1])


def own_experience(found: Mapping[Pair, Turns], now_ms: int) -> dict[Key, Evidence]:
    """`found`: from `mining.served.came_of`. `now_ms`: the moment from which turns are old."""
    return {key_of(pair): weigh(turns, now_ms) for pair, turns in found.items()}


def to_note(found: Mapping[Pair, Turns], now_ms: int) -> bytes:
    """What one user adds to everybody's experience; empty where there is nothing."""
    added = sorted(own_experience(found, now_ms).items(), key=lambda entry: -entry[1].turns)[:MOST_PAIRS]
    bounded = [(key, evidence.at_most(MOST_PER_PERSON)) for key, evidence in added]
    rows = np.array([(*key, e.turns, e.likelihood) for key, e in bounded], dtype=_ROW)
    return _HEAD.pack(now_ms) + rows.tobytes() if len(rows) else b""


@dataclass(frozen=True, slots=True)
class Shared:
    """Everybody's experience with a pair, which is that of so many `people`."""

    evidence: Evidence
    people: int


@dataclass(frozen=True, slots=True)
class Experience:
    """Everybody's, as of a moment. `pairs`: those that were served to enough people and may do harm, and their texts
    left alone. `heard`: hashes of all texts that a rewrite was served for; what comes of them left alone
    matters."""

    pairs: Mapping[Key, Shared] = field(default_factory=dict)
    heard: frozenset[int] = frozenset()

    @classmethod
    def of_notes(cls, notes: Iterable[bytes]) -> Experience:
        """A note that cannot be read is left out: it is another version's."""
        parts, moments = [], []
        for note in notes:
            if len(note) > _HEAD.size and (len(note) - _HEAD.size) % _ROW.itemsize == 0:
                parts.append(np.frombuffer(note, _ROW, offset=_HEAD.size))
                moments.append(_HEAD.unpack_from(note)[0])
        if not parts:
            return cls()
        rows = np.concatenate(parts)
        age = np.repeat(max(moments) - np.array(moments, float), [len(part) for part in parts])
        weight = decay(age).astype(np.float32)
        mixed = rows["heard"] * _MIXER + rows["asked"]  # one word for both: sorted in a fraction of the time
        order = np.argsort(mixed)
        starts = np.flatnonzero(np.diff(mixed[order], prepend=mixed[order[0]] + np.uint64(1)))
        people = np.diff(starts, append=len(order))
        keys = rows[order[starts]]
        turns = np.add.reduceat((weight * rows["turns"])[order], starts)
        likelihood = np.add.reduceat((weight[:, None] * rows["likelihood"])[order], starts, dtype=float)
        rewritten = keys["heard"] != keys["asked"]
        # Where no rate is likelier than that of never failing, no pair does harm.
        judged = rewritten & (people >= LEAST_PEOPLE) & (likelihood.argmax(axis=1) > 0)
        kept = judged | (~rewritten & np.isin(keys["heard"], keys["heard"][judged]))
        return cls(
            {
                (int(keys["heard"][i]), int(keys["asked"][i])): Shared(
                    Evidence(float(turns[i]), likelihood[i]), int(people[i])
                )
                for i in np.flatnonzero(kept)
            },
            frozenset(keys["heard"][rewritten].tolist()),
        )

    def judging(self, heard: str, own: Own) -> Harm:
        """`harm` of the rewrites of one user's `heard`."""
        return lambda candidate, foretold: self.harm(heard, candidate.text, own, foretold)

    def harm(self, heard: str, asked: str, own: Own, foretold: Foretold) -> float:
        """The probability, 0 to 1, that asking `asked` where `heard` was heard does this user harm; 0 where nothing is
        known. One's own experience goes before everybody's where it is good: what fails for others may well be what
        this user wants."""
        if not own and not self.pairs:
            return 0.0
        key = key_of((heard, asked))
        alone = key[0], key[0]
        mine, shared = own.get(key, NONE), self.pairs.get(key)
        own_harm = harm(mine, own.get(alone, NONE), foretold)
        if shared is None or (mine.turns >= _ENOUGH and own_harm < _LITTLE):
            return own_harm
        others = self.pairs.get(alone)
        return max(own_harm, harm(shared.evidence, others.evidence if others else NONE, foretold))

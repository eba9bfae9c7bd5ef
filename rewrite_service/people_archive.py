"""The turns that a bundle was built from, by user, so that a server knows its users from the first request on.

Read-only and mapped: no user's turns are in memory before they are needed. A user is found by a hash of the id, and
every turn read is checked to be that user's own, so that not even a collision could mix two people.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson

from mining.schema import from_record, to_record
from retriever.encoder import DIMENSION
from retriever.interaction import Interaction
from retriever.normalise import normalise
from retriever.packed import key_hash
from retriever.views import TextEncoder


@dataclass(frozen=True, slots=True)
class ArchivedUser:
    """`turns`: in time order. `texts`: their distinct normal forms, `vectors` float32 (texts, 384) their meaning."""

    turns: list[Interaction]
    texts: list[str]
    vectors: np.ndarray

    def after(self, moment_ms: int) -> ArchivedUser:
        """What is left once everything up to `moment_ms` is forgotten."""
        turns = [turn for turn in self.turns if turn.request.timestamp_ms > moment_ms]
        texts = _texts_of(turns)
        kept = set(texts)
        rows = [row for row, text in enumerate(self.texts) if text in kept]
        return ArchivedUser(turns, [self.texts[row] for row in rows], self.vectors[rows])


NOBODY = ArchivedUser([], [], np.zeros((0, DIMENSION), np.float32))


def _texts_of(turns: Sequence[Interaction]) -> list[str]:
    return list(dict.fromkeys(t for t in (normalise(turn.request.query) for turn in turns) if t))


class PeopleArchive:
    """Opened from a bundle's directory; safe to share between threads and processes."""

    def __init__(self, directory: Path) -> None:
        def load(name: str) -> np.ndarray:
            return np.asarray(np.load(directory / f"{name}.npy", mmap_mode="r", allow_pickle=False))

        self._hashes, self._turn_ends, self._row_ends = load("hashes"), load("turn_ends"), load("row_ends")
        self._turns, self._vectors = load("turns"), load("vectors")

    @staticmethod
    def write(directory: Path, people: Mapping[str, Sequence[Interaction]], encoder: TextEncoder) -> None:
        """`people`: by user, each in time order."""
        directory.mkdir(parents=True, exist_ok=True)
        ordered = sorted((key_hash(user), user) for user in people)
        row_ends = np.cumsum([0, *(len(_texts_of(people[user])) for _, user in ordered)], dtype=np.int64)
        blobs = []
        with (directory / "vectors.npy").open("wb") as file:
            # Written as they come: the vectors of a million users would not fit into memory.
            shape = (int(row_ends[-1]), DIMENSION)
            np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
            for _, user in ordered:
                turns = people[user]
                blobs.append(zlib.compress(orjson.dumps([to_record(t) for t in turns]), 6))
                file.write(encoder.encode(_texts_of(turns)).astype("<f4", copy=False).tobytes())
        np.save(directory / "hashes.npy", np.array([h for h, _ in ordered], dtype=np.uint64))
        np.save(directory / "turn_ends.npy", np.cumsum([0, *map(len, blobs)], dtype=np.int64))
        np.save(directory / "row_ends.npy", row_ends)
        np.save(directory / "turns.npy", np.frombuffer(b"".join(blobs), dtype=np.uint8))

    def __len__(self) -> int:
        return len(self._hashes)

    def check(self, most: int) -> None:
        """Reads the turns of `most` users from all over the archive. Raises ValueError where that fails."""
        for at in range(0, len(self), max(1, len(self) // most)):
            try:
                turns = self._turns_at(at)
            except (zlib.error, MemoryError) as error:
                raise ValueError(f"people: the turns of one are damaged: {error}") from error
            rows = self._row_ends[at + 1] - self._row_ends[at]
            if rows != len(_texts_of(turns)):
                raise ValueError("people: the vectors of one are not those of their texts")

    def everyone(self) -> Iterator[list[Interaction]]:
        """The turns of each user, one user at a time."""
        yield from map(self._turns_at, range(len(self)))

    def texts_of(self, user_id: str) -> int:
        """About how many different texts the user's turns hold; nothing is read for it but two numbers."""
        at = self._place_of(user_id)
        return 0 if at is None else int(self._row_ends[at + 1] - self._row_ends[at])

    def user(self, user_id: str) -> ArchivedUser:
        """The user's turns and vectors; `NOBODY` for a user who is not in the log."""
        at = self._place_of(user_id)
        if at is None:
            return NOBODY
        turns = self._turns_at(at)
        if any(turn.request.user_id != user_id for turn in turns):
            return NOBODY
        # Exactly what the encoder gave: a rounded vector in the cache that all share would let one user's visit be
        # seen in another's figures.
        vectors = self._vectors[self._row_ends[at] : self._row_ends[at + 1]]
        return ArchivedUser(turns, _texts_of(turns), vectors)

    def _place_of(self, user_id: str) -> int | None:
        wanted = np.uint64(key_hash(user_id))
        at = int(np.searchsorted(self._hashes, wanted))
        return None if at == len(self._hashes) or self._hashes[at] != wanted else at

    def _turns_at(self, at: int) -> list[Interaction]:
        raw = zlib.decompress(self._turns[self._turn_ends[at] : self._turn_ends[at + 1]].tobytes())
        return [from_record(record) for record in orjson.loads(raw)]

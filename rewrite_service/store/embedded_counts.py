"""Counts that all users share, in the embedded store: keys in spaces, bounded in number, the rarest dropped first."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator, Mapping
from itertools import islice, zip_longest

import lmdb

from rewrite_service.store.base import MAX_COUNT_ROWS, check_counts
from rewrite_service.store.growing_map import GrowingMap

SAMPLED = 16
"""Rows among which the one to drop is chosen: near enough to the rarest of all, without an order to keep."""
_ROWS = struct.Struct(">Q")


class EmbeddedCounts:
    """Rows of the database `name` of `files`: space, 0, key -> the numbers (8 bytes each, big-endian); under the space
    and 0 alone, the number of its keys."""

    def __init__(self, files: GrowingMap, name: str, max_rows: int = MAX_COUNT_ROWS) -> None:
        self._files, self._rows, self._max_rows = files, files[name], max_rows

    def add(self, space: str, counts: Mapping[bytes, tuple[int, ...]]) -> None:
        check_counts(space, counts)
        prefix = space.encode() + b"\0"

        def work(transaction: lmdb.Transaction) -> None:
            held = self._held(transaction, prefix)
            for key, added in counts.items():
                row = transaction.get(prefix + key, db=self._rows)
                known = () if row is None else _unpacked(row)
                total = [a + b for a, b in zip_longest(known, added, fillvalue=0)]
                if row is None and held >= self._max_rows:
                    self._drop_one(transaction, prefix)
                elif row is None:
                    held += 1
                transaction.put(prefix + key, struct.pack(f">{len(total)}Q", *total), db=self._rows)
            transaction.put(prefix, _ROWS.pack(held), db=self._rows)

        if counts:
            self._files.write(work)

    def all(self, space: str) -> dict[bytes, tuple[int, ...]]:
        check_counts(space)
        prefix = space.encode() + b"\0"
        rows = self._files.read(lambda transaction: list(self._from(transaction, prefix, prefix + b"\0")))
        return {key[len(prefix):]: _unpacked(row) for key, row in rows}

    def _held(self, transaction: lmdb.Transaction, prefix: bytes) -> int:
        row = transaction.get(prefix, db=self._rows)
        return 0 if row is None else _ROWS.unpack(row)[0]

    def _from(self, transaction: lmdb.Transaction, prefix: bytes, start: bytes) -> Iterator[tuple[bytes, bytes]]:
        """The rows of a space from the key `start` on."""
        cursor = transaction.cursor(db=self._rows)
        if cursor.set_range(start):
            for key, row in cursor.iternext():
                if not key.startswith(prefix):
                    return
                if key != prefix:
                    yield key, row

    def _drop_one(self, transaction: lmdb.Transaction, prefix: bytes) -> None:
        sample = list(islice(self._from(transaction, prefix, prefix + random.randbytes(8)), SAMPLED))
        if len(sample) < SAMPLED:
            sample += islice(self._from(transaction, prefix, prefix), SAMPLED)
        rarest, _ = min(sample, key=lambda entry: sum(_unpacked(entry[1])))
        transaction.delete(rarest, db=self._rows)


def _unpacked(row: bytes) -> tuple[int, ...]:
    return struct.unpack(f">{len(row) // 8}Q", row)

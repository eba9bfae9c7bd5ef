"""The store of a server on its own: LMDB files in the state folder, no other process needed.

Crash-safe: what `append` has acknowledged survives kill -9 and a power cut. Several processes may hold the same
folder (workers of one machine); a folder on a network file system may not be shared. One process opens it once.

Layout, all keys in byte order:
- turns: user key, timestamp (8 bytes, big-endian), interaction id -> the turn (`codec`)
- ids:   user key, 128-bit hash of the interaction id -> timestamp
- users: user key -> revision, number of turns (8 bytes each, big-endian)
- about: "layout" -> the version of this layout
The user key is a 128-bit hash of the user's id: one length for all, so that no user's range can reach into another's
and no id, however long, meets LMDB's limit of 511 bytes a key.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path

import lmdb

from retriever.interaction import Interaction
from rewrite_service.errors import StoreError
from rewrite_service.store.base import MAX_TURNS_PER_USER, TurnFeedback, merged
from rewrite_service.store.codec import StoredTurn, decode, encode
from rewrite_service.store.growing_map import GrowingMap

LAYOUT = b"1"

_STAMP = struct.Struct(">Q")
_USER = struct.Struct(">QQ")
_MAX_ID_BYTES_IN_KEY = 400


def _hash(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _turn_key(user: bytes, stamp: bytes, interaction_id: str) -> bytes:
    """UTF-8 sorts as its text does, so the keys of one user are in order of (timestamp, interaction id)."""
    name = interaction_id.encode("utf-8", "surrogatepass")
    if len(name) > _MAX_ID_BYTES_IN_KEY:
        name = name[:_MAX_ID_BYTES_IN_KEY] + _hash(interaction_id)
    return user + stamp + name


class EmbeddedStore:
    """A `Store` in the folder `path`, which is made where there is none.

    `max_turns_per_user`: the newest so many turns of each user are kept, at least 1. `map_bytes`: the size of the
    memory map to begin with. Raises `StoreError` where the folder cannot be used.
    """

    def __init__(
        self, path: Path, *, max_turns_per_user: int = MAX_TURNS_PER_USER, map_bytes: int = 256 * 1024 * 1024
    ) -> None:
        if max_turns_per_user < 1:
            raise ValueError("max_turns_per_user must be at least 1")
        self._max_turns = max_turns_per_user
        self._map = GrowingMap(path, ("turns", "ids", "users", "about"), map_bytes)
        self._turns, self._ids, self._users = self._map["turns"], self._map["ids"], self._map["users"]
        layout = self._map.read(lambda transaction: transaction.get(b"layout", db=self._map["about"]))
        if layout is None:
            self._map.write(lambda transaction: transaction.put(b"layout", LAYOUT, db=self._map["about"]))
        elif layout != LAYOUT:
            self.close()
            raise StoreError(f"the store in {path} is of layout {layout!r}; this version reads {LAYOUT!r}")

    def append(self, turns: Sequence[Interaction]) -> int:
        if not turns:
            return 0
        # Users are hashed and turns encoded before the one writer's lock is taken.
        rows = [
            (_hash(turn.request.user_id), turn.request.interaction_id, _STAMP.pack(turn.request.timestamp_ms),
             encode(StoredTurn(turn)))
            for turn in turns
        ]

        def work(transaction: lmdb.Transaction) -> int:
            new: dict[bytes, int] = defaultdict(int)
            for user, interaction_id, stamp, row in rows:
                if transaction.put(user + _hash(interaction_id), stamp, overwrite=False, db=self._ids):
                    transaction.put(_turn_key(user, stamp, interaction_id), row, db=self._turns)
                    new[user] += 1
            for user, added in new.items():
                revision, held = self._user(transaction, user)
                held = self._drop_oldest(transaction, user, held + added)
                transaction.put(user, _USER.pack(revision + 1, held), db=self._users)
            return sum(new.values())

        return self._map.write(work)

    def amend(self, feedback: Sequence[TurnFeedback]) -> int:
        if not feedback:
            return 0

        def work(transaction: lmdb.Transaction) -> int:
            found = 0
            changed: set[bytes] = set()
            for late in feedback:
                user = _hash(late.user_id)
                stamp = transaction.get(user + _hash(late.interaction_id), db=self._ids)
                if stamp is None:
                    continue
                found += 1
                key = _turn_key(user, stamp, late.interaction_id)
                row = transaction.get(key, db=self._turns)
                amended = encode(_amended(decode(row), late))
                if amended != row:
                    transaction.put(key, amended, db=self._turns)
                    changed.add(user)
            for user in changed:
                revision, held = self._user(transaction, user)
                transaction.put(user, _USER.pack(revision + 1, held), db=self._users)
            return found

        return self._map.write(work)

    def turns(self, user_id: str) -> list[Interaction]:
        found = [turn.interaction for turn in self._stored(user_id)]
        # Keys are in this order but for ids too long for a key that begin alike.
        found.sort(key=lambda turn: (turn.request.timestamp_ms, turn.request.interaction_id))
        return found[-self._max_turns:]

    def rewrites(self, user_id: str) -> dict[str, str]:
        return {
            turn.interaction.request.interaction_id: turn.rewritten_query
            for turn in self._stored(user_id)
            if turn.rewritten_query is not None
        }

    def revision(self, user_id: str) -> int:
        user = _hash(user_id)
        return self._map.read(lambda transaction: self._user(transaction, user)[0])

    def close(self) -> None:
        self._map.close()

    def _stored(self, user_id: str) -> list[StoredTurn]:
        user = _hash(user_id)
        rows = self._map.read(lambda transaction: [row for _, row in self._rows(transaction, user)])
        return [decode(row) for row in rows]

    def _rows(self, transaction: lmdb.Transaction, user: bytes) -> Iterator[tuple[bytes, bytes]]:
        cursor = transaction.cursor(db=self._turns)
        if cursor.set_range(user):
            for key, row in cursor.iternext():
                if not key.startswith(user):
                    return
                yield key, row

    def _user(self, transaction: lmdb.Transaction, user: bytes) -> tuple[int, int]:
        """Revision and number of turns held."""
        row = transaction.get(user, db=self._users)
        return (0, 0) if row is None else _USER.unpack(row)

    def _drop_oldest(self, transaction: lmdb.Transaction, user: bytes, held: int) -> int:
        """Drops turns beyond the limit; returns how many are held then."""
        surplus = held - self._max_turns
        if surplus <= 0:
            return held
        oldest = [entry for entry, _ in zip(self._rows(transaction, user), range(surplus), strict=False)]
        for key, row in oldest:
            transaction.delete(key, db=self._turns)
            interaction_id = decode(row).interaction.request.interaction_id
            transaction.delete(user + _hash(interaction_id), db=self._ids)
        return held - len(oldest)


def _amended(turn: StoredTurn, late: TurnFeedback) -> StoredTurn:
    interaction = replace(turn.interaction, feedback=merged(turn.interaction.feedback, late.feedback))
    rewritten = turn.rewritten_query if late.rewritten_query is None else late.rewritten_query
    return StoredTurn(interaction, rewritten)

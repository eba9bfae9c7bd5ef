"""How the embedded store lays out its files, and how older layouts are brought up to date.

Layout 2, all keys in byte order, numbers 8 bytes each and big-endian:
- turns:       user key, timestamp, interaction id -> the turn (`codec`)
- ids:         user key, 128-bit hash of the interaction id -> timestamp
- useful:      user key, score (`usefulness`), timestamp, hash of the interaction id -> the rest of the key in turns
- preferences: user key, 128-bit hash of the preference's id -> the preference (`codec`)
- users:       user key -> revision, number of turns, bytes of turns, time of the newest turn there has been
- forgotten:   user key -> the moment up to which the user was forgotten
- notes:       user key, space -> the note (see `embedded_notes`)
- counts:      see `embedded_counts`
- about:       "layout" -> the version of this layout
The user key is a 128-bit hash of the user's id: one length for all, so that no user's range can reach into another's
and no id, however long, meets LMDB's limit of 511 bytes a key.

Layout 1 had neither useful, preferences, forgotten, notes nor counts, and neither bytes nor time in users.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

import lmdb

from retriever.interaction import Interaction
from rewrite_service.errors import StoreError
from rewrite_service.store.base import id_hash
from rewrite_service.store.codec import decode
from rewrite_service.store.growing_map import GrowingMap
from rewrite_service.store.usefulness import score

DATABASES = ("turns", "ids", "useful", "preferences", "users", "forgotten", "notes", "counts", "about")
OF_A_USER = ("turns", "ids", "useful", "preferences", "notes")
"""Those with rows of a user under the user's key; what a forgetting empties."""
LAYOUT = b"2"

STAMP = struct.Struct(">Q")
_ABOUT = struct.Struct(">QQQQ")
_USER_BYTES = _HASH_BYTES = 16
_MAX_ID_BYTES_IN_KEY = 400


@dataclass(frozen=True, slots=True)
class About:
    """A user's row in users."""

    revision: int = 0
    turns: int = 0
    nbytes: int = 0
    newest_ms: int = 0

    def with_turn(self, nbytes: int, at_ms: int) -> About:
        return replace(
            self, turns=self.turns + 1, nbytes=self.nbytes + nbytes, newest_ms=max(self.newest_ms, at_ms)
        )

    def without_turn(self, nbytes: int) -> About:
        return replace(self, turns=self.turns - 1, nbytes=self.nbytes - nbytes)

    def grown(self, nbytes: int) -> About:
        return replace(self, nbytes=self.nbytes + nbytes)

    def revised(self, now_us: int) -> About:
        """With a revision never had before, also where the store began anew meanwhile: microseconds since 1970, or one
        more than the last where the clock stands before it."""
        return replace(self, revision=max(self.revision + 1, now_us))

    def packed(self) -> bytes:
        return _ABOUT.pack(self.revision, self.turns, self.nbytes, self.newest_ms)

    @staticmethod
    def unpacked(row: bytes | None) -> About:
        return About() if row is None else About(*_ABOUT.unpack(row))


def turn_key(user: bytes, stamp: bytes, interaction_id: str) -> bytes:
    """UTF-8 sorts as its text does, so the keys of one user are in order of (timestamp, interaction id)."""
    name = interaction_id.encode("utf-8", "surrogatepass")
    if len(name) > _MAX_ID_BYTES_IN_KEY:
        name = name[:_MAX_ID_BYTES_IN_KEY] + id_hash(interaction_id)
    return user + stamp + name


def place_of(user: bytes, turn: Interaction, name: bytes) -> bytes:
    """The turn's key in useful; `name`: the hash of its id."""
    return user + STAMP.pack(score(turn)) + STAMP.pack(turn.request.timestamp_ms) + name


def name_in(place: bytes) -> bytes:
    return place[-_HASH_BYTES:]


def bring_up_to_date(files: GrowingMap, path: Path) -> None:
    """Gives new files the newest layout and changes older ones to it, in one step: killed meanwhile, they are as
    before. Raises `StoreError` for a layout from a later version."""

    def work(transaction: lmdb.Transaction) -> None:
        held = transaction.get(b"layout", db=files["about"])
        if held == LAYOUT:
            return
        if held == b"1":
            _from_layout_1(files, transaction)
        elif held is not None:
            raise StoreError(f"the store in {path} is of layout {held!r}; this version reads up to {LAYOUT!r}")
        transaction.put(b"layout", LAYOUT, db=files["about"])

    if files.read(lambda transaction: transaction.get(b"layout", db=files["about"])) != LAYOUT:
        files.write(work)


def _from_layout_1(files: GrowingMap, transaction: lmdb.Transaction) -> None:
    held: dict[bytes, About] = defaultdict(About)
    turns = transaction.cursor(db=files["turns"])
    for key, row in turns.iternext():
        user, tail = key[:_USER_BYTES], key[_USER_BYTES:]
        turn = decode(row).interaction
        name = id_hash(turn.request.interaction_id)
        transaction.put(place_of(user, turn, name), tail, db=files["useful"])
        held[user] = held[user].with_turn(len(row), turn.request.timestamp_ms)
    old = struct.Struct(">QQ")
    users = transaction.cursor(db=files["users"])
    for user, row in list(users.iternext()):
        transaction.put(user, replace(held[user], revision=old.unpack(row)[0]).packed(), db=files["users"])

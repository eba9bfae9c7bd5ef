"""Notes in the embedded store: what each user adds to what all learn, one small row by user and space."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import islice

import lmdb

from rewrite_service.store.base import MAX_NOTES, check_note, user_key
from rewrite_service.store.growing_map import GrowingMap

_USER_BYTES = 16
_AT_ONCE = 500
"""Rows read in one go: no other thread runs meanwhile, and requests must not wait."""


class EmbeddedNotes:
    """Rows of the database `name` of `files`: user key, space -> the note. `revision_of`: a user's, by user key."""

    def __init__(
        self,
        files: GrowingMap,
        name: str,
        revision_of: Callable[[lmdb.Transaction, bytes], int],
        max_notes: int = MAX_NOTES,
    ) -> None:
        self._files, self._rows, self._revision_of, self._max_notes = files, files[name], revision_of, max_notes

    def put(self, user_id: str, space: str, note: bytes, revision: int) -> bool:
        check_note(space, note)
        user = user_key(user_id)
        key = user + space.encode()

        def work(transaction: lmdb.Transaction) -> bool:
            if self._revision_of(transaction, user) != revision:
                return False
            if not note:
                transaction.delete(key, db=self._rows)
            else:
                transaction.put(key, note, db=self._rows)
                if transaction.stat(self._rows)["entries"] > self._max_notes:
                    self._drop_one(transaction, key)
            return True

        return self._files.write(work)

    def all(self, space: str) -> dict[bytes, bytes]:
        check_note(space, b"")
        ending = space.encode()

        def work(transaction: lmdb.Transaction) -> dict[bytes, bytes]:
            rows = transaction.cursor(db=self._rows).iternext()
            found: dict[bytes, bytes] = {}
            while some := list(islice(rows, _AT_ONCE)):
                found |= {key[:_USER_BYTES]: note for key, note in some if key[_USER_BYTES:] == ending}
            return found

        return self._files.read(work)

    def _drop_one(self, transaction: lmdb.Transaction, kept: bytes) -> None:
        """One at random, since keys are hashes; not the one just written."""
        cursor = transaction.cursor(db=self._rows)
        if not cursor.set_range(random.randbytes(_USER_BYTES)):
            cursor.first()
        if cursor.key() == kept and not cursor.next():
            cursor.first()
        cursor.delete()

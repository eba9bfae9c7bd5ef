"""The store of a server on its own: LMDB files in the state folder, no other process needed.

Crash-safe: what has been acknowledged survives kill -9 and a power cut. Several processes may hold the same folder
(workers of one machine); a folder on a network file system may not be shared. One process opens it once. The layout is
described in `embedded_layout`.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import lmdb

from retriever.interaction import Interaction
from retriever.preference import Preference
from rewrite_service.errors import LimitReached
from rewrite_service.store import embedded_layout as layout
from rewrite_service.store.base import (
    MAX_BYTES_PER_USER,
    MAX_COUNT_ROWS,
    MAX_NOTES,
    MAX_PREFERENCES,
    MAX_TURNS_PER_USER,
    Forgotten,
    TurnFeedback,
    UserRecord,
    id_hash,
    user_key,
)
from rewrite_service.store.codec import StoredTurn, StoredUser, decode, encode, encode_preference
from rewrite_service.store.embedded_counts import EmbeddedCounts
from rewrite_service.store.embedded_layout import STAMP, About, place_of, turn_key
from rewrite_service.store.embedded_notes import EmbeddedNotes
from rewrite_service.store.growing_map import GrowingMap
from rewrite_service.store.known_revisions import KnownRevisions
from rewrite_service.store.usefulness import is_protected


class EmbeddedStore:
    """A `Store` in the folder `path`, which is made where there is none.

    `max_turns_per_user`, `max_bytes_per_user`: bounds of each user's turns, at least 1.
    `max_count_rows`: keys of a space of counts. `max_notes`: of all users and spaces. `map_bytes`: the size of the
    memory map to begin with. Raises `StoreError` where the folder cannot be used.
    """

    def __init__(
        self,
        path: Path,
        *,
        max_turns_per_user: int = MAX_TURNS_PER_USER,
        max_bytes_per_user: int = MAX_BYTES_PER_USER,
        max_count_rows: int = MAX_COUNT_ROWS,
        max_notes: int = MAX_NOTES,
        map_bytes: int = 256 * 1024 * 1024,
    ) -> None:
        if max_turns_per_user < 1 or max_bytes_per_user < 1:
            raise ValueError("max_turns_per_user and max_bytes_per_user must be at least 1")
        self._max_turns, self._max_bytes = max_turns_per_user, max_bytes_per_user
        self._known = KnownRevisions()
        self._files = files = GrowingMap(path, layout.DATABASES, map_bytes, self._known.wrote)
        self._turns, self._ids, self._useful, self._users, self._preferences, self._forgotten = (
            files[name] for name in ("turns", "ids", "useful", "users", "preferences", "forgotten")
        )
        try:
            layout.bring_up_to_date(files, path)
        except Exception:
            self.close()
            raise
        self._counts = EmbeddedCounts(files, "counts", max_count_rows)
        self._notes = EmbeddedNotes(files, "notes", lambda t, user: self._about(t, user).revision, max_notes)

    def append(self, turns: Sequence[Interaction]) -> int:
        if not turns:
            return 0
        # Users are hashed and turns encoded before the one writer's lock is taken.
        rows = [(user_key(turn.request.user_id), turn, encode(StoredTurn(turn))) for turn in turns]

        def work(transaction: lmdb.Transaction) -> int:
            new: dict[bytes, int] = defaultdict(int)
            forgotten = {user: self._forgotten_ms(transaction, user) or 0 for user, _, _ in rows}
            for user, turn, row in rows:
                request = turn.request
                if request.timestamp_ms <= forgotten[user]:
                    continue
                name, stamp = id_hash(request.interaction_id), STAMP.pack(request.timestamp_ms)
                if len(row) > self._max_bytes:
                    new[user] += 1  # and dropped at once, before it drives out all others
                elif transaction.put(user + name, stamp, overwrite=False, db=self._ids):
                    key = turn_key(user, stamp, request.interaction_id)
                    transaction.put(key, row, db=self._turns)
                    transaction.put(place_of(user, turn, name), key[len(user):], db=self._useful)
                    new[user] += 1
                    about = self._about(transaction, user)
                    self._put_about(transaction, user, about.with_turn(len(row), request.timestamp_ms))
            self._settle(transaction, new)
            return sum(new.values())

        return self._files.write(work, {turn.request.user_id for turn in turns})

    def amend(self, feedback: Sequence[TurnFeedback]) -> int:
        if not feedback:
            return 0

        def work(transaction: lmdb.Transaction) -> int:
            found = 0
            changed: set[bytes] = set()
            for late in feedback:
                user, name = user_key(late.user_id), id_hash(late.interaction_id)
                stamp = transaction.get(user + name, db=self._ids)
                if stamp is None:
                    continue
                found += 1
                key = turn_key(user, stamp, late.interaction_id)
                row = transaction.get(key, db=self._turns)
                turn = decode(row)
                amended = turn.amended(late)
                if amended == turn:
                    continue
                new_row = encode(amended)
                transaction.put(key, new_row, db=self._turns)
                transaction.delete(place_of(user, turn.interaction, name), db=self._useful)
                transaction.put(place_of(user, amended.interaction, name), key[len(user):], db=self._useful)
                about = self._about(transaction, user)
                self._put_about(transaction, user, about.grown(len(new_row) - len(row)))
                changed.add(user)
            self._settle(transaction, changed)
            return found

        return self._files.write(work, {late.user_id for late in feedback})

    def fetch(self, user_id: str, since: int | None = None) -> StoredUser | None:
        user = user_key(user_id)

        def work(transaction: lmdb.Transaction) -> StoredUser | None:
            about = self._about(transaction, user)
            self._known.read(transaction.id(), user_id, about.revision)
            if about.revision == since:
                return None
            turns, preferences = (
                tuple(row for _, row in _under(transaction, rows, user)) for rows in (self._turns, self._preferences)
            )
            return StoredUser(
                about.revision, turns, preferences, self._forgotten_ms(transaction, user), self._max_turns
            )

        return self._files.read(work)

    def user(self, user_id: str) -> UserRecord:
        held = self.fetch(user_id)
        assert held is not None  # only a revision that is given can be the user's still
        return held.record()

    def revision(self, user_id: str) -> int:
        user = user_key(user_id)

        def work(transaction: lmdb.Transaction) -> int:
            revision = self._about(transaction, user).revision
            self._known.read(transaction.id(), user_id, revision)
            return revision

        return self._files.read(work)

    def revision_at_hand(self, user_id: str) -> int | None:
        latest = self._files.latest()
        return None if latest is None else self._known.of(user_id, latest)

    def put_preference(self, user_id: str, preference: Preference) -> None:
        user, name, row = user_key(user_id), id_hash(preference.preference_id), encode_preference(preference)

        def work(transaction: lmdb.Transaction) -> None:
            others = sum(key != user + name for key, _ in _under(transaction, self._preferences, user))
            if others >= MAX_PREFERENCES:
                raise LimitReached(f"{MAX_PREFERENCES} preferences are held, which is the most; remove one first")
            if transaction.get(user + name, db=self._preferences) != row:
                transaction.put(user + name, row, db=self._preferences)
                self._put_about(transaction, user, self._about(transaction, user).revised(_now_us()))

        self._files.write(work, [user_id])

    def remove_preference(self, user_id: str, preference_id: str) -> bool:
        user, name = user_key(user_id), id_hash(preference_id)

        def work(transaction: lmdb.Transaction) -> bool:
            if not transaction.delete(user + name, db=self._preferences):
                return False
            self._put_about(transaction, user, self._about(transaction, user).revised(_now_us()))
            return True

        return self._files.write(work, [user_id])

    def forget(self, user_id: str, at_ms: int) -> Forgotten:
        user = user_key(user_id)

        def work(transaction: lmdb.Transaction) -> Forgotten:
            about = self._about(transaction, user)
            removed = {
                name: sum(
                    transaction.delete(key, db=self._files[name])
                    for key in [key for key, _ in _under(transaction, self._files[name], user)]
                )
                for name in layout.OF_A_USER
            }
            latest = max(at_ms, self._forgotten_ms(transaction, user) or 0)
            transaction.put(user, STAMP.pack(latest), db=self._forgotten)
            self._put_about(transaction, user, About(about.revision).revised(_now_us()))
            return Forgotten(removed["turns"], removed["preferences"])

        return self._files.write(work, [user_id])

    def tombstones(self) -> dict[bytes, int]:
        rows = self._files.read(lambda transaction: list(_under(transaction, self._forgotten, b"")))
        return {user: STAMP.unpack(row)[0] for user, row in rows}

    def add_counts(self, space: str, counts: Mapping[bytes, tuple[int, ...]]) -> None:
        self._counts.add(space, counts)

    def counts(self, space: str) -> dict[bytes, tuple[int, ...]]:
        return self._counts.all(space)

    def put_note(self, user_id: str, space: str, note: bytes, revision: int) -> bool:
        return self._notes.put(user_id, space, note, revision)

    def notes(self, space: str) -> dict[bytes, bytes]:
        return self._notes.all(space)

    def close(self) -> None:
        self._files.close()

    def _about(self, transaction: lmdb.Transaction, user: bytes) -> About:
        return About.unpacked(transaction.get(user, db=self._users))

    def _put_about(self, transaction: lmdb.Transaction, user: bytes, about: About) -> None:
        transaction.put(user, about.packed(), db=self._users)

    def _forgotten_ms(self, transaction: lmdb.Transaction, user: bytes) -> int | None:
        row = transaction.get(user, db=self._forgotten)
        return None if row is None else STAMP.unpack(row)[0]

    def _settle(self, transaction: lmdb.Transaction, changed: Iterable[bytes]) -> None:
        """Brings users whose turns have changed back within the limits, under a new revision."""
        for user in changed:
            about = self._drop_least_useful(transaction, user, self._about(transaction, user))
            self._put_about(transaction, user, about.revised(_now_us()))

    def _drop_least_useful(self, transaction: lmdb.Transaction, user: bytes, about: About) -> About:
        """Drops turns beyond the limits, and says what is held then."""
        dropped = []
        for place, tail in self._least_useful_first(transaction, user, about.newest_ms):
            if about.turns <= self._max_turns and about.nbytes <= self._max_bytes:
                break
            dropped.append((place, tail))
            about = about.without_turn(len(transaction.get(user + tail, db=self._turns)))
        for place, tail in dropped:
            transaction.delete(user + tail, db=self._turns)
            transaction.delete(place, db=self._useful)
            transaction.delete(user + layout.name_in(place), db=self._ids)
        return about

    def _least_useful_first(
        self, transaction: lmdb.Transaction, user: bytes, newest_ms: int
    ) -> Iterator[tuple[bytes, bytes]]:
        """The user's rows in useful, those of the last hour after all others."""
        protected = []
        for place, tail in _under(transaction, self._useful, user):
            if is_protected(STAMP.unpack_from(tail)[0], newest_ms):
                protected.append((place, tail))
            else:
                yield place, tail
        yield from protected


def _now_us() -> int:
    return time.time_ns() // 1000


def _under(transaction: lmdb.Transaction, database: lmdb._Database, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The rows whose key begins with `prefix`, in order."""
    cursor = transaction.cursor(db=database)
    if cursor.set_range(prefix):
        for key, row in cursor.iternext():
            if not key.startswith(prefix):
                return
            yield key, row

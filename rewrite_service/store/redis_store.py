"""The store of several machines: a Redis, or a cluster of them.

One hash slot a user, one round trip a call (late feedback: two), everything with a time to live. What it does inside
Redis, and the keys, are in `redis_scripts`; timeouts and what happens when Redis fails, in `redis_lane` and `breaker`.
As durable as Redis is set up to be: see `redis_check`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from retriever.interaction import Interaction
from retriever.preference import Preference
from rewrite_service.errors import LimitReached, StoreError
from rewrite_service.store import redis_scripts as lua
from rewrite_service.store.base import (
    MAX_BYTES_PER_USER,
    MAX_COUNT_ROWS,
    MAX_NOTES,
    MAX_PREFERENCES,
    MAX_TURNS_PER_USER,
    Forgotten,
    TurnFeedback,
    UserRecord,
    check_counts,
    check_note,
    id_hash,
    user_key,
)
from rewrite_service.store.breaker import Probes
from rewrite_service.store.codec import StoredTurn, StoredUser, decode, encode, encode_preference
from rewrite_service.store.redis_check import check
from rewrite_service.store.redis_lane import Client, Lane, Reach, Script
from rewrite_service.store.usefulness import PROTECTED_MS, score

TOMBSTONE_TTL_MS = 10 * 366 * 24 * 3600 * 1000
"""Longer than any log of a user who was forgotten should be kept."""
PROBE_EVERY_S = 0.25
_SAMPLED = 16
_ATTEMPTS = 8
_SCAN = 1000

_FETCH, _APPEND, _REPLACE, _FORGET = (Script(s) for s in (lua.FETCH, lua.APPEND, lua.REPLACE, lua.FORGET))
_PUT, _REMOVE, _COUNT = (Script(s) for s in (lua.PUT_PREFERENCE, lua.REMOVE_PREFERENCE, lua.ADD_COUNTS))
_NOTE = Script(lua.PUT_NOTE)
_SPACES = "qr1:spaces"


@dataclass(frozen=True, slots=True)
class _Keys:
    user: str
    useful: str
    gone: str

    @staticmethod
    def of(user_id: str) -> _Keys:
        tag = f"qr1:{{{user_key(user_id).hex()}}}"
        return _Keys(f"{tag}:user", f"{tag}:useful", f"{tag}:gone")


class RedisStore:
    """A `Store` in the Redis at `url` (redis://, rediss:// or unix://).

    `read_timeout_s` is for what a `Rewrite` waits for, `write_timeout_s` for all else; `connect_timeout_s` for both.
    `ttl_s`: how long after the last write a user's rows are kept. `probe_every_s`: how often one that failed is tried
    again. Begins cut off, and says so in the log, where Redis cannot be reached; raises `StoreError` where it can be
    reached and cannot be used.
    """

    def __init__(
        self,
        url: str,
        *,
        cluster: bool = False,
        read_timeout_s: float = 0.01,
        write_timeout_s: float = 1.0,
        connect_timeout_s: float = 0.05,
        ttl_s: int = 400 * 24 * 3600,
        max_turns_per_user: int = MAX_TURNS_PER_USER,
        max_bytes_per_user: int = MAX_BYTES_PER_USER,
        max_count_rows: int = MAX_COUNT_ROWS,
        max_notes: int = MAX_NOTES,
        probe_every_s: float = PROBE_EVERY_S,
    ) -> None:
        if max_turns_per_user < 1 or max_bytes_per_user < 1:
            raise ValueError("max_turns_per_user and max_bytes_per_user must be at least 1")
        if url.startswith("rediss://"):  # redis-py has the handshake fall under it: a connection could never be made
            read_timeout_s = max(read_timeout_s, connect_timeout_s)
        self._ttl_ms, self._max_turns, self._max_count_rows = ttl_s * 1000, max_turns_per_user, max_count_rows
        self._max_notes = max_notes
        self._bounds = (self._ttl_ms, max_turns_per_user, max_bytes_per_user, PROTECTED_MS)
        self._probes = Probes(probe_every_s)
        self._reads, self._writes = (
            Lane(name, Reach(url, cluster, timeout_s, connect_timeout_s, 3, 3 * timeout_s), self._probes)
            for name, timeout_s in (("reads", read_timeout_s), ("writes", write_timeout_s))
        )
        try:
            check(self._writes, cluster=cluster)
        except StoreError:
            self.close()
            raise
        for lane in (self._reads, self._writes):
            lane.connect()

    def append(self, turns: Sequence[Interaction]) -> int:
        rows: dict[str, list[object]] = defaultdict(list)
        for turn in turns:
            request = turn.request
            rows[request.user_id] += (
                id_hash(request.interaction_id), _stamp(turn), score(turn), encode(StoredTurn(turn))
            )  # fmt: skip
        new = 0
        for user_id, arguments in rows.items():
            keys = _Keys.of(user_id)
            new += self._writes.script(_APPEND, (keys.user, keys.useful, keys.gone), (*self._bounds, *arguments))
        return new

    def amend(self, feedback: Sequence[TurnFeedback]) -> int:
        by_user: dict[str, list[TurnFeedback]] = defaultdict(list)
        for late in feedback:
            by_user[late.user_id].append(late)
        return sum(self._amend(_Keys.of(user_id), of_user) for user_id, of_user in by_user.items())

    def _amend(self, keys: _Keys, feedback: Sequence[TurnFeedback]) -> int:
        """Reads the turns, and puts the amended ones in their place if nobody has changed them meanwhile."""
        names = [id_hash(late.interaction_id) for late in feedback]
        fields = [b"t" + name for name in names]
        for _ in range(_ATTEMPTS):
            rows = dict(zip(names, self._writes.run(keys.user, lambda c: c.hmget(keys.user, fields)), strict=True))
            held = {name: decode(row) for name, row in rows.items() if row is not None}
            amended = dict(held)
            for name, late in zip(names, feedback, strict=True):
                if name in amended:
                    amended[name] = amended[name].amended(late)
            arguments: list[object] = []
            for name, turn in amended.items():
                if turn != held[name]:
                    arguments += (name, _stamp(turn.interaction), score(turn.interaction), rows[name], encode(turn))
            if not arguments or self._writes.script(_REPLACE, (keys.user, keys.useful), (*self._bounds, *arguments)):
                return sum(name in held for name in names)
        raise StoreError("a turn was changed by others again and again")

    def fetch(self, user_id: str, since: int | None = None) -> StoredUser | None:
        keys = _Keys.of(user_id)
        found = self._reads.script(_FETCH, (keys.user, keys.gone), ("" if since is None else since,))
        if found is None:
            return None
        fields, gone = found
        rows = dict(zip(fields[::2], fields[1::2], strict=True))
        turns, preferences = (tuple(row for name, row in rows.items() if name[:1] == kind) for kind in (b"t", b"p"))
        return StoredUser(
            int(rows.get(b"r", 0)), turns, preferences, None if gone is None else int(gone), self._max_turns
        )

    def user(self, user_id: str) -> UserRecord:
        held = self.fetch(user_id)
        assert held is not None  # only a revision that is given can be the user's still
        return held.record()

    def revision(self, user_id: str) -> int:
        key = _Keys.of(user_id).user
        return int(self._reads.run(key, lambda client: client.hget(key, "r")) or 0)

    def revision_at_hand(self, user_id: str) -> int | None:
        return None  # another machine may have written a moment ago

    def put_preference(self, user_id: str, preference: Preference) -> None:
        row = encode_preference(preference)
        arguments = (self._ttl_ms, MAX_PREFERENCES, id_hash(preference.preference_id), row)
        if not self._writes.script(_PUT, (_Keys.of(user_id).user,), arguments):
            raise LimitReached(f"{MAX_PREFERENCES} preferences are held, which is the most; remove one first")

    def remove_preference(self, user_id: str, preference_id: str) -> bool:
        return bool(self._writes.script(_REMOVE, (_Keys.of(user_id).user,), (self._ttl_ms, id_hash(preference_id))))

    def forget(self, user_id: str, at_ms: int) -> Forgotten:
        keys = _Keys.of(user_id)
        arguments = (self._ttl_ms, TOMBSTONE_TTL_MS, at_ms)
        forgotten = Forgotten(*self._writes.script(_FORGET, (keys.user, keys.useful, keys.gone), arguments))
        # Notes come last: whoever puts one looks afterwards whether the user is still the same.
        for space in self._writes.run(_SPACES, lambda client: client.smembers(_SPACES)):
            self._remove_note(user_id, space.decode())
        return forgotten

    def tombstones(self) -> dict[bytes, int]:
        found: dict[bytes, int] = {}
        for key in self._writes.run("qr1", lambda client: list(client.scan_iter("qr1:{*}:gone", count=_SCAN))):
            at_ms = self._writes.run(key, partial(_value_of, key))
            if at_ms is not None:
                found[bytes.fromhex(key[len(b"qr1:{"): -len(b"}:gone")].decode())] = int(at_ms)
        return found

    def add_counts(self, space: str, counts: Mapping[bytes, tuple[int, ...]]) -> None:
        check_counts(space, counts)
        arguments = [part for key, added in counts.items() for part in (key, ",".join(map(str, added)))]
        if arguments:
            key = f"qr1:counts:{space}"
            self._writes.script(_COUNT, (key,), (self._ttl_ms, self._max_count_rows, _SAMPLED, *arguments))

    def counts(self, space: str) -> dict[bytes, tuple[int, ...]]:
        check_counts(space)
        key = f"qr1:counts:{space}"
        rows: Iterable[tuple[bytes, bytes]] = self._writes.run(key, lambda c: list(c.hscan_iter(key, count=_SCAN)))
        return {name: tuple(map(int, row.split(b","))) for name, row in rows}

    def put_note(self, user_id: str, space: str, note: bytes, revision: int) -> bool:
        """Notes of all are in one slot and a user is in another: so the revision is looked at before and after."""
        check_note(space, note)
        if self.revision(user_id) != revision:
            return False
        if not note:
            self._remove_note(user_id, space)
            return True
        self._writes.run(_SPACES, lambda client: (client.sadd(_SPACES, space), client.pexpire(_SPACES, self._ttl_ms)))
        self._writes.script(_NOTE, (_notes_of(space),), (self._ttl_ms, self._max_notes, user_key(user_id), note))
        if self.revision(user_id) == revision:
            return True
        self._remove_note(user_id, space)
        return False

    def _remove_note(self, user_id: str, space: str) -> None:
        key = _notes_of(space)
        self._writes.run(key, lambda client: client.hdel(key, user_key(user_id)))

    def notes(self, space: str) -> dict[bytes, bytes]:
        check_note(space, b"")
        key = _notes_of(space)
        return self._writes.run(key, lambda client: dict(client.hscan_iter(key, count=_SCAN)))

    def close(self) -> None:
        self._probes.end()
        self._reads.close()
        self._writes.close()


def _value_of(key: bytes, client: Client) -> Any:
    return client.get(key)


def _notes_of(space: str) -> str:
    return f"qr1:notes:{space}"


def _stamp(turn: Interaction) -> str:
    return f"{turn.request.timestamp_ms:0{lua.STAMP_DIGITS}d}"

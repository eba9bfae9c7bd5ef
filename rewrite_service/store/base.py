"""What every store of users' turns promises, whatever it keeps them in.

The promises are tested once for all backends by tests/rewrite_service/store_contract.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Protocol

from retriever.interaction import Feedback, Interaction
from retriever.interaction import TurnFeedback as TurnFeedback
from retriever.preference import Preference

if TYPE_CHECKING:
    from rewrite_service.store.codec import StoredUser

MAX_TURNS_PER_USER = 2000
"""Turns kept of one user unless set otherwise: about a year of a busy household."""
MAX_BYTES_PER_USER = 4 * 1024 * 1024
"""Bytes of one user's turns, as encoded, unless set otherwise; a turn is usually some 400."""
MAX_PREFERENCES = 100
"""Preferences of one user."""
MAX_COUNT_ROWS = 100_000
"""Rows of one space of counts."""
MAX_COUNT_KEY_BYTES = 256
MAX_SPACE_CHARS = 32
MAX_NOTES = 100_000
"""Notes of all users."""
MAX_NOTE_BYTES = 4096


def id_hash(text: str) -> bytes:
    """128-bit BLAKE2b of an id: of one length, whatever the id."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def user_key(user_id: str) -> bytes:
    """`id_hash` of a user's id: what a store finds a user by, and all that a tombstone tells of one."""
    return id_hash(user_id)


@dataclass(frozen=True, slots=True)
class UserRecord:
    """All that a store holds of one user, as of one moment; as it is by default of a user nobody knows.

    `revision`: see `Store.revision`. `turns`: in order of (timestamp_ms, interaction_id). `rewrites`: interaction_id to
    the rewrite that the turn was served with, for those of which one was told. `preferences`: in order of (taught_ms,
    preference_id). `forgotten_ms`: the moment up to which everything of the user was forgotten; turns up to then that
    come from elsewhere (a bundle's archive) must not count. None: never.
    """

    revision: int = 0
    turns: tuple[Interaction, ...] = ()
    rewrites: Mapping[str, str] = field(default_factory=dict)
    preferences: tuple[Preference, ...] = ()
    forgotten_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Forgotten:
    """How much of a user was removed."""

    turns: int
    preferences: int


def merged(known: Feedback, late: Feedback) -> Feedback:
    """`known` with what `late` adds. Merging the same feedback twice changes nothing."""
    return Feedback(
        barge_in=known.barge_in or late.barge_in,
        explicit=known.explicit if late.explicit is None else late.explicit,
        dwell_s=known.dwell_s if late.dwell_s is None else late.dwell_s,
    )


def check_counts(space: str, counts: Mapping[bytes, tuple[int, ...]] | None = None) -> None:
    """Raises ValueError where a space, a key or a count is out of its bounds (see `Store.add_counts`)."""
    _check_space(space)
    for key, added in (counts or {}).items():
        if not 1 <= len(key) <= MAX_COUNT_KEY_BYTES:
            raise ValueError(f"a key of counts is 1 to {MAX_COUNT_KEY_BYTES} bytes long")
        if not added or any(not 0 <= n < 1 << 31 for n in added):
            raise ValueError("counts are one or more whole numbers from 0 and below 2**31")


def check_note(space: str, note: bytes) -> None:
    """Raises ValueError where a space or a note is out of its bounds (see `Store.put_note`)."""
    _check_space(space)
    if len(note) > MAX_NOTE_BYTES:
        raise ValueError(f"a note is at most {MAX_NOTE_BYTES} bytes long")


def _check_space(space: str) -> None:
    if not 1 <= len(space) <= MAX_SPACE_CHARS or not (space.isascii() and space.replace("-", "").isalnum()):
        raise ValueError(f"a space is 1 to {MAX_SPACE_CHARS} ASCII letters, digits and hyphens")


class Store(Protocol):
    """Turns and preferences by user. Who asks is a hard partition: nothing of one user is ever read or written under
    another. Counts, and notes, which all may read, hold no text and no id.

    Safe to call from several threads. Every method raises `StoreError` where the storage fails: a failure never reads
    as a user nobody knows.
    """

    def append(self, turns: Sequence[Interaction]) -> int:
        """Adds turns of any users, in any order; durable on return, all or none of each user. Where it raises, some
        users' may be in: sending them again is safe, as a turn known by its (user_id, interaction_id) is left as it is.

        A turn from before the user's last forgetting is not taken. Of each user the most useful `max_turns_per_user`
        within `max_bytes_per_user` are kept (see `usefulness`); one that is not among them is counted, then dropped.
        Returns how many were new.
        """
        ...

    def amend(self, feedback: Sequence[TurnFeedback]) -> int:
        """Merges late feedback into stored turns (see `merged`); durable on return, all or none of each user.

        Feedback on a turn that is not held is passed over. Returns how many named a turn that is.
        """
        ...

    def user(self, user_id: str) -> UserRecord:
        """Everything held of the user, as of one moment, in one round trip; an empty record of one nobody knows."""
        ...

    def fetch(self, user_id: str, since: int | None = None) -> StoredUser | None:
        """The same as it is kept, for whoever would rather decode it later or not at all: decoding takes by far the
        most time. None where the user's revision is still `since`. One round trip: all that a cache has to ask."""
        ...

    def revision(self, user_id: str) -> int:
        """Grows whenever anything of the user changes, so that what was derived from it can be told stale; never the
        same for two states, not even after a store was lost and began anew.

        0 for a user nobody knows. Cheap, whatever the user's number of turns.
        """
        ...

    def revision_at_hand(self, user_id: str) -> int | None:
        """The user's revision where it is certain without waiting for a disk, a network or another thread: it has been
        asked for, and nothing was written since that could have changed it, by whomever. Else None. Never raises."""
        ...

    def put_preference(self, user_id: str, preference: Preference) -> None:
        """Adds a preference, or replaces the user's own of the same id; durable on return. Raises `LimitReached` where
        the user has `MAX_PREFERENCES` others already."""
        ...

    def remove_preference(self, user_id: str, preference_id: str) -> bool:
        """Removes a preference for good; durable on return. False where the user has none of that id."""
        ...

    def forget(self, user_id: str, at_ms: int) -> Forgotten:
        """Removes everything of the user; durable on return. Turns of up to `at_ms` (milliseconds since 1970 UTC) that
        come later, late or sent again, are not taken; those after it count as ever.

        What stays is a tombstone, which tells no more than `user_key` and the latest `at_ms`, and a new revision, so
        that caches everywhere become stale. For users nobody knows as well: a bundle may know them.
        """
        ...

    def tombstones(self) -> dict[bytes, int]:
        """`user_key` to the moment up to which the user was forgotten: what the next build must leave out. Reads as
        long as there are users who were forgotten."""
        ...

    def add_counts(self, space: str, counts: Mapping[bytes, tuple[int, ...]]) -> None:
        """Adds to the counts under each key, number by number, a key nobody has counted being all 0; durable on return.

        `space`: who counts, 1 to 32 ASCII letters, digits and hyphens. Keys: 1 to 256 bytes; hashes, since all users
        share them. Counts: from 0 and below 2**31. A space keeps `MAX_COUNT_ROWS` keys: beyond, the one with the least
        counts of some taken at random is dropped. Raises ValueError for what is out of bounds.
        """
        ...

    def counts(self, space: str) -> dict[bytes, tuple[int, ...]]:
        """All counts of a space, those of one key as of one moment."""
        ...

    def put_note(self, user_id: str, space: str, note: bytes, revision: int) -> bool:
        """Keeps `note` as the user's own in `space`, in place of the one before; an empty one removes it. Durable on
        return, in one step, so that whatever a user adds to what all learn is counted once, however often it is told.

        `note`: at most 4,096 bytes, hashes and figures, since all servers read it. `revision`: of the user as the note
        was made from; where anything of the user has changed since, it is not kept, and False returned. Forgetting the
        user removes it. `MAX_NOTES` are kept: beyond, one taken at random is dropped. Changes no revision. Raises
        ValueError for what is out of bounds.
        """
        ...

    def notes(self, space: str) -> dict[bytes, bytes]:
        """All notes of a space, by `user_key`."""
        ...

    def close(self) -> None:
        """Gives back files and memory. Closing twice is fine; any other call after it raises `StoreError`."""
        ...

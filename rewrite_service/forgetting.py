"""Forgetting a user in a running service: the store, the caches of this process, and what others will find stale.

Other processes learn of it by the store's revision, which makes whatever they hold of the user unreachable at once,
and by its tombstones, at which they look from time to time to drop it from memory as well.
"""

from __future__ import annotations

import shutil
import time
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from retriever.interaction import Interaction
from retriever.remember import forget_all
from rewrite_service.assemble import Knowledge
from rewrite_service.errors import StoreError
from rewrite_service.kept_bundles import with_kept
from rewrite_service.people_archive import PeopleArchive
from rewrite_service.store.base import Store, user_key
from rewrite_service.store.embedded_files import has_store
from rewrite_service.store.opening import open_store

if TYPE_CHECKING:
    from rewrite_service.settings import Settings

_SPACE, _ALL = "forgettings", b"all"
"""Where the store counts how often users were forgotten."""


class CacheByUser(Protocol):
    """Something that is held in memory by user."""

    def users(self) -> set[str]: ...

    def drop(self, users: Collection[str]) -> None: ...


@dataclass(frozen=True, slots=True)
class ForgottenUser:
    """What was held of a user: turns and preferences in the store; `in_bundle`: turns in the bundle as well, which
    keeps them, unserved, until the next build."""

    turns: int
    preferences: int
    in_bundle: bool


def forget(user_id: str, store: Store, archives: Sequence[PeopleArchive]) -> ForgottenUser:
    """Removes all that the store holds of the user, durably, and everything up to now from what counts of the bundles'.
    Raises StoreError."""
    archived = [turn for archive in archives for turn in archive.user(user_id).turns]
    # A device whose clock is ahead has said things at moments that are still to come.
    said = [turn.request.timestamp_ms for turn in (*store.user(user_id).turns, *archived)]
    gone = store.forget(user_id, max([time.time_ns() // 1_000_000, *said]))
    store.add_counts(_SPACE, {_ALL: (1,)})
    return ForgottenUser(gone.turns, gone.preferences, bool(archived))


class Forgetter:
    """Forgets users in the store and in this process's memory. Thread-safe."""

    def __init__(
        self,
        store: Store,
        archive: PeopleArchive,
        knowledge: Knowledge,
        by_user: Sequence[CacheByUser],
    ) -> None:
        """`by_user`: the caches of what is held by user; those by text are `knowledge`'s and the libraries'."""
        self._store, self._archive, self._knowledge, self._by_user = store, archive, knowledge, by_user
        self._counted: Mapping[bytes, tuple[int, ...]] = {}
        self._seen: Mapping[bytes, int] = {}

    def forget(self, user_id: str) -> ForgottenUser:
        """Everything of the user, everywhere. Raises StoreError."""
        forgotten = forget(user_id, self._store, [self._archive])
        for cache in self._by_user:
            cache.drop({user_id})
        clear_text_caches(self._knowledge)
        return forgotten

    def sweep(self) -> None:
        """Drops from memory whom another process has forgotten since the last time, and whom a request under way has
        brought back while this one forgot. Nothing of them could be reached any more. Cheap where nobody was forgotten:
        the tombstones are gone through only when their number has changed. Raises StoreError."""
        counted = self._store.counts(_SPACE)
        if counted == self._counted:
            return
        tombstones = self._store.tombstones()
        new = {user for user, at_ms in tombstones.items() if self._seen.get(user) != at_ms}
        self._counted, self._seen = counted, tombstones
        if not new:
            return
        for cache in self._by_user:
            cache.drop({user_id for user_id in cache.users() if user_key(user_id) in new})
        clear_text_caches(self._knowledge)


def tombstones_of(settings: Settings, state_dir: Path | None = None) -> Mapping[bytes, int]:
    """Whom the store has forgotten, and up to which moment: the one in `state_dir`, or where that is None the one that
    the settings name, if there is one. Raises StoreError."""
    if state_dir is not None:
        settings = settings.model_copy(update={"store": "embedded", "state_dir": state_dir})
        if not has_store(state_dir):
            raise StoreError(f"{state_dir}: no store there; name the servers' state folder")
    elif settings.store == "embedded" and not has_store(settings.state_dir):
        return {}
    store = open_store(settings)
    try:
        return store.tombstones()
    finally:
        store.close()


def without_forgotten(turns: Sequence[Interaction], tombstones: Mapping[bytes, int]) -> list[Interaction]:
    """The turns but those of users who have been forgotten since."""
    if not tombstones:
        return list(turns)
    up_to = {user: tombstones.get(user_key(user), 0) for user in {turn.request.user_id for turn in turns}}
    return [turn for turn in turns if turn.request.timestamp_ms > up_to[turn.request.user_id]]


def drop_kept_of_forgotten(place: Path, tombstones: Mapping[bytes, int]) -> list[str]:
    """Removes those of the bundles kept beside `place` that hold turns of users who have been forgotten since, and
    those that cannot be read, of which nobody can say so. Returns their versions."""
    dropped = []
    for bundle in with_kept(place)[1:] if tombstones else ():
        try:
            holds = any(
                len(without_forgotten(turns, tombstones)) < len(turns)
                for turns in PeopleArchive(bundle / "people").everyone()
            )
        except (OSError, ValueError, KeyError, TypeError, zlib.error):
            holds = True
        if holds:
            shutil.rmtree(bundle, ignore_errors=True)
            dropped.append(bundle.name)
    return dropped


def clear_text_caches(knowledge: Knowledge) -> None:
    """Empties all that is remembered by text: vectors, sounds, normal forms, pronunciations. Nobody's text can be read
    out of them, nor whose it was; they fill again within seconds, so that all go rather than one text too few."""
    knowledge.meaning.clear()
    knowledge.sound.clear()
    forget_all()

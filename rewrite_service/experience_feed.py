"""Keeps everybody's experience up to date, beside the requests: notes of users of whom something was recorded go to the
store, and what all servers have noted is read back, every few seconds.

A note is made from all that is stored of its user, and takes the place of the one before. So it does not matter how
often a turn is recorded or a note is made, by which process, or whether one is lost: the next one makes up for it.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Collection, Sequence

import structlog

from mining.reactions import Reactions
from mining.served import came_of
from retriever.interaction import Interaction
from retriever.normalise import normalise
from retriever.packed import key_hash
from rewrite_service.errors import StoreError
from rewrite_service.experience import Experience, to_note
from rewrite_service.people_archive import PeopleArchive
from rewrite_service.store.base import Store, TurnFeedback
from rewrite_service.user_state import turns_as_heard

SPACE = "pairs"
MAX_WAITING = 10_000
MAX_SERVED = 20_000
"""Users waiting for their note, and users remembered to have been served lately; the newest."""
_DUTY = 0.1
"""Share of one core that it may take."""
_END_S = 5.0

_log = structlog.get_logger()


class ExperienceFeed:
    """Thread-safe. `every_s`: seconds between rounds, on a thread of its own; 0: only when `refresh` is called."""

    def __init__(self, store: Store, archive: PeopleArchive, reactions: Reactions, every_s: float = 0.0) -> None:
        self._store, self._archive, self._reactions, self._every_s = store, archive, reactions, every_s
        self.now, self._seen = Experience(), hash(frozenset())
        self._waiting: OrderedDict[str, None] = OrderedDict()
        self._served: OrderedDict[str, None] = OrderedDict()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        if every_s > 0:
            self._thread = threading.Thread(target=self._run, name="experience", daemon=True)
            self._thread.start()

    def heard_of(self, turns: Sequence[Interaction], feedback: Sequence[TurnFeedback]) -> None:
        """Call when these have been stored. Microseconds a turn: most say nothing of any rewrite."""
        heard = self.now.heard
        with self._lock:
            for late in feedback:
                if late.rewritten_query is not None:
                    _remember(self._served, late.user_id, MAX_SERVED)
                if late.user_id in self._served:
                    _remember(self._waiting, late.user_id, MAX_WAITING)
            for turn in turns:
                user = turn.request.user_id
                # What a user does next tells what came of the turn before.
                if user in self._served or (heard and key_hash(normalise(turn.request.query)) in heard):
                    _remember(self._waiting, user, MAX_WAITING)

    def refresh(self) -> None:
        """Makes the notes of all who wait, and reads everybody's. Raises StoreError."""
        while (user := self._next()) is not None:
            self._note(user)
        self._read()

    def users(self) -> set[str]:
        """Who waits, or was served lately."""
        with self._lock:
            return {*self._waiting, *self._served}

    def drop(self, users: Collection[str]) -> None:
        """Forgets that they wait. What they have added goes with the next round, as the store forgets the note; until
        then it is in sums that name nobody."""
        with self._lock:
            for user in users:
                self._waiting.pop(user, None)
                self._served.pop(user, None)

    def take_over(self, before: ExperienceFeed) -> None:
        """Goes on with what `before`, of another bundle over the same store, knows and has still to do."""
        self.now, self._seen = before.now, before._seen
        with before._lock:
            waiting, served = dict(before._waiting), dict(before._served)
        with self._lock:
            self._waiting.update(waiting)
            self._served.update(served)

    def close(self, *, wait: bool = True) -> None:
        """Ends the thread; before the store is closed, waits for it."""
        self._stop.set()
        if self._thread is not None and wait:
            self._thread.join(_END_S)

    def _next(self) -> str | None:
        with self._lock:
            return self._waiting.popitem(last=False)[0] if self._waiting else None

    def _note(self, user: str) -> None:
        stored = self._store.user(user)
        turns = turns_as_heard(self._archive.user(user), stored)
        heard = self.now.heard
        found = came_of(turns, stored.rewrites, lambda text: key_hash(text) in heard, self._reactions)
        # A note is as old as its user's last turn; of clocks that run ahead, from now, or it would age all others.
        now_ms = min(turns[-1].request.timestamp_ms if turns else 0, time.time_ns() // 1_000_000)
        if not self._store.put_note(user, SPACE, to_note(found, now_ms), stored.revision):
            with self._lock:  # something has been recorded meanwhile, perhaps by another process
                _remember(self._waiting, user, MAX_WAITING)

    def _read(self) -> None:
        notes = self._store.notes(SPACE)
        seen = hash(frozenset(notes.items()))
        if seen != self._seen:  # else the sums are those of the last time
            self.now, self._seen = Experience.of_notes(notes.values()), seen

    def _run(self) -> None:
        while not self._stop.wait(self._every_s):
            try:
                began = time.thread_time()
                while not self._stop.is_set() and (user := self._next()) is not None:
                    self._note(user)
                    began = self._rest(began)
                self._read()
                self._rest(began)
            except StoreError as error:
                _log.warning("experience is not up to date", error=type(error).__name__)
            except Exception as error:
                _log.error("experience failed", error=type(error).__name__)

    def _rest(self, since: float) -> float:
        """Leaves the core to requests for as long as is fair after what was done since."""
        self._stop.wait((time.thread_time() - since) * (1 / _DUTY - 1))
        return time.thread_time()


def _remember(users: OrderedDict[str, None], user: str, most: int) -> None:
    users[user] = None
    users.move_to_end(user)
    if len(users) > most:
        users.popitem(last=False)

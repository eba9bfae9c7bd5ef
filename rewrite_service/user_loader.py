"""How a request comes by its user's state: at once where that fits its deadline, else without it, while it is made
beside requests for the next one. Whoever has just said something is taken in beside requests as well, before they ask
again."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterable
from dataclasses import replace

import structlog

from rewrite_service.errors import StoreError
from rewrite_service.metrics.catalogue import STORE_ERRORS
from rewrite_service.stages import StageClock, StageCosts
from rewrite_service.store.codec import StoredUser
from rewrite_service.user_state import Look, UserState, UserStates

MAX_LOADING = 256
"""Users waiting to be loaded in the background."""
SETTLE_S = 0.05
"""A user's turns that are recorded within so long of each other are taken in together."""
MAX_REST_S = 0.25
"""The longest rest after a user."""

_log = structlog.get_logger()


class UserLoader:
    """Of one pipeline. Safe to call from several threads. `costs`: what stages cost, `load` and `refresh` among them,
    by the turn (`UserStates.effort`); may be exchanged."""

    def __init__(self, users: UserStates, costs: StageCosts) -> None:
        self._users, self.costs = users, costs
        self._due: dict[str, float] = {}
        self._changed = threading.Condition()
        self._closed = False
        self._thread: threading.Thread | None = None

    def look(self, user_id: str) -> Look:
        """What is at hand of the user; nothing where the store fails."""
        began = time.perf_counter_ns()
        try:
            with self.costs.timed("recall"):
                look = self._users.look(user_id)
        except StoreError as error:
            STORE_ERRORS.inc("read")
            _log.error("store failed", error=type(error).__name__)
            look = Look()
        return replace(look, us=(time.perf_counter_ns() - began) // 1000)

    def state(self, user_id: str, clock: StageClock, look: Look | None, *then: str) -> UserState | None:
        """The user's state; None where it cannot be had in time, or the store fails. `look`: what was found a moment
        ago. `then`: the stages that are still to come."""
        if look is not None:
            clock.stage_us["personal"] = look.us
        else:
            if not clock.fits("personal", "recall", "query"):
                self.later(user_id)
                return None
            look = self.look(user_id)
        if look.state is not None:
            return look.state
        if look.stored is None:
            clock.skipped.append("personal")
            return None
        stage, turns = self._users.effort(user_id, look.stored)
        if not clock.fits("personal", *then, besides_s=turns * self.costs.expected(stage)):
            self.later(user_id)
            return None
        try:
            return self._load(user_id, look.stored, look.drops, stage, turns)
        except StoreError as error:
            clock.skipped.append("personal")
            STORE_ERRORS.inc("read")
            _log.error("store failed", error=type(error).__name__)
        return None

    def heard_of(self, users: Iterable[str]) -> None:
        """Call when something of these users has been stored. Those at hand will most likely ask again; nobody else is
        read for it."""
        for user_id in set(users):
            if user_id in self._users:
                self.later(user_id, SETTLE_S)

    def later(self, user_id: str, after_s: float = 0.0) -> None:
        """Has the user loaded beside requests, in `after_s` seconds. Once, however often it is asked for meanwhile;
        where too many wait, whoever is left out is loaded by a later request."""
        with self._changed:
            if self._closed or (user_id not in self._due and len(self._due) >= MAX_LOADING):
                return
            due = time.monotonic() + after_s
            self._due[user_id] = min(due, self._due.get(user_id, due))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="load-user", daemon=True)
                self._thread.start()
            self._changed.notify()

    def close(self, *, wait: bool) -> None:
        """Whoever waits is not loaded any more."""
        with self._changed:
            self._closed = True
            self._due.clear()
            self._changed.notify()
        if wait and self._thread is not None:
            self._thread.join()

    def users(self) -> set[str]:
        """Who waits."""
        with self._changed:
            return set(self._due)

    def drop(self, users: Collection[str]) -> None:
        """Forgets that they wait."""
        with self._changed:
            for user_id in users:
                self._due.pop(user_id, None)

    def _load(self, user_id: str, stored: StoredUser, drops: int, stage: str, turns: int) -> UserState:
        """`stage`, `turns`: what it will be (`UserStates.effort`)."""
        began = time.perf_counter_ns()
        state = self._users.load(user_id, stored, drops)
        self.costs.observe(stage, (time.perf_counter_ns() - began) / 1e9 / turns)
        return state

    def _next(self) -> str | None:
        """Who is due, waiting for that; None at the end. From then on what is asked for is a further time."""
        with self._changed:
            while not self._closed:
                user_id = min(self._due, key=self._due.__getitem__, default=None)
                if user_id is None:
                    self._changed.wait()
                elif (wait_s := self._due[user_id] - time.monotonic()) > 0:
                    self._changed.wait(wait_s)
                else:
                    del self._due[user_id]
                    return user_id
        return None

    def _run(self) -> None:
        while (user_id := self._next()) is not None:
            began = time.perf_counter()
            try:
                look = self._users.look(user_id, counted=False)
                if look.stored is not None:
                    self._load(user_id, look.stored, look.drops, *self._users.effort(user_id, look.stored))
            except Exception as error:
                if isinstance(error, StoreError):
                    STORE_ERRORS.inc("read")
                _log.error("loading a user failed", error=type(error).__name__)
            # Half the time at the most, however much is recorded of however many: requests want the interpreter too.
            time.sleep(min(MAX_REST_S, time.perf_counter() - began))

"""A circuit breaker for the way of a request: a service that is gone must not cost each request its deadline.

After some failures in a row calls are not made for a while; then one is let through to find out, and the pause doubles
while that goes wrong (half-open, in the words of Nygard's *Release It!*). The first success ends it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

_log = logging.getLogger("rewrite_service.client")


class Breaker:
    """Thread-safe. `failures`: in a row, after which it opens. `pause_s`: for how long at first, doubling up to
    `most_pause_s`. `clock`: seconds, never going back."""

    def __init__(
        self, failures: int, pause_s: float, most_pause_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most, self._first_pause_s, self._most_pause_s, self._clock = failures, pause_s, most_pause_s, clock
        self._lock = threading.Lock()
        self._failed = 0
        self._pause_s = 0.0
        self._opened = self._until = 0.0

    @property
    def is_open(self) -> bool:
        return self._pause_s > 0

    def rest_s(self) -> float:
        """0 where a call may be made now; else the seconds until one may. While open, whoever gets 0 is the one that
        finds out, and others wait for a pause more."""
        if not self._pause_s:  # the usual way takes no lock
            return 0.0
        with self._lock:
            now = self._clock()
            if not self._pause_s or now >= self._until:
                self._until = now + self._pause_s
                return 0.0
            return self._until - now

    def succeeded(self) -> None:
        """The server answered, if only that it would not."""
        if self._failed or self._pause_s:
            with self._lock:
                was_open, self._failed, self._pause_s = self.is_open, 0, 0.0
            if was_open:
                _log.warning("the rewrite service answers again")

    def failed(self, begun: float) -> None:
        """A call that was begun at `begun` (by the clock) got no answer. What was under way when it opened says nothing
        new."""
        with self._lock:
            self._failed += 1
            now = self._clock()
            if self._pause_s:
                if begun < self._opened:
                    return
                self._pause_s = min(2 * self._pause_s, self._most_pause_s)
            elif self._failed >= self._most:
                self._pause_s = self._first_pause_s
                _log.warning("the rewrite service does not answer; going on without it for a while")
            else:
                return
            self._opened, self._until = now, now + self._pause_s

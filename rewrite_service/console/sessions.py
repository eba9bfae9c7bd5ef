"""Who is logged in: sessions in memory, each with the token that was shown. Pure; the clock is given.

A restart logs everybody out. The cookie is 256 random bits; what is kept of it is a hash.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from rewrite_service.access.quota import TokenBucket

IDLE_S = 30 * 60.0
LASTS_S = 12 * 3600.0
"""A session ends after so long without a sign of its browser, and after so long in any case."""
MAX_SESSIONS = 256
"""The one that was silent for longest goes first."""

_TRIES_PER_S, _TRIES_AT_ONCE = 0.2, 10
_ALL_TRIES_PER_S, _ALL_TRIES_AT_ONCE = 5.0, 50
_ADDRESSES = 1000


@dataclass(slots=True)
class Session:
    """`token`: as it was shown at log-in. `csrf`: what each post must carry. `since`, `seen`: the clock's seconds."""

    token: str
    csrf: str
    since: float
    seen: float


class Sessions:
    """Belongs to one event loop. `clock`: seconds, never going back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._sessions: OrderedDict[bytes, Session] = OrderedDict()

    def __len__(self) -> int:
        return len(self._sessions)

    def open(self, token: str) -> str:
        """A new session's cookie."""
        cookie, now = secrets.token_urlsafe(32), self._clock()
        self._sessions[_hash(cookie)] = Session(token, secrets.token_urlsafe(32), now, now)
        while len(self._sessions) > MAX_SESSIONS:
            self._sessions.popitem(last=False)
        return cookie

    def find(self, cookie: str | None) -> Session | None:
        """The session of a cookie, which thereby goes on; None where there is none any more."""
        key = _hash(cookie or "")
        session, now = self._sessions.get(key), self._clock()
        if session is None:
            return None
        if now - session.seen > IDLE_S or now - session.since > LASTS_S:
            del self._sessions[key]
            return None
        session.seen = now
        self._sessions.move_to_end(key)
        return session

    def close(self, cookie: str | None) -> None:
        """Ends the session of a cookie, if there is one."""
        self._sessions.pop(_hash(cookie or ""), None)


class Tries:
    """How often somebody may try to log in: some tries at once and one every five seconds from one address, and a
    bound on all together. Bounded in memory."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._all = TokenBucket(_ALL_TRIES_PER_S, _ALL_TRIES_AT_ONCE, clock)
        self._by_address: OrderedDict[str, TokenBucket] = OrderedDict()

    def wait_s(self, address: str) -> float:
        """0 where a try from `address` may go on, which then counts; else the seconds to wait."""
        bucket = self._by_address.pop(address, None) or TokenBucket(_TRIES_PER_S, _TRIES_AT_ONCE, self._clock)
        self._by_address[address] = bucket
        if len(self._by_address) > _ADDRESSES:
            self._by_address.popitem(last=False)
        return bucket.take() or self._all.take()


def _hash(cookie: str) -> bytes:
    return hashlib.sha256(cookie.encode("utf-8", "surrogatepass")).digest()

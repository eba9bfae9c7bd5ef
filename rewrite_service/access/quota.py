"""How much one caller may ask: so many requests a second, so many at the same time. Pure; the clock is given."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType

from rewrite_service.errors import Overloaded


class TokenBucket:
    """A bucket that fills with `rate` drops a second up to `burst`, both above 0; each request takes one. So the rate
    holds in the long run, and a burst passes now and then. `clock`: seconds, never going back."""

    def __init__(self, rate: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._burst, self._clock = rate, max(1.0, burst), clock
        self._level, self._at = self._burst, clock()

    def take(self) -> float:
        """0 where a drop was taken, else the seconds until there will be one."""
        now = self._clock()
        self._level = min(self._burst, self._level + max(0.0, now - self._at) * self._rate)
        self._at = now
        if self._level >= 1:
            self._level -= 1
            return 0.0
        return (1 - self._level) / self._rate


class Quota:
    """The bounds of one caller; `with quota:` around each call counts it as under way. Belongs to one event loop.

    `rate`: requests a second, `burst`: how many may come at once (one second's where None), `calls`: under way at the
    same time; None: no bound.
    """

    def __init__(
        self,
        rate: float | None = None,
        burst: int | None = None,
        calls: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rate, self._calls = rate, calls
        self._bucket = TokenBucket(rate, burst or rate, clock) if rate is not None else None
        self._inside = 0

    @property
    def inside(self) -> int:
        return self._inside

    def take(self) -> None:
        """Counts one request against the rate. Raises `Overloaded`, with the seconds to wait, where it is used up."""
        if self._bucket is not None and (wait := self._bucket.take()) > 0:
            raise Overloaded(
                f"the token may ask {self._rate:g} times a second; try again in {1000 * wait:.0f} ms", wait
            )

    def __enter__(self) -> None:
        if self._calls is not None and self._inside >= self._calls:
            raise Overloaded(f"{self._calls} calls of the token are under way, the most it may have; await one first")
        self._inside += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._inside -= 1
